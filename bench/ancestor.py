"""Contender (a): the recipe of huggingtweets, on any base (facts/huggingtweets.md 1.6, 1.7 and 2).

    python -m bench.ancestor TASK.json

Full fine-tuning by Hugging Face's Trainer: four epochs written out one after another, each in an order of its own, posts joined by
the end of text, cut into blocks of 1,024 tokens in which attention crosses posts, the last partial block dropped; batch 1,
1.372e-4 along a cosine without warm-up, all else the Trainer's defaults; fp32. It evaluates nothing and keeps its last weights.
"""

import random
import sys
from collections.abc import Sequence
from typing import Any

from transformers import default_data_collator

from bench.common import Task, encode, load
from bench.looks import run

RATE = 1.372e-4


def blocks(posts: Sequence[Sequence[int]], separator: int, block: int, epochs: int, seed: int) -> list[list[int]]:
    """Return the text of all epochs as blocks of `block` tokens; what is left over at the end is dropped."""
    order, draw = list(posts), random.Random(seed)
    text = [separator]
    for _ in range(epochs):
        draw.shuffle(order)
        for post in order:
            text += [*post, separator]
    return [text[start : start + block] for start in range(0, len(text) - block + 1, block)]


def main() -> None:
    task = Task.read(sys.argv[1])
    model, tokenizer = load(task.source, task.cache)
    dataset = [
        {"input_ids": block, "labels": block}
        for block in blocks(encode(tokenizer, task.train), task.separator, task.block, task.epochs, task.seed)
    ]
    if not dataset:
        sys.exit(f"The posts fill no block of {task.block} tokens: bring more posts or more epochs.")
    settings = {
        "output_dir": task.output,
        "num_train_epochs": 1,  # the text holds them all
        "per_device_train_batch_size": 1,
        "learning_rate": RATE,
        "warmup_steps": 0,
        "save_strategy": "no",
    }
    data: dict[str, Any] = {"train_dataset": dataset, "data_collator": default_data_collator, "processing_class": tokenizer}
    run(task, model, settings, step_tokens=task.block, tokens=len(dataset) * task.block, epochs=task.epochs, **data)


if __name__ == "__main__":
    main()
