"""From a raw post to a line of training text: the ancestor's cleaning, and what is too short to learn from.

`facts/huggingtweets.md` 1.2 and 1.3 are the source of `clean` and of the rule `huggingtweets`. Three functions, in this order:

    cleaned = clean(raw)              the ancestor's text, character for character
    is_short(cleaned, rule)           decided on that text, so that the four counts of a model card are the ancestor's
    without_controls(cleaned)         what a trainer gets

Control characters go last and not first: taken out earlier they could join or empty a word and so move a post from kept to short.
"""

import re
from typing import Literal

ShortRule = Literal["huggingtweets", "default"]
SHORT_RULES: tuple[ShortRule, ...] = ("huggingtweets", "default")

#: A kept post has at least this many words.
MIN_WORDS = 3

_ENTITIES = (("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))

# Line ends, tabs and the like are white space and folded before. A lone surrogate cannot be written as UTF-8 at all.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Soft hyphens, zero-width joiners, marks of direction and the like: parts of words, of emoji and of right-to-left text, but no text.
_INVISIBLE = re.compile("[ \u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]*")

# Blocks of the scripts written without spaces. Only letters in them are counted (str.isalpha), or `。。。` would pass for words.
_HAN_AND_KANA_BLOCKS = (
    "\u3005-\u3007\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U0001aff0-\U0001b16f\U00020000-\U000323af"
)
# Thai, Lao and Tibetan; Burmese and its extensions; Khmer; Tai Le and New Tai Lue; Tai Tham; Tai Viet.
_SOUTH_EAST_ASIAN_BLOCKS = "\u0e00-\u0fff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\uaa80-\uaadf"
_HAN_AND_KANA = re.compile(f"[{_HAN_AND_KANA_BLOCKS}]")
_SOUTH_EAST_ASIAN = re.compile(f"[{_SOUTH_EAST_ASIAN_BLOCKS}]")
UNSPACED = re.compile(f"[{_HAN_AND_KANA_BLOCKS}{_SOUTH_EAST_ASIAN_BLOCKS}]")
# What the ancestor's rule looks for in a word; here it may stand inside a sentence. `\w` lacks Thai vowel signs, which hashtags have.
_REFERENCE = re.compile(rf"@[A-Za-z0-9_]+|#[\w{_SOUTH_EAST_ASIAN_BLOCKS}]+|https?[!-~]*", re.IGNORECASE)


def clean(text: str) -> str:
    """Return the text as huggingtweets cleaned it: entities undone once, links and all repeated white space gone.

    Mentions, hashtags and emoji stay; only `&amp;`, `&lt;` and `&gt;` are undone, in that order; only lower-case `http:` and
    `https:` begin a link, which reaches to the next white space. Source: facts/huggingtweets.md 1.2.
    """
    for entity, char in _ENTITIES:
        text = text.replace(entity, char)
    for link in _LINKS:
        if link.start in text:
            text = link.removed_from(text)
    return " ".join(text.split())


class _LinkKind:
    """The ancestor's five passes for one beginning of a link."""

    def __init__(self, start: str) -> None:
        self.start = start
        self._after_space = re.compile(rf" {start}\S+")
        # The ancestor's `http:\S+ ` tries every `http:` of a long run anew; this one takes a run whole and keeps it where no space follows.
        self._before_space = re.compile(rf"{start}\S++( ?)")
        self._between_line_and_space = re.compile(rf"\n{start}\S+ ")
        self._after_line = re.compile(rf"\n{start}\S+")
        self._bare = re.compile(rf"{start}\S+")

    def removed_from(self, text: str) -> str:
        text = self._after_space.sub("", text)
        text = self._before_space.sub(lambda match: "" if match[1] else match[0], text)
        text = self._between_line_and_space.sub("", text)
        text = self._after_line.sub("", text)
        return self._bare.sub("", text)


_LINKS = (_LinkKind("http:"), _LinkKind("https:"))


def is_short(cleaned: str, rule: ShortRule = "default") -> bool:
    """Return whether a cleaned post has fewer than three words.

    Rule `huggingtweets` (facts/huggingtweets.md 1.3): words stand between white space, and those with `http`, `@` or `#` in them do not
    count; a Japanese sentence is one word by it.

    Rule `default`: a word with letters of a script written without spaces counts, its mentions, hashtags and links set aside, as one word
    for every two Han or kana letters or every four letters of the South-East Asian scripts, and as at least one where such a letter is
    left. The reason: those are, rounded up, the mean lengths of a word there. Every other word counts as by `huggingtweets`, Korean's
    too, which has spaces; so the default never drops what `huggingtweets` keeps.
    """
    count = _words if rule == "default" and UNSPACED.search(cleaned) else _spaced_words
    words = 0
    for word in cleaned.split():
        words += count(word)
        if words >= MIN_WORDS:
            return False
    return True


def _spaced_words(word: str) -> int:
    lower = word.lower()
    return 0 if "http" in lower or "@" in lower or "#" in lower else 1


def _words(word: str) -> int:
    if not any(_letters(word)):
        return _spaced_words(word)
    east, south = _letters(_REFERENCE.sub("", word))
    return max(1, east // 2 + south // 4) if east or south else 0


def _letters(text: str) -> tuple[int, int]:
    return sum(map(str.isalpha, _HAN_AND_KANA.findall(text))), sum(map(str.isalpha, _SOUTH_EAST_ASIAN.findall(text)))


def without_controls(cleaned: str) -> str:
    """Return the text without control characters and lone surrogates, its spaces folded again; empty if nothing is left to be seen."""
    text = " ".join(_CONTROLS.sub("", cleaned).split()) if _CONTROLS.search(cleaned) else cleaned
    return "" if _INVISIBLE.fullmatch(text) else text


def training_text(raw: str) -> str:
    """Return a raw post as a trainer gets it, however short it is."""
    return without_controls(clean(raw))


def without_references(text: str) -> str:
    """Return the text without mentions, hashtags and links: what is left is language."""
    return _REFERENCE.sub(" ", text)
