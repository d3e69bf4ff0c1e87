"""Text as an eye reads it: whatever a word is disguised with, the views of it are the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.services.folding import Views, latin, plain, skeleton, visible, words

DISGUISES = {
    "full width": "\uff53\uff50\uff4f\uff49\uff4c\uff45\uff52",
    "zero-width joiners": "s\u200dp\u200do\u200bi\u2060l\ufeffer",
    "soft hyphens": "spoi\u00adl\u00ader",
    "marks of direction": "\u202espoiler\u202c\u200f",
    "selectors": "s\ufe0fp\U000e0101oiler",
    "fillers": "spo\u3164il\u115fer",
    "accents": "sp\u00f6\u00efl\u00e9r",
    "marks piled up": "s\u0334p\u0335o\u0301i\u0336l\u0338e\u0489r",
    "case": "SpOiLeR",
    "mathematical": "\U0001d4fc\U0001d4f9\U0001d4f8\U0001d4f2\U0001d4f5\U0001d4ee\U0001d4fb",
    "circled": "\u24e2\u24df\u24de\u24d8\u24db\u24d4\u24e1",
}
LOOK_ALIKES = {
    "Cyrillic": "\u0455\u0440\u043e\u0456l\u0435r",
    "Cyrillic capitals": "S\u0420\u041e\u0406L\u0415R",
    "Greek": "s\u03c1\u03bfil\u0435r",
    "small capitals": "\ua731\u1d18\u1d0f\u026a\u029f\u1d07\u0280",
    "boxes": "\U0001f182\U0001f17f\U0001f17e\U0001f178\U0001f17b\U0001f174\U0001f181",
}


@pytest.mark.parametrize("text", DISGUISES.values(), ids=DISGUISES)
def test_what_hides_a_word_is_gone(text):
    assert plain(text) == latin(text) == "spoiler"


@pytest.mark.parametrize("text", LOOK_ALIKES.values(), ids=LOOK_ALIKES)
def test_look_alikes_are_latin(text):
    assert latin(text) == "spoiler"


@pytest.mark.parametrize("text", ["sp01ler", "5poi1er", "SPO1L3R", "$poiler", "spolier".replace("lier", "i1er")])
def test_signs_that_stand_for_letters_are_letters_within_a_word(text):
    assert skeleton(text) == skeleton("spoiler")


def test_numbers_stay_numbers():
    assert skeleton("100 4, 7.50 $5") == "100 4, 7.50 $5"


@pytest.mark.parametrize("text", ["ガギグ", "한국어", "ไทยนี้", "हिन्दी", "日本語"])
def test_marks_that_make_another_letter_stay(text):
    assert visible(text) == plain(text) == text
    assert words(text) == [text]


def test_what_divides_words():
    assert words("it_is-a b.c #d/e") == ["it", "is", "a", "b", "c", "d", "e"]


@given(st.text())
def test_every_text_has_its_views(text):
    views = Views(text)
    assert views.plain == plain(text)
    assert all(" " not in word for word in views.plain_words + views.skeleton_words)
    assert latin(text).isascii() or not text.isascii()


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz ", min_size=1), st.data())
def test_no_joiner_or_accent_changes_what_is_read(text, data):
    hidden = "".join(letter + data.draw(st.sampled_from(["", "\u200b", "\u200d", "\u00ad", "\u2060", "\ufe0f"])) for letter in text)
    assert plain(hidden) == plain(text)
    assert skeleton(hidden) == skeleton(text)
