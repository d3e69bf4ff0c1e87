"""A post in a row is alone: no neighbour changes what the model says of it."""

import itertools
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.conftest import CPU
from trainer import loss, packing
from trainer.frames import Sequence_


@st.composite
def framed(draw):
    """A post with a frame of any length before it."""
    tokens = draw(st.lists(st.integers(1, 256), min_size=2, max_size=33))
    return Sequence_(tokens, draw(st.integers(1, len(tokens) - 1)))


sequences = st.lists(framed(), min_size=1, max_size=40)


def losses(base, rows):
    """Return the loss of each target, row after row, without padding."""
    with torch.no_grad():
        return loss.losses(base, packing.collate(rows, 0, CPU))


@pytest.fixture
def made_up():
    """Posts with frames of one to nine tokens."""
    chance = random.Random(0)
    return [
        Sequence_([0, *(chance.randint(1, 256) for _ in range(chance.randint(10, 60))), 0], chance.choice([1, 1, 4, 9])) for _ in range(20)
    ]


def in_order(posts):
    """Return posts as something that can be sorted."""
    return sorted((tuple(post.tokens), post.silent) for post in posts)


def test_packed_losses_are_the_losses_of_single_posts(base, made_up):
    rows = packing.pack(made_up, 128)
    assert len(rows) < len(made_up) / 2
    alone = torch.cat([losses(base, [[sequence]]) for row in rows for sequence in row])
    torch.testing.assert_close(losses(base, rows), alone, rtol=1e-4, atol=1e-4)


def test_a_loss_does_not_change_when_its_neighbours_do(base, made_up):
    first, middle, last, *others = made_up
    for left, right in ((first, last), (others[0], others[1])):
        packed = losses(base, [[left, middle, right]])[left.targets :][: middle.targets]
        torch.testing.assert_close(packed, losses(base, [[middle]]), rtol=1e-4, atol=1e-4)


def test_a_post_cannot_see_the_one_before_it_even_bit_for_bit(base, made_up):
    first, middle, *_ = made_up
    other = Sequence_([0, *reversed(first.tokens[1:-1]), 0], first.silent)
    ours = slice(first.targets, None)
    assert torch.equal(losses(base, [[first, middle]])[ours], losses(base, [[other, middle]])[ours])


def test_padding_makes_no_nan_in_the_gradient(base, made_up):
    """Also where a row is nothing but padding, as beside another voice's."""
    batch = packing.collate([made_up[:1], made_up[1:4], []], 0, CPU)
    assert (batch.targets[2] == packing.IGNORED).all()
    x = base.model.get_input_embeddings()(batch.tokens).clone().requires_grad_()
    base.model(inputs_embeds=x, attention_mask=batch.mask, position_ids=batch.positions).logits.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.any()


@given(sequences)
def test_rows_hold_every_post_once_and_never_too_much(posts):
    rows = packing.pack(posts, 32)
    assert in_order(post for row in rows for post in row) == in_order(posts)
    assert all(sum(post.positions for post in row) <= 32 for row in rows)


@given(sequences, st.integers(0, 1 << 40))
def test_an_epochs_order_is_its_seeds(posts, seed):
    assert packing.shuffled(posts, 32, seed, 0) == packing.shuffled(posts, 32, seed, 0)
    assert in_order(itertools.chain(*packing.shuffled(posts, 32, seed, 1))) == in_order(posts)


@given(sequences)
def test_every_position_has_its_target_and_its_place(posts):
    rows = packing.pack(posts, 32)
    batch = packing.collate(rows, 0, CPU)
    assert batch.count == packing.targets_in(posts) == (batch.targets != packing.IGNORED).sum()
    for i, row in enumerate(rows):
        read = [token for post in row for token in post.tokens[:-1]]
        asked = [t for post in row for t in [*[packing.IGNORED] * (post.silent - 1), *post.tokens[post.silent :]]]
        assert batch.tokens[i, : len(read)].tolist() == read
        assert batch.targets[i, : len(read)].tolist() == asked
        assert batch.positions[i, : len(read)].tolist() == [place for post in row for place in range(post.positions)]
        assert (batch.targets[i, len(read) :] == packing.IGNORED).all()


@given(sequences)
def test_a_query_sees_its_own_post_up_to_itself(posts):
    rows = packing.pack(posts, 32)
    batch = packing.collate(rows, 0, CPU)
    for i, row in enumerate(rows):
        start = 0
        for post in row:
            end = start + post.positions
            assert torch.equal(batch.mask[i, 0, start:end, start:end], torch.ones(end - start, end - start, dtype=torch.bool).tril())
            assert not batch.mask[i, 0, start:end, :start].any()
            assert not batch.mask[i, 0, start:end, end:].any()
            start = end


def test_epochs_differ_and_seeds_differ(made_up):
    assert packing.shuffled(made_up, 128, 0, 0) != packing.shuffled(made_up, 128, 0, 1)
    assert packing.shuffled(made_up, 128, 0, 0) != packing.shuffled(made_up, 128, 1, 0)


def test_batches_are_the_rows_in_their_order(load, made_up):
    base = load("tiny-random")
    rows = packing.pack(made_up, 128)
    parts = list(packing.batches(rows, 3, base))
    assert [len(part.tokens) for part in parts] == [3] * (len(rows) // 3) + [len(rows) % 3] * bool(len(rows) % 3)
    asked = torch.cat([part.targets[part.targets != packing.IGNORED] for part in parts])
    assert asked.tolist() == [token for row in rows for post in row for token in post.tokens[post.silent :]]


def test_rows_of_posts_as_long_as_tweets_are_full():
    chance = random.Random(0)
    rows = packing.pack([Sequence_([0] * chance.randint(8, 60), 1) for _ in range(1000)], 256)
    assert sum(map(packing.targets_in, rows)) / (256 * len(rows)) > 0.95
