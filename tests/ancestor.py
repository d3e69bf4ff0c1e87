"""A folder such as the ancestor left on the hub: GPT-2 of small random weights, its card in the old template."""

# ruff: noqa: E402 - the environment comes before the imports that read it

import json
from pathlib import Path

from trainer import process

process.quiet_libraries()  # before transformers is imported

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from trainer import tiny

TASK = {
    "do_sample": True,
    "max_length": 160,
    "min_length": 10,
    "prefix": "<|endoftext|>",
    "temperature": 1.0,
    "top_p": 0.95,
}
_CARD = """\
---
language: en
thumbnail: http://www.huggingtweets.com/{handles}/1601264283484/predictions.png
tags:
- huggingtweets
widget:
- text: "My dream is"
---

<div class="inline-flex flex-col" style="line-height: 1.5;">
    <div class="flex">
        <div
\t\t\tstyle="display:inherit; width: 92px; height:92px; background-image: url(&#39;https://pbs.twimg.com/a.jpg&#39;)">
        </div>
    </div>
    <div style="text-align: center; margin-top: 3px; font-size: 16px; font-weight: 800">🤖 AI BOT 🤖</div>
    <div style="text-align: center; font-size: 16px; font-weight: 800">{names}</div>
    <div style="text-align: center; font-size: 14px;">@{handles}</div>
</div>

I was made with [huggingtweets](https://github.com/borisdayma/huggingtweets).

## Training data

The model was trained on tweets from {names}.

| Data | {columns} |
| --- | {rules} |
| Tweets downloaded | {downloaded} |
| Retweets | {retweets} |
| Short tweets | {short} |
| Tweets kept | {kept} |

[Explore the data](https://wandb.ai/wandb/huggingtweets/runs/1/artifacts), which is tracked with W&B artifacts.
"""


def card(handles: str, **columns: tuple[int, int, int, int]) -> str:
    """Return a card in the old template: for each name (underscores are spaces) downloaded, retweets, short and kept."""
    names = [name.replace("_", " ") for name in columns]
    rows = dict(zip(("downloaded", "retweets", "short", "kept"), zip(*columns.values(), strict=True), strict=True))
    return _CARD.format(
        handles=handles,
        names=" & ".join(names),
        columns=" | ".join(names),
        rules=" | ".join("---" for _ in names),
        **{name: " | ".join(map(str, row)) for name, row in rows.items()},
    )


def model(seed: int = 0, **changes: object) -> GPT2LMHeadModel:
    """Return the model in memory."""
    settings = {"vocab_size": 257, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512, "bos_token_id": 0, "eos_token_id": 0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(GPT2Config(**settings | changes, task_specific_params={"text-generation": TASK})).eval()


def write(folder: Path, *, pickled: bool = True, readme: str = "", seed: int = 0) -> Path:
    """Write such a folder, its weights as the ancestor's: a pickle, with the masks of old versions and the tied output layer."""
    folder.mkdir(parents=True)
    tiny.write_byte_tokenizer(folder)
    made = model(seed)
    made.save_pretrained(folder)
    if pickled:
        (folder / "model.safetensors").unlink()
        state = made.state_dict()
        for layer in range(2):
            state[f"transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 512, 512, dtype=torch.uint8).tril()
            state[f"transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
        torch.save(state, folder / "pytorch_model.bin")
    (folder / "generation_config.json").unlink(missing_ok=True)  # it came years later
    config = json.loads((folder / "config.json").read_text()) | {"task_specific_params": {"text-generation": TASK}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text(readme or card("ann", Ann=(342, 167, 33, 142)), encoding="utf-8")
    (folder / "training_args.bin").write_bytes(b"a pickle that nobody opens")
    return folder
