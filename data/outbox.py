"""Schedules and the outbox of posts for X: draft → approved → sending → posted | rejected | failed, each change a row."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlite_utils import Database

from data.errors import MynahError, NotStoredError
from data.store import insert, now


class State(StrEnum):
    """Where a post stands."""

    DRAFT = "draft"
    #: A person said yes; it will be sent.
    APPROVED = "approved"
    #: It may be on X already. Never sent again without a look or a person.
    SENDING = "sending"
    POSTED = "posted"
    REJECTED = "rejected"
    FAILED = "failed"


#: What may follow what; anything else is refused.
_NEXT = {
    State.DRAFT: {State.APPROVED, State.REJECTED},
    State.APPROVED: {State.SENDING, State.REJECTED},
    State.SENDING: {State.POSTED, State.FAILED, State.APPROVED, State.REJECTED},
    State.POSTED: set(),
    State.REJECTED: set(),
    State.FAILED: {State.APPROVED, State.REJECTED},
}


class WrongStateError(MynahError):
    """A post cannot go where it was told to from where it stands."""


@dataclass(frozen=True)
class Post:
    """One line on its way to X."""

    id: int
    voice: str
    schedule: str | None
    text: str
    status: State
    x_id: str | None
    created_at: str


def _post(row: dict[str, Any]) -> Post:
    return Post(**row | {"status": State(row["status"])})


def add_draft(db: Database, *, voice: str, schedule: str | None, text: str, who: str) -> Post:
    """Put a line into the outbox as a draft."""
    row = {"voice": voice, "schedule": schedule, "text": text, "status": State.DRAFT, "created_at": now()}
    post_id = insert(db, "posts", row)
    _record(db, post_id, State.DRAFT, who, "written")
    return get(db, post_id)


def get(db: Database, post_id: int) -> Post:
    """Return one post.

    Raises:
        NotStoredError: there is none of this number.
    """
    for row in db.query("SELECT * FROM posts WHERE id = ?", [post_id]):
        return _post(row)
    raise NotStoredError(f"There is no post {post_id}: `mynah posts` lists them.")


def listed(db: Database, limit: int = 50) -> list[Post]:
    """Return the newest posts, newest first."""
    return [_post(row) for row in db.query("SELECT * FROM posts ORDER BY id DESC LIMIT ?", [limit])]


def in_state(db: Database, state: State) -> list[Post]:
    """Return the posts in one state, oldest first."""
    return [_post(row) for row in db.query("SELECT * FROM posts WHERE status = ? ORDER BY id", [state])]


def change(db: Database, post_id: int, state: State, *, who: str, why: str, x_id: str | None = None) -> Post:
    """Move a post to another state and record who did it and why.

    Raises:
        WrongStateError: the move is not one that its state allows.
    """
    post = get(db, post_id)
    if state not in _NEXT[post.status]:
        raise WrongStateError(f"Post {post_id} is {post.status} and cannot become {state}.")
    db.table("posts").update(post_id, {"status": state} | ({"x_id": x_id} if x_id else {}))
    _record(db, post_id, state, who, why)
    return get(db, post_id)


def note(db: Database, post_id: int, *, who: str, why: str) -> None:
    """Record something about a post that stays where it stands."""
    _record(db, post_id, get(db, post_id).status, who, why)


def awaits_person(db: Database, post_id: int) -> bool:
    """Say whether a post in `sending` was given up by its sender: its last two rows both say sending, the second says why.

    While there is one such row alone, a request may be on its way at this moment, and nobody may decide about the post.
    """
    return [change["status"] for change in changes(db, post_id)[-2:]] == [State.SENDING, State.SENDING]


def changes(db: Database, post_id: int) -> list[dict[str, Any]]:
    """Return a post's history: status, at, who, why."""
    return list(db.query("SELECT status, at, who, why FROM post_changes WHERE post = ? ORDER BY id", [post_id]))


def _record(db: Database, post_id: int, state: State, who: str, why: str) -> None:
    db.table("post_changes").insert({"post": post_id, "status": state, "at": now(), "who": who, "why": why})


# ----------------------------------------------------------------- the switch


@dataclass(frozen=True)
class Pause:
    """While it lasts, nothing is posted and no schedule fires."""

    paused_at: str
    paused_by: str
    why: str


def paused(db: Database) -> Pause | None:
    """Return the pause that lasts, if one does."""
    for row in db.query("SELECT paused_at, paused_by, why FROM pauses WHERE resumed_at IS NULL"):
        return Pause(**row)
    return None


def pause(db: Database, who: str, why: str) -> Pause:
    """Stop all posting; where it is stopped, the first pause lasts on, and is returned."""
    found = paused(db)
    if found is None:
        found = Pause(now(), who, why)
        insert(db, "pauses", vars(found))
    return found


def resume(db: Database, who: str) -> Pause:
    """Let posting go on; return the pause that ended.

    Raises:
        WrongStateError: none lasts.
    """
    found = paused(db)
    if found is None:
        raise WrongStateError("Posting is not paused.")
    db.conn.execute("UPDATE pauses SET resumed_at = ?, resumed_by = ? WHERE resumed_at IS NULL", [now(), who])
    return found


# ----------------------------------------------------------------- schedules


@dataclass(frozen=True)
class Schedule:
    """When a voice is to write a post."""

    name: str
    voice: str
    kind: str
    """every or cron."""
    expression: str
    """every: seconds; cron: five fields."""
    timezone: str
    created_by: str
    created_at: str
    last_run_at: str | None


def add_schedule(db: Database, schedule: Schedule) -> None:
    """Store a schedule.

    Raises:
        WrongStateError: one of this name exists.
    """
    if any(s.name == schedule.name for s in schedules(db)):
        raise WrongStateError(f"There is a schedule {schedule.name} already: remove it first, or take another name.")
    db.table("schedules").insert(vars(schedule))


def schedules(db: Database) -> list[Schedule]:
    """Return all schedules by name."""
    return [Schedule(**row) for row in db.query("SELECT * FROM schedules ORDER BY name")]


def remove_schedule(db: Database, name: str) -> None:
    """Delete a schedule; its posts stay.

    Raises:
        NotStoredError: there is none of this name.
    """
    if db["schedules"].count_where("name = ?", [name]) == 0:
        raise NotStoredError(f"There is no schedule {name}: `mynah schedule list` lists them.")
    db.table("schedules").delete(name)


def mark_run(db: Database, name: str) -> None:
    """Remember that a schedule fired, before anything comes of it."""
    db.conn.execute("UPDATE schedules SET last_run_at = ? WHERE name = ?", [now(), name])
