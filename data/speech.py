"""Requests for lines, and every line that came, with the verdict on it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlite_utils import Database

from data.errors import NotStoredError
from data.store import insert, now

PASSED = "passed"


class Purpose(StrEnum):
    """Where the lines are to go, which decides what rules they must pass."""

    TALK = "talk"
    POST = "post"


@dataclass(frozen=True)
class Request:
    """One wish for `count` lines of a voice."""

    id: int
    voice: str
    model: int
    author: str
    """Of a joint voice, the account as which it speaks; empty: the blend."""
    message: str
    """What the lines answer; empty: nothing."""
    prompt: str
    count: int
    seed: int
    sampling: dict[str, Any]
    purpose: Purpose
    status: str
    """queued, running, done or failed."""
    requested_by: str
    error: str | None


@dataclass(frozen=True)
class Generation:
    """One candidate line."""

    number: int
    text: str
    log_likelihood: float
    verdict: str
    chosen: bool


def add(
    db: Database,
    *,
    voice: str,
    model: int,
    author: str,
    message: str,
    prompt: str,
    count: int,
    seed: int,
    sampling: dict[str, Any],
    purpose: Purpose,
    requested_by: str,
) -> Request:
    """Write down a wish before anything is done for it."""
    row = {
        "voice": voice,
        "model": model,
        "author": author,
        "message": message,
        "prompt": prompt,
        "count": count,
        "seed": seed,
        "sampling": json.dumps(sampling),
        "purpose": purpose,
        "status": "queued",
        "requested_by": requested_by,
        "created_at": now(),
    }
    return get(db, insert(db, "requests", row))


def get(db: Database, request_id: int) -> Request:
    """Return one request.

    Raises:
        NotStoredError: it is gone, as when its voice was forgotten meanwhile.
    """
    for row in db.query("SELECT * FROM requests WHERE id = ?", [request_id]):
        names = Request.__dataclass_fields__
        return Request(**{n: row[n] for n in names} | {"sampling": json.loads(row["sampling"]), "purpose": Purpose(row["purpose"])})
    raise NotStoredError("That voice was forgotten before it could answer.")


def start_next(db: Database) -> Request | None:
    """Mark the oldest queued request as running and return it; people who wait go before scheduled posts."""
    for row in db.query("SELECT id FROM requests WHERE status = 'queued' ORDER BY purpose = 'post', id LIMIT 1"):
        db.conn.execute("UPDATE requests SET status = 'running' WHERE id = ?", [row["id"]])
        return get(db, row["id"])
    return None


def finish(db: Database, request_id: int, generations: Iterable[Generation]) -> None:
    """Store the candidates of a request and end it as done."""
    get(db, request_id)
    for line in generations:
        row = {
            "number": line.number,
            "text": line.text,
            "log_likelihood": line.log_likelihood,
            "verdict": line.verdict,
            "chosen": line.chosen,
        }
        db.table("generations").insert({"request": request_id} | row)
    db.conn.execute("UPDATE requests SET status = 'done', ended_at = ? WHERE id = ?", [now(), request_id])


def fail(db: Database, request_id: int, sentence: str) -> None:
    """End a request without lines."""
    db.conn.execute("UPDATE requests SET status = 'failed', error = ?, ended_at = ? WHERE id = ?", [sentence, now(), request_id])


def fail_interrupted(db: Database) -> None:
    """End what a dead owner left running: whoever asked waits no longer."""
    for row in list(db.query("SELECT id FROM requests WHERE status = 'running'")):
        fail(db, row["id"], "Mynah was restarted before it answered: ask again.")


def generations(db: Database, request_id: int) -> list[Generation]:
    """Return the candidates of a request in the order in which they came."""
    rows = db.query("SELECT * FROM generations WHERE request = ? ORDER BY number", [request_id])
    return [Generation(row["number"], row["text"], row["log_likelihood"], row["verdict"], bool(row["chosen"])) for row in rows]
