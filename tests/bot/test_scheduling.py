"""Schedules: what is taken, and what becomes of each time, in a time that only these tests know; and that APScheduler follows the table."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from bot.errors import BadHandleError, BadRequestError, NotStoredError, SpeechFailedError, StoreError, WrongStateError
from bot.services import scheduling as module
from bot.services.doctor import examine
from bot.services.posting import Posting
from bot.services.scheduling import Planned, Scheduling, Spec
from bot.settings import Secrets, X
from data import accounts, outbox, schedules
from data.outbox import DEFAULT_ACCOUNT, Destination, Post, State
from data.schedules import Outcome, Run, Schedule
from data.store import Store, stamp
from tests.bot.x.rows import VOICE, add_model, add_voice

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)  # a Saturday
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOURLY = Spec(every="1h")


class World:
    """A scheduler with a clock to set and a voice that says what it is told to; each of its lines is another."""

    def __init__(self, store: Store, **settings) -> None:
        self.store = store
        self.now = NOON
        self.said: list[str] = []
        self.fails: Exception | None = None
        self.settings = X.model_validate({"ahead": 0} | settings)
        self.may_spend = None
        self.start()

    def start(self) -> None:
        """Begin anew, as a process does."""
        self.posting = Posting(self.store, settings=self.settings, clock=lambda: self.now)
        self.scheduling = Scheduling(
            self.store,
            self.speak,
            self.posting,
            self.settings,
            clock=lambda: self.now,
            may_spend=lambda _db: self.may_spend,
        )

    async def speak(self, schedule: Schedule) -> str:
        self.said.append(schedule.name)
        if self.fails:
            raise self.fails
        return f"Line {len(self.said)} of {schedule.name}."

    async def add(self, name: str = "tides", spec: Spec = HOURLY, **more) -> Planned:
        return await self.scheduling.add(name, VOICE, spec, by="ann", **more)

    async def at(self, moment: datetime) -> datetime | None:
        """Set the clock, and do what is due; return when there is more to do."""
        self.now = moment
        return await self.scheduling.step()

    async def until(self, end: datetime) -> None:
        """Let time pass from one thing that is due to the next, as APScheduler does."""
        while wake := await self.scheduling.step():
            if wake > end:
                break
            assert wake >= self.now, "time would stand still"
            self.now = max(wake, self.now + timedelta(microseconds=1))
        self.now = end

    async def runs(self, name: str = "tides") -> list[Run]:
        """Return a schedule's runs, oldest first."""
        return (await self.store.read(schedules.runs, name, 10_000))[::-1]

    async def outcomes(self, name: str = "tides") -> list[tuple[str, str]]:
        return [(f"{datetime.fromisoformat(run.nominal):%d %H:%M}", run.outcome.value) for run in await self.runs(name)]

    async def posts(self) -> list[Post]:
        """Return all posts, oldest first."""
        return (await self.store.read(outbox.listed, 10_000))[::-1]


@pytest.fixture
async def store(tmp_path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "mynah.db") as store:
        await store.write(add_model)
        yield store


@pytest.fixture
def world(store) -> World:
    """Nothing is drafted ahead, unless a test wants it."""
    return World(store)


# ------------------------------------------------------------------ what is taken


async def test_a_schedule_is_stored_and_listed_with_its_next_three_times(world):
    added = await world.add(" Tides ", Spec(every="6h", timezone="Europe/Madrid"))
    (listed,) = await world.scheduling.listed()
    assert listed == added == await world.scheduling.get(" TIDES")
    assert (listed.schedule.name, listed.schedule.kind, listed.schedule.expression) == ("tides", "every", "21600")
    assert (listed.schedule.account, listed.schedule.channel, listed.unattended) == (DEFAULT_ACCOUNT, None, False)
    assert [f"{t:%H:%M %Z}" for t in listed.times] == ["19:00 CET", "01:00 CET", "07:00 CET"]


async def test_all_that_can_be_told_is_kept(world):
    spec = Spec(
        times="9am, fri 18:30",
        timezone="Europe/Madrid",
        jitter="20m",
        quiet="22-7",
        max_a_day=2,
        channel=77,
        prompt=" The tide ",
        creativity=0.5,
        missed="skip",
        grace="2h",
        ahead="30m",
    )
    schedule = (await world.add(spec=spec, server=5)).schedule
    assert schedule == Schedule(
        name="tides",
        voice=VOICE,
        kind="times",
        expression="09:00, fri 18:30",
        timezone="Europe/Madrid",
        created_by="ann",
        created_at="2026-11-21T12:00:00.000000+00:00",
        settled_until=None,
        jitter=1200,
        quiet="22:00-07:00",
        max_a_day=2,
        account=None,
        channel=77,
        prompt="The tide",
        creativity=0.5,
        missed="skip",
        grace=7200,
        ahead=1800,
        operator=False,
        server=5,
    )


async def test_cron_is_kept_as_it_was_written(world):
    added = await world.add("weekdays", Spec(cron="0  9 * * MON-FRI"))
    assert added.schedule.expression == "0 9 * * mon-fri"
    assert [f"{t:%a %H:%M}" for t in added.times] == ["Mon 09:00", "Tue 09:00", "Wed 09:00"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"every": "59s"}, "60 seconds"),
        ({"every": None}, "Give one of"),
        ({"cron": "* * * * *"}, "Give one of"),
        ({"every": None, "cron": "61 * * * *"}, "cron line"),
        ({"every": None, "cron": "0 0 30 2 *"}, "never come"),
        ({"every": None, "times": "23:00", "quiet": "22-7"}, "never come"),
        ({"every": None, "times": "soon"}, "neither a day nor a time"),
        ({"timezone": "Mars"}, "time zone"),
        ({"jitter": "much"}, "0 seconds to 366 days"),
        ({"quiet": "nights"}, "quiet hours"),
        ({"max_a_day": 0}, "from 1 to"),
        ({"account": "news"}, "no X account news: config.toml names default"),
        ({"account": DEFAULT_ACCOUNT, "channel": 7}, "not to both"),
        ({"channel": 0}, "named by its id"),
        ({"channel": -5}, "named by its id"),
        ({"channel": 2**63}, "named by its id"),
        ({"prompt": "x" * 281}, "at most 280"),
        ({"creativity": 2.5}, "from 0 to 2"),
        ({"missed": "twice"}, "once or skip"),
        ({"grace": "-1h"}, "span"),
        ({"ahead": "early"}, "span"),
    ],
)
async def test_a_bad_spec_is_one_sentence_and_nothing_stored(world, wrong, says):
    with pytest.raises(BadRequestError, match=says) as caught:
        await world.add(spec=replace(HOURLY, **wrong))
    assert str(caught.value).endswith(".")
    assert await world.scheduling.listed() == []


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 33, "-a"])
async def test_a_bad_name_is_one_sentence(world, name):
    with pytest.raises(BadRequestError, match="name has 1 to 32"):
        await world.add(name)


async def test_the_voice_must_be_trained(store, world):
    await store.write(add_voice, "untrained")
    for voice in ("untrained", "nobody"):
        with pytest.raises(NotStoredError, match="mynah train"):
            await world.scheduling.add("tides", voice, HOURLY, by="ann")
    with pytest.raises(BadHandleError):
        await world.scheduling.add("tides", "no/body", HOURLY, by="ann")


async def test_a_name_is_taken_once_and_free_after_removal(world):
    await world.add()
    with pytest.raises(WrongStateError, match="remove it first"):
        await world.add()
    await world.scheduling.remove("Tides")
    await world.add()
    with pytest.raises(NotStoredError):
        await world.scheduling.remove("tide")


async def test_a_damaged_row_hides_no_other_and_stops_none(store, world):
    await store.write(schedules.add, Schedule("broken", VOICE, "cron", "?", "UTC", "a test", NOON.isoformat()))
    await world.add()
    assert [planned.schedule.name for planned in await world.scheduling.listed()] == ["tides"]
    await world.at(NOON + HOUR)
    assert world.said == ["tides"]


# ---------------------------------------------------------------- a time, and its draft


async def test_a_time_becomes_a_draft_for_its_moment_and_a_row_that_says_so(world):
    await world.add(spec=Spec(every="1h", channel=77))
    assert await world.at(NOON + HOUR - timedelta(seconds=1)) == NOON + HOUR
    assert await world.at(NOON + HOUR) == NOON + 2 * HOUR
    (post,) = await world.posts()
    assert (post.status, post.text, post.schedule) == (State.DRAFT, "Line 1 of tides.", "tides")
    assert post.destination == Destination(None, 77)
    assert post.not_before == "2026-11-21T13:00:00.000000+00:00"
    (run,) = await world.runs()
    assert (run.outcome, run.post, run.why, run.tries) == (Outcome.DRAFTED, post.id, "its time came", 1)
    assert [planned.runs for planned in await world.scheduling.listed()] == [[run]]


async def test_two_that_fire_at_once_both_happen(world):
    for name in ("tides", "weather"):
        await world.add(name)
    await world.at(NOON + HOUR)
    assert sorted(world.said) == ["tides", "weather"]
    assert len(await world.posts()) == 2


async def test_what_is_drawn_of_the_jitter_is_when_it_goes(world):
    planned = await world.add(spec=Spec(every="1h", jitter="50m"))
    await world.until(NOON + 3 * HOUR)
    moments = [datetime.fromisoformat(run.at) for run in await world.runs()]
    assert moments == planned.times[: len(moments)]
    assert all(NOON + n * HOUR < moment < NOON + n * HOUR + timedelta(minutes=50) for n, moment in enumerate(moments, 1))
    assert [run.taken_at for run in await world.runs()] == [run.at for run in await world.runs()]


@pytest.mark.parametrize("ahead", [None, "2h"])
async def test_a_draft_is_written_ahead_and_goes_at_its_time(store, ahead):
    world = World(store, **({"ahead": "2h"} if ahead is None else {"ahead": 0}))
    await world.add(spec=Spec(times="9:00, 21:00", ahead=ahead))
    assert await world.at(NOON) == NOON + 7 * HOUR
    await world.at(NOON + 7 * HOUR)
    (post,) = await world.posts()
    assert post.not_before == "2026-11-21T21:00:00.000000+00:00"
    assert [run.why for run in await world.runs()] == ["its draft was written ahead"]
    await world.at(NOON + 9 * HOUR)
    assert len(await world.posts()) == 1, "its time is no second one"


async def test_a_draft_is_not_written_before_the_time_before_it(store):
    world = World(store, ahead="1d")
    await world.add()
    await world.at(NOON)
    assert await world.outcomes() == [("21 13:00", "drafted")]
    await world.at(NOON + HOUR)
    assert await world.outcomes() == [("21 13:00", "drafted"), ("21 14:00", "drafted")]


@pytest.mark.parametrize(
    ("error", "why"), [(SpeechFailedError("No line came."), "No line came."), (RuntimeError("a defect"), "for a reason of its own")]
)
async def test_a_draft_that_fails_says_why_and_the_next_time_comes(world, error, why):
    world.fails = error
    await world.add()
    await world.at(NOON + HOUR)
    (run,) = await world.runs()
    assert run.outcome is Outcome.FAILED
    assert why in run.why
    world.fails = None
    await world.at(NOON + 2 * HOUR)
    assert await world.outcomes() == [("21 13:00", "failed"), ("21 14:00", "drafted")]


async def test_a_voice_forgotten_takes_its_schedules_along(store, world):
    await world.add()
    await world.at(NOON + HOUR)
    await store.write(accounts.forget, VOICE)
    assert await world.at(NOON + 2 * HOUR) is None
    assert await world.scheduling.listed() == []


async def test_a_schedule_that_is_removed_while_its_voice_speaks_leaves_nothing(store, world):
    await world.add()

    async def removed(schedule: Schedule) -> str:
        await store.write(schedules.remove, schedule.name)
        return "Too late."

    world.scheduling._speak = removed
    await world.at(NOON + HOUR)
    assert await world.posts() == []


# ------------------------------------------------------------------- crashes, restarts


async def test_a_restart_neither_repeats_a_time_nor_shifts_the_phase(world):
    await world.add()
    await world.at(NOON + HOUR)
    before = (await world.scheduling.get("tides")).times
    world.start()
    assert await world.at(NOON + HOUR + timedelta(seconds=1)) == NOON + 2 * HOUR
    assert len(world.said) == 1
    assert (await world.scheduling.get("tides")).times == before


async def cut_off(world: World, moment: datetime) -> None:
    """Let Mynah be killed while a draft is written."""
    world.now = moment
    speaking = asyncio.Event()

    async def never(schedule: Schedule) -> str:
        world.said.append(schedule.name)
        speaking.set()
        await asyncio.Event().wait()
        return ""

    world.scheduling._speak = never
    step = asyncio.create_task(world.scheduling.step())
    await speaking.wait()
    for task in [step, *world.scheduling._writing.values()]:
        task.cancel()
    await asyncio.gather(step, *world.scheduling._writing.values(), return_exceptions=True)
    world.start()


async def test_drafts_of_times_that_are_taken_up_at_once_lie_in_their_order(store):
    """A start after a time takes up that and the next one; the first line is the slower one here."""
    world = World(store, ahead=3600)
    await world.add()
    rounds = iter((50, 0))

    async def slower_first(schedule: Schedule) -> str:
        line = await world.speak(schedule)
        for _ in range(next(rounds)):
            await world.store.read(schedules.listed)
        return line

    world.scheduling._speak = slower_first
    await world.at(NOON + HOUR + timedelta(seconds=1))
    assert [(post.text, post.not_before) for post in await world.posts()] == [
        ("Line 1 of tides.", stamp(NOON + HOUR)),
        ("Line 2 of tides.", stamp(NOON + 2 * HOUR)),
    ]


async def test_a_draft_that_was_cut_off_is_written_at_the_next_start_once(world):
    await world.add()
    await cut_off(world, NOON + HOUR)
    assert await world.outcomes() == [("21 13:00", "due")]
    await world.at(NOON + HOUR + timedelta(minutes=5))
    await world.at(NOON + HOUR + timedelta(minutes=6))
    assert len(await world.posts()) == 1
    assert [(run.outcome, run.tries) for run in await world.runs()] == [(Outcome.DRAFTED, 2)]


async def test_a_draft_that_was_cut_off_long_ago_is_missed(world):
    await world.add()
    await cut_off(world, NOON + HOUR)
    await world.scheduling.pause("tides", "ann")
    await world.at(NOON + 2 * HOUR + timedelta(minutes=1, seconds=1))
    (run,) = await world.runs()
    assert (run.outcome, run.why) == (Outcome.MISSED, "Mynah was stopped before it was written, and was back too late")
    assert await world.posts() == []


async def test_what_a_person_asked_for_while_mynah_was_off_is_written_within_a_day(world):
    await world.add(spec=Spec(every="7d", grace="0"))
    for waits, outcome in ((DAY, Outcome.DRAFTED), (DAY + timedelta(minutes=2), Outcome.MISSED)):
        run = await world.scheduling.run_now("tides", "bea")
        await world.at(world.now + waits)
        assert (await world.store.read(schedules.run, run.id)).outcome is outcome


async def test_a_defect_as_a_time_is_taken_up_is_logged_and_it_is_looked_at_again(world, monkeypatch):
    await world.add()
    looked = []
    monkeypatch.setattr(world.scheduling, "_look", lambda _scheduler, name, moment: looked.append((name, moment)))
    monkeypatch.setattr(world.scheduling, "_take_up", lambda _name: 1 / 0)
    world.scheduling._loaded["tides"] = (await world.scheduling.get("tides")).schedule
    await world.scheduling._fire(None, "tides")
    assert looked == [("tides", NOON + timedelta(minutes=1))]


async def test_a_draft_that_stops_mynah_each_time_is_given_up(world):
    await world.add()
    for minute in range(3):
        await cut_off(world, NOON + HOUR + timedelta(minutes=minute))
    await world.at(NOON + HOUR + timedelta(minutes=4))
    (run,) = await world.runs()
    assert (run.outcome, run.why) == (Outcome.FAILED, "Mynah stopped 3 times while it was being written")
    assert len(world.said) == 3


async def test_a_disk_that_is_full_leaves_the_time_due(store, world, monkeypatch):
    monkeypatch.setattr(module, "STORE_SECONDS", 0)
    await world.add()

    async def full(_schedule: Schedule) -> str:
        raise StoreError("The disk is full.")

    world.scheduling._speak = full
    await world.at(NOON + HOUR)
    world.scheduling._speak = world.speak
    assert await world.outcomes() == [("21 13:00", "due")]
    await world.at(NOON + HOUR + timedelta(seconds=10))
    assert await world.outcomes() == [("21 13:00", "drafted")]


# ----------------------------------------------------------- missed times, and the clock


async def test_a_time_that_was_missed_is_made_up_once_within_the_grace(world):
    await world.add(spec=Spec(every="1d", grace="3h"))
    await world.at(NOON + DAY + 3 * HOUR)
    (run,) = await world.runs()
    assert (run.outcome, run.why) == (Outcome.DRAFTED, "made up 3h late")
    assert run.nominal == run.at == "2026-11-22T12:00:00.000000+00:00"
    await world.at(NOON + DAY + 3 * HOUR + timedelta(minutes=1))
    assert len(await world.posts()) == 1


async def test_beyond_the_grace_it_is_missed_and_a_row_says_so(world):
    await world.add(spec=Spec(every="1d", grace="3h"))
    await world.at(NOON + DAY + 3 * HOUR + timedelta(seconds=1))
    (run,) = await world.runs()
    assert (run.outcome, run.why) == (Outcome.MISSED, "Mynah was not at work, or the clock jumped, by more than 3h")
    assert await world.posts() == []


async def test_where_missed_times_are_skipped_none_is_made_up(world):
    await world.add(spec=Spec(every="1d", missed="skip"))
    await world.at(NOON + DAY + timedelta(seconds=59))
    await world.at(NOON + 2 * DAY + timedelta(seconds=61))
    assert await world.outcomes() == [("22 12:00", "drafted"), ("23 12:00", "missed")], "a minute late is in time"


@pytest.mark.parametrize(("missed", "last"), [("once", "drafted"), ("skip", "missed")])
async def test_a_bot_that_was_off_for_a_week_makes_up_the_newest_time_alone(world, missed, last):
    await world.add(spec=Spec(times="9:00, 18:00", timezone="America/New_York", missed=missed, grace="6h"))
    await world.until(NOON + DAY)
    begun = await world.outcomes()
    assert [outcome for _, outcome in begun] == ["drafted", "drafted"]
    world.start()
    await world.at(NOON + 8 * DAY + 4 * HOUR)  # 11:00 in New York, two hours after nine
    runs = (await world.runs())[2:]
    assert [run.outcome.value for run in runs] == ["missed", last]
    assert runs[0].why == "14 times from 2026-11-22 09:00 on were missed: Mynah was not at work, or the clock jumped"
    assert runs[1].nominal == "2026-11-29T14:00:00.000000+00:00"
    await world.until(NOON + 9 * DAY)
    assert [run.outcome.value for run in (await world.runs())[4:]] == ["drafted"], "and then it goes on"
    assert len(world.said) == len(await world.posts()) == (4 if missed == "once" else 3)


async def test_a_year_of_minutes_is_counted_by_thousands_and_ends(world):
    await world.add(spec=Spec(every="60s"))
    world.now = NOON + 3 * DAY
    for _ in range(10):
        await world.scheduling.step()
    runs = await world.runs()
    assert [run.outcome.value for run in runs] == ["missed"] * 5 + ["drafted"]
    assert [run.why.split()[0] for run in runs[:-1]] == ["1000"] * 4 + ["319"]


@pytest.mark.parametrize("ahead", ["0", "2h"])
async def test_a_clock_set_back_by_an_hour_brings_no_time_twice(world, ahead):
    await world.add(spec=Spec(every="10m", ahead=ahead))
    await world.until(NOON + 2 * HOUR)
    before = await world.outcomes()
    await world.until(NOON + HOUR)
    assert await world.outcomes() == before
    await world.until(NOON + 3 * HOUR)
    nominal = [run.nominal for run in await world.runs()]
    assert len(nominal) == len(set(nominal)) == len(await world.posts())
    assert all(outcome == "drafted" for _, outcome in await world.outcomes())
    assert len([moment for moment in nominal if moment <= "2026-11-21T15:00"]) == 17


async def test_a_clock_set_forward_is_a_machine_that_was_off(world):
    await world.add(spec=Spec(every="10m", grace="5m"))
    await world.until(NOON + HOUR)
    await world.at(NOON + 2 * HOUR + timedelta(minutes=4))
    assert (await world.outcomes())[6:] == [("21 13:50", "missed"), ("21 14:00", "drafted")]
    await world.at(NOON + 3 * HOUR + timedelta(minutes=6))
    assert (await world.outcomes())[8:] == [("21 14:50", "missed"), ("21 15:00", "missed")]


async def test_a_clock_that_was_years_ahead_for_a_while_stops_no_schedule_and_doubles_no_time(world):
    await world.add()
    await world.at(NOON + HOUR)
    for _ in range(20):
        await world.at(NOON + 365 * DAY)
    await world.at(NOON + HOUR + timedelta(minutes=1))
    await world.at(NOON + 2 * HOUR)
    drafted = [run.nominal[:16] for run in await world.runs() if run.outcome is Outcome.DRAFTED]
    assert drafted[0] == "2026-11-21T13:00"
    assert drafted[-1] == "2026-11-21T14:00"
    assert len(drafted) == len(set(drafted)) == 3


FORWARD = [
    ("Europe/Madrid", datetime(2027, 3, 28, 1, tzinfo=UTC), "2:30"),
    ("America/New_York", datetime(2027, 3, 14, 7, tzinfo=UTC), "2:30"),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC), "2:15"),
]
BACK = [
    ("Europe/Madrid", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "2:30"),
    ("America/New_York", datetime(2026, 11, 1, 5, 30, tzinfo=UTC), "1:30"),
    ("Australia/Lord_Howe", datetime(2027, 4, 3, 14, 45, tzinfo=UTC), "1:45"),
]


@pytest.mark.parametrize("ahead", ["0", "2h"])
@pytest.mark.parametrize("missed", ["once", "skip"])
@pytest.mark.parametrize(("zone", "change", "lost"), FORWARD)
async def test_a_time_that_the_clocks_go_over_is_made_up_at_their_change_or_skipped(world, zone, change, lost, missed, ahead):
    world.now = change - 2 * DAY
    await world.add(spec=Spec(times=lost, timezone=zone, missed=missed, ahead=ahead))
    await world.until(change + 2 * DAY)
    runs = await world.runs()
    (run,) = [run for run in runs if run.at == change.isoformat(timespec="microseconds")]
    assert run.outcome is (Outcome.DRAFTED if missed == "once" else Outcome.SKIPPED)
    assert run.why.startswith(f"the clocks went forward over 0{lost}")
    assert [run.outcome for run in runs if run.at < change.isoformat()] == [Outcome.DRAFTED] * 2
    assert {run.outcome for run in runs if run.at > change.isoformat(timespec="microseconds")} == {Outcome.DRAFTED}


@pytest.mark.parametrize("ahead", ["0", "2h"])
@pytest.mark.parametrize(("zone", "first", "twice"), BACK)
async def test_a_time_that_comes_twice_is_drafted_once(world, zone, first, twice, ahead):
    world.now = first - 2 * DAY
    await world.add(spec=Spec(times=twice, timezone=zone, ahead=ahead))
    await world.until(first + 3 * DAY + 12 * HOUR)
    moments = [datetime.fromisoformat(run.at) for run in await world.runs()]
    assert first in moments
    gaps = {two - one for one, two in pairwise(moments)}
    assert gaps == {DAY, DAY + (timedelta(minutes=30) if "Lord" in zone else HOUR)}
    assert {outcome for _, outcome in await world.outcomes()} == {"drafted"}


async def test_a_leap_day_has_its_time(world):
    world.now = datetime(2028, 2, 27, 12, tzinfo=UTC)
    await world.add("daily", Spec(times="9:00", timezone="Europe/Madrid"))
    await world.add("leap", Spec(cron="0 9 29 2 *", timezone="Europe/Madrid"))
    await world.until(datetime(2028, 3, 2, 12, tzinfo=UTC))
    assert [moment for moment, _ in await world.outcomes("daily")] == ["28 08:00", "29 08:00", "01 08:00", "02 08:00"]
    assert await world.outcomes("leap") == [("29 08:00", "drafted")]


# ------------------------------------------------------------------- limits and pauses


async def test_at_most_so_many_a_day_of_its_own_zone(world):
    await world.add(spec=Spec(every="1h", max_a_day=2, timezone="America/New_York"))
    await world.until(NOON + 36 * HOUR)
    drafted = [run.at for run in await world.runs() if run.outcome is Outcome.DRAFTED]
    # 12:00 UTC is seven in the morning there, and midnight five.
    assert [at[8:16] for at in drafted] == ["21T13:00", "21T14:00", "22T05:00", "22T06:00"]
    skipped = [run.why for run in await world.runs() if run.outcome is Outcome.SKIPPED]
    assert set(skipped) == {"it writes at most 2 a day"}


async def test_the_next_times_are_those_for_which_the_day_has_room(store):
    world = World(store, ahead="2h")
    planned = await world.add(spec=Spec(every="1h", max_a_day=2))
    assert [f"{moment:%d %H}" for moment in planned.times] == ["21 13", "21 14", "22 00"]
    await world.until(NOON + HOUR)
    assert [f"{moment:%d %H}" for moment in (await world.scheduling.get("tides")).times] == ["21 14", "22 00", "22 01"]


async def test_no_more_than_the_operator_s_posts_a_day_are_written_for_x(store):
    world = World(store, posts_a_day=2)
    for name in ("ebb", "flood", "slack"):
        await world.add(name)
    await world.add("quay", Spec(every="1h", channel=77))
    await world.at(NOON + HOUR)
    assert sorted(world.said) == ["ebb", "flood", "quay"]
    (run,) = await world.runs("slack")
    assert (run.outcome, run.why) == (Outcome.SKIPPED, "the 2 posts of this UTC day are used up (x.posts_a_day)")
    rejected = (await world.posts())[0]
    await world.posting.reject(rejected.id, "ann", "")
    await world.at(NOON + 2 * HOUR)
    drafted = [post for post in await world.posts() if post.channel is None and post.status is State.DRAFT]
    assert len(drafted) == 2, "one that was rejected makes room"
    await world.at(NOON + 13 * HOUR)
    assert len([post for post in await world.posts() if post.not_before > "2026-11-22"]) == 3, "and tomorrow is another day"


async def test_without_the_money_nothing_is_written(world):
    world.may_spend = "x.daily_cap is used up"
    await world.add()
    await world.at(NOON + HOUR)
    assert world.said == []
    assert [(run.outcome, run.why) for run in await world.runs()] == [(Outcome.SKIPPED, "x.daily_cap is used up")]


async def test_while_posting_is_paused_a_time_passes_and_is_not_made_up(world):
    await world.add()
    await world.posting.pause("bea")
    await world.at(NOON + HOUR)
    await world.posting.resume("bea")
    await world.at(NOON + HOUR + timedelta(minutes=5))
    assert world.said == []
    assert [(run.outcome, run.why) for run in await world.runs()] == [(Outcome.SKIPPED, "posting was paused by bea")]


async def test_a_pause_that_ends_before_the_time_only_holds_its_draft_up(store):
    world = World(store, ahead="2h")
    await world.add(spec=Spec(every="6h"))
    await world.posting.pause("bea")
    wake = await world.at(NOON + 4 * HOUR)
    assert (world.said, await world.runs(), wake) == ([], [], NOON + 4 * HOUR + timedelta(minutes=1))
    await world.posting.resume("bea")
    await world.at(wake)
    assert await world.outcomes() == [("21 18:00", "drafted")]


async def test_a_schedule_that_is_paused_makes_nothing_up_when_it_is_resumed(world):
    await world.add(spec=Spec(every="1h", grace="1d"))
    await world.at(NOON + HOUR)
    paused = await world.scheduling.pause("Tides", "bea")
    assert (paused.times, paused.schedule.paused_by) == ([], "bea")
    assert await world.at(NOON + 3 * HOUR) is None
    resumed = await world.scheduling.resume("tides", "bea")
    assert resumed.schedule.paused_at is None
    assert [f"{moment:%H:%M}" for moment in resumed.times] == ["16:00", "17:00", "18:00"]
    assert await world.at(NOON + 3 * HOUR + timedelta(minutes=1)) == NOON + 4 * HOUR
    assert len(world.said) == 1


async def test_what_was_drafted_ahead_of_a_pause_is_not_drafted_again_after_it(store):
    world = World(store, ahead="2h")
    await world.add(spec=Spec(every="2h"))
    await world.at(NOON)
    await world.scheduling.pause("tides", "bea")
    world.now += timedelta(minutes=1)
    await world.scheduling.resume("tides", "bea")
    await world.at(NOON + HOUR)
    assert await world.outcomes() == [("21 14:00", "drafted")]


async def test_pausing_twice_keeps_the_first_and_what_does_not_pause_is_not_resumed(world):
    await world.add()
    with pytest.raises(WrongStateError, match="is not paused"):
        await world.scheduling.resume("tides", "bea")
    await world.scheduling.pause("tides", "bea")
    assert (await world.scheduling.pause("tides", "cid")).schedule.paused_by == "bea"
    for ask in (world.scheduling.pause("ebb", "bea"), world.scheduling.resume("ebb", "bea"), world.scheduling.get("ebb")):
        with pytest.raises(NotStoredError, match="no schedule ebb"):
            await ask


# ---------------------------------------------------------------------------- run now


async def test_a_person_has_it_run_now_whatever_its_own_pause_and_limits_say(store):
    world = World(store, unattended=["tides"])
    await world.add(spec=Spec(every="1h", max_a_day=1, quiet="11:00-12:30"), operator=True)
    await world.at(NOON + HOUR)
    await world.scheduling.pause("tides", "ann")
    world.now += timedelta(minutes=1)
    run = await world.scheduling.run_now("Tides", "bea")
    assert (run.outcome, run.asked_by, run.why) == (Outcome.DUE, "bea", "bea asked for it")
    await world.scheduling.step()
    assert [post.status for post in await world.posts()] == [State.APPROVED] * 2
    await world.scheduling.resume("tides", "ann")
    await world.at(NOON + 12 * HOUR)
    assert len(await world.posts()) == 3, "it is none of the one a day, and moves no time"


async def test_it_is_not_run_now_while_posting_is_paused_or_the_day_is_used_up(store):
    world = World(store, posts_a_day=1)
    await world.add()
    await world.posting.pause("bea")
    with pytest.raises(BadRequestError, match="posting was paused by bea"):
        await world.scheduling.run_now("tides", "ann")
    await world.posting.resume("bea")
    await world.scheduling.run_now("tides", "ann")
    with pytest.raises(BadRequestError, match="used up"):
        await world.scheduling.run_now("tides", "ann")
    with pytest.raises(NotStoredError):
        await world.scheduling.run_now("ebb", "ann")


async def test_in_the_place_of_a_duplicate_another_is_written_which_moves_no_time(store):
    world = World(store, unattended=["tides"])
    await world.add(spec=Spec(every="1h", max_a_day=1), operator=True)
    await world.at(NOON + HOUR)
    (post,) = await world.posts()
    world.now += timedelta(minutes=1)
    assert await store.write(world.scheduling.again, post)
    await world.scheduling.step()
    assert [(post.status, post.text) for post in await world.posts()] == [
        (State.APPROVED, "Line 1 of tides."),
        (State.APPROVED, "Line 2 of tides."),
    ]
    assert [run.why for run in await world.runs()] == ["its time came", "the text of post 1 was there already"]
    assert not await store.write(world.scheduling.again, replace(post, schedule=None))
    assert len(await world.runs()) == 2


async def test_what_became_of_a_time_is_kept_for_three_months_and_no_time_comes_twice_for_that(store):
    world = World(store)
    await world.add(spec=Spec(every="1d"))
    await world.until(NOON + timedelta(days=100, minutes=1))
    runs = await world.runs()
    assert [run.at[:10] for run in (runs[0], runs[-1])] == ["2026-12-01", "2027-03-01"]
    await world.at(NOON + timedelta(days=5))
    assert await world.runs() == runs


# -------------------------------------------------------------------- without approval


async def test_what_the_operator_named_is_approved_as_it_is_drafted(store):
    world = World(store, unattended=["tides"])
    assert (await world.add(operator=True)).unattended
    assert not (await world.add("ebb", operator=True)).unattended
    await world.at(NOON + HOUR)
    posts = {post.schedule: post for post in await world.posts()}
    assert {name: post.status for name, post in posts.items()} == {"tides": State.APPROVED, "ebb": State.DRAFT}
    history = await world.posting.history(posts["tides"].id)
    assert [(change["status"], change["who"]) for change in history] == [("draft", "schedule tides"), ("approved", "unattended: tides")]


async def test_nobody_but_the_operator_gets_a_name_that_is_unattended(store):
    world = World(store, unattended=["tides"])
    with pytest.raises(BadRequestError, match="kept for the operator"):
        await world.add(" Tides", server=5)
    assert await world.scheduling.listed() == []


async def test_what_a_member_made_does_not_become_unattended_when_its_name_is_listed_later(store):
    await World(store).add(server=5)
    world = World(store, unattended=["tides"])
    assert not (await world.scheduling.get("tides")).unattended
    await world.at(NOON + HOUR)
    assert [post.status for post in await world.posts()] == [State.DRAFT]


async def test_the_doctor_says_which_unattended_names_are_none_of_the_operator_s(settings):
    ours = settings.model_copy(update={"x": X(unattended=["tides", "ebb", "flood"])})
    async with Store(ours.database) as store:
        await store.write(add_model)
        world = World(store)
        await world.add("tides", operator=True)
        await world.add("ebb", server=5)
    (finding,) = [finding for finding in examine(ours, Secrets()) if finding.name == "X schedules"]
    assert not finding.ok
    assert finding.found == "tides without approval; no schedule was made in the terminal by the name ebb, flood"
    assert [finding for finding in examine(settings, Secrets()) if finding.name == "X schedules"] == []


async def test_a_line_that_x_forbids_waits_for_a_person_all_the_same(store):
    world = World(store, unattended=["tides"])
    await world.add(operator=True)

    async def link(_schedule: Schedule) -> str:
        return "Tides at example.com."

    world.scheduling._speak = link
    await world.at(NOON + HOUR)
    assert [post.status for post in await world.posts()] == [State.DRAFT]


# ------------------------------------------------------------------- long after its time


async def test_what_nobody_approved_long_after_its_time_is_rejected_and_says_so(store):
    world = World(store, late="6h")
    await world.add(spec=Spec(every="1d"))
    await world.at(NOON + DAY)
    await world.at(NOON + DAY + 6 * HOUR)
    (post,) = await world.posts()
    assert post.status is State.DRAFT
    world.now += timedelta(seconds=1)
    with pytest.raises(BadRequestError, match=r"was more than 6h ago \(x.late\)"):
        await world.posting.approve(post.id, "ann")
    await world.scheduling.step()
    assert [post.status for post in await world.posts()] == [State.REJECTED]
    assert (await world.posting.history(post.id))[-1]["why"] == "its time was more than 6h ago (x.late)"


async def test_what_was_approved_and_could_not_be_sent_for_long_is_not_sent_any_more(store):
    world = World(store, late="6h")
    await world.add(spec=Spec(every="1d"))
    await world.at(NOON + DAY)
    (post,) = await world.posts()
    await world.posting.approve(post.id, "ann")
    until = NOON + DAY + 6 * HOUR
    assert [p.id for p in await store.read(outbox.unsettled, until - 6 * HOUR, until)] == [post.id]
    assert await store.read(outbox.unsettled, until - 6 * HOUR + HOUR, until + HOUR) == []
    await world.at(until + HOUR)
    assert [p.status for p in await world.posts()] == [State.REJECTED]


async def test_what_is_approved_ahead_is_not_sent_before_its_time_and_in_the_order_of_times(store, world):
    for name, hours in (("late", 3), ("soon", 2)):
        await world.add(name, Spec(every=f"{hours}h", ahead="3h"))
    await world.at(NOON)
    for post in await world.posts():
        await world.posting.approve(post.id, "ann")
    found = [[post.schedule for post in await store.read(outbox.unsettled, NOON - DAY, NOON + n * HOUR)] for n in (1, 2, 3)]
    assert found == [[], ["soon"], ["soon"]]


@pytest.mark.parametrize("edited", [False, True])
async def test_what_failed_and_is_approved_again_goes_whenever_that_is(store, edited):
    world = World(store, late="6h")
    await world.add(spec=Spec(every="1d"))
    await world.at(NOON + DAY)
    (post,) = await world.posts()
    await world.posting.approve(post.id, "ann")
    for state in (State.SENDING, State.FAILED):
        await store.write(outbox.change, post.id, state, who="mynah", why="no credits")
    world.now += 2 * DAY
    if edited:
        await world.posting.edit(post.id, "Another line.", "ann")
        await world.scheduling.step()
    await world.posting.approve(post.id, "ann")
    await world.scheduling.step()
    assert [p.id for p in await store.read(outbox.unsettled, world.now - 6 * HOUR, world.now)] == [post.id]


# --------------------------------------------------------------- through APScheduler itself


def due(name: str, ago: timedelta = timedelta(seconds=1)) -> Schedule:
    """Return a schedule of an hour whose first time was a moment ago, by the clock on the wall, which APScheduler goes by."""
    created = datetime.now(UTC) - timedelta(hours=1) - ago
    return Schedule(name, VOICE, "every", "3600", "UTC", "a test", created.isoformat(), ahead=0)


@asynccontextmanager
async def running(scheduling: Scheduling) -> AsyncIterator[None]:
    task = asyncio.create_task(scheduling.run_forever())
    try:
        async with asyncio.timeout(10):
            yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class Live:
    """A scheduler by the clock on the wall, and what it fired."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.fired: asyncio.Queue[str] = asyncio.Queue()
        self.scheduling = Scheduling(store, self.speak, Posting(store), X(ahead=0))

    async def speak(self, schedule: Schedule) -> str:
        self.fired.put_nowait(schedule.name)
        return "A line."


@pytest.fixture
def live(store) -> Live:
    return Live(store)


async def test_what_is_in_the_table_at_the_start_fires(store, live):
    for name in ("tides", "weather"):
        await store.write(schedules.add, due(name))
    async with running(live.scheduling):
        assert {await live.fired.get(), await live.fired.get()} == {"tides", "weather"}


async def test_a_time_that_is_to_come_fires_when_it_has_come(store, live):
    await store.write(schedules.add, due("tides", -timedelta(seconds=0.3)))
    async with running(live.scheduling):
        await live.fired.get()
        while not (posts := await store.read(outbox.listed)):
            await store.changed()
    assert posts[0].not_before <= posts[0].created_at


async def test_another_process_adds_pauses_runs_and_removes(store, live):
    async with Store(store.path) as other, running(live.scheduling):
        terminal = Scheduling(other, live.speak, Posting(other))
        await other.write(schedules.add, due("tides"))
        assert await live.fired.get() == "tides"
        await terminal.pause("tides", "ann")
        await terminal.run_now("tides", "ann")
        assert await live.fired.get() == "tides"
        await terminal.remove("tides")
        while live.scheduling._loaded:
            await store.changed()
        # The same name again is another schedule, with times of its own.
        await other.write(schedules.add, due("tides", timedelta(seconds=2)))
        assert await live.fired.get() == "tides"
        assert live.fired.empty()


async def test_a_broken_row_stops_nothing(store, live):
    await store.write(schedules.add, Schedule("broken", VOICE, "cron", "?", "UTC", "a test", NOON.isoformat()))
    await store.write(schedules.add, due("tides"))
    async with running(live.scheduling):
        assert await live.fired.get() == "tides"


async def test_the_end_cuts_a_draft_off_and_the_next_start_writes_it(store, live):
    started, cut = asyncio.Event(), asyncio.Event()

    async def slow(_schedule: Schedule) -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()
        return ""

    await store.write(schedules.add, due("tides"))
    async with running(Scheduling(store, slow, Posting(store))):
        await started.wait()
    assert cut.is_set()
    async with running(live.scheduling):
        assert await live.fired.get() == "tides"
