"""The local executor and real processes: what each job hears, and when a trainer stays, is thrown away, or dies with its owner."""

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bot.executors import trainers
from bot.executors.local import LocalExecutor
from bot.executors.port import CutOffError
from tests.conftest import ROOT
from trainer.protocol import Done, Failed, Job, Note, Post, Recipe, Stage

FAKE = (sys.executable, str(Path(__file__).with_name("fake_trainer.py")))


@pytest.fixture
async def executor(tmp_path):
    executor = LocalExecutor(tmp_path / "trainer.log", *FAKE)
    yield executor
    await executor.close()


@pytest.fixture
def job(tmp_path):
    def make(manner: str) -> Job:
        posts = [Post(manner, "a post")]
        return Job(manner, Recipe(), posts, posts, posts, output=str(tmp_path / manner), cache=str(tmp_path))

    return make


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(trainers, "ASK_SECONDS", 0.05)
    monkeypatch.setattr(trainers, "TERMINATE_SECONDS", 0.05)


async def all_of(run):
    """What is said of a job, to its end."""
    async with asyncio.timeout(20):
        return [event async for event in run.events()]


async def last_of(run):
    return (await all_of(run))[-1]


async def begun(run):
    """Read the first event, and return where the rest is read."""
    async with asyncio.timeout(20):
        events = run.events()
        assert isinstance(await anext(events), Stage)
        return events


async def true(question):
    """Wait for something that tells no one when it comes, such as a file or the end of a process."""
    async with asyncio.timeout(20):
        while not question():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def gone(*pids):
    """Wait for processes to end."""
    await true(lambda: not any(psutil.pid_exists(pid) for pid in pids))


async def test_each_job_hears_what_is_said_of_it_alone(executor, job):
    runs = await executor.start([job("done1"), job("thin"), job("done2")])
    said = await asyncio.gather(*map(all_of, runs))
    assert [[event.job for event in events] for events in said] == [["done1"] * 2, ["thin"] * 2, ["done2"] * 2]
    assert [type(events[-1]) for events in said] == [Done, Failed, Done]
    assert Path(said[0][-1].weights).read_bytes() == b"weights of done1"


async def test_a_trainer_stays_for_the_next_order(executor, job):
    (first,) = await executor.start([job("done1")])
    pid = (await last_of(first)).details["pid"]
    (second,) = await executor.start([job("done2")])
    assert (await last_of(second)).details["pid"] == pid == first.process_group == second.process_group
    assert first.process_started == int(psutil.Process(pid).create_time())
    await executor.close()
    await gone(pid)


@pytest.mark.parametrize("manner", ["thin", "wait"])
async def test_a_job_that_failed_for_its_own_reason_leaves_the_trainer_as_it_is(executor, job, manner):
    (first,) = await executor.start([job(manner)])
    if manner == "wait":
        await first.cancel()
    assert isinstance(await last_of(first), Failed)
    (second,) = await executor.start([job("done")])
    assert (await last_of(second)).details["pid"] == first.process_group


async def test_a_trainer_that_ran_out_of_memory_ends_with_its_order_and_a_new_one_comes(executor, job):
    leak, good = await executor.start([job("leak"), job("done1")])
    assert (await last_of(leak)).code == "out_of_memory"
    assert isinstance(await last_of(good), Done)
    await gone(leak.process_group)
    (next_one,) = await executor.start([job("done2")])
    assert (await last_of(next_one)).details["pid"] != leak.process_group


async def test_after_so_many_jobs_a_new_trainer_comes(executor, job, monkeypatch):
    monkeypatch.setattr(trainers, "RECYCLE_AFTER", 3)
    pids = []
    for manner in ("done1", "done2", "done3", "done4"):
        (run,) = await executor.start([job(manner)])
        pids.append((await last_of(run)).details["pid"])
    assert pids[0] == pids[1] == pids[2] != pids[3]
    await gone(pids[0])


@pytest.mark.parametrize(
    ("manner", "code", "words"),
    [
        ("die", "died", "status 1: the reason in the log"),
        ("vanish", "died", "killed from outside"),
        ("babble", "bad_job", "not of the protocol"),
        ("stray", "bad_job", "no job under way"),
        ("hasty", "bad_job", "has not ended"),
    ],
)
async def test_the_end_of_a_trainer_is_the_end_of_each_job_that_had_not_ended(executor, job, manner, code, words):
    ended, waiting, bad = await executor.start([job("done1"), job("wait"), job(manner)])
    assert isinstance(await last_of(ended), Done)
    for run in (waiting, bad):
        last = await last_of(run)
        assert (last.code, words in last.sentence) == (code, True), last
    (next_one,) = await executor.start([job("done2")])
    assert (await last_of(next_one)).details["pid"] != bad.process_group
    await gone(bad.process_group)


async def test_a_trainer_whose_log_was_taken_away_ends_its_jobs_all_the_same(executor, job, tmp_path):
    (run,) = await executor.start([job("wait")])
    (tmp_path / "trainer.log").unlink()
    os.kill(run.process_group, signal.SIGTERM)
    last = await last_of(run)
    assert (last.code, "it left no message" in last.sentence) == ("died", True), last


async def test_a_failure_that_names_no_job_is_that_of_all(executor, job):
    runs = await executor.start([job("wait"), job("refuse")])
    assert [(await last_of(run)).sentence for run in runs] == ["The job file cannot be read."] * 2


async def test_one_of_two_is_cancelled_and_the_other_goes_on(executor, job):
    first, second = await executor.start([job("wait1"), job("wait2")])
    events = await begun(second)
    await first.cancel()
    assert (await last_of(first)).code == "cancelled"
    await first.cancel()  # of one that ended, nothing
    await second.cancel()
    assert (await anext(events)).code == "cancelled"
    (third,) = await executor.start([job("done")])
    assert third.process_group == first.process_group


async def test_a_trainer_that_does_not_hear_is_killed_and_its_other_job_is_cut_off(executor, job, impatient):
    ended, deaf, other = await executor.start([job("done1"), job("deaf"), job("wait")])
    events = await begun(other)
    await deaf.cancel()
    await gone(deaf.process_group)
    assert isinstance(await last_of(ended), Done)
    assert (await last_of(deaf)).code == "cancelled"
    with pytest.raises(CutOffError):
        await anext(events)
    (again,) = await executor.start([replace(job("done2"), id="wait")])
    assert isinstance(await last_of(again), Done)


async def test_closing_cuts_off_and_takes_the_children_along(executor, job):
    parent, waiting = await executor.start([job("parent"), job("wait")])
    child = (await last_of(parent)).details["child"]
    await executor.close()
    await gone(parent.process_group, child)
    with pytest.raises(CutOffError):
        await all_of(waiting)


async def test_a_trainer_that_died_while_it_stayed_is_replaced(executor, job):
    (first,) = await executor.start([job("parent")])
    child = (await last_of(first)).details["child"]
    psutil.Process(first.process_group).kill()
    await gone(first.process_group, child)
    (second,) = await executor.start([job("done")])
    assert isinstance(await last_of(second), Done)


async def test_a_trainer_that_never_gets_ready_is_replaced(executor, job, monkeypatch):
    monkeypatch.setattr(trainers, "READY_SECONDS", 0.05)
    (first,) = await executor.start([job("refuse")])
    await last_of(first)
    (second,) = await executor.start([job("done")])
    assert (await last_of(second)).details["pid"] != first.process_group
    await gone(first.process_group)


async def test_what_lies_in_a_jobs_folder_is_kept(executor, job):
    (first,) = await executor.start([job("resume")])
    await begun(first)
    await true((Path(job("resume").output) / "checkpoint.safetensors").exists)
    await executor.close()
    (again,) = await executor.start([job("resume")])
    assert (await last_of(again)).details["resumed"]


@pytest.mark.parametrize("manner", ["wait", "parent"])
def test_a_trainer_dies_with_its_owner_whether_it_works_or_stays(job, tmp_path, manner):
    (tmp_path / "job.json").write_text(job(manner).to_json())
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path), *FAKE], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        processes = [psutil.Process(pid) for pid in pids]
        owner.kill()
    assert len(processes) == (1 if manner == "wait" else 2)
    assert not psutil.wait_procs(processes, timeout=20)[1]


OWNER = """
import asyncio, sys
from pathlib import Path
from bot.executors.local import LocalExecutor
from trainer.protocol import Done, parse

async def own(folder, *command):
    executor = LocalExecutor(folder / "trainer.log", *command)
    (run,) = await executor.start([parse((folder / "job.json").read_text())])
    async for event in run.events():
        child = event.details["child"] if isinstance(event, Done) else ""
        if child or "wait" in event.job:
            print(run.process_group, child, flush=True)
            await asyncio.Event().wait()
    await asyncio.Event().wait()

asyncio.run(own(Path(sys.argv[1]), *sys.argv[2:]))
"""


async def test_each_job_hears_that_its_base_is_fetched_and_that_it_cannot_be(tmp_path, monkeypatch, job):
    """A real trainer on a machine that never trained, and that has no network."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake/pip.py").write_text("raise SystemExit(1)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    executor = LocalExecutor(tmp_path / "trainer.log")
    try:
        heard = [await all_of(run) for run in await executor.start([job("one"), job("two")])]
    finally:
        await executor.close()
    for job_id, events in zip(("one", "two"), heard, strict=True):
        assert {event.job for event in events} == {job_id}
        stage, note, failed = events
        assert isinstance(stage, Stage)
        assert isinstance(note, Note)
        assert "Fetching" in note.sentence
        assert isinstance(failed, Failed)
        assert failed.code == "base_unavailable"
