"""The one SQLite file: opened, migrated, written by one thread and read by another, so that no event loop waits for a disk."""

import asyncio
import fcntl
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from sqlite_utils import Database

import data.migrations as schema
from data.errors import NotStoredError, StoreError

P = ParamSpec("P")
T = TypeVar("T")

PAGES_A_STEP = 2000  # 8 MB of free pages that are handed back at once
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What sqlite3 raises of a damaged file: the latter where SQLite's own words quote bytes that are no text."""
BUSY_SECONDS = 30.0  # a command typed beside the bot waits this long for the bot's own write


def now() -> str:
    """Return this instant as the database writes it: ISO 8601, UTC, microseconds."""
    return stamp(datetime.now(UTC))


def stamp(moment: datetime) -> str:
    """Return an aware moment as the database writes it, which sorts by time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def insert(db: Database, table: str, row: dict[str, Any]) -> int:
    """Insert a row into a table whose key counts itself, and return the key."""
    return cast("int", db.table(table).insert(row).last_pk)


class Store:
    """The database of one process.

    Work is a plain function whose first argument is the `sqlite_utils.Database`: `await store.write(jobs.enqueue, …)`.
    A write runs in one `BEGIN IMMEDIATE` transaction and is all there or not there at all. sqlite-utils' own `atomic()`
    begins deferred, and a deferred transaction that reads before it writes fails under contention however long it waits.
    A read sees one state of the database, however many statements it has and whoever writes meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._change = asyncio.Event()
        self.trouble: str | None = None
        """Why the last write failed; None: it did not."""
        self._write_db: Database
        self._read_db: Database
        self._share: int | None = None
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Open and migrate.

        Raises:
            StoreError: the file is no database, is of a newer Mynah, is just being replaced, or its folder cannot be written.
        """
        try:
            self._share = await self._run(self._writer, _share, self.path)
            self._write_db = await self._run(self._writer, _open, self.path)
            self._read_db = await self._run(self._reader, connect, self.path)
        except BaseException:
            self._shut()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close both connections, whatever happened."""
        await self._run(self._reader, self._read_db.conn.close)
        await self._run(self._writer, self._write_db.conn.close)
        self._shut()

    async def write(self, work: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in one transaction, wake everybody who waits for a change if it made one, and return its result."""

        def run() -> tuple[T, bool]:
            before = self._write_db.conn.total_changes
            try:
                result = transact(self._write_db, lambda db: work(db, *args, **kwargs))
            except StoreError as error:
                self.trouble = str(error)
                raise
            changed = self._write_db.conn.total_changes != before
            if changed:
                self.trouble = None
            return result, changed

        result, changed = await self._run(self._writer, run)
        if changed:  # two queues that look for work by writing would else wake each other without end
            self.ring()
        return result

    async def read(self, work: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` on the reading connection and return its result."""
        return await self._run(self._reader, _seen, self._read_db, lambda db: work(db, *args, **kwargs))

    def ring(self) -> None:
        """Wake everybody in `changed`."""
        self._change.set()
        self._change = asyncio.Event()

    @property
    def change(self) -> asyncio.Event:
        """What this process' next change will set: who takes it before looking does not sleep through what is written meanwhile."""
        return self._change

    async def changed(self, seconds: float = 0.5, since: asyncio.Event | None = None) -> None:
        """Return when this process wrote something, or after `seconds`, within which another may have.

        Args:
            seconds: at most so long.
            since: a `change` that was taken earlier; what was written since then counts as well.
        """
        change = since or self._change
        # Not wait_for: before Python 3.12 it swallows a cancellation that comes in the moment of the change.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await change.wait()

    async def check(self) -> None:
        """Take the lock for writing; after a write that failed, write something that changes nothing, too.

        Whoever asks while a look is under way waits for that one: looks would queue up behind whoever keeps the lock.

        Raises:
            StoreError: it cannot be written.
        """
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody may be waiting any more
        await asyncio.shield(self._looking)

    async def _look(self) -> None:
        await self.write(_touch if self.trouble else lambda _: None)
        self.trouble = None

    async def wipe(self) -> None:
        """Push deletions (zeroed by secure_delete) out of the write-ahead log, and hand free pages back.

        Raises:
            StoreError: the disk is full, or others kept the database busy; the next time does the rest.
        """
        try:
            while await self._run(self._writer, _hand_back, self._write_db):  # piece by piece: others write in between
                pass
            await self._run(self._writer, _wipe, self._write_db)
        except sqlite3.OperationalError as error:
            raise StoreError(_sentence(error)) from error

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def run() -> T:
            try:
                return work(*args, **kwargs)
            except StopIteration as error:  # which no future takes: whoever awaits it would wait for ever
                raise RuntimeError("what was asked of the database ended in StopIteration") from error

        # A cancelled waiter does not cancel the work: a transaction that began is carried to its end.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(pool, run))

    def _shut(self) -> None:
        self._reader.shutdown()
        self._writer.shutdown()
        if self._share is not None:
            os.close(self._share)
            self._share = None


def transact(db: Database, work: Callable[[Database], T]) -> T:
    """Run `work` in one `BEGIN IMMEDIATE` transaction.

    Raises:
        StoreError: the disk is full or the file cannot be written; nothing of `work` remains.
        NotStoredError: something was looked for by a number that SQLite cannot hold.
    """
    with _sentences():
        db.conn.execute("BEGIN IMMEDIATE")
        try:
            result = work(db)
            db.conn.execute("COMMIT")
        except BaseException:
            if db.conn.in_transaction:
                db.conn.execute("ROLLBACK")
            raise
    return result


def _seen(db: Database, work: Callable[[Database], T]) -> T:
    """Run `work`, which changes nothing, in one transaction.

    Raises:
        StoreError: the file cannot be read.
        NotStoredError: something was looked for by a number that SQLite cannot hold.
    """
    with _sentences():
        db.conn.execute("BEGIN")
        try:
            return work(db)
        finally:
            if db.conn.in_transaction:  # SQLite itself ends that of a file that cannot be read
                db.conn.execute("COMMIT")


@contextmanager
def _sentences() -> Iterator[None]:
    """Raise what SQLite says of its file, and sqlite3 of a number beyond 64 bits, as one of our errors."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreError(_sentence(error)) from error
    except OverflowError as error:
        if "SQLite" not in str(error):
            raise
        raise NotStoredError("Nothing here has so large a number: look at it again.") from error


def _sentence(error: sqlite3.Error) -> str:
    text = str(error)
    if "full" in text:
        return "The disk is full, so nothing was stored: free some space and try again."
    if "locked" in text:
        return "The database was busy for too long: try again, and see `mynah doctor` if it stays so."
    if "readonly" in text or "unable to open" in text or "disk I/O" in text:
        return f"The database cannot be used ({text}): check the folder's permissions and space."
    raise error


def connect(path: Path) -> Database:
    """Connect to a database file as a store does; what is there is neither made nor migrated."""
    # check_same_thread=False only so that closing may happen on another thread at the very end.
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")  # a post marked `sending` must be on the disk before it is sent
    connection.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten, not only unlinked
    connection.execute("PRAGMA temp_store = MEMORY")
    return Database(connection)


def connect_to_read(path: Path, seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Connect to a database file of which nothing is changed, and wait so long for others."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=seconds)


def _open(path: Path) -> Database:
    try:
        _keep_private(path)
        db = connect(path)
        db.conn.execute("PRAGMA auto_vacuum = INCREMENTAL")  # takes effect in a new file alone
        db.conn.execute("PRAGMA journal_mode = WAL")
        transact(db, _migrate)
    except UNREADABLE as error:
        raise StoreError(f"{path} is not a database of Mynah's ({error}): move it away, or set data_dir in config.toml.") from error
    except OSError as error:
        raise StoreError(f"{path.parent} cannot be used for the database ({error.strerror}): set data_dir in config.toml.") from error
    return db


def _keep_private(path: Path) -> None:
    """Make the file for its owner alone, and take one of before from other users of the machine; SQLite's files beside it follow it."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with suppress(OSError):  # it is not there, or of another owner, who grants it to us
            mode = stat.S_IMODE(file.stat().st_mode)
            if mode & 0o007:
                file.chmod(mode & ~0o007)


def _share(path: Path) -> int:
    """Take a share of the lock on a database, and return the file that holds it until it is closed, or its process dies, however it dies.

    Raises:
        StoreError: another process has it alone.
    """
    return _locked(path, os.O_RDONLY, fcntl.LOCK_SH, f"A backup is just being put in the place of {path}: wait for that, then try again.")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """See that no store has a database open, and none opens it meanwhile.

    Raises:
        StoreError: one has.
    """
    file = _locked(path, os.O_RDWR, fcntl.LOCK_EX, f"Another command has {path} open: wait for its end, or stop the service.")
    try:
        yield
    finally:
        os.close(file)


def _locked(path: Path, how: int, lock: int, taken: str) -> int:
    # A file of its own, for the database's is the one that is replaced; it may be read by whom its folder is shared with.
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path.with_suffix(".open"), how | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(file, lock | fcntl.LOCK_NB)
        except BaseException:
            os.close(file)
            raise
    except BlockingIOError as error:
        raise StoreError(taken) from error
    except OSError as error:
        raise StoreError(f"{path.parent} cannot be used for the database ({error.strerror}): set data_dir in config.toml.") from error
    return file


def upgrade(path: Path) -> None:
    """Bring a database file to the schema of this Mynah.

    Raises:
        StoreError: as when a store is opened.
    """
    _open(path).conn.close()


def _migrate(db: Database) -> None:
    newer = [migration.name for migration in schema.migrations.applied(db) if not hasattr(schema, migration.name)]
    if newer:
        raise StoreError(f"This database was written by a newer Mynah ({newer[-1]}): upgrade Mynah, or restore a backup.")
    schema.migrations.apply(db)


def _touch(db: Database) -> None:
    """Write the first page as it is."""
    version = db.conn.execute("PRAGMA user_version").fetchone()[0]
    db.conn.execute(f"PRAGMA user_version = {version}")


def _hand_back(db: Database) -> bool:
    """Give some free pages back to the file system; say whether there are more."""
    before: int = db.conn.execute("PRAGMA freelist_count").fetchone()[0]
    db.conn.executescript(f"PRAGMA incremental_vacuum({PAGES_A_STEP})")  # `execute` would hand a single one back
    left: int = db.conn.execute("PRAGMA freelist_count").fetchone()[0]
    return 0 < left < before


def _wipe(db: Database) -> None:
    db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
