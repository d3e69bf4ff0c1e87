"""A real Ray on this machine, of a head and two nodes that train: jobs end there as they would here, whatever is killed meanwhile.

Minutes. It needs Ray (pip install -e '.[ray]') and is open to this machine alone.
"""

import asyncio
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic

import psutil
import pytest

from bot.executors import trainers
from bot.executors.local import LocalExecutor
from bot.executors.ray import RayExecutor, cluster_of
from bot.services.doctor import examine
from bot.services.training import Training
from bot.settings import Ray, Secrets
from data import jobs, models
from tests.bot.test_local_executor import true
from tests.bot.test_training import changed
from tests.conftest import ROOT, store_account
from trainer.node import CHECKPOINT

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install -e '.[ray]'"),
]
SECONDS = 600
#: Ray takes the machine's address in the place of the loopback's, and would be open to its network: whoever reaches it runs what he likes.
START = """
import sys
from ray._private import services
services.get_node_ip_address = lambda address=None: "127.0.0.1"
from ray.scripts.scripts import main
sys.argv[0] = "ray"
main()
"""


class RealCluster:
    """A head that trains nothing, and nodes that each have room for one order."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.began = monotonic()
        port = self.address.partition(":")[2]
        self._start("--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={folder}")
        self.nodes = 0
        self.fill()

    def fill(self):
        """Have two nodes again, whatever was killed."""
        while self.nodes < 2:
            self._start(f"--address={self.address}", "--num-cpus=1")
            self.nodes += 1

    def say(self, text):
        """Tell whoever looks on with -s."""
        print(f"{monotonic() - self.began:6.1f} s  {text}")

    def _start(self, *options):
        always = ["--node-ip-address=127.0.0.1", "--num-gpus=0", "--object-store-memory=80000000", "--disable-usage-stats"]
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
        command = [sys.executable, "-c", START, "start", *options, *always, "--include-log-monitor=false"]
        with (self.folder / "start.log").open("a+") as log:
            done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=120, check=False)
            log.seek(0)
            assert done.returncode == 0, log.read()
        self.say(f"ray start {' '.join(options)}")

    def processes(self):
        """All of the cluster's."""
        named = [one for one in psutil.process_iter(["cmdline"]) if any(str(self.folder) in word for word in one.info["cmdline"] or [])]
        found = {one.pid: one for root in named for one in (root, *children(root))}
        return list(found.values())


def children(process):
    with suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


@pytest.fixture(scope="module")
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: sockets lie in it, whose names may have a hundred letters
    made = None
    try:
        made = RealCluster(folder)
        yield made
    finally:
        for process in made.processes() if made else []:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def make(filled, settings, cluster, tmp_path, monkeypatch):
    """A function that makes the service on the cluster; the cluster's cache of bases is not ours."""
    # The process that connects must look for the loopback, too.
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    executors = []

    def made(tasks=1, **trainer):
        ray = Ray(address=cluster.address, num_gpus=0, num_cpus=1, cache_dir=str(tmp_path / "there"), checkpoint_seconds=1)
        own = changed(settings, executor="ray", ray=ray, **trainer)
        new = [RayExecutor(settings.data_dir / "trainer.log", cluster_of(ray)) for _ in range(tasks)]
        executors.extend(new)
        return Training(filled, own, *new)

    yield made
    for executor in executors:
        await executor.close()
    await true(lambda: not trainers_in(tmp_path))


@asynccontextmanager
async def queue(training):
    await training.recover()
    task = asyncio.create_task(training.run_forever())
    try:
        async with asyncio.timeout(SECONDS):
            yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def trainers_in(folder):
    """The trainers that nodes have started in a folder."""
    found = []
    for one in psutil.process_iter(["cmdline", "status"]):
        words = one.info["cmdline"] or []
        if "--lifeline" in words and str(folder) in " ".join(words) and one.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(one)
    return found


async def at_work(tmp_path, filled, attempt=1):
    """The trainer on a node, once it takes steps."""
    while not await filled.read(lambda db: db["job_events"].count_where("event LIKE '%\"step\"%' AND attempt = ?", [attempt])):
        await filled.changed()
    (trainer,) = trainers_in(tmp_path / "there")
    return trainer


def nodes_of(log):
    """The nodes that trained, in this order."""
    return [line.partition("trained on ")[2] for line in log.read_text().splitlines() if "trained on " in line]


async def test_a_node_is_lost_and_the_job_is_done_elsewhere(make, cluster, filled, settings, tmp_path):
    training = make(epochs=30)
    number = (await training.request(["ann"], by="me")).job.id
    folder = settings.data_dir / "work" / str(number)
    async with queue(training):
        trainer = await at_work(tmp_path, filled)
        cluster.say(f"job {number} takes steps on {nodes_of(settings.data_dir / 'trainer.log')[0]}")
        while not (folder / CHECKPOINT).exists():
            await filled.changed()
        cluster.say("a checkpoint came back")
        raylet = trainer.parent().parent()
        assert raylet.name() == "raylet"
        for process in (raylet, *children(raylet)):
            process.kill()
        cluster.nodes -= 1
        cluster.say("kill -9 of its raylet, with all that the raylet had started")
        while (job := await filled.read(jobs.get, number)).status == "running":
            await filled.changed()
        (*_, (_, note)) = await filled.read(jobs.events_after, number)
        cluster.say(f"job {number} is {job.status} again; its last event: {note['sentence']}")
        (first,) = nodes_of(settings.data_dir / "trainer.log")
        assert note["sentence"] == f"The node {first} was lost: it goes on from its last checkpoint."
        await at_work(tmp_path, filled, attempt=2)
        cluster.say(f"it takes steps again, on {nodes_of(settings.data_dir / 'trainer.log')[1]}")
        model = await training.result(number)
    _, second = nodes_of(settings.data_dir / "trainer.log")
    cluster.say(f"job {number} is done on {second}, in attempt {(await filled.read(jobs.get, number)).attempt}, "
                f"resumed at step {model.result['details']['resumed_at']} of {model.result['details']['steps']}")  # fmt: skip
    assert first != second
    assert model.result["details"]["resumed_at"] > 0
    assert [one.sha256 for one in await filled.read(models.versions, "ann")] == [model.sha256]
    # The same job, undisturbed, on this machine.
    corpus = await filled.read(jobs.corpus_of, (await filled.read(jobs.get, number)).corpus)
    local = LocalExecutor(settings.data_dir / "local.log")
    wanted = jobs_protocol(await filled.read(jobs.get, number), corpus, tmp_path)
    (run,) = await local.start([wanted])
    async with asyncio.timeout(SECONDS):
        events = [event async for event in run.events()]
    await local.close()
    assert events[-1].sha256 == model.sha256
    cluster.say(f"the same job on this machine, undisturbed, has the same bytes: {model.sha256[:16]}…")


def jobs_protocol(job, corpus, tmp_path):
    from bot.services.orders import _posts
    from trainer.protocol import Job, Recipe

    splits = [_posts(split) for split in (corpus.train, corpus.stop, corpus.report)]
    return Job("undisturbed", Recipe(**job.recipe), *splits, output=str(tmp_path / "undisturbed"), cache=str(tmp_path / "there"))


async def test_one_of_two_is_cancelled_gently_and_the_other_goes_on(make, cluster, filled, settings, tmp_path):
    training = make(epochs=4, at_once=2)
    kept, dropped = [(await training.request([handle], by="me")).job.id for handle in ("ann", "bob")]
    async with queue(training):
        trainer = await at_work(tmp_path, filled)
        began = monotonic()
        await training.cancel(dropped, by="mod")
        ended = await training.ended(dropped)
        cluster.say(f"one job of a batch was cancelled in {monotonic() - began:.1f} s")
        assert (ended.status, ended.error) == ("cancelled", "Cancelled by mod.")
        assert trainer.is_running()
        assert (await training.result(kept)).version == 1
        assert (await filled.read(jobs.get, kept)).attempt == 1
        assert [path.name for path in (tmp_path / "there/work").iterdir()] == [".lock"]  # no posts are left lying


async def test_a_trainer_that_does_not_hear_is_ended_hard(make, cluster, filled, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(trainers, "ASK_SECONDS", 1.0)
    training = make(epochs=100)
    number = (await training.request(["ann"], by="me")).job.id
    async with queue(training):
        trainer = await at_work(tmp_path, filled)
        trainer.send_signal(signal.SIGSTOP)
        began = monotonic()
        await training.cancel(number, by="mod")
        assert (await training.ended(number)).error == "Cancelled by mod."
        await true(lambda: not trainers_in(tmp_path))
        cluster.say(f"a trainer that was stopped by a signal was cancelled and gone in {monotonic() - began:.1f} s")
        assert await filled.read(lambda db: db["models"].count) == 0


async def test_what_is_left_of_a_bot_that_dies_ends_and_its_job_has_one_result(make, cluster, filled, settings, tmp_path):
    training = make(epochs=4)
    number = (await training.request(["ann"], by="me")).job.id
    async with queue(training):
        trainer = await at_work(tmp_path, filled)
        (process, _), *_ = await filled.read(jobs.processes)
        began = monotonic()
        os.kill(process, signal.SIGKILL)  # as it does itself when the bot's end of its lifeline closes
        await true(lambda: not trainer.is_running() or trainer.status() == psutil.STATUS_ZOMBIE)
        cluster.say(f"the connected process was killed, and its trainer was gone {monotonic() - began:.1f} s later")
        assert (await training.result(number)).version == 1
    assert (await filled.read(jobs.get, number)).attempt == 2
    assert len(await filled.read(models.versions, "ann")) == 1


async def test_as_many_are_trained_at_once_as_nodes_are_free_and_the_rest_wait(make, cluster, filled, settings, tmp_path, tweets):
    cluster.fill()
    await filled.write(store_account, "eve", tweets(150, 3))
    training = make(tasks=3, epochs=20)
    numbers = [(await training.request([handle], by="me")).job.id for handle in ("ann", "bob", "eve")]

    async def said(number, kind):
        return [event for _, event in await filled.read(jobs.events_after, number) if event["type"] == kind]

    async with queue(training):
        while not all([await said(number, "step") or await said(number, "note") for number in numbers]):
            await filled.changed()
        waiting = [number for number in numbers if await said(number, "note")]
        assert [event["sentence"] for event in await said(*waiting, "note")] == ["Waiting for a node of the cluster to be free."]
        cluster.say(
            f"{len(numbers) - len(waiting)} jobs take steps on {' and '.join(nodes_of(settings.data_dir / 'trainer.log'))}, and one waits"
        )
        assert len(set(nodes_of(settings.data_dir / "trainer.log"))) == 2
        for number in numbers:
            assert (await training.result(number)).version == 1
        cluster.say("all three are done")


async def test_the_doctor_and_the_queue_say_what_the_cluster_has_and_lacks(make, cluster, settings):
    training = make()
    (finding,) = [one for one in examine(training._settings, Secrets()) if one.name == "cluster"]
    cluster.say(f"mynah doctor: {finding.found}")
    assert finding.ok
    assert finding.found.startswith("Ray 2.")
    greedy = RayExecutor(settings.data_dir / "trainer.log", cluster_of(Ray(address=cluster.address, num_gpus=1)))
    lack = await greedy.lacks()
    cluster.say(f"with num_gpus = 1: {lack}")
    assert "has 1 CPU and 1 GPU: start one" in lack
