"""Quizzes in Discord as rows: four texts, members' guesses which is the odd one, their points, and how often a voice fools them.

open → closed → told: what is closed counts, and it is told once the message shows it. Moments are taken as arguments, aware, so that
one clock rules a quiz.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlite_utils import Database

from data import models
from data.errors import GameError, NotStoredError
from data.store import insert, stamp

OPTIONS = 4
CHANCE = 1 - 1 / OPTIONS  # the share of wrong guesses among members who cannot tell at all


@dataclass(frozen=True)
class Quiz:
    """Four texts, one of which is unlike the others."""

    id: int
    server: int
    channel: int
    message: int | None
    """None: it is not put up yet."""
    voice: str
    model: int
    options: tuple[str, ...]
    odd: int
    """Which one, from 0."""
    odd_is_voice: bool
    """It is the voice's among real posts; else a real post among the voice's."""
    asked_by: str
    ends_at: datetime
    status: str
    """open, closed or told."""

    def is_real(self, option: int) -> bool:
        """Say whether a text, counted from 0, is a real post."""
        return (option == self.odd) != self.odd_is_voice


@dataclass(frozen=True)
class Guess:
    """What one member took for the odd one."""

    member: int
    name: str
    option: int


@dataclass(frozen=True)
class Score:
    """A member's tally in a server."""

    member: int
    name: str
    """As the member was shown last."""
    points: int
    """One for each right guess."""
    guesses: int


@dataclass(frozen=True)
class FoolRate:
    """How often members took a voice's line for a real post, or the other way round: the wrong ones among all guesses in its quizzes.

    Of who guesses blindly three in four are wrong (`CHANCE`): a voice that fools more often than that looks more real than its account.
    """

    guesses: int
    wrong: int

    @property
    def share(self) -> float:
        """The wrong ones, 0 to 1; there must be a guess."""
        return self.wrong / self.guesses


def add(
    db: Database,
    *,
    server: int,
    channel: int,
    voice: str,
    model: int,
    options: Sequence[str],
    odd: int,
    odd_is_voice: bool,
    by: str,
    at: datetime,
    seconds: int,
) -> Quiz:
    """Begin a quiz that ends so many seconds after `at`; its message is told later.

    Raises:
        GameError: another is open in this channel.
        NotStoredError: the voice was forgotten meanwhile.
    """
    close_due(db, at)
    refuse_second(db, channel, at)
    if not models.exists(db, model):
        raise NotStoredError("That voice was forgotten before the quiz began.")
    row = {
        "server": server,
        "channel": channel,
        "voice": voice,
        "model": model,
        "options": json.dumps(options),
        "odd": odd,
        "odd_is_voice": odd_is_voice,
        "asked_by": by,
        "created_at": stamp(at),
        "ends_at": stamp(at + timedelta(seconds=seconds)),
        "status": "open",
    }
    return get(db, insert(db, "quizzes", row))


def refuse_second(db: Database, channel: int, at: datetime) -> None:
    """Make sure that no quiz is open in a channel.

    Raises:
        GameError: one is.
    """
    if db["quizzes"].count_where("channel = ? AND status = 'open' AND ends_at > ?", [channel, stamp(at)]):
        raise GameError("A quiz is open in this channel already: guess there, and begin the next when it has ended.")


def put_up(db: Database, quiz_id: int, message: int) -> None:
    """Remember which message shows a quiz."""
    db.conn.execute("UPDATE quizzes SET message = ? WHERE id = ?", [message, quiz_id])


def get(db: Database, quiz_id: int) -> Quiz:
    """Return one quiz.

    Raises:
        NotStoredError: it is gone.
    """
    for row in db.query("SELECT * FROM quizzes WHERE id = ?", [quiz_id]):
        return _quiz(row)
    raise NotStoredError("That quiz is gone: its voice was forgotten.")


def untold(db: Database) -> list[Quiz]:
    """Return the quizzes whose end is not shown yet, oldest first."""
    return [_quiz(row) for row in db.query("SELECT * FROM quizzes WHERE status IN ('open', 'closed') ORDER BY id")]


def shown_before(db: Database, server: int, voice: str, most: int) -> set[str]:
    """Return the texts of the last `most` quizzes about a voice in a server."""
    rows = db.query("SELECT options FROM quizzes WHERE server = ? AND voice = ? ORDER BY id DESC LIMIT ?", [server, voice, most])
    return {text for row in rows for text in json.loads(row["options"])}


def guess(db: Database, quiz_id: int, member: int, name: str, option: int, at: datetime) -> Quiz:
    """Write down what a member takes for the odd one, in the place of what he took before; return the quiz.

    Raises:
        GameError: it has ended.
        NotStoredError: it is gone.
    """
    found = get(db, quiz_id)
    if found.status != "open" or found.ends_at <= at:
        raise GameError("That quiz is over.")
    db.table("guesses").upsert({"quiz": quiz_id, "member": member, "name": name, "option": option}, pk=("quiz", "member"))
    return found


def guesses(db: Database, quiz_id: int) -> list[Guess]:
    """Return the guesses in a quiz, in the order in which members first guessed."""
    rows = db.query("SELECT member, name, option FROM guesses WHERE quiz = ? ORDER BY rowid", [quiz_id])
    return [Guess(**row) for row in rows]


def scores(db: Database, server: int, most: int = -1) -> list[Score]:
    """Return the tallies of a server's members, most points first and of equal ones the fewest guesses; `most` of them, or all (-1)."""
    rows = db.query(
        """
        SELECT member, sum(option = odd) AS points, count(*) AS guesses,
            name, max(quizzes.id) -- with the only max or min SQLite takes a bare column from the row that has it
        FROM guesses JOIN quizzes ON quizzes.id = guesses.quiz
        WHERE server = ? AND status != 'open' GROUP BY member ORDER BY points DESC, guesses, member LIMIT ?""",
        [server, most],
    )
    return [Score(**{name: row[name] for name in Score.__dataclass_fields__}) for row in rows]


def fool_rate(db: Database, voice: str) -> FoolRate:
    """Return a voice's tally over all its quizzes that have ended, of all its versions, in all servers."""
    rows = db.query(
        """
        SELECT count(*) AS guesses, coalesce(sum(option != odd), 0) AS wrong
        FROM guesses JOIN quizzes ON quizzes.id = guesses.quiz WHERE voice = ? AND status != 'open'""",
        [voice],
    )
    return FoolRate(**next(rows))


def close_due(db: Database, at: datetime) -> None:
    """End the quizzes whose time has come: what was guessed counts from now on."""
    where = "status IN ('open', 'closed') AND status = 'open' AND ends_at <= ?"  # the first as in the index, that it be used
    db.conn.execute(f"UPDATE quizzes SET status = 'closed' WHERE {where}", [stamp(at)])  # noqa: S608 - fixed words


def mark_told(db: Database, quiz_id: int) -> bool:
    """Remember that the message of a quiz shows its end, or that there is none to show it; return False if the quiz is gone."""
    return bool(db.conn.execute("UPDATE quizzes SET status = 'told' WHERE id = ?", [quiz_id]).rowcount)


def _quiz(row: dict[str, Any]) -> Quiz:
    read = {
        "options": tuple(json.loads(row["options"])),
        "odd_is_voice": bool(row["odd_is_voice"]),
        "ends_at": datetime.fromisoformat(row["ends_at"]),
    }
    return Quiz(**{name: row[name] for name in Quiz.__dataclass_fields__} | read)
