"""A disk that fills up: nothing new is trained, voices speak on, and the queue goes on by itself when there is room."""

import asyncio
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from bot.errors import BadRequestError, SpeechFailedError, StoreError
from bot.services import orders
from bot.services import speaking as speaking_module
from bot.services import training as training_module
from bot.services.speaking import Speaking
from bot.services.training import Training
from data import jobs, speech
from data.jobs import Status
from data.store import Store
from tests.bot.test_speaking import LINES, ScriptedSpeaker
from tests.conftest import made_up_tweets, store_account
from tests.voices import add_version


@pytest.fixture
def disk(monkeypatch):
    """What is free, in bytes, as a test sets it."""
    left = SimpleNamespace(free=10 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: left)
    return left


@asynccontextmanager
async def at_work(*parts):
    """Queues, running as they do in the service."""
    tasks = [asyncio.create_task(part.run_forever()) for part in parts]
    try:
        async with asyncio.timeout(120):
            yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_a_training_is_refused_in_one_sentence_and_not_queued(filled, settings, executor, disk):
    disk.free = 511 << 20
    with pytest.raises(BadRequestError, match="has 511 MiB left, so nothing new is trained"):
        await Training(filled, settings, executor).request(["ann"], by="me")
    assert await filled.read(jobs.recent) == []
    disk.free = 512 << 20
    assert (await Training(filled, settings, executor).request(["ann"], by="me")).new


async def test_a_training_that_was_done_is_still_the_answer(filled, settings, executor, disk):
    training = Training(filled, settings, executor)
    async with at_work(training):
        first = await training.request(["ann"], by="me")
        await training.result(first.job.id)
        disk.free = 0
        again = await training.request(["ann"], by="me")
    assert (again.new, again.job.id) == (False, first.job.id)


async def test_what_is_queued_waits_and_goes_on_when_there_is_room(filled, settings, executor, disk):
    training = Training(filled, settings, executor)
    asked = await training.request(["ann"], by="me")
    disk.free = 0
    assert not await training.run_next()
    assert not await training.run_next()
    assert (await filled.read(jobs.get, asked.job.id)).status is Status.QUEUED
    assert executor.orders == []
    disk.free = 10 << 30
    assert await training.run_next()
    assert (await filled.read(jobs.get, asked.job.id)).status is Status.DONE


async def test_a_training_under_way_is_cut_off_says_why_and_goes_on_when_there_is_room(filled, settings, executor, disk, monkeypatch):
    monkeypatch.setattr(orders, "DISK_SECONDS", 0.01)
    executor.gate = asyncio.Event()
    training = Training(filled, settings, executor)
    asked = await training.request(["ann"], by="me")
    running = asyncio.create_task(training.run_next())
    while not executor.runs:
        await filled.changed()
    disk.free = 0
    assert await running
    assert (await filled.read(jobs.get, asked.job.id)).status is Status.QUEUED
    told = [event["sentence"] for _, event in await filled.read(jobs.events_after, asked.job.id) if event["type"] == "note"]
    assert told == ["Mynah's disk has 0 MiB left, so nothing new is trained: its operator must free some (`mynah gc` helps)."]
    assert not await training.run_next()
    disk.free = 10 << 30
    executor.gate.set()
    assert await training.run_next()
    assert (await filled.read(jobs.get, asked.job.id)).status is Status.DONE


async def test_an_answer_that_cannot_be_stored_is_told_and_the_service_lives(filled, settings, monkeypatch):
    monkeypatch.setattr(speaking_module, "STORE_SECONDS", 0.01)
    await filled.write(add_version, ("ann",))
    speaking = Speaking(filled, settings, ScriptedSpeaker(*LINES, *LINES))
    write, full = filled.write, True

    async def failing(work, *args, **options):
        if full and work in (speech.finish, speech.record, speech.fail):
            raise StoreError("The disk is full, so nothing was stored: free some space and try again.")
        return await write(work, *args, **options)

    monkeypatch.setattr(filled, "write", failing)
    async with at_work(speaking) as tasks:
        asked = await speaking.request("ann", by="me", count=1)
        with pytest.raises(SpeechFailedError, match="disk is full"):
            await speaking.answer(asked.id)
        full = False
        while (await filled.read(speech.get, asked.id)).status != "failed":  # it is written as soon as there is room
            await filled.changed()
        again = await speaking.request("ann", by="me", count=1)
        assert len((await speaking.answer(again.id)).lines) == 1
        assert not tasks[0].done()


async def test_a_queue_that_cannot_be_written_for_long_goes_on_afterwards(filled, settings, executor, monkeypatch):
    monkeypatch.setattr(training_module, "RETRY_SECONDS", 0.01)
    training = Training(filled, settings, executor)
    asked = await training.request(["ann"], by="me")
    write, failures = filled.write, []

    async def failing(work, *args, **options):
        if len(failures) < 5:
            failures.append(work)
            raise StoreError("The disk is full, so nothing was stored: free some space and try again.")
        return await write(work, *args, **options)

    monkeypatch.setattr(filled, "write", failing)
    async with at_work(training):
        await training.result(asked.job.id)
    assert len(failures) == 5


@pytest.fixture
def small(tmp_path):
    """A folder on a disk of 8 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(file, but=0):
    """Have a file take all that is left of its disk but so many bytes."""
    with file.open("wb") as to:
        room = os.statvfs(file.parent)
        to.write(b"x" * (room.f_bavail * room.f_bsize - but))


async def test_on_a_real_disk_that_is_nearly_full_voices_speak_and_nothing_is_trained(settings, executor, small):
    """Less is left than the settings spare; then nothing at all; then there is room again."""
    settings = settings.model_copy(update={"data_dir": small, "trainer": settings.trainer.model_copy(update={"spare_mib": 3})})
    async with Store(settings.database) as store:
        await store.write(store_account, "ann", made_up_tweets(150))
        await store.write(add_version, ("ann",))
        training, speaking = Training(store, settings, executor), Speaking(store, settings, ScriptedSpeaker(*LINES))
        queued = await training.request(["ann"], by="me")
        fill(small / "filler", but=2 << 20)
        async with at_work(training, speaking) as tasks:
            with pytest.raises(BadRequestError, match=r"has [12] MiB left"):
                await training.request(["ann"], by="me", posts=140)
            asked = await speaking.request("ann", by="me", count=2)
            assert len((await speaking.answer(asked.id)).lines) == 2
            assert (await store.read(jobs.get, queued.job.id)).status is Status.QUEUED
            fill(small / "rest")
            with pytest.raises(StoreError, match="disk is full"):
                await store.write(add_version, ("ann",), weights=b"w" * 3_000_000)
            assert not any(task.done() for task in tasks)
            for file in ("filler", "rest"):
                (small / file).unlink()
            await training.result(queued.job.id)
        assert await store.read(lambda db: db.conn.execute("PRAGMA integrity_check").fetchone()[0]) == "ok"
