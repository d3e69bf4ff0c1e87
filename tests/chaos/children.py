"""A trainer (`--stay`) and a speaker (`--speak`) that need no model: what they make is a function of what they are told, and takes a while.

With `--quick` a line takes no time at all.

What a child owes its parent they owe to the trainer's own code: they can be cancelled, and end with whoever owns them.
"""

import hashlib
import os
import random
import sys
import time
from contextlib import suppress
from pathlib import Path

from trainer.process import Parent, Stop, lines_of_stdin
from trainer.protocol import Done, Failed, Job, Line, Message, Order, Ready, SpeechRequest, Spoken, Stage, Step, parse

STEPS, STEP_SECONDS = 12, 0.05
LINE_SECONDS = 0.02
WORDS = "amber barley cinder dapple ember fennel gravel heron kestrel lantern marrow otter pebble quarry".split()  # noqa: SIM905


def say(message: Message) -> None:
    print(message.to_json(), flush=True)


def train(order: Order, parent: Parent) -> None:
    """Train the jobs of an order side by side."""
    jobs = {job.id: job for job in (parse(Path(file).read_text()) for file in order.files) if isinstance(job, Job)}
    for name in jobs:
        say(Stage("train", job=name))
    for step in range(1, STEPS + 1):
        time.sleep(STEP_SECONDS)
        for name in list(filter(parent.cancelled, jobs)):
            del jobs[name]
            say(Failed("cancelled", "It was cancelled.", job=name))
        for name in jobs:
            say(Step(step, STEPS, 6 - step / STEPS, 1000.0, (STEPS - step) * STEP_SECONDS, job=name))
    for job in jobs.values():
        say(made(job))
    say(Ready())


def made(job: Job) -> Done:
    weights = Path(job.output) / "adapter.safetensors"
    weights.write_bytes(hashlib.sha256("".join(post.text for post in job.train).encode()).digest() * 300)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return Done(str(weights), digest, weights.stat().st_size, 6.0, 5.0, STEPS * STEP_SECONDS, [], {"adapter": {}}, job=job.id)


def speak(request: SpeechRequest) -> None:
    """Draw the lines of a request."""
    draw = random.Random(request.seed)
    for index in range(request.count):
        time.sleep(0 if "--quick" in sys.argv else LINE_SECONDS)
        text = f"{request.prompt or 'The'} {' '.join(draw.choices(WORDS, k=9))} again."
        say(Line(request.id, index, text, complete=True, log_likelihood=-2.0))
    say(Spoken(request.id))


def main() -> None:
    if "--stay" in sys.argv:
        parent = Parent()
        for order in parent.orders(Stop()):
            train(order, parent)
    for line in lines_of_stdin():
        if isinstance(request := parse(line), SpeechRequest):
            speak(request)


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main()
    os._exit(0)
