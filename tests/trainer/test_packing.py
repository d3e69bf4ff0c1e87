"""A post in a row is alone: no neighbour changes what the model says of it."""

import itertools
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from trainer import packing

CPU = torch.device("cpu")
sequences = st.lists(st.lists(st.integers(1, 256), min_size=2, max_size=33), min_size=1, max_size=40)


def losses(base, rows):
    """Return the loss of each target, row after row, without padding."""
    batch = packing.collate(rows, 0, CPU)
    with torch.no_grad():
        logits = base.model(input_ids=batch.tokens, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False).logits
    each = functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=packing.IGNORED, reduction="none")
    return each[batch.targets.flatten() != packing.IGNORED]


@pytest.fixture
def made_up():
    chance = random.Random(0)
    return [[0, *(chance.randint(1, 256) for _ in range(chance.randint(1, 60))), 0] for _ in range(20)]


def test_packed_losses_are_the_losses_of_single_posts(base, made_up):
    rows = packing.pack(made_up, 128)
    assert len(rows) < len(made_up) / 2
    alone = torch.cat([losses(base, [[sequence]]) for row in rows for sequence in row])
    torch.testing.assert_close(losses(base, rows), alone)


def test_a_loss_does_not_change_when_its_neighbours_do(base, made_up):
    first, middle, last, *others = made_up
    size = len(middle) - 1
    for left, right in ((first, last), (others[0], others[1])):
        packed = losses(base, [[left, middle, right]])[len(left) - 1 :][:size]
        torch.testing.assert_close(packed, losses(base, [[middle]]))


def test_a_post_cannot_see_the_one_before_it_even_bit_for_bit(base, made_up):
    first, middle, *_ = made_up
    other = [0, *reversed(first[1:-1]), 0]
    ours = slice(len(first) - 1, None)
    assert torch.equal(losses(base, [[first, middle]])[ours], losses(base, [[other, middle]])[ours])


def test_padding_makes_no_nan_in_the_gradient(base, made_up):
    batch = packing.collate([made_up[:1], made_up[1:4]], 0, CPU)
    base.model.requires_grad_(True)
    base.model(input_ids=batch.tokens, attention_mask=batch.mask, position_ids=batch.positions).logits.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in base.model.parameters() if parameter.grad is not None)


@given(sequences)
def test_rows_hold_every_post_once_and_never_too_much(posts):
    rows = packing.pack(posts, 32)
    assert sorted(map(tuple, (post for row in rows for post in row))) == sorted(map(tuple, posts))
    assert all(packing.targets_in(row) <= 32 for row in rows)


@given(sequences, st.integers(0, 1 << 40))
def test_an_epochs_order_is_its_seeds(posts, seed):
    assert packing.epoch(posts, 32, seed, 0) == packing.epoch(posts, 32, seed, 0)
    assert sorted(map(tuple, itertools.chain(*packing.epoch(posts, 32, seed, 1)))) == sorted(map(tuple, posts))


@given(sequences)
def test_every_position_has_its_target_and_its_place(posts):
    rows = packing.pack(posts, 32)
    batch = packing.collate(rows, 0, CPU)
    assert batch.count == packing.targets_in(posts)
    for i, row in enumerate(rows):
        read = [token for post in row for token in post[:-1]]
        asked = [token for post in row for token in post[1:]]
        assert batch.tokens[i, : len(read)].tolist() == read
        assert batch.targets[i, : len(read)].tolist() == asked
        assert batch.positions[i, : len(read)].tolist() == [place for post in row for place in range(len(post) - 1)]
        assert (batch.targets[i, len(read) :] == packing.IGNORED).all()


def test_epochs_differ_and_seeds_differ(made_up):
    assert packing.epoch(made_up, 128, 0, 0) != packing.epoch(made_up, 128, 0, 1)
    assert packing.epoch(made_up, 128, 0, 0) != packing.epoch(made_up, 128, 1, 0)


def test_a_long_post_is_cut_without_an_end_and_an_empty_one_left_out(load):
    long, short = packing.sequences_of(load("tiny-random"), ["x" * 1000, "", "hi"], 256)
    assert len(long) == 257
    assert long[0] == 0
    assert 0 not in long[1:]
    assert short[0] == short[-1] == 0
    assert len(short) == 4


def test_rows_of_posts_as_long_as_tweets_are_full():
    chance = random.Random(0)
    rows = packing.pack([[0] * chance.randint(8, 60) for _ in range(1000)], 256)
    assert sum(map(packing.targets_in, rows)) / (256 * len(rows)) > 0.95
