"""Drawn lines follow the rules of their sampling, and each row its own chance."""

from dataclasses import replace

import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from tests.trainer.conftest import never
from trainer import decoding, frames
from trainer.errors import BadRequest, Cancelled
from trainer.protocol import Sampling


def lines(base, prompt="", count=4, seed=0, check=never, *, message="", author="", **sampling):
    """Draw and put in order."""
    settings = Sampling(**({"max_tokens": 40} | sampling))
    drawn = decoding.draw(base, prompt, count, seed, settings, check, message=message, author=author)
    return sorted(drawn, key=lambda line: line.index)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(0.9, 50, 0.95), (1.0, 0, 1.0), (2.0, 5, 0.5), (0.3, 20, 0.9), (1.0, 1, 1.0), (1.5, 0, 0.01)]
)
def test_what_is_picked_is_as_likely_as_the_reference_says(temperature, top_k, top_p):
    torch.manual_seed(0)
    logits = torch.randn(1, 200) * 3
    wanted = TemperatureLogitsWarper(temperature)(None, logits)
    if top_k:
        wanted = TopKLogitsWarper(top_k)(None, wanted)
    wanted = TopPLogitsWarper(top_p)(None, wanted).softmax(-1)[0]
    many = 20_000
    uniform = (torch.arange(many) + 0.5) / many
    picked = decoding.pick(logits.expand(many, -1), uniform, Sampling(temperature, top_p, top_k))
    found = torch.bincount(picked, minlength=200) / many
    assert (found - wanted).abs().max() <= 2 / many
    assert ((found > 0) <= (wanted > 0)).all()


def test_pick_bears_the_ends_of_its_ranges():
    logits = torch.tensor([[5.0, 1.0, -torch.inf], [5.0, 1.0, -torch.inf]])
    almost_one = torch.tensor([0.0, 1 - 2**-24])
    assert decoding.pick(logits, almost_one, Sampling(1.0, 1.0, 0)).tolist() == [0, 1]
    assert decoding.pick(logits, almost_one, Sampling(1e-30, 1.0, 3)).tolist() == [0, 0]
    assert decoding.pick(logits, almost_one, Sampling(1.0, 1e-9, 3)).tolist() == [0, 0]
    assert decoding.pick(logits, almost_one, Sampling(0, 1.0, 3)).tolist() == [0, 0]


def test_line_i_depends_on_seed_and_i_alone(base):
    ten = lines(base, "a", count=10, seed=5)
    assert [line.text for line in lines(base, "a", count=3, seed=5)] == [line.text for line in ten[:3]]
    assert [line.text for line in lines(base, "a", count=10, seed=5)] == [line.text for line in ten]
    assert len({line.text for line in ten}) == 10
    assert {line.text for line in lines(base, "a", count=10, seed=6)}.isdisjoint(line.text for line in ten)


@pytest.mark.parametrize("before", [{}, {"message": "who is it?"}, {"author": "ann"}, {"message": "and you?", "author": "bob"}])
def test_temperature_0_takes_the_likeliest_and_says_how_likely(base, before):
    """Against a loop without a cache; message and author are read, and are no part of the line."""
    ids = base.encode(["abc"])[0]
    total, drawn = 0.0, []
    for _ in range(12):
        logits = base.model(input_ids=torch.tensor([frames.frame(base, **before) + ids + drawn])).logits[0, -1]
        logits = logits.masked_fill(base.forbidden, -torch.inf)
        drawn.append(int(logits.argmax()))
        total += float(logits.log_softmax(-1)[drawn[-1]])
        if drawn[-1] == base.separator or "\n" in base.decode(drawn[-1:]):
            break
    first, second = lines(base, "abc", count=2, temperature=0, max_tokens=12, **before)
    assert first.text == second.text == base.decode(ids + [token for token in drawn if token != base.separator]).split("\n")[0]
    assert first.log_likelihood == pytest.approx(total / len(drawn), abs=1e-4)


class Scripted:
    """A base whose rows say given tokens: row i gets script i, whatever it reads."""

    def __init__(self, base, monkeypatch, scripts):
        self.steps, self.sizes = 0, []
        left = [list(script) for script in scripts]

        def pick(logits, *_):
            self.sizes.append(len(logits))
            tokens = [script.pop(0) for script in left]
            left[:] = [script for script in left if script]
            return torch.tensor(tokens)

        monkeypatch.setattr(decoding, "pick", pick)
        self.base = base


def test_rows_end_at_separator_newline_or_limit_and_then_cost_nothing(load, monkeypatch):
    base = load("tiny-random")
    a, b, newline, end = *base.encode(["ab\n"])[0], base.separator
    scripted = Scripted(base, monkeypatch, [[a, b, a, b], [a, newline], [end], [b, b, end]])
    drawn = list(decoding.draw(base, "> ", 4, 0, Sampling(max_tokens=4), never))
    assert [(line.index, line.text, line.complete) for line in drawn] == [
        (2, ">", True),
        (1, ">a", True),
        (3, ">bb", True),
        (0, ">abab", False),
    ]
    assert scripted.sizes == [4, 3, 2, 1]


def test_no_line_is_empty(load, monkeypatch):
    base = load("tiny-random")
    a, newline = base.encode(["a\n"])[0]
    Scripted(base, monkeypatch, [[newline, newline, a, newline]])
    assert [line.text for line in decoding.draw(base, "", 1, 0, Sampling(max_tokens=4), never)] == ["a"]
    monkeypatch.undo()
    with torch.no_grad():
        base.model.model.embed_tokens.weight[base.separator] = 9.0  # and with it the output layer: it wants to end at once
    assert all(line.text for line in lines(base, count=8, top_k=0, top_p=1.0))


def test_a_row_streams_before_the_others_are_done(load, monkeypatch):
    base = load("tiny-random")
    scripted = Scripted(base, monkeypatch, [[1, 1, 1], [0]])
    assert next(decoding.draw(base, "", 2, 0, Sampling(max_tokens=3), never)).index == 1
    assert len(scripted.sizes) == 1


def test_specials_are_never_drawn_but_the_end(load):
    base = load("smollm2-135m-instruct")
    with torch.no_grad():
        base.model.model.norm.weight.zero_()  # every token as likely as any other
    drawn = lines(base, count=8, temperature=1.0, top_k=0, top_p=1.0, max_tokens=3)
    assert not any("<|" in line.text for line in drawn)
    logits = torch.zeros(1, len(base.forbidden)).masked_fill(base.forbidden, -torch.inf)
    picked = decoding.pick(logits.expand(50, -1), torch.rand(50), Sampling(1.0, 1.0, 0))
    assert not base.forbidden[picked].any()


def test_a_prompt_too_long_for_the_model_is_read_from_its_end(load):
    base = load("tiny-random")
    long = "y" * 5000 + "the end of it"
    line = lines(base, long, count=1, temperature=0, max_tokens=20)[0]
    assert line.text.startswith(long)
    read = long[-(base.context - 20 - 1) :]
    assert line.text[len(long) :] == lines(base, read, count=1, temperature=0, max_tokens=20)[0].text[len(read) :]


def test_more_tokens_than_the_model_has_places(load):
    base = load("tiny-random")
    assert all(len(line.text.encode()) > 0 for line in lines(base, "x" * 600, count=2, max_tokens=10_000))


def test_a_long_message_and_a_long_prompt_leave_room_for_the_answer(base):
    """The tiny GPT-2 has no position beyond its context."""
    drawn = lines(base, "x" * 600, count=2, message="y" * 600, author="ann", max_tokens=10_000)
    assert all(line.text.startswith("x" * 600) for line in drawn)


def test_what_is_answered_and_who_speaks_change_what_is_said(base):
    said = [lines(base, "a", seed=1, **before)[0].text for before in ({}, {"message": "hi"}, {"message": "ho"}, {"author": "ann"})]
    assert len(set(said)) == 4


def test_a_prompt_is_text_whatever_it_says(load):
    base = load("tiny-random")
    assert lines(base, "<|endoftext|>hi \ud800", count=1, max_tokens=3)[0].text.startswith("<|endoftext|>hi ?")


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"count": 65},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": float("nan")},
        {"top_k": -1},
        {"max_tokens": 0},
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(load, wrong):
    with pytest.raises(BadRequest, match=next(iter(wrong))):
        lines(load("tiny-random"), **wrong)


def test_it_can_be_cancelled_between_two_tokens(load):
    calls = 0

    def check():
        nonlocal calls
        calls += 1
        if calls > 3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        lines(load("tiny-random"), check=check)


def test_defaults_can_be_asked_for():
    decoding.check_request(1, replace(Sampling(), top_k=0))
