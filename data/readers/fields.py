"""The values that sources write in several ways, and how a file is named in an error."""

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

#: Posts of one file or archive: a few dozen accounts ever wrote more, and whoever imports holds them all.
MAX_POSTS = 2_000_000
#: Characters of one post in an archive; X lets nobody write more than 25,000.
MAX_TEXT = 100_000

# Parsed by hand: strptime's month names follow the locale of the process.
_ARCHIVE_TIME = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d{2}) (\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2}) (\d{4})", re.ASCII)
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
_SPACE_BEFORE_OFFSET = re.compile(r" (?=[+-]\d{2}:?\d{2}$)", re.ASCII)
_YES_NO = {"true": True, "1": True, "yes": True, "t": True, "false": False, "0": False, "no": False, "f": False}


def parse_time(text: object) -> datetime:
    """Return the time in UTC, from ISO 8601 or the archive's `Sat Feb 18 12:33:11 +0000 2023`; one without a zone is UTC already.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(text, str):
        raise ValueError("not text")  # noqa: TRY004 - one kind of error for all that is no time
    if match := _ARCHIVE_TIME.fullmatch(text):
        month, day, hour, minute, second, sign, hours, minutes, year = match.groups()
        if month not in _MONTHS:
            raise ValueError(text)
        offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
        zone = timezone(offset) if offset else UTC
        time = datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second), tzinfo=zone)
    else:
        # Grailbird and many exports write `2014-01-31 12:33:11 +0000` or `... UTC`.
        time = datetime.fromisoformat(_SPACE_BEFORE_OFFSET.sub("", text.strip().removesuffix(" UTC")))
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(text) from error


def whole_number(value: object) -> int | None:
    """Return a whole number of at most 20 digits, which an archive writes as a string; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20:
        return int(value)
    return value if type(value) is int and 0 <= value < 10**20 else None


def parse_flag(value: object) -> bool | None:
    """Return a boolean as it is, the words true/false, yes/no, t/f, 1/0 as what they say, and None for anything else."""
    if isinstance(value, str):
        return _YES_NO.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def storable(text: str) -> str:
    """Return the text with each lone surrogate replaced by U+FFFD: JSON can escape one, UTF-8 and so SQLite cannot hold it.

    One character for one character, neither white space nor `@`, `#` or `http`: no count of words changes.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def shown(path: Path) -> str:
    """Return the file's name fit for a sentence: printable, and no longer than 80 characters."""
    name = "".join(char if char.isprintable() else "?" for char in path.name or str(path))
    return name if len(name) <= 80 else name[:79] + "…"


def reason(error: OSError) -> str:
    """Return what the system says, such as `permission denied`, without the path, which the sentence names already."""
    return (error.strerror or type(error).__name__).lower()
