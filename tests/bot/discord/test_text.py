"""Text from outside is shown as its characters, and fits."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.faces.discord.text import cut, moment, safe, sentence, units, who

MARKUP = "\\*_~|`>#-+[]()</"
texts = st.text(alphabet=st.one_of(st.sampled_from(MARKUP + "@:. \n\r\t019ae\u202e\ud800😀"), st.characters()), max_size=300)


def test_a_member_who_asked_is_shown_by_name_and_whoever_is_none_as_he_is_written_down():
    assert who("a_b (Discord 1456074443980800025)") == "@\u200ba\\_b"
    assert who("x (Discord 1) (Discord 2)") == "@\u200bx \\(Discord 1\\)"
    assert who("make demo") == "make demo"


def test_a_moment_has_no_letter_within():
    assert moment("2026-11-21T21:31:05.123456+00:00") == "2026-11-21 21:31"


def unescaped(text: str) -> str:
    """Read a text as Discord does: a backslash takes the next character as it is."""
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL).replace("@\u200b", "@")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, 10:30, a.b", "plain words, 10:30, a.b"),
        ("@everyone and @here", "@\u200beveryone and @\u200bhere"),
        ("<@123456789012345678>", "\\<@\u200b123456789012345678\\>"),
        ("[a](https://b.example)", "\\[a\\]\\(https:\\/\\/b.example\\)"),
        ("||secret||", "\\|\\|secret\\|\\|"),
        ("# heading\n-# small\n- item\n1. one\n> quote", "\\# heading\n\\-\\# small\n\\- item\n1\\. one\n\\> quote"),
        ("```py\nx\n```", "\\`\\`\\`py\nx\n\\`\\`\\`"),
        ("\\*", "\\\\\\*"),
        ("a\n\n\n\n\nb", "a\n\nb"),
        ("left\u202eright\x07", "leftright"),
        ("half \ud800", "half \ufffd"),
    ],
)
def test_safe(text: str, shown: str):
    """Each sort of markup, by example."""
    assert safe(text) == shown


@given(texts)
def test_safe_shows_the_characters_and_nothing_else(text: str):
    """Whatever came, every character with a meaning is escaped, no mention is left, and what is read is what was written."""
    shown = safe(text, 100_000)
    bare = re.sub(r"\\.", "x", shown, flags=re.DOTALL)
    assert not set(bare) & set(MARKUP)
    assert not re.search(r"@(?!\u200b)", bare)
    assert not re.search(r"^ *\d+\.", bare, re.MULTILINE)
    assert "://" not in shown
    assert unescaped(shown).split() == unescaped(safe(unescaped(shown), 100_000)).split()
    shown.encode()


@given(texts, st.integers(1, 120))
def test_safe_is_cut_between_escapes(text: str, limit: int):
    """The limit holds, and no backslash is left that would take what follows."""
    shown = safe(text, limit)
    assert units(shown) <= limit
    assert not re.search(r"(?<!\\)(\\\\)*\\$", shown)


@given(texts)
def test_sentence_is_never_empty_of_its_code(text: str):
    """Code in Mynah's own sentences stays code; what it quotes is made safe."""
    shown = sentence(f"No voice {text.replace('`', '')!r}: `mynah models` lists them.")
    assert shown.endswith("`/models` lists them.") or units(shown) >= 1800
    assert "://" not in shown


def test_sentence_names_commands_as_discord_does():
    """What only the terminal has keeps its name."""
    assert sentence("Try `mynah train a b` or `mynah doctor`.") == "Try `/train a b` or `mynah doctor`."
    assert sentence("There is none: `mynah jobs` lists them.") == "There is none: `/queue` lists them."


@given(texts.map(lambda text: safe(text, 5000)), st.integers(10, 200))
def test_cut(text: str, limit: int):
    """Whole lines go, the limit holds, and nothing ends in half an escape."""
    shown = cut(text, limit)
    assert units(shown) <= limit
    if units(text) <= limit:
        assert shown == text
    else:
        assert shown.endswith("\n…")
        assert not re.search(r"(?<!\\)(\\\\)*\\\n…$", shown)
