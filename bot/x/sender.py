"""Sends posts of the outbox to one account on X: each call is put aside for first, and a post that may be there can be looked for."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from bot.errors import BudgetError, StoreError
from bot.services.spending import Budget, Charge
from bot.settings import X
from bot.x.port import Retry, XClient, XError
from bot.x.text import has_link, same_text, without_leading_names
from data import outbox, spending
from data.outbox import Post
from data.spending import Kind, Share
from data.store import Store

PAGE = 10  # posts; since the last one that Mynah posted there are seldom more
PAGES = 10
#: By so much this machine's clock may be ahead of X's, or behind it, when a post is looked for by its time.
SKEW = timedelta(hours=1)
LOOK = "a look at own posts"


class XSender:
    """One account on X, as the outbox sees it."""

    def __init__(
        self,
        client: XClient,
        account: str,
        *,
        store: Store,
        budget: Budget,
        settings: X,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Make the sender.

        Args:
            client: the account, with its keys.
            account: its name in the settings.
            store: where the outbox lies.
            budget: what calls are paid from.
            settings: whether and when to look, and what looks may cost.
            clock: this instant.
        """
        self._client = client
        self._account = account
        self._store = store
        self._budget = budget
        self._settings = settings
        self._clock = clock

    @property
    def looks_after(self) -> timedelta | None:
        """How long after a try a look that finds nothing can be trusted; None: nobody may look, so a person must."""
        return timedelta(seconds=self._settings.look_after_seconds) if self._settings.look_at_own_posts else None

    async def send(self, post: Post) -> str:
        """Send a post and return its id on X.

        Raises:
            XError: it was not sent, or nobody knows; `retry` says which. A cap that is used up is a limit that resets with the UTC day.
        """
        kind = Kind.REPLIES_WRITTEN if post.in_reply_to else Kind.POSTS_WRITTEN
        if has_link(post.text):
            kind = Kind.POSTS_WITH_LINK_WRITTEN
        x_id = None
        try:
            async with self._budget.reserve(kind, 1, f"post {post.id}", self._account) as charge:
                x_id = await self._client.create_post(post.text, post.in_reply_to)
                charge.count = 1
        except BudgetError as error:
            tomorrow = spending.day(self._clock().astimezone(UTC)) + timedelta(days=1)
            raise XError(str(error), Retry.WAIT, tomorrow) from error
        except StoreError as error:
            if x_id is None:
                raise XError(f"Nothing was sent, for the ledger cannot be written: {error}", Retry.LATER) from error
        return x_id

    async def find(self, post: Post) -> str | None:
        """Look for a post among the account's newest ones, and return its id; None: it is not there.

        One is taken for it that has the same text, is no other post of the outbox, and is not older than the first try.

        Raises:
            XError: it could not be looked for; `retry` says whether it may be tried again.
        """
        first_try = datetime.fromisoformat(post.unsure_since or post.created_at)
        known = await self._store.read(outbox.known_on_x, self._account)
        # By number and not by time where that can be: a clock that is wrong hides nothing then.
        since_id = await self._store.read(outbox.last_before, self._account, first_try)
        token = None
        if self._client.id is None:
            async with self._looking(Kind.USERS_READ, 1) as charge:
                await self._client.profile()
                charge.count = 1
        for _ in range(PAGES):
            async with self._looking(Kind.OWN_POSTS_READ, PAGE) as charge:
                page = await self._client.own_posts(PAGE, since_id=since_id, since=first_try - SKEW, token=token)
                charge.count = len(page.posts)
            for own in page.posts:
                theirs = without_leading_names(own.text) if post.in_reply_to else own.text
                if own.id not in known and own.created_at >= first_try - SKEW and same_text(post.text, theirs):
                    return own.id
            token = page.next_token
            if token is None:
                return None
        raise XError(f"More than {PAGE * PAGES} posts were made on this account since then.", Retry.NEVER)

    async def close(self) -> None:
        """Give up what is open; a request on its way is not waited for."""
        await self._client.close()

    @asynccontextmanager
    async def _looking(self, kind: Kind, most: int) -> AsyncIterator[Charge]:
        """Put aside for a look, of what looks may cost in a UTC day."""
        share = Share("look_daily_cap", round(self._settings.look_daily_cap * spending.MICRO), LOOK)
        try:
            async with self._budget.reserve(kind, most, LOOK, self._account, share) as charge:
                yield charge
        except BudgetError as error:
            raise XError(str(error), Retry.NEVER) from error
        except StoreError as error:
            raise XError(f"The ledger cannot be written: {error}", Retry.LATER) from error
