"""The database in numbers, for whoever watches: each is read from an index or from what is new, so that a look costs milliseconds."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from sqlite_utils import Database

from data import backups, jobs, outbox, spending
from data.store import stamp


@dataclass(frozen=True)
class Figures:
    """How it stands at one instant."""

    jobs: dict[str, int]
    """All that are stored, by status."""
    stages: Counter[str]
    """What the running ones are at."""
    tokens_per_second: float
    """Of all that are trained, together."""
    oldest_queued_at: str | None
    requests: dict[str, int]
    """That are not answered yet, by status."""
    posts: dict[str, int]
    """All that are stored, by status."""
    awaiting_person: int
    paused: bool
    voices: int
    models: int
    spent: dict[tuple[str, str], int]
    """Micro-dollars by (period, kind)."""
    backed_up_at: str | None
    free_bytes: int
    """Of the database's file, that hold nothing."""


@dataclass
class Verdicts:
    """Lines since the first look, by verdict: what came before is not counted, for that would read it all."""

    lines: Counter[str] = field(default_factory=Counter)
    said: int = 0
    last: int | None = None
    """The newest line that was counted; None: no look yet."""

    def look(self, db: Database) -> None:
        """Count what has come."""
        if self.last is None:
            self.last = next(db.query("SELECT coalesce(max(id), 0) AS last FROM generations"))["last"]
        rows = db.query(
            "SELECT verdict, count(*) AS lines, sum(chosen) AS said, max(id) AS last FROM generations WHERE id > ? GROUP BY verdict",
            [self.last],
        )
        for row in rows:
            self.lines[row["verdict"]] += row["lines"]
            self.said += row["said"]
            self.last = max(self.last or 0, row["last"])


def figures(db: Database, now: datetime) -> Figures:
    """Return how the database stands."""
    stages: Counter[str] = Counter()
    speed = 0.0
    for job in jobs.interrupted(db):
        stages[str(_newest(db, job, "stage", "name") or "start")] += 1
        speed += float(_newest(db, job, "step", "tokens_per_second") or 0.0)
    spent: dict[tuple[str, str], int] = {}
    for period, start in (("day", spending.day(now)), ("month", spending.month(now))):
        spent |= {(period, one.kind.value): one.cost for one in spending.by_kind(db, start)}
    backup = backups.newest(db)
    return Figures(
        jobs=_by_status(db, "jobs"),
        stages=stages,
        tokens_per_second=speed,
        oldest_queued_at=next(db.query("SELECT min(created_at) AS at FROM jobs WHERE status = 'queued'"))["at"],
        requests=_by_status(db, "requests", "WHERE status IN ('queued', 'running')"),
        posts=_by_status(db, "posts"),
        awaiting_person=len(outbox.awaiting(db)),
        paused=outbox.paused(db) is not None,
        voices=db["voices"].count,
        models=db["models"].count,
        spent=spent,
        backed_up_at=backup.at if backup else None,
        free_bytes=db.conn.execute("PRAGMA freelist_count").fetchone()[0] * db.conn.execute("PRAGMA page_size").fetchone()[0],
    )


def _by_status(db: Database, table: str, where: str = "") -> dict[str, int]:
    rows = db.query(f"SELECT status, count(*) AS number FROM {table} {where} GROUP BY status")  # noqa: S608 - fixed words
    return {row["status"]: row["number"] for row in rows}


def _newest(db: Database, job: jobs.Job, kind: str, name: str) -> float | str | None:
    """Return what the newest message of a kind of a running job says."""
    rows = db.query(
        "SELECT event FROM job_events WHERE job = ? AND attempt = ? AND json_extract(event, '$.type') = ? ORDER BY id DESC LIMIT 1",
        [job.id, job.attempt, kind],
    )
    return next((json.loads(row["event"])[name] for row in rows), None)


def waited(since: str | None, now: datetime) -> float:
    """Return how many seconds ago something was, by how the database writes it; 0 for nothing."""
    return 0.0 if since is None or since > stamp(now) else (now - datetime.fromisoformat(since)).total_seconds()
