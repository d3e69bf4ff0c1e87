"""The card of a huggingtweets model, README.md in the ancestor's template: whose posts it learned from, and how many."""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import permutations

from data.choosing import Counts
from data.errors import BadHandleError
from data.handles import normalise_handle

#: `@a-b-c` under the names: as a line's own, as text of an element, and as older cards have it, followed by "bot".
#: Neither side's white space goes over a line: a megabyte of empty lines would take an hour.
_HANDLES = re.compile(r"(?:^|>)[^\S\n]*@(?P<handles>[A-Za-z0-9_]{1,20}(?:-[A-Za-z0-9_]{1,20})*)(?: bot)?[^\S\n]*(?:<|$)", re.MULTILINE)
#: The table's rows by the names of `Counts`; the last cells of a row are its numbers, whatever a name in the head holds.
_ROWS = {"downloaded": "Tweets downloaded", "retweets": "Retweets", "short": "Short tweets", "kept": "Tweets kept"}
_HEAD = re.compile(r"^\|\s*Data\s*\|(?P<names>.*)\|\s*$", re.MULTILINE)
_MOST = 8  # accounts, whose names are tried in every order


@dataclass(frozen=True)
class ModelCard:
    """What a card says."""

    handles: tuple[str, ...]
    """Sorted; empty: it does not say."""
    counts: dict[str, Counts]
    """Of those accounts of which it does."""


def read_model_card(text: str) -> ModelCard:
    """Return what a card says; of a text that is none, nothing."""
    found = _HANDLES.search(text)
    try:
        handles = tuple(sorted({normalise_handle(handle) for handle in found["handles"].split("-")})) if found else ()
    except BadHandleError:
        handles = ()
    rows = {name: _numbers(text, title) for name, title in _ROWS.items()}
    if not handles or any(len(numbers) != len(handles) for numbers in rows.values()):
        return ModelCard(handles, {})
    try:
        columns = [Counts(**{name: numbers[place] for name, numbers in rows.items()}, duplicates=0) for place in range(len(handles))]
    except ValueError:  # they do not add up
        return ModelCard(handles, {})
    return ModelCard(handles, dict(zip(_ordered(handles, _names(text)), columns, strict=True)))


def _numbers(text: str, title: str) -> list[int]:
    row = re.search(rf"^\|\s*{re.escape(title)}\s*\|(?P<cells>[\d\s,|]*)\|\s*$", text, re.MULTILINE)
    cells = [cell.strip().replace(",", "") for cell in row["cells"].split("|")] if row else []
    return [int(cell) for cell in cells] if all(re.fullmatch(r"\d{1,9}", cell) for cell in cells) else []


def _names(text: str) -> list[str]:
    head = _HEAD.search(text)
    return [name.strip() for name in head["names"].split("|")] if head else []


def _ordered(handles: tuple[str, ...], names: list[str]) -> tuple[str, ...]:
    """Return the handles in the order of the table's columns, which show names: in that in which they are most like these."""
    if len(names) != len(handles) or len(handles) > _MOST:
        return handles
    like = {(h, n): SequenceMatcher(None, h, re.sub(r"\W", "", n.casefold())[:100]).ratio() for h in handles for n in names}
    return max(permutations(handles), key=lambda order: sum(like[pair] for pair in zip(order, names, strict=True)))
