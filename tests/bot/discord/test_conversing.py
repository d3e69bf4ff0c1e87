"""Answers without a command: a message's menu, replies, mentions, and channels that have a voice."""

from typing import Any

import discord

from bot.faces.discord.bot import MynahBot
from bot.faces.discord.conversing import ONE_VOICE
from data import talk
from tests.bot.discord.conftest import Stage, block
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


async def opened(stage: Stage, parent: Any = None) -> Any:
    """Train a voice, and return a thread in which it answers."""
    await stage.train()
    parent = parent or stage.channel
    await stage.env.bot.get_channel(parent.id).create_thread(name="fog", type=discord.ChannelType.public_thread)
    (thread,) = parent.threads
    await stage.boss.slash(thread, "bind", voice="keeper")
    return thread


async def test_in_a_thread_the_last_messages_are_what_was_said_before(stage: Stage):
    thread = await opened(stage)
    for number in range(5):
        await (stage.alice, stage.bob)[number % 2].send(thread, f"Bell {number}.")
    await stage.alice.send(thread, f"{me(stage)} who rings?")
    assert (await last_request(stage)).message == "Bell 1. Bell 2. Bell 3. Bell 4. who rings?"
    answer = thread.history()[-1]
    await stage.bob.send(thread, "Still?", reply_to=answer)
    said = answer.content.removeprefix("**keeper**: ")
    assert (await last_request(stage)).message == f"Bell 3. Bell 4. who rings? {said} Still?"


async def test_in_a_post_of_a_forum_the_post_itself_is_what_was_said_before(stage: Stage):
    await stage.train()
    forum = stage.channel.guild.create_forum_channel("logbook")
    await stage.env.bot.get_channel(forum.id).create_thread(name="fog", content="A post.")
    (post,) = forum.threads
    await stage.boss.slash(post, "bind", voice="keeper")
    await stage.alice.send(post, "The fog is back.")
    await stage.bob.send(post, f"{me(stage)} is it?")
    assert (await last_request(stage)).message == "The fog is back. is it?"  # the post is the bot's, and no line of a voice


async def test_commands_and_their_answers_are_nothing_that_was_said_in_a_thread(stage: Stage):
    thread = await opened(stage)
    await stage.alice.send(thread, "It is dark.")
    await stage.alice.send(thread, "!models")
    assert thread.history()[-1].author.id == stage.env.bot.user.id
    await stage.bob.send(thread, f"{me(stage)} is it?")
    assert (await last_request(stage)).message == "It is dark. is it?"


async def test_what_blocked_users_write_in_a_thread_is_not_listened_to_either(stage: Stage):
    thread = await opened(stage)
    block(stage, stage.bob)
    await stage.alice.send(thread, "It is dark.")
    await stage.bob.send(thread, "It is not.")
    await stage.alice.send(thread, f"{me(stage)} is it?")
    assert (await last_request(stage)).message == "It is dark. is it?"


async def test_a_reply_to_an_old_line_of_a_thread_goes_back_to_what_that_replied_to(stage: Stage):
    thread = await opened(stage)
    await stage.alice.send(thread, f"{me(stage)} is it dark?")
    line = thread.history()[-1]
    for number in range(4):
        await stage.alice.send(thread, f"Bell {number}.")
    await stage.bob.send(thread, "And the fog?", reply_to=line)
    assert (await last_request(stage)).message == f"is it dark? {line.content.removeprefix('**keeper**: ')} And the fog?"


async def test_a_thread_as_long_as_there_is_room_for(stage: Stage):
    thread = await opened(stage)
    for text in ("bell", "b" * 600, "g" * 300):
        await stage.alice.send(thread, text)
    await stage.bob.send(thread, f"{me(stage)} " + "t" * 300)
    assert (await last_request(stage)).message == "g" * 300 + " " + "t" * 300


async def test_where_a_thread_is_not_to_be_read_a_mention_stands_alone(stage: Stage):
    unread = discord.PermissionOverwrite(read_message_history=False)
    guild = stage.channel.guild
    thread = await opened(stage, guild.create_text_channel("stairs", overwrites={guild.default_role: unread}))
    await stage.alice.send(thread, "It is dark.")
    await stage.bob.send(thread, f"{me(stage)} is it?")
    assert (await last_request(stage)).message == "is it?"
    assert thread.history()[-1].content.startswith("**keeper**: ")


async def test_outside_of_a_thread_a_mention_stands_alone(stage: Stage):
    await stage.train()
    await stage.boss.slash(stage.channel, "bind", voice="keeper")
    await stage.alice.send(stage.channel, "It is dark.")
    await stage.bob.send(stage.channel, f"{me(stage)} is it?")
    assert (await last_request(stage)).message == "is it?"


async def test_words_that_discord_hides_are_left_out_of_a_thread(stage: Stage):
    thread = await opened(stage)
    stage.env.approved_intents = discord.Intents.default()  # the portal grants no message content
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=False))
    await stage.alice.send(thread, "It is dark.")
    await stage.alice.send(thread, f"{me(stage)} who are you?")
    said = thread.history()[-1].content.removeprefix("**keeper**: ")
    await stage.bob.send(thread, f"{me(stage)} is it?")
    assert (await last_request(stage)).message == f"who are you? {said} is it?"


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
