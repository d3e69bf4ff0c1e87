"""The speaker's process as the bot sees it: many requests at once, and what happens when it dies, hangs or babbles."""

import asyncio
import os
import signal
import sys
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from bot.errors import BadWeightsError, SpeechFailedError
from bot.executors import speaker as speaker_module
from bot.executors.speaker import Speaker
from tests.conftest import ROOT
from trainer.protocol import Sampling, SpeechRequest

FAKE = (sys.executable, str(Path(__file__).with_name("fake_speaker.py")))


def request(prompt, name=None, count=3):
    return SpeechRequest(name or prompt, "base", "/weights", "0", {}, prompt, count, 0, Sampling(), "/cache")


@asynccontextmanager
async def speaking(folder, seconds=20.0, command=None):
    one = Speaker(folder / "speaker.log", *(command or (*FAKE, str(folder))), timeout=seconds)
    try:
        async with asyncio.timeout(60):
            yield one
    finally:
        await one.close()


async def said(speaker, asked):
    return [line async for line in speaker.speak(asked)]


def notes(folder):
    return (folder / "notes").read_text().splitlines()


def starts(folder):
    return sum(note.startswith("started") for note in notes(folder))


async def test_each_gets_its_own_answer_and_one_process_serves_all(tmp_path):
    async with speaking(tmp_path) as speaker:
        answers = await asyncio.gather(*(said(speaker, request("hello", f"r{n}", count=n)) for n in range(1, 20)))
        assert [len(answer) for answer in answers] == list(range(1, 20))
        assert all(line.id == f"r{n}" for n, answer in enumerate(answers, 1) for line in answer)
    assert starts(tmp_path) == 1


async def test_a_refusal_concerns_one_request_alone(tmp_path):
    async with speaking(tmp_path) as speaker:
        refused, damaged, fine = await asyncio.gather(
            *(said(speaker, request(prompt)) for prompt in ("refuse", "damaged", "hello")), return_exceptions=True
        )
        assert (type(refused), str(refused)) == (SpeechFailedError, "That is too much.")
        assert (type(damaged), str(damaged)) == (BadWeightsError, "They differ.")
        assert len(fine) == 3
    assert starts(tmp_path) == 1


async def test_a_speaker_that_dies_in_mid_request_answers_after_its_restart_without_saying_a_line_twice(tmp_path):
    async with speaking(tmp_path) as speaker:
        lines = await said(speaker, request("die once"))
        assert [line.index for line in lines] == [0, 1, 2]
        assert len({line.text.split()[-1] for line in lines}) == 2  # of two processes
    assert starts(tmp_path) == 2


async def test_a_request_that_kills_every_speaker_fails_with_a_sentence_and_others_are_served_later(tmp_path, monkeypatch):
    monkeypatch.setattr(speaker_module, "MOST_BACKOFF", 0.0)
    async with speaking(tmp_path) as speaker:
        with pytest.raises(SpeechFailedError, match="died before it had answered, twice"):
            await said(speaker, request("die"))
        assert len(await said(speaker, request("hello"))) == 3
    assert starts(tmp_path) == 3


async def test_deaths_in_a_row_are_followed_by_longer_and_longer_pauses(tmp_path, monkeypatch):
    paused = []

    async def sleep(seconds):
        paused.append(round(seconds))

    async with speaking(tmp_path) as speaker:
        with monkeypatch.context() as patch:
            patch.setattr(speaker_module.asyncio, "sleep", sleep)
            for _ in range(4):
                with pytest.raises(SpeechFailedError):
                    await said(speaker, request("die"))
            await said(speaker, request("hello"))
            with pytest.raises(SpeechFailedError):
                await said(speaker, request("die"))
    assert paused[:9] == [0, 0, 2, 4, 8, 16, 32, 60, 60]
    assert paused[9:] == [0]  # an answer is forgiveness: that speaker died once


async def test_a_speaker_that_says_nothing_is_ended_and_the_next_question_gets_another(tmp_path):
    async with speaking(tmp_path, seconds=4.0) as speaker:
        with pytest.raises(SpeechFailedError, match="No answer came within 4 s"):
            await said(speaker, request("hang"))
        assert len(await said(speaker, request("hello"))) == 3
    assert starts(tmp_path) == 2


async def test_a_request_that_takes_too_long_is_cancelled_and_the_speaker_stays(tmp_path):
    async with speaking(tmp_path, seconds=4.0) as speaker:
        late = asyncio.create_task(said(speaker, request("never")))
        await asyncio.sleep(0)
        assert len(await said(speaker, request("hello"))) == 3
        with pytest.raises(SpeechFailedError, match="No answer came"):
            await late
        assert len(await said(speaker, request("hello", "again"))) == 3
        assert starts(tmp_path) == 1
        assert "cancel never" in notes(tmp_path)


async def test_whoever_listens_no_longer_has_his_request_cancelled(tmp_path):
    async with speaking(tmp_path) as speaker:
        async with aclosing(speaker.speak(request("hello", "left", count=5))) as lines:
            assert (await anext(lines)).index == 0
        assert len(await said(speaker, request("hello"))) == 3
    assert "cancel left" in notes(tmp_path)


async def test_what_is_no_message_ends_the_speaker_and_the_request_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(speaker_module, "MOST_BACKOFF", 0.0)
    async with speaking(tmp_path) as speaker:
        with pytest.raises(SpeechFailedError):
            await said(speaker, request("babble"))
        assert len(await said(speaker, request("hello"))) == 3


async def test_a_command_that_is_not_there(tmp_path):
    async with speaking(tmp_path, command=("/nowhere/python",)) as speaker:
        with pytest.raises(SpeechFailedError, match="cannot be talked to"):
            await said(speaker, request("hello"))


async def test_close_leaves_nothing_behind_and_whoever_waits_hears_of_it(tmp_path):
    async with speaking(tmp_path) as speaker:
        await said(speaker, request("hello"))
        pid = int(notes(tmp_path)[0].split()[1])
        lines = speaker.speak(request("speak and hang"))
        await anext(lines)
    with pytest.raises(SpeechFailedError, match="Mynah was stopped before it answered"):
        await anext(lines)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert starts(tmp_path) == 1


async def test_a_process_that_is_gone_is_not_signalled_again(tmp_path, monkeypatch):
    """Its number may be somebody else's by then."""
    async with speaking(tmp_path) as speaker:
        await said(speaker, request("hello"))
        os.kill(int(notes(tmp_path)[0].split()[1]), signal.SIGKILL)
        await asyncio.wait([speaker._reader])
        signalled = []
        monkeypatch.setattr(speaker_module, "kill_group", signalled.append)
    assert signalled == []


async def test_what_it_logged_before_a_restart_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(speaker_module.processes, "LOG_BYTES", 10)
    async with speaking(tmp_path) as speaker:
        speaker._log_file.write_text("the last words\n")
        await said(speaker, request("hello"))
        assert speaker._log_file.with_name(f"{speaker._log_file.name}.1").read_text() == "the last words\n"


@pytest.fixture
def real_request(tmp_path):
    """Sixty-four long lines of a voice with made-up weights on the tiny base."""
    import torch

    from trainer import bases, lora, weights

    cache = Path(os.environ.get("MYNAH_CACHE") or ROOT / "var/cache")
    base = bases.load("tiny-random", cache, torch.device("cpu"), print, lambda: None)
    source = torch.Generator().manual_seed(0)
    pairs = {name: tuple(torch.randn(one, generator=source) / 10 for one in both) for name, both in lora.shapes(base.layers, 4).items()}
    path, sha256, _ = weights.save(weights.pack(pairs), tmp_path)
    wild = Sampling(max_tokens=250, temperature=3.0, top_k=0, top_p=1.0, max_weight=0)
    details = {"adapter": {"rank": 4, "scale": 2.0}}
    return SpeechRequest("real", "tiny-random", str(path), sha256, details, "my", 64, 1, wild, str(cache), "cpu")


async def test_kill_9_of_the_real_speaker_in_mid_request(tmp_path, real_request):
    """The whole of it: the same lines as of a speaker that lives."""
    command, asked = (sys.executable, "-m", "trainer", "--speak"), real_request
    async with speaking(tmp_path, command=command, seconds=50.0) as speaker:
        killed = None
        lines = {}
        async for line in speaker.speak(asked):
            if killed is None:
                killed = speaker._process.pid
                os.kill(killed, signal.SIGKILL)
            assert line.index not in lines
            lines[line.index] = line.text
        assert speaker._process.pid != killed
        again = {line.index: line.text for line in await said(speaker, asked)}
    assert lines == again
    assert sorted(lines) == list(range(64))
