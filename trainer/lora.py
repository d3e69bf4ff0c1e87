"""LoRA on a frozen base (Hu et al. 2021, arXiv:2106.09685): y = x Wᵀ + alpha/r · (x Aᵀ) Bᵀ, for one voice or several in one batch.

`wrap` puts a LoraLinear in the place of every linear layer but the output layer, once, when a base is loaded. What is added is
worn by the base for a while and taken off again: the frozen weights never change, so that nothing of one voice is left for the
next. Training wears `wearing`: a batch for S voices holds the same number of rows of each, voice after voice, and has gradients.
Speaking wears `mixing`: any row wears any voice.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from trainer.fast import Product

Pair = tuple[torch.Tensor, torch.Tensor]
"""A (…, r, in) and B (…, out, r) of one layer; in front, S where several voices are stacked."""
Lora = Mapping[str, Pair]
"""The pairs of a voice, by the name of their layer."""


ROWS, SLICE = 16, 768
"""Least rows and most columns of a product with A. The CPU's library sums in another order for fewer rows, and parts longer sums among
its threads as suits the number of rows; a row's last bits would tell how many others there are (measured: docs/benchmarks.md)."""


class Wardrobe:
    """What the layers of one model wear, said to all of them at once."""

    mixed: "Mixed | None" = None


class LoraLinear(nn.Module):
    """A frozen linear layer, and what the voices that are worn now add to it."""

    def __init__(self, layer: nn.Linear | Conv1D, name: str = "", wardrobe: Wardrobe | None = None) -> None:
        super().__init__()
        self.weight: torch.Tensor | None = layer.weight
        self.bias = layer.bias
        # GPT-2 keeps its weights as (in, out).
        self._transposed = isinstance(layer, Conv1D)
        self.out_features, self.in_features = reversed(layer.weight.shape) if self._transposed else layer.weight.shape
        self.worn: Pair | None = None
        self.scale = 0.0
        self.name = name
        self.wardrobe = wardrobe or Wardrobe()
        self._product: Product | None = None

    @property
    def matrix(self) -> torch.Tensor:
        """The weights as (out, in); gone once they are packed."""
        assert self.weight is not None  # noqa: S101 - for the type checker
        return self.weight.T if self._transposed else self.weight

    def pack(self) -> None:
        """Keep the weights in the form in which they are multiplied the quickest, and in no other: for `mixing` alone from now on."""
        self._product = Product(self.matrix)
        self.weight = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (…, out) for x (…, in)."""
        if self.wardrobe.mixed is not None:
            return self._mix(x.reshape(-1, self.in_features), self.wardrobe.mixed).view(*x.shape[:-1], -1)
        if self.worn is None:
            return nn.functional.linear(x, self.matrix, self.bias)
        return _LoraProduct.apply(x, self.matrix, self.bias, *self.worn, self.scale)  # type: ignore[no-any-return, no-untyped-call]

    def _mix(self, x: torch.Tensor, mixed: "Mixed") -> torch.Tensor:
        """Return (N, out) for the rows x (N, in), each with its own voice."""
        y = self._product(x) if self._product else x @ self.matrix.T  # (N, out)
        if self.bias is not None:
            y += self.bias
        if self.name in mixed.pairs:
            a, b = mixed.pairs[self.name]
            y.addmm_(_narrow(x, a).masked_fill_(mixed.others, 0), b)
        return y


def _narrow(x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """Return (N, R) for x (N, in) and A (R, in), a row the same whatever the others are: see ROWS and SLICE."""
    count = x.shape[0]
    if count < ROWS and x.device.type == "cpu":
        x = nn.functional.pad(x, (0, 0, 0, ROWS - count))
    y = x[:, :SLICE] @ a[:, :SLICE].T
    for start in range(SLICE, x.shape[1], SLICE):
        y.addmm_(x[:, start : start + SLICE], a[:, start : start + SLICE].T)
    return y[:count]


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


class Mixed:
    """The LoRAs of several voices side by side, and who of a batch's rows wears which.

    All A's stand one below the other and all B's, scaled, beside each other, so that two plain products serve every row: what a
    row would get of the others' is struck out between them. At rank 8 that is cheaper than a product for each row.
    """

    def __init__(self, layers: Iterable[str], voices: Sequence[tuple[Lora, float]], device: torch.device, dtype: torch.dtype) -> None:
        """Take the voices with their scales, for a model of this kind; all numbers are finite, and their ranks may differ."""
        ranks = [next(iter(voice.values()))[0].shape[0] for voice, _ in voices]
        self._whose = torch.tensor([place for place, rank in enumerate(ranks) for _ in range(rank)], dtype=torch.long)  # (R,)
        self._device = device
        self.others = torch.zeros(0, sum(ranks), dtype=torch.bool, device=self._device)
        """(N, R): the ranks that row n does not wear. Struck out and not multiplied by 0: infinity times that is NaN."""
        self.pairs: dict[str, Pair] = {}
        """A (R, in) and scaled B (R, out) of each layer."""
        for name in layers if voices else ():
            a = torch.cat([voice[name][0] for voice, _ in voices]).to(device, dtype)  # (R, in)
            b = torch.cat([voice[name][1] * scale for voice, scale in voices], 1).to(device, dtype).T.contiguous()  # (R, out)
            self.pairs[name] = a, b

    def put_on(self, rows: Sequence[int | None]) -> None:
        """Say which voice each row of the coming batches wears; None: none."""
        wears = torch.tensor([-1 if row is None else row for row in rows], dtype=torch.long)  # (N,)
        self.others = (wears[:, None] != self._whose).to(self._device)


@contextmanager
def mixing(layers: Mapping[str, LoraLinear], mixed: Mixed) -> Iterator[None]:
    """Let each row of a base's batches wear the voice that `mixed` says, until the block ends. There are no gradients."""
    wardrobe = next(iter(layers.values())).wardrobe
    try:
        wardrobe.mixed = mixed
        yield
    finally:
        wardrobe.mixed = None


def shapes(layers: Mapping[str, LoraLinear], rank: int) -> dict[str, tuple[tuple[int, int], tuple[int, int]]]:
    """Return the shapes of A and B of every layer."""
    return {name: ((rank, layer.in_features), (layer.out_features, rank)) for name, layer in layers.items()}
