"""When a schedule fires: spans and cron lines as people write them, and the times that they mean."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from bot.errors import BadRequestError
from data.outbox import Schedule

MIN_SECONDS = 60
MAX_SECONDS = 366 * 86400
GRACE = timedelta(minutes=5)  # a time missed by less, as in a restart, is made up once; by more, it is skipped
SHOWN_TIMES = 3
_EVERY = re.compile(r"([0-9]{1,8})\s*([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WEEKDAYS = re.compile(r"(?:(\*)|([a-z0-9]+)(?:-([a-z0-9]+))?)(?:/([0-9]{1,2}))?", re.ASCII)


def trigger_of(schedule: Schedule) -> BaseTrigger:
    """Return what knows a schedule's times.

    An `every` schedule counts from when it was made, so that a restart does not shift it.

    Raises:
        BadRequestError: the row holds no times.
    """
    zone = zone_of(schedule.timezone)
    if schedule.kind == "every":
        try:
            created, seconds = datetime.fromisoformat(schedule.created_at), int(schedule.expression)
        except ValueError as error:
            raise BadRequestError(f"The schedule {schedule.name} holds no times: remove it and add it again.") from error
        return IntervalTrigger(seconds=seconds, start_date=created + timedelta(seconds=seconds), timezone=zone)
    fields = schedule.expression.split()
    if len(fields) != 5:
        raise BadRequestError(f"A cron line has five fields, such as 0 9 * * 1-5; {schedule.expression!r} has {len(fields)}.")
    if fields[2] != "*" and fields[4] != "*":
        # cron fires on either, APScheduler on both together: whoever writes this would be surprised by one of them.
        raise BadRequestError("Give the day of the month or the day of the week, and * for the other: together they mean two things.")
    try:
        return CronTrigger.from_crontab(" ".join([*fields[:4], _weekdays(fields[4])]), zone)
    except ValueError as error:
        raise BadRequestError(f"The cron line {schedule.expression!r} is wrong: {str(error).rstrip('.')}.") from error


def next_times(schedule: Schedule, now: datetime, count: int = SHOWN_TIMES) -> list[datetime]:
    """Return the next times of a schedule after `now`, fewer if it ends.

    Raises:
        BadRequestError: the row holds no times.
    """
    trigger = trigger_of(schedule)

    found: list[datetime] = []
    while len(found) < count and (moment := trigger.get_next_fire_time(found[-1] if found else None, found[-1] if found else now)):
        found.append(moment)
    return found


def first_time(schedule: Schedule, now: datetime) -> datetime | None:
    """Return when a schedule fires first after a start: a time missed within the grace, or the next one.

    Raises:
        BadRequestError: the row holds no times.
    """
    since = datetime.fromisoformat(schedule.last_run_at or schedule.created_at)
    moment: datetime | None = trigger_of(schedule).get_next_fire_time(None, max(since + timedelta(microseconds=1), now - GRACE))
    return moment


def seconds_of(text: str) -> int:
    """Return the seconds of a span such as 90s, 30m, 6h or 1d.

    Raises:
        BadRequestError: it is none, or shorter than a minute, or longer than a leap year.
    """
    found = _EVERY.fullmatch(text.strip().lower())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise BadRequestError(f"{text[:20]!r} is not a span of 60 seconds to 366 days: write 90s, 30m, 6h or 1d.")
    return seconds


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its name.

    Raises:
        BadRequestError: there is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # unknown, malformed, a folder
        raise BadRequestError(f"There is no time zone {name[:40]!r}: write one such as Europe/Madrid, or UTC.") from error


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
