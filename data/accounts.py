"""Accounts and their raw tweets in the database: adding, counting, reading, forgetting."""

from collections.abc import Iterable
from datetime import datetime

from sqlite_utils import Database

from data.errors import NotStoredError
from data.store import now
from data.tweets import Tweet


def add_tweets(db: Database, handle: str, tweets: Iterable[Tweet]) -> int:
    """Store what is new of an account, making the account if need be; return how many tweets were new."""
    stamp = now()
    db.table("accounts").insert({"handle": handle, "created_at": stamp}, ignore=True)
    before = db.conn.total_changes
    db.conn.executemany(
        "INSERT OR IGNORE INTO tweets (handle, id, created_at, text, is_retweet, is_reply, imported_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        ((handle, t.id, t.created_at.isoformat() if t.created_at else None, t.text, t.is_retweet, t.is_reply, stamp) for t in tweets),
    )
    return db.conn.total_changes - before


def read_tweets(db: Database, handle: str) -> list[Tweet]:
    """Return an account's tweets in the order in which they were stored.

    Raises:
        NotStoredError: no tweet of this account is stored.
    """
    tweets = [
        Tweet(
            id=row["id"],
            created_at=datetime.fromisoformat(row["created_at"]) if row["created_at"] else None,
            text=row["text"],
            is_retweet=bool(row["is_retweet"]),
            is_reply=None if row["is_reply"] is None else bool(row["is_reply"]),
        )
        for row in db.query("SELECT * FROM tweets WHERE handle = ? ORDER BY rowid", [handle])
    ]
    if not tweets:
        raise NotStoredError(f"No posts of @{handle} are stored: import them with `mynah import FILE --as {handle}`.")
    return tweets


def known_handles(db: Database) -> list[str]:
    """Return every account that has tweets, sorted."""
    return [row["handle"] for row in db.query("SELECT handle FROM accounts ORDER BY handle")]


def voices_of(db: Database, handle: str) -> list[str]:
    """Return the names of all voices that were made of this account, joint ones included."""
    return [row["voice"] for row in db.query("SELECT voice FROM voice_accounts WHERE handle = ? ORDER BY voice", [handle])]


def ensure_voice(db: Database, name: str, handles: Iterable[str]) -> None:
    """Make the voice of these accounts, which must exist, unless it is there."""
    db.table("voices").insert({"name": name, "created_at": now()}, ignore=True)
    db.table("voice_accounts").insert_all(({"voice": name, "handle": handle} for handle in handles), ignore=True)


def forget(db: Database, handle: str) -> dict[str, int]:
    """Delete all that is stored of an account and of every voice made of it; return how many rows of each kind went.

    What goes: tweets, corpora, jobs and their events, every version of every model with its weights, requests and
    generations, schedules and posts. Running trainings must have ended before.

    Raises:
        NotStoredError: nothing of this account is stored.
    """
    voices = voices_of(db, handle)
    if handle not in known_handles(db):
        raise NotStoredError(f"Nothing of @{handle} is stored.")
    counted = ("models", "jobs", "corpora", "requests", "schedules", "posts")
    marks = ", ".join("?" * len(voices))
    gone = {"tweets": db["tweets"].count_where("handle = ?", [handle]), "voices": len(voices)}
    gone |= {table: db[table].count_where(f"voice IN ({marks})", voices) for table in counted}
    # Models before jobs and corpora, which they name without a cascade of their own.
    for table in ("models", "jobs", "corpora"):
        db.conn.execute(f"DELETE FROM {table} WHERE voice IN ({marks})", voices)  # noqa: S608 - fixed names and question marks
    db.conn.execute(f"DELETE FROM voices WHERE name IN ({marks})", voices)  # noqa: S608
    db.conn.execute("DELETE FROM accounts WHERE handle = ?", [handle])
    return gone
