"""Choosing what to say: every candidate that passed the rules has a score in nats, and the best that differ are said.

    score = likelihood + style + relevance

likelihood    how much less likely a token of the line is than is typical of the voice, 0 or below. Typical is the mean over posts that
              it never saw (its held-out loss). What is likelier than typical gains nothing: the likeliest lines are the blandest.
style         STYLE times the share (0 to 1) of the line's character trigrams that stand in the account's posts.
relevance     in an answer, how much likelier a token of the line is after its message than after none, at most 1 either way: beyond, a
              line echoes its message. Li et al. 2016 (arXiv:1510.03055) call it maximum mutual information. 0 where nothing is answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.services.safety import Said
from data.models import Model
from data.speech import PASSED, Generation

#: One more trigram in twenty that is not the account's costs a fifth of a nat a token. Of 1,000 posts of an English account, its other
#: posts share 0.94 to 0.98 (spread 0.03 to 0.08), posts of other accounts 0.04 to 0.13 less.
STYLE = 4.0
MOST_RELEVANCE = 1.0


@dataclass(frozen=True)
class Score:
    """A line's score in its parts, nats."""

    likelihood: float
    style: float
    relevance: float

    @property
    def total(self) -> float:
        """What lines are ranked by."""
        return self.likelihood + self.style + self.relevance


def typical(model: Model) -> float:
    """Return the mean log-likelihood of posts that a voice never saw, nats a token; of an imported one, that of its own first lines."""
    loss = model.result["loss_after"]
    return float(model.result["details"]["typical"]) if loss is None else -float(loss)


def score(log_likelihood: float, typical: float, style: float, relevance: float) -> Score:
    """Return the score of a line.

    Args:
        log_likelihood: of the line, mean, nats a token.
        typical: the same of posts that the voice never saw.
        style: share of the line's trigrams that are the account's, 0 to 1.
        relevance: how much likelier the line is as an answer, nats a token.
    """
    return Score(
        likelihood=min(0.0, log_likelihood - typical),
        style=STYLE * style,
        relevance=max(-MOST_RELEVANCE, min(MOST_RELEVANCE, relevance)),
    )


def choose(candidates: Sequence[Generation], count: int, prompt: str = "") -> list[Generation]:
    """Return the candidates as they came, the best `count` of those that passed marked as chosen.

    What nearly repeats one of those has the verdict `repeat` instead.
    """
    said = Said()
    decided: dict[int, Generation] = {}
    missing = count
    for line in sorted(candidates, key=lambda line: (-line.score, line.number)):
        if line.verdict != PASSED:
            continue
        if said.has(line.text, prompt):
            decided[line.number] = replace(line, verdict="repeat", reason="repeats a better line of this answer")
        elif missing:
            missing -= 1
            said.add(line.text, prompt)
            decided[line.number] = replace(line, chosen=True)
    return [decided.get(line.number, line) for line in candidates]
