"""Lines go before trainings: these stand still while lines are drawn, at most half of the time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from bot.executors.port import Executor

STILL_SECONDS = 8.0  # in one piece; on two cores an answer takes two
LEAST_SECONDS = 1.0


class Precedence:
    """Stops executors' trainers while anything is drawn.

    For each second that trainings stand still they then run for one, so that they come to their end however much is asked: an answer
    that takes less than STILL_SECONDS by itself does not take longer for a training, unless many were asked just before.
    """

    def __init__(self, *executors: Executor) -> None:
        self._executors = executors
        self._waiting = 0
        self._keeper: asyncio.Task[None] | None = None
        self._credit = STILL_SECONDS
        self._running_since = monotonic()

    @asynccontextmanager
    async def wanted(self) -> AsyncIterator[None]:
        """Let trainings stand still inside the block."""
        self._waiting += 1
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_still())
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                keeper, self._keeper = self._keeper, None
                keeper.cancel()
                await asyncio.wait([keeper])

    async def _keep_still(self) -> None:
        while True:
            self._credit = min(STILL_SECONDS, self._credit + monotonic() - self._running_since)
            self._running_since = monotonic()
            if self._credit < LEAST_SECONDS:
                await asyncio.sleep(LEAST_SECONDS - self._credit)
                continue
            try:
                for executor in self._executors:
                    executor.pause()
                await asyncio.sleep(self._credit)
            finally:
                for executor in self._executors:
                    executor.resume()
                self._credit -= monotonic() - self._running_since
                self._running_since = monotonic()
