"""The speaker: one long-lived child that answers many requests at once, started when first needed and again when it dies."""

import asyncio
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import structlog

from bot.errors import BadWeightsError, SpeechFailedError
from bot.executors import processes
from bot.executors.processes import kill_group
from trainer.protocol import BAD_WEIGHTS, Cancel, Failed, Line, Message, ProtocolError, SpeechRequest, Spoken, parse

TRIES = 2
"""Of a request whose speaker died: the second is for the innocent, a third would only kill another speaker."""
MOST_BACKOFF = 60.0  # seconds
log = structlog.get_logger()


@dataclass
class _Pending:
    """A request under way."""

    answers: "asyncio.Queue[Line | Spoken | Failed | None]" = field(default_factory=asyncio.Queue)
    """None: the child to which it was sent died."""
    process: Process | None = None


class Speaker:
    """Sends requests to one child process and gives each the answers that are its own."""

    def __init__(self, log_file: Path, *command: str, timeout: float, options: Sequence[str] = (), gpu: str = "") -> None:
        """Log the child's stderr to a file; `timeout` is how many seconds one request may take, loading the base included.

        `options` go to the real speaker, which sees one `gpu` of several; tests of what a bad one does name another `command`.
        """
        self._environment = processes.gpu_alone(gpu)
        self._log_file = log_file
        self._command = command or (sys.executable, "-m", "trainer", "--speak", *options)
        self._timeout = timeout
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._pending: dict[str, _Pending] = {}
        self._heard_at = 0.0
        self._closed = False
        self._deaths = 0
        """Since a request was last answered."""
        self._not_before = 0.0

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[Line]:
        """Yield lines as they are finished; where a message is answered, all with the last.

        A request that the child's death cuts short is asked once more; lines that came already are not said twice, since the same
        seed gives the same lines.

        Raises:
            BadWeightsError: the file of weights is not what the request says.
            SpeechFailedError: the speaker refused, died twice or took too long.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        pending = self._pending[request.id] = _Pending()
        came: set[int] = set()
        ended = False
        try:
            for _ in range(TRIES):
                async with asyncio.timeout_at(began + self._timeout):
                    await self._send(request, pending)
                while True:
                    # Around the waiting alone: what is yielded takes its time elsewhere.
                    async with asyncio.timeout_at(began + self._timeout):
                        answer = await pending.answers.get()
                    if isinstance(answer, Line) and answer.index not in came:
                        came.add(answer.index)
                        yield answer
                    ended = isinstance(answer, Spoken | Failed)
                    if isinstance(answer, Spoken):
                        return
                    if isinstance(answer, Failed):
                        raise (BadWeightsError if answer.code == BAD_WEIGHTS else SpeechFailedError)(answer.sentence)
                    if answer is None:
                        break
            raise SpeechFailedError("The speaker died before it had answered, twice: ask again, or see speaker.log.")
        except TimeoutError as error:
            if self._heard_at < began:  # of no request at all: it hangs
                self._kill()
            raise SpeechFailedError(f"No answer came within {self._timeout:g} s: ask again, for fewer lines.") from error
        except (OSError, ValueError) as error:
            raise SpeechFailedError(f"The speaker cannot be talked to ({str(error)[:120]}): ask again.") from error
        finally:
            del self._pending[request.id]
            if not ended:
                self._tell(Cancel(request.id))

    async def close(self) -> None:
        """Stop the speaker for good, and leave nothing of it behind."""
        self._closed = True
        self._kill()
        if self._reader is not None:
            await asyncio.wait([self._reader])
            self._reader = None

    # ----------------------------------------------------------- the process

    async def _send(self, request: SpeechRequest, pending: _Pending) -> None:
        pending.process = await self._running()
        stdin = cast("asyncio.StreamWriter", pending.process.stdin)
        with suppress(ConnectionError):  # it died just now, and its reader is about to say so
            stdin.write(request.to_json().encode() + b"\n")
            await stdin.drain()

    def _tell(self, message: Message) -> None:
        """Say something that needs no answer, if anybody is there."""
        if self._process is not None and self._process.returncode is None:
            with suppress(OSError):
                cast("asyncio.StreamWriter", self._process.stdin).write(message.to_json().encode() + b"\n")

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:  # else its number may be somebody else's by now
            kill_group(self._process.pid)

    async def _running(self) -> Process:
        """Return the child, started if need be; after several deaths in a row, not at once."""
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                if self._reader is not None:
                    await asyncio.wait([self._reader])
                loop = asyncio.get_running_loop()
                await asyncio.sleep(max(0.0, self._not_before - loop.time()))
                if self._closed:
                    raise SpeechFailedError("Mynah was stopped before it answered: ask again.")
                self._process = await processes.start(self._command, self._log_file, self._environment)
                self._reader = asyncio.create_task(self._read(self._process))
            return self._process

    async def _read(self, process: Process) -> None:
        """Give the child's answers to those who wait for them, until it ends."""
        loop = asyncio.get_running_loop()
        stdout = cast("asyncio.StreamReader", process.stdout)
        try:
            while line := await stdout.readline():
                answer = parse(line.decode("utf-8", "replace"))
                self._heard_at = loop.time()
                if isinstance(answer, Line | Spoken | Failed) and (pending := self._pending.get(answer.id or "")):
                    pending.answers.put_nowait(answer)
                if isinstance(answer, Spoken):
                    self._deaths = 0
        except (OSError, ProtocolError, ValueError) as error:  # ValueError: a line beyond LINE_BYTES
            # Without the words: a line that nobody judged may be among them.
            log.warning("the speaker says what cannot be understood", error=type(error).__name__)
        finally:
            kill_group(process.pid)
            await process.wait()
            cast("asyncio.StreamWriter", process.stdin).close()
            self._deaths += 1
            # The first time somebody waits, and it may have been an accident; then 2, 4, 8 s and so on.
            self._not_before = loop.time() + (0 if self._deaths == 1 else min(2.0 ** (self._deaths - 1), MOST_BACKOFF))
            for pending in self._pending.values():
                if pending.process is process:
                    pending.answers.put_nowait(None)
