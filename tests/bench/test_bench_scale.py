"""bench/scale.py in small: that everything is measured, and what is fair."""

import random

import pytest

from bench import crowd, scale
from data.corpus import build_corpus
from data.store import Store


@pytest.mark.parametrize(
    ("begun", "asked", "apart"),
    [
        ([1, 2, 1, 2], {1: 2, 2: 2}, 1),
        ([1, 1, 2, 2], {1: 2, 2: 2}, 2),
        ([1, 2, 1, 1, 1], {1: 4, 2: 1}, 1),  # who waits for nothing more is not behind
        ([1, 1], {1: 3, 2: 3}, 2),
    ],
)
def test_servers_are_apart_by_what_was_begun_while_both_waited(begun, asked, apart):
    assert scale.unfairness(begun, asked) == apart


@pytest.mark.parametrize("words", [["--queued", "20000"], ["--small", "--rates", "0"], ["--servers", "0"]])
def test_what_cannot_be_measured_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        scale.main(words)
    assert "more than nothing" in capsys.readouterr().err


@pytest.fixture
async def voices(tmp_path):
    """A folder with voices as bench/crowd.py makes them, without the torch that it takes for their weights."""
    folder, template = tmp_path / "voices", build_corpus({"someone": crowd.tweets(150, random.Random(0))}, max_posts=150, seed=0)

    def fill(db):
        for seed, handle in enumerate(crowd.handles(scale.SMALL["voices"], 0)):
            crowd.add_voice(db, handle, crowd.corpus_for(handle, template), "tiny-random", b"weights", tmp_path, seed)

    async with Store(folder / "mynah.db") as store:
        await store.write(fill)
    return folder


def test_the_small_form_measures_everything(small_form, tmp_path, voices):
    document, _ = small_form("scale", "--work", str(tmp_path), "--keep", str(voices))
    figures = document["figures"]
    for workers, batch in scale.FORMS:
        assert figures[f"trainings_a_minute_{workers}x{batch}"] > 0
        assert figures[f"unfair_{workers}x{batch}"] <= workers * batch
    (rate,) = scale.SMALL["rates"]
    for name in ("lag_ms_p50", "lag_ms_p99", "ack_ms_p50", "ack_ms_p99", "answer_s_p50", "cpu", "memory_mb", "threads", "files"):
        assert figures[f"{name}_{rate}"] > 0, name
    assert figures[f"lost_{rate}"] == figures[f"unanswered_{rate}"] == 0
    assert figures[f"sent_{rate}"] == 15
    assert figures["speedup"] > 0
    assert figures["speedup_by_trainers"] > 0
    assert not list(tmp_path.glob("mynah-bench-*"))  # the data are gone
