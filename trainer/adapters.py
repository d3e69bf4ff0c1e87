"""LoRA weights: put onto a base, taken off as bf16 tensors, written as adapter.safetensors and read back, checked.

The names inside the file are peft's, so it is also an `adapter_model.safetensors` for whoever has peft and the settings.
"""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as dump_safetensors

from trainer.bases import Base
from trainer.errors import BadWeights, first_line
from trainer.files import write_atomically

FILE = "adapter.safetensors"
Weights = dict[str, torch.Tensor]


def settings_for(base: Base, rank: int, alpha: int) -> dict[str, Any]:
    """Return the arguments of peft's LoraConfig, fit for JSON: LoRA on every linear layer, biases and embeddings untouched."""
    targets, transposed = base.lora_targets()
    return {"r": rank, "lora_alpha": alpha, "target_modules": targets, "fan_in_fan_out": transposed, "lora_dropout": 0.0, "bias": "none"}


def attach(base: Base, settings: dict[str, Any], seed: int) -> PeftModel:
    """Put a new LoRA onto the base, which it changes in place: `base.model` runs with it from here on.

    Its second matrices are 0, so the model is as it was; the first are drawn from the seed. It is fp32 on any device.
    """
    torch.manual_seed(seed)
    return _wrap(base, LoraConfig(task_type="CAUSAL_LM", **settings))


def trainable(wrapped: PeftModel) -> list[torch.nn.Parameter]:
    """Return the LoRA matrices that training moves."""
    return [parameter for parameter in wrapped.parameters() if parameter.requires_grad]


def weights_of(wrapped: PeftModel, dtype: torch.dtype | None = None) -> Weights:
    """Return a copy of the LoRA matrices, on the CPU, as they are or in another dtype."""
    # save_embedding_layers=False: peft would otherwise ask the hub whether the vocabulary grew.
    state = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    return {name: tensor.detach().to("cpu", dtype, copy=True).contiguous() for name, tensor in state.items()}


def put_back(wrapped: PeftModel, weights: Weights) -> None:
    """Set the LoRA matrices to a copy that `weights_of` returned."""
    set_peft_model_state_dict(wrapped, weights)


def save(weights: Weights, folder: Path) -> tuple[Path, str, int]:
    """Write the weights into a folder, whole or not at all, and return the file's path, sha256 and bytes."""
    path = folder / FILE
    content = dump_safetensors(weights)
    write_atomically(path, content)
    return path, hashlib.sha256(content).hexdigest(), len(content)


def read(path: Path, sha256: str) -> Weights:
    """Return stored weights, fp32, because a CPU multiplies bf16 many times more slowly.

    Raises:
        BadWeights: the file is missing, is not what `sha256` says, or is no safetensors file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadWeights(f"The weights {path} cannot be read ({error.strerror}): write them anew from the store.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BadWeights(f"The weights {path} are not those that were trained (their sha256 differs): write them anew from the store.")
    try:
        return {name: tensor.float() for name, tensor in parse_safetensors(content).items()}
    except SafetensorError as error:
        raise BadWeights(f"The weights {path} are no safetensors file: write them anew from the store.") from error


def add(base: Base, wrapped: PeftModel | None, name: str, settings: object, weights: Weights) -> PeftModel:
    """Put a stored LoRA onto the base under a name, beside those of `wrapped`, and return the model that holds them all.

    Raises:
        BadWeights: settings and weights do not fit each other or this base, which may be half changed then: load it anew.
    """
    if not isinstance(settings, dict) or settings.keys() != settings_for(base, 1, 1).keys():
        raise BadWeights("The settings of these weights are not a LoRA of this version of Mynah: train the voice again.")
    try:
        config = LoraConfig(task_type="CAUSAL_LM", inference_mode=True, **settings)
        # low_cpu_mem_usage: no random matrices are drawn only to be overwritten.
        if wrapped is None:
            wrapped = _wrap(base, config, adapter_name=name, low_cpu_mem_usage=True)
        else:
            wrapped.add_adapter(name, config, low_cpu_mem_usage=True)
        wanted = get_peft_model_state_dict(wrapped, adapter_name=name, save_embedding_layers=False)
        if {key: tensor.shape for key, tensor in wanted.items()} != {key: tensor.shape for key, tensor in weights.items()}:
            raise ValueError("names or shapes differ")
        set_peft_model_state_dict(wrapped, weights, adapter_name=name, low_cpu_mem_usage=True)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise BadWeights(f"These weights do not fit the base {base.name} ({first_line(error)}): train the voice again.") from error
    return wrapped


def _wrap(base: Base, config: LoraConfig, **options: Any) -> PeftModel:
    with warnings.catch_warnings():
        # peft asks for an attribute that transformers is renaming.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        return PeftModel(base.model, config, **options)
