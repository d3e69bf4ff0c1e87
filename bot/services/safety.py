"""What must not be said: each rule has a name, and the first that a line breaks is its verdict."""

from collections.abc import Iterable

from rapidfuzz import fuzz, process

from bot.x.text import broken_rule
from data.speech import PASSED, Purpose

NEAR_EQUAL = 85.0  # rapidfuzz ratio, 0 to 100: above it, two posts differ by a word or a typing error
SPAN_WORDS = 8


class TrainingPosts:
    """The posts a voice learned from, indexed so that a copy is found in milliseconds."""

    def __init__(self, posts: Iterable[str]) -> None:
        self._posts = [_fold(post) for post in posts]
        self._spans = {span for post in self._posts for span in _spans(post)}

    def copied_in(self, line: str) -> bool:
        """Say whether a line is a training post, is nearly one, or shares eight words in a row with one."""
        folded = _fold(line)
        if any(span in self._spans for span in _spans(folded)):
            return True
        return process.extractOne(folded, self._posts, scorer=fuzz.ratio, score_cutoff=NEAR_EQUAL) is not None


def judge(line: str, purpose: Purpose, training: TrainingPosts) -> str:
    """Return `passed`, or the name of the rule that a line breaks."""
    if not any(character.isalnum() for character in line):
        return "empty"
    if purpose is Purpose.POST:
        broken = broken_rule(line)
        if broken:
            return broken.rule
    return "copy" if training.copied_in(line) else PASSED


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())


def _spans(folded: str) -> Iterable[str]:
    words = folded.split()
    return (" ".join(words[i : i + SPAN_WORDS]) for i in range(len(words) - SPAN_WORDS + 1))
