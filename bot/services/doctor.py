"""The doctor: what works, what is missing, and what to do about it."""

import importlib.util
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from bot.errors import SettingsError
from bot.lock import Lead
from bot.services.blocklist import Blocklist
from bot.services.tracking import lacks
from bot.settings import Secrets, Settings
from data import outbox
from data.outbox import DEFAULT_ACCOUNT

NEEDED_BYTES = 2 * 1024**3  # the base, its download, a few voices


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `advice` is empty where nothing needs doing."""

    name: str
    ok: bool
    found: str
    advice: str = ""


def examine(settings: Settings, secrets: Secrets) -> list[Finding]:
    """Look at each part in turn; nothing is changed."""
    return [
        *_packages(),
        _database(settings.database),
        *_others(settings.data_dir),
        _disk(settings.data_dir),
        _base(settings),
        _gpu(),
        _blocklist(settings),
        _service(settings),
        *_outbox(settings.database),
        *_tokens(settings, secrets),
        *_tracking(settings, secrets),
        *_unattended(settings),
    ]


def _packages() -> Iterator[Finding]:
    for name in ("torch", "transformers", "discord", "tweepy"):
        there = importlib.util.find_spec(name) is not None
        yield Finding(f"package {name}", there, "installed" if there else "missing", "" if there else "Run `make install`.")


def _database(path: Path) -> Finding:
    if not path.exists():
        return Finding("database", ok=True, found=f"{path}: not there yet; the first command makes it")
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.Error as error:
        return Finding("database", ok=False, found=f"{path}: {error}", advice="Restore a backup, or set data_dir in config.toml.")
    return Finding("database", verdict == "ok", f"{path}: {verdict}", "" if verdict == "ok" else "Restore a backup.")


def _others(folder: Path) -> Iterator[Finding]:
    """Look whether other users of the machine can read what Mynah keeps; a folder that it made itself they cannot."""
    if folder.exists() and folder.stat().st_mode & 0o007:
        yield Finding(
            "privacy", ok=True, found=f"{folder}: other users of this machine can look into it", advice=f"Say `chmod o= {folder}`."
        )


def _disk(folder: Path) -> Finding:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    enough = free > NEEDED_BYTES
    return Finding(
        "disk", enough, f"{free / 1e9:.1f} GB free in {existing}", "" if enough else "Free some space: trainings need about 2 GB."
    )


def _base(settings: Settings) -> Finding:
    folder = settings.cache / "bases"
    cached = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    found = f"{settings.trainer.base}; in the cache: {', '.join(cached) or 'nothing yet'}"
    return Finding("base model", ok=True, found=found, advice="" if cached else "The first training fetches it (about 100 MB), once.")


def _gpu() -> Finding:
    # The bot never loads torch: whether its build sees the device is the trainer's to say.
    there = Path("/dev/nvidia0").exists()
    return Finding("GPU", ok=True, found="an NVIDIA device" if there else "none: training and speech run on the CPU")


def _blocklist(settings: Settings) -> Finding:
    path = settings.safety.blocklist
    try:
        rules = len(Blocklist(path).rules)
    except SettingsError as error:
        return Finding("blocklist", ok=False, found=f"{path} cannot be used", advice=str(error))
    return Finding(
        "blocklist", ok=True, found=f"{path}: {rules:,} rules" if path else "none: nothing is blocked but what every voice may not say"
    )


def _service(settings: Settings) -> Finding:
    with Lead(settings.data_dir / "mynah.lock") as lead:
        running = settings.data_dir.is_dir() and not lead.take()
    return Finding(
        "service",
        ok=True,
        found="a process of Mynah's is at work" if running else "not running",
        advice="" if running else "Start it with `mynah run`.",
    )


def _outbox(path: Path) -> Iterator[Finding]:
    """Look for posts that a person must decide about; a database of an older Mynah has none that it knows of."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        db = Database(connection)
        posts = outbox.awaiting(db)
        why = outbox.last_words(db, [post.id for post in posts])
        for post in posts:
            yield Finding("outbox", ok=False, found=f"post {post.id} to {post.destination} waits for you", advice=why[post.id])


def _tokens(settings: Settings, secrets: Secrets) -> Iterator[Finding]:
    discord = secrets.discord_token is not None
    yield Finding(
        "Discord",
        discord,
        "a token is set" if discord else "no token",
        "" if discord else "Set DISCORD_TOKEN; the README says where it comes from.",
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
    made = set()
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{settings.database}?mode=ro", uri=True)) as connection:
        made = {name for (name,) in connection.execute("SELECT name FROM schedules WHERE operator")}
    missing = settings.x.unattended - made
    found = f"{', '.join(sorted(settings.x.unattended & made)) or 'none'} without approval"
    if missing:
        found += f"; no schedule was made in the terminal by the name {', '.join(sorted(missing))}"
    advice = "Make it with `mynah schedule add`, or take the name out of x.unattended." if missing else ""
    yield Finding("X schedules", not missing, found, advice)


def healthy(findings: list[Finding]) -> bool:
    """Say whether everything that Mynah cannot do without is there; the rest is for who wants Discord, X or a tracker."""
    return all(finding.ok for finding in findings if finding.name.split()[0] not in ("Discord", "X", "tracking"))
