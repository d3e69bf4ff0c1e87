"""Twitter's published conformance cases, where ../shared/twitter-text has them: how X counts, and what it makes a link of."""

import pytest
import twitter_text
import yaml

from bot.x.text import broken_rule, weighted_length

#: Cases of the version before today's (v3.json), in which each part of an emoji was counted.
OF_OLD = {
    "Count unicode emoji chars outside the basic multilingual plane with skin tone modifiers",
    "Count a mix of single byte single word, and double word unicode characters",
}


@pytest.fixture
def cases(shared):
    """What returns the cases of one group of one file."""
    if not (shared / "twitter-text").is_dir():
        pytest.skip("no ../shared/twitter-text here")

    def read(file, group):
        return yaml.safe_load((shared / "twitter-text" / file).read_text(encoding="utf-8"))["tests"][group]

    return read


@pytest.mark.parametrize(
    "group", ["WeightedTweetsCounterTest", "WeightedTweetsWithDiscountedEmojiCounterTest", "UnicodeDirectionalMarkerCounterTest"]
)
def test_lengths_are_counted_as_published(cases, group):
    expected = {case["description"]: case["expected"] for case in cases("validate.yml", group)}
    found = {case["description"]: twitter_text.parse_tweet(case["text"]) for case in cases("validate.yml", group)}
    wrong = {
        name
        for name, case in expected.items()
        if (found[name].weightedLength, found[name].valid) != (case["weightedLength"], case["valid"])
    }
    assert wrong == (OF_OLD if group == "WeightedTweetsCounterTest" else set())


def test_what_is_too_long_or_not_allowed_is_refused_as_published(cases):
    wrong = []
    for group in ("WeightedTweetsCounterTest", "WeightedTweetsWithDiscountedEmojiCounterTest"):
        for case in cases("validate.yml", group):
            broken = broken_rule(case["text"])
            refused = broken is not None and broken.rule in ("empty", "too_long", "forbidden")
            if refused == case["expected"]["valid"]:
                wrong.append(case["description"])
    assert wrong == []


def test_every_published_link_is_a_link_and_every_mention_a_mention(cases):
    missed = [case["text"] for case in cases("extract.yml", "urls") if case["expected"] and broken_rule(case["text"]) is None]
    missed += [
        case["text"] for case in cases("extract.yml", "mentions") if case["expected"] and broken_rule(case["text"]).rule != "mention"
    ]
    assert missed == []


def test_plain_words_are_no_links(cases):
    plain = [case["text"] for case in cases("extract.yml", "hashtags") if "http" not in case["text"] and "." not in case["text"]]
    wrong = [text for text in plain if (broken := broken_rule(text)) and broken.rule == "link"]
    assert wrong == []
    assert weighted_length("plain") == 5
