"""The loss of a batch, position by position, without ever holding all its logits.

A vocabulary is the widest layer of a small model: 49,152 columns make 100 MB of logits from 512 tokens, and as much again for
their gradient. Here they are made a slice at a time, and what the backward pass needs, (N, D), is kept in their stead.
"""

from typing import Any

import torch
from torch.nn import functional

from trainer.bases import Base
from trainer.packing import IGNORED, Batch

SLICE = 128
"""Tokens whose logits are held at once."""


def losses(base: Base, batch: Batch) -> torch.Tensor:
    """Return the cross-entropy of each target of a batch, (N,) nats, in the order of its rows; padding has none."""
    asked = batch.targets != IGNORED  # (B, T)
    targets = batch.targets[asked]  # (N,)
    if base.head is None:
        logits = base.model(
            input_ids=batch.tokens, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False, logits_to_keep=asked
        ).logits  # (N, V)
        return functional.cross_entropy(logits.float(), targets, reduction="none")
    hidden = base.body(input_ids=batch.tokens, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False)[0]
    return _CrossEntropy.apply(hidden[asked], base.head, targets)  # type: ignore[no-any-return, no-untyped-call]


class _CrossEntropy(torch.autograd.Function):
    """Cross-entropy behind a frozen output layer without bias.

    d loss / d hidden = (softmax(hidden Wᵀ) - onehot) W, which is made while the logits are at hand.
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        result = torch.empty(len(targets), device=hidden.device)  # (N,)
        wanted = ctx.needs_input_grad[0]
        gradient = torch.empty_like(hidden) if wanted else None  # (N, D)
        for start in range(0, len(targets), SLICE):
            part = slice(start, start + SLICE)
            logits = (hidden[part] @ weight.T).float()  # (n, V)
            target = targets[part, None]  # (n, 1)
            total = logits.logsumexp(-1, keepdim=True)  # (n, 1)
            result[part] = (total - logits.gather(1, target))[:, 0]
            if gradient is not None:
                chances = logits.sub_(total).exp_()
                chances.scatter_add_(1, target, torch.full_like(target, -1, dtype=chances.dtype))
                torch.mm(chances.to(weight.dtype), weight, out=gradient[part])
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0][:, None].to(gradient.dtype), None, None
