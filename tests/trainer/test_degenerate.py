"""Accounts that no sensible person would train on are trained, or refused with a sentence."""

from dataclasses import replace

import pytest

from tests.degenerate import degenerate_corpora
from trainer import train
from trainer.protocol import Post

MAX_POSTS = 200
"""The tiny base reads bytes: more would only take longer."""
ACCEPTED = ("all emoji", "one of 25,000 characters among short ones", "right to left", "control characters", "50,000 posts")


@pytest.fixture(scope="module")
def kept():
    """One base for all."""
    return train.Bases()


def test_these_are_the_ones_that_the_corpus_does_not_refuse():
    assert degenerate_corpora(MAX_POSTS).keys() == set(ACCEPTED)


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_degenerate_account(run, job, kept, name):
    corpus = degenerate_corpora(MAX_POSTS)[name]
    splits = {
        split: [Post(post.author, post.text, post.parent) for post in getattr(corpus, split)] for split in ("train", "stop", "report")
    }
    end = run(replace(job(epochs=1, answers=0.5, tokens_per_step=2048), **splits), kept=kept)[-1]
    assert end.type == "done", end
    assert end.loss_after < end.loss_before
    assert len(end.samples) == 5
