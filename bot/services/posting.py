"""Posting: drafts wait for a person, and what a person approved goes to X once, whatever crashes on the way."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlite_utils import Database

from bot.errors import BadRequestError, NotStoredError, StoreError, WrongStateError
from bot.x import text as rules
from bot.x.port import Retry, XClient, XError
from data import outbox, schedules
from data.outbox import Pause, Post, State
from data.store import Store

SENDER = "mynah"
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 300.0
NEVER_PAUSE = 900.0  # keys or credits are rarely mended sooner, and a queue must not be burnt through in a second
GRACE_SECONDS = 5.0  # for an answer that is on its way when Mynah is told to stop
STORE_SECONDS = 5.0
#: What a person can do about a post that may be on X already.
LOOK = "look on X: approve it to send it again, confirm it if it is there, or reject it to leave it"
log = structlog.get_logger()


class Posting:
    """Takes drafts and decisions from any process, and sends from the one that leads."""

    def __init__(
        self,
        store: Store,
        x: XClient | None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Make the service; without an X client it keeps the outbox and sends nothing.

        Args:
            store: where the outbox lies.
            x: the account, or None.
            clock: this instant.
            jitter: a number from 0 to 1, new each time.
        """
        self._store = store
        self._x = x
        self._clock = clock
        self._jitter = jitter
        self._not_before: datetime | None = None
        self._failures = 0  # in a row

    @property
    def sends(self) -> bool:
        """Whether there is an account to post with."""
        return self._x is not None

    async def draft(self, voice: str, schedule: str | None, text: str, who: str) -> Post:
        """Put a line into the outbox; a schedule that was removed meanwhile is left out.

        Raises:
            NotStoredError: the voice was forgotten meanwhile.
        """
        return await self._store.write(_draft, voice, schedule, text, who)

    async def approve(self, post_id: int, who: str) -> Post:
        """Say yes to a post: to a draft, to one that failed, or to one that may be on X and was looked for there.

        Raises:
            NotStoredError: there is no such post.
            WrongStateError: it is beyond approval, or on its way at this moment.
            BadRequestError: X would not take its text, or must not be given it.
        """
        return await self._store.write(_approve, post_id, who)

    async def reject(self, post_id: int, who: str, why: str) -> Post:
        """Say no to a post; one that may be on X is left as it is there.

        Raises:
            NotStoredError: there is no such post.
            WrongStateError: it is posted or rejected already, or on its way at this moment.
        """
        return await self._store.write(_decide, post_id, State.REJECTED, who, why or "rejected")

    async def confirm(self, post_id: int, who: str) -> Post:
        """Record that a person found a post on X that nobody was sure of.

        Raises:
            NotStoredError: there is no such post.
            WrongStateError: it is not one that waits for a look.
        """
        return await self._store.write(_decide, post_id, State.POSTED, who, "looked on X, and it is there")

    async def pause(self, who: str, why: str = "") -> Pause:
        """Stop all posting at once and for as long as nobody resumes it, across restarts; return the pause that lasts."""
        return await self._store.write(outbox.pause, who, why)

    async def resume(self, who: str) -> Pause:
        """Let posting go on; return the pause that ended.

        Raises:
            WrongStateError: posting is not paused.
        """
        return await self._store.write(outbox.resume, who)

    async def paused(self) -> Pause | None:
        """Return the pause that lasts, if one does."""
        return await self._store.read(outbox.paused)

    async def listed(self, limit: int = 50) -> list[Post]:
        """Return the newest posts, newest first."""
        return await self._store.read(outbox.listed, limit)

    async def history(self, post_id: int) -> list[dict[str, Any]]:
        """Return what became of a post: status, at, who, why, oldest first.

        Raises:
            NotStoredError: there is no such post.
        """
        await self._store.read(outbox.get, post_id)
        return await self._store.read(outbox.changes, post_id)

    async def recover(self) -> None:
        """Hand what a dead sender left in `sending` to a person; call this only while leading, before anything is sent."""
        if await self._store.read(_abandoned):
            await self._store.write(_hand_over)

    async def run_forever(self) -> None:
        """Send what is approved, one at a time, until cancelled; call this only while leading."""
        await self.recover()
        while True:
            try:
                sent = await self.send_next()
            except StoreError as error:
                log.warning("the outbox cannot be used", error=str(error))
                sent = False
            if not sent:
                await self._store.changed()

    async def send_next(self) -> bool:
        """Try the oldest approved post, and say whether there was one that may be tried now."""
        if self._x is None or (self._not_before and self._clock() < self._not_before):
            return False
        # Looked at before it is written, so that an empty outbox costs no transaction twice a second.
        if await self._store.read(outbox.to_send, self._clock()) is None:
            return False
        post = await self._store.write(_take, self._clock())
        if post is None:
            return False
        sending = asyncio.ensure_future(self._send(self._x, post))
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            # The request is out and cannot be called back: an answer within seconds saves a person the look.
            await asyncio.wait([sending], timeout=GRACE_SECONDS)
            sending.cancel()
            raise
        return True

    async def _send(self, x: XClient, post: Post) -> None:
        try:
            x_id = await x.create_post(post.text)
        except XError as error:
            await self._refused(post, error)
        except Exception:
            log.exception("sending broke", post=post.id)
            await self._refused(post, XError("Sending broke in a way that Mynah does not know (its log has more).", Retry.UNSURE))
        else:
            self._failures = 0
            log.info("posted", post=post.id, x_id=x_id)
            await self._settle(post, State.POSTED, "posted", x_id)

    async def _refused(self, post: Post, error: XError) -> None:
        log.warning("not posted", post=post.id, retry=error.retry.name, error=str(error))
        match error.retry:
            case Retry.REGENERATE:
                self._failures = 0
                await self._settle(post, State.FAILED, str(error))
            case Retry.NEVER:
                self._pause(NEVER_PAUSE)
                await self._settle(post, State.FAILED, str(error))
            case Retry.WAIT:
                self._back_off(error.until)
                await self._settle(post, State.APPROVED, str(error))
            case Retry.LATER:
                self._back_off()
                await self._settle(post, State.APPROVED, str(error))
            case Retry.UNSURE:
                self._back_off()
                await self._settle(post, None, f"{str(error).rstrip('.')}; {LOOK}.")

    def _back_off(self, until: datetime | None = None) -> None:
        """Send nothing until then, nor for a while that doubles with each failure in a row.

        A reset that has passed by this machine's clock, which may be ahead of X's, must not become a storm of requests.
        """
        self._failures += 1
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures - 1, 30))
        self._pause(longest * (0.5 + self._jitter() / 2))
        if until and self._not_before and until > self._not_before:
            self._not_before = until

    def _pause(self, seconds: float) -> None:
        self._not_before = self._clock() + timedelta(seconds=seconds)

    async def _settle(self, post: Post, state: State | None, why: str, x_id: str | None = None) -> None:
        """Record what came of sending, however long the disk is full: what is on X must not be forgotten."""
        while True:
            try:
                if state is None:
                    await self._store.write(outbox.note, post.id, who=SENDER, why=why)
                else:
                    await self._store.write(outbox.change, post.id, state, who=SENDER, why=why, x_id=x_id)
            except StoreError as error:
                log.warning("an outcome waits to be stored", post=post.id, x_id=x_id, error=str(error))
                await asyncio.sleep(STORE_SECONDS)
            except NotStoredError:
                log.warning("a post was forgotten while it was being sent", post=post.id, x_id=x_id)
                return
            else:
                return


def _draft(db: Database, voice: str, schedule: str | None, text: str, who: str) -> Post:
    if db["voices"].count_where("name = ?", [voice]) == 0:
        raise NotStoredError(f"There is no voice {voice}: `mynah models` lists those there are.")
    if all(known.name != schedule for known in schedules.listed(db)):
        schedule = None
    return outbox.add_draft(db, voice=voice, schedule=schedule, text=text, who=who)


def _approve(db: Database, post_id: int, who: str) -> Post:
    post = outbox.get(db, post_id)
    if broken := rules.broken_rule(post.text):
        raise BadRequestError(f"Post {post_id} {broken.why}: reject it and take another.")
    again = {State.FAILED: "try again", State.SENDING: "looked on X, and it is not there: send it again"}
    return _decide(db, post_id, State.APPROVED, who, again.get(post.status, "approved"))


def _decide(db: Database, post_id: int, state: State, who: str, why: str) -> Post:
    """Move a post by a person's word, unless it is on its way at this moment."""
    status = outbox.get(db, post_id).status
    if status is State.SENDING and not outbox.awaits_person(db, post_id):
        raise WrongStateError(f"Post {post_id} is being sent at this moment: wait for X's answer, or start `mynah run` if it was stopped.")
    return outbox.change(db, post_id, state, who=who, why=why)


def _take(db: Database, now: datetime) -> Post | None:
    """Mark the next post as sending, which must be on the disk before a byte of it leaves."""
    post = outbox.to_send(db, now)
    return outbox.change(db, post.id, State.SENDING, who=SENDER, why="sent to X") if post else None


def _abandoned(db: Database) -> list[int]:
    return [post.id for post in outbox.in_state(db, State.SENDING) if not outbox.awaits_person(db, post.id)]


def _hand_over(db: Database) -> None:
    for post_id in _abandoned(db):
        outbox.note(db, post_id, who=SENDER, why=f"Mynah stopped while this was being sent, so it may be on X; {LOOK}.")
