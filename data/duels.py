"""Duels in Discord as rows: two voices that talk by turns about a topic, and the votes of members for one of them.

talking → voting → closed → told: it is told once the message shows how it ended. Moments are taken as arguments, aware.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlite_utils import Database

from data import models
from data.errors import GameError, NotStoredError
from data.store import insert, stamp

LINES = 6  # three for each voice


@dataclass(frozen=True)
class Duel:
    """Two voices that talk by turns about a topic, for members to vote."""

    id: int
    server: int
    channel: int
    message: int | None
    """None: it is not put up yet."""
    one: str
    two: str
    topic: str
    lines: tuple[str, ...]
    """By turns, the first by `one`."""
    member: int
    asked_by: str
    seconds: int
    """For which members may vote."""
    ends_at: datetime | None
    """Of the vote; None: they still talk."""
    status: str
    """talking, voting, closed or told."""
    error: str | None
    """Why it ended without a vote."""

    @property
    def turn(self) -> str:
        """The voice that speaks next."""
        return (self.one, self.two)[len(self.lines) % 2]


def add(
    db: Database, *, server: int, channel: int, one: str, two: str, topic: str, member: int, by: str, at: datetime, seconds: int
) -> Duel:
    """Begin a duel of two voices, with a vote of so many seconds; its message is told later.

    Raises:
        NotStoredError: a voice is not there.
    """
    for voice in (one, two):
        models.current(db, voice)
    row = {
        "server": server,
        "channel": channel,
        "one": one,
        "two": two,
        "topic": topic,
        "lines": "[]",
        "member": member,
        "asked_by": by,
        "created_at": stamp(at),
        "seconds": seconds,
        "status": "talking",
    }
    return get(db, insert(db, "duels", row))


def put_up(db: Database, duel_id: int, message: int) -> None:
    """Remember which message shows a duel."""
    db.conn.execute("UPDATE duels SET message = ? WHERE id = ?", [message, duel_id])


def get(db: Database, duel_id: int) -> Duel:
    """Return one duel.

    Raises:
        NotStoredError: it is gone.
    """
    for row in db.query("SELECT * FROM duels WHERE id = ?", [duel_id]):
        return _duel(row)
    raise NotStoredError("That duel is gone: a voice of it was forgotten.")


def untold(db: Database) -> list[Duel]:
    """Return the duels whose end is not shown yet, oldest first."""
    return [_duel(row) for row in db.query("SELECT * FROM duels WHERE status IN ('talking', 'voting', 'closed') ORDER BY id")]


def add_line(db: Database, duel_id: int, line: str, at: datetime) -> Duel:
    """Add what the voice whose turn it is said; with the last line the vote begins. Return the duel.

    Raises:
        GameError: it was broken off.
        NotStoredError: it is gone.
    """
    found = get(db, duel_id)
    if found.status != "talking":
        raise GameError("That duel is over.")
    lines = [*found.lines, line]
    change: dict[str, Any] = {"lines": json.dumps(lines)}
    if len(lines) == LINES:
        change |= {"status": "voting", "ends_at": stamp(at + timedelta(seconds=found.seconds))}
    db.table("duels").update(duel_id, change)
    return get(db, duel_id)


def break_off(db: Database, duel_id: int, error: str) -> None:
    """End a duel without a vote, if it is still there and its voices talk."""
    db.conn.execute("UPDATE duels SET status = 'closed', error = ? WHERE id = ? AND status = 'talking'", [error, duel_id])


def vote(db: Database, duel_id: int, member: int, side: int, at: datetime) -> Duel:
    """Write down a member's vote for the first (1) or second (2) voice, in the place of an earlier one; return the duel.

    Raises:
        GameError: the vote has ended.
        NotStoredError: the duel is gone.
    """
    found = get(db, duel_id)
    if found.status != "voting" or found.ends_at is None or found.ends_at <= at:
        raise GameError("That vote is over.")
    db.table("votes").upsert({"duel": duel_id, "member": member, "side": side}, pk=("duel", "member"))
    return found


def votes(db: Database, duel_id: int) -> tuple[int, int]:
    """Return how many voted for the first voice, and how many for the second."""
    row = next(db.query("SELECT coalesce(sum(side = 1), 0) AS one, coalesce(sum(side = 2), 0) AS two FROM votes WHERE duel = ?", [duel_id]))
    return row["one"], row["two"]


def close_due(db: Database, at: datetime) -> None:
    """End the votes whose time has come."""
    where = "status IN ('talking', 'voting', 'closed') AND status = 'voting' AND ends_at <= ?"  # the first as in the index
    db.conn.execute(f"UPDATE duels SET status = 'closed' WHERE {where}", [stamp(at)])  # noqa: S608 - fixed words


def mark_told(db: Database, duel_id: int) -> bool:
    """Remember that the message of a duel shows its end, or that there is none to show it; return False if the duel is gone."""
    return bool(db.conn.execute("UPDATE duels SET status = 'told' WHERE id = ?", [duel_id]).rowcount)


def _duel(row: dict[str, Any]) -> Duel:
    read = {"lines": tuple(json.loads(row["lines"])), "ends_at": datetime.fromisoformat(row["ends_at"]) if row["ends_at"] else None}
    return Duel(**{name: row[name] for name in Duel.__dataclass_fields__} | read)
