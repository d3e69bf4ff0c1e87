"""`mynah run` as a process between a Discord and an X on the loopback, commands beside it, and what kills its parts."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.conftest import ROOT
from tests.loopback_discord import LoopbackDiscord
from tests.loopback_x import SECRETS, LoopbackX

START_SECONDS = 120.0  # by which a service is connected on a busy machine; it may have to wait for a command that leads
END_SECONDS = 60.0
FAMILY_SECONDS = 15.0  # by which nothing is left of a killed service's children
FLAGS = {"trainer": "--stay", "speaker": "--speak"}
CONFIG = """
data_dir = "data"
cache_dir = "{cache}"
[quotas]
trainings_a_day = 100000
trainings_a_day_server = 100000
lines_a_minute = 1000000
[trainer]
base = "tiny-random"
epochs = 1
device = "cpu"
spare_mib = 0
[speaker]
device = "cpu"
max_tokens = 200  # the tiny model is slow to end a line, and one that is cut off is not said
[x]
api_url = "{x}"
look_at_own_posts = true
look_after_seconds = 2
look_daily_cap = 100000
daily_cap = 100000
monthly_cap = 100000
posts_a_day = 100000
"""


@dataclass
class Service:
    """A folder of its own, and the processes that work in it; they are known by that folder."""

    folder: Path
    discord: LoopbackDiscord
    x: LoopbackX
    module: str
    """`bot`, or another that is the command `mynah`."""
    life: int = 0
    """How often the service was started."""
    orphans: list[str] = field(default_factory=list)
    """Processes that outlived whoever owned them."""

    def __post_init__(self) -> None:
        (self.folder / "config.toml").write_text(CONFIG.format(cache=ROOT / "var" / "cache", x=self.x.url))
        self._process: Process | None = None
        self._stuck: list[psutil.Process] = []
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("MYNAH_", "DISCORD_", "X_A"))}
        keys = {f"X_{name.upper()}": secret.get_secret_value() for name, secret in SECRETS.of_x() if secret}
        discord = {"DISCORD_TOKEN": self.discord.token, "MYNAH_DISCORD__API_URL": self.discord.url}
        self._environment = ours | {"PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", "OMP_NUM_THREADS": "1"}
        self.environment = self._environment | keys | discord
        self.secrets = keys | {"DISCORD_TOKEN": self.discord.token}

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    @property
    def database(self) -> Path:
        return self.folder / "data" / "mynah.db"

    async def command(self, *words: str) -> dict[str, Any] | str:
        """Run another command beside the service; return the document that it prints, or the sentence that it fails with.

        Cancelled, it is let come to its end.
        """
        process = await self._started(*words, "--json", env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        ended = asyncio.ensure_future(process.communicate())
        try:
            out, err = await asyncio.shield(ended)
        except asyncio.CancelledError:
            await asyncio.wait([ended])
            raise
        if process.returncode == 0:
            document: dict[str, Any] = json.loads(out)
            return document
        return err.decode().strip()

    async def start(self) -> None:
        """Start the service, and return when it is connected to Discord."""
        seen = len(self.discord.identifies)
        with (self.folder / "run.log").open("ab") as log:
            self._process = process = await self._started("run", env=self.environment, stdout=log, stderr=log)
        self.life += 1
        ended = asyncio.ensure_future(process.wait())
        connected = asyncio.ensure_future(self.discord.until(lambda: len(self.discord.identifies) > seen, START_SECONDS))
        await asyncio.wait([ended, connected], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not connected.done():
            connected.cancel()
            raise AssertionError(f"The service ended by itself, with {process.returncode}: {self.log[-2000:]}")
        await connected
        left = (await asyncio.to_thread(psutil.wait_procs, self._stuck, timeout=FAMILY_SECONDS))[1]
        self.orphans += [f"{process}, which the next service did not end" for process in left]

    async def _started(self, *words: str, **options: Any) -> Process:
        command = [sys.executable, "-m", self.module, *words, "--config", str(self.config)]
        return await asyncio.create_subprocess_exec(*command, cwd=self.folder, **options)

    @property
    def log(self) -> str:
        """What the service wrote so far."""
        file = self.folder / "run.log"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    @property
    def lives(self) -> bool:
        """Whether the service runs, as far as anybody knows."""
        return self._process is not None and self._process.returncode is None

    def family(self) -> list[psutil.Process]:
        """Return every process that works in the folder: nothing else gives it away for sure when its parent is gone."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(self.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def children(self, kind: str) -> list[psutil.Process]:
        """Return the trainers, or the speakers, that live."""
        found = []
        for process in self.family():
            try:
                if FLAGS[kind] in process.cmdline():
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    async def kill(self) -> None:
        """Kill the service as `kill -9` does, and see that its children end by themselves.

        One that was stopped in its first moments cannot: the next service owes it its end.
        """
        assert self._process is not None
        try:
            family = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            family = []
        self._process.kill()
        assert await self._process.wait() == -signal.SIGKILL, f"The service ended by itself: {self.log[-2000:]}"
        left = (await asyncio.to_thread(psutil.wait_procs, family, timeout=FAMILY_SECONDS))[1]
        self._stuck = [process for process in left if _status(process) == psutil.STATUS_STOPPED]
        self.orphans += [f"{process} of a killed service" for process in left if _status(process) not in (psutil.STATUS_STOPPED, "")]

    async def end(self) -> int:
        """Ask the service to end; return its status."""
        assert self._process is not None
        self._process.terminate()
        async with asyncio.timeout(END_SECONDS):
            return await self._process.wait()

    async def close(self) -> None:
        """Leave nothing behind, whatever happened."""
        for process in self.family():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        if self._process is not None:
            await self._process.wait()


def _status(process: psutil.Process) -> str:
    """Return how a process stands; empty: it is gone."""
    try:
        return process.status()
    except psutil.NoSuchProcess:
        return ""
