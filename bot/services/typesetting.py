"""Text in pictures: which font has a letter, which way it runs, where its line ends; nothing leaves the box that it was given.

The fonts are Noto's, from the packages manimgx-fonts and manimgx-fonts-cjk, and matplotlib's DejaVu; docs/cards.md says why these. Pillow
shapes and orders what is of one font; what a line has of several is put together here, by a small part of Unicode's bidirectional
algorithm: one level of embedding, which is what a post has.
"""

import math
import unicodedata
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from importlib.resources import files
from itertools import accumulate, chain, groupby
from typing import TYPE_CHECKING, NamedTuple

import regex

from data.cleaning import UNSPACED

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

LINE_HEIGHT = 1.4  # of the size: what Noto's tallest scripts take
BASELINE = 1.08  # of the size, below the top of a line
THINNEST = 8  # letters that may take the room of one that is as wide as it is high
ELLIPSIS = "…"
MOST_CLUSTERS = 1_200  # of a text; no picture has room for more
MOST_CHARACTERS = 16  # of a cluster: a family with skins has 11
MOST_MARKS = 3  # on a letter: Vietnamese and Hebrew need two
_SCRIPTS = (
    "Arabic",
    "Hebrew",
    "Thai",
    "Devanagari",
    "Armenian",
    "Bengali",
    "Ethiopic",
    "Georgian",
    "Gujarati",
    "Gurmukhi",
    "Kannada",
    "Khmer",
    "Lao",
    "Malayalam",
    "Myanmar",
    "Oriya",
    "Sinhala",
    "Tamil",
    "Telugu",
)
#: The first that has a letter draws it; what none has is a box of the first.
_FONTS = (
    "NotoSans[wght].ttf",
    *(f"NotoSans{script}[wght].ttf" for script in _SCRIPTS),
    "NotoSansCJK-VF.otf.ttc",
    "NotoSansSymbols[wght].ttf",
    "NotoEmoji[wght].ttf",
    "DejaVuSans.ttf",  # signs that the others lack
)
_EMOJI = "NotoEmoji[wght].ttf"
_CLUSTER = regex.compile(r"\X")
_PICTOGRAPH = regex.compile(r"\p{Emoji_Presentation}|\p{Extended_Pictographic}\uFE0F|[0-9#*]\uFE0F\u20E3")
#: What selects, joins or tags what stands before it: no font need have it.
_SELECTORS = regex.compile("[\u200c\u200d\ufe00-\ufe0f\U000e0020-\U000e007f]")
#: Controls, halves of pairs and marks of direction, which would turn round what stands after them; joiners and tags stay.
_UNSEEN = regex.compile(r"(?![\u200c\u200d\U000e0020-\U000e007f])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]")
#: Small kana and marks that belong to what stands before them, beside all that closes or parts by its category.
_STAYS = frozenset("\u30fc\uff5e\u301c\u3005ぁぃぅぇぉっゃゅょァィゥェォッャュョ")
_CLOSES, _OPENS = {"Pe", "Pf", "Po"}, {"Ps", "Pi"}


class Box(NamedTuple):
    """A rectangle in pixels; right and bottom are outside it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top

    def holds(self, other: "Box") -> bool:
        """Say whether another box leaves this one nowhere."""
        return self.left <= other.left and self.top <= other.top and other.right <= self.right and other.bottom <= self.bottom


@dataclass(frozen=True)
class Style:
    """How a text looks."""

    size: int
    """Pixels."""
    colour: str
    weight: int = 400


class Cluster(NamedTuple):
    """What a reader takes for one letter."""

    text: str
    style: Style
    font: str
    direction: str
    """ltr, rtl, or empty: that of what stands beside it."""


@dataclass(frozen=True)
class Line:
    """One line, in its place."""

    box: Box
    clusters: tuple[Cluster, ...]
    direction: str

    @property
    def text(self) -> str:
        """What it says."""
        return "".join(cluster.text for cluster in self.clusters)

    def moved(self, *, down: int) -> "Line":
        """Return the line so many pixels further down."""
        return replace(self, box=self.box._replace(top=self.box.top + down, bottom=self.box.bottom + down))

    def draw(self, picture: "Image") -> None:
        """Draw it; what would stand out of its box, as marks heaped on a letter do, is cut off."""
        from PIL import Image, ImageDraw

        masks: dict[str, Image.Image] = {}
        runs = _runs(self.clusters, self.direction)
        width = sum(_width(run) for run in runs)
        x = self.box.width - width if self.direction == "rtl" else 0.0
        baseline = round(BASELINE * self.clusters[0].style.size)
        for run in runs:
            first = run[0]
            mask = masks.setdefault(first.style.colour, Image.new("L", (self.box.width, self.box.height)))
            text = "".join(cluster.text for cluster in run)
            font = _face(first.font, first.style.size, first.style.weight)
            ImageDraw.Draw(mask).text((x, baseline), text, fill=255, font=font, anchor="ls", direction=first.direction)
            x += _width(run)
        for colour, mask in masks.items():
            picture.paste(colour, (self.box.left, self.box.top), mask)


def line_height(size: int) -> int:
    """Return the height of a line, in pixels."""
    return round(LINE_HEIGHT * size)


def typeset(text: str, box: Box, style: Style, *, begun: str = "", accent: Style | None = None, lines: int | None = None) -> list[Line]:
    """Break a text into lines that lie in a box; what there is no room for is left out, and an ellipsis stands for it.

    Args:
        text: of any kind.
        box: where it is to stand.
        style: of the text.
        begun: what the text begins with in another style, if it does.
        accent: that style.
        lines: at most so many.
    """
    room = box.height // line_height(style.size)
    room = room if lines is None else min(room, lines)
    clean = cleaned(text)
    clusters = _clusters(clean, style)
    if accent and (head := cleaned(begun)) and clean.startswith(head):
        ahead = len(_clusters(head, style))
        clusters = [one._replace(style=accent) if number < ahead else one for number, one in enumerate(clusters)]
    if not clusters or room < 1:
        return []
    direction = next((one.direction for one in clusters if one.direction), "ltr")
    broken = _broken(clusters, box.width, direction)
    if len(broken) > room:
        rest = [cluster for line in broken[room - 1 :] for cluster in line]
        broken = [*broken[: room - 1], _shortened(rest, box.width, direction)]
    height = line_height(style.size)
    return [
        Line(Box(box.left, box.top + number * height, box.right, box.top + (number + 1) * height), tuple(_trimmed(line)), direction)
        for number, line in enumerate(broken)
    ]


def width_of(line: Line) -> int:
    """Return how many pixels of its box a line takes."""
    return min(line.box.width, round(sum(_width(run) for run in _runs(line.clusters, line.direction))) + 1)


def cleaned(text: str) -> str:
    """Return a text without what no letter is: controls, marks of direction, heaps of marks; white space is one space."""
    text = text.encode("utf-8", "replace").decode()
    text = _UNSEEN.sub("", " ".join(text.split()))
    kept = (_bounded(cluster) for cluster, _ in zip(_CLUSTER.findall(text), range(MOST_CLUSTERS), strict=False))
    return "".join(kept).strip()


def _bounded(cluster: str) -> str:
    if len(cluster) == 1:
        return cluster
    marks, kept = 0, []
    for character in cluster[:MOST_CHARACTERS]:
        marks += unicodedata.combining(character) != 0 or unicodedata.category(character) == "Me"
        if marks <= MOST_MARKS:
            kept.append(character)
    return "".join(kept)


# ------------------------------------------------------------------- clusters


def _clusters(text: str, style: Style) -> list[Cluster]:
    found: list[Cluster] = []
    for cluster in map(_drawable, _CLUSTER.findall(text)):
        # A space keeps the font of what stands before it, so that words of one script stay one run, and their order Pillow's.
        font = found[-1].font if cluster == " " and found and found[-1].font != _EMOJI else _font_of(cluster)
        found.append(Cluster(cluster, style, font, _direction_of(cluster)))
    return found


@lru_cache(maxsize=10_000)
def _drawable(cluster: str) -> str:
    """Return a cluster that a font has, if need be in Unicode's plain form: names on X are spelt in letters of mathematics."""
    return next((form for form in (cluster, unicodedata.normalize("NFKC", cluster)) if _font_with(form)), cluster)


def _font_of(cluster: str) -> str:
    return _font_with(cluster) or next((font for font in _FONTS if _has(font, cluster[0])), _FONTS[0])


@lru_cache(maxsize=10_000)
def _font_with(cluster: str) -> str | None:
    """Return the font that has all of a cluster, or None."""
    wanted = _SELECTORS.sub("", cluster) or cluster
    order = (_EMOJI, *_FONTS) if _PICTOGRAPH.match(cluster) else _FONTS
    return next((font for font in order if all(_has(font, letter) for letter in wanted)), None)


def _direction_of(cluster: str) -> str:
    kinds = {unicodedata.bidirectional(character) for character in cluster}
    return "rtl" if kinds & {"R", "AL"} else "ltr" if kinds & {"L", "EN", "AN"} else ""


# ---------------------------------------------------------------------- fonts


@cache
def _path(font: str) -> str:
    if font.startswith("DejaVu"):
        from matplotlib import get_data_path

        return f"{get_data_path()}/fonts/ttf/{font}"
    return str(files("manimgx_fonts_cjk" if "CJK" in font else "manimgx_fonts").joinpath(font))


@cache
def _charmap(font: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(_path(font)).get_charmap())


def _has(font: str, letter: str) -> bool:
    return ord(letter) in _charmap(font)


@cache
def _face(font: str, size: int, weight: int) -> "FreeTypeFont":
    from PIL import ImageFont

    face = ImageFont.truetype(_path(font), size)
    if "wght" in font or "VF" in font:
        (axis,) = face.get_variation_axes()
        face.set_variation_by_axes([min(max(weight, axis["minimum"] or 0), axis["maximum"] or weight)])
    return face


# ---------------------------------------------------------------------- lines


def _runs(clusters: Sequence[Cluster], base: str) -> list[list[Cluster]]:
    """Return clusters of one look and direction together, from left to right."""
    pieces = [list(run) for _, run in groupby(_directed(clusters, base), key=lambda one: (one.direction, one.font, one.style))]
    pieces = pieces[::-1] if base == "rtl" else pieces
    groups = [(direction, list(group)) for direction, group in groupby(pieces, key=lambda run: run[0].direction)]
    return [run for direction, group in groups for run in (group if direction == base else group[::-1])]


def _directed(clusters: Sequence[Cluster], base: str) -> list[Cluster]:
    """Return clusters each with a direction: what has none of its own has that of both its sides, or the line's where they differ."""
    before = accumulate((one.direction for one in clusters), lambda last, own: own or last, initial=base)
    after = [*accumulate((one.direction for one in reversed(clusters)), lambda last, own: own or last, initial=base)][::-1]
    sides = zip(clusters, before, after[1:], strict=False)
    return [one._replace(direction=one.direction or (left if left == right else base)) for one, left, right in sides]


def _width(run: Sequence[Cluster]) -> float:
    first = run[0]
    return _length("".join(one.text for one in run), first.font, first.style.size, first.style.weight, first.direction)


@lru_cache(maxsize=4096)
def _length(text: str, font: str, size: int, weight: int, direction: str) -> float:
    return float(_face(font, size, weight).getlength(text, direction=direction))


def _whole(clusters: Sequence[Cluster], base: str) -> float:
    return sum(_width(run) for run in _runs(clusters, base))


def _broken(clusters: Sequence[Cluster], width: int, base: str) -> list[list[Cluster]]:
    """Return the lines of a text, each at most so wide but for spaces; a word that is wider than a line is broken where it must be."""
    waiting, lines = deque(_words(clusters)), []
    while waiting:
        line: list[list[Cluster]] = []
        used = 0.0  # the sum of the words: quicker to find than the width of the line, and nearly that
        while waiting and (not line or used + _whole(_trimmed(waiting[0]), base) <= width):
            word = waiting.popleft()
            if not line and len(word) > 1 and not _fits(word, width, base):
                fitting = _most(min(len(word) - 1, THINNEST * width // word[0].style.size), width, partial(_first, word), base)
                waiting.appendleft(word[fitting:])
                word = word[:fitting]
            line.append(word)
            used += _whole(word, base)
        while len(line) > 1 and not _fits([*chain(*line)], width, base):
            waiting.appendleft(line.pop())
        lines.append([*chain(*line)])
    return [line for line in lines if _trimmed(line)]


def _words(clusters: Sequence[Cluster]) -> Iterator[list[Cluster]]:
    """Yield what must stay on one line: a word with the space after it, or one letter of a script without spaces."""
    word: list[Cluster] = []
    for cluster in clusters:
        if word and _may_break(word[-1].text, cluster.text):
            yield word
            word = []
        word.append(cluster)
    if word:
        yield word


def _may_break(before: str, after: str) -> bool:
    if after == " ":
        return False
    if before == " ":
        return True
    unspaced = UNSPACED.match(before) or UNSPACED.match(after) or _font_of(before) == _EMOJI or _font_of(after) == _EMOJI
    closes = after[0] in _STAYS or (unicodedata.category(after[0]) in _CLOSES and after[0] not in "#@")
    return bool(unspaced) and not closes and unicodedata.category(before[-1]) not in _OPENS


def _fits(clusters: Sequence[Cluster], width: int, base: str) -> bool:
    kept = _trimmed(clusters)
    return not kept or _whole(kept, base) <= width


def _trimmed(clusters: Sequence[Cluster]) -> list[Cluster]:
    first = next((number for number, one in enumerate(clusters) if one.text != " "), len(clusters))
    last = next((number for number, one in enumerate(reversed(clusters)) if one.text != " "), 0)
    return list(clusters[first : len(clusters) - last])


def _shortened(clusters: Sequence[Cluster], width: int, base: str) -> list[Cluster]:
    """Return as many clusters as fit in front of an ellipsis, which fits in any case."""
    mark = Cluster(ELLIPSIS, clusters[-1].style, _font_of(ELLIPSIS), "")

    def ended(upto: int) -> list[Cluster]:
        return [*_trimmed(clusters[:upto]), mark]

    return ended(_most(len(clusters), width, ended, base, least=0))


def _first(clusters: list[Cluster], number: int) -> list[Cluster]:
    return clusters[:number]


def _most(upto: int, width: int, part: Callable[[int], list[Cluster]], base: str, *, least: int = 1) -> int:
    """Return the greatest number, at least `least`, of which the part is not wider than that."""
    found = max(least, bisect_right(range(1, upto + 1), width, key=lambda number: math.ceil(_whole(part(number), base))))
    while found > least and _whole(part(found), base) > width:  # letters that join can make more of them narrower
        found -= 1
    return found
