"""Rivals (p) and (h): Hugging Face's own ways to speak with several voices, one line after another.

    python -m bench.rival_hf WORK.json peft         one base with every adapter loaded, set_adapter and generate() for each line
    python -m bench.rival_hf WORK.json pipeline     a text-generation pipeline for each voice, its LoRA merged into a base of its own

The second pays nothing for LoRA and a whole base of memory for each voice; nothing of that is held against it but the memory.
fp32 on a CPU, bf16 on a GPU, as the speaker.
"""

import copy
import sys
from collections.abc import Callable
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import pipeline

from bench.common import load
from bench.rivals import Work, serve

Say = Callable[[], int]


def begin(work: Work) -> tuple[dict[str, Any], Say]:
    torch.manual_seed(work.seed)
    base, tokenizer = load(work.source, work.cache, speaks=True)
    wanted = load_file(work.logits)["logits"]  # (S, V)
    probe = torch.tensor([work.probe])
    bare = _last(base, probe)
    ways = {"peft": _peft, "pipeline": _pipeline}
    found, say = ways[sys.argv[2]](work, tokenizer, base, probe)
    told = {"differs": (found - wanted).abs().max().item(), "moved": (wanted - bare).abs().max().item()}
    return told, say


def _peft(work: Work, tokenizer: Any, base: Any, probe: torch.Tensor) -> tuple[torch.Tensor, Say]:
    names = [str(place) for place in range(len(work.adapters))]
    model: Any = PeftModel.from_pretrained(base, work.adapters[0], adapter_name=names[0])
    for name, folder in zip(names[1:], work.adapters[1:], strict=True):
        model.load_adapter(folder, adapter_name=name)
    found = []
    for name in names:
        model.set_adapter(name)
        found.append(_last(model, probe))
    _place(model, work)
    ids = torch.tensor([work.ids], device=work.device)
    settings = _settings(work) | {"pad_token_id": tokenizer.eos_token_id, "attention_mask": torch.ones_like(ids)}

    def say() -> int:
        said = 0
        for name in names:
            model.set_adapter(name)
            with torch.no_grad():
                said += model.generate(input_ids=ids, **settings).shape[1] - ids.shape[1]
        return said

    return torch.cat(found), say


def _pipeline(work: Work, tokenizer: Any, base: Any, probe: torch.Tensor) -> tuple[torch.Tensor, Say]:
    bases = [copy.deepcopy(base) for _ in work.adapters[1:]] + [base]  # no more than one a voice: their memory is told
    merged = [PeftModel.from_pretrained(own, folder).merge_and_unload() for own, folder in zip(bases, work.adapters, strict=True)]
    found = torch.cat([_last(model, probe) for model in merged])
    for model in merged:
        _place(model, work)
    pipelines = [pipeline("text-generation", model=model, tokenizer=tokenizer, device=work.device) for model in merged]
    text = tokenizer.decode(work.ids)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == work.ids
    settings = _settings(work) | {"add_special_tokens": False, "return_tensors": True}

    def say() -> int:
        return sum(len(one(text, **settings)[0]["generated_token_ids"]) - len(work.ids) for one in pipelines)

    return found, say


def _settings(work: Work) -> dict[str, Any]:
    return {
        "do_sample": True,
        "temperature": work.temperature,
        "top_k": work.top_k,
        "top_p": work.top_p,
        "min_new_tokens": work.tokens,
        "max_new_tokens": work.tokens,
    }


def _place(model: Any, work: Work) -> None:
    model.to(device=work.device, dtype=torch.float32 if work.device == "cpu" else torch.bfloat16)


@torch.no_grad()
def _last(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=tokens, use_cache=False).logits
    return logits[:, -1].float()


if __name__ == "__main__":
    serve(begin)
