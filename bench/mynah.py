"""Contender (c): Mynah, twice over the same job.

python -m bench.mynah TASK.json JOB.json wait     as its users run it: `python -m trainer --job FILE`, from exec to Done
python -m bench.mynah TASK.json JOB.json looks    once more, with looks at the report split between its steps, their time off the
                                                  clock, which the protocol has no place for
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.common import Course, Result, Task, held_out, resident
from bench.turns import clock
from trainer.protocol import Done, Evaluation, Failed, Job, Message, Sample, Stage, Step, parse


def run(job: Path) -> Result:
    """Train a job file as a user would, and return what its events and its process told; `aside` is 0, and there is no curve.

    Raises:
        SystemExit: it failed.
    """
    events = _Events()
    with subprocess.Popen([sys.executable, "-m", "trainer", "--job", str(job)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                events.hear(parse(line.decode()), resident(child.pid))
        finally:
            child.kill()
    done = events.done
    if done is None:
        sys.exit(f"Mynah did not finish ({events.failure or 'it died without a word'}).")
    details = done.details
    planned = details["steps_planned"]
    return Result(
        ready=events.ready,
        aside=0.0,
        seconds=events.seconds,
        stepping=events.stepping,
        tokens=details["targets"]["learned"],
        steps=details["steps"],
        epochs=details["recipe"]["epochs"] * details["steps"] / planned,
        memory=events.memory,
        memory_gpu=details["memory_gpu"],
        stored=done.bytes,
        before=done.loss_before,
        final=done.loss_after,
        curve=[],
    )


class _Events:
    """What a trainer said, and when."""

    def __init__(self) -> None:
        self.done: Done | None = None
        self.failure = ""
        self.ready = 0.0
        self.memory = 0
        self.seconds = 0.0
        self.stepping = 0.0
        self._last = 0.0
        self._training = False

    def hear(self, message: Message, memory: int) -> None:
        now = clock()
        passed, self._last = now - self._last, now
        self.memory = max(self.memory, memory)
        if self._training:
            self.seconds += passed
            # Between a step and an evaluation, and between an evaluation and its sample, nothing is learned.
            self.stepping += passed if not isinstance(message, Evaluation | Sample | Stage) else 0.0
        match message:
            case Stage():
                self._training = message.name == "train"
            case Done():
                self.done, self.ready = message, now
            case Failed():
                self.failure = message.sentence


def mynah_curve(job: Job, task: Task) -> Course:
    """Train a job in this process and return its course. The one place that knows the trainer's inside."""
    from trainer import process

    process.quiet_libraries()
    from trainer.recipe import TOKENS_PER_STEP
    from trainer.train import Bases, train

    course: Course | None = None
    planned = 0

    def emit(message: Message) -> None:
        nonlocal planned
        match message:
            case Step(steps=steps):
                planned = steps
            case Failed(sentence=sentence):
                sys.exit(sentence)

    def watch(step: int, model: Any) -> None:
        """Called with 0 before the first step, and after each; the model wears what it has learned by then."""
        nonlocal course
        if course is None:
            course = Course(lambda: held_out(model, task), task.look_every // TOKENS_PER_STEP["lora"])
            course.start()
        course.step(step, last=step == planned)

    train([job], Bases(), emit, lambda: None, watch=watch)
    assert course is not None
    return course


def main() -> None:
    task, job = Task.read(sys.argv[1]), parse(Path(sys.argv[2]).read_text(encoding="utf-8"))
    assert isinstance(job, Job)
    if sys.argv[3] == "wait":
        run(Path(sys.argv[2])).write(task.result)
    else:
        task.result.write_text(json.dumps(mynah_curve(job, task).curve), encoding="utf-8")


if __name__ == "__main__":
    main()
