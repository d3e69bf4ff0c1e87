"""Garbage: what takes room and is needed no more. What speaks, is pinned, or is used by a process that lives is never touched."""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from sqlite_utils import Database

from bot.errors import MynahError
from bot.services import orders, workplace
from bot.services.backups import PART
from bot.services.weights import adapter_file
from bot.settings import Settings
from data import askings, backups, counting, garbage, jobs
from data.store import Store, stamp

DAY = 86400.0
HOUR = 3600.0
FIRST_SECONDS = 600.0  # after the service began
VERSION = re.compile(r"(?:curve-)?v(\d{1,9})(?:-dark)?(?:\.png)?", re.ASCII)
"""The name of a card's folder, or of a curve."""
log = structlog.get_logger()


@dataclass(frozen=True)
class Waste:
    """What went, or would go, of one kind."""

    kind: str
    number: int
    bytes: int
    """About."""
    names: tuple[str, ...]


async def collect(store: Store, settings: Settings, *, dry: bool = False) -> list[Waste]:
    """Remove what is needed no more, and return it by kind; `dry`: only say what would go.

    It may run beside the service, and be cut off anywhere: what is left is found the next time. Folders are walked in threads.
    """
    # Files first: where the disk is full, rows cannot be deleted before they have made room.
    found = [
        await _files("weights in the cache", await _adapters(store, settings), dry=dry),
        await _files("base models that no voice uses", await _bases(store, settings), dry=dry),
        await _files("left by processes that ended", await _left(store, settings), dry=dry),
        await _versions(store, settings, dry=dry),
        await _requests(store, settings, dry=dry),
        await _files("cards of versions that are gone", await _cards(store, settings), dry=dry),
    ]
    if not dry:
        await store.write(counting.let_go)
        await store.wipe()
        log.info("garbage was collected", **{waste.kind.replace(" ", "_"): waste.number for waste in found if waste.number})
    return [waste for waste in found if waste.number]


async def collect_daily(store: Store, settings: Settings) -> None:
    """Collect once a day until cancelled; what fails is tried again on the next."""
    await asyncio.sleep(FIRST_SECONDS)
    while True:
        try:
            await collect(store, settings)
        except (MynahError, OSError):
            log.exception("garbage could not be collected")
        await asyncio.sleep(DAY)


async def _files(kind: str, paths: list[Path], *, dry: bool) -> Waste:
    sizes = [await asyncio.to_thread(_size, path) for path in paths]
    if not dry:
        for path in paths:
            await asyncio.to_thread(_remove, path)
    return Waste(kind, len(paths), sum(sizes), tuple(path.name for path in paths))


async def _versions(store: Store, settings: Settings, *, dry: bool) -> Waste:
    keep = settings.gc.versions
    old = await store.read(garbage.old_versions, keep)
    gone = [version for version in old if dry or await store.write(garbage.drop_version, version, keep)]
    if not dry:
        spoken = await store.read(_hashes)
        for version in gone:
            if version.sha256 not in spoken:
                adapter_file(settings, version.sha256).unlink(missing_ok=True)
    return Waste(
        "old versions", len(gone), sum(version.bytes for version in gone), tuple(f"{version.voice} v{version.version}" for version in gone)
    )


async def _requests(store: Store, settings: Settings, *, dry: bool) -> Waste:
    if not settings.gc.lines:
        return Waste("old requests for lines", 0, 0, ())
    before = stamp(datetime.now(UTC) - timedelta(seconds=settings.gc.lines))
    number, size = await store.read(garbage.count_old_requests, before)
    while not dry and await store.write(garbage.drop_requests, before):
        pass
    return Waste("old requests for lines", number, size, ())


async def _adapters(store: Store, settings: Settings) -> list[Path]:
    """Return files of weights that no voice has, that nobody used for a day, or that were begun by a process that died."""
    folder, known = adapter_file(settings, "x").parent, await store.read(_hashes)

    def look() -> list[Path]:
        whole = [path for path in folder.glob("*.safetensors") if path.stem not in known or _idle(path, DAY)]
        return sorted(whole) + sorted(path for path in folder.glob("*.part") if _idle(path, HOUR))

    return await asyncio.to_thread(look)


async def _bases(store: Store, settings: Settings) -> list[Path]:
    if settings.cache != settings.data_dir / "cache":  # others may share it
        return []
    used = {settings.trainer.base} | await store.read(lambda db: {row["base"] for row in db.query("SELECT DISTINCT base FROM models")})
    used |= {job.recipe["base"] for job in await store.read(jobs.unfinished)}

    def look() -> list[Path]:
        found = (settings.cache / "bases").glob("*")
        # A folder is named as its base and what tells apart how it was made.
        return sorted(path for path in found if path.is_dir() and path.name.rpartition("-")[0] not in used and _idle(path, DAY))

    return await asyncio.to_thread(look)


async def _cards(store: Store, settings: Settings) -> list[Path]:
    there = await store.read(lambda db: {(row["voice"], row["version"]) for row in db.query("SELECT voice, version FROM models")})
    voices = {voice for voice, _ in there}

    def look() -> list[Path]:
        gone = []
        for folder in (settings.data_dir / "cards").glob("*"):
            if not folder.is_dir() or folder.is_symlink():
                continue
            if folder.name not in voices:
                gone += [folder] if _idle(folder, DAY) else []
            else:
                gone += [
                    path
                    for path in folder.iterdir()
                    if (found := VERSION.fullmatch(path.name)) and (folder.name, int(found[1])) not in there and _idle(path, DAY)
                ]
        return sorted(gone)

    return await asyncio.to_thread(look)


async def _left(store: Store, settings: Settings) -> list[Path]:
    """Return what processes left that were killed: their work, uploads that no question waits with, temporary trees, halves of backups."""
    data = settings.data_dir
    asked = {path.parent for path in await store.read(askings.files)}
    backup = await store.read(backups.newest)
    halves = {data, Path(backup.file).parent} if backup else {data}
    patience = max(HOUR, 2 * settings.source.timeout_seconds)
    work = await orders.abandoned(store, settings)

    def look() -> list[Path]:
        return sorted({
            *work,
            *workplace.abandoned(settings),
            *(path for path in (data / "uploads").glob("*") if path not in asked and _idle(path, DAY)),
            *(path for path in data.glob("source-*") if _idle(path, patience)),
            *(path for folder in halves for path in folder.glob(".*.part*") if PART.fullmatch(path.name) and _idle(path, HOUR)),
            *(path for path in Path(tempfile.gettempdir()).glob("mynah-*") if _of_a_carrier(path) and _idle(path, DAY)),
        })  # fmt: skip

    return await asyncio.to_thread(look)


def _of_a_carrier(path: Path) -> bool:
    """Whether a folder is one that an order was handed to a carrier in (bot/executors/carrier.py): ours, and nothing else is in it."""
    with suppress(OSError):
        return path.stat().st_uid == os.getuid() and {child.name for child in path.iterdir()} <= {"order.json"}
    return False


def _idle(path: Path, seconds: float) -> bool:
    """Whether nothing was written into a file or tree for so long."""
    newest = max((found.lstat().st_mtime for found in _all(path)), default=0.0)
    return newest < datetime.now(UTC).timestamp() - seconds


def _size(path: Path) -> int:
    return sum(found.lstat().st_size for found in _all(path) if not found.is_dir() or found.is_symlink())


def _all(path: Path) -> Iterator[Path]:
    """Yield a file, or a folder with all that is in it, as far as it is still there; links are not followed."""
    if path.is_symlink() or path.exists():
        yield path
    if path.is_dir() and not path.is_symlink():
        for root, folders, files in os.walk(path):
            yield from (Path(root) / name for name in (*folders, *files) if os.path.lexists(Path(root) / name))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _hashes(db: Database) -> set[str]:
    return {row["sha256"] for row in db.query("SELECT sha256 FROM models")}
