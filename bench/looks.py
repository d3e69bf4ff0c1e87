"""A contender's training by Hugging Face's Trainer with a Course at its side, from before its first step to its result as a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainingArguments

from bench.common import Course, Result, Task, held_out, resident, resident_gpu, stored, synchronise
from bench.turns import clock


class Looks(TrainerCallback):
    """Starts a course when training begins and steps it along."""

    def __init__(self, course: Course) -> None:
        self._course = course

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self._course.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self._course.step(state.global_step)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self._course.step(state.global_step, last=True)


class TimedTrainer(Trainer):
    """A Trainer that knows how long its evaluations took."""

    evaluating = 0.0

    def evaluate(self, *arguments: Any, **options: Any) -> Any:
        synchronise()
        began = clock()
        result = super().evaluate(*arguments, **options)
        self.evaluating += clock() - began
        return result


def run(
    task: Task,
    model: Any,
    settings: dict[str, Any],
    *,
    step_tokens: int,
    tokens: int,
    epochs: int = 1,
    callbacks: Sequence[TrainerCallback] = (),
    **data: Any,
) -> None:
    """Train a model, save it, and write the result.

    Args:
        task: What is to be done.
        model: What is trained.
        settings: TrainingArguments beside those that all contenders have.
        step_tokens: Learned from in a step, about.
        tokens: Learned from in what the Trainer calls an epoch.
        epochs: Of the task, that one of the Trainer's holds.
        callbacks: The contender's own.
        **data: Datasets, collator and so on, as the Trainer takes them.
    """
    gpu = task.device != "cpu"
    shared: dict[str, Any] = {
        "lr_scheduler_type": "cosine",
        "logging_steps": 5,
        "seed": task.seed,
        "report_to": "none",
        "disable_tqdm": True,
    }
    arguments = TrainingArguments(**shared, use_cpu=not gpu, dataloader_pin_memory=gpu, **settings)
    course = Course(lambda: held_out(model, task), task.look_every // step_tokens)
    trainer = TimedTrainer(model=model, args=arguments, callbacks=[Looks(course), *callbacks], **data)
    trainer.train()
    seconds = course.seconds
    trainer.save_model(task.output)
    ready, aside, memory = clock(), course.aside, resident()
    passed = trainer.state.epoch or 0.0
    Result(
        ready=ready,
        aside=aside,
        seconds=seconds,
        stepping=seconds - trainer.evaluating,
        tokens=round(tokens * passed),
        steps=trainer.state.global_step,
        epochs=epochs * passed,
        memory=memory,
        memory_gpu=resident_gpu(),
        stored=stored(Path(task.output)),
        before=course.curve[0][2],
        final=held_out(model, task),
        curve=course.curve,
        stop_loss=trainer.state.best_metric,
    ).write(task.result)
