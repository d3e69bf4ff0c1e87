"""Processes that run by turns, one at a time, each with a clock that stands still while another has its turn.

The machines that this is measured on are shared, and what others do on them comes and goes within minutes: two runs one after the
other meet different machines. By turns of some seconds all meet the same.
"""

import mmap
import os
import signal
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.child import Child

SECONDS = 15.0
"""Of one turn."""
VARIABLE = "MYNAH_BENCH_STOPPED"
_shared: mmap.mmap | None = None


def clock() -> float:
    """Return time.monotonic(), less the seconds that this process was stopped for others' turns."""
    return time.monotonic() - _stopped()


def _stopped() -> float:
    global _shared  # noqa: PLW0603 - mapped once in a process
    path = os.environ.get(VARIABLE)
    if not path:
        return 0.0
    if _shared is None:
        with Path(path).open("rb") as file:
            _shared = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    (seconds,) = struct.unpack("d", _shared)
    return float(seconds)


class Taker(Child):
    """A bench module which begins with its first turn."""

    def __init__(self, words: Sequence[str], folder: Path) -> None:
        """`folder` is its own: what it prints is kept there for the case that it fails."""
        # Offline, or peft would ask the hub about the base when it saves: nobody's clock shall count that.
        told = {"HF_HUB_OFFLINE": "1", VARIABLE: str(folder / "stopped")}
        super().__init__([sys.executable, "-m", *words], folder / "log", answers=False, **told)
        self._stopped = folder / "stopped"
        self._since = 0.0
        self._away = 0.0
        self.began = 0.0
        """By its own clock; 0 before its first turn."""

    def turn(self, seconds: float) -> bool:
        """Let it run for so long, or to its end; say whether that was its end.

        Raises:
            SystemExit: it failed.
        """
        if self.began:
            self._away += time.monotonic() - self._since
            self._tell()
            os.killpg(self.process.pid, signal.SIGCONT)
        else:
            self._tell()
            self.began = time.monotonic()
            self.start()
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._since = time.monotonic()
            os.killpg(self.process.pid, signal.SIGSTOP)
            return False
        if status:
            raise SystemExit(f"{' '.join(self.command)} ended with {status}; the end of what it said:\n{self.last_words()}")
        return True

    def _tell(self) -> None:
        """Write down for its clock how long it was stopped so far; it does not run while this is written."""
        with self._stopped.open("r+b" if self.began else "wb") as file:
            file.write(struct.pack("d", self._away))


def by_turns(children: Sequence[Taker], seconds: float, between: Callable[[], None]) -> None:
    """Run all to their ends, `between` after each round.

    Raises:
        SystemExit: one failed; the others are ended.
    """
    left = deque(children)
    try:
        while left:
            for _ in range(len(left)):
                child = left.popleft()
                if not child.turn(seconds):
                    left.append(child)
            between()
    finally:
        for child in children:
            if child.began and child.process.poll() is None:
                child.kill()
