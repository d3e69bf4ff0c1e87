"""How a post stands before the model: alone, as somebody's, or as the answer to a message.

What comes before the post is its frame: it is read and never learned. A frame ends in tokens of the base's own: the separator,
and for a message the turns in which the base was taught to converse. Text in a frame is text, never a special token.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.bases import Base
from trainer.protocol import Post

MESSAGE_TOKENS = 64
"""A message to answer loses its beginning beyond this; a post has about 25."""
WORDS = (1, 5)
"""Fewest and most content words in a made-up message."""
#: A run of letters and digits; of a script without spaces, a few letters of it.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]{2,4}|[^\W_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]{3,}")


@dataclass(frozen=True)
class Sequence_:  # noqa: N801 - Sequence is typing's
    """A framed post as tokens."""

    tokens: list[int]
    silent: int
    """How many tokens at the beginning are read and not learned: the frame."""

    @property
    def positions(self) -> int:
        """How many positions of a row it needs: all its tokens but the last, which is only predicted."""
        return len(self.tokens) - 1

    @property
    def targets(self) -> int:
        """How many of its tokens are learned."""
        return len(self.tokens) - self.silent


def frame(base: Base, message: str = "", author: str = "") -> list[int]:
    """Return the tokens that come before a post; without a message and an author it is what opens a text."""
    ids = [base.opening]
    if message:
        opening, closing = base.turns
        ids = [*opening, *base.encode([message])[0][-MESSAGE_TOKENS:], *closing]
    if author:
        ids += base.encode([f"{author}:\n"])[0]
    return ids


def framed(base: Base, posts: Sequence[list[int]], frames: Sequence[list[int]], row: int) -> list[Sequence_]:
    """Return `frame post <sep>` for each post that has a token, cut to need at most `row` positions.

    What is cut loses its end, closing separator included: the model is not taught that posts stop where a row did.
    """
    return [
        Sequence_([*before, *ids, base.separator][: row + 1], min(len(before), row))
        for before, ids in zip(frames, posts, strict=True)
        if ids
    ]


class Framer:
    """Frames the posts of a training split anew for each epoch: so many as answers, and of a joint voice half with their author."""

    def __init__(self, base: Base, posts: Sequence[Post], *, answers: float, authors: bool, seed: int, row: int) -> None:
        self._base = base
        self._posts = posts
        self._ids = base.encode([post.text for post in posts])
        self._answers = answers
        self._authors = authors
        self._seed = seed
        self._row = row
        self._words = [_WORD.findall(post.text) for post in posts] if answers else []
        self._known = Counter(word.casefold() for words in self._words for word in set(words))

    def epoch(self, number: int) -> list[Sequence_]:
        """Return the split's sequences in epoch `number`, in the order of its posts; seed and number alone decide the frames."""
        chance = random.Random(f"{self._seed}/{number}/frames")  # noqa: S311 - a choice, no secret
        frames = []
        for place, post in enumerate(self._posts):
            message = self._message(place, chance) if chance.random() < self._answers else ""
            author = post.author if self._authors and chance.random() < 0.5 else ""
            frames.append(frame(self._base, message, author))
        return framed(self._base, self._ids, frames, self._row)

    def _message(self, place: int, chance: random.Random) -> str:
        """Return what a post answers: its parent, or some of its rarer words, in any order."""
        if self._posts[place].parent:
            return self._posts[place].parent
        # The rarer half of its words in this corpus: what it is about, in any language, without a list of stop words.
        words = sorted(dict.fromkeys(self._words[place]), key=lambda word: self._known[word.casefold()])
        content = words[: (len(words) + 1) // 2]
        count = min(len(content), chance.randint(*WORDS))
        return " ".join(chance.sample(content, count))
