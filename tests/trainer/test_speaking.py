"""One speaker process, several voices, and requests that fail without ending it."""

import json
import signal
from dataclasses import replace

import pytest

from tests.trainer.conftest import Asked, end, pip_of
from trainer import decoding, speaking
from trainer.process import Stop
from trainer.protocol import Cancel, Sampling, SpeechRequest, Stage, parse


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

    def say(self, *lines):
        text = "".join((line if isinstance(line, str) else line.to_json()) + "\n" for line in lines)
        self.child.stdin.write(text)
        self.child.stdin.flush()

    def next(self):
        """Return the next message that is no sign of life."""
        while (message := parse(self.child.stdout.readline())).type == "stage":
            pass
        return message

    def hear(self):
        """Return the lines' texts in order, and the message that ended the answer."""
        texts = {}
        while (message := self.next()).type == "line":
            texts[message.index] = message.text
        return [texts[index] for index in sorted(texts)], message

    def hear_all(self, *ids):
        """Return the same of each of these requests, and the order in which they ended."""
        texts, ends = {id_: {} for id_ in ids}, {}
        while len(ends) < len(ids):
            message = self.next()
            assert message.id not in ends
            if message.type == "line":
                texts[message.id][message.index] = message.text
            else:
                ends[message.id] = message
        return {id_: [found[index] for index in sorted(found)] for id_, found in texts.items()}, ends

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
        stdout, _ = child.communicate("\n".join(replace(request, id=str(number)).to_json() for number in range(3)))
    assert child.returncode == 0
    assert [json.loads(line)["type"] for line in stdout.splitlines()].count("spoken") == 3


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_speaker_that_waits(start, asked):
    with start() as child:
        assert Talk(child).ask("{}")[1].code == "bad_request"
        child.send_signal(asked)
        assert child.stdout.read() == ""
        assert child.wait() == (0 if asked == signal.SIGINT else -signal.SIGTERM)


def test_requests_of_many_voices_are_answered_together_as_each_would_be_alone(start, voice, gpt2_folder):
    voices = [voice("one", data_seed=1), voice("two", data_seed=2, seed=9), voice("gpt2", base=gpt2_folder)]
    asked = [
        replace(voices[number % 3], id=f"r{number}", count=1 + number % 5, seed=number, prompt=("", "my", "the ocean has")[number % 3])
        for number in range(12)
    ]
    asked[4] = replace(asked[4], sha256="0" * 64)
    asked[7] = replace(asked[7], message="who is late?")
    with start() as child:
        talk = Talk(child)
        talk.say(*asked)
        together, ends = talk.hear_all(*(request.id for request in asked))
        assert {id_ for id_, end in ends.items() if end.type == "failed"} == {"r4"}
        for request in asked:
            texts, end = talk.ask(request)
            assert (texts, end.type) == (together[request.id], ends[request.id].type)
            assert len(texts) == (0 if request.id == "r4" else request.count)


def test_lines_stream_and_a_late_short_request_does_not_wait_for_a_long_one(start, voice):
    one = replace(voice("one"), sampling=Sampling(max_tokens=200, top_k=0, temperature=3.0, max_weight=0))
    with start() as child:
        talk = Talk(child)
        talk.ask(one)
        long, short = replace(one, id="long", count=64), replace(one, id="short", count=1, sampling=Sampling(max_tokens=3))
        talk.say(long)
        assert talk.next().id == "long"  # it streams: the others are still being made
        talk.say(short)
        _, ends = talk.hear_all("long", "short")
        assert list(ends) == ["short", "long"]


def test_a_request_can_be_cancelled_and_an_id_serves_once_at_a_time(start, voice):
    one = replace(voice("one"), count=64, sampling=Sampling(max_tokens=200, top_k=0, temperature=3.0, max_weight=0))
    with start() as child:
        talk = Talk(child)
        talk.say(one, one, Cancel("one"), Cancel("nobody"), replace(one, id="other", count=2))
        heard = []
        while not heard or heard[-1].type != "spoken":
            heard.append(talk.next())
        failed = [message.code for message in heard if message.type == "failed"]
        assert failed == ["bad_request", "cancelled"]
        assert heard[-1].id == "other"
        assert len(talk.ask(one)[0]) == 64


def test_requests_wait_for_their_base_and_one_that_never_comes_keeps_nobody(start, voice, job, pip_that_hangs, tmp_path):
    one = voice("one")
    stuck = replace(one, id="stuck", base="smollm2-135m-instruct", cache=str(tmp_path / "empty"))
    with start(**pip_that_hangs) as child:
        talk = Talk(child)
        talk.say(stuck, replace(stuck, id="stuck too"), one)
        assert talk.hear()[1].id == "one"
        assert parse(child.stdout.readline()) == Stage("base")  # it lives, and goes on loading
        pip = pip_of(child)
        talk.say(Cancel("stuck"))
        assert talk.hear()[1].code == "cancelled"
        child.send_signal(signal.SIGINT)
        assert child.wait() == 0
        end(pip)


def test_a_very_long_prompt_and_special_tokens_in_it_are_text(start, voice):
    one = replace(voice("one"), sampling=Sampling(max_tokens=5, max_weight=0), count=2)
    with start() as child:
        talk = Talk(child)
        for prompt in ("x" * 100_000, "<|endoftext|><|im_start|>user\x00\x07\u202e", "\n\n"):
            texts, end = talk.ask(replace(one, prompt=prompt))
            assert end.type == "spoken"
            assert all(text.startswith(prompt) for text in texts) or not prompt.strip()


def test_what_was_used_longest_ago_is_dropped_when_memory_is_short(voice, gpt2_folder):
    one, two, three = (voice(f"v{seed}", seed=seed, epochs=1) for seed in (1, 2, 3))
    other = voice("gpt2", base=gpt2_folder, epochs=1)

    def kept(asked):
        return [key[0] for key in asked.speaker._voices], [key[0] for key in asked.speaker._loaded]

    with Asked() as asked:
        first = [asked(request)[0] for request in (one, two, three, other)]
        assert kept(asked) == ([one.sha256, two.sha256, three.sha256, other.sha256], [one.base, other.base])
        asked(one)
        assert kept(asked)[0][-1] == one.sha256
        whole = asked.speaker.bytes
        size = asked.speaker._voices[one.sha256, (one.base, one.cache, "cpu")].bytes
        base_of = asked.speaker._loaded[one.base, one.cache, "cpu"].bytes
    with Asked(memory=base_of + 2 * size) as asked:
        for request in (one, two, one, three):
            asked(request)
        assert kept(asked) == ([one.sha256, three.sha256], [one.base])
        assert asked(two)[0] == first[1]
        assert asked.speaker.bytes <= base_of + 2 * size < whole
        assert asked(other)[0] == first[3]
        assert kept(asked) == ([other.sha256], [other.base])
        assert asked(one)[0] == first[0]


def test_whoever_is_waited_for_goes_before_who_asked_earlier_and_is_not(voice):
    one = voice("one", epochs=1)
    short = replace(one, count=1, sampling=Sampling(max_tokens=1))
    with Asked() as asked:
        asked(one)
        # The crowd takes all places, so that both wait for the first that is free.
        heard = asked.together(replace(one, id="crowd", count=64), replace(short, id="post", waiting=False), replace(short, id="talk"))
        assert [message.id for message in heard if message.type == "spoken"] == ["talk", "post", "crowd"]


def test_the_speaker_goes_on_after_a_step_that_failed(voice, monkeypatch):
    one = voice("one", epochs=1)
    with Asked() as asked:
        first = asked(one)
        monkeypatch.setattr(decoding, "pick", lambda *_: (_ for _ in ()).throw(RuntimeError("CUDA out of memory")))
        assert (asked(one)[1].code, asked(one)[0]) == ("out_of_memory", [])
        monkeypatch.undo()
        assert asked(one) == first


def test_a_voice_that_nobody_asks_for_is_forgotten(voice, monkeypatch):
    one, two = voice("one", epochs=1), voice("two", epochs=1, seed=1)
    with Asked() as asked:
        first = asked(one)
        asked(two)
        monkeypatch.setattr(speaking, "KEEP", 1e9)
        asked.speaker.tidy()
        assert len(asked.speaker._voices) == 2
        asked.speaker._voices[one.sha256, (one.base, one.cache, "cpu")].used -= 2e9
        asked.speaker.tidy()
        assert [key[0] for key in asked.speaker._voices] == [two.sha256]
        assert asked(one) == first


def test_a_voice_of_all_weights_is_forgotten_as_others_are_and_a_base_stays(voice, monkeypatch):
    one, all_of_it = voice("one", epochs=1), voice("all", epochs=1, method="full", learning_rate=1e-3)
    with Asked() as asked:
        asked(one)
        first = asked(all_of_it)
        assert len(asked.speaker._loaded) == 2
        monkeypatch.setattr(speaking, "KEEP", 0.0)
        asked.speaker.tidy()
        assert list(asked.speaker._loaded) == [(one.base, one.cache, "cpu")]
        assert asked(all_of_it) == first


def test_while_it_speaks_it_says_that_it_lives(voice, monkeypatch):
    request = voice("ann")
    monkeypatch.setattr(speaking, "BEAT", 0.001)
    monkeypatch.setattr(speaking, "lines_of_stdin", lambda: iter([request.to_json()]))
    said = []
    speaking.speak(said.append, Stop())
    kinds = [message.type for message in said]
    assert Stage("speaking") in said[: kinds.index("line")]
    assert kinds[-1] == "spoken"
    assert kinds.count("line") == 3
