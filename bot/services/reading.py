"""Reading: what is new of an account, from X or from the operator's own source, into the store."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

import structlog

from bot.errors import BadRequestError, BudgetError, ConsentError, SourceError
from bot.services.importing import add_posts
from bot.services.paging import Estimate, Paging, Read, Tell, cost
from bot.services.sources import posts_of
from bot.services.spending import Budget
from bot.services.training import accounts_of
from bot.settings import Settings
from bot.x.port import REACH, SMALLEST_PAGE, XError, XReader
from data import accounts, consents
from data.consents import Ground
from data.handles import normalise_handle
from data.sources import Brought
from data.store import Store

OFF = "Reading is off: docs/x.md says what X's terms forbid and how to turn it on, and docs/sources.md how to bring posts from elsewhere."
log = structlog.get_logger()


class Reading:
    """Reads accounts; off, unless the settings turn X on or name a source."""

    def __init__(self, store: Store, settings: Settings, budget: Budget, x: Callable[[], XReader]) -> None:
        """Make the service.

        Args:
            store: where to.
            settings: what is on.
            budget: what X is paid from.
            x: makes the reader, when it is first needed.
        """
        self._store = store
        self._settings = settings
        self._budget = budget
        self._make = x
        self._x: XReader | None = None
        self._at_work: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def on(self) -> bool:
        """Whether anything can be read."""
        return self.from_x or bool(self._settings.source.command)

    @property
    def from_x(self) -> bool:
        """Whether it is X that is read, and paid: not where there is a source."""
        return self._settings.x.read_timelines and not self._settings.source.command

    async def close(self) -> None:
        """Give up what is open."""
        if self._x:
            await self._x.close()

    def estimate(self, posts: int = REACH, *, accounts: int = 1) -> Estimate:
        """Return the most that it costs to have the newest `posts` of each account, before anybody has been asked.

        Raises:
            BadRequestError: reading is off, or these are too few.
        """
        self._check(posts)
        if not self.from_x:
            return Estimate(0, 0)
        most = min(posts, REACH)
        return Estimate(accounts * most, accounts * cost(self._budget, most, look_ups=1))

    async def read(self, handle: str, *, by: str, ground: Ground | None, posts: int = REACH, tell: Tell | None = None) -> Read:
        """Read what is not stored yet of an account's newest posts, and claim the consent with the first of them.

        Args:
            handle: whose.
            by: who claims it.
            ground: on what ground; None: it is claimed already.
            posts: how many of the newest are to be there in the end, of X at most 3,200; a source gives what it gives.
            tell: hears whose posts are read and the most that it costs, once X has said how many there are.

        Raises:
            BadHandleError, ConsentError: it may not be read.
            BadRequestError: reading is off, or there is no such account, or it is another's now, or protected.
            BudgetError: a cap would be passed.
            SettingsError: X's keys are missing.
            SourceError, XError: nothing was read.
        """
        name = normalise_handle(handle)
        self._check(posts)
        consents.refuse_blocked([name], self._settings.consent.blocked_handles)
        await self._store.read(consents.refuse_opted_out, [name])
        accepted = self._settings.consent.grounds
        if ground is None:
            await self._store.read(consents.require, [name], accepted)
        elif ground not in accepted:
            raise ConsentError(f"The settings take archives alone (consent.policy), so @{name} is not read: import its owner's archive.")
        async with self._at_work[name]:  # two at once would pay for the same posts
            if not self.from_x:
                return await self._ask_source(name, by, ground)
            self._x = self._x or self._make()
            return await Paging(self._store, self._budget, self._x, name, by=by, ground=ground, posts=min(posts, REACH)).run(tell)

    async def refresh(self, handles: Sequence[str], *, by: str, ground: Ground | None, posts: int, tell: Tell | None = None) -> list[Read]:
        """Read what is new of accounts that are about to be learned from; where that fails, what is stored does, and the reason is told.

        A ground is claimed for those alone for whom there is no claim that the settings accept.

        Raises:
            MynahError: as `read`, of an account of which nothing is stored.
        """
        found = []
        for name in await accounts_of(self._store, self._settings, handles):
            claimed = {one.ground for one in await self._store.read(consents.claims, name)} & self._settings.consent.grounds
            try:
                found.append(await self.read(name, by=by, ground=None if claimed else ground, posts=max(posts, SMALLEST_PAGE), tell=tell))
            except (BadRequestError, BudgetError, SourceError, XError) as error:
                if name not in await self._store.read(accounts.known_handles):
                    raise
                log.warning("not read", handle=name, error=str(error))
                found.append(Read(name, problems=[f"{error} What is stored of @{name} is learned from."]))
        return found

    def _check(self, posts: int) -> None:
        if not self.on:
            raise BadRequestError(OFF)
        if posts < SMALLEST_PAGE:
            raise BadRequestError(f"Ask for {SMALLEST_PAGE} posts at least: X gives no fewer at a time.")

    async def _ask_source(self, name: str, by: str, ground: Ground | None) -> Read:
        tweets = await posts_of(self._settings, name)
        new = await self._store.write(add_posts, name, tweets, ground, by, Brought("command"))
        return Read(name, len(tweets), new)
