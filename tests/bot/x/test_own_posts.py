"""Whether a post is there is looked for on X itself before it is sent again, and what looks and posts cost is in the ledger."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bot.services.posting import LOOKING, Posting
from bot.settings import X
from bot.x.sender import PAGE, XSender
from bot.x.text import same_text
from data import spending
from data.outbox import DEFAULT_ACCOUNT, Post, State
from data.store import Store
from tests.bot.clock import START, Clock
from tests.bot.x.rows import VOICE, add_voice, sender_to
from tests.loopback_x import Answer, LoopbackX, Made

LAG = 120
LOOKING_ON = X(look_at_own_posts=True, look_after_seconds=LAG)


@pytest.fixture
async def store(tmp_path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "mynah.db") as store:
        await store.write(add_voice)
        yield store


@pytest.fixture
async def server(clock) -> AsyncIterator[LoopbackX]:
    async with LoopbackX(clock=clock) as server:
        yield server


class Stage:
    """An outbox whose sender looks, before an X that a test leads."""

    def __init__(self, store: Store, server: LoopbackX, clock: Clock, settings: X = LOOKING_ON) -> None:
        self.store, self.server, self.clock = store, server, clock
        self.sender: XSender = sender_to(store, server.url, settings=settings, clock=clock, patience=1.0)
        self.posting = Posting(store, {DEFAULT_ACCOUNT: self.sender}, settings=settings, clock=clock, jitter=lambda: 1.0)

    async def approved(self, text: str = "Low water.") -> Post:
        return await self.posting.approve((await self.posting.draft(VOICE, None, text, "a test")).id, "ann")

    async def now(self, post: Post) -> Post:
        return next(found for found in await self.posting.listed() if found.id == post.id)

    async def last_word(self, post: Post) -> str:
        return (await self.posting.history(post.id))[-1]["why"]

    async def cost(self, why: str) -> int:
        return await self.store.read(spending.spent_on, why, START - timedelta(days=1))

    async def later(self, seconds: float) -> bool:
        """Let time pass, and try."""
        self.clock.pass_(seconds)
        return await self.posting.send_next()


@pytest.fixture
async def stage(store, server, clock) -> AsyncIterator[Stage]:
    stage = Stage(store, server, clock)
    yield stage
    await stage.sender.close()


@pytest.mark.parametrize("answer", [Answer.SILENT_AFTER_MAKING, Answer.CUT_AFTER_MAKING, Answer.FAILED_AFTER_MAKING, Answer.NO_ID])
async def test_a_post_that_was_made_though_no_answer_came_is_found_and_not_sent_again(stage, server, answer):
    post = await stage.approved("Low & <high> water. \n")
    server.script.append(answer)
    await stage.posting.send_next()
    assert (await stage.now(post)).status is State.SENDING
    assert not await stage.later(LAG - 1)
    assert server.looked == []
    assert await stage.later(1)
    found = await stage.now(post)
    assert (found.status, found.x_id, found.unsure_since) == (State.POSTED, server.made[0].id, None)
    assert await stage.last_word(post) == "looked there, and found it: an earlier try posted it"
    assert len(server.requests) == len(server.made) == 1


@pytest.mark.parametrize("answer", [Answer.SILENT, Answer.CUT, Answer.FAILED])
async def test_a_post_that_is_not_there_is_sent_again_before_the_next(stage, server, answer):
    first, second = await stage.approved(), await stage.approved("High water.")
    server.script.append(answer)
    await stage.posting.send_next()
    while await stage.later(LAG):
        pass
    assert [made.text for made in server.made] == ["Low water.", "High water."]
    assert [(await stage.now(post)).status for post in (first, second)] == [State.POSTED] * 2
    assert [change["why"] for change in await stage.posting.history(first.id)][-3:] == [
        "looked there, and it is not: it is sent again",
        "sent",
        "posted",
    ]


async def test_what_a_killed_sender_left_is_looked_for(stage, server, store, clock):
    post = await stage.approved()
    server.script.append(Answer.SILENT_AFTER_MAKING)
    await stage.posting.send_next()
    again = Stage(store, server, clock)
    await again.posting.recover()
    assert not await again.later(LAG - 1)
    assert await again.later(1)
    assert (await again.now(post)).status is State.POSTED
    assert len(server.requests) == 1
    await again.sender.close()


async def test_a_post_in_between_does_not_hide_it_nor_do_many(stage, server, clock):
    await stage.approved("Before.")
    await stage.posting.send_next()
    clock.pass_(60)
    post = await stage.approved()
    server.script.append(Answer.SILENT_AFTER_MAKING)
    await stage.posting.send_next()
    for number in range(2 * PAGE + 1):
        server.made.append(Made(str(int(server.made[-1].id) + 1), "1", f"By hand {number}.", clock()))
    await stage.later(LAG)
    assert (await stage.now(post)).x_id == server.made[1].id
    assert [look.get("since_id") for look in server.looked] == [server.made[0].id] * 3
    assert await stage.cost("a look at own posts") == (2 * PAGE + 2) * 5000


async def test_the_same_text_of_another_post_or_of_an_older_one_is_not_taken_for_it(stage, server, clock):
    """One is an earlier post of Mynah's, whose number it knows; the other was made by hand, before the first try."""
    known = await stage.approved()
    await stage.posting.send_next()
    by_hand = Made("1456012973835788299", "1", "High water.", clock())
    server.made.append(by_hand)
    clock.pass_(7 * 86400)
    for text in ("Low water.", "High water."):
        post = await stage.approved(text)
        server.script.append(Answer.SILENT)
        await stage.posting.send_next()
        await stage.later(LAG)
        assert ((await stage.now(post)).status, (await stage.now(post)).x_id) == (State.APPROVED, None)
        await stage.posting.reject(post.id, "ann", "")
    assert (await stage.now(known)).x_id == server.made[0].id


async def test_a_clock_that_was_set_ahead_hides_nothing_where_an_earlier_post_is_known(stage, server, clock):
    await stage.approved("Before.")
    await stage.posting.send_next()
    server.clock = lambda: START
    clock.pass_(1800)
    post = await stage.approved()
    server.script.append(Answer.SILENT_AFTER_MAKING)
    await stage.posting.send_next()
    await stage.later(LAG)
    assert (await stage.now(post)).status is State.POSTED
    assert "start_time" not in server.looked[0]


async def test_a_duplicate_of_what_an_earlier_try_made_is_found_and_no_other_draft_is_written(stage, server):
    """X showed it later than the look allows for, so it was sent again."""
    regenerated = []
    stage.posting.regenerate = regenerated.append
    server.hides_for = timedelta(seconds=LAG + 10)
    post = await stage.approved()
    server.script.append(Answer.SILENT_AFTER_MAKING)
    await stage.posting.send_next()
    await stage.later(LAG)
    assert (await stage.now(post)).status is State.APPROVED
    await stage.later(60)
    assert (await stage.now(post)).x_id == server.made[0].id
    assert (len(server.made), len(server.requests), regenerated) == (1, 2, [])


async def test_a_duplicate_that_is_not_found_is_for_a_person(stage, server):
    server.hides_for = timedelta(days=1)
    post = await stage.approved()
    server.script.append(Answer.SILENT_AFTER_MAKING)
    await stage.posting.send_next()
    await stage.later(LAG)
    await stage.later(60)
    assert (await stage.now(post)).awaits_person
    assert "this very text from this account already" in await stage.last_word(post)
    assert not await stage.later(86400)


# ---------------------------------------------------------- looks that are no look


async def test_without_the_switch_a_person_looks(store, server, clock):
    stage = Stage(store, server, clock, X())
    post = await stage.approved()
    server.script.append(Answer.SILENT)
    await stage.posting.send_next()
    assert (await stage.now(post)).awaits_person
    assert not await stage.later(86400)
    assert server.looked == []
    await stage.sender.close()


@pytest.mark.parametrize(("answer", "says"), [(Answer.FORBIDDEN, "does not show own posts"), (Answer.NO_CREDITS, "402")])
async def test_a_look_that_x_refuses_is_a_persons(stage, server, answer, says):
    post, behind = await stage.approved(), await stage.approved("High water.")
    server.script.append(Answer.SILENT)
    server.looks.append(answer)
    await stage.posting.send_next()
    await stage.later(LAG)
    assert (await stage.now(post)).awaits_person
    assert says in await stage.last_word(post)
    await stage.later(LAG)
    assert (await stage.now(behind)).status is State.POSTED


async def test_a_look_that_fails_is_tried_again_and_at_last_a_persons(stage, server):
    post = await stage.approved()
    server.script.append(Answer.SILENT_AFTER_MAKING)
    server.looks.extend([Answer.FAILED, Answer.SILENT, Answer.LIMITED])
    server.resets["x-rate-limit"] = int((stage.clock() + timedelta(minutes=15)).timestamp())
    await stage.posting.send_next()
    while (await stage.now(post)).status is State.SENDING:
        await stage.later(300)
    assert (await stage.now(post)).status is State.POSTED
    assert len(server.looked) == 4

    server.looks.extend([Answer.FAILED] * 100)
    post = await stage.approved("High water.")
    server.script.append(Answer.SILENT)
    await stage.posting.send_next()
    began = stage.clock()
    while not (await stage.now(post)).awaits_person:
        await stage.later(300)
    assert LOOKING < stage.clock() - began < LOOKING + timedelta(minutes=30)
    assert len(server.requests) == 2


async def test_when_the_looks_budget_is_used_up_a_person_looks_until_tomorrow(store, server, clock):
    cap = 2 * PAGE * 0.005 - 0.001  # one look that finds nothing leaves room for another; a page that is full does not
    stage = Stage(store, server, clock, X(look_at_own_posts=True, look_daily_cap=cap))
    post = await stage.approved()
    server.made += [Made(str(number), "1", f"By hand {number}.", clock()) for number in range(1, 2 * PAGE)]
    server.script.append(Answer.SILENT)
    await stage.posting.send_next()
    await stage.later(LAG)
    assert (await stage.now(post)).awaits_person
    assert "(a look at own posts), and x.look_daily_cap ($0.099) leaves $0.049" in await stage.last_word(post)
    assert len(server.looked) == 1
    await stage.sender.close()


# ------------------------------------------------------------------- the ledger


async def test_a_post_is_paid_for_once_it_is_there_and_one_with_a_link_dearer(store, server, clock):
    stage = Stage(store, server, clock, X(links=True))
    await stage.approved()
    await stage.approved("See https://example.com")
    server.script.append(Answer.LIMITED)
    server.resets["x-rate-limit"] = int(START.timestamp()) + 900
    await stage.posting.send_next()
    assert await stage.cost("post 1") == 0
    while await stage.later(3600):
        pass
    assert (await stage.cost("post 1"), await stage.cost("post 2")) == (15_000, 200_000)
    await stage.sender.close()


async def test_a_post_of_which_nobody_knows_is_paid_for(stage, server):
    await stage.approved()
    server.script.append(Answer.SILENT)
    await stage.posting.send_next()
    assert await stage.cost("post 1") == 15_000


async def test_when_the_cap_is_used_up_nothing_is_sent_until_tomorrow_and_the_outbox_says_so(store, server, clock):
    stage = Stage(store, server, clock, X(daily_cap=0.02))
    await stage.approved()
    post = await stage.approved("High water.")
    await stage.posting.send_next()
    assert await stage.posting.send_next()
    assert (await stage.now(post)).status is State.APPROVED
    assert "x.daily_cap ($0.02) leaves $0.005" in await stage.last_word(post)
    assert not await stage.later(12 * 3600 - 1)
    assert server.requests == ["Low water."]
    await stage.later(1)
    assert (await stage.now(post)).status is State.POSTED
    await stage.sender.close()


# --------------------------------------------------------------------- the text


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("A & B < C > D", "A &amp; B &lt; C &gt; D"),
        ("A &amp; B", "A &amp;amp; B"),
        ("A & B", "A & B"),
        ("Low water. \n", "Low water."),
        ("cafe\u0301", "caf\u00e9"),
        ("see example.com/a now", "see https://t.co/abcdefghij now"),
    ],
)
def test_what_x_makes_of_a_text_is_the_same(ours, theirs):
    assert same_text(ours, theirs)


@pytest.mark.parametrize(("ours", "theirs"), [("Low water.", "Low water"), ("A & B", "A &lt; B"), ("see x.ai", "see it")])
def test_another_text_is_another(ours, theirs):
    assert not same_text(ours, theirs)
