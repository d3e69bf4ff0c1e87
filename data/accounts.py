"""Accounts and their raw tweets in the database: adding, counting, reading, forgetting."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from sqlite_utils import Database

from data import counting, sources
from data.cleaning import training_text
from data.corpus import Corpus
from data.errors import NotStoredError
from data.sources import UNKNOWN, Brought
from data.store import now
from data.tweets import Tweet


def add_tweets(db: Database, handle: str, tweets: Iterable[Tweet], brought: Brought = UNKNOWN) -> int:
    """Store what is new of an account, and what brought it, making the account if need be; return how many tweets were new.

    Of a tweet that is there already nothing changes, but that it learns which post it answers, if it did not know.
    """
    stamp = now()
    ensure_account(db, handle)
    before = db["tweets"].count_where("handle = ?", [handle])
    db.conn.executemany(
        "INSERT INTO tweets (handle, id, created_at, text, is_retweet, is_reply, in_reply_to, imported_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (handle, id) DO UPDATE SET in_reply_to = excluded.in_reply_to"
        " WHERE tweets.in_reply_to IS NULL AND excluded.in_reply_to IS NOT NULL",
        (
            (handle, t.id, t.created_at.isoformat() if t.created_at else None, t.text, t.is_retweet, t.is_reply, t.in_reply_to, stamp)
            for t in tweets
        ),
    )
    new = db["tweets"].count_where("handle = ?", [handle]) - before
    if new:
        sources.add(db, handle, stamp, brought)
    return new


def ensure_account(db: Database, handle: str) -> None:
    """Make an account unless it is there; without tweets it is one whose voice was imported."""
    db.table("accounts").insert({"handle": handle, "created_at": now()}, ignore=True)


def stored_tweets(db: Database, handle: str) -> list[Tweet]:
    """Return an account's tweets in the order in which they were stored; none, if none are."""
    return [
        Tweet(
            id=row["id"],
            created_at=datetime.fromisoformat(row["created_at"]) if row["created_at"] else None,
            text=row["text"],
            is_retweet=bool(row["is_retweet"]),
            is_reply=None if row["is_reply"] is None else bool(row["is_reply"]),
            in_reply_to=row["in_reply_to"],
        )
        for row in db.query("SELECT * FROM tweets WHERE handle = ? ORDER BY rowid", [handle])
    ]


def read_tweets(db: Database, handle: str) -> list[Tweet]:
    """Return an account's tweets in the order in which they were stored.

    Raises:
        NotStoredError: no tweet of this account is stored.
    """
    tweets = stored_tweets(db, handle)
    if not tweets:
        raise NotStoredError(f"No posts of @{handle} are stored: import them with `mynah import FILE --as {handle}`.")
    return tweets


def read_parents(db: Database, handles: Iterable[str]) -> dict[str, str]:
    """Return the raw texts, by id, of all stored posts, whoever's they are, that posts of these accounts answer."""
    parents: dict[str, str] = {}
    for handle in handles:
        rows = db.query(
            "SELECT parent.id, parent.text FROM tweets AS answer JOIN tweets AS parent ON parent.id = answer.in_reply_to"
            " WHERE answer.handle = ?",
            [handle],
        )
        parents |= {row["id"]: row["text"] for row in rows}
    return parents


def known_handles(db: Database) -> list[str]:
    """Return every account of which something is stored, sorted."""
    return [row["handle"] for row in db.query("SELECT handle FROM accounts ORDER BY handle")]


def handles_with(db: Database, holding: str, most: int) -> list[str]:
    """Return accounts whose handle holds a text, those that begin with it first."""
    rows = db.query(
        "SELECT handle FROM accounts WHERE instr(handle, :holding) ORDER BY instr(handle, :holding) > 1, handle LIMIT :most",
        {"holding": holding, "most": most},
    )
    return [row["handle"] for row in rows]


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
    generations, schedules and posts, games with their points, and its words where the corpora of others hold them as what was answered.
    Running trainings must have ended before.

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
    counting.keep(db, f"voice IN ({marks})", voices)
    # Models before jobs and corpora, which they name without a cascade of their own.
    for table in ("models", "jobs", "corpora"):
        db.conn.execute(f"DELETE FROM {table} WHERE voice IN ({marks})", voices)  # noqa: S608 - fixed names and question marks
    db.conn.execute(f"DELETE FROM voices WHERE name IN ({marks})", voices)  # noqa: S608
    _forget_as_parent(db, handle)
    db.conn.execute("UPDATE spending SET why = 'reading @ (forgotten)' WHERE instr(lower(why) || ' ', ?)", [f"@{handle} "])
    db.conn.execute("DELETE FROM accounts WHERE handle = ?", [handle])
    return gone


def _forget_as_parent(db: Database, handle: str) -> None:
    words = {training_text(row["text"]) for row in db.query("SELECT text FROM tweets WHERE handle = ?", [handle])}
    # In JSON the quotes of a post are escaped, so this finds the key alone. The hash goes on naming the corpus as it was built.
    for row in db.query("SELECT sha256, content FROM corpora WHERE content LIKE '%,\"parent\":%'"):
        corpus = Corpus.from_json(row["content"])
        train, stop, report = (
            tuple(replace(post, parent="") if post.parent in words else post for post in split)
            for split in (corpus.train, corpus.stop, corpus.report)
        )
        left = replace(corpus, train=train, stop=stop, report=report)
        if left != corpus:
            altered = {"content": left.to_json(), "altered_sha256": left.sha256}
            db.table("corpora").update(row["sha256"], altered)
