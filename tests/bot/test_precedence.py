"""Trainings stand still while somebody waits, and come to their end all the same."""

import asyncio
from time import monotonic

import psutil
import pytest

from bot.executors.local import LocalExecutor
from bot.services import precedence
from bot.services.precedence import Precedence
from bot.services.speaking import Speaking
from data.speech import Purpose
from tests.bot.test_local_executor import FAKE
from tests.bot.test_speaking import LINES, ScriptedSpeaker, answering
from tests.voices import add_version


class Clocked:
    """An executor that knows when it stood still."""

    def __init__(self):
        self.spans = []

    def pause(self):
        self.spans.append([monotonic(), None])

    def resume(self):
        self.spans[-1][1] = monotonic()

    @property
    def still(self):
        return bool(self.spans) and self.spans[-1][1] is None


async def test_it_stands_still_until_the_last_has_his_answer():
    executor = Clocked()
    first = Precedence(executor)
    async with first.wanted():
        await asyncio.sleep(0)
        assert executor.still
        async with first.wanted():
            assert executor.still
        assert executor.still
    assert not executor.still
    assert len(executor.spans) == 1


async def test_it_runs_half_of_the_time_however_long_somebody_waits_and_however_often(monkeypatch):
    monkeypatch.setattr(precedence, "STILL_SECONDS", 0.4)
    monkeypatch.setattr(precedence, "LEAST_SECONDS", 0.1)
    executor = Clocked()
    first = Precedence(executor)
    began = monotonic()
    async with first.wanted():
        await asyncio.sleep(1.6)  # the time that is spent
    for _ in range(40):
        async with first.wanted():
            await asyncio.sleep(0.04)
    took = monotonic() - began
    spans = [end - start for start, end in executor.spans]
    still = sum(spans)
    assert still < 0.5 * took + 0.2 + max(0.4, *spans)
    assert still > 0.25 * took
    assert not executor.still


async def test_people_and_schedules_stop_trainings(filled, settings, executor):
    seen = {}

    class Looking(ScriptedSpeaker):
        async def speak(self, request):
            seen[request.waiting] = executor.still
            async for line in super().speak(request):
                yield line

    await filled.write(add_version, ("ann",))
    speaking = Speaking(filled, settings, Looking(*LINES * 2), Precedence(executor).wanted)
    for purpose in (Purpose.TALK, Purpose.POST):
        request = await speaking.request("ann", by="me", count=1, purpose=purpose)
        async with answering(speaking):
            await speaking.answer(request.id)
    assert seen == {True: True, False: True}
    assert not executor.still


async def until(process, *, stopped):
    """Wait for what the kernel does in its own time."""
    while (process.status() == psutil.STATUS_STOPPED) != stopped:  # noqa: ASYNC110 - the kernel has no Event
        await asyncio.sleep(0.01)


async def test_a_real_trainer_stops_and_goes_on_and_can_be_ended_while_it_is_stopped(tmp_path):
    executor = LocalExecutor(tmp_path / "log", *FAKE)
    executor.pause()  # nobody is there
    executor.resume()
    trainer = await executor._new()
    executor._trainer = trainer
    process = psutil.Process(trainer._process.pid)
    executor.pause()
    await until(process, stopped=True)
    executor.resume()
    await until(process, stopped=False)
    executor.pause()
    async with asyncio.timeout(20):
        await trainer.terminate()
    assert not process.is_running()
    await executor.close()


@pytest.fixture(autouse=True)
async def within_a_minute():
    async with asyncio.timeout(60):
        yield
