"""Trainings that wait for a yes, so that the question outlives the process that asked it."""

from dataclasses import asdict, dataclass
from pathlib import Path

from sqlite_utils import Database

from data.consents import Ground
from data.errors import NotStoredError
from data.store import insert, now


@dataclass(frozen=True)
class Asking:
    """What a member asked for."""

    member: int
    handles: str
    file: str | None = None
    ground: Ground | None = None
    base: str | None = None
    posts: int | None = None


def ask(db: Database, asking: Asking) -> int:
    """Write down what was asked, and return its number."""
    return insert(db, "askings", asdict(asking) | {"created_at": now()})


def get(db: Database, number: int) -> Asking:
    """Return what was asked.

    Raises:
        NotStoredError: it was settled, or is too long ago.
    """
    for row in db.query("SELECT member, handles, file, ground, base, posts FROM askings WHERE id = ?", [number]):
        return Asking(**row | {"ground": Ground(row["ground"]) if row["ground"] else None})
    raise NotStoredError("That question was settled already, or is too long ago: ask again.")


def choose(db: Database, number: int, ground: Ground) -> Asking:
    """Write down on what ground consent is claimed, and return what was asked.

    Raises:
        NotStoredError: it was settled, or is too long ago.
    """
    get(db, number)
    db.table("askings").update(number, {"ground": ground})
    return get(db, number)


def settle(db: Database, number: int) -> Asking:
    """Take what was asked out, so that it is settled once, and return it.

    Raises:
        NotStoredError: it was settled, or is too long ago.
    """
    asking = get(db, number)
    db.conn.execute("DELETE FROM askings WHERE id = ?", [number])
    return asking


def expire(db: Database, before: str) -> list[Path]:
    """Take out what was asked before a moment, and return the files of what still waits."""
    db.conn.execute("DELETE FROM askings WHERE created_at < ?", [before])
    return files(db)


def drop(db: Database, handle: str) -> list[Path]:
    """Take out what was asked about an account, and return the files that were brought for it."""
    found = [row for row in db.query("SELECT id, handles, file FROM askings") if handle in row["handles"].lower().replace("@", " ").split()]
    for row in found:
        db.conn.execute("DELETE FROM askings WHERE id = ?", [row["id"]])
    return [Path(row["file"]) for row in found if row["file"]]


def files(db: Database) -> list[Path]:
    """Return the files of what waits."""
    return [Path(row["file"]) for row in db.query("SELECT file FROM askings WHERE file IS NOT NULL")]
