"""What a voice learned from, indexed: to know a copy when it comes, and to say how much of a line is in the voice's manner."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlite_utils import Database

from data import jobs
from data.copies import TrainingPosts
from data.store import Store

KEPT_INDEXES = 8


class Manner:
    """The character trigrams of posts: their words, spelling, case, punctuation and emoji, in any script."""

    def __init__(self, posts: Iterable[str]) -> None:
        self._trigrams = {trigram for post in posts for trigram in _trigrams(post)}

    def share(self, line: str) -> float:
        """Return how much of a line's trigrams are among the posts', 0 to 1."""
        found = _trigrams(line)
        return sum(trigram in self._trigrams for trigram in found) / len(found)


def _trigrams(text: str) -> list[str]:
    """Return the trigrams of a text between two spaces, at least one."""
    padded = f" {text} " if text else "   "
    return [padded[start : start + 3] for start in range(len(padded) - 2)]


@dataclass(frozen=True)
class Indexed:
    """The posts of one corpus, those held out included."""

    copies: TrainingPosts
    """Of all its accounts."""
    manner: Manner
    """Of the account as which the voice speaks; of all, where it speaks as none."""


class Learned:
    """The posts of the last few corpora that were asked for, each indexed once, as long as they are stored."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._indexed: OrderedDict[tuple[str, str], Indexed] = OrderedDict()

    async def of(self, corpus: str, author: str = "") -> Indexed:
        """Return the index of a corpus' posts, which must be stored.

        Args:
            corpus: its hash.
            author: the account as which the voice speaks; empty: the blend.
        """
        key = corpus, author
        if key not in self._indexed:
            posts = await self._store.read(_posts, corpus)
            index = await asyncio.to_thread(_index, posts, author)
            self._indexed[key] = index
            while len(self._indexed) > KEPT_INDEXES:
                self._indexed.popitem(last=False)
            return index
        self._indexed.move_to_end(key)
        return self._indexed[key]

    async def tidy(self) -> None:
        """Let go of what was forgotten; call this now and then."""
        if self._indexed:
            stored = await self._store.read(_stored, [corpus for corpus, _ in self._indexed])
            for key in [key for key in self._indexed if key[0] not in stored]:
                del self._indexed[key]


def _index(posts: list[tuple[str, str]], author: str) -> Indexed:
    return Indexed(TrainingPosts(text for _, text in posts), Manner(text for name, text in posts if author in ("", name)))


def _stored(db: Database, corpora: list[str]) -> set[str]:
    marks = ", ".join("?" * len(corpora))
    return {row["sha256"] for row in db.query(f"SELECT sha256 FROM corpora WHERE sha256 IN ({marks})", corpora)}  # noqa: S608 - marks


def _posts(db: Database, sha256: str) -> list[tuple[str, str]]:
    corpus = jobs.corpus_of(db, sha256)
    return [(post.author, post.text) for split in (corpus.train, corpus.stop, corpus.report) for post in split]
