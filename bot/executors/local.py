"""Trainers as processes of this machine: one at a time stays between orders, and is thrown away when it is not to be trusted."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from signal import SIGCONT, SIGSTOP

from bot.executors import processes
from bot.executors.trainers import LocalRun, Trainer
from trainer.protocol import Job


class LocalExecutor:
    """Starts `python -m trainer --stay` with this interpreter when one is needed, and gives it one order after another."""

    _afar = False
    """Its trainer has others train elsewhere."""

    def __init__(self, log: Path, *command: str, gpu: str = "") -> None:
        """Log a trainer's stderr to a file, and have it see one GPU of several, as nvidia-smi calls it; empty: what there is.

        Tests of what a bad trainer does name another command than the real one's.
        """
        self._log = log
        self._command = command or (sys.executable, "-m", "trainer")
        self._environment = processes.gpu_alone(gpu)
        self._trainer: Trainer | None = None

    async def lacks(self) -> str | None:
        """Return None: this machine is always there."""
        return None

    async def start(self, jobs: Sequence[Job]) -> list[LocalRun]:
        """Write the jobs into their folders, and give them to the trainer that stays, or to a new one."""
        files = [await asyncio.to_thread(_write, job) for job in jobs]
        if self._trainer is None or not await self._trainer.waits():
            await self.close()
            self._trainer = await self._new()
        return await self._trainer.take(jobs, files)

    async def close(self) -> None:
        """Kill the trainer, whatever it does."""
        if self._trainer is not None:
            await self._trainer.close()
            self._trainer = None

    def pause(self) -> None:
        """Stop the trainer's process group."""
        if self._trainer is not None:
            self._trainer.signal(SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        if self._trainer is not None:
            self._trainer.signal(SIGCONT)

    async def _new(self) -> Trainer:
        process = await processes.start([*self._command, "--stay"], self._log, self._environment)
        return Trainer(process, self._log, afar=self._afar)


def _write(job: Job) -> str:
    file = Path(job.output) / "job.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(job.to_json(), encoding="utf-8")
    return str(file)
