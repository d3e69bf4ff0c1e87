"""LoRA on a frozen base (Hu et al. 2021, arXiv:2106.09685): y = x Wᵀ + alpha/r · (x Aᵀ) Bᵀ, for one voice or several in one batch.

`wrap` puts a LoraLinear in the place of every linear layer but the output layer, once, when a base is loaded. What is added is
worn by the base for a while and taken off again: the frozen weights never change, so that nothing of one voice is left for the
next. Training wears `wearing`: a batch for S voices holds the same number of rows of each, voice after voice, and has gradients.
Speaking wears what mixing.py has: any row wears any voice.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

Pair = tuple[torch.Tensor, torch.Tensor]
"""A (…, r, in) and B (…, out, r) of one layer; in front, S where several voices are stacked."""
Lora = Mapping[str, Pair]
"""The pairs of a voice, by the name of their layer."""


class Wardrobe:
    """What all layers of one model wear instead of their own `worn`, said to all of them at once."""

    mixed: "Callable[[LoraLinear, torch.Tensor], torch.Tensor] | None" = None
    """Returns (…, out) for a layer and its x (…, in)."""


class LoraLinear(nn.Module):
    """A frozen linear layer, and what the voices that are worn now add to it."""

    def __init__(self, layer: nn.Linear | Conv1D, name: str = "", wardrobe: Wardrobe | None = None) -> None:
        super().__init__()
        self.weight: torch.Tensor | None = layer.weight
        self.bias = layer.bias
        # GPT-2 keeps its weights as (in, out).
        self.transposed = isinstance(layer, Conv1D)
        self.out_features, self.in_features = reversed(layer.weight.shape) if self.transposed else layer.weight.shape
        self.worn: Pair | None = None
        self.scale = 0.0
        self.name = name
        self.wardrobe = wardrobe or Wardrobe()

    @property
    def matrix(self) -> torch.Tensor:
        """The weights as (out, in); gone once they are packed."""
        assert self.weight is not None  # noqa: S101 - for the type checker
        return self.weight.T if self.transposed else self.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (…, out) for x (…, in)."""
        if self.wardrobe.mixed is not None:
            return self.wardrobe.mixed(self, x)
        if self.worn is None:
            return nn.functional.linear(x, self.matrix, self.bias)
        return _LoraProduct.apply(x, self.matrix, self.bias, *self.worn, self.scale)  # type: ignore[no-any-return, no-untyped-call]


class _LoraProduct(torch.autograd.Function):
    """The product and its gradients, written out: the frozen weight gets none, and every addition happens in place.

    N tokens in all, M of each of S voices. Autograd's own would keep two more (N, out) tensors a layer and add them apart.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, a: torch.Tensor, b: torch.Tensor, scale: float
    ) -> torch.Tensor:
        voices = a.shape[0]
        flat = x.reshape(-1, x.shape[-1])  # (N, in)
        y = flat @ weight.T if bias is None else torch.addmm(bias, flat, weight.T)  # (N, out)
        if voices == 1:
            narrow = flat @ a[0].T.to(x.dtype)  # (N, r)
            y.addmm_(narrow, b[0].T.to(x.dtype), alpha=scale)
        else:
            narrow = torch.bmm(flat.view(voices, -1, flat.shape[-1]), a.transpose(1, 2).to(x.dtype))  # (S, M, r)
            y.view(voices, -1, y.shape[-1]).baddbmm_(narrow, b.transpose(1, 2).to(x.dtype), alpha=scale)
        ctx.save_for_backward(flat, narrow, weight, a, b)
        ctx.scale = scale
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        flat, narrow, weight, a, b = ctx.saved_tensors
        voices, scale = a.shape[0], ctx.scale
        shape = gradients[0].shape
        g = gradients[0].reshape(-1, shape[-1])  # (N, out)
        dx = None
        if voices == 1:
            back = (g @ b[0].to(g.dtype)).mul_(scale)  # (N, r)
            da = (back.T @ flat).unsqueeze(0)  # (1, r, in)
            db = (narrow.T @ g).mul_(scale).T.unsqueeze(0)  # (1, out, r); the narrow one on the left is twice as quick
            if ctx.needs_input_grad[0]:
                dx = (g @ weight).addmm_(back, a[0].to(g.dtype))
        else:
            parted = g.view(voices, -1, g.shape[-1])  # (S, M, out)
            back = torch.bmm(parted, b.to(g.dtype)).mul_(scale)  # (S, M, r)
            da = torch.bmm(back.transpose(1, 2), flat.view(voices, -1, flat.shape[-1]))  # (S, r, in)
            db = torch.bmm(parted.transpose(1, 2), narrow).mul_(scale)  # (S, out, r)
            if ctx.needs_input_grad[0]:
                dx = g @ weight
                dx.view(voices, -1, dx.shape[-1]).baddbmm_(back, a.to(g.dtype))
        if dx is not None:
            dx = dx.view(*shape[:-1], -1)
        return dx, None, None, da.to(a.dtype), db.to(b.dtype), None


def wrap(model: PreTrainedModel) -> dict[str, LoraLinear]:
    """Put a LoraLinear in the place of every linear layer but the output layer, and return them by name."""
    output = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    found = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear | Conv1D) and layer is not output}
    layers, wardrobe = {}, Wardrobe()
    for name, layer in found.items():
        parent, _, own = name.rpartition(".")
        layers[name] = LoraLinear(layer, name, wardrobe)
        setattr(model.get_submodule(parent), own, layers[name])
    return layers


@contextmanager
def wearing(layers: Mapping[str, LoraLinear], voices: Sequence[Lora], scale: float) -> Iterator[None]:
    """Let a base speak with the LoRA of these voices, S of them, until the block ends; its batches then hold S n rows."""
    try:
        for name, layer in layers.items():
            pairs = [voice[name] for voice in voices]
            if len(pairs) == 1:
                layer.worn = pairs[0][0].unsqueeze(0), pairs[0][1].unsqueeze(0)
            else:
                layer.worn = torch.stack([a for a, _ in pairs]), torch.stack([b for _, b in pairs])
            layer.scale = scale
        yield
    finally:
        for layer in layers.values():
            layer.worn = None


def shapes(layers: Mapping[str, LoraLinear], rank: int) -> dict[str, tuple[tuple[int, int], tuple[int, int]]]:
    """Return the shapes of A and B of every layer."""
    return {name: ((rank, layer.in_features), (layer.out_features, rank)) for name, layer in layers.items()}
