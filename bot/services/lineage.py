"""The lineage of a voice: what its posts came from, the corpora made of them, the runs, the versions, and the cards and exports."""

import json
from dataclasses import asdict
from typing import Any

from sqlite_utils import Database

from data import accounts, consents, jobs, models, published, sources
from data.corpus import Corpus
from data.errors import NotStoredError


def trace(db: Database, name: str) -> dict[str, Any]:
    """Return every step of a voice, or of an account without one, oldest first, with the hashes of what it was given and gave.

    Where None stands for a hash, or `unknown` for a kind of source, it was stored before lineage was recorded.

    Raises:
        NotStoredError: nothing of this name is stored.
    """
    handles = handles_of(db, name)
    rows = db.query("SELECT * FROM corpora WHERE voice = ? ORDER BY rowid", [name])
    return {
        "name": name,
        "accounts": [_account(db, handle) for handle in handles],
        "corpora": [_corpus(db, row) for row in rows],
    }


def handles_of(db: Database, name: str) -> list[str]:
    """Return the accounts of a voice, or the one of this name, sorted.

    Raises:
        NotStoredError: nothing of this name is stored.
    """
    found = [row["handle"] for row in db.query("SELECT handle FROM voice_accounts WHERE voice = ? ORDER BY handle", [name])]
    if found or name in accounts.known_handles(db):
        return found or [name]
    raise NotStoredError(f"Nothing of @{name} is stored.")


def _account(db: Database, handle: str) -> dict[str, Any]:
    return {
        "handle": handle,
        "sources": [asdict(source) for source in sources.of_account(db, handle)],
        "consents": [asdict(claim) for claim in consents.claims(db, handle)],
    }


def _corpus(db: Database, row: dict[str, Any]) -> dict[str, Any]:
    corpus = Corpus.from_json(row["content"])
    of_it = db.query("SELECT id, fingerprint FROM jobs WHERE corpus = ? ORDER BY id", [row["sha256"]])
    return {
        "sha256": row["sha256"],
        "sources_sha256": row["sources_sha256"],
        "rules": json.loads(row["rules"]) if row["rules"] else None,
        "altered_sha256": row["altered_sha256"],
        "created_at": row["created_at"],
        "counts": json.loads(row["counts"]),
        "splits": {"train": len(corpus.train), "stop": len(corpus.stop), "report": len(corpus.report)},
        "languages": corpus.languages,
        "jobs": [_job(db, one["id"], one["fingerprint"]) for one in of_it],
    }


def _job(db: Database, number: int, fingerprint: str) -> dict[str, Any]:
    job = jobs.get(db, number)
    fields = asdict(job)
    del fields["model"], fields["corpus"]
    return fields | {"fingerprint": fingerprint, "model": _model(db, job.model, job) if job.model is not None else None}


def _model(db: Database, number: int, job: jobs.Job) -> dict[str, Any]:
    model = models.get(db, number)
    (row,) = db.query("SELECT result_sha256 FROM models WHERE id = ?", [number])
    details = model.result["details"]
    began = job.recipe.get("start")
    document = {
        "version": model.version,
        "sha256": model.sha256,
        "bytes": model.bytes,
        "created_at": model.created_at,
        "result_sha256": row["result_sha256"],
        "loss": {"before": model.result["loss_before"], "after": model.result["loss_after"]},
        "base": details.get("base") or {"name": model.base},
        "start_sha256": began,
        "started_from": next((one.version for one in models.versions(db, model.voice) if one.sha256 == began), None) if began else None,
        "published": [asdict(one) for one in published.of_model(db, number)],
    }
    if "imported" in job.recipe:
        document["imported"] = {name: details.get(name) for name in ("source", "revision", "files")}
    return document
