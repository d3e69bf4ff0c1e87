"""Answers without a command: a message's menu, replies, mentions, and channels that have a voice."""

from bot.faces.discord.bot import MynahBot
from bot.faces.discord.conversing import ONE_VOICE
from data import talk
from tests.bot.discord.conftest import Stage
from tests.bot.discord.test_saying import last_request


def me(stage: Stage) -> str:
    return f"<@{stage.env.bot.user.id}>"


async def test_ask_answers_what_was_said(stage: Stage):
    await stage.train()
    result = await stage.alice.slash(stage.channel, "ask", voice="keeper", message="Is it dark yet?")
    assert result.response.content.startswith("**keeper**: line ")
    assert (await last_request(stage)).message == "Is it dark yet?"
    await stage.alice.send(stage.channel, "!ask keeper and now?")
    assert (await last_request(stage)).message == "and now?"


async def test_a_reply_to_a_line_goes_on_with_what_was_said_before(stage: Stage):
    await stage.train()
    await stage.alice.send(stage.channel, "!ask keeper Is it dark?")
    line = stage.history[-1]
    await stage.bob.send(stage.channel, "And the fog?", reply_to=line)
    answer = stage.history[-1]
    assert answer.reference.message_id == stage.channel.history()[-2].id
    assert answer.content.startswith("**keeper**: ")
    said = line.content.removeprefix("**keeper**: ")
    assert (await last_request(stage)).message == f"{said} And the fog?"
    assert await stage.app.store.read(talk.request_of, answer.id)


async def test_a_reply_to_anything_else_and_talk_among_members_are_left_alone(stage: Stage):
    await stage.train()
    first = await stage.alice.send(stage.channel, "good evening")
    await stage.bob.send(stage.channel, "good evening to you", reply_to=first)
    assert stage.history == []


async def test_a_line_that_is_forwarded_is_not_replied_to(stage: Stage):
    await stage.train()
    await stage.alice.send(stage.channel, "!ask keeper Is it dark?")
    line = stage.history[-1]
    await stage.bob.forward(line, stage.channel)
    assert stage.history == [line]


async def test_a_mention_needs_a_channel_with_a_voice(stage: Stage):
    await stage.train()
    await stage.alice.send(stage.channel, f"{me(stage)} who are you?")
    assert stage.history[-1].content == ONE_VOICE
    assert "bind" not in stage.alice.available_commands(stage.channel)
    bound = await stage.boss.slash(stage.channel, "bind", voice="Keeper")
    assert bound.response.content == "**keeper** from now on answers whoever mentions me here or replies to it."
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    await stage.alice.send(stage.channel, f"{me(stage)} who are you?")
    assert stage.history[-1].content.startswith("**keeper**: ")
    assert (await last_request(stage)).message == "who are you?"
    gone = await stage.boss.slash(stage.channel, "bind")
    assert gone.response.content == "Nobody answers here any more."
    assert (await stage.boss.slash(stage.channel, "bind")).response.content == "Nobody answered here."
    assert len(stage.env.errors) == 0


async def test_binding_is_for_moderators_and_voices_that_are_there(stage: Stage):
    await stage.alice.send(stage.channel, "!bind keeper")
    assert stage.history[-1].content == "Giving a channel a voice is for members with the permission Manage Server."
    await stage.boss.send(stage.channel, "!bind nobody")
    assert "No voice named nobody is trained" in stage.history[-1].content
    assert len(stage.env.errors) == 2


async def test_a_message_is_answered_from_its_menu(stage: Stage):
    await stage.train()
    message = await stage.alice.send(stage.channel, "The ferry is late again.")
    menu = await stage.bob.context_menu(stage.channel, "Answer as…", message)
    assert menu.ephemeral
    chosen = await stage.bob.select(menu.response, ["keeper"])
    (answer,) = chosen.followups
    assert not answer.ephemeral
    assert answer.content.startswith("**keeper**: ")
    assert (await last_request(stage)).message == "The ferry is late again."


async def test_a_menu_from_before_a_restart_says_why_it_cannot(stage: Stage):
    await stage.train()
    message = await stage.alice.send(stage.channel, "The ferry is late again.")
    menu = await stage.bob.context_menu(stage.channel, "Answer as…", message)
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    chosen = await stage.bob.select(menu.response, ["keeper"])
    assert chosen.response.content == "I have no words of that message: it has none, or I was restarted since. Choose it again."


async def test_what_cannot_be_answered_from_the_menu_says_why_in_its_place(stage: Stage, monkeypatch):
    await stage.train()
    message = await stage.alice.send(stage.channel, "The ferry is late again.")
    menu = await stage.bob.context_menu(stage.channel, "Answer as…", message)
    stage.speaker.lines[:] = ["ask @everyone"]
    await stage.bob.select(menu.response, ["keeper"])
    assert menu.response.content.startswith("None of 24 lines of keeper may be said")


async def test_without_a_voice_there_is_nobody_to_answer(stage: Stage):
    message = await stage.alice.send(stage.channel, "The ferry is late again.")
    menu = await stage.bob.context_menu(stage.channel, "Answer as…", message)
    assert menu.response.content.startswith("No voice is trained yet")
    assert len(stage.env.errors) == 1
