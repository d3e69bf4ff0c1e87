"""What a recipe's open places become: one dial, the amount of text, sets the rest.

Measured on the 1,000 newest posts of dril and BarackObama (docs/benchmarks.md), LoRA of rank 16 on all linear layers: small steps at
a rate that stays up for half of the training reach in one epoch what larger ones along a cosine reach in two, and what a patient
training at a lower rate reaches in three. So: about 22,000 targets, however many posts that is. Rates of 8e-3 fall apart; 2e-3 keeps
its distance from that edge, and what is beyond it begins again with half.
"""

import math
from dataclasses import dataclass
from typing import TypeVar

from trainer.errors import BadJob
from trainer.protocol import Recipe

T = TypeVar("T")

ROW = 256
"""Positions of a packed row; a longer post is cut. A tweet has about 25 tokens, 280 letters of emoji about 250."""
TARGETS_WANTED = 22_000
MOST_EPOCHS = 4
LEARNING_RATE = {"lora": 2e-3, "full": 1e-4}
RANK = 16
STORED_RANK = 8
"""Ranks of the LoRA that are kept; the rest hardly matters once the training is over."""
ALPHA_PER_RANK = 2
TOKENS_PER_STEP = {"lora": 256, "full": 512}
ANSWERS = 0.25
WARM_UP = 0.05
COOL_DOWN = 0.5
CLIP = 1.0
EVALUATIONS = 3
"""Looks at the stop split during training; each costs about a third of training on as many tokens."""
HELD_OUT = {"stop": 1_500, "report": 6_000}
"""Targets of a held-out split that are looked at, about; a thousand posts hold back some 2,500 for each."""
MOST_HALVINGS = 3
"""How often a training begins again with half the learning rate, when it had made the model worse at its first look."""
PATIENCE = 2
"""Looks running that may be worse than the best."""


@dataclass(frozen=True)
class Resolved:
    """A recipe without open places."""

    base: str
    method: str
    seed: int
    rank: int
    """Of the LoRA while it is trained."""
    stored_rank: int
    scale: float
    """alpha / r, what the LoRA's product is multiplied by."""
    learning_rate: float
    epochs: int
    tokens_per_step: int
    answers: float
    """Share of the posts that an epoch learns as the answer to a message."""
    row: int
    """Positions a row."""
    rows_per_step: int
    warm_up: float
    """Part of the steps, at their beginning, in which the learning rate rises from 0."""
    cool_down: float
    """Part of the steps, at their end, in which it falls to 0."""
    clip: float
    """Largest norm of the gradient."""
    evaluations: int
    patience: int


def check(recipe: Recipe) -> None:
    """Refuse a recipe that cannot be meant.

    Raises:
        BadJob: a number out of its bounds, an unknown method.
    """
    if recipe.method not in LEARNING_RATE:
        raise BadJob(f"The method {recipe.method!r} is unknown: choose lora or full.")
    bounds: dict[str, tuple[float | None, float, float]] = {
        "rank": (recipe.rank, 1, 256),
        "epochs": (recipe.epochs, 1, 100),
        "tokens_per_step": (recipe.tokens_per_step, 1, 1 << 16),
        "seed": (recipe.seed, 0, (1 << 63) - 1),
    }
    for name, (value, least, most) in bounds.items():
        if value is not None and not least <= value <= most:
            raise BadJob(f"{name} is {value}: choose a whole number from {least} to {most}.")
    if recipe.answers is not None and not 0 <= recipe.answers <= 1:
        raise BadJob(f"answers is {recipe.answers}: choose a share from 0 to 1.")
    rate = recipe.learning_rate
    if rate is not None and not 0 < rate <= 1:  # False for NaN, too
        raise BadJob(f"learning_rate is {rate}: choose a number above 0, up to 1, such as {LEARNING_RATE['lora']}.")


def resolve(recipe: Recipe, targets: int, context: int) -> Resolved:
    """Fill a recipe's open places for a training split of `targets` tokens and a model of `context` positions."""
    row = min(ROW, context)
    rank = _or(recipe.rank, RANK)
    tokens_per_step = _or(recipe.tokens_per_step, TOKENS_PER_STEP[recipe.method])
    return Resolved(
        base=recipe.base,
        method=recipe.method,
        seed=recipe.seed,
        rank=rank,
        stored_rank=min(rank, STORED_RANK),
        scale=float(ALPHA_PER_RANK),
        learning_rate=_or(recipe.learning_rate, LEARNING_RATE[recipe.method]),
        epochs=_or(recipe.epochs, min(MOST_EPOCHS, max(1, round(TARGETS_WANTED / targets)))),
        tokens_per_step=tokens_per_step,
        answers=_or(recipe.answers, ANSWERS),
        row=row,
        rows_per_step=max(1, tokens_per_step // row),
        warm_up=WARM_UP,
        cool_down=COOL_DOWN,
        clip=CLIP,
        evaluations=EVALUATIONS,
        patience=PATIENCE,
    )


def _or(wish: T | None, default: T) -> T:
    return default if wish is None else wish


def learning_rate_factor(step: int, steps: int, warm_up: float, cool_down: float) -> float:
    """Return the part of the learning rate that step `step` of `steps` (from 0) uses: up in a line, level, and down in a line.

    Known as warmup-stable-decay (Hu et al. 2024, arXiv 2404.06395) and as a constant rate with a cooldown (Hägele et al. 2024,
    arXiv 2405.18392).
    """
    rising = max(1, round(warm_up * steps))
    if step < rising:
        return (step + 1) / rising
    return min(1.0, (steps - step) / (1 + max(1, round(cool_down * steps))))


def evaluation_steps(steps: int, evaluations: int) -> set[int]:
    """Return the numbers of the steps (from 1) after which the stop split is looked at; the last is among them."""
    return {math.ceil(steps * k / evaluations) for k in range(1, evaluations + 1)}
