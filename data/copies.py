"""Whether a line copies a post: equal to it, nearly equal, or with a long stretch in common.

The stretch is eight words, whatever signs stand between them, or, in scripts written without spaces, twenty characters between two
spaces. Spaces are not jumped over there: an account that ends each post with the same formula would then copy itself in most posts
(dayukoume: 78 % of posts never learned from, instead of 4 %).
"""

import unicodedata
from collections.abc import Iterable, Iterator
from itertools import accumulate

import regex
from rapidfuzz import fuzz, process

from data.cleaning import UNSPACED

NEAR_EQUAL = 85.0  # rapidfuzz ratio, 0 to 100: from it on, two posts differ by a word or a typing error
SPAN_WORDS = 8
SPAN_CHARACTERS = 20
#: Apostrophes, and what nobody sees: a word stays one word without them.
_WITHIN = regex.compile(r"['`\u00b4\u2018\u2019\u02bc\uff07\p{Cf}]")
_WORD = regex.compile(r"[\p{L}\p{N}][\p{L}\p{M}\p{N}]*")


class TrainingPosts:
    """The posts a voice learned from, indexed so that a copy is found in milliseconds."""

    def __init__(self, posts: Iterable[str]) -> None:
        self._posts = list(dict.fromkeys(map(_fold, posts)))
        self._spans = {span for post in self._posts for span in _spans(post)}

    def copied_in(self, line: str) -> bool:
        """Say whether a line is a training post, is nearly one, or shares `SPAN_WORDS` or `SPAN_CHARACTERS` in a row with one."""
        folded = _fold(line)
        if not self._spans.isdisjoint(_spans(folded)):
            return True
        return process.extractOne(folded, self._posts, scorer=fuzz.ratio, score_cutoff=NEAR_EQUAL) is not None


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())


def _spans(folded: str) -> Iterator[str]:
    words = _words(folded)
    for start in range(len(words) - SPAN_WORDS + 1):
        yield " ".join(words[start : start + SPAN_WORDS])
    if UNSPACED.search(folded):
        for word in folded.split(" "):
            yield from _unspaced_spans(word)


def _words(folded: str) -> list[str]:
    """Return the words alone: a comma, an emoji, a curly apostrophe or full-width letters do not make another stretch of it."""
    plain = _WITHIN.sub("", folded)
    found: list[str] = _WORD.findall(plain if plain.isascii() else unicodedata.normalize("NFKC", plain).casefold())
    return found


def _unspaced_spans(word: str) -> Iterator[str]:
    """Yield each twenty characters of which at least half are letters of a script without spaces; the rest may be signs or Latin."""
    if len(word) < SPAN_CHARACTERS:
        return
    letters = list(accumulate((character.isalpha() and bool(UNSPACED.match(character)) for character in word), initial=0))
    for start in range(len(word) - SPAN_CHARACTERS + 1):
        end = start + SPAN_CHARACTERS
        if 2 * (letters[end] - letters[start]) >= SPAN_CHARACTERS:
            yield word[start:end]
