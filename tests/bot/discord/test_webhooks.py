"""Bound voices that speak through a webhook of the bot's own."""

import asyncio
import io
from typing import Any

import discord
import pytest
from PIL import Image
from simcord.http.routes import interactions

from bot.errors import StoreError
from bot.faces.discord import webhooks
from bot.faces.discord.bot import MynahBot
from bot.faces.discord.text import units
from bot.faces.discord.webhooks import FULL, MARK, MISSING, NAME, shown_name
from bot.services.portraits import SIDE, portrait
from data import talk
from tests.bot.discord.conftest import Stage
from tests.bot.discord.test_conversing import me
from tests.bot.discord.test_saying import last_request


@pytest.fixture(autouse=True)
def _webhooks_of_a_bot_are_its_own(monkeypatch):
    """Let them send buttons, as Discord does; simcord takes every webhook for a person's."""
    monkeypatch.setattr(interactions, "_incoming_webhook_body", lambda ctx: (dict(ctx.body()), True))


async def bound(stage: Stage) -> Any:
    """Train a voice, and bind it with a webhook; return the answer."""
    await stage.train()
    return await stage.boss.slash(stage.channel, "bind", voice="keeper", webhook=True)


def spoken(stage: Stage) -> list[discord.Message]:
    return [message for message in stage.channel.history() if message.webhook_id]


async def test_a_bound_voice_speaks_under_its_own_name_and_marked(stage: Stage):
    result = await bound(stage)
    assert result.ephemeral
    assert result.response.content == "**keeper** from now on answers whoever mentions me here or replies to it, under its own name."
    await stage.alice.send(stage.channel, f"{me(stage)} who are you?")
    (answer,) = spoken(stage)
    assert (answer.author.name, answer.author.bot) == ("keeper · AI BOT", True)
    assert answer.content.startswith("line ")
    assert stage.history == []
    (body,) = [request.json for request in stage.env.http_requests if isinstance(request.json, dict) and request.json.get("username")]
    assert body["allowed_mentions"]["parse"] == []


async def test_a_reply_to_it_goes_on_and_its_buttons_work(stage: Stage):
    await bound(stage)
    await stage.alice.send(stage.channel, f"{me(stage)} who are you?")
    (answer,) = spoken(stage)
    await stage.bob.send(stage.channel, "And the fog?", reply_to=answer)
    assert len(spoken(stage)) == 2
    assert (await last_request(stage)).message == f"{answer.content} And the fog?"
    again = await stage.bob.click(answer, label="Again")
    assert again.response.content.startswith("**keeper**: ")


async def test_it_does_not_answer_itself_nor_another_webhook(stage: Stage):
    await bound(stage)
    await stage.alice.send(stage.channel, f"{me(stage)} who are you?")
    other = stage.channel.guild.create_webhook(stage.channel)
    await other.send(f"{me(stage)} hello")
    assert len([message for message in spoken(stage) if message.author.name.endswith(MARK)]) == 1


async def test_after_a_restart_the_webhook_is_fetched_once(stage: Stage):
    await bound(stage)
    number = (await stage.app.store.read(talk.bound, stage.channel.id)).webhook
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    for _ in range(2):
        await stage.alice.send(stage.channel, f"{me(stage)} who are you?")
    assert len(spoken(stage)) == 2
    assert len(stage.sent("GET", f"/webhooks/{number}")) == 1


@pytest.mark.parametrize("restarted", [False, True])
async def test_one_that_was_deleted_is_made_anew_once(stage: Stage, restarted):
    await bound(stage)
    before = (await stage.app.store.read(talk.bound, stage.channel.id)).webhook
    if restarted:
        await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    stage.env.backend.delete_webhook(before)
    for _ in range(2):
        await stage.alice.send(stage.channel, f"{me(stage)} who are you?")
    after = (await stage.app.store.read(talk.bound, stage.channel.id)).webhook
    assert after != before
    assert {message.webhook_id for message in spoken(stage)} == {after}
    assert len(spoken(stage)) == 2
    assert len(stage.sent("POST", f"/channels/{stage.channel.id}/webhooks")) == 2


async def test_where_none_can_be_made_any_more_the_bot_speaks_itself(stage: Stage, monkeypatch, capsys):
    await bound(stage)
    binding = await stage.app.store.read(talk.bound, stage.channel.id)
    token = stage.env.backend.webhooks[binding.webhook].token
    stage.env.backend.delete_webhook(binding.webhook)

    async def refused(self, channel, voice):
        raise webhooks.BadRequestError(MISSING)

    monkeypatch.setattr(webhooks.Webhooks, "_make", refused)
    await stage.alice.send(stage.channel, f"{me(stage)} who are you?")
    assert spoken(stage) == []
    assert stage.history[-1].content.startswith("**keeper**: ")
    printed = capsys.readouterr().out
    assert "webhook cannot be used" in printed
    assert token not in printed


async def test_without_the_permission_it_is_refused_in_private_and_nothing_changes(stage: Stage):
    await stage.train()
    server = stage.env.backend.get_guild(stage.env.bot.guilds[0].id)
    (role,) = [role for role in server.roles.values() if role.name == stage.env.bot.user.name]
    role.permissions &= ~discord.Permissions(manage_webhooks=True, administrator=True).value
    result = await stage.boss.slash(stage.channel, "bind", voice="keeper", webhook=True)
    assert result.ephemeral
    assert [message.content for message in result.followups or [result.response]] == [MISSING]
    assert await stage.app.store.read(talk.bound, stage.channel.id) is None
    assert len(stage.env.errors) == 1


async def test_a_full_channel_is_one_sentence(stage: Stage, monkeypatch):
    await stage.train()

    async def full(self, **_):
        response = type("Response", (), {"status": 400, "reason": "Bad Request"})()
        raise discord.HTTPException(response, {"code": 30007, "message": "Maximum number of webhooks reached (15)"})

    monkeypatch.setattr(discord.TextChannel, "create_webhook", full)
    result = await stage.boss.slash(stage.channel, "bind", voice="keeper", webhook=True)
    assert FULL in [message.content for message in result.followups or [result.response]]
    assert await stage.app.store.read(talk.bound, stage.channel.id) is None
    assert len(stage.env.errors) == 1


async def test_unbinding_and_binding_without_delete_it(stage: Stage):
    await bound(stage)
    assert len(stage.env.backend.webhooks) == 1
    await stage.boss.slash(stage.channel, "bind", voice="keeper")
    assert stage.env.backend.webhooks == {}
    await stage.alice.send(stage.channel, f"{me(stage)} who are you?")
    assert stage.history[-1].content.startswith("**keeper**: ")
    await stage.boss.slash(stage.channel, "bind", voice="keeper", webhook=True)
    await stage.boss.slash(stage.channel, "bind")
    assert stage.env.backend.webhooks == {}
    assert await stage.app.store.read(talk.bound, stage.channel.id) is None


async def test_what_a_killed_process_left_goes_with_the_next_binding(stage: Stage):
    await bound(stage)
    await stage.app.store.write(talk.unbind, stage.channel.id)  # as forgetting a voice does, without Discord
    await stage.boss.slash(stage.channel, "bind", voice="keeper", webhook=True)
    (left,) = stage.env.backend.webhooks
    assert left == (await stage.app.store.read(talk.bound, stage.channel.id)).webhook


async def test_another_voice_there_speaks_as_the_bot(stage: Stage):
    await bound(stage)
    await stage.train("gull")
    await stage.alice.send(stage.channel, "!ask gull Is it dark?")
    line = stage.history[-1]
    await stage.bob.send(stage.channel, "And the fog?", reply_to=line)
    assert spoken(stage) == []
    assert stage.history[-1].content.startswith("**gull**: ")


async def test_two_answers_that_find_it_deleted_make_one(stage: Stage):
    await bound(stage)
    channel = stage.env.bot.get_channel(stage.channel.id)
    binding = await stage.app.store.read(talk.bound, channel.id)
    stage.env.backend.delete_webhook(binding.webhook)
    send = stage.env.bot.get_cog("Conversing").webhooks.sender(channel, binding, None)
    await asyncio.gather(*(send(f"**keeper**: line {number}", files=[], view=discord.ui.View()) for number in range(2)))
    assert sorted(message.content for message in spoken(stage)) == ["line 0", "line 1"]
    assert len(stage.env.backend.webhooks) == 1


@pytest.mark.parametrize("voice", ["keeper", ""])
async def test_an_answer_under_way_does_not_undo_a_binding_without_webhook(stage: Stage, monkeypatch, voice):
    await bound(stage)
    binding = await stage.app.store.read(talk.bound, stage.channel.id)
    stage.env.backend.delete_webhook(binding.webhook)
    make = webhooks.Webhooks._make

    async def meanwhile(self, channel, name):
        made = await make(self, channel, name)
        await stage.app.store.write(*((talk.bind, channel.id, voice, "boss") if voice else (talk.unbind, channel.id)))
        return made

    monkeypatch.setattr(webhooks.Webhooks, "_make", meanwhile)
    await stage.alice.send(stage.channel, f"{me(stage)} who are you?")
    assert stage.history[-1].content.startswith("**keeper**: ")
    assert stage.env.backend.webhooks == {}
    after = await stage.app.store.read(talk.bound, stage.channel.id)
    assert after is None or after.webhook is None
    assert stage.env.bot.get_cog("Conversing").webhooks._known == {}


async def test_a_binding_without_webhook_deletes_the_one_that_an_answer_made_meanwhile(stage: Stage, monkeypatch):
    await bound(stage)
    stage.env.backend.delete_webhook((await stage.app.store.read(talk.bound, stage.channel.id)).webhook)
    write = stage.app.store.write

    async def late(work, *args, **kwargs):
        if work is talk.unbind:
            monkeypatch.setattr(stage.app.store, "write", write)
            await stage.env.bot.get_cog("Conversing").webhooks._renew(
                stage.env.bot.get_channel(stage.channel.id), await stage.app.store.read(talk.bound, stage.channel.id)
            )
        return await write(work, *args, **kwargs)

    stage.env.bot.get_cog("Conversing").webhooks._known.clear()
    monkeypatch.setattr(stage.app.store, "write", late)
    await stage.boss.slash(stage.channel, "bind")
    assert stage.env.backend.webhooks == {}


async def test_a_line_is_said_as_the_bot_if_the_new_webhook_cannot_be_written_down(stage: Stage, monkeypatch):
    await bound(stage)
    stage.env.backend.delete_webhook((await stage.app.store.read(talk.bound, stage.channel.id)).webhook)

    def full(db, binding, webhook):
        raise StoreError("The disk is full, so nothing was stored: free some space and try again.")

    monkeypatch.setattr(talk, "speak_through", full)
    await stage.alice.send(stage.channel, f"{me(stage)} who are you?")
    assert stage.history[-1].content.startswith("**keeper**: ")


def test_names_are_what_discord_takes():
    assert shown_name("keeper") == "keeper · AI BOT"
    assert len(shown_name("x" * 200)) == NAME
    assert NAME - 1 <= units(shown_name("\U0001f9ed" * 60)) <= NAME
    for voice in ("my_discord_fan", "clyde", "DisCord"):
        assert not any(word in shown_name(voice).lower() for word in ("discord", "clyde"))
    assert shown_name("disde") == "disde · AI BOT"


@pytest.mark.parametrize("voice", ["keeper", "_", "9lives"])
def test_a_portrait_is_a_small_picture_and_the_same_each_time(voice):
    picture = Image.open(io.BytesIO(portrait(voice)))
    assert (picture.format, picture.size) == ("PNG", (SIDE, SIDE))
    assert portrait(voice) == portrait(voice)
    assert portrait(voice) != portrait("gull")
