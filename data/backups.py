"""Copies of the whole database: taken while it is in use, proven to be sound, and made to fit the day on which one is put back."""

import hashlib
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from data import accounts, outbox
from data.errors import StoreError
from data.store import BUSY_SECONDS, UNREADABLE, connect, connect_to_read, now, transact

PAGES_A_STEP = 4096  # between two of which Ctrl-C is heard


@dataclass(frozen=True)
class Contents:
    """What a database holds that was found to be sound."""

    voices: int
    versions: int
    posts: int
    """That accounts wrote."""


@dataclass(frozen=True)
class Backup:
    """One that was made."""

    at: str
    file: str
    bytes: int


def copy(source: Path, target: Path) -> None:
    """Write what a database holds at this instant into a file of its own; whoever reads or writes it meanwhile is not held up.

    Raises:
        StoreError: it cannot be read, or the copy not written; what there is of the copy stays.
    """
    try:
        with (
            closing(connect_to_read(source)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            # A copy begins anew whenever another process writes, unless a transaction holds what it reads.
            old.execute("BEGIN")
            old.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            old.backup(new, pages=PAGES_A_STEP, progress=lambda *_: None)
            new.execute("PRAGMA journal_mode = DELETE")  # one file, which can also be read where nothing can be written
    except UNREADABLE as error:
        raise StoreError(f"{source} cannot be copied to {target.parent} ({error}): nothing was changed.") from error


def prove(path: Path, name: Path) -> Contents:
    """Read all of a database, and compare all weights with their hashes; `name` is what a sentence calls it.

    Raises:
        StoreError: it is no database of Mynah's, or damaged.
    """
    try:
        with closing(sqlite3.connect(path)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = '_sqlite_migrations'").fetchone():
                raise StoreError(f"{name} is not a database of Mynah's: name another file.")
            for pragma in ("integrity_check", "foreign_key_check"):
                found = connection.execute(f"PRAGMA {pragma}").fetchone()
                if found not in (None, ("ok",)):
                    raise StoreError(f"{name} is damaged ({str(found[0]).splitlines()[-1][:100]}): restore a backup, or another one.")
            for model, voice, version, wanted in connection.execute("SELECT id, voice, version, sha256 FROM models").fetchall():
                digest = hashlib.sha256()
                for (chunk,) in connection.execute("SELECT chunk FROM model_weights WHERE model = ? ORDER BY number", [model]):
                    digest.update(chunk)
                if digest.hexdigest() != wanted:
                    raise StoreError(f"{name} is damaged (the weights of version {version} of {voice}): restore a backup, or another one.")
            counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("voices", "models", "tweets")]  # noqa: S608
    except UNREADABLE as error:
        raise StoreError(f"{name} is damaged, or not a database of Mynah's ({error}): name another file.") from error
    return Contents(*counts)


def record(database: Path, file: Path, size: int) -> None:
    """Remember that a backup was made; a database that is older than this Mynah is not touched for it."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(database, timeout=BUSY_SECONDS)) as connection, connection:
        connection.execute("INSERT INTO backups (at, file, bytes) VALUES (?, ?, ?)", [now(), str(file), size])


def newest(db: Database) -> Backup | None:
    """Return the backup that was made last, if one was."""
    for row in db.query("SELECT at, file, bytes FROM backups ORDER BY id DESC LIMIT 1"):
        return Backup(**row)
    return None


def let_go(path: Path) -> bool:
    """Have a database consist of one file, which no other process has open; False if it is too damaged for that.

    Raises:
        StoreError: another process has it open, or it cannot be written: it is as it was.
    """
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise StoreError(f"Another command has {path} open: wait for its end, then restore.") from error
        # No damage: what its write-ahead log alone holds would be lost.
        raise StoreError(
            f"{path} cannot be written ({error}): free some space, or move it and what lies beside it away, then restore."
        ) from error
    except UNREADABLE:
        return False
    return True


#: A post went as far since the backup that what it says of it must not be gone by: it may be out, or was said no to.
_MOVED_ON = """
    later.id = posts.id AND later.created_at = posts.created_at AND (
        (later.status IN ('sending', 'posted', 'rejected', 'failed') AND later.status <> posts.status)
        OR coalesce(later.tried_at, '') > coalesce(posts.tried_at, ''))"""

#: What happened to others since a backup was made, and must not be undone by it: opting out, being answered, what was spent and said.
_STAYS_TRUE = (
    # No number is given out twice: a button of then would mean another row.
    """
    UPDATE main.sqlite_sequence
    SET seq = max(seq, coalesce((SELECT later.seq FROM old.sqlite_sequence AS later WHERE later.name = sqlite_sequence.name), 0))""",
    """
    INSERT INTO main.sqlite_sequence (name, seq)
    SELECT name, seq FROM old.sqlite_sequence WHERE name NOT IN (SELECT name FROM main.sqlite_sequence)""",
    "INSERT OR IGNORE INTO opt_outs (handle, said_by, created_at) SELECT handle, said_by, created_at FROM old.opt_outs",
    """
    INSERT INTO spending (at, account, kind, why, price, most, count, settled_at)
    SELECT at, account, kind, why, price, most, count, settled_at FROM old.spending
    WHERE at > (SELECT coalesce(max(at), '') FROM spending)""",
    "INSERT OR IGNORE INTO x_stops (author, handle, mention, said_at) SELECT author, handle, mention, said_at FROM old.x_stops",
    """
    INSERT INTO mentions (id, account, author, handle, posted_at, received_at, state, why, tries, answered_at)
    SELECT id, account, author, handle, posted_at, received_at, state, why, tries, answered_at FROM old.mentions WHERE state <> 'seen'
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, why = excluded.why, answered_at = excluded.answered_at, text = NULL
    WHERE mentions.state = 'seen'""",
    f"""
    INSERT INTO post_changes (post, status, at, who, why)
    SELECT posts.id, later.status, last.at, 'mynah restore', 'it was so after the backup had been made: ' || last.why
    FROM posts JOIN old.posts AS later ON {_MOVED_ON}
        JOIN old.post_changes AS last ON last.id = (SELECT max(id) FROM old.post_changes WHERE post = later.id)""",  # noqa: S608 - fixed words
    f"""
    UPDATE posts SET status = later.status, text = later.text, x_id = later.x_id, awaits_person = later.awaits_person,
                     tried_at = later.tried_at, unsure_since = later.unsure_since
    FROM old.posts AS later WHERE {_MOVED_ON}""",  # noqa: S608
    """
    UPDATE schedules SET settled_until = later.settled_until FROM old.schedules AS later
    WHERE later.name = schedules.name AND later.created_at = schedules.created_at
        AND later.settled_until > coalesce(schedules.settled_until, '')""",
    """
    UPDATE schedules SET paused_at = later.paused_at, paused_by = later.paused_by FROM old.schedules AS later
    WHERE later.name = schedules.name AND later.created_at = schedules.created_at
        AND later.paused_at IS NOT NULL AND schedules.paused_at IS NULL""",
    # What was due then was drafted since; that draft may be out.
    """
    UPDATE schedule_runs SET outcome = later.outcome, why = later.why, tries = later.tries
    FROM old.schedule_runs AS later JOIN old.schedules AS of ON of.name = later.schedule
        JOIN main.schedules AS ours ON ours.name = of.name AND ours.created_at = of.created_at
    WHERE later.schedule = schedule_runs.schedule AND later.nominal = schedule_runs.nominal AND schedule_runs.outcome = 'due'""",
    """
    INSERT INTO pauses (paused_at, paused_by, why) SELECT paused_at, paused_by, why FROM old.pauses
    WHERE resumed_at IS NULL AND NOT EXISTS (SELECT 1 FROM main.pauses WHERE resumed_at IS NULL)""",
)


def catch_up(path: Path, old: Path | None, why: str) -> tuple[bool, bool]:
    """Bring a backup to what must stay true of the database that it replaces, and stop posting where there is anything to post.

    Args:
        path: the backup, of this Mynah's schema; it is changed.
        old: the database that it is to replace, if that can be read.
        why: the reason of the pause.

    Returns:
        Whether all that must stay true could be read, and whether posting is stopped.

    Raises:
        StoreError: the disk is full; what was changed may not all be in the file.
    """
    db = connect(path)
    with closing(db.conn) as connection:
        known = False
        if old is not None:
            with suppress(*UNREADABLE, StoreError):
                connection.execute("ATTACH ? AS old", [str(old)])
                transact(db, _stay_true)
                known = True
        transact(db, _forget_opted_out)
        paused = transact(db, lambda db: _hold_posts(db, why))
        try:
            # Closing does this too, and says nothing where it fails.
            connection.execute("PRAGMA main.journal_mode = DELETE").fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{path.parent} cannot be written ({error}): free some space, then restore.") from error
    return known, paused


def _stay_true(db: Database) -> None:
    for statement in _STAYS_TRUE:
        db.conn.execute(statement)


def _forget_opted_out(db: Database) -> None:
    for row in list(db.query("SELECT handle FROM opt_outs JOIN accounts USING (handle)")):
        accounts.forget(db, row["handle"])


def _hold_posts(db: Database, why: str) -> bool:
    """Stop posting if something may go out by itself: what was approved may have been posted since."""
    waits = db["schedules"].count or db["mention_polls"].count or db["posts"].count_where("status IN ('approved', 'sending')")
    if waits:
        outbox.pause(db, "mynah restore", why)
    return outbox.paused(db) is not None
