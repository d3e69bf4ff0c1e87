"""Requests for lines, and every line that came, with the verdict on it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlite_utils import Database

from data.errors import NotStoredError
from data.origin import Origin
from data.store import insert, now

PASSED = "passed"
PATIENCE = 30.0  # seconds


class Purpose(StrEnum):
    """Where the lines are to go: who talks waits for them, and goes first."""

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
    repeatable: bool
    """A person named the seed, and is to hear the same lines each time."""
    sampling: dict[str, Any]
    purpose: Purpose
    status: str
    """queued, running, done or failed."""
    requested_by: str
    error: str | None
    server: int | None
    """Discord's id of the server where it was asked for; None: elsewhere."""


@dataclass(frozen=True)
class Generation:
    """One candidate line."""

    number: int
    text: str
    complete: bool
    """The model ended it itself."""
    log_likelihood: float
    """Mean, nats a token."""
    style: float
    """Share of its character trigrams that are the account's, 0 to 1."""
    relevance: float
    """How much likelier it is as the answer to its message than to nothing, nats a token."""
    score: float
    """What it is ranked by (bot/services/choosing.py)."""
    verdict: str
    reason: str
    """Why it was refused: the end of a sentence."""
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
    repeatable: bool,
    sampling: dict[str, Any],
    purpose: Purpose,
    requested_by: str,
    origin: Origin | None = None,
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
        "repeatable": repeatable,
        "sampling": json.dumps(sampling),
        "purpose": purpose,
        "status": "queued",
        "requested_by": requested_by,
        "created_at": now(),
        "member": origin and origin.member,
        "server": origin and origin.server,
    }
    return get(db, insert(db, "requests", row))


def lines_since(db: Database, since: str, member: int) -> list[tuple[str, int]]:
    """Return when a member asked for how many lines since then, oldest first; erased ones count (data/counting.py)."""
    rows = db.query(
        """
        SELECT created_at, count FROM requests WHERE created_at > :since AND member = :member
        UNION ALL SELECT at, count FROM counted WHERE at > :since AND member = :member AND kind = 'lines' ORDER BY created_at""",
        {"since": since, "member": member},
    )
    return [(row["created_at"], row["count"]) for row in rows]


def get(db: Database, request_id: int) -> Request:
    """Return one request.

    Raises:
        NotStoredError: it is gone, as when its voice was forgotten meanwhile.
    """
    for row in db.query("SELECT * FROM requests WHERE id = ?", [request_id]):
        names = Request.__dataclass_fields__
        read = {"sampling": json.loads(row["sampling"]), "purpose": Purpose(row["purpose"]), "repeatable": bool(row["repeatable"])}
        return Request(**{n: row[n] for n in names} | read)
    raise NotStoredError("Those lines are gone: forgotten, erased, or too long ago. Ask anew.")


def waiting(db: Database) -> bool:
    """Say whether a request is queued."""
    return bool(list(db.query("SELECT 1 FROM requests WHERE status IN ('queued', 'running') AND status = 'queued' LIMIT 1")))


def start_next(db: Database) -> Request | None:
    """Mark the oldest queued request as running and return it; a scheduled post counts as asked for PATIENCE seconds later than it was."""
    rows = db.query(
        """
        SELECT id FROM requests WHERE status IN ('queued', 'running') AND status = 'queued' -- the first as in the index, that it be used
        ORDER BY julianday(created_at) + (purpose = 'post') * ? / 86400.0, id LIMIT 1""",
        [PATIENCE],
    )
    for row in rows:
        db.conn.execute("UPDATE requests SET status = 'running' WHERE id = ?", [row["id"]])
        return get(db, row["id"])
    return None


def finish(db: Database, request_id: int, generations: Iterable[Generation]) -> None:
    """Store the candidates of a request and end it as done."""
    record(db, request_id, generations)
    db.conn.execute("UPDATE requests SET status = 'done', ended_at = ? WHERE id = ?", [now(), request_id])


def record(db: Database, request_id: int, generations: Iterable[Generation]) -> None:
    """Store the candidates of a request, which goes on."""
    get(db, request_id)
    for line in generations:
        db.table("generations").insert({"request": request_id} | vars(line))


def fail(db: Database, request_id: int, sentence: str) -> None:
    """End a request without lines."""
    db.conn.execute("UPDATE requests SET status = 'failed', error = ?, ended_at = ? WHERE id = ?", [sentence, now(), request_id])


def fail_interrupted(db: Database) -> None:
    """End what a dead owner left running: whoever asked waits no longer."""
    for row in list(db.query("SELECT id FROM requests WHERE status IN ('queued', 'running') AND status = 'running'")):
        fail(db, row["id"], "Mynah was restarted before it answered: ask again.")


def forget_messages(db: Database) -> None:
    """Erase what posts were to answer whose requests have ended."""
    db.conn.execute("UPDATE requests SET message = '' WHERE purpose = 'post' AND message <> '' AND status IN ('done', 'failed')")


def generations(db: Database, request_id: int) -> list[Generation]:
    """Return the candidates of a request in the order in which they came."""
    rows = db.query("SELECT * FROM generations WHERE request = ? ORDER BY number", [request_id])
    names = Generation.__dataclass_fields__
    return [Generation(**{n: row[n] for n in names} | {n: bool(row[n]) for n in ("complete", "chosen")}) for row in rows]


def said_before(db: Database, voice: str, most: int) -> list[tuple[str, str]]:
    """Return the last lines that a voice said, each with its prompt, the newest request's first."""
    rows = db.query(
        """
        SELECT text, prompt FROM requests JOIN generations ON generations.request = requests.id
        WHERE voice = ? AND chosen ORDER BY requests.id DESC, number LIMIT ?""",
        [voice, most],
    )
    return [(row["text"], row["prompt"]) for row in rows]


def judged(db: Database, model: int, most: int) -> list[tuple[str, str]]:
    """Return the last lines that a model drew and that were judged: text and verdict, the newest request's first."""
    rows = db.query(
        """
        SELECT text, verdict FROM requests JOIN generations ON generations.request = requests.id
        WHERE model = ? ORDER BY requests.id DESC, number LIMIT ?""",
        [model, most],
    )
    return [(row["text"], row["verdict"]) for row in rows]
