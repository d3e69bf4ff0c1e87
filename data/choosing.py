"""Which of an account's posts can be learned from, and what became of the others.

downloaded = retweets + short + kept      the four counts of the ancestor's model card (facts/huggingtweets.md 1.4)
kept - duplicates                         the usable posts
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from data.cleaning import ShortRule, clean, is_short, without_controls
from data.tweets import Tweet

_OLDEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of an account's posts.

    Attributes:
        downloaded: posts the source gave; always retweets + short + kept.
        retweets: somebody else's words.
        short: under three words once cleaned.
        kept: the rest.
        duplicates: of the kept, those left out because their cleaned text is in the corpus already, by this account or by one before it
            in `handles`, or because nothing visible is left of it.
    """

    downloaded: int
    retweets: int
    short: int
    kept: int
    duplicates: int

    def __post_init__(self) -> None:
        if min(self.downloaded, self.retweets, self.short, self.kept, self.duplicates) < 0:
            raise ValueError(f"a count is negative: {self}")
        if self.downloaded != self.retweets + self.short + self.kept:
            raise ValueError(f"downloaded is not retweets + short + kept: {self}")
        if self.duplicates > self.kept:
            raise ValueError(f"more duplicates than kept posts: {self}")


def count_tweets(tweets: Sequence[Tweet], short_rule: ShortRule = "default") -> Counts:
    """Return what would become of an account's posts in a corpus of its own, however few they are."""
    return usable_posts(tweets, short_rule, {""})[0]


def usable_posts(tweets: Sequence[Tweet], rule: ShortRule, seen: set[str]) -> tuple[Counts, list[tuple[str, Tweet]]]:
    """Return the counts, and the distinct texts that are not in `seen`, the newest first, each with its tweet; adds them to `seen`."""
    retweets = short = duplicates = 0
    usable: list[tuple[str, Tweet]] = []
    for tweet in _newest_first(tweets):
        if tweet.is_retweet:
            retweets += 1
            continue
        cleaned = clean(tweet.text)
        if is_short(cleaned, rule):
            short += 1
            continue
        text = without_controls(cleaned)
        if text in seen:
            duplicates += 1
            continue
        seen.add(text)
        usable.append((text, tweet))
    return Counts(len(tweets), retweets, short, len(usable) + duplicates, duplicates), usable


def _newest_first(tweets: Sequence[Tweet]) -> list[Tweet]:
    def age(place: tuple[int, Tweet]) -> tuple[bool, datetime, int, str]:
        position, tweet = place
        if tweet.created_at is None:
            return False, _OLDEST, position, ""
        return True, tweet.created_at, int(tweet.id) if tweet.id.isascii() and tweet.id.isdecimal() else -1, tweet.id

    return [tweet for _, tweet in sorted(enumerate(tweets), key=age, reverse=True)]
