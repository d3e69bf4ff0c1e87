"""Messages survive the pipe, and what is no message is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.protocol import (
    Cancel,
    Done,
    Evaluation,
    Failed,
    Job,
    Line,
    Note,
    Order,
    Post,
    ProtocolError,
    Ready,
    Recipe,
    Sample,
    Sampling,
    SpeechRequest,
    Spoken,
    Stage,
    Step,
    parse,
)

text = st.text(st.characters(codec="utf-8"))
number = st.floats(allow_nan=False, allow_infinity=False)
recipes = st.builds(
    Recipe, base=text, seed=st.integers(), learning_rate=st.none() | number, epochs=st.none() | st.integers(), answers=st.none() | number
)
split = st.lists(st.builds(Post, text, text, text), max_size=3)
details = st.dictionaries(text, st.none() | text | number | st.lists(text, max_size=2), max_size=3)
messages = st.one_of(
    st.builds(Job, text, recipes, split, split, split, text, text, st.none() | text, text, details, st.integers()),
    st.builds(Order, st.lists(text, max_size=3)),
    st.builds(Cancel, text),
    st.builds(Stage, text, job=text),
    st.builds(Note, text, job=text),
    st.builds(Step, st.integers(), st.integers(), number, number, number, job=text),
    st.builds(Evaluation, st.integers(), number, job=text),
    st.builds(Sample, st.integers(), text, job=text),
    st.builds(Failed, text, text, st.none() | text, job=text),
    st.builds(Done, text, text, st.integers(), number, number, number, st.lists(text, max_size=3), details, job=text),
    st.builds(Ready),
    st.builds(Line, text, st.integers(), text, st.booleans(), number),
    st.builds(Spoken, text),
    st.builds(
        SpeechRequest,
        *(text, text, text, text, details, text, st.integers(), st.integers(), st.builds(Sampling, number), text, text, text, text),
    ),
)


@given(messages)
def test_a_message_comes_back_as_it_went(message):
    line = message.to_json()
    assert "\n" not in line
    assert parse(line) == message


def _job(**changes):
    return json.dumps({"type": "job", "id": "", "recipe": {}, "train": [], "stop": [], "report": [], "output": "", "cache": ""} | changes)


def test_the_job_that_the_next_test_spoils_is_one():
    assert parse(_job()) == Job("", Recipe(), [], [], [], "", "")


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
        '{"type": "order", "files": "one.json"}',
        '{"type": "order", "files": [1]}',
        '{"type": "cancel"}',
        '{"type": "ready", "job": "one"}',
        _job(recipe=7),
        _job(recipe={"method": None}),
        _job(recipe={"answers": "many"}),
        _job(train=["text"]),
        _job(train=[{"author": "a", "text": None}]),
        _job(train=[{"author": "a", "text": "b", "parent": None}]),
        _job(id=1),
        _job(start=1),
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


def test_the_defaults_of_a_job_are_optional_on_the_wire():
    found = parse(_job(id="i", train=[{"author": "a", "text": "b"}], output="o", cache="c"))
    assert found == Job("i", Recipe(), [Post("a", "b", "")], [], [], "o", "c", None, "")
