"""The terminal as Mynah writes on it: what rich makes of a renderable, without anything that the terminal would obey in a text."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from bot.printable import printable


class Screen(Console):
    """A console on which names and posts are shown, and only rich's own codes do anything: it takes out fewer itself."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render a renderable, its texts made harmless."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
