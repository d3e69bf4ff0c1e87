"""What must not be said: each rule has a name, and the first that a line breaks is its verdict."""

import asyncio

from sqlite_utils import Database

from bot.x.text import broken_rule
from data import jobs
from data.copies import TrainingPosts
from data.speech import PASSED, Purpose
from data.store import Store

KEPT_INDEXES = 8


def judge(line: str, purpose: Purpose, training: TrainingPosts) -> str:
    """Return `passed`, or the name of the rule that a line breaks."""
    if not any(character.isalnum() for character in line):
        return "empty"
    if purpose is Purpose.POST:
        broken = broken_rule(line)
        if broken:
            return broken.rule
    return "copy" if training.copied_in(line) else PASSED


class Learned:
    """The posts of the last few corpora that were asked for, each indexed once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._indexed: dict[str, TrainingPosts] = {}

    async def of(self, corpus: str) -> TrainingPosts:
        """Return the index of a corpus' posts, those held out included; the corpus, a hash, must be stored."""
        if corpus not in self._indexed:
            posts = await self._store.read(_posts, corpus)
            if len(self._indexed) >= KEPT_INDEXES:
                self._indexed.pop(next(iter(self._indexed)))
            self._indexed[corpus] = await asyncio.to_thread(TrainingPosts, posts)
        return self._indexed[corpus]


def _posts(db: Database, sha256: str) -> list[str]:
    corpus = jobs.corpus_of(db, sha256)
    return [post.text for split in (corpus.train, corpus.stop, corpus.report) for post in split]
