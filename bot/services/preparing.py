"""Preparing a training: what it would learn from, on whose word, and how long it would take, before anybody says yes."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from sqlite_utils import Database

from bot.errors import BadRequestError, TooLittleTextError
from bot.services.training import accounts_of, corpus_of, warnings_of
from bot.settings import Settings
from bot.threads import read_in_turn
from data import accounts, consents, models
from data.choosing import count_tweets
from data.consents import Consent, Ground
from data.readers import read_owner, read_posts
from data.store import Store
from data.tweets import Tweet

RECENT = 5  # trainings that an estimate of the next one's time is made of


@dataclass(frozen=True)
class Prepared:
    """What a training would be."""

    handles: tuple[str, ...]
    kept: dict[str, int]
    """Posts of each account that would be learned from, before `posts` cuts them."""
    new: int
    """Posts of the file that are not stored yet; 0 without a file."""
    claims: dict[str, list[Consent]]
    missing: tuple[str, ...]
    """Accounts for which nobody claimed consent on a ground that the settings accept."""
    grounds: tuple[Ground, ...]
    """Those on which it may be claimed now: the archive where the file is one of this very account."""
    seconds: float | None
    """That it would take, as the last trainings on this base took; None: none was measured here yet."""
    warnings: tuple[str, ...]


async def prepare(
    store: Store,
    settings: Settings,
    handles: Sequence[str],
    *,
    by: str,
    file: Path | None,
    base: str | None,
    posts: int | None,
    reads: bool = False,
) -> Prepared:
    """Look at what is stored, and at a file that somebody would import, and store nothing.

    With `reads`, more will be read before it is learned from, so that what is stored may be too little, or nothing.

    Raises:
        BadHandleError, SourceError, ConsentError, NotStoredError, TooLittleTextError: it cannot be trained.
        BadRequestError: too many accounts, or a file for several.
    """
    names = await accounts_of(store, settings, handles)
    if file and len(names) > 1:
        raise BadRequestError("A file holds one account's posts: bring them in one after another, and then train on all.")
    owner = await read_in_turn(read_owner, file) if file else None
    brought = await read_in_turn(lambda: list(read_posts(file))) if file else []
    tweets, found = await store.read(_stored, names, brought, reads=reads)
    parents = await store.read(accounts.read_parents, names)
    chosen = base or settings.trainer.base
    warnings: tuple[str, ...] = ()
    try:
        corpus = await asyncio.to_thread(corpus_of, settings, tweets, parents, posts)
        counted, warnings = corpus.counts, warnings_of(corpus, chosen)
    except TooLittleTextError:
        if not reads:
            raise
        counted = {handle: count_tweets(posts, settings.trainer.short_rule) for handle, posts in tweets.items()}
    accepted = settings.consent.grounds
    claims = {handle: await store.read(consents.claims, handle) for handle in names}
    if file and owner != names[0]:
        await store.read(consents.refuse_strangers, names[0], by)
    possible = {Ground.PERMISSION, Ground.PARODY} | ({Ground.ARCHIVE} if owner == names[0] else set())
    return Prepared(
        handles=names,
        kept={handle: counts.kept - counts.duplicates for handle, counts in counted.items()},
        new=len({tweet.id for tweet in brought} - found) if file else 0,
        claims=claims,
        missing=tuple(handle for handle, said in claims.items() if not accepted & {one.ground for one in said}),
        grounds=tuple(ground for ground in Ground if ground in possible & accepted),
        seconds=await store.read(_seconds, chosen),
        warnings=warnings,
    )


def _stored(db: Database, names: Sequence[str], brought: list[Tweet], *, reads: bool) -> tuple[dict[str, list[Tweet]], set[str]]:
    """Return what would be stored of each account, and the ids of what is."""
    if not brought:
        return {name: (accounts.stored_tweets if reads else accounts.read_tweets)(db, name) for name in names}, set()
    (name,) = names
    before = accounts.stored_tweets(db, name)
    found = {tweet.id for tweet in before}
    return {name: [*before, *(tweet for tweet in brought if tweet.id not in found)]}, found


def _seconds(db: Database, base: str) -> float | None:
    recent = models.newest_of(db, base, RECENT)
    return median(float(model.result["seconds"]) for model in recent) if recent else None
