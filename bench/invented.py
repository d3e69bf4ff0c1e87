"""Voices that nobody trained: LoRA of a voice's real shape, drawn from a seed, as Mynah stores them and as peft does.

They say nothing of anybody, and cost what a voice costs. But lines of a base that learned nothing seldom end by themselves. Where it
matters how long lines are, a trained voice is the pattern: its weights, each number moved a little, which the seed says how.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from trainer import lora, weights
from trainer.bases import Base
from trainer.files import sha256_of
from trainer.lora import Lora
from trainer.mixing import Mixed, mixing
from trainer.recipe import ALPHA_PER_RANK, STORED_RANK

SIZE = 0.01
"""Standard deviation of B's numbers: the model says other things, and still words."""
NOISE = 0.05
"""Standard deviation of what B's numbers are multiplied by, around 1, where there is a pattern."""


@dataclass(frozen=True)
class Voice:
    """A voice on disk."""

    weights: str
    """Path of its file of weights."""
    sha256: str
    bytes: int


#: Done.details of an invented voice, as far as a speaker looks at it.
DETAILS = {"adapter": {"rank": STORED_RANK, "scale": float(ALPHA_PER_RANK)}}


def tensors_of(base: Base, seed: int, pattern: Lora | None = None) -> weights.Tensors:
    """Return an invented voice as the tensors of its file; without a pattern, A is an untrained LoRA's, and B small and not nothing."""
    source = torch.Generator().manual_seed(seed)
    if pattern:
        return weights.pack({name: (a, b * (1 + NOISE * torch.randn(b.shape, generator=source))) for name, (a, b) in pattern.items()})
    drawn = {
        name: ((torch.rand(a, generator=source) * 2 - 1) * a[1] ** -0.5, torch.randn(b, generator=source) * SIZE)
        for name, (a, b) in lora.shapes(base.layers, STORED_RANK).items()
    }
    return weights.pack(drawn)


def voices(base: Base, seeds: Sequence[int], folder: Path, pattern: Lora | None = None) -> list[Voice]:
    """Write the voices of these seeds into a folder, each into one of its own, and return them in order."""
    made = []
    for seed in seeds:
        own = folder / str(seed)
        own.mkdir(parents=True, exist_ok=True)
        path, sha256, size = weights.save(tensors_of(base, seed, pattern), own)
        made.append(Voice(str(path), sha256, size))
    return made


def lora_in(file: Path) -> Lora:
    """Return what a voice's file holds, fp32."""
    stored = weights.read(file, sha256_of(file)).lora
    assert stored is not None
    return stored


def save_for_peft(voice: Voice, folder: Path) -> None:
    """Write the same weights, as they come back from the int8 of Mynah's file, into a folder that peft reads."""
    stored = lora_in(Path(voice.weights))
    folder.mkdir(parents=True, exist_ok=True)
    sides = {
        f"base_model.model.{name}.lora_{side}.weight": part for name, pair in stored.items() for side, part in zip("AB", pair, strict=True)
    }
    save_file({name: part.contiguous() for name, part in sides.items()}, folder / "adapter_model.safetensors")
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": STORED_RANK,
        "lora_alpha": STORED_RANK * ALPHA_PER_RANK,
        "lora_dropout": 0.0,
        "target_modules": sorted({name.rpartition(".")[2] for name in stored}),
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))


@torch.no_grad()
def logits(base: Base, made: Sequence[Voice], ids: Sequence[int]) -> torch.Tensor:
    """Return Mynah's own logits after these tokens, of all voices mixed in one batch, as a speaker mixes them: (S, V), fp32."""
    voices = [(weights.fit(lora_in(Path(voice.weights)), base), float(ALPHA_PER_RANK)) for voice in made]
    mixed = Mixed(base.readers, voices, base.device, base.model.dtype)
    mixed.put_on([place for place in range(len(made)) for _ in ids])
    with mixing(base.layers, mixed):
        tokens = torch.tensor([list(ids)] * len(made), device=base.device)  # (S, T)
        found: torch.Tensor = base.model(input_ids=tokens, use_cache=False).logits
        return found[:, -1].float().contiguous()
