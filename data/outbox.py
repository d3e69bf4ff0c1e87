"""The outbox of posts: draft → approved → sending → posted | rejected | failed, each change a row."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlite_utils import Database

from data.errors import MynahError, NotStoredError
from data.store import insert, now, stamp


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
    not_before: str | None
    """When it is to go out; None: as soon as it is approved."""


def _post(row: dict[str, Any]) -> Post:
    return Post(**row | {"status": State(row["status"])})


def add_draft(db: Database, *, voice: str, schedule: str | None, text: str, who: str, not_before: datetime | None = None) -> Post:
    """Put a line into the outbox as a draft, to go out at `not_before` at the earliest."""
    row = {"voice": voice, "schedule": schedule, "text": text, "status": State.DRAFT, "created_at": now()}
    row["not_before"] = stamp(not_before) if not_before else None
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


def to_send(db: Database, at: datetime) -> Post | None:
    """Return the approved post whose turn it is at a moment, by the order of their times; None: none has come, or posting is paused."""
    if paused(db):
        return None
    for row in db.query(
        "SELECT * FROM posts WHERE status = 'approved' AND coalesce(not_before, '') <= ?"
        " ORDER BY coalesce(not_before, created_at), id LIMIT 1",
        [stamp(at)],
    ):
        return _post(row)
    return None


def too_late(db: Database, before: datetime) -> list[Post]:
    """Return the drafts and approved posts whose time was before a moment."""
    rows = db.query("SELECT * FROM posts WHERE status IN ('draft', 'approved') AND not_before < ? ORDER BY id", [stamp(before)])
    return [_post(row) for row in rows]


def meant_for(db: Database, since: datetime, until: datetime) -> int:
    """Count the posts whose time is in [since, until), those aside that were rejected."""
    return db["posts"].count_where(
        "coalesce(not_before, created_at) >= ? AND coalesce(not_before, created_at) < ? AND status <> 'rejected'",
        [stamp(since), stamp(until)],
    )


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
