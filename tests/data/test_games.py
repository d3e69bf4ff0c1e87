"""Quizzes and duels as rows: who may guess and vote until when, what counts, and what falls with a voice."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from data import accounts, duels, quizzes
from data.errors import GameError, NotStoredError
from data.quizzes import FoolRate, Guess, Score
from tests.voices import add_version

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SERVER, CHANNEL = 7, 70


def after(seconds):
    return NOON + timedelta(seconds=seconds)


def begin(db, model, **changes):
    wish = {"server": SERVER, "channel": CHANNEL, "options": ("a", "b", "c", "d"), "odd": 2, "odd_is_voice": True, "by": "me", "at": NOON}
    return quizzes.add(db, **{"voice": model.voice, "model": model.id, "seconds": 60} | wish | changes)


def duel(db, one="ann", two="bob", **changes):
    wish = {"server": SERVER, "channel": CHANNEL, "topic": "tea", "member": 1, "by": "me", "at": NOON, "seconds": 300}
    return duels.add(db, one=one, two=two, **wish | changes)


@pytest.fixture
async def voice(store):
    return await store.write(add_version)


@pytest.fixture
async def pair(store, voice):
    return voice, await store.write(add_version, ("bob",))


async def test_a_quiz_is_kept_as_it_was_asked(store, voice):
    row = await store.write(begin, voice)
    assert (row.options, row.odd, row.odd_is_voice, row.ends_at) == (("a", "b", "c", "d"), 2, True, after(60))
    assert (row.message, row.status) == (None, "open")
    await store.write(quizzes.put_up, row.id, 99)
    (untold,) = await store.read(quizzes.untold)
    assert untold.message == 99


@pytest.mark.parametrize(("odd_is_voice", "real"), [(True, [True, True, False, True]), (False, [False, False, True, False])])
async def test_which_texts_are_real(store, voice, odd_is_voice, real):
    row = await store.write(begin, voice, odd_is_voice=odd_is_voice)
    assert [row.is_real(option) for option in range(4)] == real


async def test_one_quiz_is_open_in_a_channel(store, voice):
    await store.write(begin, voice)
    with pytest.raises(GameError, match="open in this channel already"):
        await store.write(begin, voice, at=after(59))
    with pytest.raises(GameError):
        await store.read(quizzes.refuse_second, CHANNEL, after(59))
    await store.write(begin, voice, channel=71)
    await store.read(quizzes.refuse_second, CHANNEL, after(60))
    second = await store.write(begin, voice, at=after(60))  # though nobody has closed the first
    assert [(quiz.id, quiz.status) for quiz in await store.read(quizzes.untold)] == [(1, "closed"), (2, "closed"), (second.id, "open")]


async def test_the_database_itself_refuses_a_second_open_one(store, voice):
    await store.write(begin, voice)
    with pytest.raises(sqlite3.IntegrityError):
        await store.write(lambda db: db.table("quizzes").insert(next(iter(db["quizzes"].rows)) | {"id": 10}))


async def test_a_quiz_of_a_voice_that_is_gone_does_not_begin(store, voice):
    await store.write(accounts.forget, "ann")
    with pytest.raises(NotStoredError, match="forgotten before the quiz began"):
        await store.write(begin, voice)


async def test_the_last_guess_of_a_member_counts_until_the_end(store, voice):
    row = await store.write(begin, voice)
    for member, option, at in ((1, 0, 0), (2, 1, 1), (1, 2, 59.9)):
        assert (await store.write(quizzes.guess, row.id, member, f"m{member}", option, after(at))).id == row.id
    with pytest.raises(GameError, match="over"):
        await store.write(quizzes.guess, row.id, 2, "m2", 2, after(60))
    assert await store.read(quizzes.guesses, row.id) == [Guess(1, "m1", 2), Guess(2, "m2", 1)]


async def test_nobody_guesses_in_a_quiz_that_was_closed_or_is_gone(store, voice):
    row = await store.write(begin, voice)
    await store.write(quizzes.close_due, after(60))
    with pytest.raises(GameError):
        await store.write(quizzes.guess, row.id, 1, "m1", 2, after(1))
    with pytest.raises(NotStoredError, match="gone"):
        await store.write(quizzes.guess, 99, 1, "m1", 2, after(1))


async def test_points_count_once_a_quiz_has_ended_and_fewer_guesses_win_a_tie(store, voice):
    guesses = [
        {1: (2, "ann"), 2: (2, "bo"), 3: (0, "cy"), 4: (2, "di")},
        {1: (0, "ann"), 2: (2, "bo"), 3: (1, "cy"), 4: (2, "Di")},
        {1: (1, "ann"), 4: (0, "Di")},
    ]
    for number, guessed in enumerate(guesses):
        row = await store.write(begin, voice, at=after(100 * number))
        for member, (option, name) in guessed.items():
            await store.write(quizzes.guess, row.id, member, name, option, after(100 * number + 1))
    elsewhere = await store.write(begin, voice, server=8, channel=80)
    await store.write(quizzes.guess, elsewhere.id, 9, "far", 2, after(1))
    open_still = [Score(2, "bo", 2, 2), Score(4, "Di", 2, 2), Score(1, "ann", 1, 2), Score(3, "cy", 0, 2)]
    assert await store.read(quizzes.scores, SERVER) == open_still
    assert await store.read(quizzes.fool_rate, "ann") == FoolRate(8, 3)
    await store.write(quizzes.close_due, after(1000))
    ended = [Score(2, "bo", 2, 2), Score(4, "Di", 2, 3), Score(1, "ann", 1, 3), Score(3, "cy", 0, 2)]
    assert await store.read(quizzes.scores, SERVER) == ended
    assert await store.read(quizzes.scores, SERVER, 2) == ended[:2]
    assert await store.read(quizzes.fool_rate, "ann") == FoolRate(11, 5)
    assert (await store.read(quizzes.fool_rate, "ann")).share == 5 / 11
    assert await store.read(quizzes.fool_rate, "bob") == FoolRate(0, 0)


async def test_what_was_shown_before_is_that_of_one_server_and_voice(store, pair):
    ann, bob = pair
    await store.write(begin, ann, options=("old", "b", "c", "d"))
    await store.write(begin, ann, options=("new", "b", "c", "d"), channel=71)
    await store.write(begin, ann, options=("far", "b", "c", "d"), channel=72, server=8)
    await store.write(begin, bob, options=("his", "b", "c", "d"), channel=73)
    assert await store.read(quizzes.shown_before, SERVER, "ann", 9) == {"old", "new", "b", "c", "d"}
    assert await store.read(quizzes.shown_before, SERVER, "ann", 1) == {"new", "b", "c", "d"}


async def test_what_was_told_is_not_told_again(store, pair):
    quiz, contest = await store.write(begin, pair[0]), await store.write(duel)
    assert await store.write(quizzes.mark_told, quiz.id)
    assert await store.write(duels.mark_told, contest.id)
    assert await store.read(quizzes.untold) == []
    assert await store.read(duels.untold) == []
    await store.write(accounts.forget, "ann")
    assert not await store.write(quizzes.mark_told, quiz.id)
    assert not await store.write(duels.mark_told, contest.id)


async def test_a_duel_goes_by_turns_and_is_voted_on_after_its_last_line(store, pair):
    row = await store.write(duel)
    turns = []
    for number in range(duels.LINES):
        turns.append(row.turn)
        with pytest.raises(GameError, match="over"):
            await store.write(duels.vote, row.id, 1, 1, after(number))
        row = await store.write(duels.add_line, row.id, f"line {number}", after(10))
    assert turns == ["ann", "bob"] * 3
    assert row.lines == tuple(f"line {number}" for number in range(6))
    assert (row.status, row.ends_at) == ("voting", after(310))
    with pytest.raises(GameError):
        await store.write(duels.add_line, row.id, "one more", after(11))
    for member, side in ((1, 1), (2, 2), (3, 2), (1, 2), (3, 1)):
        await store.write(duels.vote, row.id, member, side, after(309))
    assert await store.read(duels.votes, row.id) == (1, 2)
    with pytest.raises(GameError):
        await store.write(duels.vote, row.id, 2, 1, after(310))
    await store.write(duels.close_due, after(309))
    assert (await store.read(duels.get, row.id)).status == "voting"
    await store.write(duels.close_due, after(310))
    assert (await store.read(duels.get, row.id)).status == "closed"


async def test_a_duel_that_was_broken_off_goes_no_further(store, pair):
    row = await store.write(duel)
    await store.write(duels.break_off, row.id, "No line came.")
    found = await store.read(duels.get, row.id)
    assert (found.status, found.error) == ("closed", "No line came.")
    with pytest.raises(GameError):
        await store.write(duels.add_line, row.id, "late", after(1))
    await store.write(duels.mark_told, row.id)
    await store.write(duels.break_off, row.id, "Again.")
    assert (await store.read(duels.get, row.id)).error == "No line came."


async def test_a_duel_needs_voices_that_are_there(store, voice):
    with pytest.raises(NotStoredError, match="No voice named bob is trained"):
        await store.write(duel)
    assert await store.read(duels.untold) == []


@pytest.mark.parametrize("handle", ["ann", "bob"])
async def test_games_fall_with_a_voice(store, pair, handle):
    quiz = await store.write(begin, pair[0])
    await store.write(quizzes.guess, quiz.id, 1, "m1", 2, after(1))
    contest = await store.write(duel)
    for number in range(6):
        await store.write(duels.add_line, contest.id, f"line {number}", after(1))
    await store.write(duels.vote, contest.id, 1, 1, after(2))
    await store.write(accounts.forget, handle)
    left = await store.read(lambda db: {table: db[table].count for table in ("quizzes", "guesses", "duels", "votes")})
    quizzes_left = 0 if handle == "ann" else 1
    assert left == {"quizzes": quizzes_left, "guesses": quizzes_left, "duels": 0, "votes": 0}


@pytest.mark.parametrize("work", [quizzes.untold, duels.untold])
async def test_looking_for_games_reads_the_unfinished_alone(store, work):
    """The referee looks each second, for years."""
    asked = []

    def plan(db):
        db.conn.set_trace_callback(asked.append)
        work(db)
        db.conn.set_trace_callback(None)
        (query,) = [statement for statement in asked if statement.startswith("SELECT")]
        return " ".join(row["detail"] for row in db.query("EXPLAIN QUERY PLAN " + query))

    assert "_untold" in await store.read(plan)
