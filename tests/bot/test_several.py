"""Several trainers at once, one for each GPU: each sees its own, takes what waits when it is free, and dies alone."""

import asyncio

import psutil
import pytest

from bot.app import beside_the_speaker, executors_of
from bot.errors import SettingsError, StoreError
from bot.executors.local import LocalExecutor
from bot.executors.ray import RayExecutor
from bot.services import training as training_module
from bot.services.training import Training
from bot.settings import Settings, load_settings
from data import jobs
from tests.bot.test_local_executor import FAKE, gone, true
from tests.bot.test_training import changed, queue
from tests.conftest import store_account
from trainer.protocol import Recipe


@pytest.fixture
def service(filled, settings, tweets):
    """The service with two GPUs, each trainer doing what its account's name says; the accounts."""

    async def make(*handles, **trainer):
        for seed, handle in enumerate(handles):
            await filled.write(store_account, handle, tweets(150, seed))
        executors = [LocalExecutor(settings.data_dir / f"trainer-{gpu}.log", *FAKE, gpu=gpu) for gpu in ("0", "GPU-1")]
        return Training(filled, changed(settings, **trainer), *executors)

    return make


async def asked(training, *handles):
    return [(await training.request([handle], by="me")).job.id for handle in handles]


async def running(store, count):
    """The trainers of so many jobs that run at once: by job the number of its process."""
    while len(await store.read(jobs.interrupted)) < count or len(await store.read(jobs.processes)) < count:
        await store.changed()
    rows = await store.read(lambda db: list(db.query("SELECT id, process_group FROM jobs WHERE status = 'running'")))
    return {row["id"]: row["process_group"] for row in rows}


async def test_two_trainers_work_at_once_and_each_sees_its_own_gpu(service, filled):
    training = await service("wait1", "wait2", "done3")
    first, second, third = await asked(training, "wait1", "wait2", "done3")
    async with queue(training):
        pids = await running(filled, 2)
        assert pids.keys() == {first, second}
        environments = [psutil.Process(pid).environ() for pid in pids.values()]
        assert sorted(environment["CUDA_VISIBLE_DEVICES"] for environment in environments) == ["0", "GPU-1"]
        assert {environment["CUDA_DEVICE_ORDER"] for environment in environments} == {"PCI_BUS_ID"}
        assert (await filled.read(jobs.get, third)).status == "queued"
        gpu = psutil.Process(pids[second]).environ()["CUDA_VISIBLE_DEVICES"]
        await training.cancel(second, by="me")
        result = (await training.result(third)).result  # by whichever is free
        assert (result["details"]["gpu"], result["details"]["pid"]) == (gpu, pids[second])
        assert (await filled.read(jobs.get, first)).status == "running"
    await gone(*pids.values())
    assert await filled.read(jobs.processes) == []
    assert (await filled.read(jobs.get, first)).status == "queued"


async def test_a_trainer_that_dies_takes_no_other_along(service, filled):
    training = await service("wait1", "vanish2", "done3")
    waiting, dead, done = await asked(training, "wait1", "vanish2", "done3")
    async with queue(training):
        assert (await training.ended(dead)).error_code == "died"
        model = await training.result(done)
        assert (await filled.read(jobs.get, waiting)).status == "running"
        # The dead one's number is remembered no more: it may be somebody else's by now.
        assert {pid for pid, _ in await filled.read(jobs.processes)} == {
            *(await running(filled, 1)).values(),
            model.result["details"]["pid"],
        }


async def test_the_next_owner_sweeps_them_all(service, filled):
    training = await service("wait1", "wait2")
    await asked(training, "wait1", "wait2")
    lanes = [asyncio.create_task(training.run_next(lane)) for lane in training._lanes]
    pids = await running(filled, 2)
    await Training(filled, training._settings).recover()
    await gone(*pids.values())
    assert await filled.read(jobs.processes) == []
    for lane in lanes:
        lane.cancel()
    await asyncio.wait(lanes)


async def test_what_waits_is_shared_among_those_that_are_free(service, filled):
    training = await service("wait1", "wait2", "wait3", "wait4", at_once=16)
    numbers = await asked(training, "wait1", "wait2", "wait3", "wait4")
    async with queue(training):
        while len(await filled.read(jobs.processes)) < 2:
            await filled.changed()
        rows = await filled.read(lambda db: list(db.query("SELECT process_group, count(*) AS n FROM jobs GROUP BY process_group")))
        assert [row["n"] for row in rows] == [2, 2]
        assert len(numbers) == 4


async def test_a_database_that_cannot_be_written_stops_all_of_them_and_each_goes_on(service, filled, monkeypatch):
    monkeypatch.setattr(training_module, "RETRY_SECONDS", 0.01)
    training = await service("resume1", "thin2")
    write, broken = filled.write, []

    async def failing(work, *args, **options):
        if work is jobs.end and len(broken) < 2:  # how it ended, and that this could not be written
            broken.append(await running(filled, 2))  # the other is at work, and has a checkpoint
            await true((training._settings.data_dir / "work/1/checkpoint.safetensors").exists)
            raise StoreError("The disk is full, so nothing was stored: free some space and try again.")
        return await write(work, *args, **options)

    monkeypatch.setattr(filled, "write", failing)
    resumed, thin = await asked(training, "resume1", "thin2")
    async with queue(training):
        result = (await training.result(resumed)).result
        assert (await training.ended(thin)).error_code == "too_little_text"
    assert result["details"]["resumed"]
    assert result["details"]["pid"] not in broken[0].values()


def test_places_to_train_are_as_the_settings_say(settings):
    def made(**trainer):
        return executors_of(Settings(data_dir=settings.data_dir, trainer=trainer))

    (usual,) = made()
    assert type(usual) is LocalExecutor
    assert (usual._log.name, usual._environment) == ("trainer.log", {})
    several = made(gpus=[0, "GPU-8a1"])
    assert [one._log.name for one in several] == ["trainer.log", "trainer-2.log"]
    assert [one._environment["CUDA_VISIBLE_DEVICES"] for one in several] == ["0", "GPU-8a1"]
    afar = made(executor="ray", ray={"tasks": 3})
    assert [type(one) for one in afar] == [RayExecutor] * 3


@pytest.mark.parametrize(("gpus", "speaks_on", "still"), [([], "", 1), ([0, 1], "", 2), ([0, 1], "1", 1), ([0, 1], "2", 0), ([], "2", 1)])
def test_only_those_stand_still_for_the_speaker_that_share_its_gpu(settings, gpus, speaks_on, still):
    settings = Settings(data_dir=settings.data_dir, trainer={"gpus": gpus}, speaker={"gpu": speaks_on})
    executors = executors_of(settings)
    beside = beside_the_speaker(executors, settings)
    assert len(beside) == still
    assert speaks_on != "1" or beside == [executors[1]]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("[trainer]\ngpus = [0, 0]", "gpus must name each GPU once"),
        ("[trainer]\ngpus = [0]\nexecutor = 'ray'", "gpus are this machine's"),
        ("[trainer]\ngpus = ['first']", "trainer.gpus.0 in config.toml is wrong"),
        ("[speaker]\ngpu = 'all'", "speaker.gpu"),
        ("[trainer.ray]\naddress = 'ray://head:10001'", "trainer.ray.address in config.toml is wrong"),
        ("[trainer.ray]\nadress = 'auto'", "did you mean trainer.ray.address?"),
    ],
)
def test_places_that_cannot_be_are_refused_in_a_sentence(tmp_path, said, words):
    (tmp_path / "config.toml").write_text(said)
    with pytest.raises(SettingsError) as error:
        load_settings(tmp_path / "config.toml")
    assert words in str(error.value)


def test_the_environment_outranks_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("MYNAH_TRAINER__RAY__ADDRESS", "head:6379")
    monkeypatch.setenv("MYNAH_TRAINER__GPUS", '[0, "GPU-8a1"]')
    (tmp_path / "config.toml").write_text("[trainer.ray]\ntasks = 3\n")
    wanted = load_settings(tmp_path / "config.toml").trainer
    assert (wanted.ray.address, wanted.ray.tasks, wanted.gpus) == ("head:6379", 3, ("0", "GPU-8a1"))


def test_the_recipe_knows_nothing_of_where_it_is_trained():
    """Else the same training on another GPU would be another one."""
    assert not {"gpu", "gpus", "executor"} & Recipe.__dataclass_fields__.keys()
