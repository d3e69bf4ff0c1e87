"""Answers to those who summon an account on X: their posts are rows before anything is written, and each is answered once at most.

A page of mentions, what they ask for and how far was read is one transaction; an answer and that it is one is another. So a crash between
any two finds what was read and what is still to be answered.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlite_utils import Database

from bot.errors import BudgetError, MynahError, NotStoredError, StoreError
from bot.services.posting import Posting
from bot.services.spending import Budget, Charge
from bot.services.summons import asks_to_stop, seems_a_bot
from bot.services.times import span
from bot.settings import X
from bot.x import port
from bot.x.port import SMALLEST_PAGE, Retry, XClient, XError
from bot.x.text import without_leading_names
from data import mentions, models, outbox, spending
from data.mentions import Fate, Mention, Poll, Stop
from data.outbox import Destination, Post
from data.spending import Kind, Share
from data.store import Store, stamp

READING = "reading mentions"
PAGE = 10  # an interval seldom brings more, and what a page may cost is put aside
EMPTY_PAGES = 10  # in a row, after which the next poll goes on
LONGEST = 1000  # characters of a mention that are kept to be answered
TRIES = 3  # of an answer that Mynah was stopped or killed in
STORE_SECONDS = 5.0
#: After a refusal that a person must mend.
LONG = timedelta(hours=1)
#: What is to be done next is further off than this only if a clock was wrong.
WRONG_CLOCK = timedelta(days=2)
SKEW = timedelta(minutes=1)  # that X's clock may differ
log = structlog.get_logger()


@dataclass(frozen=True)
class Mentioned:
    """What came, what became of it, and who is never answered again; the newest first."""

    mentions: list[Mention]
    answers: dict[int, Post]
    """By their numbers in the outbox."""
    stops: list[Stop]
    poll: Poll | None
    """How far the account of the settings was read; None: it never was."""


class Mentions:
    """Reads who mentions an account, and has a voice answer, in the process that leads; off, unless the settings turn it on."""

    def __init__(
        self,
        store: Store,
        posting: Posting,
        budget: Budget,
        settings: X,
        client: Callable[[], XClient],
        speak: Callable[[str], Awaitable[str]],
        *,
        own: Collection[str] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Make the service; nothing is asked yet.

        Args:
            store: where to.
            posting: has the outbox.
            budget: what X is paid from.
            settings: which account and voice, how often, and within which limits.
            client: makes the account's client, when it is first needed.
            speak: returns a line of the voice in answer to a text.
            own: X's numbers of accounts that are never answered because they are the operator's, as far as they are known.
            clock: this instant.
        """
        self._store = store
        self._own = frozenset(own)
        self._posting = posting
        self._budget = budget
        self._x = settings
        self._settings = settings.mentions
        self._make = client
        self._client: XClient | None = None
        self._speak = speak
        self._clock = clock
        self._late = timedelta(seconds=settings.late)
        self._interval = timedelta(seconds=self._settings.interval)

    @property
    def on(self) -> bool:
        """Whether mentions are read."""
        return self._settings.on

    async def overview(self, limit: int = 50) -> Mentioned:
        """Return what came and what became of it."""
        return await self._store.read(_overview, self._settings.account, limit)

    async def close(self) -> None:
        """Give up what is open."""
        if self._client:
            await self._client.close()

    # ------------------------------------------------------ in the process that leads

    async def run_forever(self) -> None:
        """Read and answer until cancelled; call this only while leading.

        Raises:
            SettingsError: the account's keys are missing.
        """
        self._client = self._client or self._make()
        while True:
            try:
                await self.step()
            except StoreError as error:
                log.warning("mentions wait for the database", error=str(error))
                await asyncio.sleep(STORE_SECONDS)
            await self._store.changed()

    async def step(self) -> None:
        """Do all that is due by the clock.

        Raises:
            StoreError: the database cannot be used; what was not done is done by the next step.
        """
        poll = await self._store.read(mentions.poll, self._settings.account)
        if poll is None:
            poll = await self._store.write(mentions.begin, self._settings.account, self._clock())
        due = datetime.fromisoformat(poll.next_at)
        if not self._clock() < due < self._clock() + WRONG_CLOCK:
            poll = await self._read(poll)
        # While a rest is unread, someone may have said stop in it.
        for mention in await self._store.read(mentions.seen, self._settings.account) if poll.newest_id is None else ():
            await self._answer(mention)
        await self.tidy()

    async def tidy(self) -> None:
        """Erase the texts that nobody needs any more; where mentions are no longer read, too."""
        before = self._clock() - self._late
        if await self._store.read(mentions.texts_to_forget, before):
            await self._store.write(mentions.forget_texts, before)

    # ------------------------------------------------------------------------ reading

    async def _read(self, poll: Poll) -> Poll:
        """Read all that is new, or write down why that cannot be, and when it is tried again."""
        self._client = self._client or self._make()
        until_id, token, empty = poll.until_id, None, 0
        try:
            await self._store.read(models.current, self._settings.voice)  # else what is read would be paid for in vain
            await self._learn_id(self._client)
            while True:
                size = await self._affordable()
                began_at = datetime.fromisoformat(poll.began_at)
                async with self._reserved(size) as (posts, users):
                    page = await self._client.mentions(size, since_id=poll.since_id, since=began_at, until_id=until_id, token=token)
                    posts.count, users.count = page.posts, page.users
                    # Stored before it is settled: whatever cuts this off, nobody's stop that was paid for is lost.
                    poll, more = await self._store.write(self._take, poll, page)
                if not more:
                    return poll
                token, empty = page.next_token, 0 if page.newest_id else empty + 1
                if empty == EMPTY_PAGES:
                    return await self._postpone(poll, self._clock() + self._interval, "X gave one empty page after another.")
        except BudgetError as error:
            until = spending.day(self._clock().astimezone(UTC)) + timedelta(days=1)
            return await self._postpone(poll, until, str(error))
        except NotStoredError as error:
            return await self._postpone(poll, self._clock() + self._interval, str(error))
        except XError as error:
            wait = max(LONG, self._interval) if error.retry is Retry.NEVER else self._interval
            return await self._postpone(poll, max(self._clock() + wait, error.until or self._clock()), str(error))

    async def _learn_id(self, client: XClient) -> None:
        if client.id is None:
            async with self._budget.reserve(Kind.USERS_READ, 1, READING, self._settings.account, self._share) as charge:
                await client.profile()
                charge.count = 1

    @asynccontextmanager
    async def _reserved(self, size: int) -> AsyncIterator[tuple[Charge, Charge]]:
        """Put aside for a page: for its posts with those that they answer, and for their authors."""
        account, share = self._settings.account, self._share
        async with self._budget.reserve(Kind.POSTS_READ, 2 * size, READING, account, share) as posts:
            posts.count = 0  # should there not be enough for the rest, nothing is asked
            async with self._budget.reserve(Kind.USERS_READ, size, READING, account, share) as users:
                posts.count = None
                yield posts, users

    @property
    def _share(self) -> Share:
        return Share("mentions.read_daily_cap", round(self._settings.read_daily_cap * spending.MICRO), READING)

    async def _affordable(self) -> int:
        """Return how many mentions the next page may have.

        Raises:
            BudgetError: none.
        """
        cap = self._share.cap
        left = cap - await self._store.read(spending.spent_on, READING, spending.day(self._clock().astimezone(UTC)))
        each = 2 * self._budget.price(Kind.POSTS_READ) + self._budget.price(Kind.USERS_READ)
        size = min(PAGE, left // each) if each else PAGE
        if size < SMALLEST_PAGE:
            raise BudgetError(f"x.mentions.read_daily_cap ({spending.dollars(cap)}) leaves nothing to read mentions with today.")
        return size

    async def _postpone(self, poll: Poll, until: datetime, why: str) -> Poll:
        log.warning("mentions were not read", account=poll.account, again=until.isoformat(), error=why)
        await self._store.write(mentions.postpone, poll.account, until, why)
        return poll

    def _take(self, db: Database, poll: Poll, page: port.Mentions) -> tuple[Poll, bool]:
        """Take up a page, and remember how far was read; return that, and whether there is more to read now."""
        now = self._clock()
        began_at = datetime.fromisoformat(poll.began_at)
        for mention in reversed(page.mentions):  # so that of a post and its edit the post comes first
            self._take_up(db, poll.account, mention, began_at, now)
        old = any(mention.at < began_at - SKEW for mention in page.mentions)  # where X goes by until_id alone
        more = page.next_token is not None and not old
        next_at = now + self._interval
        return mentions.advance(db, poll, newest_id=page.newest_id, oldest_id=page.oldest_id, more=more, next_at=next_at), more

    def _take_up(self, db: Database, account: str, mention: port.Mention, began_at: datetime, now: datetime) -> None:
        author = mention.author
        own = self._is_own(author)
        if not own and asks_to_stop(mention.text):
            for post in mentions.stop(db, author=author.id, handle=author.handle, mention=mention.id, moment=now):
                log.info("an answer is withdrawn", post=post.id, why=mentions.WITHDRAWN)
        why = self._why_not(db, mention, began_at, now, own=own)
        taken = Mention(
            id=mention.id,
            account=account,
            author=author.id,
            handle=author.handle,
            text=None if why else mention.text[:LONGEST],
            posted_at=stamp(mention.at),
            received_at=stamp(now),
            state=Fate.IGNORED if why else Fate.SEEN,
            why=why,
            tries=0,
            answered_at=None,
            post=None,
        )
        mentions.add(db, taken)

    def _is_own(self, author: port.Author) -> bool:
        handles = {account.handle for account in self._x.every_account.values()}
        return author.id in self._own or author.id == (self._client and self._client.id) or author.handle.lower() in handles

    def _why_not(self, db: Database, mention: port.Mention, began_at: datetime, now: datetime, *, own: bool) -> str:
        """Return why a mention is not to be answered, whenever that is; empty: it is."""
        author = mention.author
        if own:
            return "the author is one of the accounts"
        if mentions.stopped(db, author.id):
            return "its author has said stop"
        if mentions.known(db, mention.edits):
            return "it is an edit of one that was taken up"
        if author.handle.lower() in self._settings.never:
            return "x.mentions.never names its author"
        if seems_a_bot(author):
            return "its author seems to be a bot"
        if author.protected:
            return "its author's posts are protected"
        if not without_leading_names(mention.text).strip():
            return "it holds nothing to answer"
        if not mention.summons:
            return "it does not summon the account: its author need not have written the name"
        if mention.at < began_at - SKEW:
            return "it is older than answers are"
        return self._too_late(mention.at, now)

    def _too_late(self, at: datetime, now: datetime) -> str:
        return f"it is more than {span(self._x.late)} old (x.late)" if at < now - self._late else ""

    # ---------------------------------------------------------------------- answering

    async def _answer(self, mention: Mention) -> None:
        """Put an answer into the outbox; whatever goes wrong is why there is none."""
        if not await self._store.write(self._begin, mention.id):
            return
        try:
            line = await self._speak(without_leading_names(mention.text or ""))
            post = await self._store.write(self._put, mention.id, line)
        except StoreError:
            raise
        except MynahError as error:
            await self._store.write(mentions.ignore, mention.id, str(error))
        except Exception:
            log.exception("answering broke", mention=mention.id)
            await self._store.write(mentions.ignore, mention.id, "Mynah failed for a reason of its own, which is in its log")
        else:
            if post:
                log.info("an answer is written", mention=mention.id, post=post.id, status=post.status)

    def _begin(self, db: Database, mention_id: str) -> bool:
        """Count a try at an answer, unless there is to be none, which is written down."""
        mention = mentions.get(db, mention_id)
        if mention.state is not Fate.SEEN:
            return False
        if why := self._held(db, mention):
            mentions.ignore(db, mention_id, why)
            return False
        mentions.count_try(db, mention_id)
        return True

    def _held(self, db: Database, mention: Mention) -> str | None:
        """Return why a mention that may be answered is not, at this moment; None: it is."""
        now, settings = self._clock(), self._settings
        today = spending.day(now.astimezone(UTC))
        if mention.tries == TRIES:
            return f"Mynah stopped {TRIES} times while it was being answered"
        if pause := outbox.paused(db):
            return f"posting was paused by {pause.paused_by}"
        if mentions.answers_since(db, today) >= settings.a_day:
            return f"the {settings.a_day} answers of this UTC day are used up (x.mentions.a_day)"
        if mentions.answers_since(db, today, mention.author) >= settings.a_day_each:
            return f"its author has had {settings.a_day_each} answers on this UTC day (x.mentions.a_day_each)"
        if why := self._budget.lacks(db, Kind.REPLIES_WRITTEN):
            return why
        return self._too_late(datetime.fromisoformat(mention.posted_at), now) or None

    def _put(self, db: Database, mention_id: str, line: str) -> Post | None:
        """Put an answer into the outbox, and write down that it is there; None: there is to be none any more."""
        if mentions.get(db, mention_id).state is not Fate.SEEN:
            return None
        post = self._posting.put(
            db,
            voice=self._settings.voice,
            schedule=None,
            text=line,
            who="answers",
            to=Destination(self._settings.account),
            not_before=self._clock(),
            unattended=self._settings.unattended,
            in_reply_to=mention_id,
        )
        mentions.answer(db, mention_id, post.id, self._clock())
        return post


def _overview(db: Database, account: str, limit: int) -> Mentioned:
    found = mentions.listed(db, limit)
    answers = {one.post: outbox.get(db, one.post) for one in found if one.post is not None}
    return Mentioned(found, answers, mentions.stops(db), mentions.poll(db, account))
