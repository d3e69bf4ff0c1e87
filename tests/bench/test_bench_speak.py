"""bench/speak.py in small, and what it stands on: that it runs and says everything, that it times what it says, not how fast it is."""

import sys

import pytest

from bench import command, common, speak, speaker, timing, verdict
from bench.command import Goal, Row
from bench.invented import Voice
from bench.speaker import Heard, Speaker
from bench.timing import Asking
from trainer.protocol import Failed, Line, Spoken

VOICES = [Voice(f"/nowhere/{name}", name, 1) for name in ("ann", "bob", "cid")]
ASKING = Asking("tiny-random", "/nowhere", "cpu", "so", 8)

# It answers a request for n lines with n lines that give back its seed, and holds back what begins with `wait`; a seed below 3 ends
# a line early.
FAKE = r"""
import json, sys
def tell(kind, **what): print(json.dumps({"type": kind, **what}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["type"] == "cancel":
        tell("failed", code="cancelled", sentence="It was cancelled.", id=asked["job"])
    elif asked["prompt"] == "fail":
        tell("failed", code="bad_weights", sentence="These are no weights.", id=asked["id"])
    elif asked["prompt"] == "die":
        sys.exit(1)
    else:
        for index in range(asked["count"]):
            tell("line", id=asked["id"], index=index, text=str(asked["seed"]), complete=asked["seed"] < 3, log_likelihood=-2.0)
        if asked["prompt"] != "wait":
            tell("spoken", id=asked["id"])
"""


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """A speaker that needs no model."""
    monkeypatch.setattr(speaker, "SPEAKER", (sys.executable, "-c", FAKE))
    with Speaker(tmp_path / "log") as alive:
        yield alive


def test_answers_come_in_the_order_of_the_requests(fake):
    asked = fake.say([ASKING.lines(voice, count, seed) for seed, (voice, count) in enumerate(zip(VOICES, (2, 1, 3), strict=True))])
    assert [[line.text for line in heard.lines] for heard in asked] == [["0", "0"], ["1"], ["2", "2", "2"]]
    assert all(0 < heard.first <= heard.whole for heard in asked)


def test_so_many_requests_are_open_and_all_are_ended_when_enough_was_heard(fake):
    asked = iter([ASKING.lines(VOICES[0], 1, seed, prompt="wait" if seed > 3 else "") for seed in range(10)])
    ends, lines = 0, []
    said = fake.steadily(asked, 2)
    for heard, message in said:
        ends += not isinstance(message, Line)
        lines += [message.text] if isinstance(message, Line) else []
        assert isinstance(heard, Heard)
        if len(lines) == 6:
            break
    said.close()
    assert (ends, lines) == (4, ["0", "1", "2", "3", "4", "5"])
    assert len(list(asked)) == 4
    assert fake.say([ASKING.lines(VOICES[0], 1, 7)])[0].lines[0].text == "7"  # nothing of what was cancelled is heard later


@pytest.mark.parametrize(("prompt", "sentence"), [("fail", "These are no weights"), ("die", "1 requests unanswered: see .*log")])
def test_a_failure_ends_the_bench_with_a_sentence(fake, prompt, sentence):
    with pytest.raises(SystemExit, match=sentence):
        fake.say([ASKING.lines(VOICES[0], 1, 0, prompt=prompt)])


def test_seeds_are_those_of_lines_that_did_not_end(fake):
    assert timing.long_seeds(fake, ASKING, VOICES) == [3, 3, 3]


def test_what_is_timed_is_what_was_asked_for(fake):
    assert len(timing.first_lines(fake, ASKING, VOICES, clients=2, count=3, samples=5, seed=0)) == 5
    rate, texts = timing.lines_a_minute(fake, ASKING, VOICES, 0.0, 10)
    assert rate > 0
    assert texts == ["14"]  # one after as many as there are voices
    assert len(timing.questions(fake, ASKING, VOICES, 2, 4)) == 4
    alone, beside = timing.evenness(fake, ASKING, VOICES, 5, 2, 0)
    assert min(alone, beside) > 0


def test_a_cold_voice_is_asked_twice_the_same(fake, tmp_path):
    (tmp_path / "weights").write_bytes(b"weights")
    (pair,) = timing.coldness(fake, ASKING, [Voice(str(tmp_path / "weights"), "dan", 7)])
    assert min(pair) > 0


def test_quantiles_are_values_that_were_measured():
    assert common.quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert common.quantile(list(range(100)), 0.95) == 94
    assert common.quantile([4.0], 0.95) == 4.0


def test_a_goal_is_judged_by_the_last_figure_and_on_its_own_device():
    rows = [Row("quick", ("p95", "p50"), "{:.1f}".format, Goal(3.0)), Row("absent", ("p50", "none"), str)]
    found = {"p50": 2.0, "p95": 4.0}
    assert "| quick | 4.0, 2.0 | at most 3: met |" in command.table(rows, found, "cpu")
    assert "| quick | 4.0, 2.0 |  |" in command.table(rows, found, "cuda")
    assert "absent" not in command.table(rows, found, "cpu")
    assert Goal(4.0, least=True).judge(3.9) == "at least 4: **missed**"


def test_the_table_says_nothing_of_what_was_not_measured():
    assert verdict.table({}, "cpu", 40).count("\n") == 4
    table = verdict.table({"eight_s_m": 4.0, "eight_s_m_rounds": [3.0, 5.0], "eight_tokens_per_s_m": 80.0, "eight_m_to_m": 1.0}, "cpu", 40)
    assert "| (m) Mynah, eight requests at once | 4.00 (3.00 to 5.00) | 80 | 1.00 |  |" in table


@pytest.mark.parametrize("words", [["--contenders", "m,x"], ["--voices", "7"]])
def test_what_cannot_be_measured_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        speak.main(words)
    assert "error:" in capsys.readouterr().err


def test_the_small_form_measures_everything(small_form, tmp_path):
    document, said = small_form("speak", "--device", "cpu", "--work", str(tmp_path))
    assert "(l) is left out" in said
    figures = document["figures"]
    for contender in "msph":
        for name in ("eight_s_{}", "eight_tokens_per_s_{}", "eight_{}_to_m"):
            assert figures[name.format(contender)] > 0, (name, contender)
    for rival in "ph":
        assert figures[f"logits_differ_{rival}"] < verdict.LOGITS < figures["logits_moved"]
        assert figures[f"memory_gb_{rival}"] > 0
    alone = [
        "start_s",
        "question_s_p50",
        "even_alone_s",
        "even_beside_s",
        "cold_first_ms",
        "warm_first_ms",
        "lines_per_minute",
        "memory_gb",
    ]
    first = [f"first_s_{clients}x{count}_p{share}" for clients in (1, 2) for count in (1, 8) for share in (50, 95)]
    for name in (*alone, *first):
        assert figures[name] > 0, name
    assert figures["cold_ms"] == pytest.approx(figures["cold_first_ms"] - figures["warm_first_ms"], abs=1e3)
    assert 1 <= figures["line_tokens"] <= 8
    assert not list(tmp_path.glob("mynah-bench-*"))  # the voices are gone


def test_messages_of_the_protocol_are_what_the_fake_says():
    assert {Line.type, Spoken.type, Failed.type} <= set(FAKE.replace("tell(", "").split('"'))
