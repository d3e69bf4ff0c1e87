"""Hugging Face's Trainer with a Course at its side: it looks between steps, and the time of the Trainer's own evaluations is kept."""

from typing import Any

from transformers import Trainer, TrainerCallback

from bench.common import Course, synchronise
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
