"""Rows that posting and scheduling stand on: a voice, and a model of it."""

from sqlite_utils import Database

from data import accounts
from data.store import now

VOICE = "keeper_ottoline"


def add_voice(db: Database, name: str = VOICE) -> None:
    """Make an account and its voice."""
    db["accounts"].insert({"handle": name, "created_at": now()}, ignore=True)
    accounts.ensure_voice(db, name, [name])


def add_model(db: Database, name: str = VOICE) -> None:
    """Make a voice that has a model, without weights."""
    add_voice(db, name)
    db["corpora"].insert({"sha256": name, "voice": name, "counts": "{}", "content": "{}", "created_at": now()})
    job = db["jobs"].insert(
        {
            "voice": name,
            "corpus": name,
            "recipe": "{}",
            "fingerprint": name,
            "status": "done",
            "requested_by": "a test",
            "created_at": now(),
        }
    )
    model = {"voice": name, "version": 1, "job": job.last_pk, "corpus": name, "base": "tiny", "method": "lora", "result": "{}"}
    db["models"].insert(model | {"sha256": "0", "bytes": 0, "created_at": now()})
