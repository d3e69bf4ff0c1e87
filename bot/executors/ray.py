"""Trainers as tasks of a Ray cluster that is there already: a process of this machine is connected to it, and hears for us."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from bot.executors import processes
from bot.executors.local import LocalExecutor
from bot.executors.port import LostError
from bot.executors.trainers import LocalRun
from bot.settings import Ray
from trainer.protocol import Cluster, Job

CONNECT_SECONDS = 120.0  # a node's Python may be read from a slow disk first
RETRY_SECONDS = 30.0


def cluster_of(wanted: Ray) -> Cluster:
    """Return what the process that is connected is told of the cluster."""
    return Cluster(
        address=wanted.address,
        num_gpus=wanted.num_gpus,
        num_cpus=wanted.num_cpus,
        cache=wanted.cache_dir,
        checkpoint_seconds=wanted.checkpoint_seconds,
        inherited=list(processes.INHERITED),
    )


def rays_own() -> dict[str, str]:
    """Return Ray's own settings, such as where the token of a cluster lies that asks for one: they go to no node."""
    return {name: value for name, value in os.environ.items() if name.startswith("RAY_")}


class RayExecutor(LocalExecutor):
    """Does with `python -m trainer --stay --cluster` what others do with a trainer: it hears, stays, dies with us and is swept as one does.

    So Ray is in no process of the bot's. When that one ends, for whatever reason, Ray ends what it had under way.
    """

    _afar = True

    def __init__(self, log: Path, cluster: Cluster, *command: str) -> None:
        """Log to a file what is said beside the protocol; tests name another command than the real one's."""
        super().__init__(log, *(command or (sys.executable, "-m", "trainer")), "--cluster", cluster.to_json())
        self._environment = rays_own()
        self._why = ""
        self._again_at = 0.0

    async def lacks(self) -> str | None:
        """Connect, if that has not been done; what is in the way is looked at anew every half a minute."""
        if self._trainer is not None and await self._trainer.waits(CONNECT_SECONDS):
            return None
        if monotonic() < self._again_at:
            return self._why
        await self.close()
        try:
            self._trainer = await self._new()
            if await self._trainer.waits(CONNECT_SECONDS):
                return None
            self._why = self._trainer.why or f"The Ray cluster did not answer within {CONNECT_SECONDS:g} s: see {self._log.name}."
        except OSError as error:
            self._why = f"The process that connects to the Ray cluster cannot be started ({error.strerror}): see `mynah doctor`."
        await self.close()
        self._again_at = monotonic() + RETRY_SECONDS
        return self._why

    async def start(self, jobs: Sequence[Job]) -> list[LocalRun]:
        """Have the jobs trained on a node that has room for them, in one batch."""
        if await self.lacks():
            raise LostError("The cluster went away before it had the training.")
        return await super().start(jobs)

    def pause(self) -> None:
        """Do nothing: a node is not what the speaker waits for."""

    def resume(self) -> None:
        """Likewise."""
