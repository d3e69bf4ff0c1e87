"""When a schedule fires: spans, clock times and cron lines as people write them, and the moments that they mean, in any zone and year.

A time of the wall clock that happens twice, when clocks go back, counts once, the first time. One that does not happen, when they go
forward, is *lost*, and its moment is that of the change. A cron line with `*` for its minutes or hours goes by real time instead, as
cron's own do: twice where the hour comes twice, and losing nothing.
"""

import hashlib
import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import groupby, islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

from bot.errors import BadRequestError
from data.schedules import Schedule
from data.store import stamp

SCHEDULE_NAME = "[a-z0-9][a-z0-9_-]{0,31}"
MIN_SECONDS = 60
MAX_SECONDS = 366 * 86400
SHOWN_TIMES = 3
LONGEST_ZONE = 64  # characters; the longest there is has 32
LONGEST_FOLD = timedelta(hours=3)  # that clocks went back by, anywhere since 1970, is less
MOST_QUIET = 5000  # times in a row that fall into the quiet hours, after which a schedule has no next one
_SPAN = re.compile(r"([0-9]{1,8})\s*(w(?:eeks?)?|d(?:ays?)?|h(?:ours?|rs?)?|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?)\s*", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_CLOCK = re.compile(r"([0-9]{1,2})(?:[:.h]?([0-9]{2})|h)?(am|pm)?", re.ASCII)
_HALVES = re.compile(r"([0-9])\s+([ap])\.?m\b\.?|([0-9])([ap])\.m\.?", re.ASCII)
_NAMED = {"noon": "12:00", "midday": "12:00", "midnight": "00:00"}
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SETS = {"weekdays": _WEEK[:5], "weekday": _WEEK[:5], "weekends": _WEEK[5:], "weekend": _WEEK[5:], "daily": _WEEK, "everyday": _WEEK}
_FILLERS = {"and", "at", "every", "each", "on", "&", "+", "day"}
_WEEKDAYS = re.compile(r"(?:(\*)|([a-z0-9]+)(?:-([a-z0-9]+))?)(?:/([0-9]{1,2}))?", re.ASCII)


@dataclass(frozen=True)
class Time:
    """One time of a schedule."""

    nominal: datetime
    """The time that the schedule names, in its zone; no two of a schedule are equal."""
    at: datetime
    """When the post is to go: the nominal time, and what was drawn of the jitter."""
    lost: str = ""
    """Times of the wall clock that the clocks went over, so that `nominal` is their change; empty: none."""
    shown: bool = True
    """The clock shows a time of the schedule; False: it stands for lost ones alone."""


def times_of(schedule: Schedule, after: datetime) -> Iterator[Time]:
    """Yield a schedule's times whose nominal one is after `after`, in order, without those in its quiet hours.

    What is drawn of the jitter comes from the name and the nominal time, so it is the same whoever asks and whenever. It ends before the
    next nominal time, and where it would end in the quiet hours it is nothing.

    Raises:
        BadRequestError: the row holds no times.
    """
    zone = zone_of(schedule.timezone)
    quiet = _quiet(schedule.quiet) if schedule.quiet else None
    skipped = 0
    for (nominal, lost, shown), following in _pairs(_nominals(schedule, zone, after.astimezone(UTC))):
        if quiet and _within(nominal.astimezone(zone), quiet):
            skipped += 1
            if skipped == MOST_QUIET:
                return
            continue
        skipped = 0
        at = nominal + _drawn(schedule, nominal, following)
        if quiet and _within(at.astimezone(zone), quiet):
            at = nominal
        yield Time(nominal.astimezone(zone), at.astimezone(zone), lost, shown)


def upcoming(schedule: Schedule, now: datetime) -> Iterator[datetime]:
    """Yield the moments of a schedule after `now`, in its zone and in order.

    Raises:
        BadRequestError: the row holds no times.
    """
    begun = now - timedelta(seconds=schedule.jitter)
    return (time.at for time in times_of(schedule, begun) if time.at > now)


def next_times(schedule: Schedule, now: datetime, count: int = SHOWN_TIMES) -> list[datetime]:
    """Return the next `count` moments of a schedule after `now`, fewer if it ends.

    Raises:
        BadRequestError: the row holds no times.
    """
    return list(islice(upcoming(schedule, now), count))


# ------------------------------------------------------------------ what people write


def seconds_of(text: str, least: int = MIN_SECONDS) -> int:
    """Return the seconds of a span such as 90s, 30m, 6h, 1d, 1h30m or 2 hours.

    Raises:
        BadRequestError: it is none, or shorter than `least` seconds, or longer than a leap year.
    """
    written, seconds, at = text.strip().lower(), 0, 0
    while found := _SPAN.match(written, at):
        seconds, at = seconds + int(found[1]) * _UNITS[found[2][0]], found.end()
    known = written == "0" or (at == len(written) and at > 0)
    if not known or not least <= seconds <= MAX_SECONDS:
        raise BadRequestError(f"{text[:20]!r} is not a span of {least} seconds to 366 days: write 90s, 30m, 6h or 1d.")
    return seconds


def span(seconds: int) -> str:
    """Return a span as people write it, such as 1h30m."""
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        parts += [f"{number}{unit}"] if number else []
    return "".join(parts) or "0s"


def clock_times(text: str) -> str:
    """Return times of the day, of all days or of some, as they are stored: `09:00, mon-fri 12:30 18:30, sun 10:00`.

    Days stand before their times, and times before any day are every day's: `9:00, 18:30`; `mon-fri 9am 6pm, sat 10`; `weekends at noon`.

    Raises:
        BadRequestError: a word of it is neither a day nor a time, or a day has no time.
    """
    found = _clock_times(text)
    of_all = {moment for _, moment in found if {("", moment)} & found or {(day, moment) for day in _WEEK} <= found}
    parts = [f"{moment:%H:%M}" for moment in sorted(of_all)]
    by_day = [(day, sorted(moment for name, moment in found if name == day and moment not in of_all)) for day in _WEEK]
    alike: dict[tuple[time, ...], list[str]] = {}
    for day, moments in by_day:
        if moments:
            alike.setdefault(tuple(moments), []).append(day)
    parts += [" ".join([_days_as_written(days), *(f"{moment:%H:%M}" for moment in moments)]) for moments, days in alike.items()]
    return ", ".join(parts)


def _clock_times(text: str) -> set[tuple[str, time]]:
    """Return what a text means as pairs of a day of the week, or '' for all, and a time."""
    found: set[tuple[str, time]] = set()
    days: list[str] = []
    timed = True  # whether the days named last have a time already
    words = [word for word in re.split(r"[,;\s]+", _plain(text)) if word and word not in _FILLERS]
    for word in words:
        if named := _named_days(word):
            days = [*named] if timed else [*days, *named]
            timed = False
        else:
            moment = _clock(word)
            found.update((day, moment) for day in days or [""])
            timed = True
    if not timed or not found:
        raise BadRequestError(f"{text[:40]!r} names no time: write such as 9:00, 18:30, or mon 9:00, fri 18:30.")
    return found


def _days_as_written(days: list[str]) -> str:
    """Return days of the week, given in their order, with three or more in a row as mon-wed."""
    rows: list[list[str]] = []
    for day in days:
        if rows and _WEEK.index(rows[-1][-1]) + 1 == _WEEK.index(day):
            rows[-1].append(day)
        else:
            rows.append([day])
    return " ".join(f"{row[0]}-{row[-1]}" if len(row) > 2 else " ".join(row) for row in rows)


def quiet_hours(text: str) -> str:
    """Return hours such as 22:00-07:00 as they are stored; they may go over midnight, and the end is not among them.

    Raises:
        BadRequestError: they are none, or the whole day.
    """
    ends = _plain(text).removeprefix("from ").split("-")
    try:
        start, end = (_clock(part) for part in ends)
    except (ValueError, BadRequestError):
        start = end = time()
    if start == end:
        raise BadRequestError(f"{text[:40]!r} are no quiet hours: write such as 22:00-07:00.")
    return f"{start:%H:%M}-{end:%H:%M}"


def cron_line(text: str) -> str:
    """Return a cron line as it is stored.

    Raises:
        BadRequestError: it is none, or means two things.
    """
    line = " ".join(text.lower().split())
    _trigger(line)
    return line


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its name.

    Raises:
        BadRequestError: there is none of this name.
    """
    try:
        if len(name) > LONGEST_ZONE:  # else each of its slashes is a package within another that Python looks for
            raise KeyError(name)
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # unknown, malformed, a folder
        raise BadRequestError(f"There is no time zone {name[:40]!r}: write one such as Europe/Madrid, or UTC.") from error


# --------------------------------------------------------------------- nominal times


class _Nominal(NamedTuple):
    instant: datetime
    lost: str
    shown: bool


def _nominals(schedule: Schedule, zone: ZoneInfo, after: datetime) -> Iterator[_Nominal]:
    """Yield the instants after `after`, in UTC and each once."""
    if schedule.kind == "every":
        yield from (_Nominal(instant, "", True) for instant in _every(schedule, after))
        return
    begun = (after.astimezone(zone) - LONGEST_FOLD).replace(tzinfo=None)
    try:
        if schedule.kind == "times":
            instants = (_instant(wall, zone) for wall in _clock_walls(schedule.expression, begun))
        elif "*" in "".join(schedule.expression.split()[:2]):
            both = (_both(schedule.expression, begun, zone, fold) for fold in (0, 1))
            instants = ((instant, "") for instant in heapq.merge(*both))
        else:
            instants = (_instant(wall, zone) for wall in _cron_walls(schedule.expression, begun))
        for instant, lots in groupby(instants, key=lambda pair: pair[0]):
            lost = [wall for _, wall in lots]
            if instant > after:
                yield _Nominal(instant, ", ".join(filter(None, lost)), "" in lost)
    except (OverflowError, ValueError) as error:
        if isinstance(error, OverflowError):
            return  # the year 9999
        raise BadRequestError(f"The schedule {schedule.name} holds no times: remove it and add it again.") from error


def _every(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """Yield every so many seconds from when the schedule was made, so that a restart does not shift it."""
    try:
        created, step = datetime.fromisoformat(schedule.created_at).astimezone(UTC), timedelta(seconds=int(schedule.expression))
        number = max(1, (after - created) // step + 1)
        while True:
            yield created + number * step
            number += 1
    except (ValueError, ZeroDivisionError) as error:
        raise BadRequestError(f"The schedule {schedule.name} holds no times: remove it and add it again.") from error
    except OverflowError:
        return


def _cron_walls(line: str, begun: datetime) -> Iterator[datetime]:
    """Yield the times of the wall clock that a cron line names; in UTC, for APScheduler's way with changes of clocks is another."""
    trigger = _trigger(line)
    moment = trigger.get_next_fire_time(None, begun.replace(tzinfo=UTC))
    while moment:
        yield moment.replace(tzinfo=None)
        moment = trigger.get_next_fire_time(moment, moment)


def _clock_walls(expression: str, begun: datetime) -> Iterator[datetime]:
    times = _clock_times(expression)
    day = begun.date()
    while True:
        moments = sorted({moment for name, moment in times if name in ("", _WEEK[day.weekday()])})
        yield from (wall for moment in moments if (wall := datetime.combine(day, moment)) >= begun)
        day += timedelta(days=1)


def _instant(wall: datetime, zone: ZoneInfo) -> tuple[datetime, str]:
    """Return the first instant at which the wall clock shows a time, or the change that went over it, and then the time as well."""
    first = wall.replace(tzinfo=zone).astimezone(UTC)
    if _shown(first, zone) == wall:
        return first, ""
    # Read by the offset after the change it lies before it, and by the offset before the change behind it.
    low, high = wall.replace(tzinfo=zone, fold=1).astimezone(UTC), first
    offset = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == offset else (low, middle)
    return high, f"{wall:%H:%M}"


def _both(line: str, begun: datetime, zone: ZoneInfo, fold: int) -> Iterator[datetime]:
    """Yield the instants of a cron line that goes by real time, of the first or of the second time that the clock shows each."""
    for wall in _cron_walls(line, begun):
        instant = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if _shown(instant, zone) == wall:
            yield instant


def _shown(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def _pairs(nominals: Iterator[_Nominal]) -> Iterator[tuple[_Nominal, datetime | None]]:
    """Yield each with the instant of the next; None after the last."""
    last = None
    for current in nominals:
        if last:
            yield last, current.instant
        last = current
    if last:
        yield last, None


def _drawn(schedule: Schedule, nominal: datetime, following: datetime | None) -> timedelta:
    if not schedule.jitter:
        return timedelta()
    room = min(timedelta(seconds=schedule.jitter), following - nominal) if following else timedelta(seconds=schedule.jitter)
    share = int.from_bytes(hashlib.sha256(f"{schedule.name} {stamp(nominal)}".encode()).digest()[:6]) / 2**48
    return timedelta(seconds=int(room.total_seconds() * share))


# ------------------------------------------------------------------------- parts


def _plain(text: str) -> str:
    """Return what was typed in one way: lower case, 6pm for 6 p.m., a bare hyphen between what belongs together."""
    joined = _HALVES.sub(lambda found: f"{found[1] or found[3]}{found[2] or found[4]}m", text.strip().lower())
    return re.sub(r"\s*[-\u2013\u2014]\s*|\s+(?:to|until|till)\s+", "-", joined)


def _quiet(text: str) -> tuple[time, time]:
    start, end = (time.fromisoformat(part) for part in text.split("-"))
    return start, end


def _within(moment: datetime, quiet: tuple[time, time]) -> bool:
    start, end = quiet
    shown = moment.time()
    return start <= shown < end if start < end else shown >= start or shown < end


def _named_days(word: str) -> list[str]:
    """Return the days of the week that a word names: mon, mondays, mon-fri, weekends; none where it is no day."""
    if word in _SETS:
        return [*_SETS[word]]
    ends = [_week_day(part) for part in word.split("-")]
    if not 1 <= len(ends) <= 2 or None in ends:
        return []
    start, end = (_WEEK.index(day) for day in (ends[0], ends[-1]) if day)
    return [_WEEK[(start + step) % 7] for step in range((end - start) % 7 + 1)]


def _week_day(word: str) -> str | None:
    full = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    plain = word.removesuffix(".").removesuffix("s")
    return next((day[:3] for day in full if len(plain) >= 3 and day.startswith(plain)), None)


def _clock(word: str) -> time:
    """Return a time of the day: 9:00, 9.30, 18h30, 9, 6pm, 0930, noon or midnight."""
    found = _CLOCK.fullmatch(_NAMED.get(word, word))
    hour, minute = (int(found[1]), int(found[2] or 0)) if found else (24, 0)
    half = found and found[3]
    if half:
        hour = hour % 12 + 12 * (half == "pm") if 1 <= hour <= 12 else 24
    if hour > 23 or minute > 59:
        raise BadRequestError(f"{word[:20]!r} is neither a day nor a time: write such as 9:00, 18:30, or mon 9:00, fri 18:30.")
    return time(hour, minute)


def _trigger(line: str) -> CronTrigger:
    fields = line.split()
    if len(fields) != 5:
        raise BadRequestError(f"A cron line has five fields, such as 0 9 * * 1-5; {line[:40]!r} has {len(fields)}.")
    if fields[2] != "*" and fields[4] != "*":
        # cron fires on either, APScheduler on both together: whoever writes this would be surprised by one of them.
        raise BadRequestError("Give the day of the month or the day of the week, and * for the other: together they mean two things.")
    try:
        return CronTrigger.from_crontab(" ".join([*fields[:4], _weekdays(fields[4])]), UTC)
    except ValueError as error:
        raise BadRequestError(f"The cron line {line[:40]!r} is wrong: {str(error).rstrip('.')}.") from error


def _weekdays(field: str) -> str:
    """Return cron's days of the week in names, for APScheduler counts its numbers from Monday where cron's 0 is Sunday."""
    if field == "*":
        return field
    days: set[int] = set()
    for part in field.split(","):
        found = _WEEKDAYS.fullmatch(part)
        if not found or found[4] == "0":
            raise ValueError(f"{part!r} is not a day of the week")
        star, first, last, step = found.groups()
        start = 0 if star else _day(first)
        # Without an end, a step runs to the end of the week, as in cron.
        end = 6 if star or (step and not last) else _day(last or first)
        if end < start:
            end += 7  # fri-mon, and 5-7
        days.update(day % 7 for day in range(start, end + 1, int(step or 1)))
    return ",".join(_DAYS[day] for day in sorted(days))


def _day(text: str) -> int:
    if text in _DAYS:
        return _DAYS.index(text)
    if text.isdecimal() and int(text) <= 7:
        return int(text)
    raise ValueError(f"{text!r} is not a day of the week")
