"""Paging: an account's newest posts from X into the store, page by page, each paid for through the budget and none of them twice."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlite_utils import Database

from bot.errors import BadRequestError, BudgetError
from bot.services.spending import Budget, Charge
from bot.x.port import PAGE, REACH, SMALLEST_PAGE, Page, User, XError, XReader
from data import accounts, consents, timelines
from data.consents import Ground
from data.spending import Kind, dollars
from data.store import Store
from data.timelines import Gap, Timeline

LONGEST_NAME = 15  # that X looks up; older accounts have up to 20
#: In a row, after which no more are asked for: X leaves retweets out after it has cut a timeline into pages, so some come empty.
EMPTY_PAGES = REACH // PAGE


@dataclass(frozen=True)
class Estimate:
    """The most that reading costs."""

    posts: int
    cost: int
    """Micro-dollars, look-ups included; 0 where nothing is paid for."""


Tell = Callable[[str, Estimate], None]


@dataclass
class Read:
    """What reading an account gave."""

    handle: str
    posts: int = 0
    """That came; from X, that were paid for."""
    new: int = 0
    """Of these, those that were not stored before."""
    cost: int = 0
    """Micro-dollars."""
    more: bool = False
    """Whether older posts are there that were not read."""
    problems: list[str] = field(default_factory=list)
    """Why it ended early, or posts were not given: a sentence each."""


def cost(budget: Budget, posts: int, *, look_ups: int) -> int:
    """Return what posts and look-ups cost, in micro-dollars."""
    return posts * budget.price(Kind.POSTS_READ) + look_ups * budget.price(Kind.USERS_READ)


class Paging:
    """One reading of one account."""

    def __init__(self, store: Store, budget: Budget, x: XReader, handle: str, *, by: str, ground: Ground | None, posts: int) -> None:
        """Make it; nothing is asked yet.

        Args:
            store: where to.
            budget: what it is paid from.
            x: what is asked.
            handle: whose posts, as it is stored.
            by: who claims the consent.
            ground: on what ground, with the first page that is stored; None: it is claimed already.
            posts: how many of the newest are to be there when it ends, retweets not counted.
        """
        self._store = store
        self._budget = budget
        self._x = x
        self._by = by
        self._ground = ground
        self._wanted = posts
        self._most = 0
        self._read = Read(handle)
        self._charges: list[Charge] = []

    async def run(self, tell: Tell | None) -> Read:
        """Read, and store each page with the progress that it is.

        Args:
            tell: hears whose posts are read and the most that it costs, once X has said how many there are.

        Raises:
            BadRequestError: there is no such account, or it is another one now, or its posts are protected.
            BudgetError, XError: nothing was read.
        """
        read = self._read
        known = await self._store.read(timelines.get, read.handle)
        await self._afford(SMALLEST_PAGE, look_ups=1)  # else the look-up would be paid for in vain
        user = await self._look_up(known)
        gaps = await self._store.read(timelines.gaps, read.handle)
        self._most = await self._store.read(_most, read.handle, user, known, gaps, self._wanted)
        await self._afford(self._most, look_ups=0)
        if tell:
            tell(read.handle, Estimate(self._most, self._cost + cost(self._budget, self._most, look_ups=0)))
        try:
            for gap in gaps:
                await self._fill(user, gap)
        except (BudgetError, XError) as error:
            if not read.posts:
                raise
            read.problems.append(f"{error} What came before that is stored, and is not paid for again.")
        if not read.posts and read.handle not in await self._store.read(accounts.known_handles):
            raise BadRequestError(f"X gives no posts of @{read.handle}: there are none, or retweets alone.")
        read.cost = self._cost
        read.more = len(await self._store.read(timelines.gaps, read.handle)) > 1
        return read

    @property
    def _cost(self) -> int:
        return sum(charge.cost for charge in self._charges)

    async def _look_up(self, known: Timeline | None) -> User:
        """Return the account, which must be the one that was read before."""
        name = self._read.handle
        if len(name) > LONGEST_NAME:
            raise BadRequestError(f"X looks up names of at most {LONGEST_NAME} characters, so @{name} cannot be read: import a file of it.")
        user = await self._user(name=name)
        if user is None and known:
            user = await self._user(number=known.x_id)
            if user is None:
                raise BadRequestError(f"@{name} is no longer on X: if its owner deleted it, `mynah forget {name}` does the same here.")
            raise BadRequestError(f"@{name} is called @{user.handle} on X now: ask for that name; what is stored of @{name} stays.")
        if user is None:
            raise BadRequestError(f"There is no @{name} on X: check the spelling, or whether it was renamed or deleted.")
        if known and known.x_id != user.id:
            raise BadRequestError(
                f"@{name} on X is another account now than the one that was read before, so it is not read:"
                f" `mynah forget {name}` makes room for it."
            )
        if user.protected:
            raise BadRequestError(f"The posts of @{name} are protected, so they are not read: its owner can give you the archive.")
        return user

    async def _user(self, *, name: str = "", number: str = "") -> User | None:
        async with self._budget.reserve(Kind.USERS_READ, 1, f"looking up @{self._read.handle}") as charge:
            self._charges.append(charge)
            user = await (self._x.user(name) if name else self._x.user_by_id(number))
            charge.count = 1 if user else 0
        return user

    async def _afford(self, posts: int, *, look_ups: int) -> None:
        """Refuse what may pass a cap on the way, before any of it is paid for."""
        needed, left = cost(self._budget, posts, look_ups=look_ups), (await self._budget.overview()).left
        if needed <= left:
            return
        said = f"Reading @{self._read.handle} may cost {dollars(needed)} ({posts:,} posts), and {dollars(left)} may still be spent today"
        paid_for = left // self._budget.price(Kind.POSTS_READ) if self._budget.price(Kind.POSTS_READ) else 0
        if SMALLEST_PAGE <= paid_for < posts:
            raise BudgetError(f"{said}: ask for {paid_for:,} posts at most, or raise x.daily_cap or x.monthly_cap in config.toml.")
        raise BudgetError(f"{said}: raise x.daily_cap or x.monthly_cap in config.toml.")

    async def _fill(self, user: User, gap: Gap) -> None:
        """Read a gap from its newest end, until it is closed or enough is there."""
        read, asked_until, token, empty = self._read, gap.until_id, None, 0
        while True:
            have = await self._store.read(timelines.stored_from, read.handle, gap.until_id)
            size = min(PAGE, self._wanted - have, self._most - read.posts)
            if size < SMALLEST_PAGE:
                return
            async with self._budget.reserve(Kind.POSTS_READ, size, f"reading @{read.handle}") as charge:
                self._charges.append(charge)
                page = await self._x.page(user.id, most=size, since_id=gap.since_id, until_id=asked_until, token=token)
                charge.count = len(page.tweets)
                # Stored before it is settled: whatever cuts this off, no post that was paid for is lost.
                rest = await self._take(user, gap, page)
            token, empty = page.next_token, 0 if page.tweets else empty + 1
            if token is None or rest is None or empty == EMPTY_PAGES:
                return
            gap = rest

    async def _take(self, user: User, gap: Gap, page: Page) -> Gap | None:
        """Store a page, and return what is left of the gap; None: nothing, or another process is at it."""
        read = self._read
        read.posts += len(page.tweets)
        said = [f"X kept posts back: {words.rstrip('.')}." for words in page.problems]
        read.problems += [sentence for sentence in said if sentence not in read.problems]
        if page.next_token and not page.tweets:
            return gap
        rest = Gap(gap.id, gap.since_id, page.oldest_id) if page.next_token else None
        left, new = await self._store.write(_store, read.handle, gap, page, user, rest, self._ground, self._by)
        read.new += new
        if rest and left is None:
            read.problems.append(f"Another process of Mynah's reads @{read.handle} at this moment, so this one has stopped.")
        return left


def _most(db: Database, handle: str, user: User, known: Timeline | None, gaps: list[Gap], wanted: int) -> int:
    """Return how many posts are read at most, of those that are wanted: what came since the last time, and what lacks of the older ones.

    Posts may have been deleted since, and others written, which no difference of counts shows; a page is for these. What is more
    than that stays for the next time.
    """
    newest, *older = gaps
    if newest.since_id is None:
        return min(wanted, user.posts + SMALLEST_PAGE)
    new = user.posts - (known.posts if known else db["tweets"].count_where("handle = ?", [handle]))
    have = timelines.stored_from(db, handle, older[0].until_id) if older else 0
    lacks = min(wanted, user.posts) - have if older else 0
    return min(wanted, max(0, new) + PAGE + max(0, lacks))


def _store(
    db: Database, handle: str, gap: Gap, page: Page, user: User, rest: Gap | None, ground: Ground | None, by: str
) -> tuple[Gap | None, int]:
    if not page.tweets and handle not in accounts.known_handles(db):
        return None, 0
    consents.refuse_opted_out(db, [handle])  # it may have, since the page was asked for
    stored = timelines.store_page(db, handle, gap, page.tweets, x_id=user.id, posts=user.posts, newest_id=page.newest_id, rest=rest)
    if ground:
        consents.claim(db, handle, ground, by)
    return stored
