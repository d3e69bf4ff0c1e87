"""The corpus: what one training learns from, chosen and split from an account's posts by a pure function.

data/choosing.py                          counts, and sets retweets, short posts and duplicates aside
max_posts                                 the newest of each account, split 80/10/10
train | stop | report                     learn from | decide when to stop | report held-out loss
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import cycle
from typing import Any, Self

from data.choosing import Counts, usable_posts
from data.cleaning import ShortRule, training_text
from data.errors import DamagedError, TooLittleTextError
from data.language import UNDETERMINED, main_language
from data.tweets import Tweet

__all__ = ["Corpus", "CorpusPost", "Counts", "build_corpus"]  # Counts too, for whoever reads a corpus

#: The ancestor joined posts by GPT-2's end of text and counted its 13 characters (facts/huggingtweets.md 1.5).
SEPARATOR = "<|endoftext|>"
#: Characters of an account's joined posts below which there is nothing to learn, and below which a voice will be thin.
MIN_CHARACTERS = 6_000
GOOD_CHARACTERS = 40_000
#: Characters that are to be left in an account's train posts; posts of about one length always leave more.
MIN_LEARNED = 1_000


@dataclass(frozen=True, slots=True)
class CorpusPost:
    """One cleaned post, the handle of who wrote it, and the cleaned post that it answers, empty where that is not known."""

    author: str
    text: str
    parent: str = ""

    def to_row(self) -> dict[str, str]:
        """Return the post as JSON has it: without a parent where there is none."""
        row = {"author": self.author, "text": self.text}
        return row | {"parent": self.parent} if self.parent else row


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
        languages: by account, the ISO 639-1 code of what most of its posts are written in, or `und`.
    """

    handles: tuple[str, ...]
    counts: dict[str, Counts]
    train: tuple[CorpusPost, ...]
    stop: tuple[CorpusPost, ...]
    report: tuple[CorpusPost, ...]
    warnings: tuple[str, ...]
    languages: dict[str, str]

    @cached_property
    def sha256(self) -> str:
        """The hash, in hexadecimal, of what was found; not of the languages, which are an opinion about it."""
        return hashlib.sha256(_canonical(self._found()).encode()).hexdigest()

    def to_json(self) -> str:
        """Return the corpus as canonical JSON: sorted keys, no white space, the same text for the same corpus."""
        return _canonical(self._found() | {"languages": self.languages})

    def _found(self) -> dict[str, Any]:
        # A parent that is not known is left out: so a corpus without any has the hash that it had before there were parents.
        splits = {"train": self.train, "stop": self.stop, "report": self.report}
        return {
            "handles": self.handles,
            "counts": {handle: asdict(counts) for handle, counts in self.counts.items()},
            "warnings": self.warnings,
            **{name: [post.to_row() for post in split] for name, split in splits.items()},
        }

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the corpus that `to_json` wrote.

        Raises:
            DamagedError: the text is something else.
        """
        try:
            fields = json.loads(text)
            whole = fields.get("language", UNDETERMINED)  # all that was detected in corpora of before 23 November 2026, or not even that
            return cls(
                handles=tuple(fields["handles"]),
                counts={handle: Counts(**counts) for handle, counts in fields["counts"].items()},
                train=_posts(fields["train"]),
                stop=_posts(fields["stop"]),
                report=_posts(fields["report"]),
                warnings=tuple(fields["warnings"]),
                languages=dict(fields.get("languages", dict.fromkeys(fields["handles"], whole))),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DamagedError("The stored corpus cannot be read: train again from the imported posts, which builds it anew.") from error


def build_corpus(
    tweets_by_handle: Mapping[str, Sequence[Tweet]],
    *,
    short_rule: ShortRule = "default",
    max_posts: int,
    seed: int,
    parents: Mapping[str, str] | None = None,
) -> Corpus:
    """Return the corpus of one voice; the same posts, rule and seed give the same corpus, whatever the order of accounts or posts.

    Of each account the `max_posts` newest are used: by time, then by numeric id. Posts without a time count as older than all that
    have one and, among themselves, the last in the sequence as newest; there alone the order of posts matters, and only when
    `max_posts` cuts or equal posts answer different ones.

    The split is by post and account: posts are ranked by the SHA-256 of seed and text; the first tenth goes to `report`, the next to
    `stop`, at least one each, and the rest to `train`. So it depends on no order, and a post added later moves only the few whose rank
    crosses a border.

    In a joint voice each smaller account's train posts are repeated until their characters reach those of the largest; nobody is cut
    (the ancestor's balance, facts/huggingtweets.md 1.6).

    A post that answers another gets that one's text as its parent, if the account wrote it itself or `parents` (raw texts by id) has it.
    A parent is read and never learned, so it may be short, a retweet, and the post of another split.

    Raises:
        TooLittleTextError: an account's usable posts make less than `MIN_CHARACTERS`, are fewer than three, or leave less than
            `MIN_LEARNED` to learn from.
        ValueError: no account, or a `max_posts` below 1.
    """
    if not tweets_by_handle or max_posts < 1:
        raise ValueError("a corpus needs an account and at least one post of it")
    handles = tuple(sorted(tweets_by_handle))
    counts: dict[str, Counts] = {}
    train: dict[str, list[CorpusPost]] = {}
    stop: list[CorpusPost] = []
    report: list[CorpusPost] = []
    warnings: list[str] = []
    languages: dict[str, str] = {}
    seen = {""}  # a text of which nothing visible is left is left out like one that is there already
    for handle in handles:
        tweets = tweets_by_handle[handle]
        counts[handle], usable = usable_posts(tweets, short_rule, seen)
        used = usable[:max_posts]
        warnings += _judge(handle, counts[handle], [text for text, _ in used], cut=len(usable) > len(used))
        # Its own first: ids are unique within an account, and those that people made up are not beyond it.
        answered = {**(parents or {}), **{tweet.id: tweet.text for tweet in tweets}}
        posts = [CorpusPost(handle, text, training_text(answered.get(tweet.in_reply_to or "", ""))) for text, tweet in used]
        posts.sort(key=lambda post: _rank(seed, post.text))
        languages[handle] = main_language([post.text for post in posts]).code
        tenth = max(1, len(posts) // 10)
        report += posts[:tenth]
        stop += posts[tenth : 2 * tenth]
        train[handle] = posts[2 * tenth :]
        if (learned := sum(len(post.text) for post in train[handle])) < MIN_LEARNED:
            raise TooLittleTextError(
                f"@{handle} has {len(posts):,} usable posts, the longest of which are held out to measure by, and training needs "
                f"{MIN_LEARNED:,} characters in the others, which have {learned:,}: import more posts."
            )
    return Corpus(handles, counts, _balanced(train, seed), tuple(stop), tuple(report), tuple(warnings), languages)


def _judge(handle: str, counts: Counts, texts: Sequence[str], *, cut: bool) -> list[str]:
    """Return the warnings about an account's text.

    Raises:
        TooLittleTextError: it is too little.
    """
    characters = sum(map(len, texts)) + len(SEPARATOR) * max(0, len(texts) - 1)
    remedy = "raise max_posts" if cut else "import more posts"
    has = f"@{handle} has {characters:,} characters in {len(texts):,} usable post{'' if len(texts) == 1 else 's'} of {counts.downloaded:,}"
    lost = {
        f"{counts.retweets:,} retweets": counts.retweets,
        f"{counts.short:,} too short": counts.short,
        f"{counts.duplicates:,} repeated or empty": counts.duplicates,
    }
    why = ", ".join(words for words, count in lost.items() if count)
    refused = f"{has} ({why})" if why else has
    if characters < MIN_CHARACTERS:
        raise TooLittleTextError(f"{refused}, and training needs {MIN_CHARACTERS:,}: {remedy}.")
    if len(texts) < 3:
        raise TooLittleTextError(f"{refused}, and training needs 3 posts, one for each split: {remedy}.")
    return [f"{has}, and below {GOOD_CHARACTERS:,} a voice is thin: {remedy}."] if characters < GOOD_CHARACTERS else []


def _balanced(train: Mapping[str, Sequence[CorpusPost]], seed: int) -> tuple[CorpusPost, ...]:
    largest = max(sum(len(post.text) for post in posts) for posts in train.values())
    order: list[tuple[bytes, CorpusPost]] = []
    for handle, posts in train.items():
        characters = 0
        for turn, post in enumerate(cycle(posts)):
            if turn >= len(posts) and characters >= largest:
                break
            characters += len(post.text)
            order.append((_rank(seed, f"train\n{handle}\n{turn}\n{post.text}"), post))
    return tuple(post for _, post in sorted(order, key=lambda each: each[0]))


def _rank(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{text}".encode()).digest()


def _canonical(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _posts(rows: list[dict[str, Any]]) -> tuple[CorpusPost, ...]:
    return tuple(CorpusPost(**row) for row in rows)
