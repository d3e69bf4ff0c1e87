"""The outbox: who may decide what, and that nothing is sent twice whatever X answers."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bot.errors import BadRequestError, NotStoredError, StoreError, WrongStateError
from bot.services import posting as module
from bot.services.blocklist import Blocklist
from bot.services.posting import LONGEST_PAUSE, Posting
from bot.services.sending import Retry, SendError
from bot.settings import X
from data import accounts, outbox, schedules
from data.outbox import DEFAULT_ACCOUNT, Destination, Post, State
from data.schedules import Schedule
from data.store import Store
from tests.bot.clock import START, Clock
from tests.bot.x.rows import VOICE, add_voice


class FakeX:
    """An X whose coming outcomes a test queues, and which looks into the database, with eyes of its own, when it is called.

    A look finds what a test put `there`.
    """

    looks_after: timedelta | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: list[Exception] = []
        self.sent: list[str] = []
        self.seen: list[str] = []
        self.there: dict[str, str] = {}
        self.looks: list[str] = []
        self.failing_looks: list[Exception] = []
        self.meanwhile: Callable[[], object] = lambda: None

    async def send(self, post: Post) -> str:
        text = post.text
        connection = sqlite3.connect(self.path)
        self.seen += [status for (status,) in connection.execute("SELECT status FROM posts WHERE text = ?", [text])]
        connection.close()
        self.sent.append(text)
        outcome = self.meanwhile()
        if asyncio.iscoroutine(outcome):
            await outcome
        if self.outcomes:
            raise self.outcomes.pop(0)
        return str(1000 + len(self.sent))

    async def find(self, post: Post) -> str | None:
        self.looks.append(post.text)
        if self.failing_looks:
            raise self.failing_looks.pop(0)
        return self.there.get(post.text)

    async def close(self) -> None:
        """Have nothing open."""


@pytest.fixture
async def store(tmp_path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "mynah.db") as store:
        await store.write(add_voice)
        yield store


@pytest.fixture
def x(store) -> FakeX:
    return FakeX(store.path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def posting(store, x, clock) -> Posting:
    return Posting(store, {DEFAULT_ACCOUNT: x}, clock=clock, jitter=lambda: 1.0)


async def approved(posting: Posting, text: str = "Low water.") -> Post:
    return await posting.approve((await posting.draft(VOICE, None, text, "a test")).id, "ann")


async def state(posting: Posting, post: Post) -> State:
    return next(p.status for p in await posting.listed() if p.id == post.id)


def waits_until(posting: Posting) -> datetime:
    return posting._lanes[Destination(DEFAULT_ACCOUNT)].not_before


async def last_word(posting: Posting, post: Post) -> str:
    return (await posting.history(post.id))[-1]["why"]


# ------------------------------------------------------------------ decisions


async def test_a_draft_waits_and_is_not_sent(posting, x):
    post = await posting.draft(VOICE, None, "Low water.", "a test")
    assert not await posting.send_next()
    assert (post.status, x.sent) == (State.DRAFT, [])


async def test_an_approved_post_is_posted_and_its_history_says_who_did_what(posting):
    post = await approved(posting)
    assert await posting.send_next()
    (listed,) = await posting.listed()
    assert (listed.status, listed.x_id) == (State.POSTED, "1001")
    assert [(c["status"], c["who"]) for c in await posting.history(post.id)] == [
        ("draft", "a test"),
        ("approved", "ann"),
        ("sending", "mynah"),
        ("posted", "mynah"),
    ]
    assert not await posting.send_next()


async def test_sending_is_on_the_disk_before_the_request(posting, x):
    await approved(posting)
    await posting.send_next()
    assert x.seen == ["sending"]


async def test_the_oldest_goes_first(posting, x):
    drafts = [await posting.draft(VOICE, None, text, "a test") for text in ("one", "two", "three")]
    for post in reversed(drafts):
        await posting.approve(post.id, "ann")
    while await posting.send_next():
        pass
    assert x.sent == ["one", "two", "three"]


@pytest.mark.parametrize("text", ["a" * 281, "hello @someone", "see https://example.com", " "])
async def test_a_text_that_x_must_not_get_is_not_approved(posting, text):
    post = await posting.draft(VOICE, None, text, "a test")
    with pytest.raises(BadRequestError, match=f"Post {post.id} .*: edit it, or reject it"):
        await posting.approve(post.id, "ann")
    assert await state(posting, post) is State.DRAFT


async def test_a_rejected_post_is_never_sent(posting, x):
    post = await approved(posting)
    await posting.reject(post.id, "ann", "too dull")
    assert not await posting.send_next()
    assert await last_word(posting, post) == "too dull"
    with pytest.raises(WrongStateError):
        await posting.approve(post.id, "ann")
    assert x.sent == []


async def test_a_draft_of_a_forgotten_voice_or_a_removed_schedule(store, posting):
    with pytest.raises(NotStoredError, match="no voice"):
        await posting.draft("nobody", None, "Low water.", "a test")
    assert (await posting.draft(VOICE, "gone", "Low water.", "a test")).schedule is None
    await store.write(schedules.add, Schedule("tides", VOICE, "every", "3600", "UTC", "ann", START.isoformat(), None))
    assert (await posting.draft(VOICE, "tides", "Low water.", "a test")).schedule == "tides"


async def test_an_unknown_post(posting):
    for deed in (posting.approve(7, "ann"), posting.reject(7, "ann", ""), posting.confirm(7, "ann"), posting.history(7)):
        with pytest.raises(NotStoredError, match="no post 7"):
            await deed


async def test_without_x_the_outbox_is_kept_and_nothing_sent(store):
    posting = Posting(store, None)
    post = await approved(posting)
    assert not await posting.send_next()
    assert await state(posting, post) is State.APPROVED


# ------------------------------------------------------------------ the switch


async def test_while_posting_is_paused_nothing_is_sent_and_after_it_everything_is(posting, x):
    post = await approved(posting)
    paused = await posting.pause("ann", "a wrong word")
    assert not await posting.send_next()
    assert (await state(posting, post), x.sent) == (State.APPROVED, [])
    assert await posting.resume("bob") == paused
    assert await posting.paused() is None
    assert await posting.send_next()
    assert x.sent == ["Low water."]


async def test_a_pause_is_a_row_so_it_stops_other_processes_and_survives_them(store, posting, x):
    await approved(posting)
    await posting.pause("ann")
    async with Store(store.path) as other:
        sender = Posting(other, {DEFAULT_ACCOUNT: x})
        assert not await sender.send_next()
        found = await sender.paused()
    assert (found.paused_by, found.why, x.sent) == ("ann", "", [])


async def test_a_pause_that_comes_after_the_look_still_holds(store, posting):
    """The look is a read of its own, made before the post is taken."""
    post = await approved(posting)
    await posting.pause("ann")
    assert await store.write(module._take, post.id, START) is None
    assert await state(posting, post) is State.APPROVED


async def test_the_first_pause_lasts_and_ends_once(posting):
    first = await posting.pause("ann", "a wrong word")
    assert await posting.pause("bob", "me too") == first
    await posting.resume("bob")
    with pytest.raises(WrongStateError, match="Posting is not paused"):
        await posting.resume("bob")


# ------------------------------------------------------------ what X may answer


async def test_a_duplicate_fails_and_the_next_goes_at_once(posting, x):
    post = await approved(posting)
    await approved(posting, "High water.")
    x.outcomes = [SendError("Regenerate it.", Retry.REGENERATE)]
    await posting.send_next()
    assert (await state(posting, post), await last_word(posting, post)) == (State.FAILED, "Regenerate it.")
    assert await posting.send_next()


async def test_a_refusal_for_good_holds_the_account_up_until_a_person_has_decided(posting, x, clock):
    post, behind = await approved(posting), await approved(posting, "High water.")
    told = []

    async def tell(post: Post, why: str) -> None:
        told.append((post.id, why))

    posting.tell = tell
    x.outcomes = [SendError("Buy credits.", Retry.NEVER)]
    await posting.send_next()
    assert (await state(posting, post), await last_word(posting, post)) == (State.FAILED, "Buy credits.")
    clock.pass_(30 * 86400)
    assert not await posting.send_next()
    assert told == [(post.id, "Buy credits.")]
    await posting.reject(post.id, "ann", "")
    await posting.send_next()
    assert await state(posting, behind) is State.POSTED


async def test_a_failed_post_is_sent_after_a_new_approval_and_before_those_behind_it(posting, x):
    post = await approved(posting)
    await approved(posting, "High water.")
    x.outcomes = [SendError("Buy credits.", Retry.NEVER)]
    await posting.send_next()
    await posting.approve(post.id, "bob")
    await posting.send_next()
    assert await state(posting, post) is State.POSTED
    assert x.sent == ["Low water."] * 2


async def test_an_exhausted_limit_stops_everything_until_it_resets(posting, x, clock):
    post = await approved(posting)
    await approved(posting, "High water.")
    x.outcomes = [SendError("Wait.", Retry.WAIT, START + timedelta(hours=2))]
    await posting.send_next()
    assert await state(posting, post) is State.APPROVED
    clock.pass_(2 * 3600 - 1)
    assert not await posting.send_next()
    clock.pass_(1)
    await posting.send_next()
    assert x.sent == ["Low water."] * 2


async def test_a_reset_in_the_past_is_no_storm(posting, x, clock):
    """This machine's clock may be ahead of X's."""
    await approved(posting)
    x.outcomes = [SendError("Wait.", Retry.WAIT, START - timedelta(hours=1)) for _ in range(3)]
    waits = []
    for _ in range(3):
        await posting.send_next()
        before = clock.now
        while not await posting.send_next() and clock.now - before < timedelta(minutes=1):
            clock.pass_(0.5)
            if waits_until(posting) <= clock.now:
                break
        waits.append((clock.now - before).total_seconds())
    assert waits == [2, 4, 8]


async def test_a_refused_connection_is_tried_again_with_growing_pauses_that_end(posting, x, clock):
    post = await approved(posting)
    x.outcomes = [SendError("Unreachable.", Retry.LATER) for _ in range(12)]
    pauses = []
    while await state(posting, post) is not State.POSTED:
        assert await posting.send_next()
        if await state(posting, post) is State.APPROVED:
            pauses.append((waits_until(posting) - clock.now).total_seconds())
            clock.pass_(pauses[-1] - 0.001)
            assert not await posting.send_next()
            clock.pass_(0.001)
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256, *[LONGEST_PAUSE] * 4]


async def test_pauses_are_jittered(store, x, clock):
    posting = Posting(store, {DEFAULT_ACCOUNT: x}, clock=clock, jitter=lambda: 0.0)
    await approved(posting)
    x.outcomes = [SendError("Unreachable.", Retry.LATER)]
    await posting.send_next()
    assert waits_until(posting) == START + timedelta(seconds=1)


# ------------------------------------------------------------------ nobody knows


@pytest.mark.parametrize("outcome", [SendError("Timed out.", Retry.UNSURE), RuntimeError("a defect")])
async def test_a_post_that_may_be_there_waits_for_a_person(posting, x, clock, outcome):
    post = await approved(posting)
    x.outcomes = [outcome]
    await posting.send_next()
    for _ in range(5):
        clock.pass_(86400)
        assert not await posting.send_next()
    assert await state(posting, post) is State.SENDING
    assert "look there: approve it to send it again" in await last_word(posting, post)
    assert len(x.sent) == 1


async def test_a_person_who_looked_may_have_it_sent_again(posting, x, clock):
    post = await approved(posting)
    x.outcomes = [SendError("Timed out.", Retry.UNSURE)]
    await posting.send_next()
    await posting.approve(post.id, "ann")
    assert await last_word(posting, post) == "looked there, and it is not: send it again"
    clock.pass_(LONGEST_PAUSE)
    await posting.send_next()
    assert await state(posting, post) is State.POSTED


@pytest.mark.parametrize(("deed", "becomes"), [("confirm", State.POSTED), ("reject", State.REJECTED)])
async def test_a_person_who_looked_may_leave_it(posting, x, deed, becomes):
    post = await approved(posting)
    x.outcomes = [SendError("Timed out.", Retry.UNSURE)]
    await posting.send_next()
    await (posting.confirm(post.id, "ann") if deed == "confirm" else posting.reject(post.id, "ann", "leave it"))
    assert await state(posting, post) is becomes


async def test_nobody_decides_while_the_request_is_on_its_way(posting, x):
    post = await approved(posting)
    refused = []

    async def interfere() -> None:
        for deed in (posting.approve(post.id, "ann"), posting.reject(post.id, "ann", ""), posting.confirm(post.id, "ann")):
            with pytest.raises(WrongStateError, match="being sent at this moment"):
                await deed
            refused.append(1)

    x.meanwhile = interfere
    await posting.send_next()
    assert len(refused) == 3
    assert await state(posting, post) is State.POSTED


async def test_only_a_post_that_waits_for_a_look_is_confirmed(posting):
    post = await approved(posting)
    with pytest.raises(WrongStateError):
        await posting.confirm(post.id, "ann")


async def test_what_a_dead_sender_left_is_handed_to_a_person_once(store, x, posting):
    post = await approved(posting)
    await store.write(outbox.change, post.id, State.SENDING, who="mynah", why="sent")
    for _ in range(2):
        await posting.recover()
        assert not await posting.send_next()
    assert [c["status"] for c in await posting.history(post.id)].count("sending") == 2
    assert "Mynah stopped while this was being sent" in await last_word(posting, post)
    assert x.sent == []


@pytest.mark.parametrize("outcomes", [[], [Retry.UNSURE], [Retry.NEVER], [Retry.LATER], [Retry.REGENERATE]])
async def test_a_post_forgotten_on_its_way_ends_quietly(store, posting, x, outcomes):
    await approved(posting)
    x.outcomes = [SendError("No.", retry) for retry in outcomes]
    x.meanwhile = lambda: store.write(accounts.forget, VOICE)
    assert await posting.send_next()
    assert await posting.listed() == []


async def test_a_full_disk_does_not_make_mynah_forget_what_is_on_x(store, posting, x, monkeypatch):
    post = await approved(posting)
    monkeypatch.setattr(module, "STORE_SECONDS", 0)
    write, left = store.write, [StoreError("The disk is full.")] * 3

    async def full(work, *args, **more):
        if x.sent and left:
            raise left.pop()
        return await write(work, *args, **more)

    monkeypatch.setattr(store, "write", full)
    await posting.send_next()
    assert (await state(posting, post), left, x.sent) == (State.POSTED, [], ["Low water."])


# --------------------------------------------------------------------- the loop


async def test_the_loop_sends_what_another_process_approved(store, posting, x):
    post = await posting.draft(VOICE, None, "Low water.", "a test")
    sent = asyncio.Event()
    x.meanwhile = sent.set
    loop = asyncio.create_task(posting.run_forever())
    async with Store(store.path) as other, asyncio.timeout(5):
        await Posting(other, None).approve(post.id, "ann")
        await sent.wait()
        while await state(posting, post) is not State.POSTED:
            await store.changed()
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop


async def test_an_answer_on_its_way_is_waited_for_when_mynah_stops(posting, x):
    post = await approved(posting)
    started, answered = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        started.set()
        await answered.wait()

    x.meanwhile = slow
    loop = asyncio.create_task(posting.run_forever())
    await started.wait()
    loop.cancel()
    asyncio.get_running_loop().call_soon(answered.set)
    with pytest.raises(asyncio.CancelledError):
        await loop
    assert await state(posting, post) is State.POSTED


async def test_an_answer_that_does_not_come_holds_nothing_up(posting, x, monkeypatch):
    monkeypatch.setattr(module, "GRACE_SECONDS", 0)
    post = await approved(posting)
    started = asyncio.Event()

    async def never() -> None:
        started.set()
        await asyncio.Event().wait()

    x.meanwhile = never
    loop = asyncio.create_task(posting.run_forever())
    await started.wait()
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop
    assert await state(posting, post) is State.SENDING


# ---------------------------------------------------------------- destinations


@pytest.fixture
async def several(store, clock) -> tuple[Posting, dict[str, FakeX]]:
    settings = X(accounts={"news": {}, "mute": {}})
    accounts = {DEFAULT_ACCOUNT: FakeX(store.path), "news": FakeX(store.path)}
    return Posting(store, accounts, settings=settings, clock=clock, jitter=lambda: 1.0), accounts


async def to(posting: Posting, text: str, **where) -> Post:
    return await posting.approve((await posting.draft(VOICE, None, text, "a test", **where)).id, "ann")


@pytest.mark.parametrize(
    "outcome",
    [
        SendError("Wait.", Retry.WAIT, START + timedelta(hours=2)),
        SendError("Unreachable.", Retry.LATER),
        SendError("Timed out.", Retry.UNSURE),
        SendError("Wrong keys.", Retry.NEVER),
    ],
)
async def test_what_stops_one_account_stops_no_other(several, outcome):
    posting, accounts = several
    for number in (1, 2):
        for account in accounts:
            await to(posting, f"{account} {number}", account=account)
    accounts[DEFAULT_ACCOUNT].outcomes = [outcome]
    while await posting.send_next():
        pass
    assert accounts[DEFAULT_ACCOUNT].sent == ["default 1"]
    assert accounts["news"].sent == ["news 1", "news 2"]


async def test_accounts_are_sent_to_at_the_same_time_and_each_in_its_order(store, several):
    posting, accounts = several
    for number in (1, 2):
        for account in accounts:
            await to(posting, f"{account} {number}", account=account)
    slow, quick = asyncio.Event(), asyncio.Event()
    accounts[DEFAULT_ACCOUNT].meanwhile = slow.wait
    accounts["news"].meanwhile = lambda: quick.set() if len(accounts["news"].sent) == 2 else None
    loop = asyncio.create_task(posting.run_forever())
    async with asyncio.timeout(5):
        await quick.wait()
        assert accounts[DEFAULT_ACCOUNT].sent == ["default 1"]
        slow.set()
        while {post.status for post in await posting.listed()} != {State.POSTED}:
            await store.changed()
    assert accounts[DEFAULT_ACCOUNT].sent == ["default 1", "default 2"]
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop


async def test_an_account_without_keys_keeps_its_posts_and_a_channel_waits_for_discord(several):
    posting, _ = several
    mute, channel = await to(posting, "one", account="mute"), await to(posting, "two", channel=7)
    assert not await posting.send_next()
    assert (mute.destination, channel.destination) == (Destination(account="mute"), Destination(channel=7))
    posting.channels = FakeX(posting._store.path)
    assert await posting.send_next()
    assert (posting.channels.sent, await state(posting, mute)) == (["two"], State.APPROVED)


async def test_what_was_being_sent_to_a_channel_is_looked_for_once_discord_is_there(store, several, clock):
    posting, _ = several
    post = await to(posting, "two", channel=7)
    await store.write(module._take, post.id, START)
    await posting.recover()
    assert not (await posting.listed())[0].awaits_person
    posting.channels = FakeX(store.path)
    posting.channels.looks_after = timedelta(seconds=5)
    posting.channels.there["two"] = "99"
    assert not await posting.send_next()
    clock.pass_(5)
    assert await posting.send_next()
    (found,) = await posting.listed()
    assert (found.status, found.x_id, posting.channels.sent) == (State.POSTED, "99", [])


@pytest.mark.parametrize(
    ("where", "says"),
    [({"account": "other"}, "no X account other: .* default, news, mute"), ({"account": "news", "channel": 7}, "not to both")],
)
async def test_a_place_that_there_is_not(several, where, says):
    with pytest.raises(BadRequestError, match=says):
        await several[0].draft(VOICE, None, "one", "a test", **where)
    assert await several[0].listed() == []


# ---------------------------------------------------------------- a new draft


async def test_a_duplicate_is_written_anew(posting, x):
    async def another(post: Post) -> None:
        await posting.draft(post.voice, post.schedule, "High water.", f"in the place of post {post.id}", account=post.account)

    posting.regenerate = another
    post = await approved(posting)
    x.outcomes = [SendError("Regenerate it.", Retry.REGENERATE)]
    await posting.send_next()
    await asyncio.gather(*posting._aside)
    assert [(found.text, found.status) for found in await posting.listed()] == [("High water.", State.DRAFT), (post.text, State.FAILED)]


async def test_what_takes_a_duplicates_place_is_written_with_its_refusal_or_not_at_all(posting, x, monkeypatch):
    seen = []

    def again(db, post: Post) -> bool:
        seen.append((post.status, db["posts"].count))
        outbox.add_draft(db, voice=post.voice, schedule=None, text="High water.", who="a test", to=post.destination)
        if len(seen) == 1:
            raise StoreError("The disk is full.")
        return True

    monkeypatch.setattr(module, "STORE_SECONDS", 0)
    posting.again = again
    posting.regenerate = lambda _: pytest.fail("nobody else is to write one")
    post = await approved(posting)
    x.outcomes = [SendError("Regenerate it.", Retry.REGENERATE)]
    await posting.send_next()
    assert seen == [(State.FAILED, 1)] * 2
    assert [(found.text, found.status) for found in await posting.listed()] == [("High water.", State.DRAFT), (post.text, State.FAILED)]


async def test_what_cannot_be_told_or_written_anew_stops_nothing(posting, x):
    async def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    posting.regenerate = posting.tell = broken
    for retry in (Retry.REGENERATE, Retry.NEVER):
        post = await approved(posting)
        x.outcomes = [SendError("No.", retry)]
        await posting.send_next()
        await asyncio.gather(*posting._aside)
        assert await state(posting, post) is State.FAILED


async def test_a_look_that_fails_waits_as_a_failed_try_does_and_holds_up_those_behind_it(posting, x, clock):
    x.looks_after = timedelta(seconds=120)
    post, behind = await approved(posting), await approved(posting, "High water.")
    x.outcomes = [SendError("Timed out.", Retry.UNSURE)]
    x.failing_looks = [SendError("Unreachable.", Retry.LATER), SendError("Wait.", Retry.WAIT, START + timedelta(hours=1))]
    await posting.send_next()
    clock.pass_(120)
    await posting.send_next()
    assert not await posting.send_next()
    clock.pass_(4)
    await posting.send_next()
    clock.pass_(3000)
    assert not await posting.send_next()
    with pytest.raises(WrongStateError, match="or looked for"):
        await posting.approve(post.id, "ann")
    clock.pass_(600)
    x.there["Low water."] = "7"
    await posting.send_next()
    await posting.send_next()
    assert (await state(posting, post), await state(posting, behind)) == (State.POSTED, State.POSTED)
    assert x.looks == ["Low water."] * 3


async def test_a_look_that_breaks_for_a_reason_of_mynahs_own_is_tried_again_and_stops_nothing_else(posting, x, clock):
    x.looks_after = timedelta(0)
    post = await approved(posting)
    x.outcomes = [SendError("Timed out.", Retry.UNSURE)]
    x.failing_looks = [RuntimeError("a defect")]
    x.there["Low water."] = "7"
    for _ in range(3):
        await posting.send_next()
        clock.pass_(LONGEST_PAUSE)
    assert (await state(posting, post), x.looks) == (State.POSTED, ["Low water."] * 2)


# -------------------------------------------------------------------- the text


async def test_an_edited_post_is_a_draft_again_and_its_history_keeps_what_it_said(posting, x):
    post = await approved(posting)
    edited = await posting.edit(post.id, " Lower water. ", "bob")
    assert (edited.text, edited.status) == ("Lower water.", State.DRAFT)
    assert not await posting.send_next()
    change = (await posting.history(post.id))[-1]
    assert (change["status"], change["who"], change["why"], change["was"]) == ("draft", "bob", "edited", "Low water.")
    await posting.edit(post.id, "Lowest water.", "bob", approve=True)
    await posting.send_next()
    assert x.sent == ["Lowest water."]


async def test_a_post_that_failed_may_be_mended_and_then_holds_nothing_up(posting, x):
    post = await approved(posting)
    await approved(posting, "High water.")
    x.outcomes = [SendError("Not that.", Retry.NEVER)]
    await posting.send_next()
    await posting.edit(post.id, "Lower water.", "bob")
    await posting.send_next()
    assert x.sent == ["Low water.", "High water."]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a" * 281, "takes 281"),
        ("hello @someone", "mentions"),
        ("see x.ai", "link"),
        ("Buy $TSLA or $BRK.A.", "more than one cashtag"),
        (" ", "no text"),
        (" Low water.", "says that already"),
    ],
)
async def test_a_text_that_may_not_be_is_not_taken(posting, text, says):
    post = await approved(posting)
    with pytest.raises(BadRequestError, match=says):
        await posting.edit(post.id, text, "bob")
    assert (await state(posting, post), len(await posting.history(post.id))) == (State.APPROVED, 2)


async def test_what_is_on_its_way_or_settled_is_not_edited(posting, x):
    post = await approved(posting)

    async def interfere() -> None:
        for approve in (False, True):
            with pytest.raises(WrongStateError):
                await posting.edit(post.id, "Lower water.", "bob", approve=approve)

    x.meanwhile = interfere
    await posting.send_next()
    await interfere()
    assert (await state(posting, post), x.sent) == (State.POSTED, ["Low water."])


async def test_what_may_be_there_is_not_edited_before_somebody_has_looked(posting, x):
    post = await approved(posting)
    x.outcomes = [SendError("Timed out.", Retry.UNSURE)]
    await posting.send_next()
    for approve in (False, True):
        with pytest.raises(WrongStateError, match=f"Post {post.id} may be there already, so its text stays"):
            await posting.edit(post.id, "Lower water.", "bob", approve=approve)
    assert await state(posting, post) is State.SENDING


async def test_what_the_blocklist_names_goes_nowhere_whoever_wrote_it_and_though_it_was_listed_later(store, x, tmp_path):
    path = tmp_path / "blocklist.txt"
    path.write_text("anchor\n")
    posting = Posting(store, {DEFAULT_ACCOUNT: x}, blocklist=Blocklist(path))
    post = await posting.draft(VOICE, None, "Low water.", "a test")
    with pytest.raises(BadRequestError, match="That text holds what line 1 of the blocklist refuses"):
        await posting.edit(post.id, "Weigh Anch\u043er.", "bob", approve=True)
    path.write_text("# anchor\nwater\n")
    with pytest.raises(BadRequestError, match=f"Post {post.id} holds what line 2 of the blocklist refuses: edit it"):
        await posting.approve(post.id, "bob")
    assert await state(posting, post) is State.DRAFT


async def test_what_waits_for_a_person_is_listed_however_old_it_is(posting, x):
    post = await approved(posting)
    x.outcomes = [SendError("No.", Retry.NEVER)]
    await posting.send_next()
    newer = [(await posting.draft(VOICE, None, f"Tide {number}.", "a test")).id for number in range(3)]
    assert [found.id for found in await posting.listed(2)] == [newer[2], newer[1], post.id]


async def test_links_pass_where_the_operator_lets_them(store, x):
    posting = Posting(store, {DEFAULT_ACCOUNT: x}, settings=X(links=True))
    await approved(posting, "See https://example.com")
    await posting.send_next()
    assert x.sent == ["See https://example.com"]


async def test_a_disclosure_is_added_once_to_what_goes_to_x_and_counts(store, x, posting):
    old = await posting.draft(VOICE, None, "Written before.", "a test")
    posting = Posting(store, {DEFAULT_ACCOUNT: x}, settings=X(suffix=" 🤖"))
    for text in ("Low water.", "High water. 🤖", "Neap tide.🤖 "):
        await approved(posting, text)
    edited = await approved(posting, "Spring tide.")
    await posting.edit(edited.id, "Spring tides.", "bob", approve=True)
    await posting.approve(old.id, "ann")
    while await posting.send_next():
        pass
    assert x.sent == ["Written before. 🤖", "Low water. 🤖", "High water. 🤖", "Neap tide.🤖 ", "Spring tides. 🤖"]
    assert (await posting.draft(VOICE, None, "Here.", "a test", channel=7)).text == "Here."
    with pytest.raises(BadRequestError, match="takes 281 of"):
        await approved(posting, "a" * 278)


def test_lines_are_sent_to_x_where_the_account_has_keys_that_is_meant_when_none_is_named(store, x):
    assert Posting(store, {DEFAULT_ACCOUNT: x}).sends
    assert not Posting(store, {"news": x}).sends
    assert not Posting(store).sends
