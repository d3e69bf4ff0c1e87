"""The caps: whatever people have Mynah do on X, in whatever order and with whatever mishaps, X is never paid beyond one."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum, auto
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from bot.errors import MynahError, StoreError
from bot.services.mentions import Mentions
from bot.services.posting import Posting
from bot.services.reading import Reading
from bot.services.spending import Budget
from bot.settings import Settings, X
from bot.x import port
from bot.x.port import Author, Mention, OwnPost, OwnPosts, Page, Profile, Retry, User, XError
from bot.x.sender import XSender
from bot.x.text import has_link
from data import spending
from data.consents import Ground
from data.outbox import DEFAULT_ACCOUNT, State
from data.spending import Kind
from data.tweets import Tweet
from tests.bot.x.frail import Crash, Frail
from tests.bot.x.rows import VOICE, add_model

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
HANDLES = ("ann", "bob")


class Fate(StrEnum):
    """What becomes of a call."""

    DONE = auto()
    REFUSED = auto()
    LIMITED = auto()
    NOT_SENT = auto()
    #: Nobody knows whether X has heard it: it has not, or it has.
    UNHEARD = auto()
    UNANSWERED = auto()
    #: The process ends, before X hears of it or before its answer comes.
    KILLED = auto()
    KILLED_LATE = auto()
    CANCELLED_LATE = auto()


class Purpose(StrEnum):
    """What a call is for, as far as there is a cap for it."""

    READING = auto()
    LOOKING = auto()
    ANSWERING = auto()
    POSTING = auto()


@dataclass(frozen=True)
class Bill:
    """What X took."""

    at: datetime
    purpose: Purpose
    cost: int
    """Micro-dollars."""


@dataclass(frozen=True)
class Written:
    """A post on X."""

    id: str
    author: str
    text: str
    at: datetime
    answers: bool = False


class FakeX:
    """X, which bills what it delivers in the moment in which it does, and knows the caps that it must never pass."""

    def __init__(self) -> None:
        self.now = NOON
        self.settings = X()
        self.fates: list[Fate] = []
        self.posts: list[Written] = []
        """The newest first."""
        self.bills: list[Bill] = []
        self.passed: list[str] = []

    def write(self, author: str, text: str = "", *, answers: bool = False) -> str:
        number = str(10**18 + len(self.posts))
        self.posts.insert(0, Written(number, author, text or f"The owl of {number} was awake.", self.now, answers))
        return number

    async def call(self, purpose: Purpose, deed: Callable[[], tuple[Any, dict[Kind, int]]]) -> Any:
        """Do what is asked, unless the next fate forbids it: what it returns, and how many of each kind X takes money for."""
        fate = self.fates.pop(0) if self.fates else Fate.DONE
        match fate:
            case Fate.REFUSED:
                raise XError("X refused.", Retry.NEVER)
            case Fate.LIMITED:
                raise XError("X says: not so fast.", Retry.WAIT, self.now + timedelta(minutes=15))
            case Fate.NOT_SENT:
                raise XError("X cannot be reached.", Retry.LATER)
            case Fate.UNHEARD:
                raise XError("X did not answer.", Retry.UNSURE)
            case Fate.KILLED:
                raise Crash
        result, counts = deed()
        for kind, count in counts.items():
            self._bill(purpose, count * self.settings.prices.micro(kind))
        match fate:
            case Fate.UNANSWERED:
                raise XError("X did not answer.", Retry.UNSURE)
            case Fate.KILLED_LATE:
                raise Crash
            case Fate.CANCELLED_LATE:
                raise asyncio.CancelledError
        return result

    def billed(self, since: datetime, purposes: Iterable[Purpose] = Purpose) -> int:
        """Return the micro-dollars taken since a moment."""
        return sum(bill.cost for bill in self.bills if bill.at >= since and bill.purpose in set(purposes))

    def _bill(self, purpose: Purpose, cost: int) -> None:
        """Take the money, and compare with the caps of this moment: a later one that is lower finds more than itself spent."""
        self.bills.append(Bill(self.now, purpose, cost))
        today, x = spending.day(self.now), self.settings
        shares = {
            Purpose.READING: x.reading_daily_cap,
            Purpose.LOOKING: x.look_daily_cap,
            Purpose.ANSWERING: x.mentions.read_daily_cap,
            Purpose.POSTING: None,
        }
        held = [
            ("the day", x.daily_cap, self.billed(today)),
            ("the month", x.monthly_cap, self.billed(spending.month(self.now))),
            (f"{purpose} in a day", shares[purpose], self.billed(today, [purpose])),
        ]
        for name, cap, billed in held:
            if cost and cap is not None and billed > round(cap * spending.MICRO):
                self.passed.append(f"{billed / spending.MICRO} of {cap} for {name}, with {cost / spending.MICRO} for {purpose}")

    def some(self, wanted: Callable[[Written], bool], most: int, *ends: str | None) -> tuple[list[Written], str | None]:
        """Return the newest of the posts that are wanted between two ids and before a token, and the token of the rest."""
        since_id, until_id, token = ends
        least, below = int(since_id or 0), min(int(until_id or 10**19), int(token or 10**19))
        found = [post for post in self.posts if wanted(post) and least < int(post.id) < below]
        return found[:most], found[most - 1].id if len(found) > most else None


class Reader:
    """The door to X for reading accounts."""

    def __init__(self, x: FakeX) -> None:
        self._x = x

    async def user(self, handle: str) -> User | None:
        there = sum(post.author == handle for post in self._x.posts)
        user = User(f"id of {handle}", handle, there, False) if there else None
        return await self._x.call(Purpose.READING, lambda: (user, {Kind.USERS_READ: 1 if user else 0}))

    async def user_by_id(self, user_id: str) -> User | None:
        return await self.user(user_id.removeprefix("id of "))

    async def page(
        self, user_id: str, *, most: int = port.PAGE, since_id: str | None = None, until_id: str | None = None, token: str | None = None
    ) -> Page:
        def deed() -> tuple[Page, dict[Kind, int]]:
            found, rest = self._x.some(lambda post: f"id of {post.author}" == user_id, most, since_id, until_id, token)
            tweets = tuple(Tweet(post.id, post.at, post.text) for post in found)
            newest, oldest = (found[0].id, found[-1].id) if found else (None, None)
            return Page(tweets, newest, oldest, rest), {Kind.POSTS_READ: len(found)}

        return await self._x.call(Purpose.READING, deed)

    async def close(self) -> None:
        """Nothing is open."""


class Client:
    """The door to X of one account, which does not know its own number yet."""

    def __init__(self, x: FakeX, purpose: Purpose) -> None:
        self._x = x
        self._purpose = purpose
        self.id: str | None = None

    async def profile(self) -> Profile:
        found = await self._x.call(self._purpose, lambda: (Profile("1", VOICE, VOICE, ""), {Kind.USERS_READ: 1}))
        self.id = found.id
        return found

    async def create_post(self, text: str, in_reply_to: str | None = None) -> str:
        kind = Kind.REPLIES_WRITTEN if in_reply_to else Kind.POSTS_WRITTEN
        if has_link(text):
            kind = Kind.POSTS_WITH_LINK_WRITTEN
        return await self._x.call(Purpose.POSTING, lambda: (self._x.write(VOICE, text), {kind: 1}))

    async def own_posts(self, most: int, *, since_id: str | None, since: datetime, token: str | None = None) -> OwnPosts:
        def deed() -> tuple[OwnPosts, dict[Kind, int]]:
            found, rest = self._x.some(
                lambda post: post.author == VOICE and (since_id is not None or post.at >= since), most, since_id, None, token
            )
            return OwnPosts(tuple(OwnPost(post.id, post.text, post.at) for post in found), rest), {Kind.OWN_POSTS_READ: len(found)}

        return await self._x.call(self._purpose, deed)

    async def mentions(
        self, most: int, *, since_id: str | None, since: datetime, until_id: str | None = None, token: str | None = None
    ) -> port.Mentions:
        def deed() -> tuple[port.Mentions, dict[Kind, int]]:
            found, rest = self._x.some(
                lambda post: f"@{VOICE}" in post.text and (since_id is not None or post.at >= since), most, since_id, until_id, token
            )
            came = tuple(
                Mention(post.id, Author(f"id of {post.author}", post.author, "", "", False), post.text, post.at, True, ()) for post in found
            )
            newest, oldest = (found[0].id, found[-1].id) if found else (None, None)
            posts, users = len(found) + sum(post.answers for post in found), len({post.author for post in found})
            return port.Mentions(came, newest, oldest, rest, posts, users), {Kind.POSTS_READ: posts, Kind.USERS_READ: users}

        return await self._x.call(self._purpose, deed)

    async def close(self) -> None:
        """Nothing is open."""


class Full(Frail):
    """A store that dies, or whose disk is full when something is to be settled."""

    full = False

    async def write(self, work: Callable[..., Any], *args: Any, **more: Any) -> Any:  # type: ignore[override]
        if self.full and work is spending.settle:
            raise StoreError("The disk is full.")
        return await super().write(work, *args, **more)


@dataclass(frozen=True)
class Mishaps:
    """What goes wrong during a command."""

    fates: tuple[Fate, ...] = ()
    """Of its calls, in their order."""
    writes: int | None = None
    """After so many the process dies; None: it does not."""
    after: bool = False
    """Whether the last of them is done."""
    full: bool = False


MISHAPS = st.just(Mishaps()) | st.builds(
    Mishaps,
    fates=st.lists(st.sampled_from(Fate), max_size=4).map(tuple),
    writes=st.none() | st.integers(1, 12),
    after=st.booleans(),
    full=st.sampled_from([False, False, False, True]),
)
DOLLARS = st.sampled_from([1.0, 0.3, 3.0, 0.1, 0.5, 0.05, 0.01, 0.0])


class Commands(RuleBasedStateMachine):
    """What people and the clock have Mynah do, told apart from what X was paid."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.x = FakeX()
        self.lines = 0
        self.store = self.runner.run(Full(Path(self.folder.name) / "mynah.db").__aenter__())
        self.runner.run(self.store.write(add_model))
        for handle in HANDLES:
            self.x.write(handle)
        self.changed(
            x={"daily_cap": 0.3, "monthly_cap": 0.7, "reading_daily_cap": 0.1, "look_daily_cap": 0.05},
            answers={"read_daily_cap": 0.2},
            prices={},
        )

    def teardown(self) -> None:
        self.runner.run(self.store.__aexit__(None, None, None))
        self.runner.close()
        self.folder.cleanup()

    # ---------------------------------------------------------------- what goes on outside

    @rule(author=st.sampled_from([*HANDLES, VOICE]), count=st.sampled_from([1, 7, 30, 150]))
    def others_write(self, author: str, count: int) -> None:
        for _ in range(count):
            self.x.write(author)

    @rule(author=st.sampled_from(HANDLES), count=st.sampled_from([1, 3, 15]), answers=st.booleans(), stop=st.booleans())
    def others_mention(self, author: str, count: int, answers: bool, stop: bool) -> None:
        for _ in range(count):
            self.x.write(author, f"@{VOICE} {'stop' if stop and answers else 'is it dark out there?'}", answers=answers)

    @rule(passing=st.sampled_from([timedelta(minutes=3), timedelta(minutes=16), timedelta(hours=11, minutes=59), timedelta(days=1)]))
    def time_passes(self, passing: timedelta) -> None:
        self.x.now += passing

    @rule()
    def month_ends(self) -> None:
        self.x.now = spending.month(spending.month(self.x.now) + timedelta(days=31)) - timedelta(minutes=1)

    # ------------------------------------------------------------------- what people do

    @rule(
        x=st.fixed_dictionaries(
            {"daily_cap": DOLLARS, "monthly_cap": DOLLARS},
            optional={"reading_daily_cap": DOLLARS, "look_daily_cap": DOLLARS, "look_at_own_posts": st.booleans()},
        ),
        answers=st.fixed_dictionaries({}, optional={"read_daily_cap": DOLLARS, "unattended": st.booleans()}),
        prices=st.dictionaries(st.sampled_from([kind.value for kind in Kind]), st.sampled_from([0.0, 0.001, 0.02]), max_size=2),
    )
    def changed(self, x: dict[str, Any], answers: dict[str, Any], prices: dict[str, float]) -> None:
        """Mynah is started again, with other settings."""
        always = {"read_timelines": True, "look_at_own_posts": True, "links": True, "prices": prices}
        mentions = {"on": True, "voice": VOICE, "unattended": True, "a_day": 1000, "a_day_each": 1000}
        self.settings = Settings.model_validate({"data_dir": self.folder.name, "x": always | x | {"mentions": mentions | answers}})
        self.x.settings = self.settings.x
        self._start()

    @rule(handle=st.sampled_from([*HANDLES, "nobody"]), posts=st.sampled_from([5, 40, 200]), mishaps=MISHAPS)
    def read(self, handle: str, posts: int, mishaps: Mishaps) -> None:
        self._do(self.reading.read(handle, by="a test", ground=Ground.PERMISSION, posts=posts), mishaps)

    @rule(posts=st.sampled_from([5, 100]), mishaps=MISHAPS)
    def refresh(self, posts: int, mishaps: Mishaps) -> None:
        self._do(self.reading.refresh(HANDLES, by="a test", ground=Ground.PERMISSION, posts=posts), mishaps)

    @rule(posts=st.sampled_from([5, 40]), mishaps=MISHAPS)
    def read_at_once(self, posts: int, mishaps: Mishaps) -> None:
        async def both() -> None:
            reads = [self.reading.read(handle, by="a test", ground=Ground.PERMISSION, posts=posts) for handle in HANDLES]
            for outcome in await asyncio.gather(*reads, self.mentions.step(), return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome

        self._do(both(), mishaps)

    @rule(count=st.sampled_from([1, 5, 15]), link=st.booleans(), mishaps=MISHAPS)
    def post(self, count: int, link: bool, mishaps: Mishaps) -> None:
        async def post() -> None:
            for _ in range(count):
                self.lines += 1
                text = f"Owl {self.lines} is awake{', see https://owls.example' if link else ''}."
                await self.posting.approve((await self.posting.draft(VOICE, None, text, "a test")).id, "a test")
            await self._send()

        self._do(post(), mishaps)

    @rule(mishaps=MISHAPS)
    def say_yes_to_all(self, mishaps: Mishaps) -> None:
        async def approve() -> None:
            for post in await self.posting.listed():
                if post.status is not State.POSTED:
                    with suppress(MynahError):
                        await self.posting.approve(post.id, "a test")

        self._do(approve(), mishaps)

    @rule(mishaps=MISHAPS)
    def send(self, mishaps: Mishaps) -> None:
        self._do(self._send(), mishaps)

    @rule(mishaps=MISHAPS)
    def answer(self, mishaps: Mishaps) -> None:
        self._do(self.mentions.step(), mishaps)

    # ---------------------------------------------------------------------- what must hold

    @invariant()
    def no_cap_is_passed(self) -> None:
        assert self.x.passed == []

    @invariant()
    def ledger_knows_of_all_that_was_paid(self) -> None:
        for since in (spending.day(self.x.now), spending.month(self.x.now)):
            assert self.runner.run(self.store.read(spending.spent, since)) >= self.x.billed(since)

    # ------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Begin anew, as a process does."""
        self.x.fates, self.store.left, self.store.full = [], None, False
        store, x, clock = self.store, self.settings.x, lambda: self.x.now
        budget = Budget(store, x, clock=clock)
        sender = XSender(Client(self.x, Purpose.LOOKING), DEFAULT_ACCOUNT, store=store, budget=budget, settings=x, clock=clock)
        self.reading = Reading(store, self.settings, budget, lambda: Reader(self.x))
        self.posting = Posting(store, {DEFAULT_ACCOUNT: sender}, settings=x, clock=clock, jitter=lambda: 0.0)
        self.mentions = Mentions(store, self.posting, budget, x, lambda: Client(self.x, Purpose.ANSWERING), self._speak, clock=clock)
        self.runner.run(self.posting.recover())

    async def _send(self) -> None:
        while await self.posting.send_next():
            pass

    async def _speak(self, _text: str) -> str:
        self.lines += 1
        return f"Dark, and wet, {self.lines} times."

    def _do(self, command: Coroutine[Any, Any, Any], mishaps: Mishaps) -> None:
        """Carry a command out; if the process dies of it, another one begins."""
        self.x.fates, self.store.full = list(mishaps.fates), mishaps.full
        self.store.left, self.store.after = mishaps.writes, mishaps.after
        try:
            self.runner.run(command)
        except MynahError:
            pass
        except (Crash, asyncio.CancelledError):
            self._start()
        self.x.fates, self.store.left, self.store.full = [], None, False


@pytest.mark.parametrize(("examples", "steps"), [(12, 25), pytest.param(1000, 50, marks=pytest.mark.long)])
def test_no_sequence_of_commands_spends_above_a_cap(examples, steps):
    wanted = settings(max_examples=examples, stateful_step_count=steps, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Commands, settings=wanted)
