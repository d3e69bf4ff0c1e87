"""How X counts a text, and what a text must not hold before it is sent there."""

import html
import re
import unicodedata
from functools import cache
from typing import Any, NamedTuple

from bot.services.folding import visible
from data.readers.fields import storable

MAX_LENGTH = 280
#: Characters beyond which no text is weighed: 140 emoji of families fit, and a link, and the parser's time grows with the square.
MAX_CHARACTERS = 2_000

# Schemes that X makes no link of, hxxp and the like, and addresses taken apart so that a reader puts them together.
_DISGUISED = re.compile(r"\b[a-z][a-z\d+.-]{1,15} ?: ?//|\w ?[\[({] ?(?:\.|dot) ?[\])}] ?\w", re.IGNORECASE)
_FULL_STOP = re.compile(r"(?<=[A-Za-z\d])。(?=[A-Za-z]{2})")  # a browser takes it for a dot
_CASHTAG = re.compile(r"(?<![\w$])\$[a-z]{1,6}(?:[._][a-z]{1,2})?(?!\w)", re.IGNORECASE)
LEADING_NAMES = re.compile(r"\A(?:[@\uff20][A-Za-z0-9_]{1,20}(?:\s+|$))*")
_TRADE_MARKS = str.maketrans("\u2122\u2120", "  ")  # else `one.™` would be read as one.tm


@cache
def parser() -> Any:
    """Return twitter-text. To import it takes as long as all the rest of a command that weighs no text."""
    import twitter_text

    return twitter_text


def weighted_length(text: str) -> int:
    """Return how many of X's 280 characters a text takes: emoji and CJK count 2, a link 23."""
    return int(parser().parse_tweet(text).weightedLength)


def has_link(text: str) -> bool:
    """Say whether X would make a link of something in a text, which costs more."""
    return bool(parser().extract_urls(text))


def same_text(ours: str, theirs: str) -> bool:
    """Say whether a text of X's is one that was sent there: X escapes &, < and >, shortens links, composes letters and trims."""
    return _as_kept(theirs) == _as_kept(ours) or _as_kept(html.unescape(theirs)) == _as_kept(ours)


def without_leading_names(text: str) -> str:
    """Return a text without the names that it begins with, as X puts them before an answer."""
    return LEADING_NAMES.sub("", text)


def _as_kept(text: str) -> str:
    for link in sorted(parser().extract_urls(text), key=len, reverse=True):
        text = text.replace(link, "\ufffc")
    return " ".join(unicodedata.normalize("NFC", text).split())


class Broken(NamedTuple):
    """A rule that a text breaks."""

    rule: str
    """empty, too_long, forbidden, mention or link."""
    why: str
    """The end of a sentence."""


def broken_rule(text: str, *, links: bool = False) -> Broken | None:
    """Return the first rule that keeps a text from being posted, or None; `links` lets links pass."""
    if not text.strip():
        return Broken("empty", "has no text")
    if len(text) > MAX_CHARACTERS:
        return Broken("too_long", f"takes many more than X's {MAX_LENGTH} characters")
    if storable(text) != text:  # half a character, over which the parser stumbles
        return Broken("forbidden", "holds a character that X refuses")
    parsed = parser().parse_tweet(text)
    if parsed.weightedLength > MAX_LENGTH:
        return Broken("too_long", f"takes {parsed.weightedLength} of X's {MAX_LENGTH} characters")
    if not parsed.valid:
        return Broken("forbidden", "holds a character that X refuses")
    read = _as_read(text)
    if "@" in read:  # X reads the full-width sign as a mention too
        return Broken("mention", "mentions somebody (@), which X forbids to bots that were not asked")
    if len(_CASHTAG.findall(read)) > 1:
        return Broken("forbidden", "has more than one cashtag ($), and X takes one")
    if links:
        return None
    # The parser finds what X would turn into a link, `x.ai` without a scheme included; such a post costs 13 times as much.
    for shown in dict.fromkeys((text, read)):
        if links := parser().extract_urls(shown):
            return Broken("link", f"holds a link ({links[0]})")
    if disguised := _DISGUISED.search(read):
        return Broken("link", f"holds a link ({disguised[0]})")
    return None


def _as_read(text: str) -> str:
    """Return the text with full-width and small forms made plain, and without joiners, marks of direction and the like."""
    if text.isascii():
        return text
    return _FULL_STOP.sub(".", visible(text.translate(_TRADE_MARKS)))
