"""What quotas still count of trainings and lines whose rows were erased or forgotten: when they were asked for, by whom, and how many."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlite_utils import Database

from data.store import stamp

LOOK_BACK = {"training": timedelta(days=1), "lines": timedelta(minutes=1)}
"""How far quotas look back."""
_ROWS = {"training": ("jobs", "1"), "lines": ("requests", "count")}


def keep(db: Database, where: str, values: Sequence[Any], *, server: str = "server") -> None:
    """Take over what quotas count of the jobs and requests `where` something is true, which are about to go.

    `server`: the column of their server; NULL for rows that stay, and lose their member alone.
    """
    for kind, (table, count) in _ROWS.items():
        db.conn.execute(
            f"INSERT INTO counted (member, server, kind, at, count) SELECT member, {server}, ?, created_at, {count} FROM {table}"  # noqa: S608 - fixed
            f" WHERE coalesce(member, {server}) IS NOT NULL AND created_at > ? AND {where}",
            [kind, _since(kind), *values],
        )


def of_member(db: Database, member: int) -> int:
    """Return how many rows of a member who had the rest erased stay."""
    return int(db["counted"].count_where("member = ?", [member]))


def let_go(db: Database) -> None:
    """Delete what is counted no longer."""
    for kind in LOOK_BACK:
        db.conn.execute("DELETE FROM counted WHERE kind = ? AND at <= ?", [kind, _since(kind)])


def _since(kind: str) -> str:
    return stamp(datetime.now(UTC) - LOOK_BACK[kind])
