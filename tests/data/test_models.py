"""Versions of a voice: which one is current, and what pins and unpins it."""

import sqlite3

import pytest
from sqlite_utils import Database

from data import accounts, migrations, models
from data.errors import NotStoredError
from tests.conftest import made_up_tweets
from tests.voices import add_version


async def versions_of(store, voice="ann"):
    """(version, current, pinned) of each version of a voice."""
    return [(m.version, m.current, m.pinned) for m in await store.read(models.versions, voice)]


@pytest.fixture
async def three(store):
    """A store in which ann has versions 1 to 3, and bob version 1."""
    for handles in (("ann",), ("ann",), ("bob",), ("ann",)):
        await store.write(add_version, handles)
    return store


async def test_the_newest_is_current_until_another_is_pinned_and_again_when_it_is_unpinned(three):
    assert await versions_of(three) == [(3, True, False), (2, False, False), (1, False, False)]
    pinned = await three.write(models.pin, "ann", 1)
    assert (pinned.version, pinned.current, pinned.pinned) == (1, True, True)
    assert await three.read(models.current, "ann") == pinned
    await three.write(models.pin, "ann", 2)
    assert await versions_of(three) == [(3, False, False), (2, True, True), (1, False, False)]
    assert (await three.write(models.unpin, "ann")).version == 3
    assert (await three.write(models.unpin, "ann")).version == 3
    assert await versions_of(three) == [(3, True, False), (2, False, False), (1, False, False)]


async def test_what_is_trained_later_does_not_unpin(three):
    await three.write(models.pin, "ann", 3)
    newest = await three.write(add_version, ("ann",))
    assert (newest.version, newest.current) == (4, False)
    assert [(m.voice, m.version) for m in (await three.read(models.page)).models] == [("ann", 3), ("bob", 1)]


async def test_a_pin_goes_with_its_version_and_another_voices_stays(three):
    pinned = await three.write(models.pin, "ann", 2)
    await three.write(models.pin, "bob", 1)
    await three.write(lambda db: db.conn.execute("DELETE FROM models WHERE id = ?", [pinned.id]))
    assert await versions_of(three) == [(3, True, False), (1, False, False)]
    await three.write(accounts.forget, "ann")
    assert await three.read(lambda db: list(db["pins"].rows)) == [{"voice": "bob", "version": 1}]


@pytest.mark.parametrize("number", [0, 4, -1, 10**30])
async def test_a_version_that_is_not_there_is_a_sentence_that_lists_those_there_are(three, number):
    for work in (models.pin, models.version):
        with pytest.raises(NotStoredError, match=r"ann has no version .+: choose from 1, 2, 3\.$"):
            await three.write(work, "ann", number)
    assert await versions_of(three) == [(3, True, False), (2, False, False), (1, False, False)]


@pytest.mark.parametrize("work", [models.current, models.versions, models.unpin, lambda db, voice: models.pin(db, voice, 1)])
async def test_a_voice_that_is_not_trained_is_a_sentence(three, work):
    with pytest.raises(NotStoredError, match="No voice named no-body is trained: `mynah train no body` makes it"):
        await three.write(work, "no-body")


async def test_a_model_that_is_gone_is_a_sentence(three):
    with pytest.raises(NotStoredError, match=r"That voice was forgotten\."):
        await three.read(models.get, 999)


async def test_the_database_itself_refuses_a_pin_of_what_is_not_there(three):
    with pytest.raises(sqlite3.IntegrityError):
        await three.write(lambda db: db.table("pins").insert({"voice": "bob", "version": 2}))


def test_a_database_of_before_keeps_its_requests(tmp_path):
    """Rows that were written before anybody could answer as somebody get the values that say: nobody, nothing."""
    db = Database(tmp_path / "old.db")
    migrations.migrations.apply(db, stop_before="m008_pins_and_answers")
    with db.conn:
        for name in ("voices", "corpora", "jobs", "models", "requests"):
            columns = {column.name: 1 if column.type == "INTEGER" else "{}" for column in db[name].columns if column.notnull}
            known = {"name": "ann", "voice": "ann", "sha256": "{}", "status": "done", "purpose": "talk", "id": 1}
            db.table(name).insert(columns | {key: value for key, value in known.items() if key in db[name].columns_dict})
    migrations.migrations.apply(db)
    (row,) = db["requests"].rows
    assert (row["voice"], row["author"], row["message"]) == ("ann", "", "")
    assert db.conn.execute("PRAGMA foreign_key_check").fetchall() == []
    db.close()


async def test_voices_come_in_pages_and_are_found_by_a_part_of_their_name(store):
    for number in range(7):
        await store.write(add_version, (f"keeper{number}",))
    await store.write(add_version, ("lampkeeper",))
    await store.write(add_version, ("ann",))
    await store.write(accounts.add_tweets, "keeper_untrained", made_up_tweets(20, 1))

    async def page(*text, **which):
        found = await store.read(models.page, *text, **which)
        return [model.voice for model in found.models], found.total

    assert await page("keeper", most=3) == (["keeper0", "keeper1", "keeper2"], 8)
    assert await page("keeper", first=6, most=3) == (["keeper6", "lampkeeper"], 8)
    assert await page("keeper", first=9, most=3) == ([], 8)
    assert (await page())[1] == 9
    assert await page("%") == ([], 0)
    assert await store.read(models.names, "ee", 3) == ["keeper0", "keeper1", "keeper2"]
    assert await store.read(models.names, "", 100, longest=3) == ["ann"]
