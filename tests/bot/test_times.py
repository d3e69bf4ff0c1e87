"""When schedules fire: what people write, and the moments that it means, over changes of clocks in three zones and on a leap day."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.errors import BadRequestError
from bot.services.times import Time, clock_times, cron_line, next_times, quiet_hours, seconds_of, span, times_of, zone_of
from data.schedules import Schedule

CREATED = datetime(2026, 11, 21, 12, 0, 7, tzinfo=UTC)  # a Saturday
MADRID, NEW_YORK, LORD_HOWE = "Europe/Madrid", "America/New_York", "Australia/Lord_Howe"


def schedule(kind: str, expression: str, timezone: str = "UTC", name: str = "tides", **more) -> Schedule:
    return Schedule(name, "ottoline", kind, expression, timezone, "ann", CREATED.isoformat(), **more)


def nominal(planned: Schedule, after: datetime, count: int) -> list[Time]:
    return list(islice(times_of(planned, after), count))


def cron(expression: str, now: datetime = CREATED, timezone: str = "UTC", count: int = 3) -> list[str]:
    return [f"{moment:%a %d %b %H:%M}" for moment in next_times(schedule("cron", expression, timezone), now, count)]


def read(what: Callable[[], Any]) -> Any:
    """Return what was read, or None where it was refused, in one sentence."""
    refused: list[str] = []
    try:
        return what()
    except BadRequestError as error:
        refused.append(str(error))
    assert refused[0].endswith(".")
    assert len(refused[0]) < 250
    return None


# ------------------------------------------------------------------------- spans


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        (" 6H ", 21600),
        ("1d", 86400),
        ("60 s", 60),
        ("1h30m", 5400),
        ("2 hours", 7200),
        ("1 week", 604800),
        ("45 min", 2700),
        ("1 hr 5 mins", 3900),
    ],
)
def test_a_span(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "59s", "0", "0m", "6", "h", "1.5h", "-1h", "1y", "367d", "1h-", "h1", "\u0663\u0660m", "9" * 500 + "d"]
)
def test_no_span(text):
    with pytest.raises(BadRequestError, match="write 90s, 30m, 6h or 1d") as caught:
        seconds_of(text)
    assert len(str(caught.value)) < 120


def test_a_span_that_may_be_nothing():
    assert (seconds_of("0", 0), seconds_of("0s", 0), seconds_of("5s", 0)) == (0, 0, 5)


@given(st.integers(0, 366 * 86400))
def test_a_span_as_it_is_written_is_read_again(seconds):
    assert seconds_of(span(seconds), 0) == seconds


@given(st.text())
def test_whatever_is_no_span_is_refused_in_one_sentence(text):
    seconds = read(lambda: seconds_of(text, 0))
    assert seconds is None or 0 <= seconds <= 366 * 86400


# ------------------------------------------------------------------ times of the day


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("9:00, 18:30", "09:00, 18:30"),
        ("18:30 9:00 9:00", "09:00, 18:30"),
        ("9", "09:00"),
        ("9.30 and 18h30", "09:30, 18:30"),
        ("9am, 6:30 p.m.", "09:00, 18:30"),
        ("12am 12pm", "00:00, 12:00"),
        ("noon & midnight", "00:00, 12:00"),
        ("0930", "09:30"),
        ("mon 9:00, fri 18:30", "mon 09:00, fri 18:30"),
        ("every Monday at 9", "mon 09:00"),
        ("Mondays and Thursdays at 9:00", "mon thu 09:00"),
        ("mon, wed 9:00", "mon wed 09:00"),
        ("mon wed 9:00 18:00 sun 10", "mon wed 09:00 18:00, sun 10:00"),
        ("fri-mon 8", "mon fri-sun 08:00"),
        ("Fri \u2013 Sun 8", "fri-sun 08:00"),
        ("weekends at noon", "sat sun 12:00"),
        ("weekdays 9:00; weekends 9:00", "09:00"),
        ("daily 9:00", "09:00"),
        ("every day at 9:00", "09:00"),
        ("9:00, mon 18:30", "09:00, mon 18:30"),
        ("9:00, mon 9:00", "09:00"),
        ("tues 9, thurs 9", "tue thu 09:00"),
    ],
)
def test_times_of_the_day(text, means):
    assert clock_times(text) == means
    assert clock_times(means) == means


@pytest.mark.parametrize(
    "text", ["", "mon", "9:00, mon", "25:00", "9:60", "13pm", "0am", "often", "mo 9", "9:00 xyz", "24:00", "mon-xyz 9", "-"]
)
def test_no_times_of_the_day(text):
    with pytest.raises(BadRequestError, match="write such as 9:00, 18:30") as caught:
        clock_times(text)
    assert str(caught.value).endswith(".")


@given(st.sets(st.tuples(st.sampled_from(["", "mon", "tue", "wed", "thu", "fri", "sat", "sun"]), st.times()), min_size=1, max_size=9))
def test_times_as_they_are_stored_are_read_again(moments):
    text = ", ".join(f"{day} {moment:%H:%M}" for day, moment in sorted(moments))
    stored = clock_times(text)
    assert clock_times(stored) == stored
    shown = [(f"{time.at:%a}".lower(), time.at.time()) for time in nominal(schedule("times", stored), CREATED, 7 * len(moments))]
    week = {(day, moment.replace(second=0, microsecond=0)) for day, moment in moments}
    assert all(("", moment) in week or (day, moment) in week for day, moment in shown)
    assert {moment for _, moment in shown} == {moment for _, moment in week}


@given(st.text(alphabet="0123456789:.,-; aehmnopst\u2013") | st.text())
def test_whatever_is_no_time_is_refused_in_one_sentence(text):
    stored = read(lambda: clock_times(text))
    assert stored is None or nominal(schedule("times", stored), CREATED, 1)


# ---------------------------------------------------------------------- quiet hours


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("22:00-07:00", "22:00-07:00"),
        ("22-7", "22:00-07:00"),
        ("10pm \u2013 7 a.m.", "22:00-07:00"),
        ("from 22:00 to 7:00", "22:00-07:00"),
        ("13:00 until 14:30", "13:00-14:30"),
    ],
)
def test_quiet_hours(text, means):
    assert quiet_hours(text) == means


@pytest.mark.parametrize("text", ["", "22:00", "22:00-", "22-22", "22-7-9", "25-7", "night", "0:00-24:00"])
def test_no_quiet_hours(text):
    with pytest.raises(BadRequestError, match="no quiet hours: write such as 22:00-07:00"):
        quiet_hours(text)


@given(st.text(alphabet="0123456789:-ap m") | st.text())
def test_whatever_are_no_quiet_hours_is_refused_in_one_sentence(text):
    stored = read(lambda: quiet_hours(text))
    assert stored is None or quiet_hours(stored) == stored


@given(st.times(), st.times(), st.integers(1, 20), st.integers(0, 7200), st.sampled_from([MADRID, NEW_YORK, LORD_HOWE]))
def test_nothing_ever_falls_into_the_quiet_hours(start, end, step, jitter, zone):
    start, end = (moment.replace(second=0, microsecond=0) for moment in (start, end))
    if start == end:
        return
    quiet = f"{start:%H:%M}-{end:%H:%M}"
    for moment in nominal(schedule("every", str(step * 997), zone, quiet=quiet, jitter=jitter), CREATED, 30):
        for shown in (moment.nominal.time(), moment.at.time()):
            assert not (start <= shown < end) if start < end else end <= shown < start


def test_quiet_hours_go_over_midnight_and_end_when_they_say():
    hourly = schedule("cron", "0 * * * *", MADRID, quiet="22:00-07:00")
    shown = [time.at.hour for time in nominal(hourly, CREATED, 30)]
    assert set(shown) == set(range(7, 22))
    assert shown[7:10] == [21, 7, 8]


@pytest.mark.parametrize(
    "never",
    [schedule("cron", "0 23 * * *", quiet="22:00-07:00"), schedule("times", "23:00", quiet="22:00-07:00"), schedule("cron", "0 0 30 2 *")],
)
def test_what_is_quiet_always_or_never_comes_has_no_times_and_is_not_looked_for_without_end(never):
    assert next_times(never, CREATED) == []


# -------------------------------------------------------------------------- jitter


@given(st.integers(60, 5000), st.integers(1, 20000), st.text("abc", min_size=1, max_size=5))
def test_what_is_drawn_is_within_the_jitter_before_the_next_time_and_the_same_again(step, jitter, name):
    times = nominal(schedule("every", str(step), name=name, jitter=jitter), CREATED, 20)
    assert times == nominal(schedule("every", str(step), name=name, jitter=jitter), CREATED, 20)
    assert times[5:] == nominal(schedule("every", str(step), name=name, jitter=jitter), times[4].nominal, 15), "whenever it is asked"
    for one, two in pairwise(times):
        assert timedelta() <= one.at - one.nominal < timedelta(seconds=jitter)
        assert one.at < two.nominal


def test_what_is_drawn_is_spread_and_differs_between_schedules():
    ours, theirs = (
        [time.at - time.nominal for time in nominal(schedule("every", "3600", name=n, jitter=1800), CREATED, 400)] for n in "ab"
    )
    minutes = [drawn.total_seconds() / 60 for drawn in ours]
    assert 12 < sum(minutes) / len(minutes) < 18
    assert min(minutes) < 1
    assert max(minutes) > 29
    assert ours != theirs


# --------------------------------------------------------------------------- every


def test_every_counts_from_when_it_was_made_whenever_it_is_loaded():
    every = schedule("every", "5400")
    for started in (timedelta(minutes=1), timedelta(days=40, minutes=11), timedelta(days=400, seconds=3)):
        for moment in next_times(every, CREATED + started):
            assert (moment - CREATED) % timedelta(minutes=90) == timedelta()
            assert moment > CREATED + started


def test_every_first_fires_after_one_span():
    assert next_times(schedule("every", "5400"), CREATED) == [CREATED + timedelta(minutes=90 * n) for n in (1, 2, 3)]


@pytest.mark.parametrize("zone", [MADRID, NEW_YORK, LORD_HOWE])
def test_every_goes_by_real_time_over_a_year_of_changes(zone):
    moments = [time.nominal for time in nominal(schedule("every", "3600", zone), CREATED, 9000)]
    assert {two.astimezone(UTC) - one.astimezone(UTC) for one, two in pairwise(moments)} == {timedelta(hours=1)}


# ---------------------------------------------------------------------------- cron


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
        cron_line(line)
    assert str(caught.value).count(". ") == 0
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../../etc/passwd", "Europe", "/etc/localtime", "a\0b", "x" * 5000, "/a" * 2000, "a/" * 32]
)
def test_no_time_zone(name):
    with pytest.raises(BadRequestError, match="no time zone"):
        zone_of(name)


@pytest.mark.parametrize(("kind", "expression"), [("every", "often"), ("every", "0"), ("times", "often"), ("cron", "?")])
def test_a_damaged_row_is_a_sentence(kind, expression):
    with pytest.raises(BadRequestError, match=r"\.$"):
        next_times(schedule(kind, expression), CREATED)


@pytest.mark.parametrize("kind", ["cron", "times"])
def test_the_last_year_has_an_end(kind):
    late = datetime(9999, 12, 31, 8, tzinfo=UTC)
    found = next_times(schedule(kind, "0 9 * * *" if kind == "cron" else "09:00"), late)
    assert found in ([], [late.replace(hour=9)])


# ---------------------------------------------------------- changes of clocks, leap days


def walls(planned: Schedule, day: datetime, count: int) -> list[str]:
    """Return the next times as the wall clock shows them, with the offset, and what was lost."""
    return [f"{time.nominal:%d %H:%M %z}{' for ' + time.lost if time.lost else ''}" for time in nominal(planned, day, count)]


#: Zone, noon of the day before, the hour that is lost or comes twice, and what `09:00` is before and after.
FORWARD = [
    (MADRID, datetime(2027, 3, 27, 12, tzinfo=UTC), "28", "02:30", "03:00 +0200", ["28 09:00 +0200", "29 09:00 +0200"]),
    (NEW_YORK, datetime(2027, 3, 13, 17, tzinfo=UTC), "14", "02:30", "03:00 -0400", ["14 09:00 -0400", "15 09:00 -0400"]),
    (LORD_HOWE, datetime(2026, 10, 3, 2, tzinfo=UTC), "04", "02:15", "02:30 +1100", ["04 09:00 +1100", "05 09:00 +1100"]),
]
BACK = [
    (MADRID, datetime(2026, 10, 24, 12, tzinfo=UTC), "25", "02:30", "+0200", "+0100", ["25 09:00 +0100", "26 09:00 +0100"]),
    (NEW_YORK, datetime(2026, 10, 31, 17, tzinfo=UTC), "01", "01:30", "-0400", "-0500", ["01 09:00 -0500", "02 09:00 -0500"]),
    (LORD_HOWE, datetime(2027, 4, 3, 2, tzinfo=UTC), "04", "01:45", "+1100", "+1030", ["04 09:00 +1030", "05 09:00 +1030"]),
]


def daily(kind: str, wall: str, zone: str) -> Schedule:
    hour, minute = wall.split(":")
    return schedule(kind, f"{int(minute)} {int(hour)} * * *" if kind == "cron" else wall, zone)


@pytest.mark.parametrize("kind", ["cron", "times"])
@pytest.mark.parametrize(("zone", "day", "date", "lost", "change", "nine"), FORWARD)
def test_nine_o_clock_is_nine_o_clock_and_a_time_that_is_lost_falls_on_the_change(kind, zone, day, date, lost, change, nine):
    assert walls(daily(kind, "09:00", zone), day, 2) == nine
    first, second = walls(daily(kind, lost, zone), day, 2)
    assert first == f"{date} {change} for {lost}"
    assert second[3:8] == lost


@pytest.mark.parametrize("kind", ["cron", "times"])
@pytest.mark.parametrize(("zone", "day", "date", "twice", "summer", "winter", "nine"), BACK)
def test_a_time_that_comes_twice_counts_once(kind, zone, day, date, twice, summer, winter, nine):
    assert walls(daily(kind, "09:00", zone), day, 2) == nine
    first, second = walls(daily(kind, twice, zone), day, 2)
    assert first == f"{date} {twice} {summer}"
    assert second[:2] != date
    assert second.endswith(winter)
    between = datetime.fromisoformat(f"{nominal(daily(kind, twice, zone), day, 1)[0].nominal}") + timedelta(minutes=5)
    assert walls(daily(kind, twice, zone), between, 1) == [second], "nor when it is asked for in between"


@pytest.mark.parametrize(("zone", "day", "date", "lost", "change", "nine"), FORWARD)
def test_what_is_lost_beside_a_time_that_is_shown_is_no_second_one(zone, day, date, lost, change, nine):
    del nine
    both = schedule("times", f"{lost}, {change[:5]}", zone)
    found = nominal(both, day, 2)
    assert walls(both, day, 1) == [f"{date} {change} for {lost}"]
    assert [time.shown for time in found] == [True, True]
    assert [time.shown for time in nominal(daily("times", lost, zone), day, 2)] == [False, True]


@pytest.mark.parametrize(("zone", "day"), [(zone, day) for zone, day, *_ in FORWARD + BACK])
def test_a_cron_line_for_each_hour_or_each_ten_minutes_goes_by_real_time(zone, day):
    for line, gap in (("0 * * * *", 60), ("*/10 * * * *", 10)):
        moments = [time.nominal.astimezone(UTC) for time in nominal(schedule("cron", line, zone), day, 30 * 60 // gap)]
        gaps = {(two - one) // timedelta(minutes=1) for one, two in pairwise(moments)}
        # Where the clocks are moved by half an hour, two full hours of the wall clock are an hour and a half apart.
        assert gaps == ({60, 90} if (zone, gap) == (LORD_HOWE, 60) else {gap})
        assert len(set(moments)) == len(moments)


@example(LORD_HOWE, datetime(2022, 4, 1, 15, tzinfo=UTC), "*/15 1-3 * * *")  # 01:45 is before the second 01:30
@given(
    st.sampled_from([MADRID, NEW_YORK, LORD_HOWE, "Africa/Casablanca", "Pacific/Apia", "Antarctica/Troll"]),
    st.integers(1_200_000_000, 1_900_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    st.sampled_from(["30 2 * * *", "*/15 1-3 * * *", "*/20 * * * *", "0 0 * * 0", "15 2,3 * * *"]),
)
def test_in_any_zone_times_only_go_forward_and_are_the_same_from_wherever_one_looks(zone, after, line):
    times = nominal(schedule("cron", line, zone), after, 12)
    moments = [time.nominal.astimezone(UTC) for time in times]  # of one zone Python compares what the wall clock shows
    assert all(one < two for one, two in pairwise(moments))
    assert all(time.nominal > after for time in times)
    for number, each in enumerate(times[:-1]):
        assert nominal(schedule("cron", line, zone), each.nominal, 1) == times[number + 1 : number + 2]


@pytest.mark.parametrize("zone", [MADRID, NEW_YORK, LORD_HOWE])
def test_over_two_years_each_day_has_its_time_once(zone):
    moments = [time.nominal for time in nominal(schedule("times", "02:15", zone), CREATED, 730)]
    days = [moment.date() for moment in moments]
    assert [two - one for one, two in pairwise(days)] == [timedelta(days=1)] * 729
    elsewhere = {moment.time() for moment in moments} - {time(2, 15)}
    assert elsewhere == {time(2, 30) if zone == LORD_HOWE else time(3)}


def test_a_leap_day():
    assert [t.year for t in next_times(schedule("cron", "0 0 29 2 *"), CREATED)] == [2028, 2032, 2036]
    leap = datetime(2028, 2, 28, 12, tzinfo=ZoneInfo(MADRID))
    assert walls(schedule("times", "09:00", MADRID), leap, 2) == ["29 09:00 +0100", "01 09:00 +0100"]
    assert walls(schedule("times", "tue 09:00, wed 09:00", MADRID), leap, 2) == ["29 09:00 +0100", "01 09:00 +0100"]
    assert walls(schedule("every", "86400", MADRID), leap, 2) == ["28 13:00 +0100", "29 13:00 +0100"]
