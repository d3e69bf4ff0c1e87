"""One speaker process, several voices, and requests that fail without ending it."""

import json
import signal
from dataclasses import replace

import pytest

from tests.trainer.conftest import never
from trainer import speaking
from trainer.protocol import Sampling, SpeechRequest, parse


@pytest.fixture
def voice(job, trained):
    """A function that trains a voice and returns the request that lets it speak."""

    def make(name, **recipe):
        spec = job(name, **({"epochs": 4, "learning_rate": 1e-2} | recipe))
        done = trained(spec)
        sampling = Sampling(max_tokens=30)
        return SpeechRequest(name, spec.recipe.base, done.weights, done.sha256, done.details, "my", 3, 1, sampling, spec.cache, "cpu")

    return make


class Talk:
    """What was said to a speaker process, and what it answered."""

    def __init__(self, child):
        self.child = child

    def say(self, line):
        self.child.stdin.write((line if isinstance(line, str) else line.to_json()) + "\n")
        self.child.stdin.flush()

    def hear(self):
        """Return the lines' texts in order, and the message that ended the answer."""
        texts = {}
        while (message := parse(self.child.stdout.readline())).type == "line":
            texts[message.index] = message.text
        return [texts[index] for index in sorted(texts)], message

    def ask(self, line):
        self.say(line)
        return self.hear()


def test_a_speaker_answers_voices_by_turns_and_survives_what_is_wrong(start, voice, gpt2_folder):
    one, two = voice("one", data_seed=1), voice("two", data_seed=2, seed=9)
    other_base = voice("gpt2", base=gpt2_folder)
    with start() as child:
        talk = Talk(child)
        first, end = talk.ask(one)
        assert end.type == "spoken"
        assert end.id == "one"
        assert len(first) == 3
        assert all(text.startswith("my") for text in first)
        second, _ = talk.ask(two)
        assert second != first
        assert talk.ask(one)[0] == first
        assert len(talk.ask(other_base)[0]) == 3
        assert talk.ask(two)[0] == second
        answers = {tuple(talk.ask(replace(one, **before))[0]) for before in ({"message": "who is late?"}, {"author": "ann"})}
        assert len(answers | {tuple(first)}) == 3
        assert all(text.startswith("my") for answer in answers for text in answer)

        wrong = {
            "bad_weights": [
                replace(one, sha256="0" * 64),
                replace(one, weights="/nowhere/adapter.safetensors", sha256="1" * 64),
                replace(other_base, base="tiny-random", details=one.details),
                replace(other_base, base="tiny-random"),
            ],
            "bad_request": [
                replace(one, count=0),
                replace(one, count=65),
                replace(one, sampling=Sampling(temperature=-1)),
                one.to_json().replace('"count": 3', '"count": "three"'),
                '{"type": "spoken", "id": "one"}',
            ],
            "base_unavailable": [replace(one, base="/nowhere")],
            "bad_job": [replace(one, device="abacus")],
        }
        for code, requests in wrong.items():
            for request in requests:
                texts, failed = talk.ask(request)
                assert (failed.type, failed.code, texts) == ("failed", code, []), request
                assert failed.id == (request.id if isinstance(request, SpeechRequest) else "one")
        for malformed in ("", "{", "[]", "null", "\udcff".encode("utf-8", "surrogateescape").decode("latin1"), "[" * 100_000):
            failed = talk.ask(malformed)[1]
            assert (failed.code, failed.id) == ("bad_request", None)
        assert talk.ask(one)[0] == first
        child.stdin.close()
        assert child.stdout.read() == ""
        assert child.wait() == 0


def test_lines_of_a_pipe_that_closes_are_all_answered(start, voice):
    request = voice("one")
    with start() as child:
        stdout, _ = child.communicate(f"{request.to_json()}\n" * 3)
    assert child.returncode == 0
    assert [json.loads(line)["type"] for line in stdout.splitlines()].count("spoken") == 3


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_speaker_that_waits(start, asked):
    with start() as child:
        assert Talk(child).ask("{}")[1].code == "bad_request"
        child.send_signal(asked)
        assert child.stdout.read() == ""
        assert child.wait() == (0 if asked == signal.SIGINT else -signal.SIGTERM)


def test_the_voice_used_longest_ago_is_dropped(voice, monkeypatch):
    monkeypatch.setattr(speaking, "MOST_VOICES", 2)
    heard = []
    speaker = speaking.Speaker(heard.append, never)
    one, two, three = (voice(f"v{seed}", seed=seed, epochs=1) for seed in (1, 2, 3))
    for request in (one, two, one, three):
        speaker.answer(request)
    assert list(speaker._voices) == [one.sha256, three.sha256]
    speaker.answer(two)
    texts = [message.text for message in heard if message.type == "line" and message.id == "v2"]
    assert sorted(texts[:3]) == sorted(texts[3:])
