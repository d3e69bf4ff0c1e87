"""Training jobs as rows: the queue, its state machine, the events of each run, and the messages that show them.

queued → running → done | failed | cancelled; a run that was cut off by the death of its owner goes back to queued.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from sqlite_utils import Database

from data import sources
from data.accounts import ensure_voice
from data.corpus import Corpus
from data.errors import NotStoredError
from data.origin import Origin
from data.store import insert, now


class Status(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    #: A trainer said why, or died; `Job.error` is a sentence.
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Nothing more will happen to it."""
        return self in (Status.DONE, Status.FAILED, Status.CANCELLED)


@dataclass(frozen=True)
class Job:
    """One training, asked for once and run until it ended."""

    id: int
    voice: str
    corpus: str
    recipe: dict[str, Any]
    status: Status
    attempt: int
    cancel_requested_by: str | None
    requested_by: str
    server: int | None
    """In which it was asked for first, if in Discord."""
    created_at: str
    started_at: str | None
    ended_at: str | None
    error_code: str | None
    error: str | None
    model: int | None
    """Id of the model it made, once done."""


_SELECT = "SELECT jobs.*, models.id AS model FROM jobs LEFT JOIN models ON models.job = jobs.id"


def _job(row: dict[str, Any]) -> Job:
    fields = {name: row[name] for name in Job.__dataclass_fields__}
    return Job(**fields | {"status": Status(row["status"]), "recipe": json.loads(row["recipe"])})


def fingerprint(recipe: dict[str, Any], corpus_sha256: str) -> str:
    """Return the hash that equal trainings share."""
    return hashlib.sha256(json.dumps([recipe, corpus_sha256], sort_keys=True).encode()).hexdigest()


def enqueue(
    db: Database,
    voice: str,
    corpus: Corpus,
    recipe: dict[str, Any],
    requested_by: str,
    origin: Origin | None = None,
    *,
    rules: dict[str, Any] | None = None,
) -> tuple[Job, bool]:
    """Queue a training, or find the one that is the same: queued, running, or done with its model still stored.

    A trainer is a function of its inputs, so doing the same again could only give the same again. `rules`: by which the corpus was
    chosen and split, for the record.

    Returns:
        The job, and whether it is new.
    """
    mark = fingerprint(recipe, corpus.sha256)
    same = list(
        db.query(_SELECT + " WHERE fingerprint = ? AND (status IN ('queued', 'running') OR models.id IS NOT NULL) ORDER BY jobs.id", [mark])
    )
    if same:
        return _job(same[-1]), False
    stamp = now()
    ensure_voice(db, voice, corpus.handles)
    counts = json.dumps({handle: asdict(count) for handle, count in corpus.counts.items()})
    content = {"sha256": corpus.sha256, "voice": voice, "counts": counts, "content": corpus.to_json(), "created_at": stamp}
    origins = {"sources_sha256": sources.chained(sources.of_corpus(db, corpus)), "rules": json.dumps(rules) if rules else None}
    db.table("corpora").insert(content | origins, ignore=True)
    row = {
        "voice": voice,
        "corpus": corpus.sha256,
        "recipe": json.dumps(recipe, sort_keys=True),
        "fingerprint": mark,
        "status": Status.QUEUED,
        "requested_by": requested_by,
        "created_at": stamp,
        "member": origin and origin.member,
        "server": origin and origin.server,
    }
    return get(db, insert(db, "jobs", row)), True


def get(db: Database, job_id: int) -> Job:
    """Return one job.

    Raises:
        NotStoredError: there is none of this number.
    """
    for row in db.query(_SELECT + " WHERE jobs.id = ?", [job_id]):
        return _job(row)
    raise NotStoredError(f"There is no job {job_id}: `mynah jobs` lists them.")


def recent(db: Database, limit: int = 50) -> list[Job]:
    """Return the newest jobs, newest first."""
    return [_job(row) for row in db.query(_SELECT + " ORDER BY jobs.id DESC LIMIT ?", [limit])]


def ended(db: Database, limit: int) -> list[Job]:
    """Return the jobs that ended last, newest first."""
    return [_job(row) for row in db.query(_SELECT + " WHERE ended_at IS NOT NULL ORDER BY ended_at DESC, jobs.id DESC LIMIT ?", [limit])]


def numbers(db: Database) -> list[int]:
    """Return the numbers of all jobs."""
    return [row["id"] for row in db.query("SELECT id FROM jobs")]


def unfinished(db: Database, voice: str | None = None) -> list[Job]:
    """Return the jobs that are queued or running, oldest first, of one voice or of all."""
    where = " WHERE status IN ('queued', 'running') AND jobs.voice = coalesce(?, jobs.voice) ORDER BY jobs.id"
    return [_job(row) for row in db.query(_SELECT + where, [voice])]


def waiting(db: Database) -> bool:
    """Say whether a job is queued."""
    return bool(list(db.query("SELECT 1 FROM jobs WHERE status = 'queued' LIMIT 1")))


def queued(db: Database) -> set[int]:
    """Return the numbers of the queued jobs."""
    return {row["id"] for row in db.query("SELECT id FROM jobs WHERE status = 'queued'")}


def positions(db: Database) -> dict[int, int]:
    """Return of each queued job how many unfinished ones come before it: 0 means that it is next."""
    running = db["jobs"].count_where("status = 'running'")
    return {row["id"]: running + number for number, row in enumerate(_queue(db))}


def _queue(db: Database) -> list[dict[str, Any]]:
    """Return id and recipe of the queued jobs in the order in which they begin.

    Servers take turns: a server's first comes before another's second, that of whoever waited longest for a turn first, so that a
    hundred wishes of one hold nobody else up by more than one. What was cut off goes on before all others. What was not asked for in a
    server counts as one more.
    """
    return list(db.query(_IN_TURN))


# The + has SQLite look among what runs, and not, for each that waits, through all that its server ever asked for: with a thousand that
# wait and ten thousand that are done, that is 9 ms instead of 6 s.
_IN_TURN = """
    SELECT id, recipe FROM jobs WHERE status = 'queued' ORDER BY
        attempt = 0,
        ROW_NUMBER() OVER (PARTITION BY server ORDER BY attempt = 0, id)
            + (SELECT count(*) FROM jobs AS other WHERE other.status = 'running' AND +other.server IS jobs.server),
        (SELECT coalesce(max(started_at), '') FROM jobs AS other WHERE other.server IS jobs.server),
        id"""


def in_order(db: Database, most: int) -> list[Job]:
    """Return what runs, and then what waits, in the order in which it begins; at most so many."""
    running = interrupted(db)[:most]
    return [*running, *(get(db, row["id"]) for row in _queue(db)[: most - len(running)])]


def asked_since(db: Database, since: str, *, member: int | None = None, server: int | None = None) -> list[str]:
    """Return when jobs were asked for since then by a member, or in a server, oldest first; erased ones count (data/counting.py)."""
    column, value = ("member", member) if server is None else ("server", server)
    rows = db.query(
        f"""
        SELECT created_at FROM jobs WHERE created_at > :since AND {column} = :value
        UNION ALL SELECT at FROM counted WHERE at > :since AND {column} = :value AND kind = 'training' ORDER BY created_at""",  # noqa: S608 - one of two names
        {"since": since, "value": value},
    )
    return [row["created_at"] for row in rows]


def learned_from(db: Database, job_id: int) -> list[str]:
    """Return the corpora that a training's weights have learned from by its end, each as `Corpus.to_json` wrote it, its own first.

    One that goes on from earlier weights knows what they knew. Which version they are of may be known no more, so that what its voice
    learned from before counts, all of it.

    Raises:
        NotStoredError: it was forgotten.
    """
    rows = db.query(
        """
        SELECT corpora.content
        FROM jobs AS other JOIN jobs AS own ON other.voice = own.voice JOIN corpora ON corpora.sha256 = other.corpus
        WHERE own.id = ? AND (other.id = own.id OR (
            json_extract(own.recipe, '$.start') IS NOT NULL AND other.id < own.id AND other.status = 'done'))
        GROUP BY other.corpus ORDER BY max(other.id) DESC""",
        [job_id],
    )
    if found := [row["content"] for row in rows]:
        return found
    raise NotStoredError("The posts that this voice learned from were forgotten.")


def corpus_of(db: Database, sha256: str) -> Corpus:
    """Return a stored corpus by its hash.

    Raises:
        NotStoredError: it was forgotten.
        DamagedError: it cannot be read.
    """
    return Corpus.from_json(_of_corpus(db, sha256, "content"))


def sources_sha256_of(db: Database, sha256: str) -> str | None:
    """Return the hash of what a stored corpus was built from (data/sources.py); None: it was not built here, or before that was kept.

    Raises:
        NotStoredError: it was forgotten.
    """
    found: str | None = _of_corpus(db, sha256, "sources_sha256")
    return found


def _of_corpus(db: Database, sha256: str, column: str) -> Any:
    for row in db.query(f"SELECT {column} FROM corpora WHERE sha256 = ?", [sha256]):  # noqa: S608 - one of two names
        return row[column]
    raise NotStoredError("The posts of this voice were forgotten meanwhile.")


# ------------------------------------------------------------------- changes


def start_next(db: Database, at_once: int = 1, among: int = 1) -> list[Job]:
    """Mark the first job of the queue as running, with the next ones that may be trained in one batch with it; return them in order.

    What makes a batch is one recipe: seeds and starts may differ. Where it can be shared `among` several trainers, it is this one's part.
    Empty if the queue is.
    """
    queued = _queue(db)
    batch = [row["id"] for row in queued if _shared(row["recipe"]) == _shared(queued[0]["recipe"])]
    batch = batch[: min(at_once, -(-len(batch) // among))]
    for number in batch:
        db.conn.execute("UPDATE jobs SET status = 'running', attempt = attempt + 1, started_at = ? WHERE id = ?", [now(), number])
    return [get(db, number) for number in batch]


def _shared(recipe: str) -> dict[str, Any]:
    """Return the part of a recipe that the jobs of one batch have in common."""
    return {name: value for name, value in json.loads(recipe).items() if name not in ("seed", "start")}


def record_process(db: Database, job_ids: Iterable[int], process_group: int, process_started: int) -> None:
    """Remember which process trains these jobs, so that the next owner can make sure that it is gone.

    A trainer outlives its jobs, and so does the record, until `forget_processes`.
    """
    for job_id in job_ids:
        db.table("jobs").update(job_id, {"process_group": process_group, "process_started": process_started})


def processes(db: Database) -> list[tuple[int, int]]:
    """Return the (group, start) of each recorded trainer."""
    rows = db.query("SELECT DISTINCT process_group, process_started FROM jobs WHERE process_group IS NOT NULL")
    return [(row["process_group"], row["process_started"]) for row in rows]


def forget_processes(db: Database, gone: Iterable[tuple[int, int]]) -> None:
    """Remember of these (group, start) no more that they train: they are known to be gone, and their numbers may become others'."""
    sql = "UPDATE jobs SET process_group = NULL, process_started = NULL WHERE process_group = ? AND process_started = ?"
    db.conn.executemany(sql, list(gone))


def record_event(db: Database, job: Job, event: str) -> None:
    """Keep one message of the trainer."""
    db.table("job_events").insert({"job": job.id, "attempt": job.attempt, "at": now(), "event": event})


def events_after(db: Database, job_id: int, event_id: int = 0) -> list[tuple[int, dict[str, Any]]]:
    """Return (id, message) of a job's events since `event_id`, of its latest attempt alone."""
    rows = db.query(
        "SELECT id, event FROM job_events WHERE job = ? AND id > ? AND attempt = (SELECT attempt FROM jobs WHERE id = ?) ORDER BY id",
        [job_id, event_id, job_id],
    )
    return [(row["id"], json.loads(row["event"])) for row in rows]


def end(db: Database, job_id: int, status: Status, *, code: str | None = None, sentence: str | None = None) -> None:
    """End a running or queued job; one that has ended stays as it is, and a failure of one that was to be cancelled is that."""
    for row in db.query("SELECT cancel_requested_by FROM jobs WHERE id = ?", [job_id]):
        if status is Status.FAILED and row["cancel_requested_by"]:
            status, sentence = Status.CANCELLED, f"Cancelled by {row['cancel_requested_by']}."
    db.conn.execute(
        "UPDATE jobs SET status = ?, ended_at = ?, error_code = ?, error = ? WHERE id = ? AND status IN ('queued', 'running')",
        [status, now(), code, sentence, job_id],
    )


def request_cancel(db: Database, job_id: int, by: str) -> Job:
    """Cancel a queued job at once, or ask the owner of a running one to; return it as it is then.

    Raises:
        NotStoredError: there is none of this number.
    """
    job = get(db, job_id)
    if job.status is Status.QUEUED:
        end(db, job_id, Status.CANCELLED, sentence=f"Cancelled by {by} before it began.")
    elif job.status is Status.RUNNING:
        db.table("jobs").update(job_id, {"cancel_requested_by": by})
    return get(db, job_id)


def interrupted(db: Database) -> list[Job]:
    """Return the jobs that are marked as running."""
    return [_job(row) for row in db.query(_SELECT + " WHERE status = 'running' ORDER BY jobs.id")]


def requeue(db: Database, job_id: int) -> None:
    """Put a job that was cut off back into the queue, at its old place; a cancelled one ends instead."""
    if get(db, job_id).cancel_requested_by:
        end(db, job_id, Status.FAILED)
        return
    db.conn.execute("UPDATE jobs SET status = 'queued' WHERE id = ? AND status = 'running'", [job_id])


# ------------------------------------------------------------------- watches


@dataclass(frozen=True)
class Watch:
    """A message in Discord that shows a job."""

    id: int
    job: int
    channel: int
    message: int
    member: int


def add_watch(db: Database, job_id: int, channel: int, message: int, member: int) -> Watch:
    """Remember a message that shows a job and the member to mention at the end; one that is remembered already is so once."""
    row = {"job": job_id, "channel": channel, "message": message, "member": member}
    for known in db.query("SELECT id FROM watches WHERE job = :job AND message = :message", row):
        return Watch(**known | row)
    return Watch(id=insert(db, "watches", row), **row)


def untold_watches(db: Database) -> list[Watch]:
    """Return the messages whose job's end was not shown yet."""
    return [Watch(**row) for row in db.query("SELECT id, job, channel, message, member FROM watches WHERE told = 0 ORDER BY id")]


def mark_told(db: Database, watch_id: int) -> None:
    """Remember that the end was shown."""
    db.table("watches").update(watch_id, {"told": 1})
