"""What must not be said: each rule has a name, and the first that a line breaks is its verdict."""

from bot.x.text import broken_rule
from data.copies import TrainingPosts
from data.speech import PASSED, Purpose

__all__ = ["TrainingPosts", "judge"]  # speaking.py names the index beside the judge that reads it


def judge(line: str, purpose: Purpose, training: TrainingPosts) -> str:
    """Return `passed`, or the name of the rule that a line breaks."""
    if not any(character.isalnum() for character in line):
        return "empty"
    if purpose is Purpose.POST:
        broken = broken_rule(line)
        if broken:
            return broken.rule
    return "copy" if training.copied_in(line) else PASSED
