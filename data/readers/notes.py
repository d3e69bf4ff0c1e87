"""Posts of more than 280 characters: tweets.js holds them cut, note-tweet.js holds them whole, under another id."""

import re
from datetime import datetime
from typing import Any

from data.readers.entities import cut, note_links
from data.readers.fields import MAX_TEXT, parse_time, storable

#: Characters of a note that its cut post must contain.
HEAD = 200
#: Notes that are kept of one second, each of which is compared with each post of that time.
MAX_A_SECOND = 100

_ESCAPE = re.compile(r"&(?:amp|lt|gt);")
_BARE = re.compile(r"[&<>]")


class Notes:
    """The notes of an archive by the second of their writing.

    The join is facts/x.md section 2, as community-archive's importer does it: the note's first 200 characters stand in the post's
    text, compared unescaped, and their times are at most 1 s apart. The ids do not match.
    """

    def __init__(self) -> None:
        self._by_second: dict[int, list[tuple[float, str, str]]] = {}  # time, head as compared, text escaped

    def add(self, element: Any) -> int:
        """Take one entry of note-tweet.js, and return how many characters of it are kept.

        One of another shape is passed over, for its post is there all the same, only cut.
        """
        note = element.get("noteTweet") if isinstance(element, dict) else None
        core = note.get("core") if isinstance(note, dict) else None
        if note is None or not isinstance(core, dict) or not isinstance(core.get("text"), str):
            return 0
        try:
            time = parse_time(note.get("createdAt")).timestamp()
        except ValueError:
            return 0
        text = storable(core["text"])
        head = _comparable(text)[:HEAD].strip()
        beside = self._by_second.setdefault(int(time // 1), [])
        if not head or len(text) > MAX_TEXT or len(beside) >= MAX_A_SECOND:
            return 0
        whole = escaped(cut(text, note_links(core)))
        beside.append((time, head, whole))
        return len(head) + len(whole)

    def match(self, text: str, created_at: datetime) -> str | None:
        """Return the whole text of a cut post, HTML-escaped as the post's is, or None where no note fits."""
        time = created_at.timestamp()
        near = [note for second in (-1, 0, 1) for note in self._by_second.get(int(time // 1) + second, ()) if abs(note[0] - time) <= 1]
        if not near:
            return None
        compared = _comparable(text)
        fitting = [note for note in near if note[1] in compared]
        return max(fitting, key=lambda note: (len(note[1]), -abs(note[0] - time), note[2]))[2] if fitting else None


def _comparable(text: str) -> str:
    return " ".join(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").split())


def escaped(text: str) -> str:
    """Return the text HTML-escaped once, as a post's is, whether it comes so or not."""
    # A text with escapes and nothing that would need one is escaped already; whether X escapes notes is not documented.
    if _ESCAPE.search(text) and not _BARE.search(_ESCAPE.sub("", text)):
        return text
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
