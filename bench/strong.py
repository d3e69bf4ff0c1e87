"""Contender (b): what somebody who knows the libraries well would run today.

    python -m bench.strong TASK.json

Hugging Face's Trainer and peft: LoRA of rank 16, alpha 32, on all linear layers; each batch one flat row of whole posts, no padding,
no attention between posts (position ids that start again tell transformers where a post begins, where no attention mask is given);
about 512 tokens a step, AdamW, a cosine with 5 % warm-up over three epochs, the stop split evaluated after each epoch, stopped after
the first that is no better, the best reloaded. The learning rate is the task's: bench/train.py runs several and counts the one that
was best on the stop split. fp32 on a CPU; on a GPU a bf16 base, autocast, and fp32 LoRA.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft import LoraConfig, get_peft_model
from transformers import DataCollatorWithFlattening, EarlyStoppingCallback, set_seed

from bench.common import Task, encode, load
from bench.looks import run

RANK, ALPHA, EPOCHS, TOKENS, WARM_UP = 16, 32, 3, 512, 0.05


def features(posts: Sequence[Sequence[int]], separator: int, longest: int) -> list[dict[str, Any]]:
    """Return each post as the collator wants it, with the end of text on both sides, cut to `longest` tokens."""
    return [{"input_ids": [separator, *post, separator][:longest]} for post in posts if post]


def targets_of(dataset: Sequence[dict[str, Any]]) -> int:
    """Return how many tokens are learned from in one epoch: all but the first of each post."""
    return sum(len(feature["input_ids"]) - 1 for feature in dataset)


def main() -> None:
    task = Task.read(sys.argv[1])
    gpu = task.device != "cpu"
    base, tokenizer = load(task.source, task.cache, half=gpu)
    settings_lora = LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear")
    set_seed(task.seed)  # the Trainer does so, too, when the first LoRA weights are drawn already
    model = get_peft_model(base, settings_lora)
    train, stop = (features(encode(tokenizer, posts), task.separator, task.row + 1) for posts in (task.train, task.stop))
    targets = targets_of(train)
    posts_per_step = max(1, round(TOKENS * len(train) / targets))
    steps_per_epoch = -(-len(train) // posts_per_step)
    settings = {
        "output_dir": str(Path(task.output).with_name("checkpoints")),
        "num_train_epochs": task.epochs,
        "per_device_train_batch_size": posts_per_step,
        "per_device_eval_batch_size": posts_per_step,
        "learning_rate": task.rate,
        "warmup_steps": round(WARM_UP * task.epochs * steps_per_epoch),
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "save_only_model": True,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
        "prediction_loss_only": True,
        "label_names": ["labels"],
        "remove_unused_columns": False,
        "bf16": gpu,
    }
    collator = DataCollatorWithFlattening()  # type: ignore[no-untyped-call]
    data: dict[str, Any] = {"train_dataset": train, "eval_dataset": stop, "data_collator": collator}
    patience = EarlyStoppingCallback(early_stopping_patience=1)
    run(task, model, settings, step_tokens=TOKENS, tokens=targets, callbacks=[patience], **data)


if __name__ == "__main__":
    main()
