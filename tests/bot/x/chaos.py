"""A process that posts a virtual month and is killed on the way: its clock and its outbox are on the disk, all else dies with it."""

import asyncio
import os
import random
import signal
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from sqlite_utils import Database

from bot.services import posting as posting_module
from bot.services.posting import Posting
from bot.settings import X
from data import outbox
from data.outbox import DEFAULT_ACCOUNT, Post, State
from data.store import Store
from tests.bot.x.rows import VOICE, add_voice, sender_to

START = datetime(2027, 2, 1, tzinfo=UTC)
MONTH = timedelta(days=28)
ACCOUNTS = (DEFAULT_ACCOUNT, "news")
SETTINGS = X(look_at_own_posts=True, look_after_seconds=120, look_daily_cap=1000, daily_cap=1000, monthly_cap=10_000, accounts={"news": {}})
AGAIN = " Once more."
#: What a person does with every tenth post, by its number: the others are approved.
REJECTED, LEFT = 3, 7
#: The writes that change what an outbox says, by what they are told.
WRITES: dict[str, Callable[..., str]] = {
    "_draft": lambda *_: "draft",
    "_approve": lambda *_: "approve",
    "_decide": lambda _, state, *__: f"person: {state}",
    "_take": lambda *_: "sending",
    "_duplicate": lambda *_: "refused: failed",
    "_refuse": lambda _, state, *__: f"refused: {state}",
    "change": lambda _, state, **__: "posted" if state is State.POSTED else "not found",
    "note": lambda *_, **__: "unsure",
    "ask_person": lambda *_, **__: "asked",
    "reserve": lambda kind, *_, **__: f"reserve {kind}",
    "settle": lambda *_: "settle",
}
PHASES = ("before", "within", "after")


class DiskClock:
    """A virtual time that outlives its processes, and that the server reads, too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            self._write(0.0)

    def __call__(self) -> datetime:
        """Return the virtual moment."""
        return START + timedelta(seconds=struct.unpack("d", self._path.read_bytes())[0])

    def pass_(self, seconds: float) -> None:
        """Let time pass."""
        self._write((self() - START).total_seconds() + seconds)

    def _write(self, seconds: float) -> None:
        fresh = self._path.with_suffix(".fresh")
        fresh.write_bytes(struct.pack("d", seconds))
        fresh.replace(self._path)


@dataclass(frozen=True)
class Death:
    """When a process is to die: at the first of some places, once a virtual time has come, or somewhere soon after the last time."""

    places: frozenset[str]
    """Each `PHASE WRITE`."""
    from_: float
    """Virtual seconds since the start."""
    until: float


class Mortal(Store):
    """A store whose process may die before, within or after a write."""

    def __init__(self, path: Path, death: Death | None, clock: DiskClock, record: Path) -> None:
        super().__init__(path)
        self._death = death
        self._clock = clock
        self._record = record
        self._dying = False

    def _maybe_die(self, place: str) -> None:
        if self._death is None or self._dying:
            return
        passed = (self._clock() - START).total_seconds()
        if passed >= self._death.from_ and place in self._death.places:
            die(self._record, place)
        if passed >= self._death.until:
            self._dying = True  # at any instruction of the next moments
            threading.Thread(target=_die_later, args=[self._record, random.uniform(0, 0.03)], daemon=True).start()

    async def write(self, work: Callable[..., Any], *args: Any, **more: Any) -> Any:  # type: ignore[override]
        """Run `work` in one transaction, if the process lives to see its end."""
        within_a_check = [number for number, one in enumerate(args) if callable(one)]  # of what was seen, which a decision stands in
        inner, rest = (args[within_a_check[0]], args[within_a_check[0] + 1 :]) if within_a_check else (work, args)
        told = WRITES.get(inner.__name__)
        name = told(*rest, **more) if told else inner.__name__

        def within(db: Any) -> Any:
            result = work(db, *args, **more)
            self._maybe_die(f"within {name}")
            return result

        self._maybe_die(f"before {name}")
        result = await super().write(within)
        self._maybe_die(f"after {name}")
        return result


def die(record: Path, place: str) -> None:
    """Kill this process as `kill -9` does, and leave a line that says where."""
    with record.open("a") as file:
        file.write(place + "\n")
    os.kill(os.getpid(), signal.SIGKILL)


def _die_later(record: Path, seconds: float) -> None:
    time.sleep(seconds)
    die(record, "anywhere")


def text_of(number: int) -> str:
    """Return what a post says."""
    return f"Tide {number}: low & <high> water, {number % 17} feet."


def number_of(text: str) -> int:
    """Return which post says that."""
    return int(text.split()[1].rstrip(":"))


class Person:
    """Writes the drafts as their times come, decides about each, and settles what Mynah is not sure of."""

    def __init__(self, posting: Posting, store: Store, clock: DiskClock, count: int, url: str) -> None:
        self._posting, self._store, self._clock, self._count, self._url = posting, store, clock, count, url
        self._next = 0

    async def begin(self) -> None:
        """Find out what was drafted before."""
        drafted = await self._posting.listed(1_000_000)
        self._next = 1 + max((number_of(post.text) for post in drafted), default=-1)

    @property
    def next_at(self) -> datetime | None:
        """When the next draft is written; None: none is left."""
        return START + MONTH * self._next / self._count if self._next < self._count else None

    async def act(self) -> None:
        """Do all that is to be done now."""
        while self.next_at and self._clock() >= self.next_at:
            number, self._next = self._next, self._next + 1
            await self._posting.draft(VOICE, None, text_of(number), "a schedule", account=ACCOUNTS[number % len(ACCOUNTS)])
        for post in await self._store.read(outbox.in_state, State.DRAFT):
            if number_of(post.text) % 10 == REJECTED:
                await self._posting.reject(post.id, "ann", "dull")
            elif number_of(post.text) % 10 != LEFT:
                await self._posting.approve(post.id, "ann")
        for state in (State.FAILED, State.SENDING):
            for post in await self._store.read(outbox.in_state, state):
                if post.awaits_person:
                    await self._settle(post)

    async def _settle(self, post: Post) -> None:
        """Mend what was wrong and have it sent, or look with a person's own eyes first."""
        wanted = {"account": str(ACCOUNTS.index(post.account or "") + 1), "text": post.text}
        there = await asyncio.to_thread(requests.get, f"{self._url}/eyes", params=wanted, timeout=10)
        if post.status is State.SENDING and there.json():
            await self._posting.confirm(post.id, "ann")
        else:
            await self._posting.approve(post.id, "ann")

    async def done(self) -> bool:
        """Say whether the month is over and everything is settled."""
        return self.next_at is None and not await self._store.read(posting_module._heads, timedelta(days=365), self._clock())


async def post_all(folder: Path, url: str, count: int, death: Death | None) -> None:
    """Go on with the month where the process before was killed."""
    clock = DiskClock(folder / "clock")
    async with Mortal(folder / "mynah.db", death, clock, folder / "deaths") as store:
        await store.write(add_voice)
        senders = {name: sender_to(store, url, name, settings=SETTINGS, clock=clock, patience=0.25) for name in ACCOUNTS}
        posting = Posting(store, senders, settings=SETTINGS, clock=clock)

        def again(db: Database, post: Post) -> bool:
            outbox.add_draft(db, voice=post.voice, schedule=None, text=post.text + AGAIN, who="a schedule", to=post.destination)
            return True

        posting.again = again
        person = Person(posting, store, clock, count, url)
        await person.begin()
        await posting.recover()
        while not await person.done():
            await person.act()
            if await posting.send_next():
                if any(post.status is State.SENDING for post in await store.read(outbox.unsettled, START, clock())):
                    await asyncio.sleep(0.05)  # of real time: what left this process arrives within the virtual minutes before a look
                continue
            pending = await store.read(outbox.unsettled, START - MONTH, clock())
            ahead = (person.next_at - clock()).total_seconds() if person.next_at else 60.0
            clock.pass_(min(60.0, max(ahead, 1.0)) if pending else max(ahead, 1.0))


def run(folder: str, url: str, count: int, death: Death | None) -> None:
    """Be that process."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)  # the log
    asyncio.run(post_all(Path(folder), url, count, death))
