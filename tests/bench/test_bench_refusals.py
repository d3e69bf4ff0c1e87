"""bench/refusals.py in small: that each line has its verdict, and that what should not come through would be seen."""

import json

import pytest

from bench import refusals
from data.speech import PASSED
from trainer.protocol import Line


def test_each_line_has_a_verdict(tmp_path, capsys):
    refusals.main(["--small", "--device", "cpu", "--work", str(tmp_path / "work"), "--json", str(tmp_path / "figures.json")])
    printed = capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert {name: sum(one.values()) for name, one in figures["verdicts"].items()} == {"ann": 8, "bob": 8}
    assert set().union(*figures["verdicts"].values()) <= set(refusals.RULES)
    assert all(one.get("cut_off", 0) + one.get("too_long", 0) > 0 for one in figures["verdicts"].values())  # of a base that knows nothing
    assert list(figures["leaked"].values()) == [[], [], [], []]
    assert "| voice | passed | empty | cut off |" in printed
    assert "mentions 0, links 0, too long 0, copies 0." in printed


def test_lines_are_judged_in_order_by_the_first_rule_that_they_break():
    said = ["The lamp went out.", "the lamp went out!", "See x.ai", "Cut of", "Rain, rain all of the week"]
    lines = [Line("one", index, text, text != "Cut of", -1.0) for index, text in enumerate(said)]
    verdicts, passed = refusals.judged(lines, ["Rain, rain all of the week"])
    assert dict(verdicts) == {PASSED: 1, "repeat": 1, "link": 1, "cut_off": 1, "copy": 1}
    assert passed == ["The lamp went out."]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("ask @bob", "mentions"),
        ("ask \uff20bob", "mentions"),
        ("at https://t.co/x", "links"),
        ("at WWW.there", "links"),
        ("at example.com, he says", "links"),
        ("灯" * 141, "too long"),
        ("the  FOG is in", "copies"),
        ("well, one two three four five six seven eight of them", "copies"),
    ],
)
def test_what_should_not_have_passed_is_counted(line, kind):
    found = refusals.leaks([line, "Nothing is wrong with this. It ends."], ["The fog is in", "and one two three four five six seven eight"])
    assert {name: lines for name, lines in found.items() if lines} == {kind: [line]}
