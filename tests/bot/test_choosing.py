"""The score of a line and its parts, the voice's manner, and which lines are chosen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.services.choosing import STYLE, Score, choose, score
from bot.services.learned import Learned, Manner
from data import accounts
from data.speech import Generation
from tests.voices import add_version


def line(number, text, points=0.0, verdict="passed"):
    return Generation(number, text, True, -2.0, 0.5, 0.0, points, verdict, "", False)


def test_only_what_is_less_likely_than_typical_loses():
    assert [score(value, -4.0, 0, 0).likelihood for value in (-6.0, -4.5, -4.0, -1.0)] == [-2.0, -0.5, 0.0, 0.0]


def test_relevance_counts_to_a_nat_either_way():
    assert [score(-4, -4, 0, value).relevance for value in (-7.0, -0.5, 0.25, 3.0)] == [-1.0, -0.5, 0.25, 1.0]


def test_a_score_is_the_sum_of_its_parts():
    found = score(-4.5, -4.0, 0.75, 0.25)
    assert found == Score(-0.5, 0.75 * STYLE, 0.25)
    assert found.total == pytest.approx(-0.25 + 0.75 * STYLE)


def test_manner_is_the_share_of_trigrams():
    manner = Manner(["abc", "日本語だ"])
    assert manner.share("abc") == 1
    assert manner.share("abd") == pytest.approx(1 / 3)  # " ab" is there, "abd" and "bd " are not
    assert manner.share("ABC") == 0  # case is manner
    assert manner.share("日本語だ") == 1
    assert manner.share("") == 0


def test_an_accounts_own_posts_are_more_in_its_manner_than_anothers():
    own, other = [f"im gonna {word} the dang {word}" for word in ("eat", "sue", "own", "log")], "We will work together, America."
    assert Manner(own[:3]).share(own[3]) > Manner(own[:3]).share(other) + 0.3


def test_the_best_that_passed_are_chosen_and_stay_in_order():
    lines = [line(0, "first of all", 1), line(1, "quite another", 3), line(2, "x.ai", 9, "link"), line(3, "very different", 2)]
    chosen = choose(lines, 2)
    assert [one.number for one in chosen] == [0, 1, 2, 3]
    assert [one.chosen for one in chosen] == [False, True, False, True]
    assert [one.verdict for one in chosen] == ["passed", "passed", "link", "passed"]


def test_of_lines_that_nearly_repeat_each_other_the_best_is_chosen():
    lines = [line(0, "the lamp is lit", 1), line(1, "The lámp is lit!", 2), line(2, "no soup today", 0)]
    chosen = choose(lines, 3)
    assert [(one.verdict, one.chosen) for one in chosen] == [("repeat", False), ("passed", True), ("passed", True)]
    assert chosen[0].reason == "repeats a better line of this answer"


def test_a_repeat_of_a_line_that_may_not_be_said_is_none():
    assert choose([line(0, "the lamp is lit", 2, "copy"), line(1, "the lamp is lit", 1)], 1)[1].chosen


def test_equal_scores_go_by_number():
    assert [one.chosen for one in choose([line(1, "quite another"), line(0, "first of all")], 1)] == [False, True]


def test_a_long_prompt_makes_no_repeats():
    prompt = "It was the best of times, it was the worst of times, and it was"
    assert all(one.chosen for one in choose([line(0, f"{prompt} late"), line(1, f"{prompt} soup")], 2, prompt))


@given(st.lists(st.tuples(st.text(max_size=30), st.floats(-20, 20), st.sampled_from(["passed", "copy"])), max_size=12), st.integers(1, 5))
def test_never_more_than_asked_and_none_that_did_not_pass(wanted, count):
    lines = [line(number, *one) for number, one in enumerate(wanted)]
    chosen = choose(lines, count)
    assert sum(one.chosen for one in chosen) <= count
    assert all(one.verdict == "passed" for one in chosen if one.chosen)
    worst = min((one.score for one in chosen if one.chosen), default=0)
    left = [one for one in chosen if one.verdict == "passed" and not one.chosen]
    assert all(one.score <= worst for one in left)
    assert not left or sum(one.chosen for one in chosen) == count


async def test_the_manner_is_the_authors_where_one_speaks_and_copies_are_of_all(filled):
    """Ann and bob wrote in different words; both must not be copied, whoever speaks."""

    def rewrite(db):
        for handle, word in (("ann", "lamp"), ("bob", "gull")):
            for number, row in enumerate(db.query("SELECT rowid FROM tweets WHERE handle = ?", [handle])):
                db.conn.execute(
                    "UPDATE tweets SET text = ? WHERE rowid = ?", [f"{word} {word}s {number} {word}ing by the {word}", row["rowid"]]
                )

    await filled.write(rewrite)
    model = await filled.write(add_version, ("ann", "bob"))
    learned = Learned(filled)
    blend, ann = await learned.of(model.job), await learned.of(model.job, "ann")
    assert blend.manner.share("gulls lamping") > 0.8
    assert ann.manner.share("lamping") == 1
    assert ann.manner.share("gulling") < 0.5
    assert ann.copies.copied_in("gull gulls 3 gulling by the gull")
    assert await learned.of(model.job, "ann") is ann
    await learned.tidy()
    assert await learned.of(model.job, "ann") is ann
    await filled.write(accounts.forget, "bob")
    await learned.tidy()
    assert learned._indexed == {}


async def test_what_earlier_versions_learned_is_not_copied_by_one_that_goes_on_from_them(filled):
    def rewrite(db, word):
        for number, row in enumerate(db.query("SELECT rowid FROM tweets WHERE handle = 'ann'")):
            text = f"{word} {word}s {number} {word}ing by the {word} for {word} days"
            db.conn.execute("UPDATE tweets SET text = ? WHERE rowid = ?", [text, row["rowid"]])

    made = []
    for word, recipe in (("lamp", {}), ("gull", {"start": "1" * 64}), ("buoy", {})):
        await filled.write(rewrite, word)
        made.append(await filled.write(add_version, ("ann",), recipe=recipe))
    learned = Learned(filled)
    first, after, anew = [await learned.of(model.job) for model in made]
    old, new = "lamp lamps 3 lamping by the lamp for lamp days", "gull gulls 3 gulling by the gull for gull days"
    assert [index.copies.copied_in(old) for index in (first, after, anew)] == [True, True, False]
    assert [index.copies.copied_in(new) for index in (first, after, anew)] == [False, True, False]
    assert after.manner.share("lamping") < 0.5 < after.manner.share("gulling")  # it is to sound as what it learned last
