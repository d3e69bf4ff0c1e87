"""Scheduling: when a voice is to write a post. The tables are the truth; APScheduler only keeps their time, and says when to look.

Each time of a schedule is taken up once, in a transaction that makes a row of it (`schedule_runs`) and moves the schedule on; only then
is anything written for it. So a crash, a clock that is set back and a second process find what was done, and what is still to be done.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby, islice, takewhile
from typing import Literal

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlite_utils import Database

from bot.errors import BadRequestError, MynahError, NotStoredError, StoreError
from bot.services import times
from bot.services.posting import SENDER, Posting
from bot.services.times import SCHEDULE_NAME, SHOWN_TIMES, Time, times_of
from bot.settings import X
from data import models, outbox, schedules, spending
from data.handles import voice_name
from data.outbox import Destination, Post, State
from data.schedules import Outcome, Run, Schedule
from data.store import Store, stamp

MAX_A_DAY = 1440
MAX_PROMPT = 280
PUNCTUAL = timedelta(minutes=1)  # a time is missed when it is longer ago than this
PRESSED = timedelta(seconds=10)  # within which two wishes for a draft are one that was sent twice
AGAIN = timedelta(minutes=1)  # a time that a pause or a limit holds up is looked at so often until it has come
TRIES = 3  # of a draft that Mynah was stopped or killed in
COUNTED = 1000  # missed times that are one row
LOOKED_AT = 10_000  # times, for the next three that a day has room for
KEPT = timedelta(days=90)  # that what became of a time is told; no step of the clock takes up one again that long ago
STORE_SECONDS = 5.0
WRONG_CLOCK = timedelta(days=1)  # a schedule that is settled further ahead was run by a clock that was wrong
log = structlog.get_logger()


@dataclass(frozen=True)
class Spec:
    """A schedule as people write it; exactly one of `every`, `cron` and `times` is given."""

    every: str | None = None
    """A span, such as 90s, 30m, 6h or 1d."""
    cron: str | None = None
    """Five fields, such as 0 9 * * 1-5."""
    times: str | None = None
    """Times of the day, such as `9:00, 18:30` or `mon-fri 9am, sat 10:30`."""
    timezone: str = "UTC"
    jitter: str = ""
    """A span within which the moment is drawn, after the time; empty: none."""
    quiet: str = ""
    """Hours such as 22:00-07:00, in which times are left out; empty: none."""
    max_a_day: int | None = None
    account: str | None = None
    """The X account that posts, by its name; None: the default one, unless there is a channel."""
    channel: int | None = None
    """Discord's id of the channel that it posts in; None: it posts on X."""
    prompt: str = ""
    creativity: float | None = None
    missed: Literal["once", "skip"] = "once"
    """What becomes of missed times: the newest is made up once, within the grace, or none is."""
    grace: str = "1h"
    ahead: str | None = None
    """The span by which a draft is written before its time; None: the settings'."""


@dataclass(frozen=True)
class Planned:
    """A schedule, its next times, and what became of the newest ones."""

    schedule: Schedule
    times: list[datetime]
    """Of the next three posts, in the schedule's own time zone; none while it is paused."""
    unattended: bool
    """Its posts go out without a person's yes."""
    runs: list[Run]
    """Newest first, at most ten."""


class Scheduling:
    """Takes schedules from any process, and fires them in the one that leads."""

    def __init__(
        self,
        store: Store,
        speak: Callable[[Schedule], Awaitable[str]],
        posting: Posting,
        settings: X | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        may_spend: Callable[[Database], str | None] = lambda _db: None,
    ) -> None:
        """Make the service.

        Args:
            store: where the schedules lie.
            speak: returns a line of a schedule's voice.
            posting: has the outbox.
            settings: who posts unattended, how far ahead drafts are written, and how many a day.
            clock: this instant; APScheduler's own timers go by the system's clock.
            may_spend: says why a post on X cannot be paid for, or None.
        """
        self._store = store
        self._speak = speak
        self._posting = posting
        self._settings = settings or X()
        self._clock = clock
        self._may_spend = may_spend
        self._loaded: dict[str, Schedule] = {}
        self._writing: dict[str, asyncio.Task[None]] = {}
        self._seen = clock()
        self._pruned: date | None = None

    # ---------------------------------------------------------------- what people ask for

    async def add(self, name: str, voice: str, spec: Spec, *, by: str, operator: bool = False, server: int | None = None) -> Planned:
        """Store a schedule, and return it with its next times.

        Args:
            name: what it is called: letters, digits, - and _.
            voice: whose posts it writes.
            spec: when, where and how.
            by: who made it.
            operator: it is the operator who asks, in the terminal; nobody else gets a name that the settings call unattended.
            server: Discord's id of where it was asked for.

        Raises:
            BadRequestError: the name or something of the spec is off.
            BadHandleError, NotStoredError: there is no such voice.
            WrongStateError: there is a schedule of this name.
        """
        name = _name(name)
        if name in self._settings.unattended and not operator:
            raise BadRequestError(f"The name {name} is kept for the operator: take another.")
        to, created = self._posting.destination(spec.account, spec.channel), self._clock()
        schedule = replace(_read(name, voice_name(voice.split("-")), spec, to, created), created_by=by, operator=operator, server=server)
        if not next(times_of(schedule, created), None):
            raise BadRequestError(f"The times {schedule.expression} never come: check the day, the month and the quiet hours.")
        await self._store.write(_add, schedule)
        log.info("schedule added", schedule=schedule.name, voice=schedule.voice, by=by)
        return await self.get(name)

    async def remove(self, name: str) -> None:
        """Delete a schedule; its posts stay.

        Raises:
            NotStoredError: there is none of this name.
        """
        await self._store.write(schedules.remove, _asked(name))

    async def pause(self, name: str, who: str) -> Planned:
        """Stop a schedule until it is resumed; drafts that it has written stay.

        Raises:
            NotStoredError: there is none of this name.
        """
        await self._store.write(schedules.pause, _asked(name), who, self._clock())
        log.info("schedule paused", schedule=_asked(name), by=who)
        return await self.get(name)

    async def resume(self, name: str, who: str) -> Planned:
        """Let a schedule go on; what fell into its pause is not made up.

        Raises:
            NotStoredError: there is none of this name.
            WrongStateError: it is not paused.
        """
        await self._store.write(schedules.resume, _asked(name), self._clock())
        log.info("schedule resumed", schedule=_asked(name), by=who)
        return await self.get(name)

    async def run_now(self, name: str, who: str) -> Run:
        """Have a schedule write a draft now, besides its times; the process that leads writes it.

        Neither its own pause, its quiet hours nor its most a day are in the way, for a person asked.

        Raises:
            NotStoredError: there is none of this name.
            BadRequestError: posting is paused, a limit of the operator's is used up, or it is running, or was run a moment ago.
        """
        return await self._store.write(self._run_now, _asked(name), who, self._clock())

    def again(self, db: Database, post: Post) -> bool:
        """Have the schedule of a post whose text its destination has already write another draft, whatever its own limits say.

        In whose transaction it is said that it has; False: no schedule wrote the post.
        """
        if post.schedule is None:
            return False
        now, why = self._clock(), f"the text of post {post.id} was there already"
        schedules.add_run(db, post.schedule, nominal=now, at=now, taken_at=now, outcome=Outcome.DUE, why=why, asked_by=SENDER)
        return True

    async def get(self, name: str) -> Planned:
        """Return one schedule.

        Raises:
            NotStoredError: there is none of this name.
        """
        return await self._store.read(self._planned_by_name, _asked(name), self._clock())

    async def listed(self) -> list[Planned]:
        """Return all schedules by name, each with its next three times."""
        found = []
        for schedule in await self._store.read(schedules.listed):
            with suppress(MynahError):  # a row that no command wrote, of which the log tells; or one that went meanwhile
                found.append(await self.get(schedule.name))
        return found

    def _planned_by_name(self, db: Database, name: str, now: datetime) -> Planned:
        schedule = schedules.get(db, name)
        return Planned(schedule, _upcoming(db, schedule, now), self._unattended(schedule), schedules.runs(db, name))

    def _run_now(self, db: Database, name: str, who: str, now: datetime) -> Run:
        schedule = schedules.get(db, name)
        if why := self._held(db, schedule, now, asked=True):
            raise BadRequestError(f"The schedule {name} writes nothing now: {why}.")
        wishes = [run for run in schedules.runs(db, name) if run.asked_by not in (None, SENDER)]
        if any(run.outcome is Outcome.DUE or now - datetime.fromisoformat(run.taken_at) < PRESSED for run in wishes):
            raise BadRequestError(f"The schedule {name} has just been run.")
        asked = f"{who} asked for it"
        run = schedules.add_run(db, name, nominal=now, at=now, taken_at=now, outcome=Outcome.DUE, why=asked, asked_by=who)
        if run is None:  # another one's, in the same microsecond
            raise BadRequestError(f"The schedule {name} has just been run.")
        return run

    # ------------------------------------------------------ in the process that leads

    async def run_forever(self) -> None:
        """Fire schedules until cancelled, following the table; call this only while leading."""
        # UTC, because it would otherwise guess this machine's zone, and fail in containers that have none.
        scheduler = AsyncIOScheduler(timezone=UTC)
        self._loaded = {}
        scheduler.start()
        try:
            while True:
                with suppress(StoreError):
                    self._follow(scheduler, await self._store.read(schedules.listed))
                    await self._tidy()
                    await self._write_due()
                # Its timer counts the seconds this machine was awake; asking it each round makes it see a suspend or a new clock.
                scheduler.wakeup()
                await self._store.changed()
        finally:
            scheduler.shutdown(wait=False)  # which happens in the loop's next round
            await asyncio.sleep(0)
            writing = list(self._writing.values())
            for task in writing:
                task.cancel()
            await asyncio.gather(*writing, return_exceptions=True)

    async def step(self) -> datetime | None:
        """Do all that is due by the clock, and return when there is something to do next; None: never.

        This is what `run_forever` does by and by, without APScheduler.
        """
        await self._tidy()
        wakes = [await self._take_up(schedule.name) for schedule in await self._store.read(schedules.listed)]
        await self._write_due()
        await asyncio.gather(*self._writing.values())
        return min((wake for wake in wakes if wake), default=None)

    def _follow(self, scheduler: AsyncIOScheduler, rows: list[Schedule]) -> None:
        """Make the scheduler's jobs those of the table; one that is new or was changed is looked at, at once."""
        now = self._clock()
        if now < self._seen:  # the clock was set back, so when to look next may be wrong
            self._loaded = {}
        self._seen = now
        wanted = {row.name: replace(row, settled_until=None) for row in rows}
        for name in [name for name in self._loaded if name not in wanted]:
            del self._loaded[name]
            if scheduler.get_job(name):
                scheduler.remove_job(name)
        for name, row in wanted.items():
            if self._loaded.get(name) != row:
                self._loaded[name] = row
                self._look(scheduler, name, now)

    def _look(self, scheduler: AsyncIOScheduler, name: str, moment: datetime) -> None:
        scheduler.add_job(
            self._fire,
            "date",
            args=[scheduler, name],
            id=name,
            replace_existing=True,
            run_date=moment,
            misfire_grace_time=None,  # how late is too late is the table's to say
        )

    async def _fire(self, scheduler: AsyncIOScheduler, name: str) -> None:
        """Take up what is due of a schedule, and have APScheduler look again when the next thing is."""
        try:
            wake = await self._take_up(name)
        except StoreError as error:
            log.warning("a schedule cannot be read", schedule=name, error=str(error))
            wake = self._clock() + AGAIN
        except Exception:  # APScheduler would forget it
            log.exception("a schedule broke", schedule=name)
            wake = self._clock() + AGAIN
        if wake and name in self._loaded:
            self._look(scheduler, name, wake)

    async def _take_up(self, name: str) -> datetime | None:
        """Take up a schedule's times that are due, and return when the next one is; None: never, as things stand."""
        try:
            wake, taken = await self._store.write(self._take, name, self._clock())
        except NotStoredError:
            return None
        except BadRequestError as error:  # a row that no command wrote
            log.warning("a schedule is left out", schedule=name, error=str(error))
            return None
        for run in taken:
            log.info("a time of a schedule", schedule=name, nominal=run.nominal, outcome=run.outcome, why=run.why)
        return wake

    def _take(self, db: Database, name: str, now: datetime) -> tuple[datetime | None, list[Run]]:
        """Make runs of a schedule's times that are due; return when to look again, and the runs."""
        schedule = schedules.get(db, name)
        if schedule.paused_at:
            return None, []
        ahead = timedelta(seconds=self._settings.ahead if schedule.ahead is None else schedule.ahead)
        settled = datetime.fromisoformat(schedule.settled_until or schedule.created_at)
        if settled > now + ahead + timedelta(seconds=schedule.jitter) + WRONG_CLOCK:
            # What was drafted by a clock that was wrong are rows, so no time comes twice.
            settled = now
            schedules.settle(db, name, settled)
        taken: list[Run | None] = []

        def take(time: Time, outcome: Outcome, why: str) -> None:
            nonlocal settled
            settled = time.nominal
            taken.append(schedules.add_run(db, name, nominal=settled, at=time.at, taken_at=now, outcome=outcome, why=why))
            schedules.settle(db, name, settled)

        # Of what is over, the newest alone may be made up. What a year brought is counted by thousands, each in its own transaction.
        past = list(islice(takewhile(lambda time: time.at <= now, times_of(schedule, settled)), COUNTED + 1))
        if earlier := past[:-1]:
            number = f"{len(earlier)} times from {earlier[0].at:%Y-%m-%d %H:%M} on were" if len(earlier) > 1 else "It was"
            take(earlier[-1], Outcome.MISSED, f"{number} missed: Mynah was not at work, or the clock jumped")
        if len(past) > COUNTED:
            return now, [run for run in taken if run]
        for time in past[-1:]:
            take(time, *self._judged(db, schedule, time, now))

        wake: datetime | None = None
        for time in times_of(schedule, settled):
            wake = max(time.at - ahead, settled)
            if now < wake:
                break
            outcome, why = self._judged(db, schedule, time, now)
            if outcome is not Outcome.DUE:  # which may be over by its time
                wake = min(time.at, now + AGAIN)
                break
            take(time, outcome, why)
        return wake, [run for run in taken if run]

    def _judged(self, db: Database, schedule: Schedule, time: Time, now: datetime) -> tuple[Outcome, str]:
        """Say what is to become of a time, and why."""
        late = now - time.at
        if not time.shown and schedule.missed == "skip":
            return Outcome.SKIPPED, f"the clocks went forward over {time.lost}"
        if late > PUNCTUAL and schedule.missed == "skip":
            return Outcome.MISSED, "Mynah was not at work, or the clock jumped"
        if late > max(PUNCTUAL, timedelta(seconds=schedule.grace)):
            return Outcome.MISSED, f"Mynah was not at work, or the clock jumped, by more than {times.span(schedule.grace)}"
        if held := self._held(db, schedule, time.at):
            return Outcome.SKIPPED, held
        if late > PUNCTUAL:
            return Outcome.DUE, f"made up {times.span(int(late.total_seconds()))} late"
        if time.lost:
            return Outcome.DUE, f"the clocks went forward over {time.lost}, which is made up at once"
        return Outcome.DUE, "its time came" if late >= timedelta() else "its draft was written ahead"

    def _held(self, db: Database, schedule: Schedule, at: datetime, *, asked: bool = False) -> str | None:
        """Return why nothing is to be written for a time, or None; `asked`: a person wants it."""
        if pause := outbox.paused(db):
            return f"posting was paused by {pause.paused_by}"
        if schedule.channel is None:
            day = spending.day(at.astimezone(UTC))
            if outbox.on_x(db, day, day + timedelta(days=1)) + _waiting(db, day) >= self._settings.posts_a_day:
                return f"the {self._settings.posts_a_day} posts of this UTC day are used up (x.posts_a_day)"
            if why := self._may_spend(db):
                return why
        if schedule.max_a_day is not None and not asked and _day_of(schedule, at) in _full(db, schedule, at):
            return f"it writes at most {schedule.max_a_day} a day"
        return None

    # ---------------------------------------------------------------------- drafts

    async def _tidy(self) -> None:
        """Reject what nobody approved, or what could not be sent, long after its time, and once a day drop what is told of old times."""
        now = self._clock()
        before = now - timedelta(seconds=self._settings.late)
        if await self._store.read(outbox.too_late, before):
            await self._store.write(_reject_late, before, self._settings.late)
        if self._pruned != now.date():
            await self._store.write(schedules.prune, now - KEPT)
            self._pruned = now.date()

    async def _write_due(self) -> None:
        """Begin the drafts that are not begun; one schedule's are written one after the other, so that they lie in their times' order."""
        for name, runs in groupby(await self._store.read(schedules.due), key=lambda run: run.schedule):
            if name not in self._writing:
                self._writing[name] = asyncio.create_task(self._write_each(name, list(runs)))

    async def _write_each(self, name: str, runs: Sequence[Run]) -> None:
        try:
            for run in runs:
                await self._write(run)
        except asyncio.CancelledError:
            log.info("a draft was cut off by the end; it is written at the next start", schedule=name)
        finally:
            del self._writing[name]

    async def _write(self, run: Run) -> None:
        """Write a run's draft; whatever goes wrong is its outcome, and the next time comes."""
        try:
            if schedule := await self._store.write(_begin, run.id, self._clock(), timedelta(seconds=self._settings.late)):
                line = await self._speak(schedule)
                await self._store.write(self._finish, run.id, line)
        except NotStoredError:
            log.info("a schedule was removed as it fired", schedule=run.schedule)
        except StoreError as error:
            log.warning("a draft waits to be stored", schedule=run.schedule, error=str(error))
            await asyncio.sleep(STORE_SECONDS)
        except MynahError as error:
            await self._fail(run, str(error))
        except Exception:
            log.exception("a schedule broke", schedule=run.schedule)
            await self._fail(run, "Mynah failed for a reason of its own, which is in its log")

    async def _fail(self, run: Run, why: str) -> None:
        log.warning("a schedule made no draft", schedule=run.schedule, why=why)
        with suppress(StoreError):  # then it is tried again
            await self._store.write(schedules.end, run.id, Outcome.FAILED, why)

    def _finish(self, db: Database, run_id: int, line: str) -> Post:
        """Put a run's line into the outbox, and say yes to it where the operator did beforehand."""
        run = schedules.run(db, run_id)
        schedule = schedules.get(db, run.schedule)
        post = self._posting.put(
            db,
            voice=schedule.voice,
            schedule=schedule.name,
            text=line,
            who=f"schedule {schedule.name}",
            to=Destination(schedule.account, schedule.channel),
            not_before=datetime.fromisoformat(run.at),
            unattended=self._unattended(schedule),
        )
        schedules.end(db, run_id, Outcome.DRAFTED, run.why, post.id)
        return post

    def _unattended(self, schedule: Schedule) -> bool:
        return schedule.operator and schedule.name in self._settings.unattended


def _add(db: Database, schedule: Schedule) -> None:
    models.current(db, schedule.voice)
    schedules.add(db, schedule)


def _begin(db: Database, run_id: int, now: datetime, longest: timedelta) -> Schedule | None:
    """Count a try at a run's draft, and return its schedule; None where it came to its end, which is written down.

    `longest`: how late one may be that a person asked for.
    """
    run = schedules.run(db, run_id)
    schedule = schedules.get(db, run.schedule)
    late = now - datetime.fromisoformat(run.at)
    if run.outcome is not Outcome.DUE:
        return None
    if run.tries == TRIES:
        schedules.end(db, run_id, Outcome.FAILED, f"Mynah stopped {TRIES} times while it was being written")
        return None
    if late > PUNCTUAL + (longest if run.asked_by else max(PUNCTUAL, timedelta(seconds=schedule.grace))):
        schedules.end(db, run_id, Outcome.MISSED, "Mynah was stopped before it was written, and was back too late")
        return None
    schedules.begin(db, run_id)
    return schedule


def _reject_late(db: Database, before: datetime, late: int) -> None:
    for post in outbox.too_late(db, before):
        outbox.change(db, post.id, State.REJECTED, who=SENDER, why=f"its time was more than {times.span(late)} ago (x.late)")


def _waiting(db: Database, day: datetime) -> int:
    """Count the runs of a UTC day for X whose draft is not there yet."""
    ours = (datetime.fromisoformat(run.at) for run in schedules.due(db) if schedules.get(db, run.schedule).channel is None)
    return sum(day <= at < day + timedelta(days=1) for at in ours)


def _day_of(schedule: Schedule, at: datetime) -> date:
    return at.astimezone(times.zone_of(schedule.timezone)).date()


def _drafted(db: Database, schedule: Schedule, since: datetime) -> set[datetime]:
    """Return the moments of a schedule's drafts on the day of `since`, in its zone, and on later ones."""
    moments = map(datetime.fromisoformat, schedules.drafted(db, schedule.name, since - timedelta(days=2)))
    return {moment for moment in moments if _day_of(schedule, moment) >= _day_of(schedule, since)}


def _full(db: Database, schedule: Schedule, at: datetime) -> set[date]:
    """Return the days on which a schedule has as many drafts as it may have."""
    counts = Counter(_day_of(schedule, moment) for moment in _drafted(db, schedule, at))
    return {day for day, count in counts.items() if count >= (schedule.max_a_day or 0)}


def _upcoming(db: Database, schedule: Schedule, now: datetime) -> list[datetime]:
    """Return the moments of a schedule's next posts, in its zone: those that are drafted, and those for which its day has room."""
    if schedule.paused_at:
        return []
    if schedule.max_a_day is None:
        return times.next_times(schedule, now)
    drafted = _drafted(db, schedule, now)
    counts = Counter(_day_of(schedule, moment) for moment in drafted)
    found: list[datetime] = []
    for moment in islice(times.upcoming(schedule, now), LOOKED_AT):
        day = _day_of(schedule, moment)
        if moment in drafted:
            found.append(moment)
        elif counts[day] < schedule.max_a_day:
            counts[day] += 1
            found.append(moment)
        if len(found) == SHOWN_TIMES:
            break
    return found


def _read(name: str, voice: str, spec: Spec, to: Destination, created: datetime) -> Schedule:
    """Return what a spec means, but for its destination, which is known.

    Raises:
        BadRequestError: something of it is off.
    """
    given = {kind: text for kind in ("every", "cron", "times") if (text := getattr(spec, kind)) is not None}
    if len(given) != 1:
        raise BadRequestError("Give one of `every` (such as 6h), `times` (such as 9:00, 18:30) and `cron` (such as 0 9 * * 1-5).")
    ((kind, text),) = given.items()
    readers: dict[str, Callable[[str], str]] = {
        "every": lambda text: str(times.seconds_of(text)),
        "cron": times.cron_line,
        "times": times.clock_times,
    }
    if spec.max_a_day is not None and not 1 <= spec.max_a_day <= MAX_A_DAY:
        raise BadRequestError(f"The most a day is a number from 1 to {MAX_A_DAY}.")
    if spec.creativity is not None and not 0 <= spec.creativity <= 2:
        raise BadRequestError("Creativity is a number from 0 to 2.")
    if len(spec.prompt) > MAX_PROMPT:
        raise BadRequestError(f"A prompt has at most {MAX_PROMPT} characters; this one has {len(spec.prompt)}.")
    if spec.missed not in ("once", "skip"):
        raise BadRequestError("A missed time is made up once or left out: write once or skip.")
    return Schedule(
        name=name,
        voice=voice,
        kind=kind,
        expression=readers[kind](text),
        timezone=times.zone_of(spec.timezone).key,
        created_by="",
        created_at=stamp(created),
        jitter=times.seconds_of(spec.jitter, 0) if spec.jitter else 0,
        quiet=times.quiet_hours(spec.quiet) if spec.quiet else "",
        max_a_day=spec.max_a_day,
        account=to.account,
        channel=to.channel,
        prompt=spec.prompt.strip(),
        creativity=spec.creativity,
        missed=spec.missed,
        grace=times.seconds_of(spec.grace, 0),
        ahead=times.seconds_of(spec.ahead, 0) if spec.ahead is not None else None,
    )


def _asked(name: str) -> str:
    return name.strip().lower()


def _name(text: str) -> str:
    name = _asked(text)
    if not re.fullmatch(SCHEDULE_NAME, name):
        raise BadRequestError("A schedule's name has 1 to 32 letters, digits, - or _, and begins with a letter or a digit.")
    return name
