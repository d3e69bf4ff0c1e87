"""What a place that runs trainers must offer."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from trainer.protocol import Event, Job


class Run(Protocol):
    """One training under way."""

    process_group: int
    """Number of the group in which the trainer and all its children are."""
    process_started: int
    """When its leader began, seconds since 1970: a number that was used again is known by it."""

    def events(self) -> AsyncIterator[Event]:
        """Yield what the trainer says; the last is always Done or Failed."""
        ...

    async def cancel(self) -> None:
        """Ask the trainer to stop; end it, then kill it, if it does not. Returns when nothing of it is left."""
        ...

    async def close(self) -> None:
        """Leave nothing of it behind, at once."""
        ...


class Executor(Protocol):
    """A place where trainers run."""

    async def start(self, job: Job, folder: Path) -> Run:
        """Start a training whose files lie in `folder`."""
        ...
