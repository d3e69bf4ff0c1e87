"""How X counts a text, and what a text must not hold before it is sent there."""

import unicodedata
from typing import NamedTuple

import twitter_text

MAX_LENGTH = 280


def weighted_length(text: str) -> int:
    """Return how many of X's 280 characters a text takes: emoji and CJK count 2, a link 23."""
    return int(twitter_text.parse_tweet(text).weightedLength)


class Broken(NamedTuple):
    """A rule of X's that a text breaks."""

    rule: str
    """empty, too_long, forbidden, mention or link."""
    why: str
    """The end of a sentence."""


def broken_rule(text: str) -> Broken | None:
    """Return the first rule that keeps a text from being posted, or None."""
    if not text.strip():
        return Broken("empty", "has no text")
    length = weighted_length(text)
    if length > MAX_LENGTH:
        return Broken("too_long", f"takes {length} of X's {MAX_LENGTH} characters")
    if not twitter_text.parse_tweet(text).valid:
        return Broken("forbidden", "holds a character that X refuses")
    if "@" in unicodedata.normalize("NFKC", text):  # X reads the full-width sign as a mention too
        return Broken("mention", "mentions somebody (@), which X forbids to bots that were not asked")
    # The parser finds what X would turn into a link, `x.ai` without a scheme included; such a post costs 13 times as much.
    if links := twitter_text.extract_urls(text):
        return Broken("link", f"holds a link ({links[0]})")
    return None
