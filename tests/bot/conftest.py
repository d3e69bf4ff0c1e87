"""Fakes at the borders of the services: an executor whose trainer is a script, and a store with posts in it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from data import accounts
from data.store import Store
from tests.conftest import made_up_tweets
from trainer.protocol import Done, Event, Failed, Job, Stage, Step

WEIGHTS = b"weights " * 1000


class ScriptedRun:
    """A run that says what the test wrote, and waits at the end if told to."""

    process_group = 2**22 + 1  # no such group: above the kernel's highest process number
    process_started = 1

    def __init__(self, events: Sequence[Event], gate: asyncio.Event | None) -> None:
        self._events = events
        self._gate = gate
        self._cancelled = asyncio.Event()
        self.closed = False

    async def events(self) -> AsyncIterator[Event]:
        for event in self._events:
            if isinstance(event, Done) and self._gate is not None:
                waits = [asyncio.ensure_future(self._gate.wait()), asyncio.ensure_future(self._cancelled.wait())]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
                if self._cancelled.is_set():
                    yield Failed("cancelled", "It was cancelled.")
                    return
            yield event

    async def cancel(self) -> None:
        self._cancelled.set()

    async def close(self) -> None:
        self.closed = True


class ScriptedExecutor:
    """Starts scripted runs; `gate` holds back their results, `script` replaces what they say."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.runs: list[ScriptedRun] = []
        self.gate: asyncio.Event | None = None
        self.script: list[Event] | None = None
        self.wrong_hash = False

    async def start(self, job: Job, folder: Path) -> ScriptedRun:
        folder.mkdir(parents=True, exist_ok=True)
        weights = folder / "adapter.safetensors"
        weights.write_bytes(WEIGHTS)
        sha256 = "0" * 64 if self.wrong_hash else hashlib.sha256(WEIGHTS).hexdigest()
        done = Done(str(weights), sha256, len(WEIGHTS), 5.5, 4.25, 12.0, ["a sample"], {"adapter": {}})
        events = self.script or [Stage("base"), Step(1, 2, 5.0, 100.0, 1.0), Step(2, 2, 4.5, 100.0, 0.0), done]
        self.jobs.append(job)
        self.runs.append(ScriptedRun(events, self.gate))
        return self.runs[-1]


@pytest.fixture
def executor() -> ScriptedExecutor:
    """An executor that trains nothing."""
    return ScriptedExecutor()


@pytest.fixture
async def filled(store: Store) -> Store:
    """A store with three accounts: ann and bob with enough posts, and few with too few."""
    for handle, count, seed in (("ann", 150, 1), ("bob", 150, 2), ("few", 10, 3)):
        await store.write(accounts.add_tweets, handle, made_up_tweets(count, seed))
    return store
