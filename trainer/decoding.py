"""Drawing lines: one prompt, many rows, one forward pass a token for all rows that are still speaking.

Own loop instead of `generate`: the top-k come first and the top-p among them, which never sorts the vocabulary (measured:
twice as quick at 64 rows); each row has its own source of chance; rows that ended cost nothing more.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from trainer import frames
from trainer.bases import Base
from trainer.errors import BadRequest
from trainer.process import Check
from trainer.protocol import Sampling

MOST_LINES = 64
"""Rows of one request: beyond, a CPU gains nothing more from a larger batch."""


@dataclass(frozen=True)
class Drawn:
    """One finished row."""

    index: int
    text: str
    """Prompt included, end token and newline not."""
    complete: bool
    """It ended at the separator or at a newline, not because max_tokens were used up."""
    log_likelihood: float
    """Mean over the drawn tokens, the ending one included, nats, at temperature 1."""


def check_request(count: int, sampling: Sampling) -> None:
    """Refuse numbers that cannot be meant.

    Raises:
        BadRequest: one is out of its bounds.
    """
    if not 1 <= count <= MOST_LINES:
        raise BadRequest(f"count is {count}: ask for 1 to {MOST_LINES} lines.")
    if not 0 <= sampling.temperature <= 100:  # False for NaN, too
        raise BadRequest(f"temperature is {sampling.temperature}: choose 0 (always the likeliest token) to 100.")
    if not 0 < sampling.top_p <= 1:
        raise BadRequest(f"top_p is {sampling.top_p}: choose a number above 0, up to 1.")
    if sampling.top_k < 0:
        raise BadRequest(f"top_k is {sampling.top_k}: choose 1 or more, or 0 for the whole vocabulary.")
    if sampling.max_tokens < 1:
        raise BadRequest(f"max_tokens is {sampling.max_tokens}: choose 1 or more.")


@torch.no_grad()
def draw(
    base: Base, prompt: str, count: int, seed: int, sampling: Sampling, check: Check, *, message: str = "", author: str = ""
) -> Iterator[Drawn]:
    """Yield `count` rows that continue `prompt` (may be empty), each as soon as it is finished.

    They answer `message` and are by `author`, where those are not empty; neither is part of the text.

    Row i's chance comes from `seed` and i alone. Its logits come from a batch whose size may change their last bits, so that
    a different `count` could flip a draw about once in a million; nothing else ties rows together.

    A prompt too long for the model loses its beginning, in what the model reads and not in the text. A trailing space is
    dropped: posts' tokens begin with their space, and a lone one is followed by nothing that the model ever saw.

    Raises:
        BadRequest: a number is out of its bounds.
        Cancelled: `check` said so, between two tokens.
    """
    check_request(count, sampling)
    budget = min(sampling.max_tokens, max(1, base.context // 2))
    prompt_ids = base.encode([prompt.rstrip(" ")])[0]
    before = frames.frame(base, message, author)
    room = max(0, base.context - budget - len(before))
    read = [*before, *prompt_ids[max(0, len(prompt_ids) - room) :]]

    check()
    first = base.model(input_ids=torch.tensor([read], device=base.device), use_cache=True, logits_to_keep=1)
    cache = first.past_key_values
    cache.batch_repeat_interleave(count)
    logits = first.logits[:, -1].float().expand(count, -1)  # (B, V)

    chance = [random.Random(f"{seed}/{index}") for index in range(count)]  # noqa: S311 - a draw, no secret
    drawn: list[list[int]] = [[] for _ in range(count)]
    likelihood = [0.0] * count
    spoke = [bool(prompt.strip())] * count  # until a row says something, neither separator nor newline ends it: no post is empty
    rows = list(range(count))  # the indices that are still speaking, in the order of the batch

    for position in range(1, budget + 1):
        check()
        uniform = torch.tensor([chance[index].random() for index in rows], device=base.device)  # (B,)
        allowed = logits.masked_fill(base.forbidden, -torch.inf)  # (B, V)
        allowed[[place for place, index in enumerate(rows) if not spoke[index]], base.separator] = -torch.inf
        tokens = pick(allowed, uniform, sampling)  # (B,)
        scores = logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]  # (B,)
        speaking = []
        for place, (index, token, score) in enumerate(zip(rows, tokens.tolist(), scores.tolist(), strict=True)):
            likelihood[index] += score
            piece = "" if token == base.separator else base.decode([token])
            head, newline, _ = piece.partition("\n")
            ended = token == base.separator or bool(newline and (spoke[index] or head.strip()))
            spoke[index] |= bool(piece.strip())
            if ended or position == budget:
                drawn[index] += [] if ended else [token]
                text = base.decode(prompt_ids + drawn[index]) + (head if ended else "")
                yield Drawn(index, text if prompt.strip() else text.lstrip(), ended, likelihood[index] / position)
            else:
                drawn[index].append(token)
                speaking.append(place)
        if not speaking:
            return
        keep = torch.tensor(speaking, device=base.device)
        if len(speaking) < len(rows):
            cache.batch_select_indices(keep)
            rows = [rows[place] for place in speaking]
        logits = base.model(input_ids=tokens[keep, None], past_key_values=cache, use_cache=True).logits[:, -1].float()  # (B, V)


def pick(logits: torch.Tensor, uniform: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Return one token a row, (B,): the likeliest at temperature 0, else drawn from the top-p of the top-k.

    `logits` is (B, V), fp32, -inf where a token may not be drawn; `uniform` is (B,), in [0, 1): the rows' chance.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    size = logits.shape[-1]
    top, ids = logits.topk(min(sampling.top_k or size, size))  # (B, K), falling
    # The largest is subtracted first: a temperature near 0 would otherwise make inf - inf.
    chances = ((top - top[:, :1]) / sampling.temperature).softmax(-1)  # (B, K)
    before = chances.cumsum(-1) - chances
    chances = chances.masked_fill(before >= sampling.top_p, 0)  # the first that reaches top_p stays, what follows goes
    up_to = chances.cumsum(-1)  # (B, K)
    place = (up_to <= uniform[:, None] * up_to[:, -1:]).sum(-1)  # (B,)
    last = (chances > 0).sum(-1) - 1  # rounding must not step beyond the last that is left
    return ids.gather(1, torch.minimum(place, last)[:, None])[:, 0]
