"""Posts that go to a channel of Discord: as lines of their voice, pinging nobody, once whatever happens on the way."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import AsyncMock

import aiohttp
import discord
import pytest
from aiohttp import web
from simcord.http.routes import interactions

from bot.faces.discord import delivering
from bot.faces.discord.bot import MynahBot
from bot.faces.discord.webhooks import Webhooks
from bot.services.sending import Retry, SendError
from data import called, outbox
from data.outbox import Post, State
from data.store import stamp
from tests.bot.discord.conftest import Stage
from tests.bot.discord.test_approving import at_desk, ready, said  # noqa: F401 - a fixture
from tests.bot.discord.test_saying import last_request
from tests.bot.discord.test_speaking import NASTY, pings

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)  # when simcord's messages begin


@pytest.fixture(autouse=True)
def _webhooks_of_a_bot_are_its_own(monkeypatch):
    """As Discord has it; simcord takes every webhook for a person's."""
    monkeypatch.setattr(interactions, "_incoming_webhook_body", lambda ctx: (dict(ctx.body()), True))


async def approved(stage: Stage, text: str = "The fog is late.") -> Post:
    """Have a post for the stage's channel approved."""
    post = await stage.app.posting.draft("keeper", None, text, "operator", channel=stage.channel.id)
    return await stage.app.posting.approve(post.id, "operator")


async def post(stage: Stage) -> Post:
    return await stage.app.store.read(outbox.get, 1)


async def unsure(stage: Stage) -> Post:
    """Return the post as one that was sent when nobody knows what came of it."""
    return replace(await post(stage), unsure_since=stamp(BEGUN))


async def later(stage: Stage, **span: float) -> None:
    """Have time pass for the outbox."""
    clock = stage.app.posting._clock
    stage.app.posting._clock = lambda: clock() + timedelta(**span)


def lines(stage: Stage) -> list[discord.Message]:
    return [message for message in stage.channel.history() if message.author.id == stage.env.bot.user.id or message.webhook_id]


async def test_an_approved_post_is_said_in_its_channel_and_its_card_links_to_it(ready: Stage):  # noqa: F811
    await approved(ready)
    assert await ready.app.posting.send_next()
    (line,) = lines(ready)
    assert line.content == "**keeper**: The fog is late."
    sent = await post(ready)
    assert (sent.status, sent.x_id) == (State.POSTED, str(line.id))
    (body,) = [request.json for request in ready.sent("POST", f"/channels/{ready.channel.id}/messages")]
    assert (body["nonce"], body["enforce_nonce"]) == ("post-1", True)
    assert body["allowed_mentions"]["parse"] == []


async def test_its_card_says_where_it_goes_and_links_to_it(ready: Stage):  # noqa: F811
    await ready.app.posting.draft("keeper", None, "The fog is late.", "operator", channel=ready.channel.id)
    await ready.env.advance_time(1)
    (card,) = at_desk(ready)
    assert card.content.startswith(f"**keeper** → <#{ready.channel.id}> · post 1\n")
    assert "of 280" not in card.content
    await ready.boss.click(card, label="Approve")
    await ready.app.posting.send_next()
    await ready.env.advance_time(1)
    (line,) = lines(ready)
    there = f"https://discord.com/channels/{ready.channel.guild.id}/{ready.channel.id}/{line.id}"
    assert at_desk(ready)[0].content.endswith(f": {there}")


async def test_it_pings_nobody(ready: Stage):  # noqa: F811
    post = await ready.app.posting.draft("keeper", None, NASTY, "operator", channel=ready.channel.id)
    await ready.app.store.write(lambda db: db.table("posts").update(post.id, {"status": "approved"}))
    await ready.app.posting.send_next()
    assert len(lines(ready)) == 1
    assert pings(ready) == []


async def test_a_bound_voice_speaks_under_its_own_name(ready: Stage):  # noqa: F811
    await ready.boss.slash(ready.channel, "bind", voice="keeper", webhook=True)
    await approved(ready, "The *fog* is late.")
    await ready.app.posting.send_next()
    (line,) = lines(ready)
    assert (line.author.name, line.content) == ("keeper · AI BOT", r"The \*fog\* is late.")
    assert (await post(ready)).x_id == str(line.id)
    (body,) = [request.json for request in ready.env.http_requests if isinstance(request.json, dict) and request.json.get("username")]
    assert body["allowed_mentions"]["parse"] == []


async def test_another_voice_than_the_bound_one_speaks_as_the_bot(ready: Stage):  # noqa: F811
    await ready.train("gull")
    await ready.boss.slash(ready.channel, "bind", voice="gull", webhook=True)
    await approved(ready)
    await ready.app.posting.send_next()
    assert lines(ready)[-1].content == "**keeper**: The fog is late."


async def test_where_the_webhook_cannot_be_used_the_bot_speaks(ready: Stage, monkeypatch):  # noqa: F811
    await ready.boss.slash(ready.channel, "bind", voice="keeper", webhook=True)
    await approved(ready)
    ready.env.inject_error("POST", "/webhooks/*/*", status=403)
    await ready.app.posting.send_next()
    assert lines(ready)[-1].content == "**keeper**: The fog is late."


@pytest.mark.parametrize("webhook", [False, True])
@pytest.mark.parametrize("made", [False, True])
async def test_after_an_unclear_answer_it_looks_and_the_line_is_there_once(ready: Stage, monkeypatch, webhook, made):  # noqa: F811
    if webhook:
        await ready.boss.slash(ready.channel, "bind", voice="keeper", webhook=True)
    await approved(ready)
    ready.app.posting._clock = lambda: BEGUN
    where, name = (Webhooks, "send_once") if webhook else (discord.abc.Messageable, "send")
    send = getattr(where, name)

    async def broken(*args, **wanted):
        if made:
            await send(*args, **wanted)
        raise aiohttp.ServerDisconnectedError

    monkeypatch.setattr(where, name, broken)
    await ready.app.posting.send_next()
    monkeypatch.setattr(where, name, send)
    assert (await post(ready)).status is State.SENDING
    assert len(lines(ready)) == made
    await later(ready, minutes=10)
    await ready.app.posting.send_next()
    assert (await post(ready)).status is (State.POSTED if made else State.APPROVED)
    await later(ready, minutes=10)
    assert await ready.app.posting.send_next() is not made
    (line,) = lines(ready)
    assert ((await post(ready)).status, (await post(ready)).x_id) == (State.POSTED, str(line.id))


async def test_a_line_that_another_post_or_person_said_is_not_taken_for_it(ready: Stage):  # noqa: F811
    await ready.alice.send(ready.channel, "**keeper**: The fog is late.")
    await approved(ready)
    cog = ready.env.bot.get_cog("Delivering")
    assert await cog.find(await unsure(ready)) is None
    await ready.app.posting.send_next()
    assert await cog.find(await unsure(ready)) == (await post(ready)).x_id


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_what_discord_refuses_fails_with_a_reason_and_waits_for_a_person(ready: Stage, status):  # noqa: F811
    await approved(ready)
    ready.env.inject_error("POST", f"/channels/{ready.channel.id}/messages", status=status, message="Missing Permissions")
    await ready.app.posting.send_next()
    failed = await post(ready)
    assert (failed.status, failed.awaits_person) == (State.FAILED, True)
    assert (await ready.app.posting.history(1))[-1]["why"] == "Discord refused the line for the channel (Missing Permissions)."
    assert lines(ready) == []


async def test_a_channel_that_is_gone_fails_and_one_that_is_not_known_yet_waits(ready: Stage, monkeypatch):  # noqa: F811
    cog = ready.env.bot.get_cog("Delivering")
    await approved(ready)
    monkeypatch.setattr(ready.env.bot, "get_channel", lambda number: None)
    for status in (401, 404):
        ready.env.inject_error("GET", f"/channels/{ready.channel.id}", status=status)
        with pytest.raises(SendError, match="The channel is gone") as gone:
            await cog.send(await post(ready))
    ready.env.inject_error("GET", f"/channels/{ready.channel.id}", status=404)
    with pytest.raises(SendError, match="The channel is gone") as gone:
        await cog.send(await post(ready))
    monkeypatch.setattr(ready.env.bot, "is_ready", lambda: False)
    with pytest.raises(SendError, match="Discord is not there") as away:
        await cog.find(await unsure(ready))
    assert (gone.value.retry, away.value.retry) == (Retry.NEVER, Retry.LATER)


async def test_a_thread_in_which_nobody_wrote_for_long_is_written_in_all_the_same(ready: Stage, monkeypatch):  # noqa: F811
    await approved(ready)
    monkeypatch.setattr(ready.env.bot, "get_channel", lambda number: None)  # the library holds none that was archived
    await ready.app.posting.send_next()
    assert [line.content for line in lines(ready)] == ["**keeper**: The fog is late."]


async def test_what_takes_no_messages_is_no_channel_for_a_post(ready: Stage):  # noqa: F811
    category = await ready.env.bot.get_guild(ready.channel.guild.id).create_category("Lights")
    post = await ready.app.posting.draft("keeper", None, "The fog is late.", "operator", channel=category.id)
    with pytest.raises(SendError, match="The channel is gone") as refused:
        await ready.env.bot.get_cog("Delivering").send(post)
    assert refused.value.retry is Retry.NEVER


async def test_a_voice_that_is_called_otherwise_meanwhile_is_found_again(ready: Stage):  # noqa: F811
    await approved(ready)
    await ready.app.posting.send_next()
    await ready.app.store.write(called.put, ready.channel.guild.id, "keeper", called.Called("Ottoline"), "boss")
    assert await ready.env.bot.get_cog("Delivering").find(await unsure(ready)) == str(lines(ready)[0].id)


@pytest.mark.parametrize("webhook", [False, True])
async def test_a_reply_to_a_line_that_was_posted_goes_on_in_its_voice(ready: Stage, webhook):  # noqa: F811
    if webhook:
        await ready.boss.slash(ready.channel, "bind", voice="keeper", webhook=True)
    await approved(ready)
    await ready.app.posting.send_next()
    (line,) = lines(ready)
    await ready.bob.send(ready.channel, "Is it?", reply_to=line)
    assert lines(ready)[-1].id != line.id
    assert (await last_request(ready)).message == "The fog is late. Is it?"


async def test_limits_pass(ready: Stage, monkeypatch):  # noqa: F811
    await approved(ready)
    busy = discord.HTTPException(SimpleNamespace(status=429, reason="Too Many Requests"), "Too many")
    monkeypatch.setattr(discord.TextChannel, "send", AsyncMock(side_effect=busy))
    with pytest.raises(SendError) as refused:
        await ready.env.bot.get_cog("Delivering").send(await post(ready))
    assert refused.value.retry is Retry.LATER


@pytest.mark.parametrize("status", [401, 403])
async def test_a_look_that_is_not_allowed_is_a_persons(ready: Stage, status):  # noqa: F811
    await approved(ready)
    ready.env.inject_error("GET", f"/channels/{ready.channel.id}/messages", status=status)
    with pytest.raises(SendError) as refused:
        await ready.env.bot.get_cog("Delivering").find(await unsure(ready))
    assert refused.value.retry is Retry.NEVER


async def test_too_much_to_look_through_is_a_persons(ready: Stage, monkeypatch):  # noqa: F811
    monkeypatch.setattr(delivering, "LOOKED_AT", 2)
    await approved(ready)
    for _ in range(3):
        await ready.alice.send(ready.channel, "hello")
    with pytest.raises(SendError, match="too many messages") as refused:
        await ready.env.bot.get_cog("Delivering").find(await unsure(ready))
    assert refused.value.retry is Retry.NEVER


async def test_posts_wait_while_there_is_no_connection(ready: Stage):  # noqa: F811
    await approved(ready)
    await ready.env.bot.remove_cog("Delivering")
    assert ready.app.posting.channels is None
    assert not await ready.app.posting.send_next()
    await ready.env.restart_bot(MynahBot(ready.app, prefix_commands=True))
    assert await ready.app.posting.send_next()
    assert (await post(ready)).status is State.POSTED


async def test_a_webhook_is_asked_once_where_discord_fails():
    """The library would ask it five times, and each time may make a message."""
    asked = []

    async def fail(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=503)

    application = web.Application()
    application.router.add_route("*", "/{any:.*}", fail)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession(raise_for_status=delivering._no_second_time) as session:
        webhook = discord.Webhook.partial(1, "t" * 60, session=session)
        base = discord.http.Route.BASE
        discord.http.Route.BASE = f"http://127.0.0.1:{port}"
        try:
            with pytest.raises(aiohttp.ClientResponseError):
                await webhook.send("The fog is late.", wait=True)
        finally:
            discord.http.Route.BASE = base
            await runner.cleanup()
    assert len(asked) == 1
