"""Messages survive the pipe, and what is no message is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.protocol import (
    Done,
    Evaluation,
    Failed,
    Job,
    Line,
    Note,
    Post,
    ProtocolError,
    Recipe,
    Sampling,
    SpeechRequest,
    Spoken,
    Stage,
    Step,
    parse,
)

text = st.text(st.characters(codec="utf-8"))
number = st.floats(allow_nan=False, allow_infinity=False)
recipes = st.builds(Recipe, base=text, seed=st.integers(), learning_rate=st.none() | number, epochs=st.none() | st.integers())
split = st.lists(st.builds(Post, text, text), max_size=3)
details = st.dictionaries(text, st.none() | text | number | st.lists(text, max_size=2), max_size=3)
messages = st.one_of(
    st.builds(Job, recipes, split, split, split, text, text),
    st.builds(Stage, text),
    st.builds(Note, text),
    st.builds(Step, st.integers(), st.integers(), number, number, number),
    st.builds(Evaluation, st.integers(), number),
    st.builds(Failed, text, text, st.none() | text),
    st.builds(Line, text, st.integers(), text, st.booleans(), number),
    st.builds(Spoken, text),
    st.builds(Done, text, text, st.integers(), number, number, number, st.lists(text, max_size=3), details),
    st.builds(SpeechRequest, text, text, text, text, details, text, st.integers(), st.integers(), st.builds(Sampling, number), text),
)


@given(messages)
def test_a_message_comes_back_as_it_went(message):
    line = message.to_json()
    assert "\n" not in line
    assert parse(line) == message


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "null",
        "[]",
        "3",
        '"stage"',
        "{}",
        '{"type": "nonsense"}',
        '{"type": ["stage"]}',
        '{"type": "stage"}',
        '{"type": "stage", "name": 3}',
        '{"type": "stage", "name": "base", "colour": "red"}',
        '{"type": "evaluation", "step": true, "loss": 1}',
        '{"type": "evaluation", "step": 1.5, "loss": 1}',
        '{"type": "evaluation", "step": 1, "loss": NaN}',
        '{"type": "job", "recipe": 7, "train": [], "stop": [], "report": [], "output": "", "cache": ""}',
        '{"type": "job", "recipe": {}, "train": ["text"], "stop": [], "report": [], "output": "", "cache": ""}',
        '{"type": "job", "recipe": {}, "train": [{"author": "a", "text": null}], "stop": [], "report": [], "output": "", "cache": ""}',
        "[" * 100_000,
    ],
)
def test_what_is_no_message_is_refused(line):
    with pytest.raises(ProtocolError):
        parse(line)


def test_a_whole_number_may_stand_for_a_float():
    assert parse('{"type": "evaluation", "step": 1, "loss": 4}') == Evaluation(1, 4)


def test_no_number_leaves_that_is_none():
    with pytest.raises(ValueError, match="JSON"):
        Evaluation(1, float("nan")).to_json()


def test_the_defaults_of_a_recipe_are_optional_on_the_wire():
    document = {"type": "job", "recipe": {}, "train": [], "stop": [], "report": [], "output": "o", "cache": "c"}
    assert parse(json.dumps(document)) == Job(Recipe(), [], [], [], "o", "c")
