"""Trainings on a cluster, without one: what the bot makes of the process that is connected to it. tests/bot/test_ray.py has a real one."""

import errno
import json
import os
import subprocess
import sys

import psutil
import pytest

from bot.executors import ray
from bot.executors.port import LostError
from bot.executors.ray import RayExecutor, cluster_of
from bot.services import orders
from bot.services.doctor import examine, healthy
from bot.services.training import AWAY, Training
from bot.settings import Ray, Secrets
from data import jobs
from tests.bot.test_local_executor import FAKE, all_of, gone, job, last_of  # noqa: F401 - job is a fixture
from tests.bot.test_training import changed, queue
from tests.conftest import store_account
from trainer.protocol import Cluster, Done, parse


@pytest.fixture
async def executor(tmp_path):
    executor = RayExecutor(tmp_path / "trainer.log", Cluster(), *FAKE)
    yield executor
    await executor.close()


@pytest.fixture
def service(filled, settings, tweets, executor):
    async def make(*handles):
        for seed, handle in enumerate(handles):
            await filled.write(store_account, handle, tweets(150, seed))
        return Training(filled, settings, executor)

    return make


async def test_it_connects_once_and_takes_orders(executor, job):  # noqa: F811
    assert await executor.lacks() is None
    pids = set()
    for name in ("done1", "done2"):
        (run,) = await executor.start([job(name)])
        pids.add((await last_of(run)).details["pid"])
        assert await executor.lacks() is None
    assert pids == {run.process_group}


async def test_the_process_sees_rays_own_settings_and_no_token(executor, job, monkeypatch):  # noqa: F811
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("DISCORD_TOKEN", "secret")
    executor._environment = ray.rays_own()
    (run,) = await executor.start([job("wait")])
    seen = psutil.Process(run.process_group).environ()
    assert seen["RAY_AUTH_MODE"] == "token"
    assert "secret" not in seen.values()


def test_nodes_are_told_what_a_trainer_may_know_and_no_value_of_ours(monkeypatch):
    monkeypatch.setenv("HF_HOME", "/of/the/bot")
    cluster = cluster_of(Ray(address="head:6379"))
    assert parse(cluster.to_json()) == cluster
    assert {"PATH", "HF_HOME", "CUDA_*"} < set(cluster.inherited)
    assert not [name for name in cluster.inherited if "TOKEN" in name or "KEY" in name or name.startswith(("MYNAH", "RAY", "X_"))]
    assert "/of/the/bot" not in cluster.to_json()


async def test_a_cluster_that_is_not_there_is_a_sentence_and_is_asked_again_after_a_while(tmp_path, job, monkeypatch):  # noqa: F811
    executor = RayExecutor(tmp_path / "trainer.log", Cluster(address="nowhere:1"), *FAKE)
    started = []
    start = ray.processes.start

    async def counting(*args):
        started.append(args)
        return await start(*args)

    monkeypatch.setattr(ray.processes, "start", counting)
    assert await executor.lacks() == await executor.lacks() == "Nothing answers: start Ray."
    with pytest.raises(LostError, match="went away before it had the training"):
        await executor.start([job("done")])
    assert len(started) == 1
    monkeypatch.setattr(executor, "_again_at", 0.0)
    await executor.lacks()
    assert len(started) == 2
    await executor.close()


async def test_a_connection_that_cannot_be_begun_is_a_sentence(tmp_path, monkeypatch):
    executor = RayExecutor(tmp_path / "trainer.log", Cluster(address="nowhere:1"), *FAKE)

    async def start(*_):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(ray.processes, "start", start)
    assert "cannot be started (Resource temporarily unavailable)" in await executor.lacks()


async def test_one_that_has_to_connect_anew_takes_its_order_meanwhile(executor, job, monkeypatch):  # noqa: F811
    async def nothing():
        return None

    monkeypatch.setattr(executor, "lacks", nothing)
    for name in ("done1", "die"):
        (run,) = await executor.start([job(name)])
        if name == "done1":
            assert isinstance(await last_of(run), Done)
            psutil.Process(run.process_group).kill()
            await gone(run.process_group)
    with pytest.raises(LostError):
        await all_of(run)


async def test_a_connection_that_hangs_is_a_sentence_too(tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "CONNECT_SECONDS", 0.05)
    executor = RayExecutor(tmp_path / "trainer.log", Cluster(), sys.executable, "-c", "import sys; sys.stdin.read()")
    assert "did not answer within" in await executor.lacks()
    assert executor._trainer is None


@pytest.mark.parametrize(("name", "words"), [("lose", "gpu-2 was lost"), ("vanish", "ended (status -9"), ("die", "ended (status 1")])
async def test_what_was_lost_is_no_failure_of_the_job(executor, job, name, words):  # noqa: F811
    (run,) = await executor.start([job(name)])
    with pytest.raises(LostError) as lost:
        await all_of(run)
    assert words in str(lost.value)
    (again,) = await executor.start([job("done")])
    assert isinstance(await last_of(again), Done)
    await gone(run.process_group)


async def test_nothing_stands_still_for_the_speaker(executor, job):  # noqa: F811
    (run,) = await executor.start([job("wait")])
    executor.pause()
    assert psutil.Process(run.process_group).status() != psutil.STATUS_STOPPED
    executor.resume()


async def test_a_lost_job_is_queued_again_with_the_reason_and_not_for_ever(service, filled, monkeypatch):
    monkeypatch.setattr(orders, "MOST_ATTEMPTS", 2)
    training = await service("lose")
    number = (await training.request(["lose"], by="me")).job.id
    assert await training.run_next()
    again = await filled.read(jobs.get, number)
    assert (again.status, again.attempt) == ("queued", 1)
    assert [event["sentence"] async for event in first_notes(training, number)] == ["The node gpu-2 was lost: it begins anew."]
    assert await training.run_next()
    ended = await filled.read(jobs.get, number)
    assert (ended.status, ended.error_code) == ("failed", "died")
    assert ended.error == "The node gpu-2 was lost: it begins anew. This was the end of attempt 2, and of the last: train again."
    await training._let_go(training._lanes[0])


async def first_notes(training, number):
    async for event in training.events(number):
        if event["type"] == "note":
            yield event
            return


async def test_what_was_lost_and_is_no_longer_wanted_is_cancelled(service, filled):
    training = await service("lose")
    job = (await training.request(["lose"], by="me")).job  # noqa: F811
    await filled.write(jobs.start_next)
    await filled.write(jobs.request_cancel, job.id, "mod")
    await filled.write(orders._requeue_lost, await filled.read(jobs.get, job.id), "The node was lost.")
    assert (await filled.read(jobs.get, job.id)).error == "Cancelled by mod."


async def test_while_the_cluster_is_away_the_queue_waits_and_says_so_once(service, filled, executor, monkeypatch):
    training = await service("done", "wait")
    number = (await training.request(["done"], by="me")).job.id

    async def away():
        return "Nothing answers: start Ray."

    with monkeypatch.context() as patch:
        patch.setattr(executor, "lacks", away)
        assert not await training.run_next()
        later = (await training.request(["wait"], by="me")).job.id
        assert not await training.run_next()
        assert not await training.run_next()
    for told in (number, later):
        assert [event["sentence"] for _, event in await filled.read(jobs.events_after, told)] == [AWAY]
    await training.cancel(later, by="me")
    assert (await filled.read(jobs.get, number)).attempt == 0
    async with queue(training):
        assert (await training.result(number)).version == 1


async def test_what_went_away_before_the_order_was_taken_is_queued_again(service, filled, executor, monkeypatch):
    training = await service("done")
    number = (await training.request(["done"], by="me")).job.id

    async def gone_by_now(jobs):
        raise LostError("The cluster went away before it had the training.")

    monkeypatch.setattr(executor, "start", gone_by_now)
    assert await training.run_next()
    assert (await filled.read(jobs.get, number)).status == "queued"


@pytest.mark.parametrize(
    ("said", "ok", "found", "advice"),
    [
        ('{"type": "note", "sentence": "Ray 2.60.0, 3 nodes"}', True, "Ray 2.60.0, 3 nodes", ""),
        (
            '{"type": "failed", "code": "lost", "sentence": "Nothing answers (refused): start it."}',
            False,
            "Nothing answers (refused)",
            "Start it.",
        ),
        ("", False, "no word of what was found", "`ray status` on its head node may say more; docs/growth.md."),
    ],
)
def test_the_doctor_says_whether_the_cluster_answers(settings, monkeypatch, said, ok, found, advice):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, said, ""))
    (finding,) = [one for one in examine(changed(settings, executor="ray"), Secrets()) if one.name == "cluster"]
    assert (finding.ok, finding.found, finding.advice) == (ok, found, advice)
    assert healthy([finding]) is ok


def test_without_a_cluster_the_doctor_says_nothing_of_one(settings):
    assert not [one for one in examine(settings, Secrets()) if one.name == "cluster"]


def test_without_ray_one_sentence_says_how_it_is_installed(tmp_path):
    """As the doctor and the executor would ask; a stand-in that cannot be imported, where Ray is installed."""
    (tmp_path / "ray.py").write_text("raise ImportError\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "--cluster", Cluster().to_json()], env=environment, capture_output=True, text=True, check=False
    )
    failed = json.loads(done.stdout)
    assert (failed["code"], done.returncode) == ("lost", 1)
    assert failed["sentence"] == "Ray is not installed here, and `[trainer] executor` says ray: pip install -e '.[ray]'."


def test_the_bot_imports_no_ray():
    code = "import sys, bot.app, bot.services.doctor; print(sorted(name for name in sys.modules if name.split('.')[0] in ('ray', 'torch')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
