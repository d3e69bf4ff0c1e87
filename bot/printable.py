"""What may be written to a terminal or a log: text from outside moves no cursor, turns no line around and begins no line of its own."""

import re

#: Controls but the tab and the line's end, overrides of the writing direction, what other programs take for a line's end, half characters.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return the text without what a terminal would obey instead of showing it."""
    return UNPRINTABLE.sub("", text)


def spelt(text: str) -> str:
    r"""Return the text with that spelt out as JSON does: `\u001b`."""
    return UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
