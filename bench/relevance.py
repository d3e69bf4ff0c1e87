"""How close answers are to their own messages, against all the other messages."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.embedding import Embed
from data.copies import TrainingPosts
from data.corpus import Corpus

LEAST_WORDS = 8

Chances = np.ndarray[tuple[int], np.dtype[np.float64]]
"""(messages,): for each answer, the share of the other messages that are farther from it than its own."""


@dataclass(frozen=True)
class Relevance:
    """How close answers are to their messages; bench/answers.py says what each figure is."""

    closer: float
    auc: float
    auc_error: float
    rank: float
    echoes: float


def relevance(messages: Sequence[str], answers: Sequence[str], embed: Embed, seed: int) -> tuple[Relevance, Chances]:
    """Return how close each answer is to the message in its place, and the chances whose mean the AUC is."""
    count = len(messages)
    closeness = embed(answers) @ embed(messages).T  # (answers, messages)
    own = closeness.diagonal()[:, None]
    others = closeness[~np.eye(count, dtype=bool)].reshape(count, count - 1)
    wins = (others < own) + 0.5 * (others == own)  # (answers, messages - 1)
    chances = wins.mean(1)
    drawn = np.random.default_rng(seed).integers(count - 1, size=count)
    echoes = sum(TrainingPosts([message]).copied_in(answer) for message, answer in zip(messages, answers, strict=True))
    figures = Relevance(
        closer=float(wins[np.arange(count), drawn].mean()),
        auc=float(chances.mean()),
        auc_error=standard_error(chances),
        rank=float((1 + (count - 1) * (1 - chances)).mean()),
        echoes=echoes / count,
    )
    return figures, chances


def standard_error(values: Chances) -> float:
    """Return the standard error of their mean."""
    return float(values.std(ddof=1) / len(values) ** 0.5)


def messages_of(corpora: Sequence[Corpus], count: int, seed: int) -> list[str]:
    """Return posts to answer, of `LEAST_WORDS` or more, as many of each account, chosen by the rank of their hash.

    Raises:
        SystemExit: there are too few.
    """
    chosen: list[str] = []
    for place, corpus in enumerate(corpora):
        share = count // len(corpora) + (place < count % len(corpora))
        texts = [post.text for post in (*corpus.train, *corpus.stop, *corpus.report) if len(post.text.split()) >= LEAST_WORDS]
        chosen += sorted(texts, key=lambda text: hashlib.sha256(f"{seed}\n{text}".encode()).digest())[:share]
    if len(chosen) < count:
        raise SystemExit(f"Only {len(chosen)} posts have {LEAST_WORDS} words: ask for fewer with --messages, or raise --posts.")
    return chosen


def halves(messages: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the first and the second half of each message, cut between two words."""
    words = [message.split() for message in messages]
    return [" ".join(one[: len(one) // 2]) for one in words], [" ".join(one[len(one) // 2 :]) for one in words]
