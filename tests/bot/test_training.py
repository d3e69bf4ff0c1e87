"""The training service: settling requests, the queue, and what becomes of a run."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from bot.errors import BadHandleError, BadRequestError, NotStoredError, TooLittleTextError, TrainingFailedError
from bot.services.training import Training
from data import jobs, models
from data.jobs import Status
from trainer.protocol import Failed, Stage


@pytest.fixture
def training(filled, settings, executor):
    return Training(filled, settings, executor)


@asynccontextmanager
async def queue(training):
    """The queue, running as it does in the process that leads."""
    await training.recover()
    task = asyncio.create_task(training.run_forever())
    try:
        async with asyncio.timeout(20):
            yield task
    finally:
        if not task.done():
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task  # raises what ended the queue, if something did


async def test_a_training_ends_as_a_stored_model(training, filled):
    requested = await training.request(["@Ann"], by="me")
    assert (requested.new, requested.job.status, requested.job.voice) == (True, Status.QUEUED, "ann")
    async with queue(training):
        model = await training.result(requested.job.id)
    assert (model.voice, model.version, model.result["loss_after"]) == ("ann", 1, 4.25)
    assert len(await filled.read(models.load_weights, model.id)) == 8000
    assert (await filled.read(jobs.get, requested.job.id)).status is Status.DONE


async def test_the_trainer_gets_the_split_corpus_and_nothing_of_us(training, executor):
    requested = await training.request(["ann", "bob"], by="me")
    assert requested.job.voice == "ann-bob"
    async with queue(training):
        await training.ended(requested.job.id)
    (job,) = executor.jobs
    assert {post.author for post in job.train} == {"ann", "bob"}
    splits = [{post.text for post in split} for split in (job.train, job.stop, job.report)]
    assert len(set.union(*splits)) == sum(map(len, splits))


async def test_equal_requests_share_one_job_while_it_waits_while_it_runs_and_when_it_is_done(training, executor):
    executor.gate = asyncio.Event()
    first = await training.request(["ann"], by="me")
    assert not (await training.request(["ANN"], by="you")).new
    async with queue(training):
        await anext(training.events(first.job.id))  # it runs
        second = await training.request(["ann"], by="you")
        assert (second.job.id, second.new) == (first.job.id, False)
        executor.gate.set()
        await training.ended(first.job.id)
        third = await training.request(["ann"], by="you")
        assert (third.job.id, third.job.status, third.new) == (first.job.id, Status.DONE, False)
    assert len(executor.jobs) == 1


async def test_new_posts_make_a_new_version(training, filled, tweets):
    from data import accounts

    async with queue(training):
        first = await training.result((await training.request(["ann"], by="me")).job.id)
        await filled.write(accounts.add_tweets, "ann", tweets(300, seed=9)[150:])
        second = await training.result((await training.request(["ann"], by="me")).job.id)
    assert (first.version, second.version) == (1, 2)


async def test_jobs_run_one_after_the_other_in_the_order_of_asking(training, executor, filled):
    executor.gate = asyncio.Event()
    first = await training.request(["ann"], by="me")
    second = await training.request(["bob"], by="me")
    assert await filled.read(jobs.position, second.job.id) == 1
    async with queue(training):
        await anext(training.events(first.job.id))
        assert (await filled.read(jobs.get, second.job.id)).status is Status.QUEUED
        executor.gate.set()
        await training.ended(second.job.id)
    assert [job.train[0].author for job in executor.jobs] == ["ann", "bob"]


@pytest.mark.parametrize(
    ("handles", "error"),
    [
        (["nobody"], NotStoredError),
        (["few"], TooLittleTextError),
        (["a/b"], BadHandleError),
        (["x" * 400], BadHandleError),
        (["😀"], BadHandleError),
        ([], BadRequestError),
        ([f"a{n}" for n in range(11)], BadRequestError),
        (["ann", "nobody"], NotStoredError),
    ],
)
async def test_a_bad_request_is_one_sentence_and_queues_nothing(training, filled, handles, error):
    with pytest.raises(error) as caught:
        await training.request(handles, by="me")
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    assert await filled.read(jobs.recent) == []


async def test_a_queued_job_is_cancelled_at_once(training):
    requested = await training.request(["ann"], by="me")
    assert (await training.cancel(requested.job.id, by="me")).status is Status.CANCELLED
    with pytest.raises(BadRequestError):
        await training.cancel(requested.job.id, by="me")


async def test_a_running_job_is_cancelled_by_its_owner_and_can_be_asked_for_again(training, executor):
    executor.gate = asyncio.Event()
    requested = await training.request(["ann"], by="me")
    async with queue(training):
        await anext(training.events(requested.job.id))
        await training.cancel(requested.job.id, by="mod")
        with pytest.raises(TrainingFailedError, match="Cancelled by mod"):
            await training.result(requested.job.id)
        executor.gate.set()
        again = await training.request(["ann"], by="me")
        assert again.new
        await training.result(again.job.id)
    assert all(run.closed for run in executor.runs)


async def test_a_failure_is_the_trainers_sentence(training, executor, filled):
    executor.script = [Stage("base"), Failed("out_of_memory", "The machine's memory was full: train on fewer posts.")]
    requested = await training.request(["ann"], by="me")
    async with queue(training):
        with pytest.raises(TrainingFailedError, match="memory was full"):
            await training.result(requested.job.id)
    assert (await filled.read(jobs.get, requested.job.id)).error_code == "out_of_memory"


async def test_weights_that_changed_on_the_way_are_not_stored(training, executor, filled):
    executor.wrong_hash = True
    requested = await training.request(["ann"], by="me")
    async with queue(training):
        with pytest.raises(TrainingFailedError, match="changed on the way"):
            await training.result(requested.job.id)
    assert await filled.read(models.latest_of_all) == []
    assert await filled.read(lambda db: db["model_weights"].count) == 0


async def test_a_stopped_owner_leaves_the_job_queued_and_the_next_one_finishes_it(training, executor, filled):
    executor.gate = asyncio.Event()
    requested = await training.request(["ann"], by="me")
    async with queue(training):
        await anext(training.events(requested.job.id))
    assert (await filled.read(jobs.get, requested.job.id)).status is Status.QUEUED
    assert executor.runs[0].closed
    executor.gate.set()
    async with queue(training):
        await training.result(requested.job.id)
    assert (await filled.read(jobs.get, requested.job.id)).attempt == 2


async def test_a_job_left_running_by_a_dead_owner_is_queued_again_and_a_cancelled_one_ends(training, filled):
    kept = await training.request(["ann"], by="me")
    dropped = await training.request(["bob"], by="me")
    for _ in range(2):
        await filled.write(jobs.start_next)
    await filled.write(jobs.request_cancel, dropped.job.id, "mod")
    await training.recover()
    assert (await filled.read(jobs.get, kept.job.id)).status is Status.QUEUED
    assert (await filled.read(jobs.get, dropped.job.id)).status is Status.CANCELLED


async def test_events_of_a_restarted_job_are_those_of_its_latest_attempt(training, executor, filled):
    executor.gate = asyncio.Event()
    requested = await training.request(["ann"], by="me")
    async with queue(training):
        await anext(training.events(requested.job.id))
    executor.gate.set()
    async with queue(training):
        await training.ended(requested.job.id)
    events = [event async for event in training.events(requested.job.id)]
    assert [event["type"] for event in events] == ["stage", "step", "step"]
