"""The training service: settling requests, the queue, and what becomes of a run."""

import asyncio
import hashlib
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bot.errors import BadHandleError, BadRequestError, ConsentError, NotStoredError, StoreError, TooLittleTextError, TrainingFailedError
from bot.executors import trainers
from bot.executors.local import LocalExecutor
from bot.services.forgetting import opt_out
from bot.services.training import MOST_BEGUN, Training, warnings_of
from bot.settings import Consent
from data import accounts, consents, jobs, models
from data.corpus import build_corpus
from data.jobs import Status
from data.tweets import Tweet
from tests.bot.test_local_executor import FAKE, gone
from tests.conftest import made_up_tweets, store_account
from tests.voices import stored_weights
from trainer import protocol
from trainer.protocol import Done, Failed, Sample, Stage


def changed(settings, **trainer):
    """The settings, but for some of the trainer's."""
    return settings.model_copy(update={"trainer": settings.trainer.model_copy(update=trainer)})


@pytest.fixture
def training(filled, settings, executor):
    return Training(filled, settings, executor)


@pytest.fixture
def many(filled, settings, executor):
    """The service, with up to three jobs in one order."""
    return Training(filled, changed(settings, at_once=3), executor)


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
    assert len(await filled.read(stored_weights, model.id)) == 8000
    assert (await filled.read(jobs.get, requested.job.id)).status is Status.DONE


async def test_samples_that_must_not_be_said_are_neither_shown_nor_kept(training, executor, filled, settings):
    own = (await filled.read(accounts.read_tweets, "ann"))[0].text
    requested = await training.request(["ann"], by="me")
    weights = settings.data_dir / "weights"
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(b"weights")
    texts = ["ask @bob about it", "all of it is on x.ai now", own, "a goose has the floor"]
    samples = [Sample(1, text, job=str(requested.job.id)) for text in texts]
    sha256 = hashlib.sha256(b"weights").hexdigest()
    executor.script = [*samples, Done(str(weights), sha256, 7, 5.5, 4.25, 12.0, texts, {"adapter": {}}, job=str(requested.job.id))]
    async with queue(training):
        model = await training.result(requested.job.id)
    assert model.result["samples"] == texts[3:]
    events = [event for _, event in await filled.read(jobs.events_after, requested.job.id)]
    assert [event["text"] for event in events if event["type"] == "sample"] == texts[3:]


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


async def test_a_training_that_is_just_being_stopped_is_not_joined(training, filled):
    first = await training.request(["ann"], by="me")
    await filled.write(jobs.start_next)
    await training.cancel(first.job.id, by="me")
    with pytest.raises(BadRequestError, match="is just being stopped: ask again"):
        await training.request(["ann"], by="you")


async def test_new_posts_make_a_new_version(training, filled, tweets):
    async with queue(training):
        first = await training.result((await training.request(["ann"], by="me")).job.id)
        await filled.write(store_account, "ann", tweets(300, seed=9)[150:])
        second = await training.result((await training.request(["ann"], by="me")).job.id)
    assert (first.version, second.version) == (1, 2)


async def test_jobs_run_one_after_the_other_in_the_order_of_asking(training, executor, filled):
    executor.gate = asyncio.Event()
    first = await training.request(["ann"], by="me")
    second = await training.request(["bob"], by="me")
    assert (await filled.read(jobs.positions))[second.job.id] == 1
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
    assert [run.cancelled for run in executor.runs] == [True, False]


async def test_a_failure_is_the_trainers_sentence(training, executor, filled):
    executor.script = [Stage("base"), Failed("out_of_memory", "The machine's memory was full: train on fewer posts.")]
    requested = await training.request(["ann"], by="me")
    async with queue(training):
        with pytest.raises(TrainingFailedError, match="memory was full"):
            await training.result(requested.job.id)
    assert (await filled.read(jobs.get, requested.job.id)).error_code == "out_of_memory"


async def test_weights_that_changed_on_the_way_are_not_stored(training, executor, filled):
    executor.wrong_hash.add("ann")
    requested = await training.request(["ann"], by="me")
    async with queue(training):
        with pytest.raises(TrainingFailedError, match="changed on the way"):
            await training.result(requested.job.id)
    assert (await filled.read(models.page)).models == []
    assert await filled.read(lambda db: db["model_weights"].count) == 0


async def test_a_stopped_owner_leaves_the_job_queued_and_the_next_one_finishes_it(training, executor, filled):
    executor.gate = asyncio.Event()
    requested = await training.request(["ann"], by="me")
    async with queue(training):
        await anext(training.events(requested.job.id))
    assert (await filled.read(jobs.get, requested.job.id)).status is Status.QUEUED
    assert not executor.works
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


async def test_a_job_with_which_mynah_ends_again_and_again_is_given_up(training, filled):
    first, second = [(await training.request([handle], by="me")).job.id for handle in ("ann", "bob")]
    await filled.write(jobs.start_next, 2)
    await filled.write(lambda db: db.conn.execute("UPDATE jobs SET attempt = ? WHERE id = ?", [MOST_BEGUN, first]))
    await training.recover()
    given_up, other = [await filled.read(jobs.get, number) for number in (first, second)]
    assert (given_up.status, other.status) == (Status.FAILED, Status.QUEUED)
    assert f"Mynah ended {MOST_BEGUN} times" in given_up.error


async def test_a_stop_that_comes_while_a_lane_fails_is_a_stop(filled, settings, executor, monkeypatch):
    """A task group that ends by an error drops the cancellation that came meanwhile."""
    training = Training(filled, settings, executor, executor)
    lanes = iter(range(2))

    async def work(_):
        if next(lanes):
            raise StoreError("The database was busy for too long.")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            task.cancel()

    monkeypatch.setattr(training, "_work", work)
    task = asyncio.create_task(training.run_forever())
    async with asyncio.timeout(20):
        await asyncio.wait([task])
    assert task.cancelled()


async def test_an_empty_queue_is_not_written(training, monkeypatch):
    await training.recover()
    monkeypatch.setattr(jobs, "start_next", None)  # which nobody can call
    assert not await training.run_next()


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


# ------------------------------------------------------------- many at once


async def test_what_shares_a_batch_is_one_order_the_oldest_first_and_no_more_than_the_settings_say(filled, settings, executor, tweets):
    await filled.write(store_account, "cat", tweets(150, seed=4))
    for handle, trainer in [
        ("ann", {"seed": 1}),
        ("bob", {"epochs": 2}),
        ("bob", {"seed": 2}),
        ("ann", {"method": "full"}),
        ("cat", {"seed": 1}),
        ("cat", {"seed": 2}),
        ("ann", {"rank": 4}),
    ]:
        await Training(filled, changed(settings, **trainer), executor).request([handle], by="me")
    many = Training(filled, changed(settings, at_once=3), executor)
    while await many.run_next():
        pass
    assert [[job.id for job in order] for order in executor.orders] == [["1", "3", "5"], ["2"], ["4"], ["6"], ["7"]]
    assert {job.status for job in await filled.read(jobs.recent)} == {Status.DONE}


async def test_each_of_a_batch_is_stored_and_its_folder_goes_as_soon_as_it_is_done(many, executor, filled, settings):
    executor.gates["bob"] = asyncio.Event()
    quick = await many.request(["ann"], by="me")
    slow = await many.request(["bob"], by="me")
    async with queue(many):
        assert (await many.result(quick.job.id)).version == 1
        while (settings.data_dir / "work" / str(quick.job.id)).exists():
            await filled.changed()
        assert (await filled.read(jobs.get, slow.job.id)).status is Status.RUNNING
        later = await many.request(["ann", "bob"], by="me")
        assert (await filled.read(jobs.get, later.job.id)).status is Status.QUEUED
        executor.gates["bob"].set()
        await many.result(slow.job.id)
        executor.gates.clear()
        await many.result(later.job.id)
    assert [len(order) for order in executor.orders] == [2, 1]
    assert list((settings.data_dir / "work").iterdir()) == []


async def test_one_of_a_batch_that_cannot_be_stored_leaves_the_others_alone(many, executor):
    executor.wrong_hash.add("ann")
    bad = await many.request(["ann"], by="me")
    good = await many.request(["bob"], by="me")
    async with queue(many):
        with pytest.raises(TrainingFailedError, match="changed on the way"):
            await many.result(bad.job.id)
        await many.result(good.job.id)


async def test_one_of_a_batch_is_cancelled(many, executor):
    executor.gate = asyncio.Event()
    first = await many.request(["ann"], by="me")
    second = await many.request(["bob"], by="me")
    async with queue(many):
        await anext(many.events(first.job.id))
        await many.cancel(first.job.id, by="mod")
        assert (await many.ended(first.job.id)).status is Status.CANCELLED
        executor.gate.set()
        assert (await many.ended(second.job.id)).status is Status.DONE
    assert [run.cancelled for run in executor.runs] == [True, False]


async def test_a_job_that_was_cut_off_for_another_is_queued_again_and_done(many, executor):
    executor.gates["ann"] = asyncio.Event()
    requested = await many.request(["ann"], by="me")
    async with queue(many):
        await anext(many.events(requested.job.id))
        executor.gates.pop("ann")
        executor.runs[0].cut_off()
        assert (await many.ended(requested.job.id)).attempt == 2


async def test_a_trainer_that_cannot_be_started_fails_the_whole_order(many, executor, monkeypatch):
    async def refuse(jobs):
        raise FileNotFoundError("no such interpreter")

    monkeypatch.setattr(executor, "start", refuse)
    requested = [await many.request([handle], by="me") for handle in ("ann", "bob")]
    async with queue(many):
        for each in requested:
            assert "which is in its log" in (await many.ended(each.job.id)).error


# ------------------------------------------------ the folders of unfinished jobs


async def test_a_checkpoint_survives_a_restart_and_goes_with_its_job(training, executor, settings):
    executor.gate = asyncio.Event()
    requested = await training.request(["ann"], by="me")
    work = settings.data_dir / "work"
    checkpoint = work / str(requested.job.id) / "checkpoint.safetensors"
    async with queue(training):
        await anext(training.events(requested.job.id))
        checkpoint.write_bytes(b"half of it")
    (work / "77").mkdir()  # of a job that nobody knows
    await training.recover()
    assert checkpoint.exists()
    assert [folder.name for folder in work.iterdir()] == [str(requested.job.id)]
    executor.gate.set()
    async with queue(training):
        await training.result(requested.job.id)
    assert list(work.iterdir()) == []


async def test_the_folder_of_a_job_that_is_cancelled_while_it_waits_again_goes(training, executor, settings):
    executor.gate = asyncio.Event()
    requested = await training.request(["ann"], by="me")
    async with queue(training):
        await anext(training.events(requested.job.id))
    await training.cancel(requested.job.id, by="me")
    assert not await training.run_next()
    assert list((settings.data_dir / "work").iterdir()) == []


# ------------------------------------------------------ the language of the posts


@pytest.mark.parametrize("base", [name for name, writes in protocol.LANGUAGES.items() if writes and "mt" not in writes])
def test_a_base_that_hardly_writes_the_language_of_the_posts_is_said_with_one_that_does(base):
    corpus = replace(build_corpus({"ann": made_up_tweets(150)}, max_posts=150, seed=0), languages={"ann": "mt"})
    *_, last = warnings_of(corpus, base)
    assert last == f"The posts of @ann are mostly Maltese, which {base} hardly writes: set `[trainer] base` to {protocol.MULTILINGUAL}."


@pytest.mark.parametrize(
    ("base", "language"),
    [(protocol.Recipe().base, "en"), (protocol.Recipe().base, "und"), (protocol.MULTILINGUAL, "mt"), ("of/nobody-knows", "mt")],
)
def test_nothing_is_said_of_a_language_that_is_written_or_not_known(base, language):
    corpus = replace(build_corpus({"ann": made_up_tweets(150)}, max_posts=150, seed=0), languages={"ann": language})
    assert warnings_of(corpus, base) == corpus.warnings


async def test_who_asks_for_a_training_is_told_of_the_language(filled, settings, executor):
    texts = (f"灯台の話その{n}、今日はとても天気がよくて猫が屋根の上で寝ています。明日もまた来てくださいね" for n in range(200))
    await filled.write(store_account, "kaz", [Tweet(str(n), None, text) for n, text in enumerate(texts)])
    training = Training(filled, changed(settings, base=protocol.Recipe().base), executor)
    for handles in (["kaz"], ["ann", "kaz"]):
        assert "of @kaz are mostly Japanese" in (await training.request(handles, by="me")).warnings[-1]
    assert "mostly" not in " ".join((await training.request(["ann"], by="me")).warnings)


# ------------------------------------------------------ from an earlier version


async def test_a_training_can_start_from_the_version_that_speaks_now(training, executor, filled, tweets):
    first = await training.request(["ann"], by="me", start=True)  # there is none yet: from the base
    await training.run_next()
    await filled.write(store_account, "ann", tweets(300, seed=9)[150:])
    second = await training.request(["ann"], by="me", start=True)
    anew = await training.request(["ann"], by="me")
    assert anew.new
    while await training.run_next():
        pass
    weights = await filled.read(stored_weights, 1)
    assert [job.start is not None for job in executor.jobs] == [False, True, False]
    assert executor.jobs[1].start_sha256 == hashlib.sha256(weights).hexdigest() == second.job.recipe["start"]
    assert Path(executor.jobs[1].start).read_bytes() == weights
    assert executor.jobs[1].start_adapter == (await filled.read(models.version, "ann", 1)).result["details"]["adapter"] != {}
    assert "start" not in first.job.recipe | anew.job.recipe


async def test_there_is_nothing_to_learn_twice_from_a_start_on(filled, settings, executor, tweets):
    training = Training(filled, changed(settings, start_from="last"), executor)
    for _ in range(2):
        assert (await training.request(["ann"], by="me")).new is (executor.orders == [])
        await training.run_next()
    await filled.write(store_account, "ann", tweets(300, seed=9)[150:])
    for number in range(2):
        assert (await training.request(["ann"], by="me")).new is (number == 0)
        await training.run_next()
    assert [job.start is not None for job in executor.jobs] == [False, True]


async def test_a_version_made_otherwise_is_no_start(filled, settings, executor):
    made = Training(filled, settings, executor)
    await made.request(["ann"], by="me")
    await made.run_next()
    training = Training(filled, changed(settings, method="full", start_from="last"), executor)
    with pytest.raises(BadRequestError, match="lora on tiny-random, and the settings say full on tiny-random: train it from the base"):
        await training.request(["ann"], by="me", start=True)
    assert "start" not in (await training.request(["ann"], by="me")).job.recipe


async def test_a_start_that_is_gone_fails_its_job_and_no_other(many, executor, filled, tweets):
    await many.request(["ann"], by="me")
    await many.run_next()
    await filled.write(store_account, "ann", tweets(300, seed=9)[150:])
    orphan = await many.request(["ann"], by="me", start=True)
    anew = await many.request(["ann"], by="me")
    await filled.write(lambda db: db.conn.execute("UPDATE models SET sha256 = 'another'"))
    await many.run_next()
    assert "is gone: train again" in (await many.ended(orphan.job.id)).error
    assert (await many.ended(anew.job.id)).status is Status.DONE


# ------------------------------------------------------------------ consent


async def test_nobody_is_trained_without_a_claim_nor_against_their_will(filled, settings, executor, tweets):
    training = Training(filled, settings, executor)
    await filled.write(accounts.add_tweets, "eve", tweets(150, seed=5))
    with pytest.raises(ConsentError, match="Nobody has claimed consent for @eve"):
        await training.request(["ann", "eve"], by="me")
    await filled.write(consents.opt_out, "ann", "her")
    with pytest.raises(ConsentError, match="@ann has opted out"):
        await training.request(["ann"], by="me")
    assert await filled.read(jobs.recent) == []


async def test_where_the_operator_asks_for_own_archives_a_claim_is_not_enough(filled, settings, executor):
    training = Training(filled, settings.model_copy(update={"consent": Consent(policy="own")}), executor)
    with pytest.raises(ConsentError, match="for @ann on the ground of archive, as the settings ask"):
        await training.request(["ann"], by="me")
    await filled.write(consents.claim, "ann", consents.Ground.ARCHIVE, "her")
    assert (await training.request(["ann"], by="me")).new


async def test_what_the_operator_blocked_is_not_trained_nor_what_waits_of_it(filled, settings, executor):
    before = Training(filled, settings, executor)
    for handles in (["ann", "bob"], ["bob"]):
        await before.request(handles, by="me")
    blocking = Training(filled, settings.model_copy(update={"consent": Consent(blocked_handles=frozenset({"ann"}))}), executor)
    for handles in (["@Ann"], ["bob", "ann"], ["ann", "nobody"]):
        with pytest.raises(ConsentError, match="@ann is blocked by the operator: nothing of it may be imported or trained"):
            await blocking.request(handles, by="me")
    await blocking.recover()
    joint, alone = reversed(await filled.read(jobs.recent))
    assert (joint.status, joint.error) == ("cancelled", "The operator blocked an account of this voice.")
    assert alone.status == "queued"


async def test_opting_out_forgets_and_is_remembered(filled, settings, executor):
    training = Training(filled, settings, executor)
    await training.request(["ann"], by="me")
    await training.run_next()
    gone = await opt_out(filled, training, settings, "@Ann", by="her")
    assert (gone["models"], gone["tweets"]) == (1, 150)
    assert await opt_out(filled, training, settings, "@nobody", by="her") == {}
    assert await filled.read(consents.opted_out) == ["ann", "nobody"]
    assert "ann" not in await filled.read(accounts.known_handles)


# ------------------------------------------------- a real process that stays


@pytest.fixture
def processes(filled, settings, tweets):
    """The service on a real executor, whose trainer does what the account's name says; the accounts."""

    async def make(*handles, **trainer):
        for seed, handle in enumerate(handles):
            await filled.write(store_account, handle, tweets(150, seed))
        return Training(filled, changed(settings, **trainer), LocalExecutor(settings.data_dir / "trainer.log", *FAKE))

    return make


async def pid_of(training, handle):
    requested = await training.request([handle], by="me")
    return (await training.result(requested.job.id)).result["details"]["pid"]


async def test_the_trainer_stays_between_jobs_and_ends_with_the_queue(processes, filled):
    training = await processes("done1", "done2")
    async with queue(training):
        first = await pid_of(training, "done1")
        assert await pid_of(training, "done2") == first
        assert await filled.read(jobs.processes) == [(first, int(psutil.Process(first).create_time()))]
    await gone(first)
    assert await filled.read(jobs.processes) == []


@pytest.mark.parametrize("minutes", [0, 0.0001])
async def test_a_trainer_that_has_nothing_to_do_ends_and_the_next_job_has_a_new_one(processes, minutes):
    training = await processes("done1", "done2", stay_minutes=minutes)
    async with queue(training) as task:
        first = await pid_of(training, "done1")
        await gone(first)
        assert not task.done()
        assert await pid_of(training, "done2") != first


async def test_the_next_owner_sweeps_a_trainer_that_stayed(processes, filled, settings):
    dead = await processes("done1", "done2")
    requested = await dead.request(["done1"], by="me")
    await dead.run_next()
    pid = (await dead.result(requested.job.id)).result["details"]["pid"]
    assert psutil.pid_exists(pid)
    await Training(filled, settings, LocalExecutor(settings.data_dir / "trainer.log", *FAKE)).recover()
    await gone(pid)
    assert await filled.read(jobs.processes) == []


async def test_a_trainer_that_does_not_hear_is_killed_and_its_other_job_is_done_by_the_next(processes, monkeypatch):
    monkeypatch.setattr(trainers, "ASK_SECONDS", 0.05)
    monkeypatch.setattr(trainers, "TERMINATE_SECONDS", 0.05)
    training = await processes("deaf", "resume", at_once=2)
    deaf = await training.request(["deaf"], by="me")
    other = await training.request(["resume"], by="me")
    async with queue(training):
        await anext(training.events(other.job.id))
        await training.cancel(deaf.job.id, by="mod")
        assert (await training.ended(deaf.job.id)).error == "Cancelled by mod."
        model = await training.result(other.job.id)
    assert model.result["details"]["resumed"]
    assert (await training.ended(other.job.id)).attempt == 2
