"""Which token comes next: each row has its own settings and its own chance, and nothing else of the batch has a say.

Own code instead of transformers' processors: those take one setting for all rows. Sums run over sorted tokens from the likeliest
on, in double precision, so that a row's choice is the same however many tokens the other rows wish to choose among. (Should exactly
equal logits straddle the last of those tokens, which of them it is may depend on that number.)
"""

from collections.abc import Sequence

import torch

from trainer.errors import BadRequest
from trainer.protocol import Sampling

MOST_LINES = 64
"""Lines of one request."""

LEAST_WIDE = 64
"""Tokens that are looked at in any case: as long as nobody wishes for more, equally likely ones are chosen among alike in any company."""

#: Combining marks, and what joins or varies emoji.
_PARTS = {*range(0x300, 0x370), 0x200D, 0x20E3, 0x3099, 0x309A, 0xFE0F}


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
    if not 0 <= sampling.min_p <= 1:
        raise BadRequest(f"min_p is {sampling.min_p}: choose 0 (off) to 1.")
    if not 1 <= sampling.repetition_penalty <= 100:
        raise BadRequest(f"repetition_penalty is {sampling.repetition_penalty}: choose 1 (none) to 100.")
    if sampling.no_repeat_ngram < 0:
        raise BadRequest(f"no_repeat_ngram is {sampling.no_repeat_ngram}: choose 1 or more, or 0 for none.")
    if not sampling.without.isascii() or len(sampling.without) > 32:
        raise BadRequest(f"without is {sampling.without[:40]!r}: choose at most 32 characters, of ASCII.")
    if sampling.max_tokens < 1:
        raise BadRequest(f"max_tokens is {sampling.max_tokens}: choose 1 or more.")
    if sampling.max_weight < 0:
        raise BadRequest(f"max_weight is {sampling.max_weight}: choose 1 or more, or 0 for no bound.")


def penalise(logits: torch.Tensor, line: Sequence[int], sampling: Sampling) -> None:
    """Change a row's logits (V,) in place by what its line holds already, prompt included."""
    if sampling.repetition_penalty != 1 and line:
        ids = torch.tensor(sorted(set(line)), device=logits.device)
        there = logits[ids]
        logits[ids] = torch.where(there > 0, there / sampling.repetition_penalty, there * sampling.repetition_penalty)
    if size := sampling.no_repeat_ngram:
        last = tuple(line[len(line) - size + 1 :])
        ends = [line[at + size - 1] for at in range(len(line) - size + 1) if tuple(line[at : at + size - 1]) == last]
        logits[ends] = -torch.inf


def pick(logits: torch.Tensor, uniform: torch.Tensor, samplings: Sequence[Sampling]) -> torch.Tensor:
    """Return one token a row, (B,): the likeliest at temperature 0, else drawn from what top-k, top-p and min-p leave, in this order.

    `logits` is (B, V), fp32, -inf where a token may not be drawn; `uniform` is (B,), in [0, 1), double: the rows' chance.
    """
    size = logits.shape[-1]
    wide = [min(one.top_k or size, size) if one.temperature else 1 for one in samplings]
    top, ids = logits.topk(min(size, max(LEAST_WIDE, *wide)))  # (B, K), falling
    # Equals stand in the order of their ids: in topk's own they depend on K, which others have a say in.
    ids, order = ids.sort(-1)
    top, place = top.gather(1, order).sort(dim=-1, descending=True, stable=True)
    ids, top = ids.gather(1, place), top.double()

    def column(numbers: Sequence[float]) -> torch.Tensor:
        return torch.tensor(numbers, dtype=torch.double, device=logits.device)[:, None]  # (B, 1)

    # The largest is subtracted first: a temperature near 0 would otherwise make inf - inf.
    chances = ((top - top[:, :1]) / column([one.temperature or 1 for one in samplings])).exp()  # (B, K), the likeliest has 1
    chances[torch.arange(top.shape[1], device=logits.device) >= column(wide)] = 0
    total = chances.cumsum(-1)  # (B, K)
    # The first that reaches top_p stays, what follows goes.
    chances[total - chances >= column([one.top_p for one in samplings]) * total[:, -1:]] = 0
    chances[chances < column([one.min_p for one in samplings])] = 0
    up_to = chances.cumsum(-1)  # (B, K)
    place = (up_to <= uniform[:, None] * up_to[:, -1:]).sum(-1)  # (B,)
    # Rounding must not step beyond the last that is left; a row of NaN has none.
    last = ((chances > 0).sum(-1) - 1).clamp_min(0)
    return ids.gather(1, torch.minimum(place, last)[:, None])[:, 0]


def least_weight(text: str) -> int:
    """Return how many of X's weighted characters a text takes at least, links set aside.

    By X's counting (twitter-text, configuration v3) Latin letters weigh 1 and most others 2; an emoji is one character of 2
    however many code points it has, and composed letters are counted. So what may be part of such counts nothing here.
    """
    return sum(0 if code >= 0x1F000 or code in _PARTS else 1 if code < 0x3000 else 2 for code in map(ord, text))
