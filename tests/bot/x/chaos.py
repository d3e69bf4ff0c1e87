"""A process whose schedules post for a virtual month, and that is killed on the way: its clock and its database outlive it."""

import asyncio
import os
import random
import signal
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from sqlite_utils import Database

from bot.services.posting import Posting
from bot.services.scheduling import Scheduling, Spec
from bot.settings import X
from data import outbox, schedules
from data.outbox import DEFAULT_ACCOUNT, Post, State
from data.schedules import Schedule
from data.store import Store
from tests.bot.x.rows import VOICE, add_model, sender_to

START = datetime(2100, 2, 1, tzinfo=UTC)  # after any real moment, which rows are stamped with
MONTH = timedelta(days=28)
ACCOUNTS = (DEFAULT_ACCOUNT, "news")
SETTINGS = X(look_at_own_posts=True, look_after_seconds=120, look_daily_cap=1000, daily_cap=1000, monthly_cap=10_000, accounts={"news": {}})
#: What writes for each account, by its schedule's name; ahead by more than a moment may be drawn later, so always within the month.
SCHEDULES = {"tides": Spec(account=DEFAULT_ACCOUNT), "weather": Spec(account="news", jitter="30m", ahead="1h")}
#: What anything takes, in virtual seconds: no two things fall on one instant, nor on a schedule's time.
MOMENT = 1.001
#: What a person does with every tenth post of a schedule, by its number: the others are approved.
REJECTED, LEFT = 3, 7
#: The writes that change what schedules and the outbox say, by what they are told.
WRITES: dict[str, Callable[..., str]] = {
    "Scheduling._take": lambda *_: "take up",
    "_begin": lambda *_: "begin",
    "Scheduling._finish": lambda *_: "finish",
    "Posting._approve": lambda *_: "approve",
    "_decide": lambda _, state, *__: f"person: {state}",
    "_take": lambda *_: "sending",
    "Posting._duplicate": lambda *_: "refused: failed",
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
        told = WRITES.get(inner.__qualname__)
        name = told(*rest, **more) if told else inner.__name__

        changed = False  # a time that is not due yet is no place

        def within(db: Any) -> Any:
            nonlocal changed
            before = db.conn.total_changes
            result = work(db, *args, **more)
            if changed := db.conn.total_changes != before:
                self._maybe_die(f"within {name}")
            return result

        self._maybe_die(f"before {name}")
        result = await super().write(within)
        if changed:
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


def every(count: int) -> int:
    """Return the seconds between two times of a schedule, so that all of them write so many posts in the month."""
    return int(MONTH.total_seconds()) // (count // len(SCHEDULES))


def text_of(schedule: str, number: int) -> str:
    """Return what a post says."""
    return f"{schedule.title()} {number}: low & <high> water, {number % 17} feet."


def number_of(text: str) -> int:
    """Return which post of its schedule says that."""
    return int(text.split()[1].rstrip(":"))


class Voice:
    """Says what no post says yet."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._said: dict[str, int] = {}

    async def speak(self, schedule: Schedule) -> str:
        """Return the next text of a schedule."""
        stored = await self._store.read(_last_number, schedule.name)
        number = self._said[schedule.name] = max(stored, self._said.get(schedule.name, -1)) + 1
        return text_of(schedule.name, number)


def _last_number(db: Database, schedule: str) -> int:
    return max((number_of(row["text"]) for row in db.query("SELECT text FROM posts WHERE schedule = ?", [schedule])), default=-1)


class Person:
    """Makes the schedules, decides about each draft, settles what Mynah is not sure of, and stops the schedules after the month."""

    def __init__(self, posting: Posting, scheduling: Scheduling, store: Store, clock: DiskClock, url: str) -> None:
        self._posting, self._scheduling, self._store, self._clock, self._url = posting, scheduling, store, clock, url

    async def begin(self, count: int) -> None:
        """Make the schedules that are not there yet."""
        known = {schedule.name for schedule in await self._store.read(schedules.listed)}
        for name in SCHEDULES.keys() - known:
            await self._scheduling.add(name, VOICE, replace(SCHEDULES[name], every=f"{every(count)}s"), by="ann", operator=True)

    async def act(self) -> None:
        """Do all that is to be done now."""
        if self._clock() >= START + MONTH:
            for name in SCHEDULES:
                await self._scheduling.pause(name, "ann")
        for post in await self._store.read(_undecided):
            if post.awaits_person:
                await self._settle(post)
            elif number_of(post.text) % 10 == REJECTED:
                await self._posting.reject(post.id, "ann", "dull")
            elif number_of(post.text) % 10 != LEFT:
                await self._posting.approve(post.id, "ann")

    async def _settle(self, post: Post) -> None:
        """Mend what was wrong and have it sent, or look with a person's own eyes first."""
        wanted = {"account": str(ACCOUNTS.index(post.account or "") + 1), "text": post.text}
        there = await asyncio.to_thread(requests.get, f"{self._url}/eyes", params=wanted, timeout=10)
        if post.status is State.SENDING and there.json():
            await self._posting.confirm(post.id, "ann")
        else:
            await self._posting.approve(post.id, "ann")


def _undecided(db: Database) -> list[Post]:
    return [*outbox.in_state(db, State.DRAFT), *outbox.awaiting(db)]


def _settled(db: Database) -> bool:
    underway = [post for state in (State.APPROVED, State.SENDING) for post in outbox.in_state(db, state)]
    return not [*schedules.due(db), *underway, *outbox.awaiting(db)]


def _ensure_model(db: Database) -> None:
    if not db["models"].count:
        add_model(db)


async def post_all(folder: Path, url: str, count: int, death: Death | None) -> None:
    """Go on with the month where the process before was killed."""
    clock = DiskClock(folder / "clock")
    async with Mortal(folder / "mynah.db", death, clock, folder / "deaths") as store:
        await store.write(_ensure_model)
        senders = {name: sender_to(store, url, name, settings=SETTINGS, clock=clock, patience=0.25) for name in ACCOUNTS}
        posting = Posting(store, senders, settings=SETTINGS, clock=clock)
        scheduling = Scheduling(store, Voice(store).speak, posting, SETTINGS, clock=clock)
        posting.again = scheduling.again
        person = Person(posting, scheduling, store, clock, url)
        await person.begin(count)
        clock.pass_(MOMENT)
        await posting.recover()
        wake: datetime | None = clock()
        while True:
            if (wake and clock() >= wake) or await store.read(schedules.due):
                wake = await scheduling.step()
            await person.act()
            if clock() >= START + MONTH and await store.read(_settled):
                return
            if await posting.send_next():
                if any(post.status is State.SENDING for post in await store.read(outbox.unsettled, START, clock())):
                    await asyncio.sleep(0.05)  # of real time: what left this process arrives within the virtual minutes before a look
                clock.pass_(MOMENT)
                continue
            clock.pass_(MOMENT + await store.read(_idle, clock(), wake))


def _idle(db: Database, now: datetime, wake: datetime | None) -> float:
    """Return for how many virtual seconds nothing is to be done: no time of a schedule, no post's own, no other try."""
    own = [post.not_before for post in outbox.in_state(db, State.APPROVED)]
    next_ = [wake, START + MONTH, *(datetime.fromisoformat(moment) for moment in own if moment)]
    if outbox.unsettled(db, START - MONTH, now):
        next_.append(now + timedelta(minutes=1))
    return min(((moment - now).total_seconds() for moment in next_ if moment and moment > now), default=0.0)


def run(folder: str, url: str, count: int, death: Death | None) -> None:
    """Be that process."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)  # the log
    asyncio.run(post_all(Path(folder), url, count, death))
