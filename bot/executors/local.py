"""Trainers as processes of this machine, each a group of its own that is asked, then terminated, then killed."""

import asyncio
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import cast

from bot.executors.processes import child_environment, kill_group, started_at
from trainer.protocol import BAD_JOB, DIED, Done, Event, Failed, Job, ProtocolError, parse

ASK_SECONDS = 15.0  # a step of the embedded base on two busy cores takes about 5
TERMINATE_SECONDS = 5.0
LAST_WORD_SECONDS = 1.0
LINE_BYTES = 16 * 1024 * 1024


class LocalExecutor:
    """Starts `python -m trainer` with this interpreter."""

    def __init__(self, *command: str) -> None:
        """Take another command than the real trainer's, for tests of what a bad one does."""
        self._command = command or (sys.executable, "-m", "trainer")

    async def start(self, job: Job, folder: Path) -> "LocalRun":
        """Write the job into the (emptied) folder and start a trainer on it."""
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        job_file = folder / "job.json"
        job_file.write_text(job.to_json(), encoding="utf-8")
        with (folder / "trainer.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                "--job",
                str(job_file),
                "--lifeline",
                stdin=PIPE,  # never written to: its closing tells the trainer that we are gone
                stdout=PIPE,
                stderr=log,
                env=child_environment(),
                start_new_session=True,
                limit=LINE_BYTES,
            )
        return LocalRun(process, folder / "trainer.log")


class LocalRun:
    """A trainer's process, its pipe and its group."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log
        self.process_group = process.pid
        self.process_started = started_at(process.pid)

    async def events(self) -> AsyncIterator[Event]:
        """Yield what the trainer says; if it dies without a last word, that is said for it."""
        stdout = cast("asyncio.StreamReader", self._process.stdout)
        last: Event | None = None
        try:
            while line := await stdout.readline():
                last = cast("Event", parse(line.decode("utf-8", "replace")))
                yield last
                if isinstance(last, Done | Failed):
                    return
        except (ProtocolError, ValueError) as error:  # ValueError: a line longer than LINE_BYTES
            yield Failed(
                BAD_JOB, f"The trainer said something that is not of the protocol ({str(error)[:120]}): do both have the same version?"
            )
            return
        yield self._last_word(await self._process.wait())

    async def cancel(self) -> None:
        """Ask, then terminate, then kill; the events then end with Failed."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        if await self._ended_within(ASK_SECONDS):
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        await self._ended_within(TERMINATE_SECONDS)
        await self.close()

    async def close(self) -> None:
        """Kill what is left of the group, grandchildren too, and reap the trainer."""
        await self._ended_within(LAST_WORD_SECONDS)  # one that has said its last word ends by itself
        kill_group(self.process_group)
        await self._process.wait()
        cast("asyncio.StreamWriter", self._process.stdin).close()

    async def _ended_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._process.wait()
        return self._process.returncode is not None

    def _last_word(self, status: int) -> Failed:
        if status == -signal.SIGKILL:
            return Failed(DIED, "The trainer was killed from outside, most often because memory ran out: free some, then train again.")
        log = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["it left no message"]
        return Failed(DIED, f"The trainer ended without a result (status {status}: {log[-1][:160]}): train again.")
