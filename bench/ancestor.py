"""Contender (a): the recipe of huggingtweets, on any base (facts/huggingtweets.md 1.6, 1.7 and 2).

    python -m bench.ancestor TASK.json

Full fine-tuning by Hugging Face's Trainer: four epochs written out one after another, each in an order of its own, posts joined by
the end of text, cut into blocks of 1,024 tokens in which attention crosses posts, the last partial block dropped; batch 1,
1.372e-4 along a cosine without warm-up, all else the Trainer's defaults; fp32. It evaluates nothing and keeps its last weights.
"""

import random
import sys
from collections.abc import Sequence
from pathlib import Path

from transformers import TrainingArguments, default_data_collator

from bench.common import Course, Result, Task, encode, held_out, load, resident, resident_gpu, stored
from bench.looks import Looks, TimedTrainer
from bench.turns import clock

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
    course = Course(lambda: held_out(model, task), task.look_every // task.block)
    settings = TrainingArguments(
        output_dir=task.output,
        num_train_epochs=1,  # the text holds them all
        per_device_train_batch_size=1,
        learning_rate=RATE,
        lr_scheduler_type="cosine",
        warmup_steps=0,
        logging_steps=5,
        save_strategy="no",
        seed=task.seed,
        report_to="none",
        disable_tqdm=True,
        use_cpu=task.device == "cpu",
        dataloader_pin_memory=task.device != "cpu",
    )
    trainer = TimedTrainer(
        model=model,
        args=settings,
        train_dataset=dataset,
        data_collator=default_data_collator,
        processing_class=tokenizer,
        callbacks=[Looks(course)],
    )
    trainer.train()
    seconds = course.seconds
    trainer.save_model(task.output)
    ready, aside, memory = clock(), course.aside, resident()
    steps = trainer.state.global_step
    Result(
        ready=ready,
        aside=aside,
        seconds=seconds,
        stepping=seconds,
        tokens=steps * task.block,
        steps=steps,
        epochs=task.epochs,
        memory=memory,
        memory_gpu=resident_gpu(),
        stored=stored(Path(task.output)),
        before=course.curve[0][2],
        final=course.curve[-1][2],
        curve=course.curve,
    ).write(task.result)


if __name__ == "__main__":
    main()
