"""What a voice learned from, indexed: to know a copy when it comes, and to say how much of a line is in the voice's manner."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlite_utils import Database

from data import jobs
from data.copies import TrainingPosts
from data.corpus import Corpus
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
    """The posts that a version learned from, those held out included."""

    copies: TrainingPosts
    """Of all its accounts, and of all trainings that led to it."""
    manner: Manner
    """Of the account as which the voice speaks; of all, where it speaks as none. Of its own training alone."""


class Learned:
    """What the last few trainings that were asked for have learned from, each indexed once, as long as they are stored."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._indexed: OrderedDict[tuple[int, str], Indexed] = OrderedDict()

    async def of(self, job: int, author: str = "") -> Indexed:
        """Return the index of what a training, which must be stored, has learned from by its end.

        Args:
            job: its id.
            author: the account as which the voice speaks; empty: the blend.

        Raises:
            NotStoredError: it was forgotten.
        """
        key = job, author
        if key not in self._indexed:
            index = await asyncio.to_thread(_index, await self._store.read(jobs.learned_from, job), author)
            self._indexed[key] = index
            while len(self._indexed) > KEPT_INDEXES:
                self._indexed.popitem(last=False)
            return index
        self._indexed.move_to_end(key)
        return self._indexed[key]

    async def tidy(self) -> None:
        """Let go of what was forgotten; call this now and then."""
        if self._indexed:
            stored = await self._store.read(_stored, [job for job, _ in self._indexed])
            for key in [key for key in self._indexed if key[0] not in stored]:
                del self._indexed[key]


def _index(corpora: list[str], author: str) -> Indexed:
    own, *earlier = [
        [post for split in (corpus.train, corpus.stop, corpus.report) for post in split] for corpus in map(Corpus.from_json, corpora)
    ]
    copies = TrainingPosts(post.text for posts in (own, *earlier) for post in posts)
    return Indexed(copies, Manner(post.text for post in own if author in ("", post.author)))


def _stored(db: Database, ids: list[int]) -> set[int]:
    marks = ", ".join("?" * len(ids))
    return {row["id"] for row in db.query(f"SELECT id FROM jobs WHERE id IN ({marks})", ids)}  # noqa: S608 - marks
