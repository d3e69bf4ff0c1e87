"""The picture of a voice: its size, that everything has its place whatever it says, and that both themes say the same."""

import io
import random
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bot.services.pictures import (
    BODY,
    FOOTER,
    HEADER,
    HEIGHT,
    MOST_LINES,
    NAME_SIZES,
    THEMES,
    WIDTH,
    Account,
    Box,
    Said,
    arrange,
    predictions,
)
from bot.services.publishing import read_avatar
from tests.bot.test_typesetting import ANY_TEXT
from tests.hostile import hostile

PICTURE = Box(0, 0, WIDTH, HEIGHT)
NAMES = st.lists(ANY_TEXT, min_size=1, max_size=6)
POST = "My dream is a country where every lamp has a keeper, and every keeper a goat that gives the boot back. " * 2


def accounts_of(names):
    return tuple(Account(f"account_{number}", name) for number, name in enumerate(names))


@settings(max_examples=40)
@given(NAMES, ANY_TEXT, st.lists(ANY_TEXT, max_size=6))
def test_everything_lies_in_the_picture_and_nothing_on_anything_else(names, prompt, lines):
    layout = arrange(accounts_of(names), Said(prompt, tuple(lines)))
    assert all(PICTURE.holds(box) for box in layout.boxes)
    for line in layout.lines:
        assert sum(area.holds(line.box) for area in (HEADER, BODY, FOOTER)) == 1
        assert layout.badge.holds(line.box) or not overlap(layout.badge, line.box)
    assert not any(overlap(line.box, face) for line in layout.lines for face in layout.faces)
    assert not any(overlap(one.box, other.box) for one, other in combinations(layout.lines, 2))
    assert len(layout.bars) <= MOST_LINES
    assert all(BODY.holds(bar) for bar in layout.bars)


def overlap(one, other):
    return one.left < other.right and other.left < one.right and one.top < other.bottom and other.top < one.bottom


def test_a_long_name_is_smaller_before_it_is_cut():
    handles = ("dril", "elonmusk", "realdonaldtrump")
    name = arrange([Account(handle) for handle in handles], Said("", ())).lines[1]
    assert name.text == "@dril & @elonmusk & @realdonaldtrump"
    assert name.clusters[0].style.size in NAME_SIZES[1:]
    assert arrange([Account("dril")], Said("", ())).lines[1].clusters[0].style.size == NAME_SIZES[0]
    assert arrange([Account("dril", "Ann " * 40)], Said("", ())).lines[1].clusters[0].style.size == NAME_SIZES[-1]


@pytest.mark.parametrize("theme", THEMES)
def test_the_picture_is_twice_as_large_as_it_is_shown(theme):
    draw = random.Random(3)
    said = Said("My dream is", tuple(hostile(draw, 12) for _ in range(5)))
    picture = Image.open(io.BytesIO(predictions(accounts_of(["Ann BOT | <b>", "שלום"]), said, theme)))
    assert picture.size == (1120, 586)
    assert picture.size == (2 * 560, 2 * 293)
    assert picture.mode == "RGB"


def test_the_same_is_drawn_each_time_and_the_themes_differ():
    said = Said("My dream is", (POST,))
    light, again, dark = (predictions(accounts_of(["Ann"]), said, theme) for theme in ("light", "light", "dark"))
    assert light == again != dark
    corners = [Image.open(io.BytesIO(picture)).getpixel((1, 1)) for picture in (light, dark)]
    assert corners == [(255, 255, 255), (21, 32, 43)]


def test_five_short_lines_are_shown_large_and_long_ones_are_fewer_rather_than_cut():
    short = arrange(accounts_of([""]), Said("", ("a lamp", "a goat", "a boot", "a bell", "a gull", "a sixth")))
    assert len(short.bars) == 5
    assert "a sixth" not in [line.text for line in short.lines]
    long = arrange(accounts_of([""]), Said("My dream is", (POST,) * 5))
    assert 1 < len(long.bars) < 5
    assert not any("…" in line.text for line in long.lines)
    endless = arrange(accounts_of([""]), Said("", ("boot " * 3_000,)))
    assert "…" in "".join(line.text for line in endless.lines)


def test_a_voice_that_said_nothing_is_said_to():
    texts = [line.text for line in arrange(accounts_of(["A", "B", "C"]), Said("My dream is", (" ", "\u202e"))).lines]
    assert "It said nothing that may be shown." in texts
    assert texts[-1].endswith("not by @account_0, @account_1 or @account_2.")


@pytest.mark.parametrize(("names", "kind"), [([""], "AI BOT"), (["A", "B"], "AI CYBORG"), (["A", "B", "C", "D"], "AI CYBORG")])
def test_it_says_who_what_and_that_a_machine_wrote_it(names, kind):
    layout = arrange(accounts_of(names), Said("My dream is", ("My dream is a lamp",)))
    texts = [line.text for line in layout.lines]
    assert texts[0] == kind
    assert len(layout.faces) == min(3, len(names))
    for number, name in enumerate(names):
        assert name in texts[1]
        assert f"@account_{number}" in texts[1] + texts[2]
    assert texts[-1].startswith("Begun with “My dream is”. Written by a model, not by @account_0")


def test_an_account_s_own_picture_takes_the_place_of_the_letter(tmp_path):
    file = tmp_path / "face.jpg"
    Image.new("RGB", (300, 500), "#ff0000").save(file)
    shown = predictions((Account("ann", avatar=read_avatar(file)),), Said("", ()), "light")
    red, green, blue = Image.open(io.BytesIO(shown)).getpixel((HEADER.left + 46, HEADER.top + 46))
    assert red > 240
    assert green < 15
    assert blue < 15
