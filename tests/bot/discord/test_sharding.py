"""Several connections to the gateway, against a Discord on the loopback."""

import discord
import pytest
from pydantic import ValidationError

from bot.faces.discord.bot import MynahBot
from bot.faces.discord.sharding import ShardedBot, new_bot
from bot.settings import Discord
from bot.vitals import Vitals
from tests.bot.discord.conftest import mynah
from tests.bot.discord.test_face import _discord_is_elsewhere, start, stop, told
from tests.loopback_discord import PRIVILEGED, LoopbackDiscord, loopback_discord

__all__ = ["_discord_is_elsewhere", "loopback_discord"]


@pytest.fixture
def pauses(monkeypatch):
    """What the library does before it identifies, without the five seconds."""
    before = []

    async def no_pause(self, shard_id, *, initial=False):
        before.append((shard_id, initial))

    monkeypatch.setattr(discord.Client, "before_identify_hook", no_pause)
    return before


async def test_one_connection_is_no_shard(tmp_path, loopback_discord: LoopbackDiscord):
    loopback_discord.recommended_shards = 4
    async with mynah(tmp_path, api_url=loopback_discord.url) as app:
        assert type(new_bot(app, prefix_commands=True)) is MynahBot
        task = start(app, loopback_discord)
        await loopback_discord.connected()
        (identified,) = loopback_discord.identifies
        assert "shard" not in identified
        await stop(task)


@pytest.mark.parametrize(("wanted", "recommended", "expected"), [(3, 1, 3), (0, 2, 2), (0, 1, 1)])
async def test_as_many_as_wanted_or_as_discord_recommends(
    tmp_path, loopback_discord: LoopbackDiscord, pauses, wanted, recommended, expected
):
    loopback_discord.recommended_shards = recommended
    async with mynah(tmp_path, api_url=loopback_discord.url, shards=wanted) as app:
        assert type(new_bot(app, prefix_commands=True)) is ShardedBot
        task = start(app, loopback_discord)
        await loopback_discord.until(lambda: len(loopback_discord.identifies) == expected)
        assert [one["shard"] for one in loopback_discord.identifies] == [[number, expected] for number in range(expected)]
        assert pauses == [(number, number == 0) for number in range(expected)]
        answer = await loopback_discord.answer(await loopback_discord.slash("help"))
        assert "/generate" in answer["content"]
        await loopback_discord.say("!models")
        await loopback_discord.message(lambda m: "No voice is trained yet" in m["content"])
        await stop(task)
        await loopback_discord.until(lambda: len(loopback_discord.close_codes) == expected)


async def test_each_shard_is_a_session_that_discord_must_grant(tmp_path, loopback_discord: LoopbackDiscord, pauses):
    loopback_discord.sessions_left = 1
    waits = []

    async def pause(seconds: float) -> None:
        waits.append(seconds)

    async with mynah(tmp_path, api_url=loopback_discord.url, shards=2) as app:
        task = start(app, loopback_discord, pause=pause)
        await loopback_discord.until(lambda: len(loopback_discord.identifies) == 2)
        assert waits == [5.0]
        await stop(task)


async def test_each_connection_is_watched_by_itself(tmp_path, loopback_discord: LoopbackDiscord, pauses, monkeypatch):
    """The others do not hide that one is missing, and what is said of none in particular counts for none."""
    vitals = Vitals()
    for module in ("face", "bot", "sharding"):
        monkeypatch.setattr(f"bot.faces.discord.{module}.VITALS", vitals)
    async with mynah(tmp_path, api_url=loopback_discord.url, shards=2) as app:
        task = start(app, loopback_discord)
        await told(app, lambda: vitals.connections == 2 and not vitals.gateway_down_seconds)
        loopback_discord.gateway_down = True
        await loopback_discord.drop(shard=1)
        await told(app, lambda: vitals.gateway_down_seconds)
        vitals.gateway(up=True, shard=0)
        assert vitals.gateway_down_seconds
        loopback_discord.gateway_down = False
        await told(app, lambda: not vitals.gateway_down_seconds)
        assert vitals.connections == 4
        await stop(task)


async def test_a_missing_intent_is_heard_of_over_shards_too(tmp_path, loopback_discord: LoopbackDiscord, pauses):
    loopback_discord.granted = PRIVILEGED & ~(1 << 15)
    async with mynah(tmp_path, api_url=loopback_discord.url, shards=2) as app:
        task = start(app, loopback_discord)
        await loopback_discord.until(lambda: len(loopback_discord.identifies) == 4)
        assert [bool(one["intents"] & (1 << 15)) for one in loopback_discord.identifies] == [True, True, False, False]
        await loopback_discord.answer(await loopback_discord.slash("help"))
        await stop(task)


def test_fewer_than_none_is_refused():
    with pytest.raises(ValidationError):
        Discord(shards=-1)
