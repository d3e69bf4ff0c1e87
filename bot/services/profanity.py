"""Swearing, at the level that the operator allows; the words lie in data/words, in the form of a blocklist.

They are our own, because no library's will do: better-profanity (2020) and glin-profanity 4.1 hold cerveja, martillo, negro, sex and
"how to kill", safetext tells the language first and brings the net with it, and none of them knows a slur from an oath.
"""

from functools import cache
from typing import Literal, get_args

from bot.services.blocklist import Rules
from bot.services.folding import Views
from data.bundled import bundled

#: any: all passes. mild: slurs and the strongest are refused. none: ordinary swearing is refused, too.
Level = Literal["any", "mild", "none"]

LEVELS: tuple[Level, ...] = get_args(Level)
"""The laxest first."""


def stricter(one: Level, other: Level | None) -> Level:
    """Return the stricter of two levels; None is none."""
    return max(one, other or one, key=LEVELS.index)


def broken_by(views: Views, level: Level) -> str | None:
    """Return what a text holds that the level does not allow, as the end of a sentence, or None."""
    if level != "any" and _rules("slurs").broken_by(views):
        return "holds a slur or the like"
    if level == "none" and _rules("swearing").broken_by(views):
        return "holds a swear word"
    return None


@cache
def _rules(name: str) -> Rules:
    return Rules(bundled("words", f"{name}.txt").read_text(encoding="utf-8"))
