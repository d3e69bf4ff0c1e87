"""Settings of servers as rows: defaults, changes with who and when, and values that cannot be."""

import sqlite3

import pytest

from data import accounts, servers
from data.servers import ServerSettings
from tests.voices import add_version

HERE, THERE = 1456074443980800014, 22


async def test_a_server_where_nothing_was_set_is_as_the_operator_says(store):
    assert await store.read(servers.get, HERE) == ServerSettings()
    assert await store.read(servers.get, None) == ServerSettings()
    assert await store.read(servers.changes, HERE, 9) == []


async def test_every_setting_is_read_as_it_was_written_and_in_its_server_alone(store):
    wanted = {
        "channels": (1, HERE),
        "train_roles": (2,),
        "post_roles": (3, 4),
        "trainings_a_day": 0,
        "trainings_a_day_server": 5,
        "lines_a_minute": 1,
        "prefix_commands": False,
        "answer_chance": 0.25,
        "language": "ja",
        "profanity": "none",
    }
    assert set(wanted) == set(ServerSettings.__dataclass_fields__)
    assert await store.write(servers.change, HERE, "boss", **wanted) == ServerSettings(**wanted)
    assert await store.read(servers.get, HERE) == ServerSettings(**wanted)
    assert await store.read(servers.get, THERE) == ServerSettings()
    await store.write(servers.change, HERE, "boss", profanity=None, channels=())
    assert await store.read(servers.get, HERE) == ServerSettings(**wanted | {"profanity": None, "channels": ()})


async def test_who_changed_what_is_kept_and_what_stays_is_no_change(store):
    await store.write(servers.change, HERE, "ann", train_roles=(7,), answer_chance=0.0)
    await store.write(servers.change, HERE, "bob", train_roles=(7,), lines_a_minute=3)
    await store.write(servers.change, THERE, "cat", language="en")
    found = await store.read(servers.changes, HERE, 9)
    assert [(one.name, one.value, one.changed_by) for one in found] == [("lines_a_minute", 3, "bob"), ("train_roles", [7], "ann")]
    assert found[0].created_at > found[1].created_at
    assert await store.read(servers.changes, HERE, 1) == found[:1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"trainings_a_day": -1},
        {"trainings_a_day_server": -1},
        {"lines_a_minute": 0},
        {"prefix_commands": 2},
        {"answer_chance": 1.1},
        {"answer_chance": -0.1},
        {"language": "fr"},
        {"profanity": "much"},
    ],
)
async def test_what_cannot_be_is_not_stored(store, wrong):
    with pytest.raises(sqlite3.IntegrityError):
        await store.write(servers.change, HERE, "boss", **{"language": "ja", "lines_a_minute": 5} | wrong)
    assert await store.read(servers.get, HERE) == ServerSettings()
    assert await store.read(servers.changes, HERE, 9) == []


async def test_who_may_use_a_voice_is_kept_by_server_and_falls_with_the_voice(store):
    await store.write(add_version, ("ann",))
    for roles in ([1], [2, HERE]):
        await store.write(servers.set_voice_roles, HERE, "ann", roles, "boss")
    assert await store.read(servers.voice_roles, HERE, "ann") == (2, HERE)
    assert await store.read(servers.voice_roles, THERE, "ann") == ()
    await store.write(servers.set_voice_roles, THERE, "ann", [3], "boss")
    await store.write(servers.set_voice_roles, THERE, "ann", [], "boss")
    assert await store.read(servers.voice_roles, THERE, "ann") == ()
    await store.write(accounts.forget, "ann")
    assert await store.read(lambda db: db["voice_roles"].count) == 0
