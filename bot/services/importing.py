"""Importing: a file of an account's posts into the store, all of it or nothing."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from data import accounts
from data.choosing import Counts, count_tweets
from data.cleaning import ShortRule
from data.handles import normalise_handle
from data.readers import read_posts
from data.store import Store


@dataclass(frozen=True)
class Imported:
    """What an import gave: the counts are of all that is stored of the account now."""

    handle: str
    counts: Counts
    new: int


async def import_file(store: Store, path: Path, handle: str, *, short_rule: ShortRule) -> Imported:
    """Read a file, or an archive's folder, and store what is new of it.

    Raises:
        BadHandleError, SourceError: nothing was stored.
    """
    name = normalise_handle(handle)
    # Read to its end before the first row is written: a file that breaks off in the middle leaves nothing behind.
    tweets = await asyncio.to_thread(lambda: list(read_posts(path)))
    new = await store.write(accounts.add_tweets, name, tweets)
    stored = await store.read(accounts.read_tweets, name)
    return Imported(name, await asyncio.to_thread(count_tweets, stored, short_rule), new)
