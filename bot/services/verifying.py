"""Verifying: every hash of the lineage is made anew, and a sentence says what is no longer what it was."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlite_utils import Database

from bot.files import sha256_of
from bot.services.lineage import handles_of
from bot.services.weights import pieces
from data import accounts, jobs, models, published, sources
from data.corpus import Corpus, Counts
from data.errors import DamagedError
from data.published import Form, Published
from data.sources import Source
from data.store import Store


@dataclass
class Verified:
    """What was looked at, and found."""

    looked_at: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("posts", "corpora", "jobs", "versions", "files"), 0))
    differences: list[str] = field(default_factory=list)
    """A sentence each."""
    unknown: list[str] = field(default_factory=list)
    """What nobody can say: a sentence each."""


@dataclass(frozen=True)
class Version:
    """What is verified of a model; not models.Model, which cannot be made of damaged rows."""

    id: int
    name: str
    sha256: str
    bytes: int


async def verify(store: Store, name: str | None = None) -> Verified:
    """Make every hash anew of a voice, or of all that is stored; nothing is changed, and whoever speaks or trains goes on.

    Raises:
        NotStoredError: nothing of this name is stored.
    """
    found = Verified()
    handles = await store.read(handles_of, name) if name else await store.read(accounts.known_handles)
    for handle in handles:
        await store.read(_sources, handle, found)
    for voice in [name] if name else await store.read(_voices):
        for sha256 in await store.read(_corpora, voice):
            await store.read(_corpus, sha256, found)
        await store.read(_jobs, voice, found)
        for version in await store.read(_versions, voice):
            await _weights(store, version, found)
            await store.read(_result, version, found)
            for place, rows in await store.read(_places, version):
                await asyncio.to_thread(_files, version, Path(place), rows, found)
    return found


def _voices(db: Database) -> list[str]:
    return [row["name"] for row in db.query("SELECT name FROM voices ORDER BY name")]


# --------------------------------------------------------------------- posts


def _sources(db: Database, handle: str, found: Verified) -> None:
    came = sources.of_account(db, handle)
    for source in came:
        posts, sha256 = sources.stored(db, handle, source.at)
        found.looked_at["posts"] += posts
        if posts != source.posts:
            found.differences.append(f"Of the posts of @{handle} {_whence(source)}, {posts:,} of {source.posts:,} are stored.")
        elif sha256 != source.sha256:
            found.differences.append(f"Of the posts of @{handle} {_whence(source)}, some are not as they were stored.")
    if unknown := sum(source.posts for source in came if source.kind == "unknown"):
        found.unknown.append(
            f"Of the posts of @{handle}, {unknown:,} were stored before it was recorded what they came from, and their hash."
        )
    if strays := sources.strays(db, handle):
        found.differences.append(f"Of the stored posts of @{handle}, {strays:,} came from nothing that is written down.")


def _whence(source: Source) -> str:
    whence = {"file": f"that came from {source.name}", "x": "that came from X", "command": "that the command of [source] printed"}
    return f"{whence.get(source.kind, 'stored')} on {source.at[:16]}"


# ---------------------------------------------------------- corpora and runs


def _corpora(db: Database, voice: str) -> list[str]:
    return [row["sha256"] for row in db.query("SELECT sha256 FROM corpora WHERE voice = ? ORDER BY rowid", [voice])]


def _corpus(db: Database, sha256: str, found: Verified) -> None:
    for row in db.query("SELECT * FROM corpora WHERE sha256 = ?", [sha256]):
        found.looked_at["corpora"] += 1
        named = f"The corpus {sha256[:12]}… of {row['voice']}"
        try:
            corpus = Corpus.from_json(row["content"])
            counts = {handle: Counts(**count) for handle, count in json.loads(row["counts"]).items()}
        except (DamagedError, ValueError, TypeError, AttributeError):
            found.differences.append(f"{named} cannot be read.")
            return
        if corpus.sha256 != (row["altered_sha256"] or sha256):
            # Before there was sources_sha256, nothing told when words of a forgotten account were taken out.
            why = "" if row["sources_sha256"] else "; if words of an account were taken out of it, which was forgotten, that is why"
            found.differences.append(f"{named} is not what its hash says{why}.")
        elif row["altered_sha256"]:
            found.unknown.append(f"{named} lacks the words of an account that was forgotten, so it is known as they left it alone.")
        if counts != corpus.counts:
            found.differences.append(f"{named} has other counts of its posts than its cards say.")
        if corpus.train and row["sources_sha256"] is None:
            found.unknown.append(f"Of which posts {named[0].lower()}{named[1:]} was built was not recorded.")
        elif row["sources_sha256"] and sources.chained(sources.of_corpus(db, corpus)) != row["sources_sha256"]:
            found.differences.append(f"{named} was built of other posts than are written down now.")


def _jobs(db: Database, voice: str, found: Verified) -> None:
    for row in list(db.query("SELECT id, recipe, corpus, fingerprint FROM jobs WHERE voice = ? ORDER BY id", [voice])):
        found.looked_at["jobs"] += 1
        try:
            same = jobs.fingerprint(json.loads(row["recipe"]), row["corpus"]) == row["fingerprint"]
        except ValueError:
            same = False
        if not same:
            found.differences.append(f"Job {row['id']} of {voice} has another recipe or corpus than it was asked for with.")


# ------------------------------------------------------------------ versions


def _versions(db: Database, voice: str) -> list[Version]:
    rows = db.query("SELECT id, version, sha256, bytes FROM models WHERE voice = ? ORDER BY id", [voice])
    return [Version(row["id"], f"version {row['version']} of {voice}", row["sha256"], row["bytes"]) for row in rows]


async def _weights(store: Store, version: Version, found: Verified) -> None:
    digest, size = hashlib.sha256(), 0
    async for piece in pieces(store, version.id):
        await asyncio.to_thread(digest.update, piece)
        size += len(piece)
    if not await store.read(models.exists, version.id):  # it was forgotten meanwhile
        return
    found.looked_at["versions"] += 1
    if (digest.hexdigest(), size) != (version.sha256, version.bytes):
        found.differences.append(f"The weights of {version.name} are not what their hash says: restore a backup, or train it again.")


def _result(db: Database, version: Version, found: Verified) -> None:
    query = """
        SELECT result, result_sha256, models.corpus = jobs.corpus AND models.base IS json_extract(recipe, '$.base')
            AND models.method IS json_extract(recipe, '$.method') AS of_its_job
        FROM models JOIN jobs ON jobs.id = models.job WHERE models.id = ?"""
    for row in db.query(query, [version.id]):
        if not row["of_its_job"]:
            found.differences.append(f"The base, method or corpus of {version.name} is not its job's.")
        if row["result_sha256"] is None:
            found.unknown.append(f"What the run told of {version.name} was stored before its hash was recorded.")
        elif hashlib.sha256(row["result"].encode()).hexdigest() != row["result_sha256"]:
            found.differences.append(f"The losses, samples or details of {version.name} are not what its run told.")


# --------------------------------------------------------- cards and exports


def _places(db: Database, version: Version) -> list[tuple[str, list[Published]]]:
    """Return the folders in which there is something of a version, each with all that was written there."""
    places = [one.place for one in published.of_model(db, version.id) if one.kind in (Form.CARD, Form.EXPORT)]
    return [(place, published.at(db, place)) for place in dict.fromkeys(places)]


def _files(version: Version, folder: Path, rows: Sequence[Published], found: Verified) -> None:
    for row in rows:
        if row.model == version.id and row.finished_at is None:
            found.unknown.append(f"The {row.kind} of {version.name} in {folder} was cut off: how much of it was written is not known.")
    finished = [row for row in rows if row.finished_at]
    if not folder.is_dir():
        found.unknown += [f"The {row.kind} of {version.name} is not in {folder} any more." for row in finished if row.model == version.id]
        return
    newest = {name: row for row in finished for name in row.files}
    for name, row in newest.items():
        if row.model != version.id:
            continue
        # One that was cut off after it may have come as far as this file.
        may_be = {one.files[name] for one in rows if name in one.files and (one is row or (one.id > row.id and not one.finished_at))}
        try:
            sha256 = sha256_of(folder / name)
        except OSError:
            found.differences.append(f"{folder / name}, of the {row.kind} of {version.name}, is gone or cannot be read.")
            continue
        found.looked_at["files"] += 1
        if sha256 not in may_be:
            found.differences.append(f"{folder / name} is not what was written for the {row.kind} of {version.name}.")
