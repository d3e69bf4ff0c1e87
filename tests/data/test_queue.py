"""The order of the queue: servers take turns, and nobody is passed over for ever."""

import pytest

from data import jobs
from data.corpus import build_corpus
from data.origin import Origin
from tests.conftest import made_up_tweets, store_account

RECIPE = {"base": "tiny-random", "method": "lora", "seed": 0}


@pytest.fixture
async def ask(store):
    """Queues a training of ann in a server, each a different one."""
    await store.write(store_account, "ann", made_up_tweets(150))
    corpus = build_corpus({"ann": made_up_tweets(150)}, max_posts=1000, seed=0)
    asked = iter(range(1000))

    async def ask(server=None, **recipe):
        origin = Origin(1, server) if server else None
        return (await store.write(jobs.enqueue, "ann", corpus, RECIPE | {"learning_rate": next(asked)} | recipe, "me", origin))[0].id

    return ask


async def begun(store, *, at_once=1):
    """Begin the next ones, end them, and return their numbers."""
    batch = [job.id for job in await store.write(jobs.start_next, at_once)]
    for number in batch:
        await store.write(jobs.end, number, jobs.Status.DONE)
    return batch


async def everything(store):
    order = []
    while batch := await begun(store):
        order += batch
    return order


async def test_servers_take_turns_whoever_asked_for_more(store, ask):
    flood = [await ask(1) for _ in range(4)]
    other = [await ask(2) for _ in range(2)]
    own = await ask()
    expected = [flood[0], other[0], own, flood[1], other[1], flood[2], flood[3]]
    assert await store.read(jobs.positions) == {number: place for place, number in enumerate(expected)}
    assert await everything(store) == expected


async def test_who_comes_later_waits_for_one_of_each_other_at_most(store, ask):
    flood = [await ask(1) for _ in range(3)]
    assert await begun(store) == [flood[0]]
    late = await ask(2)
    assert await everything(store) == [late, *flood[1:]]


async def test_what_runs_counts_as_a_turn(store, ask):
    flood = [await ask(1) for _ in range(3)]
    (running,) = await store.write(jobs.start_next)
    late = await ask(2)
    assert running.id == flood[0]
    assert await store.read(jobs.positions) == {late: 1, flood[1]: 2, flood[2]: 3}


async def test_what_was_cut_off_goes_on_first(store, ask):
    first, second = await ask(1), await ask(1)
    await store.write(jobs.start_next)
    other = await ask(2)
    await store.write(jobs.requeue, first)
    assert await everything(store) == [first, other, second]


async def test_a_batch_is_filled_in_the_order_of_turns(store, ask):
    alike = {"learning_rate": 1}
    flood = [await ask(1, seed=seed, **alike) for seed in range(3)]
    unlike = await ask(2)
    late = await ask(3, seed=9, **alike)
    assert await begun(store, at_once=3) == [flood[0], late, flood[1]]
    assert await begun(store, at_once=3) == [unlike]


async def test_a_job_that_ended_has_nothing_before_it(store, ask):
    numbers = [await ask(1) for _ in range(2)]
    await begun(store)
    assert await store.read(jobs.positions) == {numbers[1]: 0}


async def test_who_waits_is_not_compared_with_all_that_was_ever_asked_for(store):
    def plan(db):
        return [row["detail"] for row in db.query(f"EXPLAIN QUERY PLAN {jobs._IN_TURN}")]

    looks = [detail for detail in await store.read(plan) if " other " in detail]
    assert looks[0] == "SEARCH other USING INDEX jobs_status (status=?)"  # what runs
    assert looks[1] == "SEARCH other USING COVERING INDEX jobs_server (server=?)"  # the newest, at its end
