"""A voice's weights as a file: int8 with a scale for each row, in safetensors, written whole and read back checked.

The first Mynah kept a LoRA as peft does, in bf16 under peft's names: such files are still read.

A LoRA is first cut to the rank that is stored: of all matrices of that rank the singular value decomposition gives the one
closest to B A (Eckart & Young 1936). Training likes a wider one than remembering needs; docs/benchmarks.md has both losses.
The base itself came with 4 bits a weight, so that 8 lose nothing that can be measured; what a training reports is measured with
the weights as they come back from here.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as dump_safetensors

from trainer.bases import Base
from trainer.errors import BadWeights, first_line
from trainer.files import write_atomically
from trainer.lora import Lora

FILE = "adapter.safetensors"
Tensors = dict[str, torch.Tensor]
PEFT = "base_model.model."
"""What peft puts before the name of a layer."""
_A, _B, _SCALE = ".lora_A", ".lora_B", ".scale"


@dataclass(frozen=True)
class Stored:
    """What a file holds, fp32: the LoRA of a voice, or every weight of its model."""

    lora: Lora | None
    full: Tensors | None


@torch.no_grad()
def cut(lora: Lora, rank: int) -> Lora:
    """Return the LoRA of at most `rank` whose products B A are closest to those of `lora`, fp32 on the CPU."""
    return {name: _cut(a.detach().cpu().float(), b.detach().cpu().float(), rank) for name, (a, b) in lora.items()}


def _cut(a: torch.Tensor, b: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    if a.shape[0] <= rank:
        return a.clone(), b.clone()
    wide, right = torch.linalg.qr(a.T)  # (in, r), (r, r)
    tall, left = torch.linalg.qr(b)  # (out, r), (r, r)
    u, s, v = torch.linalg.svd(left @ right.T)
    root = s[:rank].sqrt()  # shared by both sides, so that both use the 8 bits alike
    return root[:, None] * (v[:rank] @ wide.T), (tall @ u[:, :rank]) * root


def pack(lora: Lora) -> Tensors:
    """Return a LoRA as the tensors of a file: for each layer A and B in int8, with a scale for each of their ranks."""
    tensors: Tensors = {}
    for name, (a, b) in lora.items():
        tensors |= _rounded(name + _A, a, 1) | _rounded(name + _B, b, 0)
    return tensors


def pack_full(state: Mapping[str, torch.Tensor]) -> Tensors:
    """Return a model's weights as the tensors of a file: matrices in int8 with a scale for each row, the rest in fp32."""
    tensors: Tensors = {}
    for name, tensor in state.items():
        whole = tensor.detach().cpu().float()
        tensors |= _rounded(name, whole, 1) if whole.dim() == 2 else {name: whole}
    return tensors


def _rounded(name: str, tensor: torch.Tensor, axis: int) -> Tensors:
    scale = tensor.abs().amax(axis, keepdim=True) / 127
    levels = (tensor / scale.clamp_min(torch.finfo(torch.float32).tiny)).round_().to(torch.int8)
    return {name: levels.contiguous(), name + _SCALE: scale.contiguous()}


def unpack(tensors: Tensors) -> Stored:
    """Return what `pack`, `pack_full` or the first Mynah packed, fp32.

    Raises:
        KeyError: a part is missing.
    """
    whole = {
        _own(name): tensor.float() * tensors[name + _SCALE] if tensor.dtype == torch.int8 else tensor.float()
        for name, tensor in tensors.items()
        if not name.endswith(_SCALE)
    }
    if not any(name.endswith(_A) for name in whole):
        return Stored(None, whole)
    names = [name.removesuffix(_A) for name in whole if name.endswith(_A)]
    return Stored({name: (whole[name + _A], whole[name + _B]) for name in names}, None)


def _own(name: str) -> str:
    """Return our name of a tensor that may be peft's."""
    plain = name.removesuffix(".weight")
    return plain.removeprefix(PEFT) if plain.endswith((_A, _B)) else name


def scale(settings: Mapping[str, Any]) -> float:
    """Return what a stored LoRA's products are multiplied by; `settings` are Done.details' of the adapter, or peft's of the first Mynah."""
    return float(settings["scale"] if "scale" in settings else settings["lora_alpha"] / settings["r"])


def save(tensors: Tensors, folder: Path) -> tuple[Path, str, int]:
    """Write the tensors into a folder, whole or not at all, and return the file's path, sha256 and bytes."""
    path = folder / FILE
    content = dump_safetensors(tensors)
    write_atomically(path, content)
    return path, hashlib.sha256(content).hexdigest(), len(content)


def read(path: Path, sha256: str) -> Stored:
    """Return stored weights.

    Raises:
        BadWeights: the file is missing, is not what `sha256` says, or holds something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadWeights(f"The weights {path} cannot be read ({error.strerror}): write them anew from the store.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BadWeights(f"The weights {path} are not those that were trained (their sha256 differs): write them anew from the store.")
    try:
        return unpack(parse_safetensors(content))
    except (SafetensorError, KeyError) as error:
        raise BadWeights(f"The weights {path} hold something else ({first_line(error)}): train the voice again.") from error


def fit(lora: Lora, base: Base) -> Lora:
    """Return a stored LoRA on the base's device, in one block of memory.

    So many small ones, of voices that come and go, would leave holes between what stays.

    Raises:
        BadWeights: it was made for another base, or holds what is no number.
    """
    wanted = {name: (layer.in_features, layer.out_features) for name, layer in base.layers.items()}
    found = {name: (a.shape[1], b.shape[0]) for name, (a, b) in lora.items()}
    if wanted != found:
        raise BadWeights(f"These weights do not fit the base {base.name}: train the voice again.")
    # In a batch, 0 times a NaN of this voice would be a NaN for all.
    if not all(tensor.isfinite().all() for pair in lora.values() for tensor in pair):
        raise BadWeights("These weights hold what is no number: train the voice again.")
    block = torch.cat([tensor.reshape(-1) for pair in lora.values() for tensor in pair]).to(base.device)
    parts = iter(torch.split(block, [tensor.numel() for pair in lora.values() for tensor in pair]))
    return {name: (next(parts).view_as(a), next(parts).view_as(b)) for name, (a, b) in lora.items()}
