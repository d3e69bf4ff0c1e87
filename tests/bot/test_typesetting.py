"""Text in pictures: nothing leaves its box, whatever is written, and what has room is all there."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from bot.services.typesetting import _CLUSTER, ELLIPSIS, MOST_CLUSTERS, Box, Style, _drawable, _runs, _width, cleaned, line_height, typeset
from tests.hostile import hostile

ANY_TEXT = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=()), max_size=400),
    st.randoms(use_true_random=False).map(lambda draw: hostile(random.Random(draw.random()), 12)),
)
STYLE = Style(30, "#000000")
BOX = Box(40, 30, 440, 30 + 4 * line_height(30))


@settings(max_examples=150)
@given(ANY_TEXT, st.integers(60, 700), st.integers(0, 400), st.sampled_from([20, 33]))
def test_every_line_lies_in_its_box_and_below_the_one_before(text, width, height, size):
    box = Box(7, 11, 7 + width, 11 + height)
    lines = typeset(text, box, Style(size, "#000000"))
    assert all(box.holds(line.box) for line in lines)
    assert all(above.box.bottom <= below.box.top for above, below in pairwise(lines))
    for line in lines:
        runs = _runs(line.clusters, line.direction)
        assert sum(map(len, runs)) == len(line.clusters)
        assert sum(map(_width, runs)) <= box.width or len(line.clusters) <= 2  # one letter, and an ellipsis perhaps


@settings(max_examples=40)
@given(ANY_TEXT)
def test_nothing_is_drawn_outside_of_the_box(text):
    empty = Image.new("RGB", (480, 260), "white")
    drawn = empty.copy()
    for line in typeset(text, BOX, STYLE):
        line.draw(drawn)
    changed = ImageChops.difference(empty, drawn).getbbox()
    assert changed is None or BOX.holds(Box(*changed))


@settings(max_examples=100)
@given(ANY_TEXT)
def test_what_has_room_is_all_there(text):
    lines = typeset(text, Box(0, 0, 900, 100_000), STYLE)
    wanted = "".join(map(_drawable, _CLUSTER.findall(cleaned(text))))
    assert "".join("".join(line.text for line in lines).split()) == "".join(wanted.split())


def test_what_has_no_room_ends_in_an_ellipsis():
    lines = typeset("the lamp came back " * 40, BOX, STYLE)
    assert len(lines) == 4
    assert lines[-1].text.endswith(ELLIPSIS)
    for text in ("the lamp came back " * 40, "the lamp cameback ontheisland"):  # here another line would begin with what is cut
        (line,) = typeset(text, BOX, STYLE, lines=1)
        assert len(line.text) > 20
        assert line.text.endswith(ELLIPSIS)
        assert text.startswith(line.text.removesuffix(ELLIPSIS))
    assert typeset("the lamp", BOX._replace(bottom=BOX.top + 10), STYLE) == []


def test_a_word_that_is_wider_than_the_box_is_broken():
    lines = typeset("a " + "w" * 60, BOX._replace(bottom=900), STYLE)
    assert lines[0].text == "a"
    assert "".join(line.text for line in lines[1:]) == "w" * 60


def test_lines_break_between_words_and_in_scripts_without_spaces_anywhere_but_before_a_stop():
    lines = typeset("まいにち言いたい話かと思ったら今度と違ってました。チクショー", BOX, STYLE)
    assert len(lines) > 1
    assert not any(line.text[0] in "。ーョっ" for line in lines)
    assert [line.text for line in typeset("one two three four", Box(0, 0, 200, 900), STYLE)] == ["one two three", "four"]


@pytest.mark.parametrize(
    ("text", "fonts"),
    [
        ("Ann", {"NotoSans[wght].ttf"}),
        ("日本", {"NotoSansCJK-VF.otf.ttc"}),
        ("한국", {"NotoSansCJK-VF.otf.ttc"}),
        ("🤖👨‍👩‍👧‍👦🇪🇸❤️1️⃣", {"NotoEmoji[wght].ttf"}),
        ("1", {"NotoSans[wght].ttf"}),
        ("שלום", {"NotoSansHebrew[wght].ttf"}),
        ("\U0001d54f", {"DejaVuSans.ttf"}),
        ("\ue000", {"NotoSans[wght].ttf"}),  # nobody has it
    ],
)
def test_each_script_has_its_font(text, fonts):
    (line,) = typeset(text, BOX, STYLE)
    assert {cluster.font for cluster in line.clusters} == fonts


def shown(line):
    """Return the runs of a line from left to right, without those of spaces."""
    return [text for run in _runs(line.clusters, line.direction) if (text := "".join(cluster.text for cluster in run).strip())]


def test_letters_of_mathematics_that_no_font_has_are_plain_ones():
    (line,) = typeset("\U0001d4d0\U0001d4f7\U0001d4f7 \U0001d54f", BOX, STYLE)
    assert line.text == "Ann \U0001d54f"


def test_a_line_that_begins_from_the_right_is_ordered_from_there():
    (line,) = typeset("שלום Ann 🤖 סוף", BOX, STYLE)
    assert line.direction == "rtl"
    assert shown(line) == ["סוף", "🤖", "Ann", "שלום"]


def test_what_runs_from_the_right_within_a_line_stays_in_its_place():
    (line,) = typeset("Ann שלום 🤖 סוף end", Box(0, 0, 900, 60), STYLE)
    assert shown(line) == ["Ann", "סוף", "🤖", "שלום", "end"]


def test_the_beginning_has_a_look_of_its_own():
    accent = Style(30, "#1d4e89", 700)
    (line,) = typeset("My dream is a lamp", BOX, STYLE, begun="My  dream is", accent=accent)
    assert "".join(cluster.text for cluster in line.clusters if cluster.style == accent) == "My dream is"
    (line,) = typeset("Another dream", BOX, STYLE, begun="My dream is", accent=accent)
    assert not [cluster for cluster in line.clusters if cluster.style == accent]


def test_marks_of_direction_controls_and_heaps_of_marks_are_taken_out():
    assert cleaned("a\u202eb\x00\x1bc\ud800 \n d") == "abc? d"
    assert len(cleaned("Z" + "\u0338" * 50)) == 4
    assert cleaned("👨‍👩‍👧‍👦") == "👨‍👩‍👧‍👦"
    assert len(cleaned("x" * 5_000)) == MOST_CLUSTERS
