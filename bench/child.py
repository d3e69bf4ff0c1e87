"""A process that a bench starts: a group of its own, of which nothing is left afterwards. It needs Python's own library alone."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from bench.command import ROOT


class Child:
    """A process with a pipe to its stdin, which is its lifeline: when we die, it does. Alive inside the block, or until kill()."""

    def __init__(self, command: Sequence[str], log: Path, *, answers: bool = True, **environment: str) -> None:
        """Its stderr goes to the log, and so does its stdout where no answers are wanted."""
        self.command = command
        self.log = log
        self._answers = answers
        self._environment = environment

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=os.environ | self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if self._answers else log,
                stderr=log,
                encoding="utf-8",
                start_new_session=True,
            )

    def send(self, line: str) -> None:
        """Write a line to it; if it died, whoever reads its answers says so."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def lines(self) -> Iterator[str]:
        """Return what it says, line after line, to its end."""
        assert self.process.stdout is not None
        return self.process.stdout

    def kill(self) -> None:
        """End it and whatever it started, if they have not ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()

    def last_words(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-3000:]
