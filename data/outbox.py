"""The outbox of posts: draft → approved → sending → posted | rejected | failed, each change a row."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlite_utils import Database

from data.errors import MynahError, NotStoredError
from data.store import insert, now, stamp


class State(StrEnum):
    """Where a post stands."""

    DRAFT = "draft"
    #: A person said yes; it will be sent.
    APPROVED = "approved"
    #: It may be there already. Never sent again without a look or a person.
    SENDING = "sending"
    POSTED = "posted"
    REJECTED = "rejected"
    FAILED = "failed"


#: What may follow what; anything else is refused.
_NEXT = {
    State.DRAFT: {State.DRAFT, State.APPROVED, State.REJECTED},
    State.APPROVED: {State.DRAFT, State.APPROVED, State.SENDING, State.REJECTED},
    State.SENDING: {State.POSTED, State.FAILED, State.APPROVED, State.REJECTED},
    State.POSTED: set(),
    State.REJECTED: set(),
    State.FAILED: {State.DRAFT, State.APPROVED, State.REJECTED},
}


class WrongStateError(MynahError):
    """A post cannot go where it was told to from where it stands."""


#: The account on X whose keys stand in the environment without a name of its own.
DEFAULT_ACCOUNT = "default"


class Destination(NamedTuple):
    """Where a post goes: to an account on X, or to a channel in Discord; one of them is None."""

    account: str | None = None
    """Its name in config.toml."""
    channel: int | None = None
    """Discord's id."""

    def __str__(self) -> str:
        """Return what a person calls it."""
        return f"X account {self.account}" if self.account is not None else f"Discord channel {self.channel}"


@dataclass(frozen=True)
class Post:
    """One line on its way to X or to a channel in Discord."""

    id: int
    voice: str
    schedule: str | None
    text: str
    status: State
    x_id: str | None
    """The id that X, or Discord, gave it."""
    created_at: str
    not_before: str | None
    """When it is to go out; None: as soon as it is approved."""
    account: str | None
    channel: int | None
    awaits_person: bool
    """Nothing becomes of it until a person has decided; a failed one holds up its destination meanwhile."""
    tried_at: str | None
    """When it was sent last."""
    in_reply_to: str | None
    """X's id of the post that it answers; None: it answers none."""
    unsure_since: str | None
    """When it was first sent without anybody knowing what came of it; None: it is not there, or known to be."""

    @property
    def destination(self) -> Destination:
        """Where it goes."""
        return Destination(self.account, self.channel)


def _post(row: dict[str, Any]) -> Post:
    return Post(**row | {"status": State(row["status"]), "awaits_person": bool(row["awaits_person"])})


def add_draft(
    db: Database,
    *,
    voice: str,
    schedule: str | None,
    text: str,
    who: str,
    to: Destination,
    not_before: datetime | None = None,
    in_reply_to: str | None = None,
) -> Post:
    """Put a line into the outbox as a draft, to go out at `not_before` at the earliest, and in answer to a post on X, if it is one."""
    row = {
        "voice": voice,
        "schedule": schedule,
        "text": text,
        "status": State.DRAFT,
        "created_at": now(),
        "in_reply_to": in_reply_to,
    } | to._asdict()
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
    """Return the newest posts, and those that a person has to decide about however old they are, newest first."""
    newest = "SELECT id FROM posts ORDER BY id DESC LIMIT ?"
    return [_post(row) for row in db.query(f"SELECT * FROM posts WHERE awaits_person OR id IN ({newest}) ORDER BY id DESC", [limit])]  # noqa: S608


def in_state(db: Database, state: State) -> list[Post]:
    """Return the posts in one state, oldest first."""
    return [_post(row) for row in db.query("SELECT * FROM posts WHERE status = ? ORDER BY id", [state])]


def unsettled(db: Database, since: datetime, until: datetime) -> list[Post]:
    """Return what is under way, what failed and waits for a person, and of each destination the first approved post whose time has come.

    Its time is not before `since`, unless it may be there already, and not after `until`; without a time it comes in the order of writing.
    """
    return [
        _post(row)
        for row in db.query(
            """
            SELECT * FROM posts WHERE (status = 'sending' AND NOT awaits_person) OR (status = 'failed' AND awaits_person) OR id IN (
                SELECT id FROM (
                    SELECT id, row_number() OVER (PARTITION BY account, channel ORDER BY coalesce(not_before, created_at), id) AS turn
                    FROM posts WHERE status = 'approved' AND (not_before IS NULL OR (not_before <= :until
                                                              AND (not_before >= :since OR unsure_since IS NOT NULL)))
                ) WHERE turn = 1
            ) ORDER BY id""",
            {"since": stamp(since), "until": stamp(until)},
        )
    ]


def too_late(db: Database, before: datetime) -> list[Post]:
    """Return the drafts and approved posts whose time was before a moment, those aside that may be there already."""
    rows = db.query(
        "SELECT * FROM posts WHERE status IN ('draft', 'approved') AND not_before < ? AND unsure_since IS NULL ORDER BY id", [stamp(before)]
    )
    return [_post(row) for row in rows]


def at_once(db: Database, post_id: int) -> None:
    """Let a post go out as soon as it is approved."""
    db.conn.execute("UPDATE posts SET not_before = NULL WHERE id = ?", [post_id])


def on_x(db: Database, since: datetime, until: datetime) -> int:
    """Count the posts for X whose time is in [since, until), those aside that were rejected, and answers."""
    return db["posts"].count_where(
        "coalesce(not_before, created_at) >= ? AND coalesce(not_before, created_at) < ? AND channel IS NULL AND status <> 'rejected'"
        " AND in_reply_to IS NULL",
        [stamp(since), stamp(until)],
    )


def awaiting(db: Database) -> list[Post]:
    """Return the posts that a person has to decide about before anything becomes of them, oldest first; drafts aside."""
    return [_post(row) for row in db.query("SELECT * FROM posts WHERE awaits_person ORDER BY id")]


def last_words(db: Database, post_ids: Iterable[int]) -> dict[int, str]:
    """Return why each of these posts stands where it stands."""
    rows = db.query(
        "SELECT post, why FROM post_changes WHERE id IN"
        " (SELECT max(id) FROM post_changes WHERE post IN (SELECT value FROM json_each(?)) GROUP BY post)",
        [json.dumps([*post_ids])],
    )
    return {row["post"]: row["why"] for row in rows}


def known_on_x(db: Database, account: str) -> set[str]:
    """Return the ids of an account's posts on X that are known to be posts of the outbox."""
    return {row["x_id"] for row in db.query("SELECT x_id FROM posts WHERE account = ? AND x_id IS NOT NULL", [account])}


def voice_of(db: Database, channel: int, message: str) -> str | None:
    """Return the voice whose post a message in a channel of Discord is; None: it is none."""
    rows = db.query("SELECT voice FROM posts WHERE x_id = ? AND channel = ?", [message, channel])
    return next((row["voice"] for row in rows), None)


def last_before(db: Database, account: str, moment: datetime) -> str | None:
    """Return the id of the newest post on X that was sent to an account before a moment, if one is known."""
    rows = db.query(
        "SELECT x_id FROM posts WHERE account = ? AND x_id IS NOT NULL AND tried_at < ? ORDER BY CAST(x_id AS INTEGER) DESC LIMIT 1",
        [account, stamp(moment)],
    )
    return next((row["x_id"] for row in rows), None)


def change(
    db: Database,
    post_id: int,
    state: State,
    *,
    who: str,
    why: str,
    x_id: str | None = None,
    text: str | None = None,
    awaits_person: bool = False,
) -> Post:
    """Move a post to another state, or to the same with another text, and record who did it and why.

    Raises:
        WrongStateError: the move is not one that its state allows.
    """
    post = get(db, post_id)
    if state not in _NEXT[post.status] or (state is post.status and text is None):
        raise WrongStateError(f"Post {post_id} is {post.status} and cannot become {state}.")
    row = {"status": state, "awaits_person": awaits_person, "x_id": x_id or post.x_id, "text": post.text if text is None else text}
    if state is State.POSTED:
        row["unsure_since"] = None
    db.table("posts").update(post_id, row)
    _record(db, post_id, state, who, why, was=None if text is None else post.text)
    return get(db, post_id)


def need_unchanged(db: Database, post_id: int, seen: int | None) -> None:
    """Make sure that nothing became of a post since somebody saw it, when it had so many changes; None: it does not matter.

    Raises:
        NotStoredError: there is no such post.
        WrongStateError: something did.
    """
    get(db, post_id)
    if seen is not None and len(changes(db, post_id)) != seen:
        raise WrongStateError(f"Post {post_id} was changed meanwhile: look at it again.")


def mark_try(db: Database, post_id: int, moment: datetime) -> None:
    """Remember that a post is sent at this moment, so that from now on nobody knows whether it is there."""
    at = stamp(moment)
    db.conn.execute("UPDATE posts SET tried_at = ?, unsure_since = coalesce(unsure_since, ?) WHERE id = ?", [at, at, post_id])


def undo_try(db: Database, post_id: int) -> None:
    """Remember that the last try came to nothing for certain; an earlier one may still have made the post."""
    db.conn.execute("UPDATE posts SET unsure_since = NULL WHERE id = ? AND unsure_since = tried_at", [post_id])


def forget_tries(db: Database, post_id: int) -> None:
    """Remember that none of the tries has made the post as it is now."""
    db.conn.execute("UPDATE posts SET unsure_since = NULL WHERE id = ?", [post_id])


def ask_person(db: Database, post_id: int, *, who: str, why: str) -> None:
    """Leave a post where it stands until a person has decided about it."""
    note(db, post_id, who=who, why=why)
    db.table("posts").update(post_id, {"awaits_person": True})


def note(db: Database, post_id: int, *, who: str, why: str) -> None:
    """Record something about a post that stays where it stands."""
    _record(db, post_id, get(db, post_id).status, who, why)


def changes(db: Database, post_id: int) -> list[dict[str, Any]]:
    """Return a post's history, oldest first: status, at, who, why, was (the text that the change replaced, or None)."""
    return list(db.query("SELECT status, at, who, why, was FROM post_changes WHERE post = ? ORDER BY id", [post_id]))


def _record(db: Database, post_id: int, state: State, who: str, why: str, was: str | None = None) -> None:
    db.table("post_changes").insert({"post": post_id, "status": state, "at": now(), "who": who, "why": why, "was": was})


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
