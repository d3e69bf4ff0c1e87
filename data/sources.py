"""Where an account's raw posts came from: a row for each file, page or command's output that brought new ones, with hashes."""

import hashlib
from dataclasses import dataclass

from sqlite_utils import Database

from data.corpus import Corpus
from data.tweets import sha256_of_rows


@dataclass(frozen=True)
class Brought:
    """What brings posts."""

    kind: str = "unknown"
    """file, x or command."""
    name: str = ""
    """Of the file, without its folders."""
    content_sha256: str | None = None
    """Of the file; None: it is none, or a folder."""


UNKNOWN = Brought()


@dataclass(frozen=True)
class Source:
    """What brought some of an account's posts."""

    handle: str
    at: str
    kind: str
    name: str
    content_sha256: str | None
    posts: int
    """That were new."""
    sha256: str
    """Of those, as they were stored; of kind unknown, as they were when lineage began to be recorded."""


def add(db: Database, handle: str, at: str, brought: Brought) -> None:
    """Write down what brought the posts of an account that were stored just now, with this time."""
    posts, sha256 = stored(db, handle, at)
    row = {"handle": handle, "at": at, "posts": posts, "sha256": sha256}
    db.table("sources").insert(row | {"kind": brought.kind, "name": brought.name, "content_sha256": brought.content_sha256})


def stored(db: Database, handle: str, at: str) -> tuple[int, str]:
    """Return how many posts of a source are stored, and their hash."""
    rows = list(
        db.query(
            "SELECT id, created_at, text, is_retweet, is_reply FROM tweets WHERE handle = ? AND imported_at = ? ORDER BY rowid",
            [handle, at],
        )
    )
    return len(rows), sha256_of_rows(rows)


def of_account(db: Database, handle: str) -> list[Source]:
    """Return what brought an account's posts, in the order in which it came."""
    return [Source(**row) for row in db.query("SELECT * FROM sources WHERE handle = ? ORDER BY rowid", [handle])]


def of_corpus(db: Database, corpus: Corpus) -> list[Source]:
    """Return what brought the posts that a corpus was built from: the first of each account, as many as it counts as downloaded.

    A later import adds posts behind them. Without posts in it, it was not built here, and there is none.
    """
    if not corpus.train:
        return []
    first = "SELECT imported_at FROM tweets WHERE handle = :handle ORDER BY rowid LIMIT :posts"
    found = []
    for handle in corpus.handles:
        where = {"handle": handle, "posts": corpus.counts[handle].downloaded}
        rows = db.query(f"SELECT * FROM sources WHERE handle = :handle AND at IN ({first}) ORDER BY rowid", where)  # noqa: S608 - fixed
        found += [Source(**row) for row in rows]
    return found


def chained(sources: list[Source]) -> str | None:
    """Return the hash of some sources' hashes, in hexadecimal: what a corpus was built from; None: of none."""
    if not sources:
        return None
    return hashlib.sha256("".join(f"{source.handle} {source.sha256}\n" for source in sources).encode()).hexdigest()


def strays(db: Database, handle: str) -> int:
    """Return how many posts of an account came from nothing that is written down."""
    where = "handle = ? AND NOT EXISTS (SELECT 1 FROM sources WHERE sources.handle = tweets.handle AND sources.at = tweets.imported_at)"
    return db["tweets"].count_where(where, [handle])
