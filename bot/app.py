"""Builds and owns all parts of Mynah, and starts and stops them in order."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any, Self, TypeVar

import structlog
from sqlite_utils import Database

from bot.executors.local import LocalExecutor
from bot.executors.port import Executor
from bot.executors.ray import RayExecutor, cluster_of
from bot.executors.speaker import Speaker
from bot.lock import Lead
from bot.services import tracking
from bot.services.blocklist import Blocklist
from bot.services.garbage import collect_daily
from bot.services.mentions import Mentions
from bot.services.posting import Posting
from bot.services.precedence import Precedence
from bot.services.reading import Reading
from bot.services.scheduling import Scheduling
from bot.services.speaking import Speaking
from bot.services.spending import Budget
from bot.services.tracking import Tracking
from bot.services.training import Training
from bot.settings import Secrets, Settings
from bot.trackers.child import ChildTracker
from bot.x.port import XClient, XReader
from data import speech
from data.outbox import Post
from data.schedules import Schedule
from data.speech import Purpose
from data.spending import Kind
from data.store import Store

T = TypeVar("T")
LOCK_SECONDS = 0.5
log = structlog.get_logger()


def executors_of(settings: Settings) -> list[Executor]:
    """Return the places in which trainings run, as the settings say: nodes of a cluster, each of several GPUs, or this machine."""
    wanted = settings.trainer
    logs = (settings.data_dir / (f"trainer-{number}.log" if number > 1 else "trainer.log") for number in count(1))
    if wanted.executor == "ray":
        return [RayExecutor(next(logs), cluster_of(wanted.ray)) for _ in range(wanted.ray.tasks)]
    return [LocalExecutor(next(logs), gpu=gpu) for gpu in wanted.gpus or [""]]


def beside_the_speaker(executors: Sequence[Executor], settings: Settings) -> Sequence[Executor]:
    """Return the executors that are to stand still while lines are drawn: not those whose GPU is none of the speaker's."""
    gpus, its = settings.trainer.gpus, settings.speaker.gpu
    return [one for one, gpu in zip(executors, gpus, strict=True) if gpu == its] if gpus and its else executors


class Mynah:
    """All parts, as one asynchronous context.

    A command that only writes rows and waits runs beside the bot; `lead_until` does the work itself while nobody else does.
    """

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        executor: Executor | None = None,
        speaker: Speaker | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Make all parts; those that post go by `clock`."""
        self.clock = clock
        self.settings = settings
        self.secrets = secrets
        self.store = Store(settings.database)
        self.lead = Lead(settings.data_dir / "mynah.lock")
        executors = [executor] if executor else executors_of(settings)
        self.tracking = Tracking(settings, self._tracker())
        self.training = Training(self.store, settings, *executors, tracking=self.tracking)
        wanted = settings.speaker
        options = ("--memory", str(wanted.memory_mib), "--precision", wanted.precision)
        speaker = speaker or Speaker(settings.data_dir / "speaker.log", timeout=wanted.timeout_seconds, options=options, gpu=wanted.gpu)
        self.speaking = Speaking(self.store, settings, speaker, Precedence(*beside_the_speaker(executors, settings)).wanted)
        self.budget = Budget(self.store, settings.x, clock=clock)
        self.reading = Reading(self.store, settings, self.budget, self._reader)
        self.posting = Posting(self.store, settings=settings.x, blocklist=Blocklist(settings.safety.blocklist), clock=clock)
        self.scheduling = Scheduling(self.store, self._line, self.posting, settings.x, clock=clock, may_spend=self._no_money)
        self.posting.again = self.scheduling.again
        self.mentions = Mentions(
            self.store, self.posting, self.budget, settings.x, self._x_client, self._answer, own=self._own_accounts(), clock=clock
        )
        self.posting.regenerate = self._another
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.store)
        self._stack.enter_context(self.lead)
        self._stack.push_async_callback(self.tracking.close)
        self._stack.push_async_callback(self.speaking.close)
        self._stack.push_async_callback(self.reading.close)
        self._stack.push_async_callback(self.mentions.close)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def lead_until(self, goal: Coroutine[Any, Any, T]) -> T:
        """Wait for `goal`, doing the waiting work of trainings and speech here for as long as no other process does it."""
        wanted = asyncio.ensure_future(goal)
        try:
            while not wanted.done() and not self.lead.take():
                await asyncio.wait([wanted], timeout=LOCK_SECONDS)
            if not wanted.done():
                async with self.working() as work:
                    both: list[asyncio.Future[Any]] = [wanted, work]
                    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                    if work.done():  # the queues never end by themselves: this raises why they did
                        work.result()
            return await wanted
        finally:
            wanted.cancel()
            self.lead.give_up()

    @asynccontextmanager
    async def working(self, *, posting: bool = False) -> AsyncIterator[asyncio.Future[Any]]:
        """Run the queues of trainings and of speech, and with `posting` schedules, outbox and mentions; call only while leading.

        The future ends only if a queue fails.
        """
        if why := tracking.lacks(self.settings, self.secrets):
            log.warning("trainings are not tracked", why=why)
        await self.training.recover()
        await self.speaking.recover()
        queues = [self.training.run_forever(), self.speaking.run_forever()]
        if posting:
            await self.store.write(speech.forget_messages)  # of a process that was killed before it could
            await self.mentions.tidy()
            queues += [self.scheduling.run_forever(), self.posting.run_forever()]
            if self.settings.gc.daily:
                queues.append(collect_daily(self.store, self.settings))
            if self.mentions.on:
                queues.append(self.mentions.run_forever())
        tasks = [asyncio.ensure_future(queue) for queue in queues]
        work = asyncio.gather(*tasks)
        try:
            yield work
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)  # gather alone would return when the first of them has ended
            await asyncio.gather(work, return_exceptions=True)

    def _tracker(self) -> ChildTracker | None:
        wanted, key = self.settings.tracking, self.secrets.wandb_api_key
        if wanted.tracker == "none" or tracking.lacks(self.settings, self.secrets):
            return None
        greeting = wanted.model_dump(include={"mode", "project", "entity", "url"}) | {"folder": str(tracking.folder(self.settings))}
        command = (sys.executable, "-m", f"bot.trackers.to_{wanted.tracker}")
        secret = key.get_secret_value() if key else ""
        return ChildTracker(command, greeting, self.settings.data_dir / "tracker.log", secret=secret)

    def _reader(self) -> XReader:
        from bot.x.tweepy_reader import TweepyReader  # tweepy is slow to import, and few commands read

        return TweepyReader(self.secrets, api_url=self.settings.x.api_url)

    def _x_client(self) -> XClient:
        from bot.x.accounts import client_of  # as above

        return client_of(self.settings, self.secrets, self.settings.x.mentions.account)

    def _own_accounts(self) -> set[str]:
        tokens = (self.secrets.of_x(name).access_token for name in self.settings.x.every_account)
        return {token.get_secret_value().partition("-")[0] for token in tokens if token}

    async def _answer(self, text: str) -> str:
        """Have the voice that answers mentions answer one; what it answered is not kept."""
        asked = await self.speaking.request(self.settings.x.mentions.voice, by="answers", count=1, message=text, purpose=Purpose.POST)
        try:
            return (await self.speaking.answer(asked.id)).lines[0].text
        finally:
            await self.store.write(speech.forget_messages)

    def _no_money(self, db: Database) -> str | None:
        return self.budget.lacks(db, Kind.POSTS_WRITTEN)

    async def _line(self, schedule: Schedule) -> str:
        """Have a schedule's voice write a line."""
        return await self._said(schedule.voice, f"schedule {schedule.name}", schedule.prompt, schedule.creativity)

    async def _said(self, voice: str, by: str, prompt: str = "", temperature: float | None = None) -> str:
        asked = await self.speaking.request(voice, by=by, count=1, prompt=prompt, temperature=temperature, purpose=Purpose.POST)
        return (await self.speaking.answer(asked.id)).lines[0].text

    async def _another(self, post: Post) -> None:
        """Write a draft in the place of one that no schedule wrote, and whose text X has already."""
        if post.in_reply_to is not None:  # nobody is answered twice, and an answer to nobody is none
            return
        by = f"in the place of post {post.id}"
        await self.posting.draft(post.voice, None, await self._said(post.voice, by), by, account=post.account, channel=post.channel)
