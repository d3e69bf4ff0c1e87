"""Text as an eye reads it: without what cannot be seen, and with look-alike letters made one, so that no disguise hides a word."""

import re
import unicodedata
from functools import cache, cached_property

import regex
from confusable_homoglyphs.confusables import confusables_data

# Characters of category Cf (joiners, marks of direction, soft hyphens, tags) go by their category. These are letters, marks or signs to
# Unicode and nothing to the eye: the combining grapheme joiner, Hangul and Khmer fillers, Mongolian and other selectors, Braille's blank.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
# Accents and strokes laid over a letter. Not the marks of kana, Thai or Indian scripts, which make another letter of it.
_ACCENTS = re.compile("[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")
_SHAPED = re.compile(r"(?:LATIN LETTER SMALL CAPITAL|NEGATIVE (?:SQUARED|CIRCLED) LATIN CAPITAL LETTER) ([A-Z])")
_SHAPED_BLOCKS = (range(0x250, 0x2B0), range(0x1D00, 0x1D30), range(0xA720, 0xA800), range(0x1F150, 0x1F18A))
#: Signs that stand for letters within a word. `i` and `l` are one, since 1, | and I are taken for both.
_STAND_INS = str.maketrans("013457$il", "oleastsll")
_SIGNS_IN_WORDS = regex.compile(r"[\p{L}\p{M}\p{N}$]*\p{L}[\p{L}\p{M}\p{N}$]*")


def visible(text: str) -> str:
    """Return the text in Unicode's NFKC (full-width, small and mathematical forms are plain letters), without what cannot be seen."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", _BLANK.sub("", unicodedata.normalize("NFKC", without_marks(text))))


def without_marks(text: str) -> str:
    """Return the text without joiners and marks of direction, which nobody sees and which change how the rest is seen."""
    return "".join(character for character in text if unicodedata.category(character) != "Cf")


def plain(text: str) -> str:
    """Return `visible` text without case and accents, its white space folded."""
    return " ".join(_bare(visible(text).casefold()).split())


def latin(text: str) -> str:
    """Return `plain` text in which what looks like a Latin letter is that letter: Cyrillic, Greek, small capitals and the like."""
    table = _look_alikes()
    # Before case is folded too: the Cyrillic capital ve looks like a B, the small one only like a small capital.
    folded = _bare(visible(text)).translate(table).casefold()
    return " ".join(_bare(folded).translate(table).split())


def skeleton(text: str) -> str:
    """Return `latin` text in which signs that stand for letters within a word are letters: sh1t, $hit. Not for reading: i is l."""
    return str(_SIGNS_IN_WORDS.sub(lambda word: word[0].translate(_STAND_INS), latin(text)))


def words(folded: str) -> list[str]:
    """Return the runs of letters and digits; what stands between them, the underscore included, is no part of a word."""
    return list(map(str, _WORD.findall(folded)))


class Views:
    """One text as each kind of rule looks at it; each view is made when it is first asked for."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def visible(self) -> str:
        """As `visible` returns it."""
        return visible(self.text)

    @cached_property
    def plain(self) -> str:
        """As `plain` returns it."""
        return plain(self.text)

    @cached_property
    def latin(self) -> str:
        """As `latin` returns it."""
        return latin(self.text)

    @cached_property
    def plain_words(self) -> list[str]:
        """The words of the plain text."""
        return words(self.plain)

    @cached_property
    def skeleton_words(self) -> list[str]:
        """The words of the skeleton."""
        return words(skeleton(self.text))


def _bare(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))


@cache
def _look_alikes() -> dict[int, str]:
    """Return the ASCII letter that a character is taken for, by its code: Unicode's list of confusables (UTS 39), and letters in boxes."""
    table = {}
    for character, others in confusables_data.items():
        letters = [letter for other in others if (letter := _letter(other["c"].strip("\u200e")))]
        if len(character) == 1 and not character.isascii() and letters:
            table[ord(character)] = letters[0]
    for code in (code for block in _SHAPED_BLOCKS for code in block):
        if letter := _letter(chr(code)):
            table[code] = letter
    # Unicode has each capital that is a stroke look like an l; where its small letter looks like an i, it is read as one.
    strokes = {code for code, letter in table.items() if letter == "l" and table.get(ord(chr(code).lower()[0])) == "i"}
    return table | dict.fromkeys(strokes, "i")


def _letter(character: str) -> str:
    if len(character) != 1:
        return ""
    if character.isascii():
        return character if character.isalpha() else ""
    match = _SHAPED.fullmatch(unicodedata.name(character, ""))
    return match[1].lower() if match else ""
