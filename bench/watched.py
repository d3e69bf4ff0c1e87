"""`mynah run` for benches that watch it for long: how late its event loop is, beside children that need no model, in a time of its own.

    python -m bench.watched CONFIG LATE FACTOR light|real

LATE is a file to which a pair of doubles is added for each look at the loop, one in LOOK_SECONDS: when it was due, in seconds of the
monotonic clock, which all processes share, and how much later the loop came to it. FACTOR says how much quicker time passes for schedules
and posts, from now on; waiting takes as long as ever. `light` children are those of the chaos (tests/chaos/children.py).

For the bench itself there are Watched, which samples such a process from outside, and what is made of samples.
"""

import asyncio
import os
import sys
import time
from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import linear_regression
from typing import Any, Self

import psutil

from bench.command import ROOT

LOOK_SECONDS = 0.02
END_SECONDS = 30.0


async def watch(file: Path) -> None:
    """Look at the loop for ever."""
    with file.open("ab", buffering=0) as late:
        while True:
            due = time.monotonic() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            late.write(array("d", [due, time.monotonic() - due]).tobytes())


def looks(file: Path, since: float = 0.0, until: float = float("inf")) -> list[tuple[float, float]]:
    """Return the looks that were due within a time: when, and how late; seconds."""
    content = file.read_bytes() if file.exists() else b""
    found = array("d", content[: len(content) // 16 * 16])
    return [(due, late) for due, late in zip(found[::2], found[1::2], strict=True) if since <= due < until]


@dataclass(frozen=True)
class Sample:
    """How the service stood at a moment."""

    at: float
    """Seconds of the monotonic clock."""
    rss: int
    """Bytes of the service alone, as the next."""
    pss: int
    """The same with what it shares parted among those who share it."""
    children: int
    """Bytes resident of its children."""
    threads: int
    files: int
    cpu: float
    """Seconds of the service since its start."""

    @classmethod
    def of(cls, process: psutil.Process) -> Self:
        """Look at a process."""
        memory = process.memory_full_info()
        children = 0
        for child in process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                children += child.memory_info().rss
        cpu = sum(process.cpu_times()[:2])
        return cls(time.monotonic(), memory.rss, memory.pss, children, process.num_threads(), process.num_fds(), cpu)


class Watched:
    """A running service that is sampled."""

    def __init__(self, process: asyncio.subprocess.Process, late: Path) -> None:
        self.process = process
        self.late = late
        self._psutil = psutil.Process(process.pid)

    def sample(self) -> Sample:
        """Look at it now.

        Raises:
            SystemExit: it has ended by itself.
        """
        if self.process.returncode is not None:
            raise SystemExit(f"The service ended by itself, with {self.process.returncode}: see run.log.")
        return Sample.of(self._psutil)

    async def samples(self, every: float) -> AsyncIterator[Sample]:
        """Yield samples for ever."""
        while True:
            yield self.sample()
            await asyncio.sleep(every)


@asynccontextmanager
async def service(folder: Path, environment: Mapping[str, str], *, factor: float = 1.0, children: str = "light") -> AsyncIterator[Watched]:
    """Run it on the config.toml of a folder, until the block ends."""
    late = folder / "late"
    words = [sys.executable, "-m", "bench.watched", str(folder / "config.toml"), str(late), str(factor), children]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MYNAH_", "DISCORD_", "X_A"))}
    ours |= {"PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", **environment}
    with (folder / "run.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*words, cwd=folder, env=ours, stdout=log, stderr=log)
    try:
        yield Watched(process, late)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def growth(times: Sequence[float], values: Sequence[float]) -> float:
    """Return by how much values grow in an hour: the slope of the straight line that is nearest to their second half."""
    half = len(times) // 2
    if len(times) - half < 2:
        return 0.0
    return float(linear_regression(times[half:], values[half:]).slope) * 3600


def documents(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return samples as JSON has them."""
    return [asdict(sample) for sample in samples]


def main(config: str, late: str, factor: str, children: str) -> None:
    """Run until SIGTERM."""
    from bot.app import Mynah
    from bot.log import configure_logging
    from bot.serve import serve
    from bot.settings import Secrets, Settings, load_secrets, load_settings
    from tests.bot.x.accelerated import Clock, keep_time_by
    from tests.chaos.light import lighten

    settings, secrets = load_settings(Path(config)), load_secrets()
    configure_logging(secrets=secrets.values())
    if children == "light":
        lighten("--quick")
    clock = Clock(datetime.now(UTC), float(factor))
    if float(factor) != 1:
        keep_time_by(clock)
    watching: list[asyncio.Task[None]] = []

    def make(settings: Settings, secrets: Secrets) -> Mynah:
        watching.append(asyncio.create_task(watch(Path(late))))
        return Mynah(settings, secrets, clock=clock)

    asyncio.run(serve(settings, secrets, make))


if __name__ == "__main__":
    main(*sys.argv[1:])
