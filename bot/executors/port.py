"""What a place that runs trainers must offer."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from trainer.protocol import Event, Job


class CutOffError(Exception):
    """A training was ended for no fault of its own; started again, it goes on from its checkpoint."""


class LostError(CutOffError):
    """The machine on which it was trained, or the way there, went away; the text says so in a sentence."""


class Run(Protocol):
    """One training under way."""

    process_group: int
    """Number of the group in which the trainer and all its children are; the runs of one order share it."""
    process_started: int
    """When its leader began, seconds since 1970: a number that was used again is known by it."""

    def events(self) -> AsyncIterator[Event]:
        """Yield what the trainer says of this job; the last is always Done or Failed.

        Raises:
            CutOffError: the trainer was ended for the sake of another job, or by `Executor.close`; a LostError: where it was is gone.
        """
        ...

    async def cancel(self) -> None:
        """Ask the trainer to end this job; end it with its whole order, then kill it, if it does not. Does nothing to a job that ended."""
        ...


class Executor(Protocol):
    """A place where trainers run, one order of jobs after another."""

    async def lacks(self) -> str | None:
        """Return in a sentence why no order can be taken now; None: one can. Asked only while a job waits."""
        ...

    async def start(self, jobs: Sequence[Job]) -> Sequence[Run]:
        """Start training these jobs in one batch, and return their runs in the same order; all of the order before have ended.

        What lies in a job's folder of an earlier attempt is kept: the trainer goes on from it.

        Raises:
            LostError: since `lacks` was asked, what it needs has gone.
        """
        ...

    async def close(self) -> None:
        """Leave no trainer behind, at once, whether it works or only stays; `start` may be called again."""
        ...

    def pause(self) -> None:
        """Have the trainer stand still, if one is here: what it works with is needed for something that does not take long."""
        ...

    def resume(self) -> None:
        """Let it go on."""
        ...
