"""Backups: a proven copy of the database beside the running service, and putting one back in the place of what is there.

A file is there whole or not at all: it is made under a name of its own, and renamed.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

import structlog

from bot.errors import BadRequestError, StoreError
from bot.files import double, sync
from bot.lock import Lead
from bot.services.orders import work_folder
from bot.settings import Settings
from data import backups
from data.backups import Contents
from data.store import alone, upgrade

SIDES = ("-journal", "-wal", "-shm")
"""What SQLite adds to a database's name for the files that belong to it."""
PART = re.compile(rf"\..+\.[0-9a-f]{{8}}\.part(?:{'|'.join(SIDES)})?")
"""A database that is not whole yet, and what belongs to it."""
log = structlog.get_logger()


@dataclass(frozen=True)
class BackedUp:
    """A backup that was made."""

    file: Path
    bytes: int
    contents: Contents


@dataclass(frozen=True)
class Restored:
    """What became of a backup that was put back."""

    contents: Contents
    kept: Path | None
    """Where the database lies that was there before; None: none was."""
    known: bool
    """Opt-outs, spending and posts since the backup could be taken over from it."""
    paused: bool
    """Posting is stopped until a person lets it go on."""


def back_up(settings: Settings, file: Path) -> BackedUp:
    """Write all that the database holds into a file, and prove it; the service may work meanwhile.

    Raises:
        BadRequestError: there is nothing to back up, the name is taken, or cannot be written.
        StoreError: the database is damaged, or the disk full; no file is left.
    """
    file, database = file.expanduser().absolute(), settings.database
    if not database.exists():
        raise BadRequestError(f"There is no database {database} to back up: check --config.")
    if file.exists():
        raise BadRequestError(f"{file} is there already: name another file.")
    with _part(file) as part:
        backups.copy(database, part)
        contents = backups.prove(part, database)
        size = part.stat().st_size
        _settle(part, file)
    backups.record(database, file, size)
    log.info("a backup was made", file=str(file), bytes=size)
    return BackedUp(file, size, contents)


def restore(settings: Settings, file: Path) -> Restored:
    """Put a backup in the place of the database, which stays beside it under another name; the schema becomes this Mynah's.

    What was promised to others since then stays true, as far as the old database can be read (data/backups.py).

    Raises:
        BadRequestError: there is no such file, or a service is at work.
        StoreError: the backup is damaged, or of a newer Mynah; nothing was changed.
    """
    file, database = file.expanduser().absolute(), settings.database
    if not file.is_file() or (database.exists() and file.samefile(database)):
        raise BadRequestError(f"{file} is no file to restore from: name one that `mynah backup` wrote.")
    with Lead(settings.data_dir / "mynah.lock") as lead:
        if not lead.take():
            raise BadRequestError("Mynah is at work on this database: stop the service, then restore.")
        with _part(database) as part:
            backups.copy(file, part)
            contents = backups.prove(part, file)
            upgrade(part)
            with alone(database):
                kept = _kept_as(database) if database.exists() else None
                sound = kept is not None and _let_go(database, kept)
                why = f"restored from {file.name}: look whether anything that waits was posted since, then mynah resume"
                known, paused = backups.catch_up(part, database if sound else None, why)
                if kept:
                    double(database, kept)  # so that there is one under the first name at every instant
                _settle(part, database)
        # Numbers of jobs and versions may be given out again: another training's checkpoint must not be gone on from, nor its curve shown.
        for folder in (work_folder(settings), settings.data_dir / "cards"):
            shutil.rmtree(folder, ignore_errors=True)
    log.info("a backup was restored", file=str(file), kept=str(kept))
    return Restored(contents, kept, known, paused)


@contextmanager
def _part(file: Path) -> Iterator[Path]:
    """Give a name beside a file that nobody else has, and see that nothing is left under it."""
    part = file.with_name(f".{file.name}.{token_hex(4)}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # posts lie in it
    except OSError as error:
        raise BadRequestError(f"{file.parent} cannot be written to ({error.strerror}): name a file in another folder.") from error
    try:
        yield part
    finally:
        for side in ("", *SIDES):
            part.with_name(part.name + side).unlink(missing_ok=True)


def _settle(part: Path, file: Path) -> None:
    """Give a file its name, after its bytes are on the disk; what lies beside that name is of another file, and SQLite would mix it in."""
    try:
        sync(part)
        for side in SIDES:
            file.with_name(file.name + side).unlink(missing_ok=True)
        part.replace(file)
        with suppress(OSError):  # not every file system syncs folders
            sync(file.parent)
    except OSError as error:
        raise StoreError(f"{file} cannot be written ({error.strerror}): free some space, or name another file.") from error


def _kept_as(database: Path) -> Path:
    return database.with_name(f"{database.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{token_hex(2)}")


def _let_go(database: Path, kept: Path) -> bool:
    """Have a database consist of one file; of one that is too damaged for it (False) what lies beside it is kept, too.

    SQLite removes that where it can make nothing of it; it is put back, for what follows may fail.
    """
    names = [(database.with_name(database.name + side), kept.with_name(kept.name + side)) for side in SIDES]
    names = [(beside, second) for beside, second in names if beside.exists()]
    for beside, second in names:
        double(beside, second)
    sound = True
    try:
        sound = backups.let_go(database)
    finally:
        for beside, second in names:
            if sound:  # or somebody works with it
                second.unlink(missing_ok=True)
            elif not beside.exists():
                double(second, beside)
    return sound
