"""Each row of a batch has its own settings, and they mean what they mean in transformers."""

from dataclasses import replace

import pytest
import torch
import twitter_text
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import (
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from trainer import sampling
from trainer.errors import BadRequest
from trainer.protocol import PRESETS, Sampling


def chances(settings: Sampling, logits: torch.Tensor) -> torch.Tensor:
    """What transformers gives each token (1, V)."""
    wanted = TemperatureLogitsWarper(settings.temperature)(None, logits)
    if settings.top_k:
        wanted = TopKLogitsWarper(settings.top_k)(None, wanted)
    wanted = TopPLogitsWarper(settings.top_p)(None, wanted)
    if settings.min_p:
        wanted = MinPLogitsWarper(settings.min_p)(None, wanted)
    return wanted.softmax(-1)[0]


KINDS = [
    Sampling(0.9, 0.95, 50),
    Sampling(1.0, 1.0, 0),
    Sampling(2.0, 0.5, 5),
    Sampling(0.3, 0.9, 20),
    Sampling(1.0, 1.0, 1),
    Sampling(1.5, 0.01, 0),
    Sampling(1.0, 1.0, 0, min_p=0.2),
    Sampling(1.2, 0.9, 30, min_p=0.05),
    PRESETS["huggingtweets"],
]


@pytest.mark.parametrize("settings", KINDS)
def test_what_is_picked_is_as_likely_as_the_reference_says(settings):
    torch.manual_seed(0)
    logits = torch.randn(1, 200) * 3
    wanted = chances(settings, logits)
    many = 20_000
    uniform = ((torch.arange(many) + 0.5) / many).double()
    picked = sampling.pick(logits.expand(many, -1), uniform, [settings] * many)
    found = torch.bincount(picked, minlength=200) / many
    assert (found - wanted).abs().max() <= 2 / many
    assert ((found > 0) <= (wanted > 0)).all()


def test_no_row_changes_what_another_picks():
    torch.manual_seed(0)
    logits, uniform = torch.randn(90, 500) * 3, torch.rand(90).double()
    kinds = [*KINDS, Sampling(temperature=0)] * 9
    together = sampling.pick(logits, uniform, kinds)
    alone = [sampling.pick(logits[i : i + 1], uniform[i : i + 1], kinds[i : i + 1]).item() for i in range(90)]
    assert together.tolist() == alone


def test_pick_bears_the_ends_of_its_ranges():
    logits = torch.tensor([[5.0, 1.0, -torch.inf], [5.0, 1.0, -torch.inf]])
    almost_one = torch.tensor([0.0, 1 - 2**-24]).double()
    for settings, wanted in (
        (Sampling(1.0, 1.0, 0), [0, 1]),
        (Sampling(1e-30, 1.0, 3), [0, 0]),
        (Sampling(1.0, 1e-9, 3), [0, 0]),
        (Sampling(0, 1.0, 3), [0, 0]),
        (Sampling(1.0, 1.0, 0, min_p=1.0), [0, 0]),
    ):
        assert sampling.pick(logits, almost_one, [settings] * 2).tolist() == wanted


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(0, 4), st.sampled_from([1.0, 1.2, 3.0]))
@example([1, 2, 1, 2, 1], 2, 1.0)
@example([], 1, 2.0)
def test_penalties_are_the_references(line, size, penalty):
    logits = torch.linspace(-2, 2, 10)
    ids = torch.tensor([line], dtype=torch.long)
    wanted = RepetitionPenaltyLogitsProcessor(penalty)(ids, logits[None].clone()) if line else logits[None].clone()
    if size and len(line) >= size:
        wanted = NoRepeatNGramLogitsProcessor(size)(ids, wanted)
    found = logits.clone()
    sampling.penalise(found, line, Sampling(repetition_penalty=penalty, no_repeat_ngram=size))
    assert torch.equal(found, wanted[0])


@given(st.text(max_size=400))
@example("é" * 30 + "が" * 20)
@example("👩‍👩‍👧‍👦" * 10 + "🏳️‍🌈🇯🇵👍🏽1️⃣")
@example("“quoted” — and … so")
def test_a_text_weighs_at_least_that(text):
    if not twitter_text.extract_urls(text):
        assert sampling.least_weight(text) <= twitter_text.parse_tweet(text).weightedLength


def test_a_long_line_is_found_to_be_long():
    assert sampling.least_weight("word " * 60) == 300
    assert sampling.least_weight("鳥" * 141) == 282


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": float("nan")},
        {"top_k": -1},
        {"min_p": -0.1},
        {"min_p": 1.1},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": float("nan")},
        {"no_repeat_ngram": -1},
        {"without": "é"},
        {"without": "a" * 33},
        {"max_tokens": 0},
        {"max_weight": -1},
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises(BadRequest, match=next(iter(wrong))):
        sampling.check_request(1, replace(Sampling(), **wrong))


@pytest.mark.parametrize("count", [0, 65])
def test_counts_that_cannot_be_meant_are_refused(count):
    with pytest.raises(BadRequest, match="count"):
        sampling.check_request(count, Sampling())


def test_presets_and_the_widest_choice_can_be_asked_for():
    for settings in (*PRESETS.values(), replace(Sampling(), top_k=0, max_weight=0)):
        sampling.check_request(64, settings)
