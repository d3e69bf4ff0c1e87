"""A tracker as a child process: what it is told waits in a bounded queue, and whatever goes wrong there stays there."""

import asyncio
import json
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import structlog

from bot.executors import processes
from bot.executors.processes import kill_group
from bot.trackers.port import Begin, End, Message, Metrics

MOST = 10_000  # messages that wait: a training of 256 voices at once has some 1,500 beside its steps
ANSWER_SECONDS = 120.0  # to one message; the library's own limits are shorter, and then it keeps what it could not send
CLOSE_SECONDS = 5.0
log = structlog.get_logger()


class TrackerError(Exception):
    """Why a child cannot be told any more."""


class ChildTracker:
    """Starts a child when a run begins, tells it one message after another, and lets it go when no run is open.

    A child that dies or hangs is ended, and what it was told is lost with the runs that were open; the next run begins with a new one.
    """

    def __init__(self, command: Sequence[str], greeting: Mapping[str, Any], log_file: Path, *, secret: str = "") -> None:
        """Take what starts a child, the first thing that it is told, with a `secret` that no log may hold, and where its stderr goes."""
        self._command = command
        self._greeting = {**greeting, "key": secret}
        self._log_file = log_file
        self._secret = secret
        self._waiting: deque[Message] = deque()
        self._more = asyncio.Event()
        self._open: set[str] = set()
        self._worker: asyncio.Task[None] | None = None
        self._closed = False
        self._complained = False

    def tell(self, message: Message) -> None:
        """Put a message into the queue; of what is too much, metrics are left out first."""
        if self._closed or (message.run not in self._open and not isinstance(message, Begin)):
            return
        if len(self._waiting) >= MOST:
            self._complain("it is too slow for what it is told, so that some of it is left out")
            if not isinstance(message, Metrics):  # without it the run is not what it was
                self._open.discard(message.run)
                self._more.set()
            return
        if isinstance(message, Begin):
            self._open.add(message.run)
        if isinstance(message, End):
            self._open.discard(message.run)
        self._waiting.append(message)
        self._more.set()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Wait a little for what is in the queue, and end the child."""
        self._closed = True
        self._open.clear()
        self._more.set()
        if self._worker is None or self._worker.done():
            return
        await asyncio.wait([self._worker], timeout=CLOSE_SECONDS)
        if not self._worker.done():
            self._complain("it was still at work when Mynah ended; what it had written until then is in its folder")
            self._worker.cancel()
            await asyncio.wait([self._worker])

    # ------------------------------------------------------------ the worker

    async def _work(self) -> None:
        """Tell children what waits, until nothing does and no run is open."""
        while self._waiting:
            try:
                await self._tell_a_child()
            except (TrackerError, OSError, ValueError) as error:  # ValueError: a line beyond what a pipe's reader takes
                self._waiting.clear()
                self._open.clear()
                self._complain(str(error))

    async def _tell_a_child(self) -> None:
        process = await processes.start(self._command, self._log_file)
        well = True
        try:
            if not await self._exchange(process, json.dumps(self._greeting)):
                raise TrackerError("its process did not begin")
            while self._waiting or self._open:
                while not self._waiting and self._open:
                    self._more.clear()
                    await self._more.wait()
                if self._waiting:
                    message = self._waiting.popleft()
                    line = await asyncio.to_thread(message.to_json)  # a corpus may be in it
                    well &= await self._exchange(process, line)
            cast("asyncio.StreamWriter", process.stdin).close()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await process.wait()
            if well:
                self._complained = False
        finally:
            kill_group(process.pid)
            await process.wait()
            cast("asyncio.StreamWriter", process.stdin).close()

    async def _exchange(self, process: Process, line: str) -> bool:
        """Write a line and wait for its answer; say whether all was well.

        Raises:
            TrackerError: the child is gone, hangs, or answers what it should not.
        """
        stdin, stdout = cast("asyncio.StreamWriter", process.stdin), cast("asyncio.StreamReader", process.stdout)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                with suppress(ConnectionError):  # it died: it gives no answer either
                    stdin.write(line.encode() + b"\n")
                    await stdin.drain()
                answer = await stdout.readline()
        except TimeoutError as error:
            raise TrackerError(f"it gave no answer for {ANSWER_SECONDS:g} s, and was ended") from error
        if not answer:
            raise TrackerError(f"its process ended by itself; {self._log_file.name} has what it said")
        try:
            why = json.loads(answer)["error"]
        except (ValueError, TypeError, KeyError) as error:
            raise TrackerError("its process answered what cannot be understood, and was ended") from error
        if why:
            self._complain(str(why))
        return not why

    def _complain(self, why: str) -> None:
        """Say why tracking fails, once until a child was told everything."""
        if not self._complained:
            self._complained = True
            why = why.replace(self._secret, "***") if self._secret else why
            log.warning("tracking fails, and the training goes on", why=" ".join(why.split())[:300])
