"""Trained models in the database: versions of a voice, with their weights in verified chunks."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from data import jobs
from data.corpus import Counts
from data.errors import DamagedError, NotStoredError
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
    """The trainer's Done message."""


_SELECT = "SELECT models.*, corpora.counts FROM models JOIN corpora ON corpora.sha256 = models.corpus"


def _model(row: dict[str, Any]) -> Model:
    counts = {handle: Counts(**count) for handle, count in json.loads(row["counts"]).items()}
    names = ("id", "voice", "version", "job", "corpus", "base", "method", "sha256", "bytes", "created_at")
    return Model(**{n: row[n] for n in names}, handles=tuple(counts), counts=counts, result=json.loads(row["result"]))


def add_from_job(db: Database, job: jobs.Job, weights: Path, result: dict[str, Any]) -> Model:
    """Store a trained model as its voice's next version and end its job as done: both or neither.

    Raises:
        DamagedError: the file is not the one that the trainer announced.
    """
    row = {
        "voice": job.voice,
        "version": 1 + next(db.query("SELECT coalesce(max(version), 0) AS last FROM models WHERE voice = ?", [job.voice]))["last"],
        "job": job.id,
        "corpus": job.corpus,
        "base": job.recipe["base"],
        "method": job.recipe["method"],
        "result": json.dumps(result),
        "sha256": result["sha256"],
        "bytes": weights.stat().st_size,
        "created_at": now(),
    }
    model_id = insert(db, "models", row)
    digest = hashlib.sha256()
    for number, chunk in enumerate(_chunks(weights)):
        digest.update(chunk)
        db.conn.execute("INSERT INTO model_weights (model, number, chunk) VALUES (?, ?, ?)", [model_id, number, chunk])
    if digest.hexdigest() != result["sha256"]:
        raise DamagedError(f"The weights that job {job.id} made changed on the way to the database: train again.")
    # Read back inside the transaction: what is committed is what was verified.
    load_weights(db, model_id)
    jobs.end(db, job.id, jobs.Status.DONE)
    return get(db, model_id)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def load_weights(db: Database, model_id: int) -> bytes:
    """Return a model's weights, a safetensors file's bytes.

    Raises:
        DamagedError: they do not match the hash they were stored with.
    """
    rows = db.query("SELECT chunk FROM model_weights WHERE model = ? ORDER BY number", [model_id])
    weights = b"".join(row["chunk"] for row in rows)
    expected = next(db.query("SELECT voice, sha256 FROM models WHERE id = ?", [model_id]))
    if hashlib.sha256(weights).hexdigest() != expected["sha256"]:
        raise DamagedError(f"The stored weights of {expected['voice']} are damaged: restore a backup, or train it again.")
    return weights


def get(db: Database, model_id: int) -> Model:
    """Return one model by its id, which must exist."""
    return _model(next(db.query(_SELECT + " WHERE models.id = ?", [model_id])))


def latest(db: Database, voice: str) -> Model:
    """Return a voice's newest version.

    Raises:
        NotStoredError: it has none.
    """
    for row in db.query(_SELECT + " WHERE models.voice = ? ORDER BY version DESC LIMIT 1", [voice]):
        return _model(row)
    raise NotStoredError(
        f"No voice named {voice} is trained: `mynah train {voice.replace('-', ' ')}` makes it, `mynah models` lists those there are."
    )


def latest_of_all(db: Database) -> list[Model]:
    """Return the newest version of every voice, by name."""
    newest = " WHERE models.id IN (SELECT max(id) FROM models GROUP BY voice) ORDER BY models.voice"
    return [_model(row) for row in db.query(_SELECT + newest)]


def hashes(db: Database, voice: str) -> list[str]:
    """Return the hashes of all weights of a voice: what a cache of files may hold of it."""
    return [row["sha256"] for row in db.query("SELECT sha256 FROM models WHERE voice = ?", [voice])]
