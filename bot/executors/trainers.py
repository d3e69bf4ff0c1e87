"""One trainer process that stays: orders go in, what it says is sorted by job, and its end is told to every job that it leaves."""

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, Signals
from typing import cast

from bot.executors.port import CutOffError, LostError
from bot.executors.processes import kill_group, signal_group, started_at
from trainer.protocol import (
    BAD_JOB,
    CANCELLED,
    DIED,
    LOST,
    NOT_FINITE,
    TOO_LITTLE_TEXT,
    Cancel,
    Done,
    Event,
    Failed,
    Job,
    Message,
    Order,
    ProtocolError,
    Ready,
    parse,
)

ASK_SECONDS = 15.0  # a step of the embedded base on two busy cores takes about 5
TERMINATE_SECONDS = 5.0
LAST_WORD_SECONDS = 1.0
READY_SECONDS = 15.0  # from the end of an order's last job to Ready
RECYCLE_AFTER = 50  # jobs, after which a trainer makes room for a new one: whatever it leaks ends with it
#: Failures that say something of the job or of its owner, and nothing against the process.
BLAMELESS = (CANCELLED, TOO_LITTLE_TEXT, BAD_JOB, NOT_FINITE)


class Trainer:
    """A trainer's process, its pipes and its group.

    A task hears what it says for as long as it lives, and makes an end of the whole group when it dies, talks nonsense, or has
    ended an order after which it is not to be trusted with another.
    """

    def __init__(self, process: Process, log: Path, *, afar: bool = False) -> None:
        """Hear a process; `afar`: it has others train elsewhere, says Ready once it is connected, and its death says nothing of a job."""
        self._process = process
        self._log = log
        self._afar = afar
        self._greeted = not afar
        self.why = ""
        """The last that it said of no job in particular."""
        self._started = started_at(process.pid)
        self._open: dict[str, LocalRun] = {}
        self._trained = 0
        self._sound = True
        self._closing = False
        self._waits = asyncio.Event()  # no order is under way, or there will be no other
        if not afar:
            self._waits.set()
        self._hearing = asyncio.create_task(self._hear())

    async def waits(self, seconds: float | None = None) -> bool:
        """Whether it takes another order; one that has just ended its last job, or is connecting, is given time to say so."""
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_SECONDS if seconds is None else seconds):
                await self._waits.wait()
        return self._waits.is_set() and self._goes_on

    async def take(self, jobs: Sequence[Job], files: Sequence[str]) -> list["LocalRun"]:
        """Give it an order while it waits; return the runs in the same order."""
        runs = [LocalRun(self, job.id, self._process.pid, self._started) for job in jobs]
        self._open = {run.job: run for run in runs}
        self._trained += len(runs)
        self._waits.clear()
        await self.tell(Order(list(files)))
        return runs

    async def tell(self, message: Message) -> None:
        """Write a message to its stdin; of one that died, the hearing task tells."""
        stdin = cast("asyncio.StreamWriter", self._process.stdin)
        with suppress(OSError):
            stdin.write(message.to_json().encode() + b"\n")
            await stdin.drain()

    async def terminate(self) -> None:
        """End it because it does not hear: by SIGTERM, then SIGKILL. Runs that were not asked to end are cut off."""
        self._closing = True
        with suppress(ProcessLookupError):
            self._process.terminate()
        self.signal(SIGCONT)  # one that stands still does not hear
        await asyncio.wait([self._hearing], timeout=TERMINATE_SECONDS)
        await self.close()

    async def close(self) -> None:
        """Kill the group at once, and return when nothing of it is left; runs that had not ended are cut off."""
        self._closing = True
        if not self._hearing.done():  # else its number may be somebody else's by now
            kill_group(self._process.pid)
        await asyncio.wait([self._hearing])  # not awaited itself: whoever is cancelled here must not cancel it

    def signal(self, number: Signals) -> None:
        """Send a signal to its whole group, if it lives."""
        if not self._hearing.done():
            signal_group(self._process.pid, number)

    @property
    def _goes_on(self) -> bool:
        return self._sound and not self._closing and self._process.returncode is None and self._trained < RECYCLE_AFTER

    async def _hear(self) -> None:
        stdout = cast("asyncio.StreamReader", self._process.stdout)
        nonsense: Failed | None = None
        try:
            while line := await stdout.readline():
                self._hear_one(parse(line.decode("utf-8", "replace")))
                if self._waits.is_set() and not self._goes_on:
                    break
        except (ProtocolError, ValueError) as error:  # ValueError: a line longer than LINE_BYTES
            nonsense = Failed(
                BAD_JOB, f"The trainer said something that is not of the protocol ({str(error)[:120]}): do both have the same version?"
            )
        finally:
            self._sound = False
            if self._open and nonsense is None:  # it died, and its status says how
                with suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WORD_SECONDS):
                        await self._process.wait()
            kill_group(self._process.pid)
            status = await self._process.wait()
            cast("asyncio.StreamWriter", self._process.stdin).close()
            for run in list(self._open.values()):
                if run.asked:
                    self._end(run, Failed(CANCELLED, "It was cancelled, and the trainer had to be ended for it."))
                else:
                    self._end(run, None if self._closing else nonsense or self._last_word(status))
            self._waits.set()

    def _hear_one(self, message: Message) -> None:
        if isinstance(message, Ready):
            if self._open and self._greeted:
                raise ProtocolError(f"Ready, while job {next(iter(self._open))} has not ended")
            if not self._open:
                self._waits.set()
            self._greeted = True
            return
        job = getattr(message, "job", "")
        if isinstance(message, Failed) and message.code not in BLAMELESS:
            self._sound = False
        if isinstance(message, Failed) and not job:
            self.why = message.sentence
            for run in list(self._open.values()):
                self._end(run, message)
        elif job not in self._open:
            raise ProtocolError(f"a {message.type} of no job under way")
        elif isinstance(message, Done | Failed):
            self._end(self._open[job], message)
        else:
            self._open[job].hear(cast("Event", message))

    def _end(self, run: "LocalRun", last: Done | Failed | None) -> None:
        del self._open[run.job]
        run.end(last)

    def _last_word(self, status: int) -> Failed:
        if self._afar:
            return Failed(LOST, f"The process that is connected to the cluster ended (status {status}: see {self._log.name}).")
        if status == -SIGKILL:
            return Failed(DIED, "The trainer was killed from outside, most often because memory ran out: free some, then train again.")
        log: list[str] = []
        with suppress(OSError):  # somebody took it away
            log = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = log[-1][:160] if log else "it left no message"
        return Failed(DIED, f"The trainer ended without a result (status {status}: {said}): train again.")


class LocalRun:
    """What a trainer says of one job."""

    def __init__(self, trainer: Trainer, job: str, process_group: int, process_started: int) -> None:
        self.job = job
        self.process_group = process_group
        self.process_started = process_started
        self.asked = False
        """It is to end."""
        self._trainer = trainer
        self._said: asyncio.Queue[Event | None] = asyncio.Queue()
        self._ended = asyncio.Event()

    async def events(self) -> AsyncIterator[Event]:
        """Yield what the trainer says of it; if it dies without a last word, that is said for it."""
        while event := await self._said.get():
            if isinstance(event, Failed) and event.code == LOST:
                raise LostError(event.sentence)
            yield event
            if isinstance(event, Done | Failed):
                return
        raise CutOffError

    async def cancel(self) -> None:
        """Ask the trainer to end it; if it does not, end the trainer."""
        if not self._ended.is_set():
            self.asked = True
            await self._trainer.tell(Cancel(self.job))
            with suppress(TimeoutError):
                async with asyncio.timeout(ASK_SECONDS):
                    await self._ended.wait()
        if not self._ended.is_set():
            await self._trainer.terminate()

    def hear(self, event: Event) -> None:
        """Take what was said of it."""
        self._said.put_nowait(event)

    def end(self, last: Done | Failed | None) -> None:
        """Take the last that will be said of it; None: it was cut off."""
        self._said.put_nowait(last)
        self._ended.set()
