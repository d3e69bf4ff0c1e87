"""What a training moves: the LoRA of a voice, or, for parity with the ancestor, every weight of the base."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch

from trainer import lora, recipe, weights
from trainer.bases import Base
from trainer.errors import BadJob
from trainer.lora import Lora

MOST_BYTES = 1 << 30
"""Of a full model as it is stored."""
Snapshot = list[torch.Tensor]


class Trainable(ABC):
    """The weights of one training."""

    parameters: list[torch.Tensor]
    """What the optimizer moves; each has its gradient from the beginning."""

    def snapshot(self) -> Snapshot:
        """Return a copy of the parameters, on their device."""
        return [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def put_back(self, snapshot: Snapshot) -> None:
        """Set the parameters to such a copy."""
        for parameter, copy in zip(self.parameters, snapshot, strict=True):
            parameter.copy_(copy)

    def forget_gradients(self) -> None:
        """Set the gradients to 0, where they are."""
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad.zero_()

    @abstractmethod
    def stored(self) -> weights.Tensors:
        """Return the weights as they are stored."""

    @abstractmethod
    def wear_stored(self, tensors: weights.Tensors) -> None:
        """Set the weights to what comes back from the store; training is over then.

        Raises:
            ValueError: it is of something else.
        """


class LoraWeights(Trainable):
    """A LoRA whose matrices are parts of one long vector: the optimizer sees one parameter, a checkpoint is one tensor.

    As Hu et al. begin it, B is 0, so that the model is as it was, and A is drawn from the seed (uniform, as a linear layer's).
    fp32 on any device.
    """

    def __init__(self, base: Base, plan: recipe.Resolved, start: Lora | None) -> None:
        self._plan = plan
        shapes = lora.shapes(base.layers, plan.rank)
        flat = torch.zeros(sum(a[0] * a[1] + b[0] * b[1] for a, b in shapes.values()))
        source = torch.Generator().manual_seed(plan.seed)
        place = 0
        for (rank, width), (height, _) in shapes.values():
            bound = width**-0.5
            flat[place : place + rank * width].uniform_(-bound, bound, generator=source)
            place += rank * width + height * rank
        flat = flat.to(base.device)
        flat.grad = torch.zeros_like(flat)
        self.parameters = [flat]
        self.lora: Lora = dict(_views(flat, flat.grad, shapes))
        if start:
            self._begin_with(start)

    @torch.no_grad()
    def _begin_with(self, start: Lora) -> None:
        for name, (a, b) in weights.cut(start, self._plan.rank).items():
            ours, rank = self.lora[name], a.shape[0]
            ours[0][:rank] = a
            ours[1][:, :rank] = b

    def stored(self) -> weights.Tensors:
        """Return the LoRA as it is stored."""
        return weights.pack(weights.cut(self.lora, self._plan.stored_rank))

    def wear_stored(self, tensors: weights.Tensors) -> None:
        """Take the LoRA that comes back from the store, of its rank."""
        back = weights.unpack(tensors).lora
        if back is None:
            raise ValueError("no LoRA")
        device = self.parameters[0].device
        self.lora = {name: (a.to(device), b.to(device)) for name, (a, b) in back.items()}


def _views(
    flat: torch.Tensor, gradient: torch.Tensor, shapes: dict[str, tuple[tuple[int, int], tuple[int, int]]]
) -> Iterator[tuple[str, lora.Pair]]:
    place = 0
    for name, pair in shapes.items():
        leaves = []
        for shape in pair:
            part = slice(place, place + shape[0] * shape[1])
            leaf = flat[part].view(shape).requires_grad_()
            leaf.grad = gradient[part].view(shape)  # autograd adds to it in place
            leaves.append(leaf)
            place = part.stop
        yield name, (leaves[0], leaves[1])


class FullWeights(Trainable):
    """Every weight of a base that is loaded for this training alone."""

    def __init__(self, base: Base) -> None:
        self._model = base.model
        self.parameters = [*base.model.parameters()]  # tied ones once
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)

    def stored(self) -> weights.Tensors:
        """Return the weights as they are stored, tied ones once."""
        return weights.pack_full(dict(self._model.named_parameters()))

    def wear_stored(self, tensors: weights.Tensors) -> None:
        """Set the weights to what comes back from the store."""
        load_full(self._model, weights.unpack(tensors).full or {})


def load_full(model: torch.nn.Module, tensors: weights.Tensors) -> None:
    """Set a model's weights.

    Raises:
        ValueError: names or shapes are another model's.
    """
    own = dict(model.named_parameters())
    if {name: tensor.shape for name, tensor in own.items()} != {name: tensor.shape for name, tensor in tensors.items()}:
        raise ValueError("names or shapes differ")
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def refuse_too_large(base: Base) -> None:
    """Refuse a full training whose weights could not be stored.

    Raises:
        BadJob: they would take more than MOST_BYTES.
    """
    size = sum(parameter.numel() for parameter in base.model.parameters())  # a byte each
    if size > MOST_BYTES:
        raise BadJob(
            f"All weights of {base.name} would take {size / 1e6:,.0f} MB, more than {MOST_BYTES / 1e6:,.0f} MB: use the method lora."
        )


@contextmanager
def wearing(base: Base, trainables: Sequence[Trainable]) -> Iterator[None]:
    """Let the base speak with these weights until the block ends; one that is trained in full always does."""
    voices = [one for one in trainables if isinstance(one, LoraWeights)]
    with lora.wearing(base.layers, [one.lora for one in voices], float(recipe.ALPHA_PER_RANK)) if voices else nullcontext():
        yield
