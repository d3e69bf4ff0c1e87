"""The connection itself, against a Discord on the loopback: login, outages, refusals and the end."""

import asyncio
import socket
import time
from contextlib import suppress

import discord
import pytest
import pytest_asyncio
from discord.gateway import DiscordWebSocket
from discord.http import Route
from pydantic import SecretStr

from bot.errors import SettingsError
from bot.faces.discord import face as face_module
from bot.faces.discord.bot import MynahBot
from bot.faces.discord.face import DiscordFace
from bot.vitals import Vitals
from tests import discord_contract
from tests.bot.discord.conftest import mynah
from tests.conftest import ROOT
from tests.loopback_discord import AUTHENTICATION_FAILED, PRIVILEGED, LoopbackDiscord, loopback_discord
from trainer.protocol import Step

__all__ = ["loopback_discord"]
CONTENT = 1 << 15
SECONDS = 20.0  # by which everything here has happened, on a slow machine


@pytest.fixture(autouse=True)
def _discord_is_elsewhere(monkeypatch):
    """Put the library's two addresses back after each test, and let its own pauses be short."""
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", DiscordWebSocket.DEFAULT_GATEWAY)
    monkeypatch.setattr(discord.backoff.ExponentialBackoff, "delay", lambda self: 0.0)
    monkeypatch.setattr("bot.faces.discord.watching.EDIT_SECONDS", 0.1)


@pytest_asyncio.fixture
async def app(tmp_path, loopback_discord):
    async with mynah(tmp_path, api_url=loopback_discord.url) as running:
        yield running


async def soon(task: asyncio.Task[None], event: asyncio.Event) -> None:
    """Wait for an event that a running face brings about."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait([task, waiting], timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    assert event.is_set(), task


def start(app, server, token: str | None = None, **options) -> asyncio.Task[None]:
    return asyncio.create_task(DiscordFace(app, SecretStr(token or server.token), **options).run())


async def stop(task: asyncio.Task[None], seconds: float = 5.0) -> None:
    """Cancel a face, and see that it ends soon and leaves no task of its own."""
    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < seconds
    tasks = {repr(other).replace(f"{ROOT}/", "") for other in asyncio.all_tasks()}  # whose folder may be called so
    assert [other for other in tasks if "discord" in other.lower() and "tests/" not in other] == []


async def test_how_it_goes_is_told_to_whoever_watches(app, loopback_discord: LoopbackDiscord, monkeypatch):
    """The gateway's state, and how long the acknowledgement took."""
    vitals = Vitals()
    for module in ("face", "bot", "tracing"):
        monkeypatch.setattr(f"bot.faces.discord.{module}.VITALS", vitals)
    task = start(app, loopback_discord)
    assert (vitals.in_discord, vitals.connections) == (False, 0)
    await told(app, lambda: vitals.connections)
    await loopback_discord.answer(await loopback_discord.slash("help"))
    await told(app, lambda: sum(vitals.acknowledged))  # Discord has it before its answer has come back
    assert (vitals.in_discord, vitals.gateway_down_seconds, vitals.connections) == (True, 0.0, 1)
    assert sum(vitals.acknowledged) == 1
    assert 0 < vitals.acknowledged_seconds < SECONDS
    assert vitals.rate_limited["discord"] == 0
    loopback_discord.gateway_down = True
    await loopback_discord.drop()
    await told(app, lambda: vitals.gateway_down_seconds)
    loopback_discord.gateway_down = False
    await told(app, lambda: vitals.connections == 2)
    assert vitals.gateway_down_seconds == 0.0
    await stop(task)


async def test_it_ends_though_the_library_takes_its_end_for_a_failure(app, loopback_discord: LoopbackDiscord, monkeypatch):
    trying = asyncio.Event()

    async def connect(self):
        while not self.is_closed():
            trying.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    monkeypatch.setattr(MynahBot, "connect", connect)
    task = start(app, loopback_discord)
    await trying.wait()
    await stop(task)


async def told(app, what) -> None:
    """Wait until something is true of which nobody rings."""
    async with asyncio.timeout(SECONDS):
        while not what():
            await app.store.changed(0.05)


async def training(app, server: LoopbackDiscord):
    """Order a training in a server, and have it make ten steps; return its run, and the message that tells of it."""
    await server.connected()
    await server.say("!train keeper")
    await server.press(await server.message(lambda m: m["components"]), "Train")
    while not app.training._lanes[0].executor.runs:
        await app.store.changed()
    (run,) = app.training._lanes[0].executor.runs
    run.say(Step(10, 100, 3.0, 900.0, 60.0))
    return run, await server.message(lambda m: "step 10/100" in m["content"])


async def test_from_login_to_the_end_of_a_training(app, loopback_discord: LoopbackDiscord):
    """Login, ready, a prefix command, progress, the card with its files, the mention, a slash command, and a clean farewell."""
    server = loopback_discord
    task = start(app, server)
    run, progress = await training(app, server)
    run.done()
    told = await server.message(lambda m: m["mentions"])
    assert told["content"].startswith(f"<@{server.member['id']}>")
    card = server.messages[progress["id"]]
    assert [embed["title"] for embed in card["embeds"]] == ["keeper · AI BOT"]
    assert [attachment["filename"] for attachment in card["attachments"]] == ["voice.png", "curve.png"]
    (sent,) = [request for request in server.requests if "'told-" in repr(request.json)]
    assert sent.json["enforce_nonce"] is True
    assert sent.json["message_reference"]["message_id"] == int(progress["id"])

    answer = await server.answer(await server.slash("generate", voice="keeper", count=1))
    assert answer["content"] == "**keeper**: line 0 of aaaaaaaaa aaaaaaaaa"
    await stop(task)
    await server.until(lambda: server.close_codes)
    assert server.close_codes == [1000]
    if discord_contract.available():
        assert discord_contract.breaches(server.requests) == []


async def test_commands_are_sent_only_when_they_changed(app, loopback_discord: LoopbackDiscord, monkeypatch):
    """A second start sends nothing; another set of commands is sent."""

    def registrations() -> int:
        return sum(request.method == "PUT" for request in loopback_discord.requests)

    for expected in (1, 1, 2):
        if expected == 2:
            monkeypatch.setattr("bot.faces.discord.training.Training.train.app_command.description", "Another.", raising=True)
        task = start(app, loopback_discord)
        await loopback_discord.until(lambda: loopback_discord.online)
        assert registrations() == expected
        await stop(task)
        await loopback_discord.until(lambda: not loopback_discord.online)


async def test_gateway_down_at_the_start(app, loopback_discord: LoopbackDiscord):
    """The gateway refuses at first: each attempt is a fresh client, pauses grow, and then it works."""
    pauses = []
    loopback_discord.gateway_down = True

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        loopback_discord.gateway_down = len(pauses) < 4

    task = start(app, loopback_discord, pause=pause, chance=lambda: 1.0)
    await loopback_discord.connected()
    assert pauses == [2.0, 4.0, 8.0, 16.0]
    await stop(task)


async def test_rest_down_at_the_start(tmp_path):
    """Nobody listens at all: tried again until somebody does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = LoopbackDiscord(port=port)
    up = asyncio.Event()

    async def pause(seconds: float) -> None:
        assert 1.0 <= seconds <= 2.0
        await server.__aenter__()
        up.set()

    async with mynah(tmp_path, api_url=server.url) as app:
        task = start(app, server, pause=pause)
        await soon(task, up)
        await server.connected()
        await stop(task)
        await server.__aexit__()


async def test_cancelled_while_it_waits_to_try_again(app, loopback_discord: LoopbackDiscord):
    """The pause between attempts does not hold up the end."""
    loopback_discord.gateway_down = True
    waiting = asyncio.Event()

    async def pause(seconds: float) -> None:
        waiting.set()
        await asyncio.sleep(3600)

    task = start(app, loopback_discord, pause=pause)
    await soon(task, waiting)
    await stop(task)


async def test_socket_dropped(app, loopback_discord: LoopbackDiscord):
    """A dropped connection is resumed by the library, without a new client."""
    task = start(app, loopback_discord)
    await loopback_discord.connected()
    await loopback_discord.drop()
    await loopback_discord.until(lambda: loopback_discord.resumes)
    await loopback_discord.say("!models")
    await loopback_discord.message(lambda m: "No voice is trained yet" in m["content"])
    assert len(loopback_discord.identifies) == 1
    await stop(task)


async def test_socket_dropped_in_mid_training(app, loopback_discord: LoopbackDiscord):
    """What happens while nobody is connected is told when somebody is, in the same message."""
    server = loopback_discord
    task = start(app, server)
    run, progress = await training(app, server)
    await server.drop()
    run.say(Step(20, 100, 3.0, 900.0, 60.0))
    await server.until(lambda: server.resumes)
    run.done()
    await server.message(lambda m: m["mentions"])
    assert server.messages[progress["id"]]["embeds"]
    assert len(server.identifies) == 1
    await stop(task)


@pytest.mark.parametrize("token", ["wrong.token", "x"])
async def test_wrong_token(app, loopback_discord: LoopbackDiscord, token: str):
    """One sentence, no second attempt, and the token is in none of it."""
    with pytest.raises(SettingsError, match="DISCORD_TOKEN") as caught:
        await start(app, loopback_discord, token)
    assert token + " " not in str(caught.value)
    assert len(loopback_discord.requests) == 1


async def test_token_refused_by_the_gateway(app, loopback_discord: LoopbackDiscord):
    """A token that is withdrawn while connected is the same sentence."""
    task = start(app, loopback_discord)
    await loopback_discord.connected()
    await loopback_discord.drop(AUTHENTICATION_FAILED)
    with pytest.raises(SettingsError, match="DISCORD_TOKEN"):
        await task


async def test_message_content_not_granted(app, loopback_discord: LoopbackDiscord, capsys):
    """Without the privileged intent there are slash commands alone, and one sentence in the log says so."""
    loopback_discord.granted = PRIVILEGED & ~CONTENT
    task = start(app, loopback_discord)
    await loopback_discord.until(lambda: loopback_discord.online)
    first, second = loopback_discord.identifies
    assert first["intents"] & CONTENT
    assert second["intents"] == 1 + (1 << 9) + (1 << 12)  # servers, and messages, whose words are told where they concern the bot
    assert capsys.readouterr().out.count("Message Content intent") == 1
    answer = await loopback_discord.answer(await loopback_discord.slash("help"))
    assert "Each is typed with" not in answer["content"]
    await stop(task)


async def test_no_sessions_left(app, loopback_discord: LoopbackDiscord):
    """When Discord grants no more sessions today, the next one waits: one too many resets the token."""
    pauses = []
    loopback_discord.sessions_left = 0

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    task = start(app, loopback_discord, pause=pause)
    await loopback_discord.connected()
    assert pauses == [5.0]
    await stop(task)


async def test_the_end_does_not_wait_for_a_deaf_gateway(app, loopback_discord: LoopbackDiscord):
    """A gateway that never answers the farewell holds the end up for a few seconds, not for half a minute."""
    loopback_discord.deaf = True
    task = start(app, loopback_discord)
    await loopback_discord.connected()
    await stop(task)


async def test_the_end_ends_commands_under_way(app, loopback_discord: LoopbackDiscord, monkeypatch):
    """A command that waits for its answer does not outlive the connection."""
    begun, ended = asyncio.Event(), []

    async def never(voice, *, by, **wanted):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(by)

    monkeypatch.setattr(app.speaking, "request", never)
    task = start(app, loopback_discord)
    await loopback_discord.connected()
    await loopback_discord.say("!generate keeper")
    await soon(task, begun)
    begun.clear()
    await loopback_discord.slash("generate", voice="keeper")
    await soon(task, begun)
    await stop(task)
    assert len(ended) == 2


def test_only_the_known_attribute_error_is_an_outage(app_less_bot):
    """discord.py's own stumble is recognised by what it is, and a defect of ours is not taken for it."""
    bot = app_less_bot

    def stumble(context: Exception | None, thing: object, name: str) -> AttributeError:
        try:
            try:
                raise context or ValueError
            except Exception:
                getattr(thing, name)
        except AttributeError as error:
            return error
        raise AssertionError

    assert face_module._first_connection_failed(bot, stumble(OSError(), None, "sequence"))
    assert face_module._first_connection_failed(bot, stumble(TimeoutError(), None, "sequence"))
    assert not face_module._first_connection_failed(bot, stumble(KeyError(), None, "sequence"))
    assert not face_module._first_connection_failed(bot, stumble(OSError(), None, "gateway"))
    assert not face_module._first_connection_failed(bot, stumble(OSError(), object(), "sequence"))


@pytest.fixture
def app_less_bot():
    bot = MynahBot.__new__(MynahBot)
    bot.ws = None
    return bot
