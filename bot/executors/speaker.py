"""The speaker: one long-lived child that keeps the base model in memory, started when first needed and again when it dies."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import cast

from bot.errors import BadWeightsError, SpeechFailedError
from bot.executors.processes import child_environment, kill_group
from trainer.protocol import BAD_WEIGHTS, Failed, Line, ProtocolError, SpeechRequest, Spoken, parse

LINE_BYTES = 16 * 1024 * 1024


class Speaker:
    """Answers one request at a time; whoever asks meanwhile waits."""

    def __init__(self, log: Path, *command: str, timeout: float) -> None:
        """Log stderr to a file; `timeout` is how many seconds one request may take, loading the base included."""
        self._log = log
        self._command = command or (sys.executable, "-m", "trainer", "--speak")
        self._timeout = timeout
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[Line]:
        """Yield lines as they are finished.

        Raises:
            BadWeightsError: the file of weights is not what the request says.
            SpeechFailedError: the speaker refused, died or took too long.
        """
        async with self._turn:
            finished = False
            try:
                async with asyncio.timeout(self._timeout):
                    process = await self._ready()
                    stdin = cast("asyncio.StreamWriter", process.stdin)
                    stdin.write(request.to_json().encode() + b"\n")
                    await stdin.drain()
                    while (answer := await self._answer(process)) and not isinstance(answer, Spoken | Failed):
                        if isinstance(answer, Line) and answer.id == request.id:
                            yield answer
                finished = isinstance(answer, Spoken | Failed)
                if isinstance(answer, Failed):
                    raise (BadWeightsError if answer.code == BAD_WEIGHTS else SpeechFailedError)(answer.sentence)
                if answer is None:
                    raise SpeechFailedError("The speaker died before it had answered: ask again.")
            except TimeoutError as error:
                raise SpeechFailedError(
                    f"The speaker took longer than {self._timeout:g} s and was stopped: ask again, for fewer lines."
                ) from error
            except (OSError, ProtocolError, ValueError) as error:
                raise SpeechFailedError(f"The speaker cannot be talked to ({str(error)[:120]}): ask again.") from error
            finally:
                if not finished:  # half an answer is still in the pipe: only a new process is clean
                    await self.close()

    async def close(self) -> None:
        """Stop the speaker and leave nothing of it behind."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            kill_group(process.pid)
            await process.wait()
            cast("asyncio.StreamWriter", process.stdin).close()

    async def _ready(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("wb") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command, stdin=PIPE, stdout=PIPE, stderr=log, env=child_environment(), start_new_session=True, limit=LINE_BYTES
                )
        return self._process

    async def _answer(self, process: Process) -> Line | Spoken | Failed | None:
        line = await cast("asyncio.StreamReader", process.stdout).readline()
        return cast("Line | Spoken | Failed", parse(line.decode("utf-8", "replace"))) if line else None
