"""The ledger of what X is paid for: reserved before a call is made, settled to what it delivered, and never beyond the caps."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlite_utils import Database

from data.errors import BudgetError
from data.store import insert, stamp

MICRO = 1_000_000  # micro-dollars to a dollar: prices are thousandths, and floats do not add up


class Kind(StrEnum):
    """What X takes money for; the settings' price table has these names."""

    POSTS_READ = "posts_read"
    OWN_POSTS_READ = "own_posts_read"
    USERS_READ = "users_read"
    POSTS_WRITTEN = "posts_written"
    POSTS_WITH_LINK_WRITTEN = "posts_with_link_written"
    REPLIES_WRITTEN = "replies_written"


@dataclass(frozen=True)
class Caps:
    """The most that may be spent in a UTC day and in a UTC month, in micro-dollars."""

    day: int
    month: int


@dataclass(frozen=True)
class Share:
    """The most of a UTC day's money that may be spent for one purpose."""

    name: str
    """Of the setting."""
    cap: int
    """Micro-dollars."""
    why: str
    """What the reasons of its rows begin with."""


@dataclass(frozen=True)
class Spent:
    """What one kind of thing has cost since some moment."""

    kind: Kind
    count: int
    """How many; of what is not settled, as many as were reserved."""
    cost: int
    """Micro-dollars."""
    open: int
    """Of `cost`, what is reserved and not settled: under way, or left by a process that died."""


def dollars(micro: int) -> str:
    """Say an amount: whole cents as such, less to the last digit that counts."""
    text = f"{micro / MICRO:,.6f}".rstrip("0")
    whole, _, part = text.partition(".")
    return f"${whole}.{part:0<2}"


def day(moment: datetime) -> datetime:
    """Return when the UTC day of a UTC moment began."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def month(moment: datetime) -> datetime:
    """Return when the UTC month of a UTC moment began."""
    return day(moment).replace(day=1)


def reserve(
    db: Database, kind: Kind, most: int, *, price: int, why: str, account: str, caps: Caps, at: datetime, share: Share | None = None
) -> int:
    """Put aside what a call can cost at most, of the share of its purpose if it has one, and return the row's number.

    Raises:
        BudgetError: a cap would be passed; nothing was put aside, and the call must not be made.
    """
    cost = price * most
    limits = [("daily", "day", caps.day, spent(db, day(at))), ("monthly", "month", caps.month, spent(db, month(at)))]
    if share:
        limits.append((share.name.removesuffix("_cap"), "day", share.cap, spent_on(db, share.why, day(at))))
    for name, span, cap, gone in limits:
        left = max(cap - gone, 0)
        if cost > left:
            raise BudgetError(
                f"This may cost {dollars(cost)} ({why}), and x.{name}_cap ({dollars(cap)}) leaves {dollars(left)}:"
                f" wait for the next UTC {span}, or raise the cap in config.toml."
            )
    row = {"at": stamp(at), "account": account, "kind": kind, "why": why, "price": price, "most": most}
    return insert(db, "spending", row)


def settle(db: Database, number: int, count: int, at: datetime) -> None:
    """Write down how many were delivered, once; 0 gives back all that was reserved."""
    db.conn.execute("UPDATE spending SET count = ?, settled_at = ? WHERE id = ? AND count IS NULL", [count, stamp(at), number])


def spent(db: Database, since: datetime) -> int:
    """Return the micro-dollars spent and reserved since a moment.

    What stands in the future, because the clock was ahead, counts as well: it was paid all the same.
    """
    (cost,) = db.execute("SELECT COALESCE(SUM(cost), 0) FROM spending WHERE at >= ?", [stamp(since)]).fetchone()
    return int(cost)


def spent_on(db: Database, why: str, since: datetime) -> int:
    """Return the micro-dollars spent and reserved since a moment for reasons that begin so."""
    sum_ = "SELECT COALESCE(SUM(cost), 0) FROM spending WHERE at >= ? AND substr(why, 1, ?) = ?"
    (cost,) = db.execute(sum_, [stamp(since), len(why), why]).fetchone()
    return int(cost)


def by_kind(db: Database, since: datetime) -> list[Spent]:
    """Return what each kind has cost since a moment, those alone of which there was any, the dearest first."""
    rows = db.query(
        "SELECT kind, SUM(COALESCE(count, most)) AS count, SUM(cost) AS cost, SUM(CASE WHEN count IS NULL THEN cost ELSE 0 END) AS open"
        " FROM spending WHERE at >= ? GROUP BY kind HAVING SUM(COALESCE(count, most)) > 0 ORDER BY SUM(cost) DESC, kind",
        [stamp(since)],
    )
    return [Spent(**row | {"kind": Kind(row["kind"])}) for row in rows]
