"""Cards and exports that were written, each with the hashes of its files and the numbers that were measured for it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlite_utils import Database

from data import models
from data.store import insert, now


class Form(StrEnum):
    """What was written."""

    #: A model card and its pictures, in a folder.
    CARD = "card"
    #: A model that needs nothing of Mynah, in a folder.
    EXPORT = "export"
    #: An adapter as a file, for whoever asked in Discord.
    ZIP = "zip"
    #: An export, in a repository of the hub.
    PUSH = "push"


@dataclass(frozen=True)
class Published:
    """One card or export."""

    id: int
    model: int
    kind: Form
    place: str
    """The folder; of a zip its name; of a push the repository."""
    files: dict[str, str]
    """Their hashes by their names."""
    numbers: list[dict[str, Any]]
    """What its card says that was measured then."""
    begun_at: str
    finished_at: str | None
    """None: nobody knows how much of it was written."""


def begin(
    db: Database, model: int, kind: Form, place: str, files: Mapping[str, str], numbers: Sequence[Mapping[str, Any]] = ()
) -> Published:
    """Write down what is about to be written.

    Raises:
        NotStoredError: the model is not there any more.
    """
    models.get(db, model)
    row = {"model": model, "kind": kind, "place": place, "files": json.dumps(files), "numbers": json.dumps(numbers), "begun_at": now()}
    return _get(db, insert(db, "published", row))


def finish(db: Database, one: Published) -> None:
    """Write down that all of it is in its place; what was there before of its kind is there no more."""
    db.conn.execute("UPDATE published SET finished_at = ? WHERE id = ?", [now(), one.id])
    db.conn.execute("DELETE FROM published WHERE kind = ? AND place = ? AND id < ?", [one.kind, one.place, one.id])


def drop(db: Database, one: Published) -> None:
    """Forget what is known not to have been written."""
    db.conn.execute("DELETE FROM published WHERE id = ?", [one.id])


def of_model(db: Database, model: int) -> list[Published]:
    """Return what was written of a model, oldest first."""
    return [_published(row) for row in db.query("SELECT * FROM published WHERE model = ? ORDER BY id", [model])]


def at(db: Database, place: str) -> list[Published]:
    """Return what was written into a folder, of whatever voice, oldest first."""
    rows = db.query("SELECT * FROM published WHERE place = ? AND kind IN ('card', 'export') ORDER BY id", [place])
    return [_published(row) for row in rows]


def places(db: Database, voices: Sequence[str]) -> list[str]:
    """Return where something of these voices may still lie: folders, and repositories of the hub."""
    rows = db.query(
        "SELECT DISTINCT place FROM published JOIN models ON models.id = model"
        " WHERE kind != 'zip' AND voice IN (SELECT value FROM json_each(?)) ORDER BY place",
        [json.dumps(list(voices))],
    )
    return [row["place"] for row in rows]


def _get(db: Database, number: int) -> Published:
    return _published(next(db.query("SELECT * FROM published WHERE id = ?", [number])))


def _published(row: dict[str, Any]) -> Published:
    return Published(**row | {"kind": Form(row["kind"]), "files": json.loads(row["files"]), "numbers": json.loads(row["numbers"])})
