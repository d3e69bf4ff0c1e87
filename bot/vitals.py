"""What a process knows of its own life and writes into no row: how late its loop is, how soon Discord hears of it, who slows it down.

Whoever has something to tell tells it here, and knows nothing of who asks (bot/monitor.py). There is one of it, as a process has one loop,
one set of children and one connection.
"""

import asyncio
from bisect import bisect_left
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from time import monotonic

BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0)
"""Seconds; Discord takes no acknowledgement after three."""
MOST_OPEN = 10_000  # interactions whose acknowledgement is waited for; older ones get none any more
LOOK_SECONDS = 0.5  # between two looks at the loop
LAGS = 120
"""How many of the newest looks at the loop count."""


class Vitals:
    """Counters since the process began, and how it stands now."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._arrived: OrderedDict[str, float] = OrderedDict()
        self._lags: deque[float] = deque(maxlen=LAGS)
        self.acknowledged = [0] * (len(BOUNDS) + 1)
        """How many acknowledgements took at most so long, and longer than the bound before; the last: longer than all."""
        self.acknowledged_seconds = 0.0
        self.rate_limited: Counter[str] = Counter()
        """Answers of 429, by who gave them."""
        self.started: Counter[str] = Counter()
        """Children, by kind."""
        self.connections = 0
        """To Discord that were made, or made again."""
        self._down: dict[int, float] = {}
        """Since when which of the connections to Discord is missing."""
        self.in_discord = False
        """It is to be connected."""

    def interaction_arrived(self, number: str) -> None:
        """Begin to wait for an interaction's acknowledgement."""
        self._arrived[number] = self._clock()
        while len(self._arrived) > MOST_OPEN:
            self._arrived.popitem(last=False)

    def interaction_acknowledged(self, number: str) -> None:
        """Count how long an acknowledgement took; one of an interaction that did not arrive here does not count."""
        if (arrived := self._arrived.pop(number, None)) is not None:
            seconds = self._clock() - arrived
            self.acknowledged[bisect_left(BOUNDS, seconds)] += 1
            self.acknowledged_seconds += seconds

    def gateway(self, *, up: bool, shard: int = 0) -> None:
        """Take note that a connection to Discord is there, or is to be and is not."""
        self.in_discord = True
        if up:
            self.connections += 1
            self._down.pop(shard, None)
        else:
            self._down.setdefault(shard, self._clock())

    @property
    def gateway_down_seconds(self) -> float:
        """For how long a connection to Discord has been missing, the longest; 0 where none is."""
        return max((self._clock() - since for since in self._down.values()), default=0.0)

    async def watch_the_loop(self) -> None:
        """Take note of how late the loop is, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            self.late(loop.time() - due)

    def late(self, seconds: float) -> None:
        """Take note of how much later than asked for the loop came to something."""
        self._lags.append(max(0.0, seconds))

    @property
    def loop_lag(self) -> float:
        """Return the longest that the loop was late, of the newest looks; seconds."""
        return max(self._lags, default=0.0)


VITALS = Vitals()
