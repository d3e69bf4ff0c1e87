"""Names and texts that break what is not careful: pieces that mean something to Markdown, YAML, HTML, templates or an eye."""

# ruff: noqa: RUF001 - that they look like others is why they are here

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

WALL_SECONDS = 30.0  # what waits instead of working, on a machine that has other things to do

PIECES = [
    "BOT", "CYBORG", "USER_NAME", "|", "||", "\\", "\\|", "`", "```", "~~~", "---", "\n---\n", "\n\n",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</td></tr></table>", "<!--", "-->", "<b>",
    "&lt;", "&amp;", "&#60;", '"', "'", "{{ title }}", "{% raw %}", "{#", "#", "# ", "- ", "+ ", "1. ", "2) ",
    "> ", "*", "**", "_", "__", "~~", "[a](javascript:alert(1))", "![x](http://x.y/z.png)", "[x]: http://x.y",
    "https://example.com/", "www.example.com", "<http://x.y>", "$$x$$", ": ", ":", "- a: b",
    "!!python/object:os.system", "%YAML 1.1", "&anchor", "*alias", "null", "true", "1e3", "0x1f",
    "2026-11-22", "~", "? ", "@everyone", "===", "    code", "\t", "\r\n", "🤖", "👨\u200d👩\u200d👧\u200d👦",
    "🇪🇸", "❤️", "1️⃣", "שלום", "مرحبا", "日本語", "한국어", "ไทย", "é", "Z̸̡̢̛̗̥", "𝓐𝓷𝓷", "ﬁ", "\u202e", "\u2067",
    "\u2066", "\u200f", "\u200d", "\xad", "\ufeff", "\u2028", "\u2029", "\x85", "\xa0", "\x00", "\x1b[31m",
    "\x7f", "\ud800", "\udfff", "\ufffe", "\U000e0041", "\ue000", "x" * 300, "w" * 80, " ", "a", "Ann",
    "O'Neil", "my dream is",
]  # fmt: skip


def hostile(draw: random.Random, most: int = 6) -> str:
    """Return a text of up to so many pieces, which may be empty."""
    return draw.choice(["", " "]).join(draw.choice(PIECES) for _ in range(draw.randint(0, most)))


@contextmanager
def soon(seconds: float = 1.0) -> Iterator[None]:
    """See that something takes no more than so many seconds of the processor, and does not wait without end either; in the main thread."""

    def late(*_: object) -> None:
        raise AssertionError(f"It has taken {WALL_SECONDS:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
    began = time.process_time()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.process_time() - began < seconds
