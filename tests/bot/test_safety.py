"""The rules: their order, their names, their reasons, and that no text breaks them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.services.safety import Safety, Said
from bot.settings import Safety as Settings
from data.copies import TrainingPosts

POST = "the harbour bell rang twice and nobody answered the door"
LEARNED = TrainingPosts([POST, "no"])
SAID = Said([("an umbrella is a roof that trusts you", ""), ("Once upon a time and a very good time it was, soup", "Once upon a time")])
RULES = Safety(Settings())


def verdict(line, *, rules=RULES, **known):
    return rules.judge(line, LEARNED, SAID, **known).name


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("passed", "a plain line, 3.5 of them, etc... \U0001f469\u200d\U0001f469\u200d\U0001f467"),
        ("empty", ""),
        ("empty", "\u2026 \U0001f600 \u3164\u200b"),
        ("too_long", "a" * 281),
        ("too_long", "日" * 141),
        ("too_long", "b \U0001f469\u200d\U0001f469\u200d\U0001f467" * 71),
        ("forbidden", "a\ufffeb"),
        ("mention", "hello @bob"),
        ("mention", "hello \uff20bob"),
        ("mention", "hello \ufe6bbob"),
        ("mention", "a@b.com"),
        ("link", "see https://example.com/a"),
        ("link", "see example.com"),
        ("link", "see EXAMPLE.COM/a"),
        ("link", "discord.gg/abc"),
        ("link", "hxxps://evil.example/a"),
        ("link", "hxxp : // evil"),
        ("link", "example[.]com"),
        ("link", "example (dot) com"),
        ("link", "\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45\uff0e\uff43\uff4f\uff4d"),
        ("link", "example\u3002com"),
        ("link", "example\u2024com"),
        ("link", "exam\u200bple.com"),
        ("link", "\u202eexample.com\u202c"),
        ("link", "見てexample.comだ"),
        ("profane", "you \u0441unt"),
        ("personal", "ring (212) 736-5000"),
        ("personal", "4111 1111 1111 1111"),
        ("copy", POST.upper()),
        ("copy", POST + "!"),
        ("copy", "I said the harbour bell rang twice and nobody answered it"),
        ("repeat", "An umbrella is a roof that trusts you!"),
    ],
)
def test_each_rule(name, line):
    found = RULES.judge(line, LEARNED, SAID)
    assert found.name == name
    assert bool(found.reason) == (name != "passed")


@pytest.mark.parametrize("line", ["b \U0001f469\u200d\U0001f469\u200d\U0001f467" * 70, "a" * 280, "日" * 140, "e\u0301" * 140])
def test_what_is_just_short_enough(line):
    assert verdict(line) == "passed"


def test_the_order_of_the_rules():
    """Each text breaks the rule of its place and all that come after it; what broke the earlier one is taken away."""
    rules = Safety(Settings(profanity="none"))
    rules._blocklist._rules = type(rules._blocklist.rules)("bell")
    parts = [
        (" word" * 60, "too_long"),
        (" @bob", "mention"),
        (" x.ai", "link"),
        ("bell", "blocked"),
        (" shit", "profane"),
        (" 0151 12345678", "personal"),
    ]
    line = POST + "".join(part for part, _ in parts if part != "bell")
    assert verdict("\u2026", rules=rules, complete=False) == "empty"
    assert verdict(line, rules=rules, complete=False) == "cut_off"
    for part, name in parts:
        assert verdict(line, rules=rules) == name
        line = line.replace(part, "")
        if name == "blocked":
            rules = Safety(Settings(profanity="none"))
            line = POST + " shit 0151 12345678"
    assert verdict(line, rules=rules) == "copy"


def test_a_line_that_was_cut_off():
    found = RULES.judge("and then it", LEARNED, SAID, complete=False)
    assert found == ("cut_off", "was cut off before its end")


@pytest.mark.parametrize(("level", "name"), [("any", "passed"), ("mild", "passed"), ("none", "profane")])
def test_profanity_is_a_setting(level, name):
    assert verdict("well damn it all", rules=Safety(Settings(profanity=level))) == name


@pytest.mark.parametrize(
    ("operator", "there", "refused"),
    [
        ("any", None, False),
        ("any", "mild", False),
        ("any", "none", True),
        ("none", "any", True),
        ("none", "mild", True),
        ("mild", "any", False),
    ],
)
def test_profanity_where_a_line_is_said_can_only_be_stricter(operator, there, refused):
    rules = Safety(Settings(profanity=operator))
    found = rules.judge("well damn it all", LEARNED, SAID, level=there)
    assert (found.name == "profane") == refused
    assert bool(rules.refusal("damn", there)) == refused


def test_a_prompt_is_left_out_of_what_is_compared():
    assert verdict("Once upon a time there was a lamp", prompt="Once upon a time") == "passed"
    assert verdict("Once upon a time and a very good time it was: soup", prompt="Once upon a time") == "repeat"
    long = "It was the best of times, it was the worst of times, and it was"
    said = Said([(f"{long} late", long)])
    assert said.has(f"{long} late.", long)
    assert not said.has(f"{long} soup", long)


@pytest.mark.parametrize("line", ["Good morning everybody.", "Good morning everybody. 🎉", "Good morning  everybody."])
def test_a_line_that_only_says_its_prompt_is_empty(line):
    assert verdict(line, prompt="Good morning everybody.") == "empty"
    assert verdict(f"{line} Soup", prompt="Good morning everybody.") == "passed"


def test_half_an_emoji_is_never_said():
    assert verdict("the lamp is so good \ufffd") == "cut_off"


def test_a_post_behind_a_prompt_is_a_copy():
    short = "the goat ate my boot again"
    learned = TrainingPosts([short])
    for prompt, name in (("", "copy"), ("I was told at the harbour office that", "copy")):
        assert RULES.judge(f"{prompt} {short}".strip(), learned, SAID, prompt=prompt).name == name


def test_reasons_quote_nothing_private():
    for line in ("ring (212) 736-5000", POST, "you cunt"):
        reason = RULES.judge(line, LEARNED, SAID).reason
        assert not any(word in reason for word in ("212", "736", "harbour", "cunt"))


@pytest.mark.parametrize(
    ("prompt", "name"),
    [("ask @bob", "mention"), ("see x.ai", "link"), ("you cunt", "profane"), ("call 0151 12345678", "personal"), ("a" * 281, "too_long")],
)
def test_a_prompt_that_no_line_may_hold(prompt, name):
    assert RULES.refusal(prompt).name == name


@pytest.mark.parametrize("prompt", ["", "Dear diary,", POST, "\U0001f600"])
def test_a_prompt_may_be_a_post_or_a_sign(prompt):
    assert RULES.refusal(prompt) is None


@given(st.text(max_size=400), st.text(max_size=20), st.booleans())
def test_no_text_is_too_odd_to_be_judged(line, prompt, complete):
    found = RULES.judge(line, LEARNED, SAID, prompt=prompt, complete=complete)
    assert bool(found.reason) == (found.name != "passed")
    RULES.refusal(line)


def test_every_line_leaves_room_for_what_posts_end_with():
    rules = Safety(Settings(), " 🤖")
    assert verdict("a " * 138 + "a", rules=rules) == "passed"
    assert verdict("a " * 139 + "a", rules=rules) == "too_long"
    assert verdict("a " * 139 + "a") == "passed"
