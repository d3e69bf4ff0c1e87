"""Games in Discord: quizzes with their guesses, reveal and points, duels with their votes, across restarts and forgetting."""

import asyncio
import json
from datetime import UTC, datetime

import discord
import pytest
import pytest_asyncio
from sqlite_utils import Database

from bot.errors import SpeechFailedError
from bot.faces.discord import render_games
from bot.faces.discord.bot import MynahBot
from bot.faces.discord.refereeing import FORGOTTEN
from bot.faces.discord.text import MESSAGE
from bot.services.cards import ENOUGH_GUESSES
from bot.settings import Quotas
from data import duels, jobs, models, quizzes, speech
from tests.bot.discord.conftest import Stage, posts, unlike
from tests.bot.discord.test_speaking import NASTY, pings

LINES = [unlike(number, 4) for number in range(40)]  # as long as the posts are
REAL = {tweet.text for tweet in posts("keeper")}


@pytest_asyncio.fixture
async def ready(stage: Stage) -> Stage:
    """A stage with a voice, keeper, whose lines are as long as its posts; the odd text of a quiz is a line."""
    await stage.train()
    stage.speaker.lines = list(LINES)
    odd_is(stage, voice=True)
    return stage


@pytest_asyncio.fixture
async def pair(ready: Stage) -> Stage:
    """With a second voice, gull."""
    await ready.train("gull")
    return ready


def odd_is(stage: Stage, *, voice: bool) -> None:
    stage.env.bot.get_cog("Playing").quizzing._chance.seed(1 if voice else 0)


async def quiz(stage: Stage, **wanted) -> quizzes.Quiz:
    """Have alice begin a quiz, and return it as it is shown."""
    result = await stage.alice.slash(stage.channel, "quiz", voice="keeper", **wanted)
    assert result.ephemeral
    await stage.env.advance_time(1)
    row = (await stage.app.store.read(quizzes.untold))[-1]
    assert result.response.content == f"The quiz is open: {stage.history[-1].jump_url}"
    return row


async def duel(stage: Stage, topic: str = "the fog", **wanted) -> duels.Duel:
    """Have alice begin a duel, and return it as it is voted on."""
    result = await stage.alice.slash(stage.channel, "duel", voice_one="keeper", voice_two="gull", topic=topic, **wanted)
    assert result.ephemeral
    assert result.response.content.startswith("The duel has begun: ")
    await stage.env.advance_time(3)
    (row,) = await stage.app.store.read(duels.untold)
    return row


def letter(option: int) -> str:
    return render_games.LETTERS[option]


def wrong(row: quizzes.Quiz) -> str:
    return letter((row.odd + 1) % 4)


def labels(message) -> list[str]:
    return [button.label for row in message.components for button in row.children]


def requests(db: Database) -> list[speech.Request]:
    return [speech.get(db, row["id"]) for row in db.query("SELECT id FROM requests ORDER BY id")]


async def restart(stage: Stage) -> None:
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))


# --------------------------------------------------------------------- quizzes


@pytest.mark.parametrize("voice", [True, False])
async def test_a_quiz_mixes_real_posts_with_lines(ready: Stage, voice: bool):
    """Three of one kind and one of the other, alike in length, held-out posts first, with four buttons and a time."""
    odd_is(ready, voice=voice)
    row = await quiz(ready)
    real = [text for option, text in enumerate(row.options) if row.is_real(option)]
    assert len(real) == (3 if voice else 1)
    assert set(real) <= REAL
    assert set(row.options) - set(real) <= set(LINES)
    lengths = sorted(map(len, row.options))
    assert lengths[0] >= 0.6 * lengths[-1]
    corpus = await ready.app.store.read(lambda db: jobs.corpus_of(db, models.get(db, row.model).corpus))
    assert set(real) <= {post.text for post in (*corpus.report, *corpus.stop)}
    (message,) = ready.history
    mixture = "Three of these are real posts, and one is mine" if voice else "Three of these are mine, and one is a real post"
    assert message.content.startswith(f"**keeper** · {mixture}.\n**A** · ")
    assert message.content.endswith(f"Guess until <t:{int(row.ends_at.timestamp())}:T>; nobody sees your guess before.")
    assert labels(message) == ["A", "B", "C", "D"]
    (asked,) = await ready.app.store.read(requests)
    assert (asked.count, asked.purpose) == (1 if voice else 3, speech.Purpose.TALK)


async def test_guesses_are_private_and_may_be_changed(ready: Stage):
    """The last one counts; nothing is to be seen of it before the end."""
    row = await quiz(ready)
    (message,) = ready.history
    before = message.content
    first = await ready.bob.click(message, label=wrong(row))
    assert first.ephemeral
    until = f"until <t:{int(row.ends_at.timestamp())}:T>."
    assert first.response.content == f"You guessed **{wrong(row)}**; you can change it {until}"
    second = await ready.bob.click(message, label=letter(row.odd))
    assert second.response.content == f"You guessed **{letter(row.odd)}**; you can change it {until}"
    await ready.alice.click(message, label=wrong(row))
    await ready.env.advance_time(58)
    assert ready.history[0].content == before
    await ready.env.advance_time(2)
    (message,) = ready.history
    assert message.content.startswith(f"**keeper** · {letter(row.odd)} was mine.\n")
    assert f"✅ **{letter(row.odd)}** (mine, 1 vote) · " in message.content
    assert f"⬜ **{wrong(row)}** (real, 1 vote) · " in message.content
    assert message.content.endswith("1 of 2 were right: bob (1 point).")
    assert message.components == []
    assert pings(ready) == []


async def test_a_quiz_the_other_way_round_is_revealed_as_such(ready: Stage):
    odd_is(ready, voice=False)
    row = await quiz(ready, seconds=10)
    await ready.bob.click(ready.history[0], label=wrong(row))
    await ready.env.advance_time(10)
    content = ready.history[0].content
    assert f"{letter(row.odd)} was the real post." in content
    assert f"**{letter(row.odd)}** (real, 0 votes)" in content
    assert f"**{wrong(row)}** (mine, 1 vote)" in content
    assert content.endswith("Nobody was right, of 1 who guessed.")


async def test_a_quiz_by_prefix_in_which_nobody_guesses(ready: Stage):
    await ready.alice.send(ready.channel, "!quiz keeper 20")
    await ready.env.advance_time(1)
    (message,) = ready.history
    assert labels(message) == ["A", "B", "C", "D"]
    await ready.env.advance_time(20)
    (message,) = ready.history
    assert message.content.endswith("Nobody guessed.")
    assert await ready.app.store.read(quizzes.untold) == []


async def test_the_end_is_shown_once(ready: Stage):
    """Two edits: the question and the reveal, however long the bot goes on."""
    await quiz(ready, seconds=10)
    await ready.env.advance_time(30)
    assert len(ready.sent("PATCH", f"/messages/{ready.history[0].id}")) == 2


async def test_a_quiz_goes_on_after_a_restart(ready: Stage):
    """Its buttons work, guesses from before count, and it ends when it was to end."""
    row = await quiz(ready)
    message = ready.history[0]
    await ready.bob.click(message, label=letter(row.odd))
    await restart(ready)
    await ready.alice.click(message, label=letter(row.odd))
    await ready.env.advance_time(60)
    assert "2 of 2 were right: bob (1 point), alice (1 point)." in ready.history[0].content


async def test_a_quiz_that_ended_while_the_bot_was_down_is_revealed(ready: Stage):
    row = await quiz(ready)
    await ready.bob.click(ready.history[0], label=letter(row.odd))
    await ready.app.store.write(lambda db: db.table("quizzes").update(row.id, {"ends_at": "2020-01-01T00:00:00.000000+00:00"}))
    await restart(ready)
    await ready.env.advance_time(1)
    assert "1 of 1 were right" in ready.history[0].content
    assert await ready.app.store.read(quizzes.untold) == []


async def test_a_guess_after_the_end_is_refused(ready: Stage):
    """Also in the second before the message says so."""
    row = await quiz(ready)
    await ready.app.store.write(quizzes.close_due, row.ends_at)
    late = await ready.bob.click(ready.history[0], label="A")
    assert (late.response.content, late.ephemeral) == ("That quiz is over.", True)
    assert await ready.app.store.read(quizzes.guesses, row.id) == []


async def test_one_quiz_at_a_time_in_a_channel(ready: Stage):
    row = await quiz(ready)
    second = await ready.bob.slash(ready.channel, "quiz", voice="keeper")
    refused = "A quiz is open in this channel already: guess there, and begin the next when it has ended."
    assert second.ephemeral
    assert second.response.content == refused
    await ready.bob.send(ready.channel, "!quiz keeper")
    assert ready.history[-1].content == refused
    assert len(await ready.app.store.read(requests)) == 1
    await ready.env.advance_time(60)
    await ready.bob.send(ready.channel, "!quiz keeper")
    await ready.env.advance_time(1)
    (again,) = await ready.app.store.read(quizzes.untold)
    assert again.id != row.id
    assert len(ready.env.errors) == 2


async def test_posts_that_members_have_seen_come_last(ready: Stage):
    """Even after those that the voice learned from."""
    new = sorted(REAL)[:3]
    row = await quiz(ready, seconds=10)
    await ready.env.advance_time(10)
    await ready.app.store.write(lambda db: db.table("quizzes").update(row.id, {"options": json.dumps(sorted(REAL - set(new)))}))
    odd_is(ready, voice=True)
    again = await quiz(ready)
    assert sorted(text for option, text in enumerate(again.options) if again.is_real(option)) == new


async def test_a_voice_forgotten_in_mid_quiz_takes_everything_along(ready: Stage):
    """Its posts are not left standing, and its points are gone."""
    row = await quiz(ready)
    await ready.bob.click(ready.history[0], label=letter(row.odd))
    asked = await ready.boss.slash(ready.channel, "forget", handle="keeper")
    await ready.boss.click(asked.response, label="Forget it all")
    await ready.env.advance_time(2)
    (message,) = ready.history
    assert (message.content, message.components) == (FORGOTTEN, [])
    board = await ready.alice.slash(ready.channel, "leaderboard")
    assert board.response.content == "Nobody has guessed here yet: `/quiz` begins a round."


async def test_a_voice_forgotten_in_the_moment_of_the_reveal_is_taken_down_as_well(ready: Stage, monkeypatch):
    row = await quiz(ready, seconds=10)
    reveal = render_games.reveal

    def late(*wanted):  # what this returns is sent after the row is gone
        monkeypatch.setattr(quizzes, "mark_told", lambda db, number: forget(db) or mark(db, number))
        return reveal(*wanted)

    def forget(db):
        db.conn.execute("DELETE FROM quizzes WHERE id = ?", [row.id])

    mark = quizzes.mark_told
    monkeypatch.setattr(render_games, "reveal", late)
    await ready.env.advance_time(12)
    assert (ready.history[0].content, ready.history[0].components) == (FORGOTTEN, [])


@pytest.mark.parametrize(
    ("begin", "table", "label", "gone"),
    [
        (quiz, "quizzes", "A", "That quiz is gone: its voice was forgotten."),
        (duel, "duels", "gull", "That duel is gone: a voice of it was forgotten."),
    ],
)
async def test_a_button_takes_down_what_was_forgotten_while_the_bot_was_down(pair: Stage, begin, table: str, label: str, gone: str):
    row = await begin(pair)
    (message,) = pair.history
    await pair.app.store.write(lambda db: db.conn.execute(f"DELETE FROM {table} WHERE id = ?", [row.id]))
    pressed = await pair.bob.click(message, label=label)
    assert (pressed.response.content, pressed.ephemeral) == (gone, True)
    assert (pair.history[0].content, pair.history[0].components) == (gone, [])


async def test_a_voice_that_is_not_there(ready: Stage):
    result = await ready.alice.slash(ready.channel, "quiz", voice="nobody")
    assert result.ephemeral
    assert result.response.content == "No voice named nobody is trained: `/train nobody` makes it, `/models` lists those there are."
    assert ready.history == []
    assert len(ready.env.errors) == 1


async def test_too_few_posts_of_that_length(ready: Stage):
    """No post is as long as these lines: nothing is begun that length would give away."""
    ready.speaker.lines = [unlike(number, 24) for number in range(23)]
    result = await ready.alice.slash(ready.channel, "quiz", voice="keeper")
    assert result.response.content == "Too few posts of keeper are as long as its line and may be shown: try again, or another voice."
    assert await ready.app.store.read(quizzes.untold) == []
    assert len(ready.env.errors) == 1


async def test_posts_that_may_not_be_said_are_not_shown(ready: Stage, monkeypatch):
    """All but two mention somebody: too few for three real ones."""
    fit = sorted(REAL)[:2]
    refusal = ready.app.speaking.refusal

    async def strict(text, server):
        return await refusal(text if text in ("", *fit) else f"@{text}", server)

    monkeypatch.setattr(ready.app.speaking, "refusal", strict)
    result = await ready.alice.slash(ready.channel, "quiz", voice="keeper")
    assert result.response.content.startswith("Too few posts of keeper")
    assert len(ready.env.errors) == 1


async def test_games_are_for_servers(ready: Stage):
    for text in ("!quiz keeper", "!duel keeper gull tea", "!leaderboard"):
        await ready.alice.send_dm(text)
    said = [message.content for message in ready.alice.user.dm_channel.history() if message.author.id == ready.env.bot.user.id]
    assert said == ["That works in a server alone, not in private."] * 3
    assert len(ready.env.errors) == 3


async def test_quotas_hold_for_games(ready: Stage, monkeypatch):
    limited = ready.app.settings.model_copy(update={"quotas": Quotas(lines_a_minute=1)})
    monkeypatch.setattr(ready.app.speaking, "_settings", limited)
    await quiz(ready, seconds=10)
    await ready.env.advance_time(10)
    odd_is(ready, voice=True)
    result = await ready.alice.slash(ready.channel, "quiz", voice="keeper")
    assert result.response.content.startswith("You may ask for 1 lines within a minute: ask again in ")
    assert len(ready.env.errors) == 1


@pytest.mark.parametrize("text", ["!quiz", "!quiz keeper 5", "!quiz keeper soon", "!duel keeper gull"])
async def test_bad_arguments_are_answered_with_the_usage(ready: Stage, text: str):
    await ready.alice.send(ready.channel, text)
    (reply,) = ready.history
    usage = "quiz voice [seconds]" if "quiz" in text else "duel voice voice topic"
    assert reply.content == f"Type it as: `!{usage}`."
    assert len(ready.env.errors) == 1


async def test_an_outage_delays_the_reveal_and_a_deleted_message_ends_it(ready: Stage):
    row = await quiz(ready, seconds=10)
    await ready.bob.click(ready.history[0], label=letter(row.odd))
    ready.env.inject_error("PATCH", "/channels/*/messages/*", status=401)
    await ready.env.advance_time(10)
    assert labels(ready.history[0])
    await ready.env.advance_time(6)
    assert "1 of 1 were right" in ready.history[0].content
    await quiz(ready, seconds=10)
    ready.env.backend.delete_message(ready.channel.id, ready.history[-1].id)
    await ready.env.advance_time(12)
    assert await ready.app.store.read(quizzes.untold) == []


async def test_the_leaderboard_is_the_servers(ready: Stage):
    """Points first; names are shown as their characters, and nobody is pinged."""
    carol = ready.boss.guild.add_member(ready.env.create_user("carol"), nick="**@everyone**")
    row = await quiz(ready, seconds=10)
    await ready.bob.click(ready.history[0], label=wrong(row))
    await carol.click(ready.history[0], label=letter(row.odd))
    await ready.env.advance_time(10)
    board = await ready.alice.slash(ready.channel, "leaderboard")
    carols = "\\*\\*@\u200beveryone\\*\\*"
    assert board.response.content == f"**1** · {carols} · 1 point, 1 guessed\n**2** · bob · 0 points, 1 guessed"
    assert f"1 of 2 were right: {carols} (1 point)." in ready.history[0].content
    await ready.alice.send(ready.channel, "!leaderboard")
    assert ready.history[-1].content == board.response.content
    assert pings(ready) == []


async def test_the_leaderboard_has_fifteen_rows(ready: Stage):
    row = await quiz(ready)

    def guess(db):
        for member in range(1, 21):
            quizzes.guess(db, row.id, member, f"m{member}", row.odd if member > 5 else (row.odd + 1) % 4, row.ends_at.replace(year=2000))
        quizzes.close_due(db, row.ends_at)

    await ready.app.store.write(guess)
    await ready.alice.send(ready.channel, "!leaderboard")
    rows = ready.history[-1].content.splitlines()
    assert len(rows) == 15
    assert rows[0] == "**1** · m6 · 1 point, 1 guessed"
    await ready.env.advance_time(1)
    assert "15 of 20 were right" in ready.history[0].content
    assert "and 5 besides." in ready.history[0].content


@pytest.mark.parametrize("guesses", [ENOUGH_GUESSES - 1, ENOUGH_GUESSES])
async def test_the_card_shows_how_often_a_voice_fools(ready: Stage, guesses: int):
    row = await quiz(ready)

    def guess(db):
        for member in range(guesses):
            quizzes.guess(db, row.id, member, "m", row.odd if member < 2 else (row.odd + 1) % 4, row.ends_at.replace(year=2000))
        quizzes.close_due(db, row.ends_at)

    await ready.app.store.write(guess)
    result = await ready.alice.slash(ready.channel, "show", voice="keeper")
    (embed,) = result.response.embeds
    shown = {field.name: field.value for field in embed.fields}
    if guesses < ENOUGH_GUESSES:
        assert "Fool rate" not in shown
    else:
        assert shown["Fool rate"] == "**80%** of 10 guesses were wrong\n(by chance: 75%)"


# ----------------------------------------------------------------------- duels


async def test_a_duel_grows_by_turns_and_is_voted_on(pair: Stage):
    """Each voice answers what the other said, the first the topic; then there are two buttons until the end."""
    row = await duel(pair)
    assert (row.status, len(row.lines)) == ("voting", 6)
    asked = await pair.app.store.read(requests)
    assert [request.voice for request in asked] == ["keeper", "gull"] * 3
    assert [request.message for request in asked] == ["the fog", *row.lines[:-1]]
    assert {request.requested_by for request in asked} == {f"alice (Discord {pair.alice.id})"}
    (message,) = pair.history
    head, *lines, end = message.content.splitlines()
    assert head == "**keeper** and **gull** on: the fog"
    assert lines == [f"**{voice}**: {line}" for voice, line in zip(["keeper", "gull"] * 3, row.lines, strict=True)]
    assert end == f"Who was better? Vote until <t:{int(row.ends_at.timestamp())}:T>."
    assert labels(message) == ["keeper", "gull"]
    voted = await pair.bob.click(message, label="keeper")
    assert voted.ephemeral
    assert voted.response.content.startswith("You voted for **keeper**; you can change it until <t:")
    await pair.bob.click(message, label="gull")
    await pair.alice.click(message, label="gull")
    await pair.boss.click(message, label="keeper")
    await restart(pair)
    await pair.env.advance_time(302)
    (message,) = pair.history
    assert message.content.splitlines()[-1] == "**gull** won by 2 votes to 1."
    assert message.components == []
    assert pings(pair) == []


@pytest.mark.parametrize(("voters", "end"), [(0, "Nobody voted."), (2, "A tie: 1 vote each.")])
async def test_a_duel_without_a_winner(pair: Stage, voters: int, end: str):
    await duel(pair, minutes=1)
    for member, label in list(zip((pair.bob, pair.alice), ("keeper", "gull"), strict=True))[:voters]:
        await member.click(pair.history[0], label=label)
    await pair.env.advance_time(61)
    assert pair.history[0].content.splitlines()[-1] == end
    assert await pair.app.store.read(duels.untold) == []


async def test_a_duel_by_prefix(pair: Stage):
    await pair.alice.send(pair.channel, "!duel keeper gull the price   of tea")
    await pair.env.advance_time(3)
    (message,) = pair.history
    assert message.content.startswith("**keeper** and **gull** on: the price of tea\n**keeper**: ")
    assert labels(message) == ["keeper", "gull"]


def hold(stage: Stage, monkeypatch, after: int) -> None:
    """Have the speaker take long for every line after so many."""
    answer = stage.app.speaking.answer

    async def held(request):
        if request > after:
            await asyncio.sleep(100)
        return await answer(request)

    monkeypatch.setattr(stage.app.speaking, "answer", held)


async def test_a_duel_goes_on_after_a_restart(pair: Stage, monkeypatch):
    """What was said stays; the voice whose turn it was speaks."""
    hold(pair, monkeypatch, after=3)
    await pair.alice.send(pair.channel, "!duel keeper gull fog")
    await pair.env.advance_time(2)
    (before,) = await pair.app.store.read(duels.untold)
    shown = [f"**{voice}**: {line}" for voice, line in zip(["keeper", "gull", "keeper"], before.lines, strict=True)]
    assert pair.history[0].content.splitlines()[1:] == [*shown, "**gull** is thinking …"]
    assert pair.history[0].components == []
    monkeypatch.undo()
    await restart(pair)
    await pair.env.advance_time(3)
    (row,) = await pair.app.store.read(duels.untold)
    assert row.lines[:3] == before.lines
    assert row.status == "voting"
    assert [request.voice for request in await pair.app.store.read(requests)] == [
        "keeper",
        "gull",
        "keeper",
        "gull",
        "gull",
        "keeper",
        "gull",
    ]


async def test_a_duel_whose_message_is_deleted_is_broken_off(pair: Stage, monkeypatch):
    """Nobody would see what the voices say."""
    hold(pair, monkeypatch, after=1)
    await pair.alice.send(pair.channel, "!duel keeper gull fog")
    await pair.env.advance_time(1)
    pair.env.backend.delete_message(pair.channel.id, pair.history[0].id)
    await pair.env.advance_time(3)
    assert await pair.app.store.read(duels.untold) == []
    await pair.env.advance_time(100)
    row = await pair.app.store.read(duels.get, 1)
    assert (len(row.lines), row.status) == (1, "told")
    assert len(await pair.app.store.read(requests)) == 2


async def test_games_need_a_channel_that_may_be_written_in(ready: Stage):
    locked = ready.boss.guild.create_text_channel(
        "locked", overwrites={ready.boss.guild.default_role: discord.PermissionOverwrite(send_messages=False)}
    )
    for command, wanted in (("quiz", {"voice": "keeper"}), ("duel", {"voice_one": "keeper", "voice_two": "gull", "topic": "tea"})):
        result = await ready.alice.slash(locked, command, **wanted)
        assert result.response.content == "I may not write in this channel: ask a moderator to give me the permission Send Messages."
    assert await ready.app.store.read(requests) == []
    assert len(ready.env.errors) == 2


async def test_a_duel_ends_with_a_sentence_when_a_line_cannot_be_said(pair: Stage, monkeypatch):
    answer = pair.app.speaking.answer

    async def twice(request):
        if len(await pair.app.store.read(requests)) > 2:
            raise SpeechFailedError("None of 8 lines of keeper may be said (copy 8): try another prompt.")
        return await answer(request)

    monkeypatch.setattr(pair.app.speaking, "answer", twice)
    await pair.alice.send(pair.channel, "!duel keeper gull fog")
    await pair.env.advance_time(3)
    (message,) = pair.history
    *_, second, end = message.content.splitlines()
    assert second.startswith("**gull**: ")
    assert end == "The duel is over: None of 8 lines of keeper may be said \\(copy 8\\): try another prompt."
    assert message.components == []
    assert await pair.app.store.read(duels.untold) == []


async def test_a_line_that_failed_is_asked_for_once_more(pair: Stage, monkeypatch):
    answer = pair.app.speaking.answer
    failed = []

    async def once(request):
        if request == 3:
            failed.append(request)
            raise SpeechFailedError("No line came: ask again.")
        return await answer(request)

    monkeypatch.setattr(pair.app.speaking, "answer", once)
    row = await duel(pair)
    assert (row.status, len(row.lines), failed) == ("voting", 6, [3])
    assert [request.voice for request in await pair.app.store.read(requests)] == [
        "keeper",
        "gull",
        "keeper",
        "keeper",
        "gull",
        "keeper",
        "gull",
    ]


async def test_a_vote_after_the_end_is_refused(pair: Stage):
    row = await duel(pair)
    message = pair.history[0]
    await pair.app.store.write(duels.close_due, row.ends_at)
    late = await pair.bob.click(message, label="gull")
    assert (late.response.content, late.ephemeral) == ("That vote is over.", True)
    assert await pair.app.store.read(duels.votes, row.id) == (0, 0)


async def test_a_duel_of_a_voice_that_was_forgotten_is_taken_down(pair: Stage):
    await duel(pair)
    asked = await pair.boss.slash(pair.channel, "forget", handle="gull")
    await pair.boss.click(asked.response, label="Forget it all")
    await pair.env.advance_time(2)
    (message,) = pair.history
    assert (message.content, message.components) == (FORGOTTEN, [])


@pytest.mark.parametrize(
    ("one", "two", "topic", "sentence"),
    [
        ("keeper", "nobody", "fog", "No voice named nobody is trained"),
        ("nobody", "keeper", "fog", "No voice named nobody is trained"),
        ("keeper", "@Keeper", "fog", "A duel is between two voices: name another one."),
        ("keeper", "gull", "x" * 201, "A topic has at most 200 characters; this one has 201."),
        ("keeper", "gull", "hi @everyone", "That topic mentions somebody"),
        ("keeper", "gull", "see https://evil.example", "That topic holds a link"),
    ],
)
async def test_what_no_duel_is_made_of(pair: Stage, one: str, two: str, topic: str, sentence: str):
    result = await pair.alice.slash(pair.channel, "duel", voice_one=one, voice_two=two, topic=topic)
    assert result.ephemeral
    assert result.response.content.startswith(sentence)
    assert pair.history == []
    assert await pair.app.store.read(duels.untold) == []
    assert len(pair.env.errors) == 1


async def test_voices_are_offered_for_games(pair: Stage):
    for command, option in (("quiz", "voice"), ("duel", "voice_one"), ("duel", "voice_two")):
        offered = await pair.alice.autocomplete(pair.channel, command, option, "@Gu")
        assert [choice["value"] for choice in offered] == ["gull"]


# ------------------------------------------------------------------- rendering


def game(**changes) -> quizzes.Quiz:
    row = {"id": 1, "server": 1, "channel": 1, "message": 1, "voice": "keeper", "model": 1, "options": (NASTY,) * 4, "odd": 0}
    return quizzes.Quiz(
        **row | {"odd_is_voice": True, "asked_by": "me", "ends_at": datetime(2026, 1, 1, tzinfo=UTC), "status": "open"} | changes
    )


def test_texts_are_shown_as_their_characters_and_fit():
    """Four of the worst and longest texts, and forty members with the worst names, in one message."""
    longest = "*" * 280
    guesses = [quizzes.Guess(member, "@everyone" + "_" * 23, 0) for member in range(40)]
    for options in ((NASTY,) * 4, (longest,) * 4):
        for content in (render_games.question(game(options=options)), render_games.reveal(game(options=options), guesses, {})):
            assert len(content) <= MESSAGE
            assert "@everyone" not in content
            assert "https://" not in content
            for mark in render_games.LETTERS:
                assert f"**{mark}**" in content
    revealed = render_games.reveal(game(options=(longest,) * 4), guesses, {})
    assert revealed.endswith(" and 30 besides.")


def test_a_duel_fits_into_a_message():
    row = {"id": 1, "server": 1, "channel": 1, "message": 1, "one": "a" * 90, "two": "b", "topic": "_" * 200, "lines": ("#" * 280,) * 6}
    full = duels.Duel(**row, member=1, asked_by="me", seconds=1, ends_at=None, status="closed", error=None)
    content = render_games.verdict(full, 1, 0)
    assert len(content) <= MESSAGE
    assert content.count("\n") == 7
    assert content.endswith("won by 1 vote to 0.")
