"""Makes a database as an operator's, by the code of the folder that it is started in: what tests/bot/test_upgrade.py upgrades.

    git worktree add /tmp/then COMMIT && cd /tmp/then
    PYTHONPATH=. python …/tests/databases/make.py …/tests/databases/DATE-COMMIT.db.gz

`python` is one with that commit's packages. What the commit's Mynah cannot do yet is passed over.
"""

import asyncio
import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from data import outbox
from data.store import Store
from tests.conftest import made_up_tweets

CONFIG = (
    'data_dir = "data"\n[trainer]\nbase = "tiny-random"\nepochs = 1\ndevice = "cpu"\n[speaker]\nmax_tokens = 200\ntimeout_seconds = 3000\n'
)
#: Posts of the outbox: what became of each of them, in order; the last has been sent twice and nobody knows whether it arrived.
POSTS = ("", "rejected", "approved", "approved sending posted", "approved sending", "approved sending")


def main(to: Path) -> None:
    """Make the database and write it to a file, compressed."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.toml").write_text(CONFIG)
        for seed, handle in enumerate(("ann", "bob"), 1):
            rows = ({"id": one.id, "created_at": one.created_at.isoformat(), "text": one.text} for one in made_up_tweets(120, seed))
            (folder / f"{handle}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            mynah(folder, "import", f"{handle}.jsonl", "--as", handle)
        mynah(folder, "train", "ann")
        mynah(folder, "generate", "ann", "-n", "2", "--seed", "7")
        mynah(folder, "schedule", "add", "mornings", "ann", "--cron", "0 9 * * *", "--timezone", "Europe/Madrid")
        mynah(folder, "schedule", "add", "often", "ann", "--every", "6h")
        mynah(folder, "pin", "ann", "1")
        mynah(folder, "opt-out", "eve")
        asyncio.run(post(folder / "data/mynah.db"))
        cut_off(folder, "train", "bob")
        with sqlite3.connect(folder / "data/mynah.db") as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        to.write_bytes(gzip.compress((folder / "data/mynah.db").read_bytes(), mtime=0))


def command(*words: str) -> list[str]:
    """Return the command of the code that lies here."""
    return [sys.executable, "-m", "bot", *words, "--config", "config.toml"]


def mynah(folder: Path, *words: str) -> None:
    """Run a command; one that is not known yet is passed over."""
    done = subprocess.run(command(*words), cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode and "No such command" not in done.stderr:
        sys.exit(f"{words}: {done.stderr}")


def environment() -> dict[str, str]:
    """Return the environment of a command in another folder: the code is that of this one."""
    return os.environ | {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}


def cut_off(folder: Path, *words: str) -> None:
    """Kill a training as soon as it runs."""
    process = subprocess.Popen(command(*words), cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with sqlite3.connect(folder / "data/mynah.db") as connection:
        while not connection.execute("SELECT 1 FROM jobs WHERE status = 'running' AND process_group IS NOT NULL").fetchone():
            time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with sqlite3.connect(folder / "data/mynah.db") as connection:
        # A group of this number may be somebody's where the database is opened, and what was cut off is killed: no group has this one.
        connection.execute("UPDATE jobs SET process_group = 4194305 WHERE status = 'running'")


async def post(database: Path) -> None:
    """Put posts into the outbox, in all states that one can be found in."""
    older = not hasattr(outbox, "Destination")
    more = {} if older else {"to": outbox.Destination("default")}
    async with Store(database) as store:
        for number, states in enumerate(POSTS, 1):
            text = made_up_tweets(6, 3)[number - 1].text
            one = await store.write(outbox.add_draft, voice="ann", schedule="mornings", text=text, who="schedule", **more)
            for state in states.split():
                x_id = f"90{number}" if state == "posted" else None
                await store.write(outbox.change, one.id, outbox.State(state), who="me", why="a test", x_id=x_id)
                if state == "sending" and not older:
                    await store.write(outbox.mark_try, one.id, datetime.now(UTC))
        await store.write(outbox.note if older else outbox.ask_person, len(POSTS), who="mynah", why="X did not answer.")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
