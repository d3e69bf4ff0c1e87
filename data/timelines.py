"""How far accounts were read from X: the newest post that was, and the gaps that reading left, so that nothing is paid for twice."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlite_utils import Database

from data import accounts
from data.sources import Brought
from data.store import insert, now
from data.tweets import Tweet


@dataclass(frozen=True)
class Gap:
    """A stretch of posts that were not read yet, between two that were or need not be; both ends are left out."""

    id: int | None
    """None: what came after the newest post, of which nothing is stored yet."""
    since_id: str | None
    until_id: str | None


@dataclass(frozen=True)
class Timeline:
    """What is known of an account on X."""

    x_id: str
    posts: int
    """That it had when it was last read, retweets included."""
    read_at: str
    newest_id: str | None


def get(db: Database, handle: str) -> Timeline | None:
    """Return how far an account was read; None: it never was."""
    for row in db.query("SELECT x_id, posts, read_at, newest_id FROM timelines WHERE handle = ?", [handle]):
        return Timeline(**row)
    return None


def gaps(db: Database, handle: str) -> list[Gap]:
    """Return what is to be read of an account, the newest first; the first of them is what came since the last time."""
    timeline = get(db, handle)
    newest = timeline.newest_id if timeline else _newest_of_archive(db, handle)
    rows = db.query("SELECT id, since_id, until_id FROM timeline_gaps WHERE handle = ? ORDER BY id DESC", [handle])
    return [Gap(None, newest, None), *(Gap(**row) for row in rows)]


def stored_from(db: Database, handle: str, oldest_id: str | None) -> int:
    """Return how many of an account's posts are stored that are not older than one, retweets left out; None: of none."""
    if oldest_id is None:
        return 0
    return db["tweets"].count_where("handle = ? AND NOT is_retweet AND CAST(id AS INTEGER) >= ?", [handle, int(oldest_id)])


def store_page(
    db: Database, handle: str, gap: Gap, tweets: Iterable[Tweet], *, x_id: str, posts: int, newest_id: str | None, rest: Gap | None
) -> tuple[Gap | None, int]:
    """Store a page of posts, and that it is stored: the gap that it was read from becomes the rest of it, or is closed.

    Args:
        db: where to.
        handle: whose posts these are.
        gap: what was read from.
        tweets: what was read.
        x_id: X's number of the account.
        posts: that the account has.
        newest_id: the newest post of the page.
        rest: what of the gap is still to be read; None: nothing.

    Returns:
        The rest as it is stored, None if there is none or if another process read it meanwhile; and how many posts were new.
    """
    new = accounts.add_tweets(db, handle, tweets, Brought("x"))
    if gap.id is not None:
        where = "id = ? AND until_id = ?"
        if rest:
            done = db.conn.execute(f"UPDATE timeline_gaps SET until_id = ? WHERE {where}", [rest.until_id, gap.id, gap.until_id])  # noqa: S608
            return (rest if done.rowcount else None), new
        db.conn.execute(f"DELETE FROM timeline_gaps WHERE {where}", [gap.id, gap.until_id])  # noqa: S608
        return None, new
    before = get(db, handle)
    if before and before.newest_id != gap.since_id:  # another process has begun with the same posts
        return None, new
    row = {"handle": handle, "x_id": x_id, "posts": posts, "read_at": now(), "newest_id": newest_id or gap.since_id}
    db.table("timelines").upsert(row, pk="handle")
    if rest is None:
        return None, new
    number = insert(db, "timeline_gaps", {"handle": handle, "since_id": rest.since_id, "until_id": rest.until_id})
    return Gap(number, rest.since_id, rest.until_id), new


def _newest_of_archive(db: Database, handle: str) -> str | None:
    """Return the newest post of an account whose own archive was imported, and which therefore is known up to that one."""
    if not db["consents"].count_where("handle = ? AND ground = 'archive'", [handle]):
        return None
    numbers = "handle = ? AND id NOT GLOB '*[^0-9]*' AND length(id) < 20"
    (newest,) = db.execute(f"SELECT MAX(CAST(id AS INTEGER)) FROM tweets WHERE {numbers}", [handle]).fetchone()  # noqa: S608
    return str(newest) if newest else None
