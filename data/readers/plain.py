"""Plain files of posts: JSON lines, CSV, and text with one post a line; all are read as a stream."""

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from data.errors import SourceError
from data.readers.container import Room
from data.readers.fields import MAX_POSTS, parse_flag, parse_time, shown, storable
from data.tweets import SOFT_RETWEET, Tweet, made_up_id

#: Bytes of one line, and characters of one CSV field.
MAX_LINE = 4 << 20

_TEXT_COLUMNS = ("text", "full_text", "tweet", "content")
_DELIMITERS = ",;\t"
# Spreadsheets turn long ids into `1.23457E+18`, the same one for many posts.
_SPREADSHEET_ID = re.compile(r"\d+(?:[.,]\d+)?E\+\d+", re.ASCII | re.IGNORECASE)
_PARENT_COLUMNS = ("in_reply_to_status_id_str", "in_reply_to_status_id", "in_reply_to")
# A column of ids with gaps in it comes out of pandas as floats, which round ids, with these words in the gaps.
_NO_PARENT = re.compile(r"nan|none|null|\d+\.\d*", re.ASCII | re.IGNORECASE)


def read_jsonl(path: Path) -> Iterator[Tweet]:
    """Yield a post for each line that is an object with `text` or `full_text`.

    Optional are `id`, `created_at`, `is_retweet`, `is_reply`, and `in_reply_to` or `in_reply_to_status_id` for the id of the post answered.

    Raises:
        SourceError: a line is something else.
    """
    rows = _Rows(path)
    with closing(_lines(path)) as lines:
        for number, line in lines:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise rows.error(number, "is not JSON", "write one JSON object on each line") from error
            if not isinstance(row, dict):
                raise rows.error(number, "is not a JSON object", 'write each post as {"text": "..."}')
            text = row.get("text", row.get("full_text"))
            if not isinstance(text, str):
                raise rows.error(number, "has no `text`", 'write each post as {"text": "..."}')
            yield from rows.tweet(number, text, row)


def read_csv(path: Path) -> Iterator[Tweet]:
    """Yield a post for each row below a header with a column text, full_text, tweet or content; `,`, `;` or tab between fields.

    Raises:
        SourceError: no such header, or a row that does not fit it.
    """
    rows = _Rows(path)
    with closing(_lines(path)) as lines:
        number, first = next(((number, line) for number, line in lines if line.strip()), (1, ""))
        delimiter, header = _header(first)
        column = next((name for name in _TEXT_COLUMNS if name in header), None)
        if column is None:
            raise rows.error(
                number, "is no header with a column of posts", f"name one column {', '.join(_TEXT_COLUMNS[:-1])} or {_TEXT_COLUMNS[-1]}"
            )
        # The limit is the process's, so it is only ever raised.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
        reader = csv.reader((line for _, line in lines), delimiter=delimiter, strict=True)
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise rows.error(
                    number + reader.line_num, "has a quoted field that does not end", 'write a quote inside a field as ""'
                ) from error
            if row is None:
                return
            place = number + reader.line_num
            if not any(row):
                continue
            if any(row[len(header) :]):
                raise rows.error(place, "has more fields than the header", "put texts that hold the delimiter in double quotes")
            fields = {name: value for name, value in zip(header, row, strict=False) if value}
            if len(row) <= header.index(column):
                raise rows.error(place, f"has no field {column}", "give every row as many fields as the header")
            yield from rows.tweet(place, fields.get(column, ""), fields)


def read_txt(path: Path) -> Iterator[Tweet]:
    """Yield a post for each line that is not blank."""
    rows = _Rows(path)
    with closing(_lines(path)) as lines:
        for number, line in lines:
            if text := line.strip():
                yield from rows.tweet(number, text, {})


class _Rows:
    """The rows of one file: what they have in common, and the ids seen so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ids: set[str] = set()
        self._occurrences: Counter[str] = Counter()
        self._room = Room(path)

    def error(self, number: int, what: str, remedy: str) -> SourceError:
        return SourceError(f"{shown(self._path)} line {number:,} {what}: {remedy}.")

    def tweet(self, number: int, text: str, row: dict[str, Any]) -> Iterator[Tweet]:
        """Yield the row's post, or nothing where its id was there before: an id is unique within an account."""
        text = storable(text)
        written = row.get("created_at")
        try:
            created_at = None if written is None else parse_time(written)
        except ValueError as error:
            raise self.error(number, "has a `created_at` that is no time", "write it like 2023-02-18T12:33:11Z, or leave it out") from error
        id_ = self._id(number, row)
        if id_ is None:
            first = made_up_id(text, created_at, 0)
            occurrence = self._occurrences[first]
            self._occurrences[first] += 1
            id_ = made_up_id(text, created_at, occurrence) if occurrence else first
        if id_ in self._ids:
            return
        self._ids.add(id_)
        if len(self._ids) > MAX_POSTS:
            raise SourceError(f"{shown(self._path)} holds more than {MAX_POSTS:,} posts: import it in smaller parts.")
        self._room.keep(len(text))
        told = parse_flag(row.get("is_retweet"))
        yield Tweet(
            id=id_,
            created_at=created_at,
            text=text,
            is_retweet=bool(SOFT_RETWEET.match(text)) if told is None else told,
            is_reply=parse_flag(row.get("is_reply")),
            in_reply_to=next((parent for name in _PARENT_COLUMNS if (parent := _parent(row.get(name)))), None),
        )

    def _id(self, number: int, row: dict[str, Any]) -> str | None:
        value = row.get("id_str") or row.get("id")
        if value is None or value == "":
            return None
        if not _may_be_id(value):
            raise self.error(number, "has an `id` that is neither text nor a whole number", "write it as text, or leave it out")
        id_ = storable(str(value)).strip()
        if len(id_) > 200:
            raise self.error(number, "has an `id` of more than 200 characters", "shorten it, or leave it out")
        return None if not id_ or _SPREADSHEET_ID.fullmatch(id_) else id_


def _may_be_id(value: object) -> bool:
    return isinstance(value, str) or (type(value) is int and abs(value) <= 10**20)


def _parent(value: object) -> str | None:
    """Return the id of a post answered; None for what is none, since exports call other things by these names too."""
    if not value or not _may_be_id(value):
        return None
    parent = storable(str(value)).strip()
    return parent if parent and len(parent) <= 200 and not _SPREADSHEET_ID.fullmatch(parent) and not _NO_PARENT.fullmatch(parent) else None


def _header(line: str) -> tuple[str, list[str]]:
    """Return the delimiter that shows a column of posts, the most columns first, and the names of the columns."""
    found: list[tuple[bool, int, str, list[str]]] = []
    for delimiter in _DELIMITERS:
        try:
            row = next(csv.reader([line], delimiter=delimiter), [])
        except csv.Error:  # longer than a field may be, so no header
            row = []
        names = [name.strip().lower() for name in row]
        found.append((any(name in _TEXT_COLUMNS for name in names), len(names), delimiter, names))
    _, _, delimiter, names = max(found, key=lambda each: each[:2])
    return delimiter, names


def _lines(path: Path) -> Generator[tuple[int, str], None, None]:
    """Yield the lines with their numbers from 1 and their line ends, without a byte order mark."""
    name = shown(path)
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), start=1):
            if len(line) > MAX_LINE:
                raise SourceError(f"{name} line {number:,} is longer than {MAX_LINE >> 20} MiB: put one post on each line.")
            if b"\0" in line:
                raise SourceError(f"{name} line {number:,} is not text in UTF-8: save the file as UTF-8.")
            try:
                yield number, (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).decode("utf-8")
            except UnicodeDecodeError as error:
                raise SourceError(f"{name} line {number:,} is not text in UTF-8: save the file as UTF-8.") from error
