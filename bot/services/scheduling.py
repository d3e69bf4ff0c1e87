"""Scheduling: when a voice is to write a post; the table `schedules` is the truth, and APScheduler only keeps its time."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlite_utils import Database

from bot.errors import BadRequestError, MynahError, NotStoredError, StoreError
from bot.services.times import GRACE, first_time, next_times, seconds_of, trigger_of, zone_of
from data import models, outbox
from data.handles import voice_name
from data.outbox import Schedule
from data.store import Store

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
log = structlog.get_logger()


@dataclass(frozen=True)
class Planned:
    """A schedule, and the next times at which it fires."""

    schedule: Schedule
    times: list[datetime]
    """In the schedule's own time zone."""


class Scheduling:
    """Takes schedules from any process, and fires them in the one that leads."""

    def __init__(
        self, store: Store, draft: Callable[[Schedule], Awaitable[None]], *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Make the service.

        Args:
            store: where the schedules lie.
            draft: writes a line for a schedule and puts it into the outbox.
            clock: this instant; APScheduler's own timers go by the system's clock.
        """
        self._store = store
        self._draft = draft
        self._clock = clock
        self._loaded: dict[str, Schedule] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def add(
        self, name: str, voice: str, *, every: str | None = None, cron: str | None = None, timezone: str = "UTC", by: str
    ) -> Planned:
        """Store a schedule, by `every` (90s, 30m, 6h, 1d) or by `cron` (five fields), and return it with its next times.

        Raises:
            BadRequestError: the name, the times or the time zone are off.
            BadHandleError, NotStoredError: there is no such voice.
            WrongStateError: there is a schedule of this name.
        """
        if (every is None) == (cron is None):
            raise BadRequestError("Give either `every` (such as 6h) or `cron` (such as 0 9 * * 1-5).")
        kind, expression = ("every", str(seconds_of(every))) if every is not None else ("cron", " ".join((cron or "").lower().split()))
        created = self._clock()
        schedule = Schedule(
            name=_name(name),
            voice=voice_name(voice.split("-")),
            kind=kind,
            expression=expression,
            timezone=zone_of(timezone).key,
            created_by=by,
            created_at=created.astimezone(UTC).isoformat(timespec="microseconds"),
            last_run_at=None,
        )
        times = next_times(schedule, created)
        if not times:
            raise BadRequestError(f"The times {expression} never come: check the day and the month.")
        await self._store.write(_add, schedule)
        log.info("schedule added", schedule=schedule.name, voice=schedule.voice, by=by)
        return Planned(schedule, times)

    async def remove(self, name: str) -> None:
        """Delete a schedule; its posts stay.

        Raises:
            NotStoredError: there is none of this name.
        """
        await self._store.write(outbox.remove_schedule, name.strip().lower())

    async def listed(self) -> list[Planned]:
        """Return all schedules by name, each with its next three times."""
        found = []
        for schedule in await self._store.read(outbox.schedules):
            with suppress(BadRequestError):  # a row that no command wrote; the log names it
                found.append(Planned(schedule, next_times(schedule, self._clock())))
        return found

    async def run_forever(self) -> None:
        """Fire schedules until cancelled, following the table; call this only while leading."""
        # UTC, because it would otherwise guess this machine's zone, and fail in containers that have none.
        scheduler = AsyncIOScheduler(timezone=UTC)
        self._loaded = {}
        scheduler.start()
        try:
            while True:
                with suppress(StoreError):
                    self._follow(scheduler, await self._store.read(outbox.schedules))
                # Its timer counts the seconds this machine was awake; asking it each round makes it see a suspend or a new clock.
                scheduler.wakeup()
                await self._store.changed()
        finally:
            scheduler.shutdown(wait=False)  # which happens in the loop's next round
            await asyncio.sleep(0)
            running = list(self._running)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _follow(self, scheduler: AsyncIOScheduler, rows: list[Schedule]) -> None:
        """Make the scheduler's jobs those of the table."""
        wanted = {row.name: row for row in rows}
        for name in [name for name, old in self._loaded.items() if name not in wanted or not _same(old, wanted[name])]:
            del self._loaded[name]
            if scheduler.get_job(name):
                scheduler.remove_job(name)
        for name in wanted.keys() - self._loaded.keys():
            schedule = self._loaded[name] = wanted[name]
            try:
                trigger, first = trigger_of(schedule), first_time(schedule, self._clock())
            except BadRequestError as error:
                log.warning("a schedule is left out", schedule=name, error=str(error))
                continue
            if first:
                scheduler.add_job(
                    self._fire,
                    trigger,
                    args=[name],
                    id=name,
                    next_run_time=first,
                    coalesce=True,
                    max_instances=1,
                    misfire_grace_time=int(GRACE.total_seconds()) + 1,
                )

    async def _fire(self, name: str) -> None:
        """Draft once for a schedule; whatever goes wrong, the next time comes."""
        task = asyncio.current_task()
        if task is None:  # cannot be, and mypy cannot know
            return
        self._running.add(task)
        try:
            # Before the draft is made: a crash in between costs one draft, where the other order could make the same one for ever.
            schedule = await self._store.write(_mark_run, name)
            if await self._store.read(outbox.paused):  # else all that fell due meanwhile would be posted at its end
                log.info("a schedule is passed over: posting is paused", schedule=name)
                return
            await self._draft(schedule)
        except NotStoredError:
            log.info("a schedule was removed as it fired", schedule=name)
        except MynahError as error:
            log.warning("a schedule made no draft", schedule=name, error=str(error))
        except asyncio.CancelledError:
            log.info("a draft was cut off by the end", schedule=name)
        except Exception:
            log.exception("a schedule broke", schedule=name)
        finally:
            self._running.discard(task)


def _same(old: Schedule, new: Schedule) -> bool:
    """Say whether two rows have the same times; `last_run_at` changes with every run."""
    return (old.kind, old.expression, old.timezone, old.created_at) == (new.kind, new.expression, new.timezone, new.created_at)


def _add(db: Database, schedule: Schedule) -> None:
    models.current(db, schedule.voice)
    outbox.add_schedule(db, schedule)


def _mark_run(db: Database, name: str) -> Schedule:
    for schedule in outbox.schedules(db):
        if schedule.name == name:
            outbox.mark_run(db, name)
            return schedule
    raise NotStoredError(f"There is no schedule {name}.")


def _name(text: str) -> str:
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        raise BadRequestError("A schedule's name has 1 to 32 letters, digits, - or _, and begins with a letter or a digit.")
    return name
