"""When schedules fire, in a time that only these tests know."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.errors import BadRequestError
from bot.services.times import GRACE, first_time, next_times, seconds_of, trigger_of, zone_of
from data.outbox import Schedule

CREATED = datetime(2026, 11, 21, 12, 0, 7, tzinfo=UTC)  # a Saturday


def schedule(kind: str, expression: str, timezone: str = "UTC", last_run_at: datetime | None = None) -> Schedule:
    return Schedule(
        "tides", "ottoline", kind, expression, timezone, "ann", CREATED.isoformat(), last_run_at.isoformat() if last_run_at else None
    )


def cron(expression: str, now: datetime = CREATED, timezone: str = "UTC", count: int = 3) -> list[str]:
    return [f"{moment:%a %d %b %H:%M}" for moment in next_times(schedule("cron", expression, timezone), now, count)]


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), (" 6H ", 21600), ("1d", 86400), ("60 s", 60)])
def test_a_span(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "59s", "0m", "6", "h", "1.5h", "-1h", "1w", "367d", "\u0663\u0660m", "9" * 500 + "d"])
def test_no_span(text):
    with pytest.raises(BadRequestError, match="write 90s, 30m, 6h or 1d") as caught:
        seconds_of(text)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../../etc/passwd", "Europe", "/etc/localtime", "a\0b", "x" * 5000])
def test_no_time_zone(name):
    with pytest.raises(BadRequestError, match="no time zone"):
        zone_of(name)


def test_every_counts_from_when_it_was_made_whenever_it_is_loaded():
    every = schedule("every", "5400")
    for started in (timedelta(minutes=1), timedelta(days=40, minutes=11), timedelta(days=400, seconds=3)):
        for moment in next_times(every, CREATED + started):
            assert (moment - CREATED) % timedelta(minutes=90) == timedelta()
            assert moment > CREATED + started


def test_every_first_fires_after_one_span():
    assert next_times(schedule("every", "5400"), CREATED) == [CREATED + timedelta(minutes=90 * n) for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("0", "Sun Sun Sun"),
        ("7", "Sun Sun Sun"),
        ("1", "Mon Mon Mon"),
        ("1-5", "Mon Tue Wed Thu Fri"),
        ("0-7", "Sun Mon Tue Wed Thu Fri Sat"),
        ("5-7", "Sun Fri Sat"),
        ("fri-mon", "Sun Mon Fri Sat"),
        ("*/2", "Sun Tue Thu Sat"),
        ("MON,wed,5", "Mon Wed Fri"),
    ],
)
def test_days_of_the_week_are_cron_s(field, days):
    """APScheduler alone would count 0 as Monday."""
    count = len(days.split())
    assert " ".join(line[:3] for line in cron(f"0 9 * * {field.lower()}", count=count)) == days


@pytest.mark.parametrize(
    "line",
    [
        "",
        "* * * *",
        "* * * * * *",
        "61 * * * *",
        "a * * * *",
        "*/0 * * * *",
        "0 9 * * 8",
        "0 9 * * 1-",
        "0 9 * * */0",
        "0 9 * * x",
        "0 9 1 * 1",
    ],
)
def test_no_cron_line(line):
    with pytest.raises(BadRequestError) as caught:
        trigger_of(schedule("cron", line))
    assert str(caught.value).count(". ") == 0
    assert str(caught.value).endswith(".")


def test_cron_fires_in_its_time_zone_over_a_change_of_clocks():
    before = datetime(2026, 10, 24, 0, 0, tzinfo=UTC)
    times = next_times(schedule("cron", "0 9 * * *", "Europe/Madrid"), before)
    assert [f"{t:%d %H:%M}" for t in times] == ["24 09:00", "25 09:00", "26 09:00"]
    assert [f"{t.astimezone(UTC):%d %H:%M}" for t in times] == ["24 07:00", "25 08:00", "26 08:00"]


def test_a_leap_day():
    assert [t.year for t in next_times(schedule("cron", "0 0 29 2 *"), CREATED)] == [2028, 2032, 2036]


def test_a_day_that_never_comes():
    assert next_times(schedule("cron", "0 0 30 2 *"), CREATED) == []


def test_a_damaged_row_is_a_sentence():
    with pytest.raises(BadRequestError, match="remove it and add it again"):
        trigger_of(schedule("every", "often"))


def test_a_time_missed_within_the_grace_is_made_up():
    hourly = schedule("every", "3600", last_run_at=CREATED + timedelta(hours=3, seconds=1))
    due = CREATED + timedelta(hours=4)
    assert first_time(hourly, due + GRACE) == due
    assert first_time(hourly, due + GRACE + timedelta(seconds=1)) == due + timedelta(hours=1)


def test_a_time_that_was_run_is_not_run_again_after_a_restart():
    ran = CREATED + timedelta(hours=4)
    for late in (timedelta(), timedelta(milliseconds=3)):
        hourly = schedule("every", "3600", last_run_at=ran + late)
        assert first_time(hourly, ran + timedelta(seconds=2)) == ran + timedelta(hours=1)


def test_a_cron_time_before_the_schedule_was_made_is_not_made_up():
    assert first_time(schedule("cron", "0 12 * * *"), CREATED + timedelta(seconds=1)) == datetime(2026, 11, 22, 12, tzinfo=UTC)
