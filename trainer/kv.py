"""The keys and values of rows that are decoded together, each row of its own length: what a row has read is never read again."""

from typing import Any

import torch
from transformers import Cache, DynamicCache

STEP = 64
"""Rows have room for a multiple of so many positions: attention over the same positions then sums in the same order, whatever the
longest row is (measured: docs/benchmarks.md), and room is made seldom."""
ROWS_STEP = 16


def up_to_step(positions: int) -> int:
    """Return for how many positions there is room where there is room for so many."""
    return -(-positions // STEP) * STEP


Read = torch.Tensor
"""Keys and values of one row's positions so far, (2, layers, heads, T, E)."""


def read_of(cache: DynamicCache) -> Read:
    """Return what transformers' cache of a batch of one row holds."""
    layers: Any = cache.layers  # each has keys and values, (1, heads, T, E)
    return torch.stack([torch.stack([layer.keys[0] for layer in layers]), torch.stack([layer.values[0] for layer in layers])])


class KeyValues(Cache):
    """A cache for batches of one token a row: row n's token goes to position `positions[n]`, and sees what is before it."""

    def __init__(self, layers: int) -> None:
        super().__init__(layers=[])
        self._depth = layers
        self._store: torch.Tensor | None = None  # (2, layers, R, heads, L, E)
        self._positions = torch.zeros(0, dtype=torch.long)  # (N,)
        self._width = STEP
        """Positions for which there must be room: of the coming batch, and of what was put since the last."""
        self._places: torch.Tensor | None = None  # (N heads,): where in `_flat` the coming batch's keys and values go; None: not known yet
        self._flat: list[tuple[torch.Tensor, ...]] = []  # keys, values; of each layer (R heads L, E)
        self._seen: list[tuple[torch.Tensor, ...]] = []  # keys, values; of each layer (N, heads, L, E)

    def put(self, row: int, read: Read) -> None:
        """Let a row begin with what was read; whatever was in its place before is gone."""
        self._width = max(self._width, up_to_step(read.shape[3] + 1))
        store = self._room(row + 1, read[0, 0])
        store[:, :, row] = 0  # masked or not, a NaN left there would spread
        store[:, :, row, :, : read.shape[3]] = read

    def clear(self, row: int) -> None:
        """Let a row begin with nothing."""
        if self._store is not None and row < self._store.shape[2]:
            self._store[:, :, row] = 0

    def move(self, source: int, target: int) -> None:
        """Let row `target` be what row `source` is."""
        if self._store is not None:
            self._store[:, :, target] = self._store[:, :, source]

    def begin(self, positions: torch.Tensor) -> torch.Tensor:
        """Say where the tokens (N,) of the coming batch go, and return the mask (N, 1, 1, L) of what they may see."""
        self._positions, self._places = positions, None
        self._width = up_to_step(int(positions.max() + 1))
        return (torch.arange(self._width, device=positions.device) <= positions[:, None])[:, None, None]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take a layer's keys and values of the batch, (N, heads, 1, E), and return all that its rows hold, (N, heads, L, E)."""
        if self._places is None:  # the same for all layers
            self._places = self._find(key_states)
        for flat, states in zip(self._flat, (key_states, value_states), strict=True):
            flat[layer_idx].index_copy_(0, self._places, states.reshape(-1, states.shape[-1]))
        keys, values = self._seen
        return keys[layer_idx], values[layer_idx]

    def _find(self, states: torch.Tensor) -> torch.Tensor:
        """Return where the states (N, heads, 1, E) of a layer go, and have ready what is written to and what is seen."""
        count, heads = states.shape[:2]
        store = self._room(count, states[0])
        self._flat = [side.flatten(1, 3).unbind(0) for side in store]
        self._seen = [side[:, :count, :, : self._width].unbind(0) for side in store]
        firsts = torch.arange(count * heads, device=states.device).mul_(store.shape[4])  # (N heads,)
        return firsts + self._positions.repeat_interleave(heads)

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return 0 if self._store is None else self._store.numel() * self._store.element_size()

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return 0: positions are always said, and are each row's own."""
        del layer_idx
        return 0

    def _room(self, rows: int, like: torch.Tensor) -> torch.Tensor:
        """Return the store with room for the first `rows`, all that there are, of heads like (heads, …, E).

        Where it must be made anew it is no larger than that, or a long row among few would leave its width to the many after it.
        """
        old, width = self._store, self._width
        if old is None or rows > old.shape[2] or width > old.shape[4]:
            self._flat = self._seen = []  # they would keep the old one
            self._store = like.new_zeros(2, self._depth, -(-rows // ROWS_STEP) * ROWS_STEP, like.shape[0], width, like.shape[-1])
            if old is not None:
                kept, seen = min(rows, old.shape[2]), min(width, old.shape[4])
                self._store[:, :, :kept, :, :seen] = old[:, :, :kept, :, :seen]
        assert self._store is not None  # noqa: S101 - for the type checker
        return self._store
