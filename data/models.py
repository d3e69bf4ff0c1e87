"""Trained models in the database: versions of a voice, with their weights in verified chunks."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from data import jobs
from data.corpus import Corpus, Counts
from data.errors import DamagedError, NotStoredError
from data.language import UNDETERMINED
from data.store import insert, now

CHUNK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Model:
    """One version of a voice, without its weights."""

    id: int
    voice: str
    version: int
    job: int
    corpus: str
    base: str
    method: str
    sha256: str
    bytes: int
    created_at: str
    handles: tuple[str, ...]
    counts: dict[str, Counts]
    result: dict[str, Any]
    """The trainer's Done message; of a model that was imported, the losses are None and `details` has what is `typical` instead."""
    current: bool
    """Its voice speaks with it: it is pinned, or the newest of a voice without a pin."""
    pinned: bool


_SELECT = """
    SELECT models.*, corpora.counts, pins.version IS models.version AS is_pinned,
        models.version = coalesce(pins.version, (SELECT max(version) FROM models AS others WHERE others.voice = models.voice)) AS is_current
    FROM models JOIN corpora ON corpora.sha256 = models.corpus LEFT JOIN pins ON pins.voice = models.voice"""


def _model(row: dict[str, Any]) -> Model:
    counts = {handle: Counts(**count) for handle, count in json.loads(row["counts"]).items()}
    names = ("id", "voice", "version", "job", "corpus", "base", "method", "sha256", "bytes", "created_at")
    return Model(
        **{n: row[n] for n in names},
        handles=tuple(counts),
        counts=counts,
        result=json.loads(row["result"]),
        current=bool(row["is_current"]),
        pinned=bool(row["is_pinned"]),
    )


def add_from_job(db: Database, job: jobs.Job, weights: Path, result: dict[str, Any]) -> Model:
    """Store a trained model as its voice's next version and end its job as done: both or neither.

    Raises:
        DamagedError: the file is not the one that the trainer announced.
    """
    told = json.dumps(result)
    row = {
        "voice": job.voice,
        "version": 1 + next(db.query("SELECT coalesce(max(version), 0) AS last FROM models WHERE voice = ?", [job.voice]))["last"],
        "job": job.id,
        "corpus": job.corpus,
        "base": job.recipe["base"],
        "method": job.recipe["method"],
        "result": told,
        "result_sha256": hashlib.sha256(told.encode()).hexdigest(),
        "sha256": result["sha256"],
        "bytes": weights.stat().st_size,
        "created_at": now(),
    }
    model_id = insert(db, "models", row)
    for number, part in enumerate(_parts(weights)):
        db.conn.execute("INSERT INTO model_weights (model, number, chunk) VALUES (?, ?, ?)", [model_id, number, part])
    # Read back inside the transaction: what is committed is what was verified.
    if _stored_sha256(db, model_id) != result["sha256"]:
        raise DamagedError(f"The weights that job {job.id} made changed on the way to the database: train again.")
    jobs.end(db, job.id, jobs.Status.DONE)
    return get(db, model_id)


def add_imported(
    db: Database, counts: dict[str, Counts], recipe: dict[str, Any], weights: Path, result: dict[str, Any], by: str
) -> tuple[Model, bool]:
    """Store a model that was made elsewhere as the next version of the voice of these accounts, which must exist.

    It stands on a corpus without posts, and on a job that has ended. Where the same was imported before, that is what is returned.

    Returns:
        The model, and whether it is new.

    Raises:
        DamagedError: as `add_from_job`.
    """
    corpus = Corpus(tuple(counts), counts, (), (), (), (), dict.fromkeys(counts, UNDETERMINED))
    job, new = jobs.enqueue(db, "-".join(counts), corpus, recipe, by)
    if not new and job.model is not None:
        return get(db, job.model), False
    return add_from_job(db, job, weights, result), True


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(CHUNK_BYTES):
            yield part


def _stored_sha256(db: Database, model_id: int) -> str:
    digest = hashlib.sha256()
    number = 0
    while (part := chunk(db, model_id, number)) is not None:
        digest.update(part)
        number += 1
    return digest.hexdigest()


def chunk(db: Database, model_id: int, number: int) -> bytes | None:
    """Return one piece of a model's weights, a safetensors file, counted from 0; None: there is none, or no model any more."""
    rows = db.query("SELECT chunk FROM model_weights WHERE model = ? AND number = ?", [model_id, number])
    return next((row["chunk"] for row in rows), None)


def newest_of(db: Database, base: str, most: int) -> list[Model]:
    """Return the newest models that were trained here on a base, of any voice, the newest first."""
    where = " JOIN jobs ON jobs.id = models.job WHERE models.base = ? AND jobs.started_at IS NOT NULL ORDER BY models.id DESC LIMIT ?"
    return [_model(row) for row in db.query(_SELECT + where, [base, most])]


def exists(db: Database, model_id: int) -> bool:
    """Say whether a model is stored."""
    return bool(db["models"].count_where("id = ?", [model_id]))


def get(db: Database, model_id: int) -> Model:
    """Return one model by its id.

    Raises:
        NotStoredError: it is not there any more.
    """
    for row in db.query(_SELECT + " WHERE models.id = ?", [model_id]):
        return _model(row)
    raise NotStoredError("That voice was forgotten.")


def current(db: Database, voice: str) -> Model:
    """Return the version that a voice speaks with: the pinned one, else its newest.

    Raises:
        NotStoredError: it has none.
    """
    for row in db.query(_SELECT + " WHERE models.voice = ? AND is_current", [voice]):
        return _model(row)
    raise _untrained(voice)


@dataclass(frozen=True)
class Page:
    """Some of the voices, each with the version that it speaks with."""

    models: list[Model]
    total: int
    """How many voices there are in all."""


def page(db: Database, holding: str = "", *, first: int = 0, most: int = 50) -> Page:
    """Return the voices that have a model and whose name holds a text, in the order of `names`: `most` of them from `first` (0) on."""
    found = names(db, holding, most, first=first)
    marks = ", ".join("?" * len(found))
    models = {row["voice"]: _model(row) for row in db.query(f"{_SELECT} WHERE models.voice IN ({marks}) AND is_current", found)}
    every = "SELECT count(*) AS total FROM voices WHERE instr(name, ?) AND EXISTS (SELECT 1 FROM models WHERE voice = name)"
    return Page([models[name] for name in found], next(db.query(every, [holding]))["total"])


def names(db: Database, holding: str, most: int, *, first: int = 0, longest: int = 1000) -> list[str]:
    """Return the names, of at most `longest` letters, of voices that have a model and hold a text; first those that begin with it."""
    rows = db.query(
        """
        SELECT name FROM voices
        WHERE instr(name, :holding) AND length(name) <= :longest AND EXISTS (SELECT 1 FROM models WHERE voice = name)
        ORDER BY instr(name, :holding) > 1, name LIMIT :most OFFSET :first""",
        {"holding": holding, "longest": longest, "most": most, "first": first},
    )
    return [row["name"] for row in rows]


def versions(db: Database, voice: str) -> list[Model]:
    """Return all versions of a voice, the newest first.

    Raises:
        NotStoredError: it has none.
    """
    found = [_model(row) for row in db.query(_SELECT + " WHERE models.voice = ? ORDER BY models.version DESC", [voice])]
    if not found:
        raise _untrained(voice)
    return found


def _untrained(voice: str) -> NotStoredError:
    return NotStoredError(
        f"No voice named {voice} is trained: `mynah train {voice.replace('-', ' ')}` makes it, `mynah models` lists those there are."
    )


def version(db: Database, voice: str, number: int) -> Model:
    """Return one version of a voice.

    Raises:
        NotStoredError: the voice has no version, or not this one; the text lists those there are.
    """
    found = {model.version: model for model in versions(db, voice)}
    if number not in found:
        raise NotStoredError(f"{voice} has no version {number}: choose from {', '.join(map(str, sorted(found)))}.")
    return found[number]


def pin(db: Database, voice: str, number: int) -> Model:
    """Have a voice speak with one version, whatever is trained later; return it.

    Raises:
        NotStoredError: as `version`; nothing was changed.
    """
    chosen = version(db, voice, number)
    db.table("pins").upsert({"voice": voice, "version": number}, pk="voice")
    return get(db, chosen.id)


def unpin(db: Database, voice: str) -> Model:
    """Have a voice speak with its newest version again, which is returned; without a pin it does already.

    Raises:
        NotStoredError: it has none.
    """
    db.conn.execute("DELETE FROM pins WHERE voice = ?", [voice])
    return current(db, voice)


def hashes(db: Database, voice: str) -> list[str]:
    """Return the hashes of all weights of a voice: what a cache of files may hold of it."""
    return [row["sha256"] for row in db.query("SELECT sha256 FROM models WHERE voice = ?", [voice])]
