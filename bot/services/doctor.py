"""The doctor: what works, what is missing, and what to do about it."""

import importlib.util
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlite_utils import Database

from bot.errors import SettingsError
from bot.executors.processes import child_environment
from bot.executors.ray import cluster_of, rays_own
from bot.lock import Lead
from bot.services.blocklist import Blocklist
from bot.services.disk import free_bytes, lacks_room
from bot.services.tracking import lacks
from bot.settings import Secrets, Settings
from data import backups, migrations, outbox
from data.outbox import DEFAULT_ACCOUNT
from data.store import UNREADABLE, connect_to_read
from trainer.protocol import Failed, Note, ProtocolError, parse

DEVICES = Path("/dev")
NEEDED_BYTES = 2 * 1024**3  # the base, its download, a few voices
LOCKED_SECONDS = 2.0
CHILD_SECONDS = 120.0
CLOCK_SLACK = timedelta(minutes=5)
BACKUP_AGE = timedelta(days=7)
TOKEN = re.compile(r"[\w-]{18,}\.[\w-]{6,}\.[\w-]{25,}")
"""The bot's number, a moment and a signature, each in letters of base64."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `advice` is empty where nothing needs doing."""

    name: str
    ok: bool
    found: str
    advice: str = ""


def examine(settings: Settings, secrets: Secrets, *, deep: bool = False, children: bool = True) -> list[Finding]:
    """Look at each part in turn; nothing is changed.

    Args:
        settings: of the service.
        secrets: likewise.
        deep: read all of the database, and start what children stand on.
        children: start those without which nothing is known of a part, such as a cluster; they may take minutes.
    """
    return [
        *_packages(),
        _database(settings.database, deep=deep),
        _folder(settings.data_dir),
        *_others(settings.data_dir),
        _disk(settings),
        _base(settings),
        _gpu(settings),
        *([_child()] if deep else ()),
        *(_cluster(settings) if children else ()),
        _fonts(),
        _blocklist(settings),
        *_service(settings),
        *_source(settings),
        *_stored(settings),
        *_outbox(settings.database),
        *_tokens(settings, secrets),
        *_tracking(settings, secrets),
        *_unattended(settings),
    ]


def _packages() -> Iterator[Finding]:
    for name in ("torch", "transformers", "discord", "tweepy"):
        there = importlib.util.find_spec(name) is not None
        yield Finding(f"package {name}", there, "installed" if there else "missing", "" if there else "Run `make install`.")


def _database(path: Path, *, deep: bool) -> Finding:
    if not path.exists():
        return Finding("database", ok=True, found=f"{path}: not there yet; the first command makes it")
    try:
        with closing(connect_to_read(path, LOCKED_SECONDS)) as connection:
            if deep:
                verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
            else:  # each table has a root that can be read; all of it may be gigabytes
                tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
                for table in tables:
                    connection.execute(f'SELECT * FROM "{table}" LIMIT 1').fetchall()  # noqa: S608 - its own names
                verdict = "ok, as far as a short look tells (--deep reads all of it)"
            newer = [name for name in _migrated(connection) if not hasattr(migrations, name)]
    except UNREADABLE as error:
        return Finding("database", ok=False, found=f"{path}: {error}", advice="`mynah restore` a backup, or set data_dir in config.toml.")
    if newer:
        return Finding("database", ok=False, found=f"{path}: of a newer Mynah ({newer[-1]})", advice="Upgrade Mynah, or restore a backup.")
    sound = verdict.startswith("ok")
    return Finding("database", sound, f"{path}: {verdict}", "" if sound else "`mynah restore` a backup.")


def _migrated(connection: sqlite3.Connection) -> list[str]:
    """Return the migrations that a database has; none if it is no Mynah's."""
    with suppress(sqlite3.OperationalError):
        return [name for (name,) in connection.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = 'mynah' ORDER BY name")]
    return []


def _others(folder: Path) -> Iterator[Finding]:
    """Look whether other users of the machine can read what Mynah keeps; a folder that it made itself they cannot."""
    if folder.exists() and folder.stat().st_mode & 0o007:
        yield Finding(
            "privacy", ok=True, found=f"{folder}: other users of this machine can look into it", advice=f"Say `chmod o= {folder}`."
        )


def _folder(folder: Path) -> Finding:
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    writable = os.access(there, os.W_OK | os.X_OK)
    return Finding(
        "data folder",
        writable,
        f"{folder} can be written" if writable else f"{there} cannot be written",
        "" if writable else "Make it belong to the user that Mynah runs as, or set data_dir in config.toml.",
    )


def _disk(settings: Settings) -> Finding:
    free, lack = free_bytes(settings.data_dir), lacks_room(settings)
    if lack is None and not _bases(settings) and free < NEEDED_BYTES:
        lack = "Free some space: the base model, its download and a few voices need about 2 GB."
    elif lack:
        lack = "Free some space (`mynah gc` helps), or lower trainer.spare_mib: until then nothing is trained."
    return Finding("disk", lack is None, f"{free / 1e9:.1f} GB free for {settings.data_dir}", lack or "")


def _bases(settings: Settings) -> list[str]:
    """Return the bases in the cache: those that were made there, and those that came from the hub."""
    made = [path.name for path in (settings.cache / "bases").glob("*") if path.is_dir()]
    fetched = [path.name.removeprefix("models--").replace("--", "/") for path in (settings.cache / "hub").glob("models--*")]
    return sorted(made + fetched)


def _child() -> Finding:
    """Start Python as trainers and the speaker are started, with what they stand on."""
    code = "import torch, transformers; print(torch.__version__, 'CUDA' if torch.cuda.is_available() else 'CPU')"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], env=child_environment(), capture_output=True, text=True, timeout=CHILD_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        last = (said.strip().splitlines() or ["?"])[-1][:160]
        return Finding(
            "trainer", ok=False, found=f"it does not start: {last}", advice="Run `make install` again; trainer.log may say more."
        )
    return Finding("trainer", ok=True, found=f"starts, with torch {done.stdout.strip()}")


def _cluster(settings: Settings) -> Iterator[Finding]:
    """Have the cluster joined as trainers join it, and its nodes asked for their versions."""
    if settings.trainer.executor != "ray":
        return
    command = [sys.executable, "-m", "trainer", "--cluster", cluster_of(settings.trainer.ray).to_json()]
    try:
        done = subprocess.run(
            command,
            env=child_environment() | rays_own(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CHILD_SECONDS,
            check=False,
        )
        said = parse(done.stdout)
    except (OSError, subprocess.SubprocessError, ProtocolError) as error:
        why = f"no answer within {CHILD_SECONDS:g} s" if isinstance(error, subprocess.TimeoutExpired) else "no word of what was found"
        yield Finding("cluster", ok=False, found=why, advice="`ray status` on its head node may say more; docs/growth.md.")
        return
    if isinstance(said, Failed):
        found, _, advice = said.sentence.rpartition(": ")
        yield Finding("cluster", ok=False, found=found, advice=f"{advice[:1].upper()}{advice[1:]}")
    elif isinstance(said, Note):
        yield Finding("cluster", ok=True, found=said.sentence)


def _fonts() -> Finding:
    missing = [name for name in ("manimgx_fonts", "manimgx_fonts_cjk") if importlib.util.find_spec(name) is None]
    return Finding(
        "fonts",
        not missing,
        f"missing {', '.join(missing)}: pictures of cards lack letters" if missing else "for cards' pictures, installed",
        "Run `make install`." if missing else "",
    )


def _stored(settings: Settings) -> Iterator[Finding]:
    """Say what the rows tell: the clock, backups, and voices that are wanted and not there; an older database has less to tell."""
    with suppress(sqlite3.Error), closing(connect_to_read(settings.database, LOCKED_SECONDS)) as connection:
        db = Database(connection)
        yield _clock(db)
        if pause := outbox.paused(db):
            found = f"paused by {pause.paused_by} since {pause.paused_at[:16]} UTC{': ' * bool(pause.why)}{pause.why}"
            yield Finding("posting", ok=True, found=found, advice="`mynah resume` lets it go on.")
        voices = {row["voice"] for row in db.query("SELECT DISTINCT voice FROM models")}
        wanted = {row["voice"]: f"schedule {row['name']}" for row in db.query("SELECT name, voice FROM schedules")}
        if settings.x.mentions.on:
            wanted[settings.x.mentions.voice] = "x.mentions"
        for voice in sorted(wanted.keys() - voices):
            found = f"{wanted[voice]} wants {voice}, which is not trained"
            yield Finding("voices", ok=False, found=found, advice=f"`mynah train {voice.replace('-', ' ')}`, or have another voice speak.")
        accounts = {row["account"]: row["name"] for row in db.query("SELECT name, account FROM schedules WHERE account IS NOT NULL")}
        for account in sorted(accounts.keys() - settings.x.every_account.keys()):
            found = f"schedule {accounts[account]} posts to {account}, which config.toml does not name"
            yield Finding("X schedules", ok=False, found=found, advice="Add it to x.accounts, or remove the schedule.")
        yield _backup(db, bool(voices))


def _clock(db: Database) -> Finding:
    tables = ("jobs", "requests", "post_changes")
    newest = max((row["at"] or "" for name in tables for row in db.query(_NEWEST[name])), default="")
    ahead = datetime.fromisoformat(newest) - datetime.now(UTC) if newest else timedelta()
    wrong = ahead > CLOCK_SLACK
    return Finding(
        "clock",
        not wrong,
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC{f', and the database knows a later time ({newest[:16]})' if wrong else ''}",
        "Set this machine's clock: schedules and caps go by it." if wrong else "",
    )


_NEWEST = {
    "jobs": "SELECT created_at AS at FROM jobs ORDER BY id DESC LIMIT 1",
    "requests": "SELECT created_at AS at FROM requests ORDER BY id DESC LIMIT 1",
    "post_changes": "SELECT at FROM post_changes ORDER BY id DESC LIMIT 1",
}


def _backup(db: Database, needed: bool) -> Finding:
    last = backups.newest(db)
    if last is None:
        advice = "`mynah backup FILE` makes one beside the running service." if needed else ""
        return Finding("backup", ok=True, found="none was made", advice=advice)
    age = datetime.now(UTC) - datetime.fromisoformat(last.at)
    found = f"{last.file}, {age.days} days ago" + ("" if Path(last.file).exists() else ", which is not there any more")
    return Finding("backup", ok=True, found=found, advice="Make a new one: `mynah backup FILE`." if age > BACKUP_AGE else "")


def _base(settings: Settings) -> Finding:
    cached = _bases(settings)
    found = f"{settings.trainer.base}; in the cache: {', '.join(cached) or 'nothing yet'}"
    return Finding("base model", ok=True, found=found, advice="" if cached else "The first training fetches it, once.")


def _gpu(settings: Settings) -> Finding:
    # The bot never loads torch: whether its build sees the device is the trainer's to say.
    there = len(list(DEVICES.glob("nvidia[0-9]*")))
    named = [gpu for gpu in (*settings.trainer.gpus, settings.speaker.gpu) if gpu.isdecimal() and int(gpu) >= there]
    found = f"NVIDIA devices: {there}" if there else "none: training and speech run on the CPU"
    if named:
        advice = "`nvidia-smi -L` lists those there are; with another one what is meant for it runs on the CPU."
        return Finding("GPU", ok=False, found=f"{found}; config.toml names GPU {', '.join(named)}", advice=advice)
    return Finding("GPU", ok=True, found=found)


def _blocklist(settings: Settings) -> Finding:
    path = settings.safety.blocklist
    try:
        rules = len(Blocklist(path).rules)
    except SettingsError as error:
        return Finding("blocklist", ok=False, found=f"{path} cannot be used", advice=str(error))
    return Finding(
        "blocklist", ok=True, found=f"{path}: {rules:,} rules" if path else "none: nothing is blocked but what every voice may not say"
    )


def _service(settings: Settings) -> Iterator[Finding]:
    """Say whether the service runs; where it does not, whether the doors that are set for it are free."""
    with Lead(settings.data_dir / "mynah.lock") as lead:
        running = settings.data_dir.is_dir() and not lead.take()
    found = "a process of Mynah's is at work" if running else "not running"
    yield Finding("service", ok=True, found=found, advice="" if running else "Start it with `mynah run`.")
    doors = {name: port for name, port in (("monitor", settings.monitor.port), ("web", settings.web.port)) if port}
    if len(set(doors.values())) < len(doors):
        advice = "Give each a port of its own in config.toml: none of them opens so."
        yield Finding("ports", ok=False, found=f"monitor and web are both at {settings.web.port}", advice=advice)
    elif doors:
        taken = [] if running else [f"{name} ({port})" for name, port in doors.items() if _taken(port)]
        found = f"something else is at {' and '.join(taken)}" if taken else ", ".join(f"{name} at {port}" for name, port in doors.items())
        yield Finding("ports", not taken, found, "End that, or set another port in config.toml." if taken else "")


def _taken(port: int) -> bool:
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the service does: one that was just closed is free
        try:
            door.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _source(settings: Settings) -> Iterator[Finding]:
    """Look whether the operator's own command for posts is there."""
    if not settings.source.command:
        return
    name = settings.source.command[0]
    there = shutil.which(name) is not None
    advice = "" if there else "Make it executable, or correct source.command in config.toml."
    yield Finding("source", there, f"{name} is there" if there else f"{name} is nothing that can be run", advice)


def _outbox(path: Path) -> Iterator[Finding]:
    """Look for posts that a person must decide about; a database of an older Mynah has none that it knows of."""
    with suppress(sqlite3.Error), closing(connect_to_read(path, LOCKED_SECONDS)) as connection:
        db = Database(connection)
        posts = outbox.awaiting(db)
        why = outbox.last_words(db, [post.id for post in posts])
        for post in posts:
            yield Finding("outbox", ok=False, found=f"post {post.id} to {post.destination} waits for you", advice=why[post.id])


def _tokens(settings: Settings, secrets: Secrets) -> Iterator[Finding]:
    token = secrets.discord_token
    good = token is not None and TOKEN.fullmatch(token.get_secret_value()) is not None
    if token is None:
        advice = "Set DISCORD_TOKEN; the README says where it comes from."
    else:
        advice = (
            "" if good else "Copy it anew from the Bot page of the developer portal: it is neither the application's id nor its secret."
        )
    yield Finding(
        "Discord", good, "no token" if token is None else "a token is set" if good else "the token has not the form of one", advice
    )
    for name, account in settings.x.every_account.items():
        missing = secrets.missing(name, account.needs)
        yield Finding(
            "X" if name == DEFAULT_ACCOUNT else f"X {name}",
            not missing,
            f"missing {', '.join(missing)}" if missing else "its keys are set",
            "Needed only to post on X; docs/x.md says how." if missing else "",
        )


def _tracking(settings: Settings, secrets: Secrets) -> Iterator[Finding]:
    wanted, why = settings.tracking, lacks(settings, secrets)
    if wanted.tracker != "none":
        found = f"{wanted.tracker}, {wanted.mode}; told beyond counts, hashes and losses: {', '.join(sorted(wanted.uploads)) or 'nothing'}"
        yield Finding("tracking", why is None, found, why or "")


def _unattended(settings: Settings) -> Iterator[Finding]:
    """Say which schedules post without approval, and which names of config.toml are none of the operator's."""
    if not settings.x.unattended:
        return
    made: dict[str, str] = {}
    pinned: set[str] = set()
    with suppress(sqlite3.Error), closing(connect_to_read(settings.database, LOCKED_SECONDS)) as connection:
        made = dict(connection.execute("SELECT name, voice FROM schedules WHERE operator"))
        pinned = {voice for (voice,) in connection.execute("SELECT voice FROM pins")}
    missing = settings.x.unattended - made.keys()
    found = f"{', '.join(sorted(settings.x.unattended & made.keys())) or 'none'} without approval"
    if missing:
        found += f"; no schedule was made in the terminal by the name {', '.join(sorted(missing))}"
    advice = "Make it with `mynah schedule add`, or take the name out of x.unattended." if missing else ""
    yield Finding("X schedules", not missing, found, advice)
    if loose := sorted({made[name] for name in settings.x.unattended & made.keys()} - pinned):
        advice = f"`mynah pin {loose[0]} VERSION`: else a version that somebody trains in Discord speaks at once, without approval."
        yield Finding("X voices", ok=True, found=f"{', '.join(loose)}: unattended, and not pinned", advice=advice)


def healthy(findings: list[Finding]) -> bool:
    """Say whether everything that Mynah cannot do without is there; the rest is for who wants Discord, X or a tracker."""
    return all(finding.ok for finding in findings if finding.name.split()[0] not in ("Discord", "X", "tracking"))
