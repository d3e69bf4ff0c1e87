"""The budget: a paid call is put aside for, made, and settled to what it delivered."""

import asyncio
from datetime import UTC, datetime

import pytest

from bot.errors import BudgetError
from bot.services.spending import Budget
from bot.settings import X
from bot.x.port import Retry, XError
from data.spending import Kind
from data.store import Store

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def budget(store):
    return Budget(store, X(daily_cap=1.0, monthly_cap=10.0), clock=lambda: NOON)


async def spent(budget):
    return sum(one.cost for one in (await budget.overview()).today)


async def test_a_call_costs_what_it_delivered(budget):
    async with budget.reserve(Kind.POSTS_READ, 100, "a test") as charge:
        assert await spent(budget) == 500_000
        charge.count = 7
    assert await spent(budget) == 35_000
    assert (await budget.overview()).left == 965_000


async def test_a_call_whose_outcome_nobody_knows_costs_all_of_it(budget):
    for error in (XError("X did not answer.", Retry.UNSURE), RuntimeError(), asyncio.CancelledError()):
        with pytest.raises(type(error)):
            async with budget.reserve(Kind.POSTS_WRITTEN, 1, "a test"):
                raise error
    async with budget.reserve(Kind.POSTS_WRITTEN, 1, "a test"):
        pass
    assert await spent(budget) == 4 * 15_000


async def test_a_clear_refusal_costs_nothing(budget):
    for retry in (Retry.NEVER, Retry.REGENERATE, Retry.LATER):
        with pytest.raises(XError):
            async with budget.reserve(Kind.POSTS_WRITTEN, 1, "a test"):
                raise XError("No.", retry)
    assert await spent(budget) == 0


async def test_beyond_a_cap_the_call_is_not_made(budget):
    made = []
    async with budget.reserve(Kind.POSTS_READ, 200, "a test") as charge:
        charge.count = 200
    with pytest.raises(BudgetError, match=r"x\.daily_cap"):
        async with budget.reserve(Kind.USERS_READ, 1, "a test"):
            made.append(1)
    assert made == []


async def test_many_at_once_in_two_processes_stay_below_the_cap(store, budget):
    async with Store(store.path) as other:
        budgets = [budget, Budget(other, X(daily_cap=1.0), clock=lambda: NOON)]

        async def call(budget):
            async with budget.reserve(Kind.POSTS_READ, 30, "a test") as charge:
                await asyncio.sleep(0)
                charge.count = 30

        results = await asyncio.gather(*(call(budgets[n % 2]) for n in range(20)), return_exceptions=True)
    assert sum(isinstance(one, BudgetError) for one in results) == 14
    assert await spent(budget) == 900_000


async def test_prices_are_the_settings(store):
    budget = Budget(store, X.model_validate({"prices": {"own_posts_read": 0.001}}))
    assert (budget.price(Kind.OWN_POSTS_READ), budget.price(Kind.POSTS_WRITTEN)) == (1000, 15_000)


async def test_reading_leaves_money_for_posts_where_it_has_a_cap_of_its_own(store):
    budget = Budget(store, X(daily_cap=1.0, reading_daily_cap=0.1), clock=lambda: NOON)
    assert await budget.left_to_read() == 100_000
    async with budget.reserve(Kind.POSTS_READ, 19, "reading @ann", share=budget.reading):
        pass
    assert await budget.left_to_read() == 5_000
    with pytest.raises(BudgetError, match=r"x\.reading_daily_cap \(\$0\.10\) leaves \$0\.005: wait for the next UTC day"):
        async with budget.reserve(Kind.USERS_READ, 1, "reading @bob", share=budget.reading):
            pytest.fail("the call was made")
    async with budget.reserve(Kind.POSTS_WRITTEN, 60, "a test"):
        pass
    assert (await spent(budget), await budget.left_to_read()) == (995_000, 5_000)


async def test_many_at_once_stay_below_the_share_of_their_purpose(store):
    budget = Budget(store, X(daily_cap=1.0, reading_daily_cap=0.1), clock=lambda: NOON)

    async def read() -> None:
        async with budget.reserve(Kind.USERS_READ, 1, "reading @ann", share=budget.reading):
            await asyncio.sleep(0)

    outcomes = await asyncio.gather(*(read() for _ in range(30)), return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 10
