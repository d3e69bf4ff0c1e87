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
from contextlib import suppress
from pathlib import Path

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


class Child:
    """A bench module as a process group of its own, which begins with its first turn."""

    def __init__(self, words: Sequence[str], folder: Path, root: Path) -> None:
        """`folder` is its own: what it prints is kept there for the case that it fails."""
        self._words = list(words)
        self._folder = folder
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._since = 0.0
        self._away = 0.0
        self.began = 0.0
        """By its own clock."""

    def turn(self, seconds: float) -> bool:
        """Let it run for so long, or to its end; say whether that was its end.

        Raises:
            SystemExit: it failed.
        """
        if self._process is None:
            self._begin()
        else:
            self._away += time.monotonic() - self._since
            self._tell()
            os.killpg(self._child.pid, signal.SIGCONT)
        try:
            status = self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self._since = time.monotonic()
            os.killpg(self._child.pid, signal.SIGSTOP)
            return False
        if status:
            said = (self._folder / "log").read_text(errors="replace")[-3000:]
            sys.exit(f"{self._words[0]} ended with {status}; the end of what it said:\n{said}")
        return True

    def kill(self) -> None:
        """End it, if it has not ended."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def _child(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    def _begin(self) -> None:
        self._tell()
        # Offline, or peft would ask the hub about the base when it saves: nobody's clock shall count that.
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", VARIABLE: str(self._folder / "stopped")}
        self.began = time.monotonic()
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._words],
                stdin=subprocess.PIPE,  # a trainer's lifeline: when we die, it does
                stdout=log,
                stderr=log,
                cwd=self._root,
                env=environment,
                start_new_session=True,
            )

    def _tell(self) -> None:
        """Write down for its clock how long it was stopped so far; it does not run while this is written."""
        with (self._folder / "stopped").open("r+b" if self._process else "wb") as file:
            file.write(struct.pack("d", self._away))


def by_turns(children: Sequence[Child], seconds: float, between: Callable[[], None]) -> None:
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
            child.kill()
