"""Schedules, when voices are to write posts, and their runs: what became of each time, as a row that says why."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlite_utils import Database

from data.errors import NotStoredError
from data.outbox import DEFAULT_ACCOUNT, WrongStateError
from data.store import insert, stamp

NEWEST = 10
"""Runs of a schedule that are shown, and never pruned."""


@dataclass(frozen=True)
class Schedule:
    """When a voice is to write a post, and for whom."""

    name: str
    voice: str
    kind: str
    """every, cron or times."""
    expression: str
    """every: seconds; cron: five fields; times: such as `09:00, mon 18:30`."""
    timezone: str
    created_by: str
    created_at: str
    settled_until: str | None = None
    """The nominal time up to which every one is a run or was passed over; None: none yet."""
    jitter: int = 0
    """Seconds by which a moment is drawn after its nominal time, at most."""
    quiet: str = ""
    """Hours in which nothing happens, such as 22:00-07:00, by its zone; empty: none."""
    max_a_day: int | None = None
    """Drafts on one day of its zone."""
    account: str | None = DEFAULT_ACCOUNT
    """The X account that posts, by its name in config.toml; None: it posts in a channel."""
    channel: int | None = None
    """Discord's id of the channel that it posts in; None: it posts on X."""
    prompt: str = ""
    creativity: float | None = None
    missed: str = "once"
    """once: the newest missed time is made up within the grace; skip: none is."""
    grace: int = 3600
    """Seconds."""
    ahead: int | None = None
    """Seconds by which a draft is written before its time; None: config.toml's."""
    operator: bool = True
    """It was made in the terminal; no other may post without approval."""
    server: int | None = None
    """Discord's id of the server that it was made in; None: elsewhere."""
    paused_at: str | None = None
    paused_by: str | None = None


class Outcome(StrEnum):
    """What became of a time."""

    #: It is taken up, and its draft is not there yet.
    DUE = "due"
    DRAFTED = "drafted"
    #: On purpose: a pause, a limit, a clock that was changed.
    SKIPPED = "skipped"
    #: Mynah was not running then, or the clock jumped over it.
    MISSED = "missed"
    FAILED = "failed"


@dataclass(frozen=True)
class Run:
    """One time of a schedule, and what became of it."""

    id: int
    schedule: str
    nominal: str
    """The time that the schedule names; of a run that a person asked for, when he did."""
    at: str
    """When its post is to go out: the nominal time and the jitter."""
    taken_at: str
    tries: int
    """How often its draft was begun; more than once only after a crash."""
    outcome: Outcome
    why: str
    post: int | None
    asked_by: str | None
    """Who asked for it; None: its time came."""


def add(db: Database, schedule: Schedule) -> None:
    """Store a schedule.

    Raises:
        WrongStateError: one of this name exists.
    """
    if db["schedules"].count_where("name = ?", [schedule.name]):
        raise WrongStateError(f"There is a schedule {schedule.name} already: remove it first, or take another name.")
    db.table("schedules").insert(vars(schedule))


def listed(db: Database) -> list[Schedule]:
    """Return all schedules by name."""
    return [_schedule(row) for row in db.query("SELECT * FROM schedules ORDER BY name")]


def get(db: Database, name: str) -> Schedule:
    """Return one schedule.

    Raises:
        NotStoredError: there is none of this name.
    """
    for row in db.query("SELECT * FROM schedules WHERE name = ?", [name]):
        return _schedule(row)
    raise NotStoredError(f"There is no schedule {name}: `mynah schedule list` lists them.")


def remove(db: Database, name: str) -> None:
    """Delete a schedule and its runs; its posts stay.

    Raises:
        NotStoredError: there is none of this name.
    """
    get(db, name)
    db.table("schedules").delete(name)


def pause(db: Database, name: str, who: str, at: datetime) -> Schedule:
    """Stop a schedule; one that stands still already stays as it is.

    Raises:
        NotStoredError: there is none of this name.
    """
    if get(db, name).paused_at is None:
        db.conn.execute("UPDATE schedules SET paused_at = ?, paused_by = ? WHERE name = ?", [stamp(at), who, name])
    return get(db, name)


def resume(db: Database, name: str, at: datetime) -> Schedule:
    """Let a schedule go on; what fell into its pause is no missed time.

    Raises:
        NotStoredError: there is none of this name.
        WrongStateError: it is not paused.
    """
    if get(db, name).paused_at is None:
        raise WrongStateError(f"The schedule {name} is not paused.")
    db.conn.execute("UPDATE schedules SET paused_at = NULL, paused_by = NULL WHERE name = ?", [name])
    # Never back: what was drafted ahead before the pause is not to be drafted again.
    db.conn.execute("UPDATE schedules SET settled_until = max(coalesce(settled_until, ''), ?) WHERE name = ?", [stamp(at), name])
    return get(db, name)


def settle(db: Database, name: str, until: datetime) -> None:
    """Remember that every nominal time up to `until` is a run or was passed over."""
    db.conn.execute("UPDATE schedules SET settled_until = ? WHERE name = ?", [stamp(until), name])


# ---------------------------------------------------------------------- runs


def add_run(
    db: Database,
    schedule: str,
    *,
    nominal: datetime,
    at: datetime,
    taken_at: datetime,
    outcome: Outcome,
    why: str,
    asked_by: str | None = None,
) -> Run | None:
    """Write down a time of a schedule; None where it was taken up already, for no time comes twice.

    One that a wrong clock let pass is another matter: its row gives way.
    """
    let_pass = [schedule, stamp(nominal), Outcome.SKIPPED, Outcome.MISSED]
    db.conn.execute("DELETE FROM schedule_runs WHERE schedule = ? AND nominal = ? AND outcome IN (?, ?)", let_pass)
    if db["schedule_runs"].count_where("schedule = ? AND nominal = ?", [schedule, stamp(nominal)]):
        return None
    row = {
        "schedule": schedule,
        "nominal": stamp(nominal),
        "at": stamp(at),
        "taken_at": stamp(taken_at),
        "outcome": outcome,
        "why": why,
        "asked_by": asked_by,
    }
    return run(db, insert(db, "schedule_runs", row))


def run(db: Database, run_id: int) -> Run:
    """Return one run.

    Raises:
        NotStoredError: it went with its schedule.
    """
    for row in db.query("SELECT * FROM schedule_runs WHERE id = ?", [run_id]):
        return _run(row)
    raise NotStoredError("The schedule was removed meanwhile.")


def runs(db: Database, name: str, limit: int = NEWEST) -> list[Run]:
    """Return a schedule's newest runs, newest first."""
    return [_run(row) for row in db.query("SELECT * FROM schedule_runs WHERE schedule = ? ORDER BY id DESC LIMIT ?", [name, limit])]


def due(db: Database) -> list[Run]:
    """Return the runs whose draft is not there yet, schedule by schedule, each schedule's oldest first."""
    return [_run(row) for row in db.query("SELECT * FROM schedule_runs WHERE outcome = 'due' ORDER BY schedule, id")]


def begin(db: Database, run_id: int) -> None:
    """Count a try at a run's draft, before it is made."""
    db.conn.execute("UPDATE schedule_runs SET tries = tries + 1 WHERE id = ?", [run_id])


def end(db: Database, run_id: int, outcome: Outcome, why: str, post: int | None = None) -> None:
    """Write down what became of a run."""
    db.conn.execute("UPDATE schedule_runs SET outcome = ?, why = ?, post = ? WHERE id = ?", [outcome, why, post, run_id])


def prune(db: Database, before: datetime) -> None:
    """Delete the runs of times before a moment, but each schedule's newest ones, and those whose draft is not there yet."""
    db.conn.execute(
        "DELETE FROM schedule_runs WHERE at < ? AND outcome <> 'due' AND id NOT IN (SELECT id FROM ("
        "SELECT id, row_number() OVER (PARTITION BY schedule ORDER BY id DESC) AS age FROM schedule_runs) WHERE age <= ?)",
        [stamp(before), NEWEST],
    )


def drafted(db: Database, name: str, since: datetime) -> Iterable[str]:
    """Return when the posts that a schedule drafted, or is about to, are to go out, from `since` on; none that a person asked for."""
    rows = db.query(
        "SELECT at FROM schedule_runs WHERE schedule = ? AND at >= ? AND outcome IN ('due', 'drafted') AND asked_by IS NULL",
        [name, stamp(since)],
    )
    return [row["at"] for row in rows]


def _schedule(row: dict[str, Any]) -> Schedule:
    return Schedule(**row | {"operator": bool(row["operator"])})


def _run(row: dict[str, Any]) -> Run:
    return Run(**row | {"outcome": Outcome(row["outcome"])})
