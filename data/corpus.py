"""The corpus: what one training learns from, chosen and split from an account's posts by a pure function.

downloaded = retweets + short + kept      the four counts of the ancestor's model card (facts/huggingtweets.md 1.4)
kept - duplicates                         then the newest `max_posts` of each account, split 80/10/10
train | stop | report                     learn from | decide when to stop | report held-out loss
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import cycle
from typing import Any, Self

from data.cleaning import ShortRule, clean, is_short, without_controls
from data.errors import DamagedError, TooLittleTextError
from data.tweets import Tweet

#: The ancestor joined posts by GPT-2's end of text and counted its 13 characters (facts/huggingtweets.md 1.5).
SEPARATOR = "<|endoftext|>"
#: Characters of an account's joined posts below which there is nothing to learn, and below which a voice will be thin.
MIN_CHARACTERS = 6_000
GOOD_CHARACTERS = 40_000

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
            in `handles`, or because nothing printable is left of it.
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


@dataclass(frozen=True, slots=True)
class CorpusPost:
    """One cleaned post and the handle of who wrote it."""

    author: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """The posts of one training, split; no text is in two splits.

    Attributes:
        handles: the accounts, sorted.
        counts: what became of each account's posts.
        train: what is learned from, in training order; of a smaller account its posts stand there more than once.
        stop: tells when to stop training.
        report: tells the held-out loss, and is looked at once.
        warnings: one sentence each, for the person who asked.
    """

    handles: tuple[str, ...]
    counts: dict[str, Counts]
    train: tuple[CorpusPost, ...]
    stop: tuple[CorpusPost, ...]
    report: tuple[CorpusPost, ...]
    warnings: tuple[str, ...]

    @cached_property
    def sha256(self) -> str:
        """The hash of `to_json()`, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Return the corpus as canonical JSON: sorted keys, no white space, the same text for the same corpus."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the corpus that `to_json` wrote.

        Raises:
            DamagedError: the text is something else.
        """
        try:
            fields = json.loads(text)
            return cls(
                handles=tuple(fields["handles"]),
                counts={handle: Counts(**counts) for handle, counts in fields["counts"].items()},
                train=_posts(fields["train"]),
                stop=_posts(fields["stop"]),
                report=_posts(fields["report"]),
                warnings=tuple(fields["warnings"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DamagedError("The stored corpus cannot be read: train again from the imported posts, which builds it anew.") from error


def build_corpus(
    tweets_by_handle: Mapping[str, Sequence[Tweet]], *, short_rule: ShortRule = "default", max_posts: int, seed: int
) -> Corpus:
    """Return the corpus of one voice; the same posts, rule and seed give the same corpus, whatever the order of accounts or posts.

    Of each account the `max_posts` newest are used: by time, then by numeric id. Posts without a time count as older than all that
    have one and, among themselves, the last in the sequence as newest; there alone the order of posts matters, and only when
    `max_posts` cuts.

    The split is by post and account: posts are ranked by the SHA-256 of seed and text; the first tenth goes to `report`, the next to
    `stop`, at least one each, and the rest to `train`. So it depends on no order, and a post added later moves only the few whose rank
    crosses a border.

    In a joint voice each smaller account's train posts are repeated until their characters reach those of the largest; nobody is cut
    (the ancestor's balance, facts/huggingtweets.md 1.6).

    Raises:
        TooLittleTextError: an account's usable posts make less than `MIN_CHARACTERS`, or fewer than three posts.
        ValueError: no account, or a `max_posts` below 1.
    """
    if not tweets_by_handle or max_posts < 1:
        raise ValueError("a corpus needs an account and at least one post of it")
    handles = tuple(sorted(tweets_by_handle))
    counts: dict[str, Counts] = {}
    train: dict[str, list[str]] = {}
    stop: list[CorpusPost] = []
    report: list[CorpusPost] = []
    warnings: list[str] = []
    seen = {""}  # a text of nothing but control characters is left out like a text that is there already
    for handle in handles:
        counts[handle], texts = _usable(tweets_by_handle[handle], short_rule, seen)
        used = texts[:max_posts]
        warnings += _judge(handle, counts[handle], used, cut=len(texts) > len(used))
        ranked = sorted(used, key=lambda text: _rank(seed, text))
        tenth = max(1, len(ranked) // 10)
        report += [CorpusPost(handle, text) for text in ranked[:tenth]]
        stop += [CorpusPost(handle, text) for text in ranked[tenth : 2 * tenth]]
        train[handle] = ranked[2 * tenth :]
    return Corpus(handles, counts, _balanced(train, seed), tuple(stop), tuple(report), tuple(warnings))


def count_tweets(tweets: Sequence[Tweet], short_rule: ShortRule = "default") -> Counts:
    """Return what would become of an account's posts in a corpus of its own, however few they are."""
    return _usable(tweets, short_rule, {""})[0]


def _usable(tweets: Sequence[Tweet], rule: ShortRule, seen: set[str]) -> tuple[Counts, list[str]]:
    """Return the counts, and the distinct texts from the newest on; adds them to `seen`."""
    retweets = short = duplicates = 0
    texts: list[str] = []
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
        texts.append(text)
    return Counts(len(tweets), retweets, short, len(texts) + duplicates, duplicates), texts


def _newest_first(tweets: Sequence[Tweet]) -> list[Tweet]:
    def age(place: tuple[int, Tweet]) -> tuple[bool, datetime, int, str]:
        position, tweet = place
        if tweet.created_at is None:
            return False, _OLDEST, position, ""
        return True, tweet.created_at, int(tweet.id) if tweet.id.isascii() and tweet.id.isdecimal() else -1, tweet.id

    return [tweet for _, tweet in sorted(enumerate(tweets), key=age, reverse=True)]


def _judge(handle: str, counts: Counts, texts: Sequence[str], *, cut: bool) -> list[str]:
    """Return the warnings about an account's text.

    Raises:
        TooLittleTextError: it is too little.
    """
    characters = sum(map(len, texts)) + len(SEPARATOR) * max(0, len(texts) - 1)
    remedy = "raise max_posts" if cut else "import more posts"
    has = f"@{handle} has {characters:,} characters in {len(texts):,} usable posts of {counts.downloaded:,}"
    if characters < MIN_CHARACTERS:
        raise TooLittleTextError(f"{has}, and training needs {MIN_CHARACTERS:,}: {remedy}.")
    if len(texts) < 3:
        raise TooLittleTextError(f"{has}, and training needs 3 posts, one for each split: {remedy}.")
    return [f"{has}, and below {GOOD_CHARACTERS:,} a voice is thin: {remedy}."] if characters < GOOD_CHARACTERS else []


def _balanced(train: Mapping[str, Sequence[str]], seed: int) -> tuple[CorpusPost, ...]:
    largest = max(sum(map(len, texts)) for texts in train.values())
    order: list[tuple[bytes, CorpusPost]] = []
    for handle, texts in train.items():
        characters = 0
        for turn, text in enumerate(cycle(texts)):
            if turn >= len(texts) and characters >= largest:
                break
            characters += len(text)
            order.append((_rank(seed, f"train\n{handle}\n{turn}\n{text}"), CorpusPost(handle, text)))
    return tuple(post for _, post in sorted(order, key=lambda each: each[0]))


def _rank(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{text}".encode()).digest()


def _posts(rows: list[dict[str, Any]]) -> tuple[CorpusPost, ...]:
    return tuple(CorpusPost(**row) for row in rows)
