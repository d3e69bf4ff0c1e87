"""Posting: drafts wait for a person, and what a person approved goes to X or to a channel once, whatever crashes on the way."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlite_utils import Database

from bot.errors import BadRequestError, NotStoredError, StoreError, WrongStateError
from bot.services.blocklist import Blocklist
from bot.services.folding import Views
from bot.services.sending import Retry, Sender, SendError
from bot.services.times import span
from bot.settings import X
from bot.x import text as rules
from data import mentions, outbox
from data.outbox import DEFAULT_ACCOUNT, Destination, Pause, Post, State
from data.store import Store

SENDER = "mynah"
UNATTENDED_ANSWERS = "unattended answers"
MOST_REASON = 300  # characters, of why all posting is paused
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 300.0
GRACE_SECONDS = 5.0  # for an answer that is on its way when Mynah is told to stop
STORE_SECONDS = 5.0
#: For so long a look that fails is repeated; then a person is asked.
LOOKING = timedelta(hours=6)
#: What a person can do about a post that may be there already.
LOOK = "look there: approve it to send it again, confirm it if it is there, or reject it to leave it"
log = structlog.get_logger()


@dataclass
class _Lane:
    """What this process knows of a destination."""

    not_before: datetime | None = None
    failures: int = 0
    """In a row."""
    looking_since: datetime | None = None


class Posting:
    """Takes drafts and decisions from any process, and sends from the one that leads.

    Posts of one destination go one after the other, the oldest first; what holds one destination up holds up no other.

    Attributes:
        accounts: what sends to accounts on X, by their names.
        channels: what sends to channels of Discord; whoever talks to Discord puts it here.
        again: has a new draft written in the place of a post whose text its destination has already, in the transaction that says so;
            False: that is not its business.
        regenerate: writes such a draft then, beside all else; should Mynah be stopped meanwhile, there is none.
        tell: tells operators of a post that waits for a person, in a sentence; the log and the outbox say it in any case.
    """

    def __init__(
        self,
        store: Store,
        accounts: Mapping[str, Sender] | None = None,
        *,
        settings: X | None = None,
        blocklist: Blocklist | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Make the service; what has no sender is kept in the outbox and not sent.

        Args:
            store: where the outbox lies.
            accounts: the accounts on X that there are keys for, by their names.
            settings: what may go to X, and under what names it is known.
            blocklist: what may go nowhere, whoever wrote it.
            clock: this instant.
            jitter: a number from 0 to 1, new each time.
        """
        self._store = store
        self.accounts = dict(accounts or {})
        self._settings = settings or X()
        self._blocklist = blocklist or Blocklist(None)
        self._clock = clock
        self._jitter = jitter
        self._late = timedelta(seconds=self._settings.late)
        self._lanes: defaultdict[Destination, _Lane] = defaultdict(_Lane)
        self._aside: set[asyncio.Future[Any]] = set()
        self.channels: Sender | None = None
        self.again: Callable[[Database, Post], bool] = lambda _db, _post: False
        self.regenerate: Callable[[Post], Awaitable[object]] | None = None
        self.tell: Callable[[Post, str], Awaitable[object]] | None = None

    @property
    def sends(self) -> bool:
        """Whether the account can post that drafts are for where none is named."""
        return DEFAULT_ACCOUNT in self.accounts

    async def draft(
        self, voice: str, schedule: str | None, text: str, who: str, *, account: str | None = None, channel: int | None = None
    ) -> Post:
        """Put a line into the outbox, for an account on X or a channel of Discord; a schedule that was removed meanwhile is left out.

        Without either, it is for the default account.

        Raises:
            BadRequestError: there is no such account, or both were given.
            NotStoredError: the voice was forgotten meanwhile.
        """
        to = self.destination(account, channel)
        return await self._store.write(_draft, voice, schedule, self._disclosed(text, to), who, to)

    def destination(self, account: str | None, channel: int | None) -> Destination:
        """Return where posts go for which this account or this channel is named; the default account where neither is.

        Raises:
            BadRequestError: there is no such account, no such channel can be, or both were given.
        """
        if account is not None and channel is not None:
            raise BadRequestError("A post goes to an account on X or to a channel in Discord, not to both: name one of them.")
        if channel is not None:
            if not 0 < channel < 2**63:
                raise BadRequestError("A channel in Discord is named by its id, a number of up to 19 digits.")
            return Destination(channel=channel)
        account = DEFAULT_ACCOUNT if account is None else account
        if account not in self._settings.every_account:
            raise BadRequestError(f"There is no X account {account[:40]}: config.toml names {', '.join(self._settings.every_account)}.")
        return Destination(account)

    def put(
        self,
        db: Database,
        *,
        voice: str,
        schedule: str | None,
        text: str,
        who: str,
        to: Destination,
        not_before: datetime,
        unattended: bool,
        in_reply_to: str | None = None,
    ) -> Post:
        """Put a schedule's line, or an answer to a post on X, into the outbox, in a transaction of who writes it.

        `unattended` says yes to it, if it may go there.
        """
        text = self._disclosed(text, to)
        post = outbox.add_draft(
            db, voice=voice, schedule=schedule, text=text, who=who, to=to, not_before=not_before, in_reply_to=in_reply_to
        )
        if not unattended or self._refusal(text):
            return post
        by, why = (
            (UNATTENDED_ANSWERS, "x.mentions.unattended is on")
            if schedule is None
            else (f"unattended: {schedule}", "x.unattended names its schedule")
        )
        return outbox.change(db, post.id, State.APPROVED, who=by, why=why)

    async def approve(self, post_id: int, who: str, *, seen: int | None = None) -> Post:
        """Say yes to a post: to a draft, to one that failed, or to one that may be there and was looked for.

        `seen`, here and in the next three: how many changes it had when whoever decides saw it; None: it does not matter.

        Raises:
            NotStoredError: there is no such post.
            WrongStateError: it is beyond approval, or on its way at this moment.
            BadRequestError: X would not take its text, or must not be given it.
        """
        return await self._store.write(_as_seen, seen, self._approve, post_id, who)

    async def edit(self, post_id: int, text: str, who: str, *, approve: bool = False, seen: int | None = None) -> Post:
        """Give a post that is not on its way another text; it is a draft again, unless who changes it also approves it.

        Raises:
            NotStoredError: there is no such post.
            WrongStateError: it is on its way, posted or rejected.
            BadRequestError: the text is the same, or X would not take it, or must not be given it.
        """
        return await self._store.write(_as_seen, seen, self._edit, post_id, text, who, approve)

    async def reject(self, post_id: int, who: str, why: str, *, seen: int | None = None) -> Post:
        """Say no to a post; one that may be on X is left as it is there.

        Raises:
            NotStoredError: there is no such post.
            WrongStateError: it is posted or rejected already, or on its way at this moment.
        """
        return await self._store.write(_as_seen, seen, _decide, post_id, State.REJECTED, who, why or "rejected")

    async def confirm(self, post_id: int, who: str, *, seen: int | None = None) -> Post:
        """Record that a person found a post that nobody was sure of.

        Raises:
            NotStoredError: there is no such post.
            WrongStateError: it is not one that waits for a look.
        """
        return await self._store.write(_as_seen, seen, _decide, post_id, State.POSTED, who, "looked there, and found it")

    async def pause(self, who: str, why: str = "") -> Pause:
        """Stop all posting at once and for as long as nobody resumes it, across restarts; return the pause that lasts."""
        return await self._store.write(outbox.pause, who, " ".join(why.split())[:MOST_REASON])

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
        """Return the newest posts, and whatever waits for a person, newest first."""
        return await self._store.read(outbox.listed, limit)

    async def reasons(self, posts: Iterable[Post]) -> dict[int, str]:
        """Return why each of these posts stands where it stands."""
        return await self._store.read(outbox.last_words, [post.id for post in posts])

    async def history(self, post_id: int) -> list[dict[str, Any]]:
        """Return what became of a post: status, at, who, why, was (the text that a change replaced), oldest first.

        Raises:
            NotStoredError: there is no such post.
        """
        await self._store.read(outbox.get, post_id)
        return await self._store.read(outbox.changes, post_id)

    async def recover(self) -> None:
        """Settle what a dead sender left in `sending`: where nobody may look by himself, a person must; call this only while leading."""
        for post in await self._store.read(_abandoned):
            sender = self._sender(post)
            why = "Mynah stopped while this was being sent, so it may be there"
            if sender is not None and sender.looks_after is not None:
                log.info("a post is looked for that was being sent when Mynah stopped", post=post.id)
            elif sender is not None or post.account is not None:  # the sender to channels comes when Discord is there
                await self._ask(post, f"{why}; {LOOK}.")

    async def run_forever(self) -> None:
        """Send what is approved, one at a time to each destination, until cancelled; call this only while leading."""
        await self.recover()
        under_way: dict[Destination, asyncio.Task[None]] = {}
        try:
            while True:
                for destination in [destination for destination, trying in under_way.items() if trying.done()]:
                    try:
                        under_way.pop(destination).result()
                    except StoreError as error:
                        log.warning("the outbox cannot be used", error=str(error))
                        self._back_off(destination)
                try:
                    heads = await self._store.read(_heads, self._late, self._clock())
                except StoreError as error:
                    log.warning("the outbox cannot be used", error=str(error))
                    heads = []
                for post in heads:
                    if post.destination not in under_way and self._due(post):
                        task = under_way[post.destination] = asyncio.create_task(self._try(post))
                        task.add_done_callback(lambda _: self._store.ring())
                await self._store.changed()
        finally:
            last = [*under_way.values(), *self._aside]
            for one in last:
                one.cancel()
            await asyncio.gather(*last, return_exceptions=True)

    async def send_next(self) -> bool:
        """Try the oldest post whose destination may be tried now, and say whether there was one."""
        # Looked at before it is written, so that an empty outbox costs no transaction twice a second.
        for post in await self._store.read(_heads, self._late, self._clock()):
            if self._due(post):
                await self._try(post)
                return True
        return False

    def _sender(self, post: Post) -> Sender | None:
        return self.channels if post.account is None else self.accounts.get(post.account)

    def _due(self, post: Post) -> bool:
        """Say whether something is to be done now about the post that is at the head of its destination."""
        sender, lane, now = self._sender(post), self._lanes[post.destination], self._clock()
        if sender is None or (lane.not_before and now < lane.not_before):
            return False
        if post.status is State.SENDING and post.tried_at and sender.looks_after:
            return now >= datetime.fromisoformat(post.tried_at) + sender.looks_after
        return True

    async def _try(self, post: Post) -> None:
        """Send a post, or look for one of which nobody knows whether it is there."""
        sender = self._sender(post)
        if sender is None:
            return
        if post.status is State.SENDING:
            await self._look(sender, post)
            return
        taken = await self._store.write(_take, post.id, self._clock())
        if taken is None:
            return
        sending = asyncio.ensure_future(self._send(sender, taken, again=post.unsure_since is not None))
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            # The request is out and cannot be called back: an answer within seconds saves a look.
            await asyncio.wait([sending], timeout=GRACE_SECONDS)
            sending.cancel()
            raise

    async def _send(self, sender: Sender, post: Post, *, again: bool) -> None:
        """Send a post, `again` where an earlier try may have made it."""
        try:
            x_id = await sender.send(post)
        except SendError as error:
            await self._refused(sender, post, error, again=again)
        except Exception:
            log.exception("sending broke", post=post.id)
            unknown = SendError("Sending broke in a way that Mynah does not know (its log has more).", Retry.UNSURE)
            await self._refused(sender, post, unknown, again=again)
        else:
            self._lanes[post.destination].failures = 0
            log.info("posted", post=post.id, to=str(post.destination), x_id=x_id)
            await self._write(post, outbox.change, State.POSTED, who=SENDER, why="posted", x_id=x_id)

    async def _refused(self, sender: Sender, post: Post, error: SendError, *, again: bool) -> None:
        log.warning("not posted", post=post.id, to=str(post.destination), retry=error.retry.name, error=str(error))
        match error.retry:
            case Retry.REGENERATE | Retry.MOOT if again:
                await self._look(sender, post, refused=str(error))
            case Retry.REGENERATE:
                self._lanes[post.destination].failures = 0
                done = await self._write(post, self._duplicate, str(error))
                if done is False and self.regenerate is not None:
                    self._beside("a new draft in the place of a duplicate", self.regenerate(post))
            case Retry.MOOT:
                self._lanes[post.destination].failures = 0
                await self._undone(post, State.FAILED, str(error))
            case Retry.NEVER:
                await self._undone(post, State.FAILED, str(error), awaits_person=True)
            case Retry.WAIT | Retry.LATER:
                self._back_off(post.destination, error.until)
                await self._undone(post, State.APPROVED, str(error))
            case Retry.UNSURE if sender.looks_after is None:
                self._back_off(post.destination)
                await self._ask(post, f"{str(error).rstrip('.')}; {LOOK}.")
            case Retry.UNSURE:
                self._back_off(post.destination)
                await self._write(post, outbox.note, who=SENDER, why=f"{str(error).rstrip('.')}; Mynah looks before it sends it again.")

    async def _look(self, sender: Sender, post: Post, refused: str = "") -> None:
        """Look whether a post is there, and have it sent again if it is not.

        Args:
            sender: what looks.
            post: what it looks for.
            refused: why another try was refused; then one that is not found is not sent again, since it would be refused again.
        """
        known = (refused or "It may be there").rstrip(".")
        if sender.looks_after is None:
            await self._ask(post, f"{known}; {LOOK}.")
            return
        lane = self._lanes[post.destination]
        try:
            found = await self._found(sender, post)
        except SendError as error:
            log.warning("not looked for", post=post.id, retry=error.retry.name, error=str(error))
            self._back_off(post.destination, error.until)
            lane.looking_since = lane.looking_since or self._clock()
            late = self._clock() - lane.looking_since > LOOKING
            if refused or late or error.retry in (Retry.NEVER, Retry.REGENERATE):
                lane.looking_since = None
                await self._ask(post, f"{known}, and Mynah could not look ({str(error).rstrip('.')}); {LOOK}.")
            return
        lane.looking_since = None
        if found is not None:
            lane.failures = 0
            log.info("found", post=post.id, to=str(post.destination), x_id=found)
            why = "looked there, and found it: an earlier try posted it"
            await self._write(post, outbox.change, State.POSTED, who=SENDER, why=why, x_id=found)
        elif refused:
            await self._ask(post, f"{known}, and Mynah looked and did not find it; {LOOK}.")
        else:
            # X may yet show it, so the try is not forgotten: should X call the next one a duplicate, it is looked for again.
            await self._write(post, outbox.change, State.APPROVED, who=SENDER, why="looked there, and it is not: it is sent again")

    async def _found(self, sender: Sender, post: Post) -> str | None:
        try:
            return await sender.find(post)
        except (SendError, StoreError):
            raise
        except Exception as error:
            log.exception("looking broke", post=post.id)
            raise SendError("Looking broke in a way that Mynah does not know (its log has more).", Retry.LATER) from error

    def _back_off(self, destination: Destination, until: datetime | None = None) -> None:
        """Send nothing there until then, nor for a while that doubles with each failure in a row.

        A reset that has passed by this machine's clock, which may be ahead of X's, must not become a storm of requests.
        """
        lane = self._lanes[destination]
        lane.failures += 1
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(lane.failures - 1, 30))
        lane.not_before = self._clock() + timedelta(seconds=longest * (0.5 + self._jitter() / 2))
        if until and until > lane.not_before:
            lane.not_before = until

    async def _undone(self, post: Post, state: State, why: str, *, awaits_person: bool = False) -> None:
        """Record that a try made nothing."""
        await self._write(post, _refuse, state, why, awaits_person)
        if awaits_person:
            self._tell(post, why)

    async def _ask(self, post: Post, why: str) -> None:
        """Leave a post to a person."""
        await self._write(post, outbox.ask_person, who=SENDER, why=why)
        self._tell(post, why)

    def _duplicate(self, db: Database, post_id: int, why: str) -> bool:
        _refuse(db, post_id, State.FAILED, why, awaits_person=False)
        return self.again(db, outbox.get(db, post_id))

    async def _write(self, post: Post, work: Callable[..., object], *args: Any, **more: Any) -> object:
        """Write what came of a post, however long the disk is full: what is there must not be forgotten; None: the post is."""
        while True:
            try:
                return await self._store.write(work, post.id, *args, **more)
            except StoreError as error:
                log.warning("an outcome waits to be stored", post=post.id, error=str(error))
                await asyncio.sleep(STORE_SECONDS)
            except NotStoredError:
                log.warning("a post was forgotten while it was being sent", post=post.id)
                return None

    def _tell(self, post: Post, why: str) -> None:
        log.warning("a post waits for a person", post=post.id, to=str(post.destination), why=why)
        if self.tell is not None:
            self._beside("telling operators", self.tell(post, why))

    def _beside(self, what: str, deed: Awaitable[object]) -> None:
        """Do something that no post has to wait for, and whose failure is for the log alone."""

        async def do() -> None:
            try:
                await deed
            except Exception as error:
                log.warning("something beside posting failed", what=what, error=str(error))

        task = asyncio.ensure_future(do())
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    def _disclosed(self, text: str, to: Destination) -> str:
        """Return a text with the operator's suffix, if it goes to X and has it not yet."""
        suffix = self._settings.suffix
        if to.account is None or not suffix.strip() or text.rstrip().endswith(suffix.strip()):
            return text
        return text.rstrip() + suffix.rstrip()

    def _refusal(self, text: str) -> str | None:
        """Return why a text may not go out, as the end of a sentence: of the rules for lines, those that bind people, too."""
        if broken := rules.broken_rule(text, links=self._settings.links):
            return broken.why
        found = self._blocklist.rules.broken_by(Views(text))
        return f"holds what line {found.line} of the blocklist refuses" if found else None

    def _approve(self, db: Database, post_id: int, who: str) -> Post:
        post = outbox.get(db, post_id)
        text = self._disclosed(post.text, post.destination)  # the setting may be newer than the draft
        if why := self._refusal(text):
            raise BadRequestError(f"Post {post_id} {why}: edit it, or reject it and take another.")
        self._in_time(db, post)
        again = {State.FAILED: "try again", State.SENDING: "looked there, and it is not: send it again"}
        return _decide(db, post_id, State.APPROVED, who, again.get(post.status, "approved"), text if text != post.text else None)

    def _in_time(self, db: Database, post: Post) -> None:
        """Refuse a post that nobody said yes to in time; one that was to be sent before goes out whenever a person says so again."""
        if post.status in (State.FAILED, State.SENDING):
            outbox.at_once(db, post.id)
        elif post.not_before and datetime.fromisoformat(post.not_before) < self._clock() - self._late:
            raise BadRequestError(f"The time of post {post.id} was more than {span(self._settings.late)} ago (x.late): reject it.")

    def _edit(self, db: Database, post_id: int, text: str, who: str, approve: bool) -> Post:
        post = _not_on_its_way(db, post_id)
        if post.status is State.SENDING:
            raise WrongStateError(f"Post {post_id} may be there already, so its text stays: look there first.")
        text = self._disclosed(text.strip(), post.destination)
        if text == post.text:
            raise BadRequestError(f"Post {post_id} says that already.")
        if why := self._refusal(text):
            raise BadRequestError(f"That text {why}.")
        if approve or post.status is State.FAILED:
            self._in_time(db, post)
        state, why = (State.APPROVED, "edited and approved") if approve else (State.DRAFT, "edited")
        outbox.forget_tries(db, post_id)  # of another text
        return outbox.change(db, post_id, state, who=who, why=why, text=text)


def _draft(db: Database, voice: str, schedule: str | None, text: str, who: str, to: Destination) -> Post:
    if db["voices"].count_where("name = ?", [voice]) == 0:
        raise NotStoredError(f"There is no voice {voice}: `mynah models` lists those there are.")
    if db["schedules"].count_where("name = ?", [schedule]) == 0:
        schedule = None
    return outbox.add_draft(db, voice=voice, schedule=schedule, text=text, who=who, to=to)


def _as_seen(db: Database, seen: int | None, decide: Callable[..., Post], post_id: int, *args: Any) -> Post:
    """Decide about a post, unless something became of it since whoever decides saw it."""
    outbox.need_unchanged(db, post_id, seen)
    return decide(db, post_id, *args)


def _decide(db: Database, post_id: int, state: State, who: str, why: str, text: str | None = None) -> Post:
    """Move a post by a person's word."""
    _not_on_its_way(db, post_id)
    return outbox.change(db, post_id, state, who=who, why=why, text=text)


def _not_on_its_way(db: Database, post_id: int) -> Post:
    """Return a post about which a person may say something; what is on its way at this moment is none."""
    post = outbox.get(db, post_id)
    if post.status is State.SENDING and not post.awaits_person:
        raise WrongStateError(
            f"Post {post_id} is being sent at this moment, or looked for: wait for the answer, or start `mynah run` if it was stopped."
        )
    return post


def _heads(db: Database, late: timedelta, now: datetime) -> list[Post]:
    """Return the post of each destination that something is to be done about first, oldest first; none while posting is paused.

    One that may be there goes before all others, so that their order is kept; one that failed for good holds its destination up.
    """
    if outbox.paused(db):
        return []
    heads: dict[Destination, Post] = {}
    held = set()
    for post in outbox.unsettled(db, now - late, now):
        if post.status is State.FAILED:
            held.add(post.destination)
        elif post.status is State.SENDING or post.destination not in heads:
            heads[post.destination] = post
    return [post for destination, post in heads.items() if destination not in held]


def _take(db: Database, post_id: int, moment: datetime) -> Post | None:
    """Mark a post as sending, which must be on the disk before a byte of it leaves; None if it is not to be sent any more."""
    try:
        if outbox.paused(db) or outbox.get(db, post_id).status is not State.APPROVED:
            return None
    except NotStoredError:
        return None
    if mentions.stopped_post(db, post_id):  # since it was approved, or while a look was due
        outbox.change(db, post_id, State.REJECTED, who=SENDER, why=mentions.WITHDRAWN)
        return None
    outbox.mark_try(db, post_id, moment)
    return outbox.change(db, post_id, State.SENDING, who=SENDER, why="sent")


def _refuse(db: Database, post_id: int, state: State, why: str, awaits_person: bool) -> None:
    outbox.undo_try(db, post_id)
    outbox.change(db, post_id, state, who=SENDER, why=why, awaits_person=awaits_person)


def _abandoned(db: Database) -> list[Post]:
    return [post for post in outbox.in_state(db, State.SENDING) if not post.awaits_person]
