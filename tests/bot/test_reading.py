"""Reading accounts from X: only what is new, each post paid for once, and cut off anywhere without loss."""

import asyncio
import pkgutil
from datetime import UTC, datetime

import pytest

from bot.errors import BadRequestError, BudgetError, ConsentError
from bot.services import paging
from bot.services.importing import add_posts
from bot.services.reading import Reading
from bot.services.spending import Budget
from bot.settings import Settings
from bot.x.port import Retry, XError
from bot.x.tweepy_reader import TweepyReader
from data import accounts, consents, timelines
from data.consents import Ground
from data.sources import UNKNOWN
from data.store import Store
from data.tweets import Tweet
from tests.loopback_x import SECRETS, Account, Answer, LoopbackX

POST, USER = 5_000, 10_000


@pytest.fixture
async def server():
    async with LoopbackX(accounts=[Account("7", "Ann")]) as server:
        yield server


@pytest.fixture
def ann(server):
    return server.accounts[0]


@pytest.fixture
def make(store, settings, server):
    """What makes the service with other settings."""

    def make(store=store, *, daily_cap=100.0, **more) -> Reading:
        changed = settings.model_dump() | more
        changed["x"] |= {"read_timelines": True, "daily_cap": daily_cap, "monthly_cap": 1000.0, "api_url": server.url} | more.get("x", {})
        wanted = Settings.model_validate(changed)
        wanted.data_dir.mkdir(parents=True, exist_ok=True)
        budget = Budget(store, wanted.x)
        return Reading(store, wanted, budget, lambda: TweepyReader(SECRETS, api_url=server.url, read_timeout=5))

    return make


@pytest.fixture
async def reading(make):
    service = make()
    yield service
    await service.close()


async def read(reading, handle="ann", **more):
    return await reading.read(handle, by="a test", ground=Ground.PERMISSION, **more)


async def ids(store, handle="ann"):
    return {tweet.id for tweet in await store.read(accounts.read_tweets, handle)}


def there(account):
    return {row["id"] for row in account.rows}


async def spent(reading):
    return sum(one.cost for one in (await reading._budget.overview()).month)


async def test_all_is_read_and_claimed_and_then_only_what_is_new(reading, store, server, ann):
    ann.write(250)
    first = await read(reading, "@Ann")
    assert (first.handle, first.posts, first.new, first.cost, first.more, first.problems) == ("ann", 250, 250, 250 * POST + USER, False, [])
    assert await ids(store) == there(ann)
    assert [one.ground for one in await store.read(consents.claims, "ann")] == [Ground.PERMISSION]

    ann.write(3)
    second = await reading.read("ann", by="a test", ground=None)
    assert (second.posts, second.new, second.cost) == (3, 3, 3 * POST + USER)
    third = await read(reading)
    assert (third.posts, third.cost) == (0, USER)
    assert max(server.delivered[number] for number in there(ann)) == 1
    assert await spent(reading) == first.cost + second.cost + third.cost


async def test_the_newest_are_read_first_and_more_of_them_later(reading, store, server, ann):
    ann.write(400)
    first = await read(reading, posts=150)
    assert (first.posts, first.more) == (150, True)
    ann.write(20)
    assert (await read(reading, posts=150)).posts == 20
    assert (await read(reading, posts=150)).posts == 0
    assert await ids(store) == {row["id"] for row in ann.rows[:170]}
    rest = await read(reading, posts=300)
    assert (rest.posts, rest.more) == (130, True)
    assert (await read(reading)).more is False
    assert await ids(store) == there(ann)
    assert max(server.delivered[number] for number in there(ann)) == 1


async def test_at_most_3200_are_to_be_had(reading, store, ann):
    ann.write(3250)
    found = await read(reading)
    assert (found.posts, found.more) == (3200, False)


async def test_retweets_cost_nothing(reading, store, server, ann):
    ann.write(10)
    ann.write(250, referenced_posts=[{"type": "retweeted", "id": "5"}])
    ann.write(10)
    found = await read(reading)
    assert (found.posts, found.cost) == (20, 20 * POST + USER)


async def test_most_is_told_before_and_never_passed(reading, ann):
    ann.write(40)
    told = []
    await read(reading, tell=lambda handle, estimate: told.append(estimate))
    ann.write(7)
    await read(reading, tell=lambda handle, estimate: told.append(estimate))
    assert [(one.posts, one.cost) for one in told] == [(45, 45 * POST + USER), (107, 107 * POST + USER)]
    assert reading.estimate(1000, accounts=2) == paging.Estimate(2000, 2 * (1000 * POST + USER))


async def test_what_might_pass_the_cap_is_refused_before_a_page_is_asked_for(make, server, store, ann):
    ann.write(400)
    reading = make(daily_cap=1.0)
    with pytest.raises(BudgetError) as caught:
        await read(reading)
    assert str(caught.value) == (
        "Reading @ann may cost $2.025 (405 posts), and $0.99 may still be spent today:"
        " ask for 198 posts at most, or raise the caps under [x] in config.toml."
    )
    assert [path for path, _ in server.reads] == ["/2/users/by/username/ann"]
    assert (await read(reading, posts=190)).posts == 190
    asked = len(server.reads)
    with pytest.raises(BudgetError, match=r"\$0.035 \(5 posts\), and \$0.03 may still"):
        await read(make(daily_cap=1.0))
    assert len(server.reads) == asked, "a look-up alone would be paid for in vain"
    assert await spent(reading) <= 1_000_000
    await reading.close()


async def test_reading_goes_by_its_own_cap_where_it_has_one(make, ann):
    ann.write(400)
    reading = make(x={"reading_daily_cap": 1.0})
    with pytest.raises(BudgetError, match=r"\$0\.99 may still be spent today: ask for 198 posts at most"):
        await read(reading)
    assert (await read(reading, posts=150)).posts == 150
    await reading.close()


async def test_an_account_that_is_forgotten_while_it_is_read_does_not_come_back(make, reading, store, ann, monkeypatch):
    ann.write(250)
    page = TweepyReader.page

    async def forgotten_before_the_second(self, *args, token=None, **more):
        if token:
            await store.write(accounts.forget, "ann")
        return await page(self, *args, token=token, **more)

    monkeypatch.setattr(TweepyReader, "page", forgotten_before_the_second)
    with pytest.raises(BadRequestError, match="@ann was forgotten while it was read"):
        await read(reading)
    assert await store.read(accounts.known_handles) == []
    assert await store.read(consents.claims, "ann") == []
    limited = make(x={"reading_daily_cap": 2.0})
    assert await limited._budget.left_to_read() == 2_000_000 - 200 * POST - USER, "what was paid stays paid"


@pytest.mark.parametrize("answer", [Answer.LIMITED, Answer.FAILED, Answer.CUT, Answer.NO_CREDITS])
async def test_a_refusal_in_the_middle_keeps_what_came_and_the_next_time_goes_on(reading, store, server, ann, answer):
    ann.write(350)
    server.reading.extend([Answer.CREATED] * 3 + [answer])
    found = await read(reading)
    assert (found.posts, found.more, len(found.problems)) == (200, True, 1)
    assert found.problems[0].endswith("is stored, and is not paid for again.")
    assert found.cost == await spent(reading)
    ann.write(5)
    assert (await read(reading)).posts == 155
    assert await ids(store) == there(ann)
    assert max(server.delivered[number] for number in there(ann)) == 1


async def test_a_refusal_at_once_is_raised_and_costs_nothing(reading, store, server, ann):
    ann.write(5)
    server.reading.append(Answer.LIMITED)
    with pytest.raises(XError) as caught:
        await read(reading)
    assert caught.value.retry is Retry.WAIT
    assert await spent(reading) == 0
    assert await store.read(accounts.known_handles) == []


async def test_an_answer_that_never_came_counts_in_full(reading, server, ann):
    ann.write(50)
    server.reading.extend([Answer.CREATED, Answer.SILENT])
    with pytest.raises(XError):
        await read(reading)
    assert await spent(reading) == USER + 55 * POST


class CutOffError(Exception):
    """The process ends here."""


@pytest.mark.parametrize("page", range(4))
@pytest.mark.parametrize("where", ["bot.services.paging._store", "data.spending.settle"], ids=["unstored", "stored"])
async def test_cut_off_at_any_page_loses_none_and_pays_for_one_page_twice_at_most(reading, store, server, ann, page, where):
    ann.write(330)
    real, calls = pkgutil.resolve_name(where), 0

    def cut_off(*args, **more):
        nonlocal calls
        calls += 1
        if calls == page + (1 if where.endswith("_store") else 2):  # the look-up is settled first
            raise CutOffError
        return real(*args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, cut_off)
        with pytest.raises(CutOffError):
            await read(reading)
    await read(reading)
    assert await ids(store) == there(ann)
    twice = [number for number in there(ann) if server.delivered[number] > 1]
    assert len(twice) == (min(100, 330 - page * 100) if where.endswith("_store") else 0)
    assert await spent(reading) >= sum(server.delivered[number] for number in there(ann)) * POST + server.delivered["7"] * USER


async def test_two_at_once_pay_once(reading, server, ann):
    ann.write(30)
    await asyncio.gather(read(reading), read(reading))
    assert max(server.delivered[number] for number in there(ann)) == 1


async def test_two_processes_at_once_leave_no_gap(make, store, server, ann):
    ann.write(450)
    async with Store(store.path) as other:
        one, two = make(), make(other)
        await asyncio.gather(read(one), read(two))
        await read(one)
        assert await ids(store) == there(ann)
        assert len(await store.read(timelines.gaps, "ann")) == 1
        await one.close()
        await two.close()


async def test_where_the_owners_archive_is_stored_only_what_came_since_is_read(reading, store, server, ann):
    ann.write(30)
    archive = [Tweet(row["id"], datetime(2026, 1, 1, tzinfo=UTC), row["text"]) for row in ann.rows[10:]]
    await store.write(add_posts, "ann", archive, Ground.ARCHIVE, "a test", UNKNOWN)
    found = await reading.read("ann", by="a test", ground=None)
    assert (found.posts, found.new, found.more) == (10, 10, False)
    assert await ids(store) == there(ann)


async def test_posts_that_came_from_elsewhere_are_no_reason_to_read_less(reading, store, ann):
    ann.write(230)
    brought = [Tweet(f"sha256:{n}", None, f"Line {n} of a file") for n in range(500)]
    await store.write(add_posts, "ann", brought, Ground.PERMISSION, "a test", UNKNOWN)
    found = await read(reading)
    assert (found.posts, found.new, found.more) == (230, 230, False)


async def test_what_lacks_is_estimated_by_what_the_account_has(reading, ann):
    ann.write(260)
    told = []
    for posts in (190, 3200):
        await read(reading, posts=posts, tell=lambda handle, estimate: told.append(estimate.posts))
    assert told == [190, 170]


async def test_accounts_that_cannot_be_read_are_a_sentence_each(reading, store, server, ann):
    async def refusal(handle="ann"):
        with pytest.raises(BadRequestError) as caught:
            await read(reading, handle)
        return str(caught.value)

    assert await refusal("bob") == "There is no @bob on X: check the spelling, or whether it was renamed or deleted."
    assert "15 characters" in await refusal("a_name_of_old_times")
    assert await refusal() == "X gives no posts of @ann: there are none, or retweets alone."
    assert await store.read(accounts.known_handles) == []
    ann.protected = True
    assert "protected" in await refusal()
    ann.protected = False
    ann.write(10)
    await read(reading)
    ann.handle = "Anna"
    assert await refusal() == "@ann is called @anna on X now: ask for that name; what is stored of @ann stays."
    server.accounts[:] = [Account("8", "ann")]
    assert "another account now" in await refusal()
    server.accounts.clear()
    assert "no longer on X" in await refusal()
    assert len(await ids(store)) == 10
    assert await spent(reading) == 5 * USER + 10 * POST


async def test_what_may_not_be_read_is_not_paid_for(make, reading, store, server, ann):
    ann.write(10)
    with pytest.raises(ConsentError, match="Nobody has claimed consent for @ann"):
        await reading.read("ann", by="a test", ground=None)
    with pytest.raises(ConsentError, match="archives alone"):
        await read(make(consent={"policy": "own"}))
    with pytest.raises(ConsentError, match="blocked"):
        await read(make(consent={"blocked_handles": ["ann"]}))
    await store.write(consents.opt_out, "ann", "ann")
    with pytest.raises(ConsentError, match="opted out"):
        await read(reading)
    with pytest.raises(BadRequestError, match="Reading is off"):
        await read(make(x={"read_timelines": False}))
    with pytest.raises(BadRequestError, match="5 posts at least"):
        await read(reading, posts=4)
    assert server.reads == []


async def test_who_opts_out_while_he_is_read_is_not_stored(reading, store, server, ann, monkeypatch):
    ann.write(10)
    page = TweepyReader.page

    async def late(*args, **more):
        found = await page(*args, **more)
        await store.write(consents.opt_out, "ann", "ann")
        return found

    monkeypatch.setattr(TweepyReader, "page", late)
    with pytest.raises(ConsentError):
        await read(reading)
    assert await store.read(accounts.known_handles) == []


async def test_forgetting_takes_what_was_known_of_reading_and_the_name_from_the_ledger(reading, store, server, ann):
    ann.write(10)
    await read(reading)
    await store.write(accounts.forget, "ann")
    assert await store.read(timelines.get, "ann") is None
    assert {row["why"] for row in await store.read(lambda db: list(db.query("SELECT why FROM spending")))} == {"reading @ (forgotten)"}
    assert (await read(reading)).posts == 10


async def test_before_a_training_a_failure_is_told_where_something_is_stored_and_raised_where_nothing_is(reading, store, server, ann):
    ann.write(10)
    server.reading.append(Answer.FAILED)
    with pytest.raises(XError):
        await reading.refresh(["ann"], by="a test", ground=Ground.PARODY, posts=1000)
    (found,) = await reading.refresh(["ann"], by="a test", ground=Ground.PARODY, posts=1000)
    assert (found.posts, found.problems) == (10, [])
    server.reading.append(Answer.FAILED)
    (found,) = await reading.refresh(["ann"], by="another", ground=Ground.PERMISSION, posts=1000)
    assert found.problems == ["X failed with 503 and gave nothing: try again later. What is stored of @ann is learned from."]
    assert [one.ground for one in await store.read(consents.claims, "ann")] == [Ground.PARODY]
