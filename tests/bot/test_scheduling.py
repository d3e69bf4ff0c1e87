"""Schedules: what is taken, and that the one who runs them follows the table."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from bot.errors import BadHandleError, BadRequestError, NotStoredError, SpeechFailedError, WrongStateError
from bot.services.scheduling import Scheduling
from data import accounts, outbox
from data.outbox import Schedule
from data.store import Store
from tests.bot.x.rows import VOICE, add_model, add_voice

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Drafts:
    """Stands in for speech: it remembers what fired, and whether the run was on record by then."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.fired: asyncio.Queue[str] = asyncio.Queue()
        self.marked: list[bool] = []
        self.fails: Exception | None = None

    async def __call__(self, schedule: Schedule) -> None:
        (row,) = [s for s in await self.store.read(outbox.schedules) if s.name == schedule.name]
        self.marked.append(row.last_run_at is not None)
        self.fired.put_nowait(schedule.name)
        if self.fails:
            raise self.fails


@pytest.fixture
async def store(tmp_path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "mynah.db") as store:
        await store.write(add_model)
        yield store


@pytest.fixture
def drafts(store) -> Drafts:
    return Drafts(store)


@pytest.fixture
def scheduling(store, drafts) -> Scheduling:
    return Scheduling(store, drafts, clock=lambda: NOON)


def due(name: str, ago: timedelta = timedelta(seconds=1), kind: str = "every", last_run_at: str | None = None) -> Schedule:
    """Return a schedule of an hour whose first time was a moment ago, by the clock on the wall, which APScheduler goes by."""
    created = datetime.now(UTC) - timedelta(hours=1) - ago
    return Schedule(name, VOICE, kind, "3600", "UTC", "a test", created.isoformat(), last_run_at)


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


# ------------------------------------------------------------------ what is taken


async def test_a_schedule_is_stored_and_listed_with_its_next_three_times(scheduling):
    added = await scheduling.add(" Tides ", VOICE, every="6h", timezone="Europe/Madrid", by="ann")
    (listed,) = await scheduling.listed()
    assert listed == added
    assert (listed.schedule.name, listed.schedule.kind, listed.schedule.expression) == ("tides", "every", "21600")
    assert [f"{t:%H:%M %Z}" for t in listed.times] == ["19:00 CET", "01:00 CET", "07:00 CET"]


async def test_cron_is_kept_as_it_was_written(scheduling):
    added = await scheduling.add("weekdays", VOICE, cron="0  9 * * MON-FRI", by="ann")
    assert added.schedule.expression == "0 9 * * mon-fri"
    assert [f"{t:%a %H:%M}" for t in added.times] == ["Mon 09:00", "Tue 09:00", "Wed 09:00"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "é"}, "name"),
        ({"name": "x" * 33}, "name"),
        ({"every": "59s"}, "60 seconds"),
        ({"every": None}, "either"),
        ({"cron": "* * * * *"}, "either"),
        ({"every": None, "cron": "61 * * * *"}, "cron line"),
        ({"every": None, "cron": "0 0 30 2 *"}, "never come"),
        ({"timezone": "Mars"}, "time zone"),
    ],
)
async def test_bad_input_is_one_sentence_and_nothing_stored(scheduling, wrong, says):
    with pytest.raises(BadRequestError, match=says) as caught:
        await scheduling.add(**{"name": "tides", "voice": VOICE, "every": "6h", "by": "ann"} | wrong)
    assert str(caught.value).endswith(".")
    assert await scheduling.listed() == []


async def test_the_voice_must_be_trained(store, scheduling):
    await store.write(add_voice, "untrained")
    for voice in ("untrained", "nobody"):
        with pytest.raises(NotStoredError, match="mynah train"):
            await scheduling.add("tides", voice, every="6h", by="ann")
    with pytest.raises(BadHandleError):
        await scheduling.add("tides", "no/body", every="6h", by="ann")


async def test_a_name_is_taken_once_and_free_after_removal(scheduling):
    await scheduling.add("tides", VOICE, every="6h", by="ann")
    with pytest.raises(WrongStateError, match="remove it first"):
        await scheduling.add("tides", VOICE, every="1h", by="ann")
    await scheduling.remove("Tides")
    await scheduling.add("tides", VOICE, every="1h", by="ann")
    with pytest.raises(NotStoredError):
        await scheduling.remove("tide")


async def test_a_damaged_row_hides_no_other(store, scheduling):
    await store.write(outbox.add_schedule, Schedule("broken", VOICE, "cron", "?", "UTC", "a test", NOON.isoformat(), None))
    await scheduling.add("tides", VOICE, every="6h", by="ann")
    assert [planned.schedule.name for planned in await scheduling.listed()] == ["tides"]


# ------------------------------------------------------------------- what is fired


@pytest.fixture
def live(store, drafts) -> Scheduling:
    """Goes by the clock on the wall."""
    return Scheduling(store, drafts)


async def test_what_is_in_the_table_at_the_start_fires_and_the_run_is_marked_before(store, drafts, live):
    await store.write(outbox.add_schedule, due("tides"))
    async with running(live):
        assert await drafts.fired.get() == "tides"
    assert drafts.marked == [True]


async def test_a_broken_row_stops_nothing(store, drafts, live):
    await store.write(outbox.add_schedule, Schedule("broken", VOICE, "cron", "?", "UTC", "a test", NOON.isoformat(), None))
    await store.write(outbox.add_schedule, due("tides"))
    async with running(live):
        assert await drafts.fired.get() == "tides"


async def test_while_posting_is_paused_a_time_passes_and_is_not_made_up(store, drafts, live):
    await store.write(outbox.pause, "ann", "")
    await store.write(outbox.add_schedule, due("tides"))
    async with running(live):
        while (await live.listed())[0].schedule.last_run_at is None:
            await store.changed()
        await store.write(outbox.resume, "ann")
        await store.write(outbox.add_schedule, due("weather"))
        assert await drafts.fired.get() == "weather"
    assert drafts.fired.empty()


async def test_two_that_are_due_at_once_both_fire(store, drafts, live):
    for name in ("tides", "weather"):
        await store.write(outbox.add_schedule, due(name))
    async with running(live):
        assert {await drafts.fired.get(), await drafts.fired.get()} == {"tides", "weather"}


async def test_another_process_adds_and_removes(store, drafts, live):
    async with Store(store.path) as other, running(live):
        await other.write(outbox.add_schedule, due("tides"))
        assert await drafts.fired.get() == "tides"
        await other.write(outbox.remove_schedule, "tides")
        while live._loaded:
            await store.changed()
        # The same name again is another schedule, with times of its own.
        await other.write(outbox.add_schedule, due("tides", timedelta(seconds=2)))
        assert await drafts.fired.get() == "tides"


async def test_a_restart_neither_repeats_a_run_nor_shifts_the_phase(store, drafts, live):
    await store.write(outbox.add_schedule, due("tides"))
    before = (await live.listed())[0].times
    async with running(live):
        await drafts.fired.get()
    again = Scheduling(store, drafts)
    async with running(again):
        await store.write(outbox.add_schedule, due("weather"))
        assert await drafts.fired.get() == "weather", "had tides fired again, it had come first"
        assert (await again.listed())[0].times == before
    assert drafts.fired.empty()


async def test_a_time_missed_by_more_than_the_grace_is_skipped(store, drafts, live):
    await store.write(outbox.add_schedule, due("tides", timedelta(minutes=10)))
    await store.write(outbox.add_schedule, due("weather"))
    async with running(live):
        assert await drafts.fired.get() == "weather"
    assert [s.last_run_at for s in await store.read(outbox.schedules) if s.name == "tides"] == [None]


@pytest.mark.parametrize("error", [SpeechFailedError("No line came."), RuntimeError("a defect")])
async def test_a_draft_that_fails_leaves_the_schedule_alive(store, drafts, live, error):
    drafts.fails = error
    await store.write(outbox.add_schedule, due("tides"))
    async with running(live):
        await drafts.fired.get()
        await store.write(outbox.add_schedule, due("weather"))
        assert await drafts.fired.get() == "weather"
        assert set(live._loaded) == {"tides", "weather"}


async def test_a_voice_forgotten_takes_its_schedules_along(store, live):
    await store.write(outbox.add_schedule, due("tides", -timedelta(minutes=30)))
    async with running(live):
        while not live._loaded:
            await store.changed()
        await store.write(accounts.forget, VOICE)
        while live._loaded:
            await store.changed()
    assert await live.listed() == []


async def test_the_end_cuts_a_draft_off(store):
    started, cut = asyncio.Event(), asyncio.Event()

    async def slow(_schedule: Schedule) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    await store.write(outbox.add_schedule, due("tides"))
    async with running(Scheduling(store, slow)):
        await started.wait()
    assert cut.is_set()
