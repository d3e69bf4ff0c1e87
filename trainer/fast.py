"""Parts of a transformers model, exchanged for equal ones that cost less on the machine at hand.

Attention: grouped-query heads are read where they are, instead of being copied for each query head first.
RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467): forward and backward in six passes over memory instead of some twenty.
Products with few rows: a frozen matrix lies in memory as oneDNN reads it, instead of being brought into order for each product; in
8-bit integers, if they are wanted, for then a step of decoding waits for memory more than for anything else.
Measured in docs/benchmarks.md.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

ATTENTION = "mynah"
_ONE_DNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
PACKED_FOR = 64
"""Rows for which the order of a packed matrix is chosen; with others it is hardly slower."""
#: Whether products of 8-bit integers are quicker here, and exact: without VNNI the processor adds them up in 16 bits.
INTEGERS: bool = _ONE_DNN and torch.cpu._is_vnni_supported()  # noqa: SLF001
_BLOCK = 64
_FEW, _STEP_OF_FEW, _STEP = 64, 4, 16
_TINY = 1e-30


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
    if query.shape[2] == 1 and not dropout:
        # One position, as in decoding: heads that read the same keys stand side by side as if they were positions.
        parted = query.reshape(query.shape[0], key.shape[1], -1, query.shape[3])  # (B, G, H/G, E)
        if query.device.type == "cpu" and query.dtype == torch.float32 and not _threads_agree():
            mixed = _plainly(parted, key, value, attention_mask, scaling)
        else:
            mixed = functional.scaled_dot_product_attention(parted, key, value, attn_mask=attention_mask, scale=scaling)
        return mixed.reshape(query.shape[0], 1, query.shape[1], query.shape[3]), None
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


@cache
def _threads_agree() -> bool:
    """Say whether a row of torch's attention is the same, bit for bit, whichever thread has it: on Intel's processors, and not on AMD's."""
    query, key = (torch.arange(8 * 3 * rows * 64.0).mul_(0.7).sin_().view(8, 3, rows, 64) for rows in (3, 64))
    whole = functional.scaled_dot_product_attention(query, key, key)
    return all(torch.equal(functional.scaled_dot_product_attention(query[:n], key[:n], key[:n]), whole[:n]) for n in range(1, 8))


def _plainly(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float | None) -> torch.Tensor:
    """Return (…, T, E) for queries (…, T, E), keys and values (…, S, E), by two products, each row's the same in any company."""
    scores = (query @ key.transpose(-1, -2)).mul_(scale or query.shape[-1] ** -0.5)  # (…, T, S)
    if mask is not None:
        scores = scores.masked_fill_(~mask, -math.inf) if mask.dtype == torch.bool else scores.add_(mask)
    return scores.softmax(-1) @ value


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


class RmsNorm(nn.Module):
    """x · w / sqrt(mean(x²) + ε) over the last axis, with a frozen w."""

    def __init__(self, weight: torch.Tensor, epsilon: float) -> None:
        super().__init__()
        self.weight = weight
        self._epsilon = epsilon
        self._alone = torch.tensor(epsilon, dtype=weight.dtype, device=weight.device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalised x, of the same shape (…, D)."""
        if not torch.is_grad_enabled():
            # F.rms_norm takes 12 times as long on a CPU for 512 rows (docs/benchmarks.md).
            norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)  # (…, 1)
            return (x * torch.addcmul(self._alone, norm, norm, value=1 / x.shape[-1]).rsqrt_()).mul_(self.weight)
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
        with torch.no_grad():
            quicker = ours(x)
        wanted = module(x)
        if all(torch.allclose(found, wanted, rtol=1e-5, atol=1e-5) for found in (ours(x), quicker)):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, ours)


def _filled(x: torch.Tensor) -> torch.Tensor:
    """Return x (N, in) with rows of zeros behind it, up to one of few numbers of rows.

    For each number oneDNN compiles another program, in 0.5 ms, and keeps a thousand of them, which is a fifth of a gigabyte.
    """
    missing = -len(x) % (_STEP_OF_FEW if len(x) <= _FEW else _STEP)
    return functional.pad(x, (0, 0, 0, missing)) if missing else x


class Product:
    """x Wᵀ with a frozen W, for the few rows of decoding.

    On a CPU in fp32, where torch has oneDNN; a row of the result is then the same, bit for bit, however many others there are, from
    two on. Of the library that serves plain products that is not true. A call costs 25 µs: for a LoRA's narrow matrices too much.
    """

    def __init__(self, matrix: torch.Tensor, *, packed: bool = True) -> None:
        """Take W (out, in); not `packed`, it is used as it lies there."""
        packs = packed and matrix.device.type == "cpu" and matrix.dtype == torch.float32 and _ONE_DNN
        self.plain = None if packs else matrix
        """W, where it is used as it lies."""
        self.bytes = matrix.numel() * matrix.element_size() if packs else 0
        """Memory that it takes where it is packed."""
        # What torch.compile uses for frozen weights; the public way (to_mkldnn) would copy x and the result, too.
        self._packed = torch.ops.mkldnn._reorder_linear_weight(matrix.contiguous(), PACKED_FOR) if packs else None  # noqa: SLF001

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, out) for x (N, in)."""
        if self.plain is not None:
            return x @ self.plain.T
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(_filled(x), self._packed, None, "none", [], "")  # noqa: SLF001
        return product[: len(x)]


class IntegerProduct:
    """x Wᵀ with a frozen W in 8-bit integers, each row with a scale of its own, and x turned into such: a quarter of the memory to read.

    A few columns of x are far greater than the others and would set the scale for all. So both are turned by an orthogonal matrix first,
    a block of columns at a time, which leaves the product as it is and spreads them (QuaRot, Ashkboos et al. 2024, arXiv:2404.00456).
    Sums of integers are exact: a row of the result is the same, bit for bit, however many others there are, from two on.
    """

    def __init__(self, matrix: torch.Tensor) -> None:
        """Take W (out, in), fp32 on a CPU."""
        self._turn = _hadamard(matrix.shape[1])  # (block, block)
        self._block = self._turn.shape[0]
        turned = self._turned(matrix)
        self._scales = turned.abs().amax(1).clamp_min_(_TINY).div_(127)  # (out,)
        self._zeros = torch.zeros(len(self._scales), dtype=torch.long)
        integers = turned.div_(self._scales[:, None]).round_().to(torch.int8)
        # What torch.compile uses for quantised weights. `torch.ao`'s own tensors are going away.
        self._packed = torch.ops.onednn.qlinear_prepack(integers, [PACKED_FOR, matrix.shape[1]])
        self._multiply = torch.ops.onednn.qlinear_pointwise.default  # by its overload: which one is meant would be asked at each call
        self.plain: torch.Tensor | None = None
        """W, where it is used as it lies: it is not."""
        self.bytes = integers.numel()
        """Memory that it takes."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, out) for x (N, in)."""
        turned = self._turned(_filled(x))
        scales = turned.abs().amax(1, keepdim=True).clamp_min_(_TINY).div_(127)  # (N, 1)
        # What VNNI multiplies with signed numbers is unsigned; and to cut off 128.5 is to round.
        unsigned = turned.div_(scales).add_(128.5).to(torch.uint8)
        product: torch.Tensor = self._multiply(
            unsigned, 1.0, 128, self._packed, self._scales, self._zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return product.mul_(scales)[: len(x)]

    def _turned(self, x: torch.Tensor) -> torch.Tensor:
        """Return x (N, in), turned; a tensor of its own."""
        turned: torch.Tensor = (x.reshape(-1, self._block) @ self._turn).view(x.shape)
        return turned


def _hadamard(columns: int) -> torch.Tensor:
    """Return Sylvester's Hadamard matrix, made orthogonal, of the greatest size that divides a number of columns, at most a block's."""
    matrix = torch.ones(1, 1)
    while len(matrix) < _BLOCK and columns % (2 * len(matrix)) == 0:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix / math.sqrt(len(matrix))


Pack = Callable[[torch.Tensor], Product | IntegerProduct]
"""Makes a frozen matrix (out, in) into what multiplies by it."""


def packing(device: torch.device, *, integers: bool) -> Pack:
    """Return the form in which a device decodes quickest; integers, if they are wanted and pay there."""
    return IntegerProduct if integers and INTEGERS and device.type == "cpu" else Product


class PackedLinear(nn.Module):
    """A frozen linear layer without bias, such as the output layer."""

    def __init__(self, product: Product | IntegerProduct) -> None:
        super().__init__()
        self.product = product

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (…, out) for x (…, in)."""
        return self.product(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], -1)
