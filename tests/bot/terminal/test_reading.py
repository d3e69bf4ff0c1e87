"""Reading and spending at the command line: what is shown before, after, and where nothing may be read."""

import io

import pytest
from rich.console import Console

from bot.app import Mynah
from bot.errors import BadRequestError, NotStoredError
from bot.faces.terminal import actions
from bot.faces.terminal.console import obey
from bot.settings import X
from tests.conftest import made_up_tweets
from tests.loopback_x import SECRETS, Account, Answer, LoopbackX


@pytest.fixture
async def server():
    async with LoopbackX(accounts=[Account("7", "ann")]) as server:
        for tweet in made_up_tweets(150, 1):
            server.accounts[0].write(1, text=tweet.text)
        yield server


@pytest.fixture
async def app(settings, executor, server):
    x = X(api_url=server.url, read_timelines=True, daily_cap=2)
    async with Mynah(settings.model_copy(update={"x": x}), SECRETS, executor) as running:
        yield running


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def shown(answer):
    paper = io.StringIO()
    Console(file=paper, width=200).print(answer.text, soft_wrap=True)
    return paper.getvalue()


async def test_the_price_is_shown_before_and_after_and_in_the_ledger(app, server, console):
    before = await actions.read(app, "@Ann", "paula", console, estimate=True)
    assert shown(before) == (
        "At most 3,200 posts of @ann are read from X, for $16.01 with the look-up."
        " $2.00 may still be spent today. What is stored already is not read again.\n"
    )
    assert server.reads == []
    after = await actions.read(app, "ann", "paula", console, posts=100)
    assert console.file.getvalue() == "At most 100 posts of @ann are read from X, for $0.51 with the look-up.\n"
    assert shown(after) == (
        "@ann: 100 posts read, 100 of them new, for $0.51; $1.49 may still be spent today. Consent: a permission, says paula."
        " Older ones are there: `mynah read ann` reads on.\n"
    )
    assert [after.document[name] for name in ("posts", "new", "cost", "left", "more")] == [100, 100, 0.51, 1.49, True]
    again = await actions.read(app, "ann", "quentin", console)
    assert "50 posts read, 50 of them new, for $0.26" in shown(again)
    assert "Consent" not in shown(again), "it is claimed already"

    spent = await actions.spend(app)
    assert "X has cost $0.77 of $2.00 today and $0.77 of $10.00 this month (UTC); $1.23 may still be spent today." in shown(spent)
    assert [(one["kind"], one["count"], one["cost"]) for one in spent.document["today"]["kinds"]] == [
        ("posts_read", 150, 0.75),
        ("users_read", 2, 0.02),
    ]


async def test_the_console_reads_and_says_what_it_cost(app, server, console):
    assert "for $0.51 with the look-up" in shown(await obey(app, "!read ann --posts 100 --estimate", "paula", console))
    assert server.reads == []
    assert "100 posts read, 100 of them new" in shown(await obey(app, "!read ann --posts 100", "paula", console))
    assert "X has cost $0.51 of $2.00 today" in shown(await obey(app, "!spend", "paula", console))
    with pytest.raises(BadRequestError, match="'x' is not how many posts"):
        await obey(app, "!read ann --posts x", "paula", console)


async def test_what_is_put_aside_is_shown(app, server, console):
    server.reading.extend([Answer.CREATED, Answer.CUT])
    with pytest.raises(Exception, match="no clear answer"):
        await actions.read(app, "ann", "paula", console, posts=50)
    assert "$0.25 of it is put aside for calls that are under way, or were cut off" in shown(await actions.spend(app))


async def test_training_reads_what_is_new_first_and_goes_on_without_where_that_fails(app, server, console):
    await actions.train(app, ["ann"], "paula", console, ground="parody")
    said = console.file.getvalue()
    assert "@ann: 150 posts read, 150 of them new, for $0.76" in said
    assert [one["ground"] for one in (await actions.consent(app, "ann", "paula")).document["claims"]] == ["parody"]
    server.reading.append(Answer.LIMITED)
    await actions.train(app, ["ann"], "paula", console)
    assert "What is stored of @ann is learned from." in console.file.getvalue().removeprefix(said)


async def test_where_nothing_may_be_read_it_is_as_it_was(settings, executor, console):
    async with Mynah(settings, SECRETS, executor) as app:
        for estimate in (False, True):
            with pytest.raises(BadRequestError, match="Reading is off"):
                await actions.read(app, "ann", "paula", console, estimate=estimate)
        with pytest.raises(NotStoredError, match="No posts of @ann are stored: import them with"):
            await actions.train(app, ["ann"], "paula", console)
        assert "X has cost $0.00 of $1.00 today" in shown(await actions.spend(app))
