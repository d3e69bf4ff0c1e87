"""Fakes at the borders of the services: an executor whose trainer is a script, and a store with posts in it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from sqlite_utils import Database

from bot.executors.port import CutOffError
from bot.services import cards, pictures
from data import store as store_module
from data.store import Store
from tests.conftest import made_up_tweets, store_account
from trainer.protocol import Done, Event, Failed, Job, Stage, Step

WEIGHTS = b"weights " * 1000


class ScriptedRun:
    """A run that says what the test wrote, and waits at the end if told to."""

    process_group = 2**22 + 1  # no such group: above the kernel's highest process number
    process_started = 1

    def __init__(self, events: Sequence[Event], gate: asyncio.Event | None) -> None:
        self._events = events
        self._gate = gate
        self._stopped = asyncio.Event()
        self.cancelled = False

    async def events(self) -> AsyncIterator[Event]:
        for event in self._events:
            if isinstance(event, Done) and self._gate is not None:
                waits = [asyncio.ensure_future(self._gate.wait()), asyncio.ensure_future(self._stopped.wait())]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
                if self.cancelled:
                    yield Failed("cancelled", "It was cancelled.")
                    return
                if self._stopped.is_set():
                    raise CutOffError
            yield event

    async def cancel(self) -> None:
        self.cancelled = True
        self._stopped.set()

    def cut_off(self) -> None:
        self._stopped.set()


class ScriptedExecutor:
    """Starts scripted runs; `gate` holds back their results (`gates` that of one voice), `script` replaces what they say."""

    def __init__(self) -> None:
        self.orders: list[list[Job]] = []
        self.runs: list[ScriptedRun] = []
        self.gate: asyncio.Event | None = None
        self.gates: dict[str, asyncio.Event] = {}
        self.script: list[Event] | None = None
        self.wrong_hash: set[str] = set()
        self.works = False
        self.still = False
        self.lack: str | None = None

    @property
    def jobs(self) -> list[Job]:
        """All that was ordered, in this order."""
        return [job for order in self.orders for job in order]

    async def lacks(self) -> str | None:
        return self.lack

    async def start(self, jobs: Sequence[Job]) -> list[ScriptedRun]:
        self.works = True
        self.orders.append(list(jobs))
        runs = [self._run(job) for job in jobs]
        self.runs += runs
        return runs

    async def close(self) -> None:
        self.works = False
        for run in self.runs:
            run.cut_off()

    def pause(self) -> None:
        self.still = True

    def resume(self) -> None:
        self.still = False

    def _run(self, job: Job) -> ScriptedRun:
        weights = Path(job.output) / "adapter.safetensors"
        weights.parent.mkdir(parents=True, exist_ok=True)
        weights.write_bytes(WEIGHTS + b"more" * bool(job.start))
        voice = job.train[0].author
        sha256 = "0" * 64 if voice in self.wrong_hash else hashlib.sha256(weights.read_bytes()).hexdigest()
        done = Done(str(weights), sha256, len(WEIGHTS), 5.5, 4.25, 12.0, ["a sample"], {"adapter": {"rank": 8, "scale": 2.0}}, job=job.id)
        events = self.script or [Stage("base"), Step(1, 2, 5.0, 100.0, 1.0), Step(2, 2, 4.5, 100.0, 0.0), done]
        return ScriptedRun(events, self.gates.get(voice, self.gate))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What an empty database that went through all migrations consists of."""
    path = tmp_path_factory.mktemp("migrated") / "mynah.db"
    store_module._open(path).conn.close()
    return path.read_bytes()


@pytest.fixture(autouse=True)
def _migrated_once(migrated: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each new database a copy: the migrations, which tests/data goes through, take as long as many a test."""
    opened = store_module._open

    def copied(path: Path) -> Database:
        with suppress(OSError):  # which is then the opening's to tell
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(migrated)
        return opened(path)

    monkeypatch.setattr(store_module, "_open", copied)


_DRAWN: dict[str, bytes] = {}


@pytest.fixture(autouse=True)
def _drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw each picture and each curve once for all tests: half a second for every training that ends, in hundreds of them."""

    def once(draw: Callable[..., bytes]) -> Callable[..., bytes]:
        def drawn(*args: object, **kwargs: object) -> bytes:
            key = repr((draw.__name__, args, kwargs))
            if key not in _DRAWN:
                _DRAWN[key] = draw(*args, **kwargs)
            return _DRAWN[key]

        return drawn

    monkeypatch.setattr(pictures, "predictions", once(pictures.predictions))
    monkeypatch.setattr(cards, "draw_curve", once(cards.draw_curve))


@pytest.fixture
def executor() -> ScriptedExecutor:
    """An executor that trains nothing."""
    return ScriptedExecutor()


@pytest.fixture
async def filled(store: Store) -> Store:
    """A store with three accounts: ann and bob with enough posts, and few with too few."""
    for handle, count, seed in (("ann", 150, 1), ("bob", 150, 2), ("few", 10, 3)):
        await store.write(store_account, handle, made_up_tweets(count, seed))
    return store
