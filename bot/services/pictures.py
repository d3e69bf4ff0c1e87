"""The picture of a voice: who it is made of, what it was told to begin with, and what it said; light and dark, for a card or a message."""

import io
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from bot.services.cards import kind
from bot.services.portraits import portrait
from bot.services.typesetting import BASELINE, Box, Line, Style, cleaned, line_height, typeset, width_of

if TYPE_CHECKING:
    from PIL.Image import Image

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
WIDTH, HEIGHT = 1120, 586  # shown at half of it, as the ancestor's was
MARGIN = 48
FACE = 92  # pixels, of a round picture; the next one covers a part of it
FACES = 3
OVERLAP = 30
MOST_LINES = 5
NAME_SIZES = (37, 33, 30, 27)  # of the name
SIZES = (40, 36, 33, 30, 27, 25, 23, 21)  # of the lines; half of the last can still be read
LEAST_GAP, MOST_GAP = 12, 34
NOTHING = "It said nothing that may be shown."
ENDLESS = 100_000  # pixels
BAR = 5
INDENT = BAR + 22
RIM = 4  # around a face
HEADER = Box(MARGIN, 40, WIDTH - MARGIN, 132)
BODY = Box(MARGIN, 166, WIDTH - MARGIN, 512)
FOOTER = Box(MARGIN, 534, WIDTH - MARGIN, 560)


@dataclass(frozen=True)
class Colours:
    """Of a theme."""

    ground: str
    text: str
    quiet: str
    accent: str
    rule: str
    on_accent: str


COLOURS: dict[Theme, Colours] = {
    "light": Colours("#ffffff", "#16222c", "#5c6b77", "#1d4e89", "#dfe5ea", "#ffffff"),
    "dark": Colours("#15202b", "#e8edf2", "#94a3b0", "#8ec1f5", "#33424f", "#10202f"),
}


@dataclass(frozen=True)
class Account:
    """One account of a voice, as it is shown."""

    handle: str
    name: str = ""
    """What it calls itself; empty: it is shown by its handle."""
    avatar: bytes | None = None
    """A picture's file; None: a letter on a colour is drawn."""

    @property
    def shown(self) -> str:
        """Its name, or else its handle."""
        return self.name if self.named else f"@{self.handle}"

    @property
    def named(self) -> bool:
        """Whether its name can be seen."""
        return any(character.isprintable() and not character.isspace() for character in self.name)


@dataclass(frozen=True)
class Said:
    """What a voice said to one prompt, which its lines begin with; it may be empty."""

    prompt: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """Where everything stands in the picture of a voice."""

    faces: tuple[Box, ...]
    badge: Box
    bars: tuple[Box, ...]
    lines: tuple[Line, ...]

    @property
    def boxes(self) -> list[Box]:
        """All of it."""
        return [*self.faces, self.badge, *self.bars, *(line.box for line in self.lines)]


def predictions(accounts: Sequence[Account], said: Said, theme: Theme) -> bytes:
    """Draw the picture of a voice; return a PNG of WIDTH by HEIGHT pixels."""
    from PIL import Image, ImageDraw

    colours = COLOURS[theme]
    arranged = arrange(accounts, said, colours)
    picture = Image.new("RGB", (WIDTH, HEIGHT), colours.ground)
    draw = ImageDraw.Draw(picture)
    draw.line((MARGIN, 148, WIDTH - MARGIN - 1, 148), fill=colours.rule, width=2)
    for account, box in reversed(list(zip(accounts, arranged.faces, strict=False))):  # the first lies on top
        _paste_face(picture, account, box, colours.ground)
    _rounded(picture, arranged.badge, colours.accent)
    for bar in arranged.bars:
        _rounded(picture, bar, colours.accent)
    for line in arranged.lines:
        line.draw(picture)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def arrange(accounts: Sequence[Account], said: Said, colours: Colours = COLOURS["light"]) -> Layout:
    """Find the place of everything, whatever it says."""
    step = FACE - OVERLAP
    faces = tuple(
        Box(HEADER.left + number * step, HEADER.top, HEADER.left + number * step + FACE, HEADER.top + FACE)
        for number in range(min(FACES, len(accounts)))
    )
    badge, badge_lines = _badge(kind(accounts), colours)
    handles = [f"@{account.handle}" for account in accounts]
    named = any(account.named for account in accounts)
    first = HEADER.top if named else HEADER.top + 19  # alone, in the middle
    beside = Box(faces[-1].right + 24, first, badge.left - 24, first + 54)
    name = _name(" & ".join(account.shown for account in accounts), beside, colours)
    under = beside._replace(top=first + 54, bottom=HEADER.bottom)
    handles_line = _beside(" ".join(handles), under, Style(25, colours.quiet)) if named else []  # else they would stand there twice
    begun = f"Begun with “{said.prompt}”. " if said.prompt else ""
    nobody = " or ".join([part for part in (", ".join(handles[:-1]), handles[-1]) if part])
    foot = typeset(f"{begun}Written by a model, not by {nobody}.", FOOTER, Style(18, colours.quiet), lines=1)
    bars, lines = _body(said, colours)
    return Layout(faces, badge, bars, (*badge_lines, *name, *handles_line, *lines, *foot))


def _name(text: str, box: Box, colours: Colours) -> list[Line]:
    """Typeset a name on the base line of the greatest size, in the greatest that it is not cut in."""
    fits = (size for size in NAME_SIZES if len(typeset(text, box._replace(bottom=ENDLESS), Style(size, colours.text, 700))) == 1)
    size = next(fits, NAME_SIZES[-1])
    return [line.moved(down=round(BASELINE * (NAME_SIZES[0] - size))) for line in _beside(text, box, Style(size, colours.text, 700))]


def _beside(text: str, box: Box, style: Style) -> list[Line]:
    """Typeset one line from the left of a box, whichever way it runs."""
    return [replace(line, box=line.box._replace(right=line.box.left + width_of(line))) for line in typeset(text, box, style, lines=1)]


def _badge(text: str, colours: Colours) -> tuple[Box, list[Line]]:
    """Return the box of the badge at the right, and its words."""
    style = Style(22, colours.on_accent, 700)
    (line,) = typeset(text, Box(0, 0, WIDTH // 2, line_height(style.size)), style, lines=1)
    width, height = width_of(line), line.box.height
    top = (HEADER.top + HEADER.bottom - height) // 2
    box = Box(HEADER.right - width - 44, top - 7, HEADER.right, top + height + 7)
    return box, typeset(text, Box(box.left + 22, top, box.right - 21, top + height), style, lines=1)


def _body(said: Said, colours: Colours) -> tuple[tuple[Box, ...], list[Line]]:
    """Return the lines in their places and the bars beside them."""
    size, blocks = _blocks([text for text in said.lines[:MOST_LINES] if cleaned(text)] or [NOTHING], said.prompt, colours)
    heights = [len(block) * line_height(size) for block in blocks]
    left = BODY.height - sum(heights)
    gap = min(MOST_GAP, left // max(1, len(blocks) - 1))
    top = BODY.top + (left - gap * (len(blocks) - 1)) // 2
    bars, lines = [], []
    for block, height in zip(blocks, heights, strict=True):
        bar = Box(BODY.left, top + 4, BODY.left + BAR, top + height - 4)
        bars.append(bar._replace(left=BODY.right - BAR, right=BODY.right) if block[0].direction == "rtl" else bar)
        lines += [line.moved(down=top) for line in block]
        top += height + gap
    return tuple(bars), lines


def _blocks(texts: Sequence[str], prompt: str, colours: Colours) -> tuple[int, list[list[Line]]]:
    """Return the size of the lines, and each typeset from the top of the picture.

    As many as possible, in the greatest size that there is room for; where one alone is too long for the least, it is cut.
    """

    def typeset_all(count: int, size: int, height: int) -> list[list[Line]]:
        plain, accent = Style(size, colours.text), Style(size, colours.accent, 600)
        frame = Box(BODY.left + INDENT, 0, BODY.right - INDENT, height)
        return [typeset(text, frame, plain, begun=prompt, accent=accent) for text in texts[:count]]

    def fits(count: int, size: int) -> bool:
        blocks = typeset_all(count, size, ENDLESS)
        return sum(map(len, blocks)) * line_height(size) + LEAST_GAP * (count - 1) <= BODY.height

    least = len(SIZES) - 1
    for count in range(len(texts), 0, -1):
        if fits(count, SIZES[least]):
            size = SIZES[bisect_left(SIZES, True, hi=least, key=partial(fits, count))]
            return size, typeset_all(count, size, ENDLESS)
    return SIZES[least], typeset_all(1, SIZES[least], BODY.height)


def _paste_face(picture: "Image", account: Account, box: Box, ground: str) -> None:
    """Draw a round picture of an account, with a rim of the ground's colour."""
    from PIL import Image, ImageOps

    face = ImageOps.fit(Image.open(io.BytesIO(account.avatar or portrait(account.handle))).convert("RGBA"), (box.width, box.height))
    flat = Image.new("RGBA", face.size, ground)
    flat.alpha_composite(face)
    _rounded(picture, Box(box.left - RIM, box.top - RIM, box.right + RIM, box.bottom + RIM), ground)
    picture.paste(flat.convert("RGB"), (box.left, box.top), _mask(box.width, box.height))


def _rounded(picture: "Image", box: Box, colour: str) -> None:
    picture.paste(colour, (box.left, box.top), _mask(box.width, box.height))


def _mask(width: int, height: int) -> "Image":
    """Return a rectangle with round ends, drawn four times as large so that its edges are smooth."""
    from PIL import Image, ImageDraw

    large = Image.new("L", (4 * width, 4 * height))
    ImageDraw.Draw(large).rounded_rectangle((0, 0, 4 * width - 1, 4 * height - 1), radius=2 * min(width, height), fill=255)
    return large.resize((width, height), Image.Resampling.LANCZOS)
