"""Speaking with the LoRAs of several voices in one batch: any row wears any voice. There are no gradients."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from trainer.fast import Pack, Product
from trainer.lora import Lora, LoraLinear

LEAST_ROWS, MOST_COLUMNS = 16, 768
"""Of a product with A or B. The CPU's library sums in another order for fewer rows, and parts longer sums among its threads as suits the
number of rows; a row's last bits would tell how many others there are (measured: docs/benchmarks.md)."""
LEAST_RANKS = 16
"""Of all voices together: for fewer columns AMD's processors are given sums in another order, too."""


class Readers:
    """Layers that read the same x, such as those of queries, keys and values: one frozen product serves them all, and one with A."""

    def __init__(self, layers: Sequence[LoraLinear], pack: Pack | None) -> None:
        """Take layers of equal `in`; with `pack`, their weights are kept in the form that it gives them, and only so."""
        self.names = [layer.name for layer in layers]
        self.widths = [layer.out_features for layer in layers]
        self.biases = [layer.bias for layer in layers]
        matrix = layers[0].matrix if len(layers) == 1 else torch.cat([layer.matrix for layer in layers])
        self.product = pack(matrix) if pack else Product(matrix, packed=False)
        for layer in layers if pack else ():
            layer.weight = None


def apart(layers: Mapping[str, LoraLinear]) -> dict[str, Readers]:
    """Return each layer by itself, by its name, with the weights that it has."""
    return {name: Readers([layer], None) for name, layer in layers.items()}


@torch.no_grad()
def together(model: nn.Module, layers: Mapping[str, LoraLinear], ids: Sequence[int], pack: Pack) -> dict[str, Readers]:
    """Return what multiplies each layer, packed, by its name. Which read the same is seen while the model reads these tokens.

    A layer that these do not reach stays alone and as it is.
    """
    groups: list[tuple[torch.Tensor, list[LoraLinear]]] = []

    def see(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(layer, LoraLinear)  # noqa: S101 - for the type checker
        if not groups or groups[-1][0] is not inputs[0]:
            groups.append((inputs[0], []))
        groups[-1][1].append(layer)

    hooks = [layer.register_forward_pre_hook(see) for layer in layers.values()]
    try:
        model(input_ids=torch.tensor([ids], device=next(model.parameters()).device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    found: dict[str, Readers] = {}
    for _, group in groups:
        # A layer that was called twice has its readers already.
        if fresh := [layer for layer in dict.fromkeys(group) if layer.name not in found]:
            found.update(dict.fromkeys([layer.name for layer in fresh], Readers(fresh, pack)))
    return apart({name: layer for name, layer in layers.items() if name not in found}) | found


class Mixed:
    """The LoRAs of several voices side by side, and who of a batch's rows wears which.

    All A's stand one below the other and all B's, scaled, beside each other, so that two plain products serve every row: what a
    row would get of the others' is struck out between them. At rank 8 that is cheaper than a product for each row.
    """

    def __init__(
        self, readers: Mapping[str, Readers], voices: Sequence[tuple[Lora, float]], device: torch.device, dtype: torch.dtype
    ) -> None:
        """Take the voices with their scales, for a model of this kind; all numbers are finite, and their ranks may differ."""
        ranks = [next(iter(voice.values()))[0].shape[0] for voice, _ in voices]
        spare = max(0, LEAST_RANKS - sum(ranks))  # of nobody, and full of zeros
        whose = [place for place, rank in enumerate(ranks) for _ in range(rank)] + [-2] * spare
        self._whose = torch.tensor(whose, dtype=torch.long)  # (R,)
        self._device = device
        self._others = torch.zeros(0, len(whose), dtype=torch.bool, device=device)
        """(N, R): the ranks that row n does not wear. Struck out and not multiplied by 0: infinity times that is NaN."""
        self._readers = readers
        self._pairs: dict[str, tuple[torch.Tensor, list[torch.Tensor]]] = {}
        """By the name of the first of L layers: their A's (in, L R), and the scaled B's (R, out) of each."""
        for group in {id(group): group for group in readers.values()}.values() if voices else ():
            several_a = [torch.cat([voice[name][0] for voice, _ in voices]) for name in group.names]  # (R, in)
            several_b = [torch.cat([voice[name][1] * scale for voice, scale in voices], 1) for name in group.names]  # (out, R)
            pad = nn.functional.pad
            a = torch.cat([pad(one, (0, 0, 0, spare)) for one in several_a]).to(device, dtype).T.contiguous()
            b = [pad(one, (0, spare)).to(device, dtype).T.contiguous() for one in several_b]
            self._pairs[group.names[0]] = a, b
        self._alone = len(voices) == 1
        self._strikes = True
        self._x: torch.Tensor | None = None
        self.bytes = sum(a.numel() + sum(b.numel() for b in several) for a, several in self._pairs.values()) * dtype.itemsize
        """Memory that it takes."""
        self._parts: dict[str, torch.Tensor] = {}
        """What the layers that read the last x answer and have not asked for yet, each (N, out)."""

    def put_on(self, rows: Sequence[int | None]) -> None:
        """Say which voice each row of the coming batches wears; None: none."""
        wears = torch.tensor([-1 if row is None else row for row in rows], dtype=torch.long)  # (N,)
        self._others = (wears[:, None] != self._whose).to(self._device)
        # Where all rows wear the only voice there is, nothing is to be struck out: what is nobody's is 0.
        self._strikes = not self._alone or bool(wears.any())
        self._x, self._parts = None, {}

    def __call__(self, layer: LoraLinear, x: torch.Tensor) -> torch.Tensor:
        """Return what a layer answers to x (…, in): (…, out)."""
        if x is not self._x or layer.name not in self._parts:
            self._x, self._parts = x, self._products(self._readers[layer.name], x.reshape(-1, x.shape[-1]))
        return self._parts.pop(layer.name).reshape(*x.shape[:-1], -1)

    def _products(self, readers: Readers, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what all these layers answer to the rows x (N, in), each row with its own voice."""
        parts = readers.product(x).split_with_sizes(readers.widths, 1)  # L of (N, out)
        for part, bias in zip(parts, readers.biases, strict=True):
            if bias is not None:
                part.add_(bias)
        if found := self._pairs.get(readers.names[0]):
            a, several_b = found
            count = x.shape[0]
            if count < LEAST_ROWS and x.device.type == "cpu":
                x = torch.cat((x, x.new_zeros(LEAST_ROWS - count, x.shape[1])))
            narrow = _narrow(x, a).view(x.shape[0], len(parts), -1)  # (N or more, L, R)
            if self._strikes:
                narrow[:count].masked_fill_(self._others[:, None], 0)
            for place, (part, b) in enumerate(zip(parts, several_b, strict=True)):
                part.add_((narrow[:, place] @ b)[:count])
        return dict(zip(readers.names, parts, strict=True))


def _narrow(x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """Return (N, R) for x (N, in) and A (in, R)."""
    y = x[:, :MOST_COLUMNS] @ a[:MOST_COLUMNS]
    for start in range(MOST_COLUMNS, x.shape[1], MOST_COLUMNS):
        y.addmm_(x[:, start : start + MOST_COLUMNS], a[start : start + MOST_COLUMNS])
    return y


@contextmanager
def mixing(layers: Mapping[str, LoraLinear], mixed: Mixed) -> Iterator[None]:
    """Let each row of a base's batches wear the voice that `mixed` says, until the block ends."""
    wardrobe = next(iter(layers.values())).wardrobe
    try:
        wardrobe.mixed = mixed
        yield
    finally:
        wardrobe.mixed = None
