"""Posts as rows: several posts share a row, and none sees another, learns from another, or counts positions from another.

A post of n tokens is `<sep> t1 … tn <sep>`: the model reads the first n + 1 and is asked for the last n + 1. (With a longer
frame, see frames.py, it reads more than it is asked for.) Rows are then filled first-fit; over posts of about 25 tokens in rows
of 256 some 97 % of the positions do work, where one post a row would leave nine tenths idle.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from trainer.bases import Base
from trainer.frames import Sequence_

IGNORED = -100
"""Target of a padding position; cross_entropy leaves it out."""
OPEN_ROWS = 32
"""First-fit looks at this many rows at most, which keeps it linear; filling gains nothing beyond."""

Row = list[Sequence_]


@dataclass(frozen=True)
class Batch:
    """Rows as tensors; B rows of T positions."""

    tokens: torch.Tensor  # (B, T) int64
    targets: torch.Tensor  # (B, T) int64, IGNORED at padding
    positions: torch.Tensor  # (B, T) int64, from 0 in each post
    mask: torch.Tensor  # (B, 1, T, T) bool, True: the query (third axis) sees the key (fourth)
    count: int
    """Targets that are not IGNORED."""


def targets_in(sequences: Sequence[Sequence_]) -> int:
    """Return how many tokens of sequences are learned."""
    return sum(sequence.targets for sequence in sequences)


def pack(sequences: Sequence[Sequence_], row: int) -> list[Row]:
    """Put each sequence, in the order given, into the first of the newest OPEN_ROWS rows where it fits, or into a new one."""
    rows: list[Row] = []
    free: list[int] = []
    for sequence in sequences:
        need = sequence.positions
        oldest = max(0, len(rows) - OPEN_ROWS)
        place = next((i for i in range(oldest, len(rows)) if free[i] >= need), None)
        if place is None:
            rows.append([sequence])
            free.append(row - need)
        else:
            rows[place].append(sequence)
            free[place] -= need
    return rows


def collate(rows: Sequence[Row], pad: int, device: torch.device) -> Batch:
    """Turn rows into tensors as wide as the fullest of them. `pad` is any valid token id."""
    width = max(sum(sequence.positions for sequence in row) for row in rows)
    tokens = torch.full((len(rows), width), pad)  # (B, T)
    targets = torch.full((len(rows), width), IGNORED)  # (B, T)
    positions = torch.zeros((len(rows), width), dtype=torch.int64)  # (B, T)
    post = torch.full((len(rows), width), -1)  # (B, T) which post a position is of; -1: padding
    for i, row in enumerate(rows):
        start = 0
        for number, sequence in enumerate(row):
            end = start + sequence.positions
            tokens[i, start:end] = torch.tensor(sequence.tokens[:-1])
            targets[i, start + sequence.silent - 1 : end] = torch.tensor(sequence.tokens[sequence.silent :])
            positions[i, start:end] = torch.arange(end - start)
            post[i, start:end] = number
            start = end
    # Padding sees the padding before it: a query that sees nothing would be NaN, and NaN spreads in the backward pass.
    same_post = post[:, :, None] == post[:, None, :]  # (B, T, T)
    mask = same_post.tril()[:, None]  # (B, 1, T, T)
    count = int((targets != IGNORED).sum())
    return Batch(tokens.to(device), targets.to(device), positions.to(device), mask.to(device), count)


def batches(rows: Sequence[Row], size: int, base: Base) -> Iterator[Batch]:
    """Yield rows as batches of `size`, in their order; the last may be smaller."""
    for start in range(0, len(rows), size):
        yield collate(rows[start : start + size], base.separator, base.device)


def shuffled(sequences: Sequence[Sequence_], row: int, seed: int, number: int) -> list[Row]:
    """Return the rows of epoch `number`: the posts in an order that seed and number alone decide, packed."""
    order = list(sequences)
    random.Random(f"{seed}/{number}").shuffle(order)  # noqa: S311 - an order, no secret
    return pack(order, row)
