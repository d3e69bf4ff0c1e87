"""Spending: the budget that every paid call to X goes through, with prices and caps from the settings."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlite_utils import Database

from bot.settings import X
from bot.x.port import Retry, XError
from data import spending
from data.spending import Caps, Kind, Share, Spent
from data.store import Store

READING = "reading @"
"""What the reasons begin with of what reading accounts costs, also once one is forgotten."""


@dataclass
class Charge:
    """What is put aside for one call."""

    most: int
    price: int
    """Of one, in micro-dollars."""
    count: int | None = None
    """How many X delivered; set it as soon as that is known. While it is None, `most` counts."""

    @property
    def cost(self) -> int:
        """What it is booked with, in micro-dollars."""
        return self.price * (self.most if self.count is None else self.count)


@dataclass(frozen=True)
class Overview:
    """What was spent, and what may be; amounts are micro-dollars."""

    caps: Caps
    today: list[Spent]
    month: list[Spent]

    @property
    def left(self) -> int:
        """What may still be spent today."""
        today, month = (sum(one.cost for one in spent) for spent in (self.today, self.month))
        return max(0, min(self.caps.day - today, self.caps.month - month))


class Budget:
    """The ledger, with the settings' prices and caps; any process may use it beside another."""

    def __init__(self, store: Store, x: X, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._x = x
        self._clock = clock

    @asynccontextmanager
    async def reserve(self, kind: Kind, most: int, why: str, account: str = "", share: Share | None = None) -> AsyncIterator[Charge]:
        """Put aside what a call costs at most, have it made inside, and settle what it delivered: `charge.count`.

        Without a count all that was put aside stays spent, for X may have delivered it. A refusal (an XError that is sure) costs nothing.

        Raises:
            BudgetError: a cap would be passed, or the share of its purpose; the call is not made.
        """
        charge = Charge(most, self.price(kind))
        number = await self._store.write(
            spending.reserve,
            kind,
            most,
            price=charge.price,
            why=why,
            account=account,
            caps=self.caps,
            at=self._clock(),
            share=share,
        )
        try:
            yield charge
        except XError as error:
            if charge.count is None and error.retry is not Retry.UNSURE:
                charge.count = 0
            raise
        finally:
            if charge.count is not None:
                await self._store.write(spending.settle, number, charge.count, self._clock())

    @property
    def reading(self) -> Share | None:
        """What reading may cost in a day; None: it has the caps alone."""
        cap = self._x.reading_daily_cap
        return None if cap is None else Share("reading_daily_cap", round(cap * spending.MICRO), READING)

    async def left_to_read(self) -> int:
        """Return the micro-dollars that may still be spent on reading today."""
        left = (await self.overview()).left
        if share := self.reading:
            spent = await self._store.read(spending.spent_on, share.why, spending.day(self._clock()))
            left = max(0, min(left, share.cap - spent))
        return left

    def price(self, kind: Kind) -> int:
        """Return what one costs, in micro-dollars."""
        return self._x.prices.micro(kind)

    def lacks(self, db: Database, kind: Kind) -> str | None:
        """Return why one more cannot be paid for now, or None; nothing is put aside."""
        now, caps = self._clock(), self.caps
        for name, cap, start in (("daily", caps.day, spending.day(now)), ("monthly", caps.month, spending.month(now))):
            if self.price(kind) > cap - spending.spent(db, start):
                return f"x.{name}_cap ({spending.dollars(cap)}) is used up"
        return None

    async def overview(self) -> Overview:
        """Return what was spent this UTC day and month, and the caps."""
        now = self._clock()
        return Overview(
            self.caps,
            await self._store.read(spending.by_kind, spending.day(now)),
            await self._store.read(spending.by_kind, spending.month(now)),
        )

    @property
    def caps(self) -> Caps:
        """The most that may be spent on X."""
        return Caps(round(self._x.daily_cap * spending.MICRO), round(self._x.monthly_cap * spending.MICRO))
