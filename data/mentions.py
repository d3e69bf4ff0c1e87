"""Mentions on X: each is taken up once, and whoever said stop is never answered again."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlite_utils import Database

from data import outbox
from data.errors import NotStoredError
from data.outbox import Post, State
from data.store import stamp

WITHDRAWN = "whom it answers has said stop"


class Fate(StrEnum):
    """What becomes of a mention."""

    #: It is to be answered.
    SEEN = "seen"
    #: Its answer is in the outbox, which says what became of that.
    ANSWERED = "answered"
    IGNORED = "ignored"


@dataclass(frozen=True)
class Mention:
    """A post on X that mentions one of the accounts."""

    id: str
    account: str
    author: str
    """X's number."""
    handle: str
    text: str | None
    """None: it is no longer needed, or never was."""
    posted_at: str
    received_at: str
    state: Fate
    why: str
    """It is ignored; empty: it is not."""
    tries: int
    """How often an answer was begun."""
    answered_at: str | None
    post: int | None
    """The answer's number in the outbox."""


@dataclass(frozen=True)
class Poll:
    """How far an account's mentions were read."""

    account: str
    began_at: str
    """What was written before is nobody's summons."""
    next_at: str
    since_id: str | None
    """All up to this one were read."""
    newest_id: str | None
    """Of a rest that is being read; None: all that there was is read."""
    until_id: str | None
    """The oldest of those that were read of it."""
    problem: str | None
    """Why the last poll failed."""


@dataclass(frozen=True)
class Stop:
    """Somebody who is never answered again."""

    author: str
    handle: str
    mention: str
    said_at: str


# --------------------------------------------------------------------- reading


def poll(db: Database, account: str) -> Poll | None:
    """Return how far an account's mentions were read; None: nobody has begun."""
    for row in db.query("SELECT * FROM mention_polls WHERE account = ?", [account]):
        return Poll(**row)
    return None


def begin(db: Database, account: str, moment: datetime) -> Poll:
    """Begin to read an account's mentions from this moment on."""
    at = stamp(moment)
    begun = Poll(account, at, at, None, None, None, None)
    db.table("mention_polls").insert(vars(begun))
    return begun


def advance(db: Database, was: Poll, *, newest_id: str | None, oldest_id: str | None, more: bool, next_at: datetime) -> Poll:
    """Write down that a page was read: `more` of the same rest is to come, or this was the last of it."""
    newest = was.newest_id or newest_id
    if more:
        done = replace(was, newest_id=newest, until_id=oldest_id or was.until_id, problem=None)
    else:
        done = replace(was, since_id=newest or was.since_id, newest_id=None, until_id=None, next_at=stamp(next_at), problem=None)
    db.table("mention_polls").update(was.account, vars(done))
    return done


def postpone(db: Database, account: str, until: datetime, problem: str) -> None:
    """Write down why a poll failed, and when the next is."""
    db.table("mention_polls").update(account, {"next_at": stamp(until), "problem": problem})


# -------------------------------------------------------------------- mentions


def add(db: Database, mention: Mention) -> None:
    """Take up a mention; one that is known stays as it is."""
    db.table("mentions").insert(vars(mention), ignore=True)


def known(db: Database, ids: tuple[str, ...]) -> bool:
    """Say whether one of these was taken up."""
    return any(db["mentions"].count_where("id = ?", [one]) for one in ids)


def get(db: Database, mention_id: str) -> Mention:
    """Return a mention that was taken up."""
    (row,) = db.query("SELECT * FROM mentions WHERE id = ?", [mention_id])
    return _mention(row)


def seen(db: Database, account: str) -> list[Mention]:
    """Return the mentions of an account that are to be answered, oldest first."""
    rows = db.query("SELECT * FROM mentions WHERE state = 'seen' AND account = ? ORDER BY CAST(id AS INTEGER)", [account])
    return [_mention(row) for row in rows]


def listed(db: Database, limit: int = 50) -> list[Mention]:
    """Return the newest mentions, newest first."""
    return [_mention(row) for row in db.query("SELECT * FROM mentions ORDER BY CAST(id AS INTEGER) DESC LIMIT ?", [limit])]


def count_try(db: Database, mention_id: str) -> None:
    """Remember that an answer is begun."""
    db.conn.execute("UPDATE mentions SET tries = tries + 1 WHERE id = ?", [mention_id])


def ignore(db: Database, mention_id: str, why: str) -> None:
    """Let a mention be that is still to be answered, and erase its text."""
    db.conn.execute("UPDATE mentions SET state = 'ignored', why = ?, text = NULL WHERE id = ? AND state = 'seen'", [why, mention_id])


def answer(db: Database, mention_id: str, post_id: int, moment: datetime) -> None:
    """Write down that the answer to a mention is in the outbox."""
    row = {"state": Fate.ANSWERED, "post": post_id, "answered_at": stamp(moment)}
    db.table("mentions").update(mention_id, row)


def answers_since(db: Database, moment: datetime, author: str | None = None) -> int:
    """Count the answers that were written since a moment, to one author or to all, whatever became of them."""
    where, values = "answered_at >= ?", [stamp(moment)]
    if author is not None:
        where, values = f"{where} AND author = ?", [*values, author]
    return db["mentions"].count_where(where, values)


def asked(db: Database, post: Post) -> str:
    """Return what a post of the outbox answers; empty: nothing.

    Raises:
        NotStoredError: it is not kept any more.
    """
    for row in db.query("SELECT text FROM mentions WHERE post = ? AND text IS NOT NULL", [post.id]):
        return str(row["text"])
    if post.in_reply_to:
        raise NotStoredError(f"What post {post.id} answers is not kept any more: edit it, or reject it.")
    return ""


def forget_texts(db: Database, before: datetime) -> None:
    """Erase the texts of mentions about whose answers nobody has to decide any more, and of all that came before a moment.

    What of these is still to be answered no longer is.
    """
    db.conn.execute(
        f"""UPDATE mentions SET text = NULL, why = CASE state WHEN 'seen' THEN 'it lay too long' ELSE why END,
            state = CASE state WHEN 'seen' THEN 'ignored' ELSE state END WHERE {_DONE_WITH}""",  # noqa: S608 - our own words
        [stamp(before)],
    )


def texts_to_forget(db: Database, before: datetime) -> bool:
    """Say whether `forget_texts` has anything to do."""
    return db["mentions"].count_where(_DONE_WITH, [stamp(before)]) > 0


_DONE_WITH = """text IS NOT NULL AND (received_at < ? OR (state = 'answered' AND (post IS NULL OR post IN (
    SELECT id FROM posts WHERE status IN ('posted', 'rejected') OR (status = 'failed' AND NOT awaits_person)))))"""


def _mention(row: dict[str, Any]) -> Mention:
    return Mention(**row | {"state": Fate(row["state"])})


# ----------------------------------------------------------------------- stops


def stop(db: Database, *, author: str, handle: str, mention: str, moment: datetime) -> list[Post]:
    """Never answer somebody again: what was to be answered is not, and answers that are not on their way are withdrawn.

    Returns:
        The answers that were.
    """
    db.table("x_stops").insert({"author": author, "handle": handle, "mention": mention, "said_at": stamp(moment)}, ignore=True)
    db.conn.execute(
        "UPDATE mentions SET state = 'ignored', why = 'its author has said stop', text = NULL WHERE author = ? AND state = 'seen'", [author]
    )
    ids = db.query("SELECT post FROM mentions WHERE author = ? AND post IS NOT NULL ORDER BY post", [author])
    answers = [outbox.get(db, row["post"]) for row in list(ids)]
    return [
        outbox.change(db, post.id, State.REJECTED, who=f"@{handle}", why=WITHDRAWN)
        for post in answers
        if post.status in (State.DRAFT, State.APPROVED, State.FAILED)
    ]


def stopped(db: Database, author: str) -> bool:
    """Say whether somebody is never to be answered again."""
    return db["x_stops"].count_where("author = ?", [author]) > 0


def stopped_post(db: Database, post_id: int) -> bool:
    """Say whether a post of the outbox answers somebody who is never to be answered again."""
    return db["mentions"].count_where("post = ? AND author IN (SELECT author FROM x_stops)", [post_id]) > 0


def stops(db: Database) -> list[Stop]:
    """Return who is never answered again, the latest first."""
    return [Stop(**row) for row in db.query("SELECT * FROM x_stops ORDER BY said_at DESC, author")]
