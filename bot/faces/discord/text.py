"""What may be shown in Discord: text from outside made harmless, and everything cut to the platform's limits."""

import re
import unicodedata

from bot.faces.discord.language import tr

MESSAGE = 2000
EMBED_DESCRIPTION = 4096
EMBED_FIELD = 1024
EMBED_TITLE = 256
CHOICE = 100
CHOICES = 25

# Discord takes a backslash before any of these for "only a character". A link loses its `/`, so that none is made of it.
_SPECIAL = frozenset("\\*_~|`>#-+[]()</")
_NUMBER_OF_A_LIST = re.compile(r"^[ ]*\d+(\.)", re.MULTILINE)
# Overrides of the writing direction would turn around the rest of the message, which is Mynah's.
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_EMPTY_LINES = re.compile(r"\n{3,}")
_CODE = re.compile(r"(`[^`\n]+`)")
_OWN_COMMAND = re.compile(r"`mynah (train|generate|models|show|jobs|cancel|forget|posts|schedule|pause|resume)\b")
_NAMES = {"jobs": "queue", "posts": "approve"}  # what Discord calls otherwise
_MEMBER = re.compile(r"^(.*) \(Discord \d+\)$", re.DOTALL)
_AFTER_AT = "\u200b"
ELLIPSIS = "…"


def units(text: str) -> int:
    """Return a text's length as the strictest reader of Discord's limits counts it, in UTF-16."""
    return len(text) + sum(character > "\uffff" for character in text)


def safe(text: str, limit: int = MESSAGE) -> str:
    """Return text from outside so that Discord shows its characters and nothing else: no mention, link, spoiler or formatting.

    It is cut to `limit`, never inside an escape.
    """
    text = _EMPTY_LINES.sub("\n\n", "".join(map(_harmless, text.replace("\r\n", "\n"))).strip())
    dots = {match.start(1) for match in _NUMBER_OF_A_LIST.finditer(text)}
    pieces = [_escaped(character, in_list=place in dots) for place, character in enumerate(text)]
    if sum(map(units, pieces)) <= limit:
        return "".join(pieces)
    kept: list[str] = []
    room = limit - units(ELLIPSIS)
    for piece in pieces:
        room -= units(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept).rstrip() + ELLIPSIS


def _harmless(character: str) -> str:
    if character == "\n":
        return character
    if character in _DIRECTION:
        return ""
    match unicodedata.category(character):
        case "Cc":
            return " "
        case "Cs":  # half a character: Discord refuses the whole message
            return "\ufffd"
    return character


def _escaped(character: str, *, in_list: bool) -> str:
    if character == "@":  # the invisible space is what the server, which looks for mentions in the raw text, stumbles over
        return character + _AFTER_AT
    return "\\" + character if in_list or character in _SPECIAL else character


def sentence(text: str, limit: int = MESSAGE - 100) -> str:
    """Return a sentence of Mynah's, which may quote a person, for Discord: code stays code, the rest is made safe.

    It is said in the reader's language. Sentences name commands as the terminal has them; those that Discord has too are named as there.
    """
    parts = _CODE.split(_OWN_COMMAND.sub(lambda own: f"`/{_NAMES.get(own[1], own[1])}", tr(text)))
    return cut("".join(part if place % 2 else _safe_between(part) for place, part in enumerate(parts)), limit)


def _safe_between(text: str) -> str:
    """Like `safe`, but keeps the spaces at both ends, which belong to the sentence."""
    inner = text.strip()
    if not inner:
        return " " if text else ""
    return (" " if text[0].isspace() else "") + safe(inner) + (" " if text[-1].isspace() else "")


def moment(stamp: str) -> str:
    """Return a stored moment, which is in UTC, as `2026-11-21 21:31`."""
    return stamp[:16].replace("T", " ")


def who(signature: str) -> str:
    """Return who is written down as having asked for something, made harmless; a member (context.py) as `@name`, without the number."""
    return safe(_MEMBER.sub(r"@\1", signature), 60)


def cut(text: str, limit: int) -> str:
    """Cut text of Mynah's own to a limit: whole lines go; a first line that is too long loses its end."""
    if units(text) <= limit:
        return text
    room = limit - units(f"\n{ELLIPSIS}")
    head, *lines = text.split("\n")
    while units(head) > room:
        head = head[: -max(1, (units(head) - room) // 2)].rstrip("\\")
    for line in lines:
        if units(head) + 1 + units(line) > room:
            break
        head += f"\n{line}"
    return f"{head}\n{ELLIPSIS}"


def plural(number: int, name: str) -> str:
    """Return `1 line`, `2 lines`, in the reader's language."""
    return tr(f"{number:,} {name}" if number == 1 else f"{number:,} {name}s")
