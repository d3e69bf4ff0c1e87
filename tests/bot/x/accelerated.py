"""`mynah run` in a time that passes quicker, with a voice that needs no model: `python -m tests.bot.x.accelerated CONFIG START FACTOR`.

What the services ask is a clock like any other, and APScheduler's is put in the place of its own from outside. Waiting is as long as ever:
the event loop, the sender's pauses and its time limits go by real seconds, so that nothing is spared that a real day has.
"""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import apscheduler.schedulers.base

from bot.app import Mynah
from bot.log import configure_logging
from bot.serve import serve
from bot.settings import Secrets, Settings, load_secrets, load_settings
from trainer.protocol import Line, SpeechRequest

WORDS = [
    "amber",
    "barley",
    "cinder",
    "dapple",
    "ember",
    "fennel",
    "gravel",
    "heron",
    "kestrel",
    "lantern",
    "marrow",
    "otter",
    "pebble",
    "quarry",
]


class Clock:
    """A time that began at a moment of its own and passes so many times quicker."""

    def __init__(self, start: datetime, factor: float) -> None:
        self._start, self._factor, self._began = start, factor, time.monotonic()

    def __call__(self) -> datetime:
        return self._start + timedelta(seconds=(time.monotonic() - self._began) * self._factor)


class Voice:
    """Says words that nobody wrote, and none twice."""

    async def speak(self, request: SpeechRequest) -> AsyncIterator[Line]:
        draw = random.Random(request.seed)
        for index in range(request.count):
            yield Line(request.id, index, f"The {' '.join(draw.choices(WORDS, k=8))} again.", complete=True, log_likelihood=-2.0)

    async def close(self) -> None:
        pass


def keep_time_by(clock: Clock) -> None:
    """Have APScheduler ask this clock."""

    class Quicker(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return clock().astimezone(tz or UTC)

    apscheduler.schedulers.base.datetime = Quicker


def main(config: str, start: str, factor: str) -> None:
    """Run until SIGTERM."""
    configure_logging()
    settings, secrets = load_settings(Path(config)), load_secrets()
    clock = Clock(datetime.fromisoformat(start), float(factor))
    keep_time_by(clock)

    def make(settings: Settings, secrets: Secrets) -> Mynah:
        return Mynah(settings, secrets, speaker=Voice(), clock=clock)  # type: ignore[arg-type]

    asyncio.run(serve(settings, secrets, make))


if __name__ == "__main__":
    main(*sys.argv[1:])
