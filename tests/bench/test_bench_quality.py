"""bench/quality.py in small, and the measures and the workshop it stands on: their shape and their edges, not quality."""

import json
import sys

import pytest

from bench import fidelity, posts, quality, speaker, workshop
from data.copies import TrainingPosts

FAILING = 'import sys; print(\'{"type": "failed", "job": "", "code": "internal", "sentence": "No luck: try again."}\')'


@pytest.fixture(scope="module")
def corpora():
    return posts.invented(["ann", "bob"], 120, 0)


def texts(split):
    return [post.text for post in split]


def job(corpora, tmp_path):
    return workshop.job_for("ann", corpora["ann"], workshop.Recipe(base="tiny-random"), tmp_path / "work", tmp_path / "cache")


def test_it_trains_speaks_and_measures_and_trains_no_voice_twice(tmp_path, capsys, monkeypatch):
    words = ["--small", "--device", "cpu", "--work", str(tmp_path / "work"), "--json", str(tmp_path / "figures.json")]
    quality.main(words)
    figures = json.loads((tmp_path / "figures.json").read_text())
    printed = capsys.readouterr().out
    assert set(figures["accounts"]) == {"ann", "bob", "cid"}
    for name, one in figures["accounts"].items():
        assert f"| {name} |" in printed
        assert one["lines"] == 8
        assert one["held_out"] == 24
        assert sum(one["taken_for"].values()) == pytest.approx(1)
        assert one["taken_for"][name] == one["generated_attributed"]
        assert one["copies_above_real"] == pytest.approx(one["generated_copies"] - one["real_copies"])
        assert one["real_attributed"] > 0.9
        assert one["loss_after"] < one["loss_before"]
        assert one["same_trainer"] is True

    def never(_jobs):
        raise AssertionError("it was trained already")

    monkeypatch.setattr(workshop, "_train", never)
    monkeypatch.setattr(workshop, "_trainer_sha256", lambda: "another")
    quality.main(words)
    again = json.loads((tmp_path / "figures.json").read_text())
    assert "by other code of trainer/" in capsys.readouterr().out
    for name, one in figures["accounts"].items():
        assert again["accounts"][name] == one | {"same_trainer": False}


def test_without_the_corpora_a_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        quality.main(["--corpora", str(tmp_path)])
    assert left.value.code == 0
    assert "--small" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--accounts", "dril"], ["--lines", "0"]])
def test_what_cannot_be_measured_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        quality.main(words)
    assert "name two accounts" in capsys.readouterr().err


@pytest.mark.parametrize(("program", "sentence"), [(FAILING, "No luck: try again."), ("", "without a word: see .*trainer.log")])
def test_a_training_that_fails_is_said(corpora, tmp_path, monkeypatch, program, sentence):
    monkeypatch.setattr(workshop, "TRAINER", (sys.executable, "-c", program))
    with pytest.raises(SystemExit, match=sentence):
        workshop.trained([job(corpora, tmp_path)], 1)


@pytest.mark.parametrize(("program", "sentence"), [(FAILING, "No luck: try again."), ("", "with 2 requests unanswered: see .*speaker.log")])
def test_a_speaker_that_fails_is_said(corpora, tmp_path, monkeypatch, program, sentence):
    monkeypatch.setattr(speaker, "SPEAKER", (sys.executable, "-c", program))
    done = workshop.Done(weights="", sha256="", bytes=0, loss_before=5.0, loss_after=4.0, seconds=1.0, samples=[])
    voice = workshop.Voice(job(corpora, tmp_path), done, same_trainer=True)
    requests = workshop.requests_for(voice, "ann", workshop.LINES_A_REQUEST + 1, 7)
    assert [(request.count, request.seed) for request in requests] == [(workshop.LINES_A_REQUEST, 7), (1, 8)]
    with pytest.raises(SystemExit, match=sentence):
        workshop.said(requests, tmp_path)


def test_another_recipe_is_another_voice(corpora, tmp_path):
    one = job(corpora, tmp_path)
    other = workshop.job_for("ann", corpora["ann"], workshop.Recipe(base="tiny-random", seed=1), tmp_path, tmp_path)
    assert one.id != other.id
    assert one.id == job(corpora, tmp_path / "elsewhere").id


def test_each_account_is_known_by_its_own_letters(corpora):
    attribution = fidelity.Attribution({name: texts(corpus.train) for name, corpus in corpora.items()})
    assert attribution.shares(texts(corpora["ann"].report))["ann"] == 1
    assert attribution.shares(texts(corpora["ann"].report + corpora["bob"].report)) == {"ann": 0.5, "bob": 0.5}


def test_distinct_2_counts_pairs_of_words_and_of_japanese_letters():
    assert fidelity.distinct_2(["a b c", "A B d"]) == 3 / 4
    assert fidelity.distinct_2(["猫が好き", "猫が嫌い"]) == 5 / 6
    assert fidelity.distinct_2(["alone", ""]) == 0


def test_copies_and_length():
    training = TrainingPosts(["one two three four five six seven eight nine"])
    assert fidelity.copy_rate(["so one two three four five six seven eight", "nine eight seven"], training) == 0.5
    assert fidelity.mean_length(["ab", "abcd"]) == 3
