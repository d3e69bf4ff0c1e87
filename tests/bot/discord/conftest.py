"""A bot with everything real but the trainer, the speaker and Discord itself."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import discord
import pytest
import pytest_asyncio
from simcord import Env

from bot.app import Mynah
from bot.faces.discord.bot import MynahBot
from bot.settings import Secrets, load_settings
from data import jobs
from data.tweets import Tweet
from tests import discord_contract
from tests.conftest import store_account
from trainer import protocol

SECONDS = 60.0  # by which whatever a test waits for has come, on a slow machine
WORDS = "lamp tide gull rope stair fog bell glass stone wick"


class FakeRun:
    """A training whose events a test sends."""

    process_group = 999_999_999  # of nobody
    process_started = 0

    def __init__(self, job: protocol.Job) -> None:
        self.job = job
        self._events: asyncio.Queue[protocol.Event] = asyncio.Queue()

    def say(self, *events: protocol.Event) -> None:
        for event in events:
            self._events.put_nowait(event)

    def done(self, **changes: Any) -> None:
        weights = Path(self.job.output) / "adapter.safetensors"
        weights.parent.mkdir(parents=True, exist_ok=True)
        content = b"weights of " + self.job.id.encode()
        weights.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        result = {
            "loss_before": 4.25,
            "loss_after": 3.125,
            "seconds": 83.0,
            "samples": ["the *lamp* is lit ||tonight||", "ask @everyone"],
            "details": {},
        }
        self.say(
            protocol.Step(100, 100, 2.5, 1200.0, 0.0),
            protocol.Done(weights=str(weights), sha256=digest, bytes=len(content), **result | changes),
        )

    async def events(self) -> AsyncIterator[protocol.Event]:
        while True:
            event = await self._events.get()
            yield event
            if isinstance(event, protocol.Done | protocol.Failed):
                return

    async def cancel(self) -> None:
        self.say(protocol.Failed(protocol.CANCELLED, "Cancelled."))


class FakeExecutor:
    """Runs nothing."""

    def __init__(self) -> None:
        self.runs: list[FakeRun] = []

    async def lacks(self) -> str | None:
        return None

    async def start(self, jobs: Sequence[protocol.Job]) -> list[FakeRun]:
        runs = [FakeRun(job) for job in jobs]
        self.runs += runs
        return runs

    async def close(self) -> None:
        pass

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass


def unlike(number: int, words: int) -> str:
    """Return a line of so many words after its first three, which no other number's repeats."""
    letters = f"{chr(97 + number % 26)}{chr(97 + (5 * number + number // 26) % 26)}"
    return f"line {number} of " + " ".join(letters[place % 2] * 9 for place in range(words))


@dataclass
class FakeSpeaker:
    """Says what it was given, in a circle; each line is less likely than the one before, so that this is the order of the answer."""

    lines: list[str] = field(default_factory=lambda: [unlike(number, 2) for number in range(40)])
    closed: bool = False

    async def speak(self, request: protocol.SpeechRequest) -> AsyncIterator[protocol.Line]:
        for index in range(request.count):
            text = self.lines[index % len(self.lines)]
            yield protocol.Line(request.id, index, f"{request.prompt} {text}".strip(), complete=True, log_likelihood=-10.0 - index)

    async def close(self) -> None:
        self.closed = True


def posts(handle: str, number: int = 150) -> list[Tweet]:
    """Enough posts to train on, no two alike."""
    words = WORDS.split()
    return [
        Tweet(
            id=f"{handle}-{n}",
            created_at=None,
            text=f"{handle} number {n}: the {words[n % 10]} and the {words[n // 10 % 10]} keep the night",
        )
        for n in range(number)
    ]


@dataclass
class Stage:
    """What a test plays on."""

    app: Mynah
    executor: FakeExecutor
    speaker: FakeSpeaker
    env: Env
    channel: Any
    alice: Any
    bob: Any
    boss: Any

    async def until(self, true: Callable[[], bool], what: str) -> None:
        """Wait for something that the queue's side does in its own time."""
        async with asyncio.timeout(SECONDS):
            while not true():
                await self.app.store.changed()
        assert true(), what

    async def run(self, number: int = 1) -> FakeRun:
        """Return the nth training once it has begun."""
        await self.until(lambda: len(self.executor.runs) >= number, "a training begins")
        return self.executor.runs[number - 1]

    async def recorded(self, job: int, count: int) -> None:
        """Wait until so many events of a job are in the database."""
        async with asyncio.timeout(SECONDS):
            while len(await self.app.store.read(jobs.events_after, job)) < count:
                await self.app.store.changed()

    async def train(self, handle: str = "keeper") -> None:
        """Train a voice without anybody watching."""
        number = len(self.executor.runs) + 1
        wanted = await self.app.training.request([handle], by="operator")
        (await self.run(number)).done()
        await self.app.training.result(wanted.job.id)

    async def asks(self, member: Any, handles: str, *, slash: bool = False) -> Any:
        """Have a member ask for a training and say yes; return what the slash command shows in private, or the message."""
        if slash:
            result = await member.slash(self.channel, "train", handles=handles)
            await member.click(result.response, label="Train")
            return result
        await member.send(self.channel, f"!train {handles}")
        await member.click(self.history[-1], label="Train")
        return self.history[-1]

    def sent(self, method: str, ending: str = "") -> list[Any]:
        """Return the requests of the bot so far."""
        return [request for request in self.env.http_requests if request.method == method and request.path.endswith(ending)]

    @property
    def history(self) -> list[discord.Message]:
        """What the bot has in the channel, oldest first."""
        return [message for message in self.channel.history() if message.author.id == self.env.bot.user.id]


def approve_in(stage: Stage, channel: int) -> None:
    """Have posts approved in a channel of Discord."""
    x = stage.app.settings.x.model_copy(update={"approval_channel": channel})
    stage.app.settings = stage.app.settings.model_copy(update={"x": x})


def block(stage: Stage, *members: Any) -> None:
    """Let the operator's list hold these, as after a restart with another config.toml."""
    changed = stage.app.settings.discord.model_copy(update={"blocked_users": frozenset(member.id for member in members)})
    stage.app.settings = stage.app.settings.model_copy(update={"discord": changed})


@asynccontextmanager
async def mynah(folder: Path, **discord_settings: str | int) -> AsyncIterator[Mynah]:
    """All of Mynah with two accounts' posts, leading and working, in a folder of its own."""
    file = folder / "config.toml"
    lines = [f"{name} = {json.dumps(value)}" for name, value in discord_settings.items()]
    file.write_text("\n".join(['data_dir = "var"', "[trainer]", 'base = "tiny"', "[discord]", *lines]))
    async with Mynah(load_settings(file), Secrets(), FakeExecutor(), FakeSpeaker()) as app:
        for handle in ("keeper", "gull"):
            await app.store.write(store_account, handle, posts(handle))
        assert app.lead.take()
        async with app.working():
            yield app


@pytest.fixture(autouse=True)
def _every_step_counts(monkeypatch):
    """Let no event of a trainer be dropped for coming soon after another."""
    monkeypatch.setattr("bot.services.orders.STEP_SECONDS", 0.0)


@pytest_asyncio.fixture
async def app(tmp_path):
    async with mynah(tmp_path) as running:
        yield running


@pytest.fixture
def simcord_bot(app):
    return MynahBot(app, prefix_commands=True)


@pytest_asyncio.fixture
async def env(simcord_env):
    simcord_env.settle_timeout = SECONDS  # the first drawing of a curve takes longer than its 5 s on a busy machine
    yield simcord_env
    assert discord_contract.left_open(simcord_env.http_requests) == []
    if discord_contract.available():
        assert discord_contract.breaches(simcord_env.http_requests) == []


@pytest_asyncio.fixture
async def stage(app, env):
    async def fetched(url: str, name: str, folder: Path, _: int) -> Path:
        path = folder / f"{len(list(folder.glob('*')))}" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(env.backend.cdn.get(url))
        return path

    env.bot.download = fetched  # what is at that address is in memory
    guild = env.create_guild("Lighthouse")
    bosses = guild.create_role("Boss", permissions=discord.Permissions(manage_guild=True))
    return Stage(
        app,
        app.training._lanes[0].executor,
        app.speaking._speaker,
        env,
        guild.create_text_channel("lamp-room"),
        guild.add_member(env.create_user("alice")),
        guild.add_member(env.create_user("bob")),
        guild.add_member(env.create_user("boss"), roles=[bosses]),
    )
