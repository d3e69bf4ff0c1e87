"""Links and media in an archive's text, cut out by the places that the archive gives for them."""

from collections.abc import Iterable, Iterator
from typing import Any

from data.readers.fields import whole_number

#: Of one kind in a post: one of 25,000 characters has room for no more.
MAX_LINKS = 1_000

#: (start, end, url): code points into the text as the archive has it, still escaped.
Link = tuple[int, int, str]


def cut(text: str, links: Iterable[Link]) -> str:
    """Return the text without those links that stand where they are said to stand.

    Cleaning removes a link up to the next white space, which Japanese text after it need not have; here its end is known.
    A link between two words leaves a space, so that they do not become one.
    """
    for start, end, url in sorted(set(links), reverse=True):
        if 0 <= start < end and text[start:end] == url:
            before, after = text[:start], text[end:]
            glue = before[-1:].strip() and after[:1].strip()
            text = f"{before} {after}" if glue else before + after
    return text


def tweet_links(fields: dict[str, Any]) -> Iterator[Link]:
    """Yield `entities.urls`, `entities.media` and `extended_entities.media` of a post; several media share one link."""
    for group, kind in (("entities", "urls"), ("entities", "media"), ("extended_entities", "media")):
        for entity in _entries(fields.get(group), kind):
            indices = entity.get("indices")
            if isinstance(indices, list) and len(indices) == 2:
                yield from _link(indices[0], indices[1], entity.get("url"))


def note_links(core: dict[str, Any]) -> Iterator[Link]:
    """Yield the links of a long post's `core`."""
    for entity in _entries(core, "urls"):
        yield from _link(entity.get("fromIndex"), entity.get("toIndex"), entity.get("shortUrl"))


def _entries(holder: Any, kind: str) -> list[dict[str, Any]]:
    entries = holder.get(kind) if isinstance(holder, dict) else None
    return [entry for entry in entries[:MAX_LINKS] if isinstance(entry, dict)] if isinstance(entries, list) else []


def _link(start: Any, end: Any, url: Any) -> Iterator[Link]:
    first, last = whole_number(start), whole_number(end)
    if first is not None and last is not None and isinstance(url, str) and url:
        yield first, last, url
