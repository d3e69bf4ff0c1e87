"""Two parts of a transformers model, exchanged for equal ones that cost less on the machine at hand.

Attention: grouped-query heads are read where they are, instead of being copied for each query head first.
RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467): forward and backward in six passes over memory instead of some twenty.
Measured in docs/benchmarks.md.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

ATTENTION = "mynah"


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Return (B, T, H, E) for queries (B, H, T, E), keys and values (B, G, S, E), in the manner of transformers' attention functions."""
    causal = attention_mask is None and query.shape[2] > 1 and (getattr(module, "is_causal", True) if is_causal is None else is_causal)
    mixed = functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        dropout_p=dropout,
        scale=scaling,
        is_causal=causal,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return mixed.transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


class RmsNorm(nn.Module):
    """x · w / sqrt(mean(x²) + ε) over the last axis, with a frozen w."""

    def __init__(self, weight: torch.Tensor, epsilon: float) -> None:
        super().__init__()
        self.weight = weight
        self._epsilon = epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalised x, of the same shape (…, D)."""
        return _RmsNorm.apply(x, self.weight, self._epsilon)  # type: ignore[no-any-return, no-untyped-call]


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        inverse = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()  # (…, 1)
        ctx.save_for_backward(x, weight, inverse)
        normal: torch.Tensor = (x * inverse).mul_(weight)
        return normal

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        g = gradients[0] * weight
        along = torch.linalg.vecdot(g, x).unsqueeze(-1)  # (…, 1)
        return g.mul_(inverse).addcmul_(x, along.mul_(inverse.pow(3)).div_(-x.shape[-1])), None, None


def exchange_norms(model: PreTrainedModel) -> None:
    """Put an RmsNorm in the place of every module that is one by its name and, asked with random numbers, by its answer."""
    for name, module in list(model.named_modules()):
        epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
        weight = getattr(module, "weight", None)
        if not type(module).__name__.endswith("RMSNorm") or not isinstance(epsilon, float) or not isinstance(weight, torch.Tensor):
            continue
        ours = RmsNorm(weight, epsilon)
        x = torch.linspace(-3, 3, 4 * weight.shape[-1], dtype=weight.dtype).view(4, -1).to(weight.device)
        if torch.allclose(ours(x), module(x), rtol=1e-5, atol=1e-5):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, ours)
