"""Voices in the database that nobody trained: what the tests of versions, cards and speech stand on."""

import hashlib
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlite_utils import Database

from data import accounts, jobs, models
from data.corpus import build_corpus
from tests.conftest import made_up_tweets

RECIPE = {"base": "tiny-random", "method": "lora", "device": "cpu", "seed": 0, "rank": None, "learning_rate": None, "epochs": 1}


def stored_weights(db: Database, model: int) -> bytes:
    """Return the weights of a model as they are stored; empty where there are none."""
    return b"".join(iter(partial(next, (models.chunk(db, model, number) for number in count())), None))


def add_version(
    db: Database,
    handles: Sequence[str] = ("ann",),
    *,
    weights: bytes = b"weights " * 1000,
    recipe: dict[str, Any] | None = None,
    details: dict[str, Any] | None = None,
) -> models.Model:
    """Store one more version of a voice, with a recipe that none had before; accounts without posts get some."""
    for seed, handle in enumerate(handles, 1):
        if handle not in accounts.known_handles(db):
            accounts.add_tweets(db, handle, made_up_tweets(150, seed))
    corpus = build_corpus({handle: accounts.read_tweets(db, handle) for handle in handles}, max_posts=1000, seed=0)
    chosen = RECIPE | {"learning_rate": (1 + db["jobs"].count) / 1000} | (recipe or {})
    job, new = jobs.enqueue(db, "-".join(handles), corpus, chosen, "me")
    assert new
    db.table("jobs").update(job.id, {"status": "running", "attempt": 1})
    result = {
        "sha256": hashlib.sha256(weights).hexdigest(),
        "loss_before": 5.5,
        "loss_after": 4.25,
        "seconds": 12.0,
        "samples": ["a sample"],
        "details": {"adapter": {}} if details is None else details,
    }
    with TemporaryDirectory() as folder:
        file = Path(folder) / "adapter.safetensors"
        file.write_bytes(weights)
        return models.add_from_job(db, job, file, result)
