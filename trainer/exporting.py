"""A voice as a folder that needs nothing of Mynah: its weights merged into the base, or its LoRA as peft keeps it.

A post was learned as `<opening> post <separator>`. So that a bare prompt stands where a post begins, the tokenizer of the folder puts
the opening before every text; the separator, and a newline, which no post holds, end a line. A list of messages becomes an answer:
the chat template is the frame in which the voice learned to answer (trainer/frames.py), and not that of the base.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers.processors import TemplateProcessing
from transformers import GenerationConfig, PreTrainedTokenizerFast

from trainer import bases, trainable, weights, whole
from trainer.bases import Base
from trainer.errors import BadJob, BadWeights, first_line
from trainer.lora import Lora
from trainer.process import Check
from trainer.protocol import HUB_NAMES, Export, Exported, Sampling

CPU = torch.device("cpu")
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"


def export_model(order: Export, check: Check) -> Exported:
    """Write what an order says into its folder.

    Raises:
        BadJob: the LoRA of a model that has none is asked for.
        BadWeights: the stored weights are missing or not those of the model.
        BaseUnavailable: the base is not there.
    """
    folder = Path(order.output)
    settings = order.details.get("adapter")
    if order.adapter and not settings:
        raise BadJob("This version has every weight of its own and no adapter: export it whole.")
    base = _base(order, check)
    opening = base.decode([base.opening])
    said = HUB_NAMES.get(order.base) or (Path(order.base).name if order.base.startswith(("/", ".", "~")) else order.base)  # no path
    if settings:
        stored = weights.read(Path(order.weights), order.sha256)
        if stored.lora is None:
            raise BadWeights("These weights are a full model's, and their card says LoRA: train the voice again.")
        lora, scale = weights.fit(stored.lora, base), weights.scale(settings)
        if order.adapter:
            return Exported(said, opening, _write_adapter(folder, base, said, lora, scale))
        _merge(base, lora, scale)
    check()
    _write_tokenizer(folder, base)
    _configure(base, order.sampling)
    # One file: whoever reads the folder with less than transformers need not know of shards.
    base.model.save_pretrained(folder, max_shard_size="64GB")
    return Exported(said, opening, (folder / "model.safetensors").stat().st_size)


def _base(order: Export, check: Check) -> Base:
    """Return the base of an order, its weights fp32, whole and its own to change; with those of the model where it has all of them."""
    if order.details.get("whole"):
        return whole.load(Path(order.weights), order.sha256, order.base, CPU, trainable=True)
    base = bases.load(order.base, Path(order.cache), CPU, lambda _: None, check, trainable=True)
    if not order.details.get("adapter"):
        try:
            trainable.load_full(base.model, weights.read(Path(order.weights), order.sha256).full or {})
        except ValueError as error:
            raise BadWeights(f"These weights do not fit the base {base.name} ({first_line(error)}): train the voice again.") from error
    return base


@torch.no_grad()
def _merge(base: Base, lora: Lora, scale: float) -> None:
    for name, (a, b) in lora.items():
        base.layers[name].matrix.add_((b @ a) * scale)  # a view, also of what GPT-2 keeps as (in, out)


def _write_adapter(folder: Path, base: Base, said: str, lora: Lora, scale: float) -> int:
    """Write the two files of a peft folder, and return the bytes of the larger."""
    tensors: weights.Tensors = {}
    for name, (a, b) in lora.items():
        tensors |= {f"{weights.PEFT}{name}.lora_A.weight": a.contiguous(), f"{weights.PEFT}{name}.lora_B.weight": b.contiguous()}
    rank = next(iter(lora.values()))[0].shape[0]
    config = {
        "base_model_name_or_path": said,
        "bias": "none",
        "fan_in_fan_out": any(layer.transposed for layer in base.layers.values()),
        "inference_mode": True,
        "lora_alpha": scale * rank,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": sorted({name.rpartition(".")[2] for name in lora}),
        "task_type": "CAUSAL_LM",
    }
    save_file(tensors, folder / ADAPTER, {"format": "pt"})
    _write_json(folder / ADAPTER_CONFIG, config)
    return (folder / ADAPTER).stat().st_size


def _write_tokenizer(folder: Path, base: Base) -> None:
    opening, separator = (str(base.tokenizer.convert_ids_to_tokens(id_)) for id_ in (base.opening, base.separator))
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=base.tokenizer.backend_tokenizer,
        bos_token=opening,
        eos_token=separator,
        pad_token=separator,
        clean_up_tokenization_spaces=False,
        model_max_length=base.context,
        padding_side="left",
    )
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{opening} $A", special_tokens=[(opening, base.opening)])
    before, after = (json.dumps(base.decode(ids), ensure_ascii=False) for ids in base.turns)
    tokenizer.chat_template = f"{{{{ {before} + messages[-1]['content'] + {after} }}}}"
    tokenizer.save_pretrained(folder)
    # transformers 5 writes a class that those before it do not know, and knows this one too.
    said = json.loads((folder / whole.TOKENIZER_CONFIG).read_bytes())
    _write_json(folder / whole.TOKENIZER_CONFIG, said | {"tokenizer_class": "PreTrainedTokenizerFast"})


def _configure(base: Base, sampling: Sampling) -> None:
    """Say in the model's configurations how its lines begin, end and are drawn."""
    newline = base.tokenizer("\n", add_special_tokens=False)["input_ids"]
    drawn: dict[str, Any] = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    drawn |= {"min_p": sampling.min_p} if sampling.min_p else {}
    drawn |= {"repetition_penalty": sampling.repetition_penalty} if sampling.repetition_penalty != 1 else {}
    drawn |= {"no_repeat_ngram_size": sampling.no_repeat_ngram} if sampling.no_repeat_ngram else {}
    drawn["max_new_tokens"] = sampling.max_tokens
    if not sampling.temperature:  # nothing is drawn then
        drawn = {"do_sample": False, "max_new_tokens": sampling.max_tokens}
    ends = [base.separator, *newline] if len(newline) == 1 else base.separator
    base.model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=base.opening, eos_token_id=ends, pad_token_id=base.separator, **drawn
    )
    config = base.model.config
    config.bos_token_id, config.eos_token_id, config.pad_token_id = base.opening, base.separator, base.separator
    # As the ancestor said it, for programs that read it there; without its prefix, which the tokenizer puts there.
    config.task_specific_params = {"text-generation": drawn}


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
