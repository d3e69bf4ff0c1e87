"""How X counts a text, and what is refused before X sees it."""

import pytest

from bot.x.text import broken_rule, weighted_length


@pytest.mark.parametrize(("text", "length"), [("Hello, world! 👋", 16), ("👨‍👩‍👧‍👦", 2), ("日本", 4), ("cafe\u0301", 4), ("see x.ai", 27)])
def test_length_is_weighted(text, length):
    assert weighted_length(text) == length


@pytest.mark.parametrize("text", ["a" * 280, "日" * 140, "3.5 of them, etc... and so on", "a # b", "pooped on this one.\u2122 for all"])
def test_plain_text_may_go(text):
    assert broken_rule(text) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a" * 281, "281 of X's 280"),
        ("日" * 141, "282"),
        ("www.example.com" * 1_000, "many more than X's 280"),
        (" \n", "no text"),
        ("hello @someone", "@"),
        ("see https://example.com/a", "https://example.com/a"),
        ("see x.ai", "x.ai"),
        ("a\ufffeb", "refuses"),
        ("a\ud800b", "refuses"),
    ],
)
def test_what_may_not_go_is_said(text, says):
    assert says in broken_rule(text).why
