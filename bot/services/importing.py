"""Importing: a file of an account's posts into the store, with whoever says that it may be there, all of it or nothing."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from bot.files import sha256_of
from bot.settings import Settings
from bot.threads import read_in_turn
from data import accounts, consents
from data.choosing import Counts, count_tweets
from data.consents import ConsentError, Ground
from data.handles import normalise_handle
from data.readers import read_owner, read_posts
from data.sources import Brought
from data.store import Store
from data.tweets import Tweet


@dataclass(frozen=True)
class Imported:
    """What an import gave: the counts are of all that is stored of the account now."""

    handle: str
    counts: Counts
    new: int
    ground: Ground


async def import_file(
    store: Store, settings: Settings, path: Path, handle: str, *, by: str, ground: Ground | None = None, trusted: bool = True
) -> Imported:
    """Read a file, or an archive's folder, and store what is new of it, with the claim that it may be learned from.

    Args:
        store: where to.
        settings: which handles are never stored, and which posts count as too short.
        path: the file or folder.
        handle: whose posts these are.
        by: who claims the consent.
        ground: on what ground; None: the archive, where its account.js names the account, else a permission.
        trusted: whether posts of others may be brought as the account's, too, where its own archive was brought.

    Raises:
        BadHandleError, SourceError, ConsentError: nothing was stored.
    """
    name = normalise_handle(handle)
    consents.refuse_blocked([name], settings.consent.blocked_handles)
    await store.read(consents.refuse_opted_out, [name])
    owner = await read_in_turn(read_owner, path)
    if ground is Ground.ARCHIVE and owner != name:
        whose = f"is @{owner}'s" if owner else "does not say whose it is"
        raise ConsentError(f"{path.name} {whose}, so it is no ground to train on @{name}: name another, such as `permission`.")
    ground = ground or (Ground.ARCHIVE if owner == name else Ground.PERMISSION)
    # Read to its end before the first row is written: a file that breaks off in the middle leaves nothing behind.
    tweets = await read_in_turn(lambda: list(read_posts(path)))
    brought = Brought("file", path.name, await asyncio.to_thread(_hash_of, path))
    new = await store.write(add_posts, name, tweets, ground, by, brought, trusted=trusted or owner == name)
    stored = await store.read(accounts.read_tweets, name)
    return Imported(name, await asyncio.to_thread(count_tweets, stored, settings.trainer.short_rule), new, ground)


def _hash_of(path: Path) -> str | None:
    """Return the hash of a file; None: it is an archive's folder, or gone by now."""
    try:
        return sha256_of(path)
    except OSError:
        return None


def add_posts(
    db: Database, handle: str, tweets: list[Tweet], ground: Ground | None, by: str, brought: Brought, *, trusted: bool = True
) -> int:
    """Store what is new of an account's posts, and the claim that they may be learned from, if one is made; return how many were new.

    Raises:
        ConsentError: the account wants none of it, or who brings it is not `trusted` and it has an archive of its own.
    """
    consents.refuse_opted_out(db, [handle])
    if not trusted:
        consents.refuse_strangers(db, handle, by)
    new = accounts.add_tweets(db, handle, tweets, brought)
    if ground:
        consents.claim(db, handle, ground, by)
    return new
