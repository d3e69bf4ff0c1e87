"""What the reading adapter makes of accounts, pages of posts and refusals."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from bot.errors import SettingsError
from bot.settings import Secrets
from bot.x.port import Retry, User, XError
from bot.x.tweepy_reader import TweepyReader
from tests.loopback_x import SECRETS, SHARED, Account, Answer, LoopbackX


@pytest.fixture
async def server() -> AsyncIterator[LoopbackX]:
    async with LoopbackX(accounts=[Account("7", "Ann")]) as server:
        yield server


@pytest.fixture
def ann(server: LoopbackX) -> Account:
    return server.accounts[0]


@pytest.fixture
async def x(server: LoopbackX) -> AsyncIterator[TweepyReader]:
    reader = TweepyReader(SECRETS, api_url=server.url, connect_timeout=5, read_timeout=1)
    yield reader
    await reader.close()


@pytest.fixture(params=[False, True], ids=["published", "documented"])
def named(server, request):
    """Fields by X's published names, then by its documentation's."""
    server.documented = request.param


async def refusal(call) -> XError:
    with pytest.raises(XError) as caught:
        await call
    assert "\n" not in str(caught.value)
    return caught.value


async def test_an_account_is_looked_up_by_name_and_by_number(x, ann, named):
    ann.write(3)
    assert await x.user("ann") == await x.user_by_id("7") == User("7", "ann", 3, protected=False)
    ann.protected = True
    assert (await x.user("ann")).protected


async def test_nobody_of_that_name_is_none_and_a_suspended_one_is_said(x, ann):
    assert await x.user("bob") is None
    assert await x.user_by_id("8") is None
    ann.suspended = True
    assert "suspended" in str(await refusal(x.user("ann")))


async def test_pages_follow_each_other_to_the_end(x, ann):
    ann.write(12)
    first = await x.page("7", most=5)
    second = await x.page("7", most=5, token=first.next_token)
    third = await x.page("7", most=5, token=second.next_token)
    ids = [tweet.id for page in (first, second, third) for tweet in page.tweets]
    assert ids == [row["id"] for row in ann.rows]
    assert (first.newest_id, first.oldest_id, third.next_token) == (ids[0], ids[4], None)


async def test_a_page_lies_between_two_posts_without_them(x, ann):
    ann.write(20)
    ids = [row["id"] for row in ann.rows]
    page = await x.page("7", since_id=ids[10], until_id=ids[5])
    assert [tweet.id for tweet in page.tweets] == ids[6:10]
    assert (await x.page("7", since_id=ids[0])).newest_id is None


async def test_no_more_than_the_newest_3200_can_be_had(x, ann):
    ann.write(3205)
    assert len((await x.page("7", until_id=ann.rows[3199]["id"])).tweets) == 0
    assert len((await x.page("7", until_id=ann.rows[3198]["id"])).tweets) == 1


async def test_replies_and_long_posts_are_what_they_are(x, ann, named):
    ann.write(1, referenced_posts=[{"type": "replied_to", "id": "55"}], in_reply_to_user_id="9")
    ann.write(1, in_reply_to_user_id="7")
    ann.write(1, text="Cut &lt;here… https://t.co/x", note_post={"text": "Cut <here, and this is the rest & the end"})
    ann.write(1, referenced_posts=[{"type": "quoted", "id": "66"}])
    ann.write(1, text="RT @bob: his words")
    retweet, quote, long, thread, reply = (await x.page("7")).tweets
    assert (reply.is_reply, reply.in_reply_to, reply.is_retweet) == (True, "55", False)
    assert (thread.is_reply, thread.in_reply_to) == (True, None)
    assert long.text == "Cut &lt;here, and this is the rest &amp; the end"
    assert (quote.is_reply, quote.in_reply_to) == (False, None)
    assert retweet.is_retweet
    assert reply.created_at == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)


async def test_a_link_is_cut_out_although_the_words_go_on_behind_it(x, ann):
    link = {"start": 3, "end": 26, "url": "https://t.co/abcdefghij"}
    ann.write(1, text="今日&amp;https://t.co/abcdefghijの灯台", entities={"urls": [link]})
    assert (await x.page("7")).tweets[0].text == "今日&amp; の灯台"


async def test_retweets_are_not_paid_for_and_a_page_of_them_comes_empty(x, server, ann):
    ann.write(1)
    ann.write(5, referenced_posts=[{"type": "retweeted", "id": "55"}])
    empty = await x.page("7", most=5)
    assert (empty.tweets, empty.newest_id, bool(empty.next_token)) == ((), None, True)
    assert len((await x.page("7", most=5, token=empty.next_token)).tweets) == 1
    assert server.delivered.total() == 1


async def test_what_x_keeps_back_is_told_beside_what_it_gives(x, server, ann):
    ann.write(2)
    server.withheld = [
        {
            "type": "https://api.x.com/2/problems/resource-unavailable",
            "title": "Unavailable",
            "detail": "Withheld.\nHere.",
            "resource_type": "post",
        }
    ] * 2
    page = await x.page("7")
    assert (len(page.tweets), page.problems) == (2, ("Withheld. Here.",))


async def test_protected_posts_are_one_sentence(x, ann):
    ann.protected = True
    error = await refusal(x.page("7"))
    assert (error.retry, "protected" in str(error)) == (Retry.NEVER, True)
    assert "no such account" in str(await refusal(x.page("8")))


@pytest.mark.parametrize(
    ("answer", "retry", "says"),
    [
        (Answer.UNAUTHORIZED, Retry.NEVER, "401"),
        (Answer.NO_CREDITS, Retry.NEVER, "buy some"),
        (Answer.FORBIDDEN, Retry.NEVER, "You are not permitted"),
        (Answer.NOT_ENROLLED, Retry.NEVER, "attached to a Project"),
        (Answer.INVALID, Retry.NEVER, "400"),
        (Answer.FAILED, Retry.LATER, "503"),
        (Answer.CUT, Retry.UNSURE, "no clear answer"),
        (Answer.SILENT, Retry.UNSURE, "in time"),
    ],
)
async def test_each_refusal_is_one_sentence(server, x, ann, answer, retry, says):
    for call in (lambda: x.user("ann"), lambda: x.page("7")):
        server.reading.append(answer)
        error = await refusal(call())
        assert error.retry is retry
        assert says in str(error)
    assert len(server.reads) == 2, "nothing below the service asks twice"


async def test_a_limit_names_its_own_reset(server, x):
    for limit, answer in (("x-rate-limit", Answer.LIMITED), ("x-user-limit-24hour", Answer.LIMITED_FOR_THE_DAY)):
        server.reading.append(answer)
        error = await refusal(x.page("7"))
        assert error.until == datetime.fromtimestamp(server.resets[limit], UTC)
        assert f"until {error.until:%Y-%m-%d %H:%M:%S} UTC" in str(error)
    server.reading.append(Answer.LIMITED_WITHOUT_HEADERS)
    error = await refusal(x.page("7"))
    assert abs(error.until - datetime.now(UTC) - timedelta(minutes=15)) < timedelta(seconds=30)


@pytest.mark.parametrize(
    "body", [{"data": [{"id": "x", "text": "a"}], "meta": {}}, {"data": [{"text": "a"}]}, {"data": "a", "meta": {}}, []]
)
async def test_an_answer_of_another_form_is_one_sentence(server, x, body):
    server.recorded.append(body)
    assert "form" in str(await refusal(x.page("7")))


async def test_recorded_pages_are_read(server, x):
    """The recorded calls asked for no fields, so there is no time, and nothing says what is a reply."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared here")
    for name in ("users_tweets", "users_mentions", "home_timeline"):
        (call,) = json.loads((SHARED / f"recorded_client_get_{name}.decoded.json").read_text())
        server.recorded.append(call["body"])
        page = await x.page("783214")
        meta = call["body"]["meta"]
        assert (page.newest_id, page.oldest_id, page.next_token) == (meta["newest_id"], meta["oldest_id"], meta["next_token"])
        assert [tweet.text for tweet in page.tweets] == [row["text"] for row in call["body"]["data"]]
        assert page.tweets[0].created_at is None


async def test_a_recorded_account_without_its_figures_is_of_another_form(server, x):
    if not SHARED.is_dir():
        pytest.skip("no ../shared here")
    (call,) = json.loads((SHARED / "recorded_client_get_me.decoded.json").read_text())
    server.recorded.append(call["body"])
    assert "form" in str(await refusal(x.user("TweepyDev")))


def test_missing_secrets_are_named():
    with pytest.raises(SettingsError, match="Reading from X needs X_API_KEY"):
        TweepyReader(Secrets())
