"""Words and regular expressions that must not be said: one file of the operator's, read anew when it changes."""

import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import regex
import structlog

from bot.errors import SettingsError
from bot.services.folding import Views, plain, skeleton, visible, words
from data.cleaning import UNSPACED

REGEX_SECONDS = 0.05  # one expression on one line; a sound one takes microseconds
log = structlog.get_logger()


class BadRuleError(ValueError):
    """A line of a list is no rule; the text says which and why."""


@dataclass(frozen=True)
class Found:
    """The rule that a text breaks."""

    line: int
    """Of the list, from 1."""
    timed_out: bool = False
    """Its expression was given up on this text, which is refused to be on the safe side."""


class Rules:
    """A list, ready to be looked up: a line is a word or a phrase, `/an expression/`, or `# a comment`."""

    def __init__(self, text: str) -> None:
        """Read a list.

        Raises:
            BadRuleError: a line is no valid expression.
        """
        self._plain: dict[tuple[str, ...], int] = {}
        self._skeletons: dict[tuple[str, ...], int] = {}
        self._anywhere: dict[str, int] = {}
        self._expressions: list[tuple[Any, int]] = []
        for number, line in enumerate(text.splitlines(), 1):
            rule = line.strip()
            if rule and not rule.startswith("#"):
                self._add(rule, number)
        self._longest = max(map(len, [*self._plain, *self._skeletons]), default=0)

    def __len__(self) -> int:
        """Return the number of different rules."""
        return len({*self._plain.values(), *self._skeletons.values()}) + len(self._anywhere) + len(self._expressions)

    def _add(self, rule: str, number: int) -> None:
        if len(rule) > 2 and rule.startswith("/") and rule.endswith("/"):
            self._expressions.append((_compiled(rule[1:-1], number), number))
        elif UNSPACED.search(rule):  # no spaces say where a word begins
            self._anywhere.setdefault(plain(rule), number)
        elif (key := tuple(words(plain(rule)))) and "$" not in (shape := skeleton(rule)) and (alike := tuple(words(shape))):
            if "$" not in rule:  # else it stands for a letter: what plain words leave of `a$$` is the word `a`
                self._plain.setdefault(key, number)
            self._skeletons.setdefault(alike, number)
        elif seen := visible(rule).strip():  # signs and emoji
            self._anywhere.setdefault(seen, number)
        else:
            raise BadRuleError(f"line {number} holds nothing that can be seen")

    def broken_by(self, views: Views) -> Found | None:
        """Return the first rule that a text breaks, or None."""
        for found, rules in ((views.plain_words, self._plain), (views.skeleton_words, self._skeletons)):
            for start in range(len(found)):
                for end in range(start + 1, min(start + self._longest, len(found)) + 1):
                    if (line := rules.get(tuple(found[start:end]))) is not None:
                        return Found(line)
        for part, line in self._anywhere.items():
            if part in views.plain or part in views.visible:
                return Found(line)
        for expression, line in self._expressions:
            try:
                if any(expression.search(view, timeout=REGEX_SECONDS) for view in (views.visible, views.latin)):
                    return Found(line)
            except TimeoutError:
                return Found(line, timed_out=True)
        return None


def _compiled(pattern: str, number: int) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # the library warns of what it reads otherwise than it will some day
            return regex.compile(pattern, regex.IGNORECASE | regex.VERSION0)
    except (regex.error, Warning, OverflowError, RecursionError) as error:
        raise BadRuleError(f"line {number} is no regular expression ({str(error)[:100]})") from error


class Blocklist:
    """The operator's list, as its file has it now."""

    def __init__(self, path: Path | None) -> None:
        """Read the file; without one, nothing is blocked.

        Raises:
            SettingsError: the file is missing, cannot be read, or a line of it is no rule.
        """
        self._path = path
        self._lock = threading.Lock()
        self._stamp = _stamp(path)
        self._rules = _read(path) if path else Rules("")

    @property
    def rules(self) -> Rules:
        """The rules of the file; where it cannot be read any more, or a line is bad now, those that it had before."""
        with self._lock:  # lines are judged in threads
            stamp = _stamp(self._path)
            if self._path and stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._rules = _read(self._path)
                except SettingsError as error:
                    log.warning("the blocklist stays as it was before its file changed", error=str(error))
                else:
                    log.info("the blocklist was read anew", rules=len(self._rules))
            return self._rules


def _stamp(path: Path | None) -> tuple[int, ...]:
    try:
        status = path.stat() if path else None
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status else ()


def _read(path: Path) -> Rules:
    try:
        return Rules(path.read_text(encoding="utf-8-sig"))
    except BadRuleError as error:
        raise SettingsError(f"The blocklist {path}: {error}: mend that line, or put a # before it.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"The blocklist {path} is not UTF-8 text (byte {error.start}): save it as UTF-8.") from error
    except OSError as error:
        raise SettingsError(f"The blocklist {path} cannot be read ({error.strerror}): check blocklist in [safety].") from error
