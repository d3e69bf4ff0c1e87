"""The machine's own peak: the most floating-point operations a second that a plain matrix product reaches on it."""

import time

import torch
from torch import nn

#: (rows, in, out): two of the embedded base's layers at 512 tokens, its output layer, and a large square.
SHAPES = ((512, 576, 1536), (512, 1536, 576), (512, 576, 49152), (2048, 2048, 2048))
SHAPES_GPU = (*SHAPES, (8192, 8192, 8192))
SECONDS = 1.0
"""For which each is tried."""


def best_product(device: str, *, small: bool = False) -> float:
    """Return FLOP/s of the best of some products: fp32 on a CPU, bf16 on a GPU; `small`: of one product, tried once."""
    gpu = device != "cpu"
    shapes, seconds = (SHAPES[:1], 0.0) if small else (SHAPES_GPU if gpu else SHAPES, SECONDS)
    return max(_product(*shape, device=device, dtype=torch.bfloat16 if gpu else torch.float32, seconds=seconds) for shape in shapes)


def _product(rows: int, inner: int, outer: int, *, device: str, dtype: torch.dtype, seconds: float) -> float:
    a, b = torch.randn(rows, inner, device=device, dtype=dtype), torch.randn(outer, inner, device=device, dtype=dtype)
    out = torch.empty(rows, outer, device=device, dtype=dtype)
    turns = 20 if device != "cpu" else 1
    best, end = 0.0, time.monotonic() + seconds
    for warm in range(1 << 30):
        began = time.perf_counter()
        for _ in range(turns):
            torch.mm(a, b.T, out=out)
        if device != "cpu":
            torch.cuda.synchronize()
        passed = time.perf_counter() - began
        if warm:
            best = max(best, 2 * rows * inner * outer * turns / passed)
            if time.monotonic() > end:
                break
    return best


def matrix_parameters(model: nn.Module) -> int:
    """Return N: the weights that stand in a matrix product for every token, the output layer's included, the embedding's look-up not."""
    weights = (getattr(module, "weight", None) for module in model.modules() if not isinstance(module, nn.Embedding))
    return sum(weight.numel() for weight in weights if weight is not None and weight.dim() == 2)


def useful(parameters: int, tokens: int, *, full: bool) -> int:
    """Return the floating-point operations that learning from `tokens` takes.

    2 N a token forward, 2 N backward through the activations, and for full fine-tuning 2 N more for the gradients of the weights.
    Not counted: attention's own products, LoRA's (under 3 % at rank 16), norms, the optimizer, evaluations, padding, and whatever
    a contender computes twice. What a contender saves by not computing it (output columns, frozen layers) is not taken off.
    """
    return (6 if full else 4) * parameters * tokens
