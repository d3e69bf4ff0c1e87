"""What must not be said: the rules in their order, each with a name and a reason; the first that a line breaks is its verdict.

The same rules hold for every line, wherever it goes. docs/speaking.md says them to operators.
"""

from collections.abc import Iterable
from typing import NamedTuple

import structlog
from rapidfuzz import fuzz, process

from bot.services import personal, profanity
from bot.services.blocklist import Blocklist
from bot.services.folding import Views, plain
from bot.services.profanity import Level
from bot.settings import Safety as Settings
from bot.x.text import broken_rule
from data.copies import NEAR_EQUAL, TrainingPosts
from data.speech import PASSED

log = structlog.get_logger()


class Verdict(NamedTuple):
    """What is thought of a line."""

    name: str
    """passed, empty, cut_off, too_long, forbidden, mention, link, blocked, profane, personal, copy or repeat."""
    reason: str = ""
    """The end of a sentence whose subject is the line; empty where it passed."""


class Said:
    """Lines that were said before, or are said now: another is a repeat where it differs by a word or a typing error."""

    def __init__(self, lines: Iterable[tuple[str, str]] = ()) -> None:
        """Index lines, each with the prompt that it began with."""
        self._lines = [_own(line, prompt) for line, prompt in lines]

    def add(self, line: str, prompt: str = "") -> None:
        """Index one more line."""
        self._lines.append(_own(line, prompt))

    def has(self, line: str, prompt: str = "") -> bool:
        """Say whether a line repeats one of these."""
        return process.extractOne(_own(line, prompt), self._lines, scorer=fuzz.ratio, score_cutoff=NEAR_EQUAL) is not None


def _own(line: str, prompt: str) -> str:
    """Return what is compared of a line: a prompt was typed and not said, and one that is long would make all lines alike."""
    return _behind(line, prompt) or plain(line)


def _behind(line: str, prompt: str) -> str:
    """Return what a line says behind its prompt, folded."""
    return plain(line).removeprefix(plain(prompt)).strip()


class Safety:
    """The rules as the operator set them."""

    def __init__(self, settings: Settings, suffix: str = "") -> None:
        """Read the blocklist; `suffix` is what posts end with on X, for which every line leaves room.

        Raises:
            SettingsError: it cannot be used.
        """
        self._suffix = suffix
        self._profanity = settings.profanity
        self._blocklist = Blocklist(settings.blocklist)

    def judge(
        self, line: str, learned: TrainingPosts, said: Said, *, prompt: str = "", complete: bool = True, level: Level | None = None
    ) -> Verdict:
        """Return the first rule that a line breaks, or `passed`.

        Args:
            line: what a voice would say, its prompt included.
            learned: the posts it learned from.
            said: what it must not repeat.
            prompt: what the line was told to begin with.
            complete: whether the model ended the line itself.
            level: of profanity, where it is said; it can only be stricter than the operator's. None: the operator's.
        """
        views = Views(line)
        if not any(character.isalnum() for character in views.visible):
            return Verdict("empty", "has no letter and no digit")
        if prompt and not any(character.isalnum() for character in _behind(line, prompt)):
            return Verdict("empty", "adds nothing to what it was to begin with")
        if not complete:
            return Verdict("cut_off", "was cut off before its end")
        if line.endswith("\ufffd"):  # the model ended it among the bytes of a letter or an emoji
            return Verdict("cut_off", "ends in a part of a character")
        if broken := self._broken(line, views, level):
            return broken
        if learned.copied_in(line) or (prompt and learned.copied_in(_own(line, prompt))):
            return Verdict("copy", "copies a post that the voice learned from")
        if said.has(line, prompt):
            return Verdict("repeat", "repeats what the voice said before, or what it answers")
        return Verdict(PASSED)

    def refusal(self, prompt: str, level: Level | None = None) -> Verdict | None:
        """Return the rule that every line would break that begins with a prompt, or None; `level` as for `judge`."""
        return self._broken(prompt, Views(prompt), level) if prompt else None

    def _broken(self, text: str, views: Views, level: Level | None) -> Verdict | None:
        """Return the first broken rule of those that concern the text alone."""
        if broken := broken_rule(text + self._suffix):
            return Verdict(broken.rule, broken.why)
        if found := self._blocklist.rules.broken_by(views):
            if found.timed_out:
                log.warning("an expression of the blocklist takes too long, and what it was tried on is refused", line=found.line)
            return Verdict("blocked", f"holds what line {found.line} of the blocklist refuses")
        if why := profanity.broken_by(views, profanity.stricter(self._profanity, level)):
            return Verdict("profane", why)
        if why := personal.found_in(text):
            return Verdict("personal", why)
        return None
