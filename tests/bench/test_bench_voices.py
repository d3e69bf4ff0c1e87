"""bench/voices.py in small: that the made-up voices are as the database holds real ones, and that everything is measured."""

import random
import re

import pytest

from bench import crowd, voices
from data import jobs, models
from data.corpus import build_corpus
from tests.voices import stored_weights


async def test_a_made_up_voice_is_one_that_could_have_been_trained(store, tmp_path):
    template = build_corpus({"someone": crowd.tweets(150, random.Random(0))}, max_posts=1000, seed=0)
    for seed, handle in enumerate(("ann", "bob")):
        corpus = crowd.corpus_for(handle, template)
        await store.write(crowd.add_voice, handle, corpus, "tiny-random", b"weights", tmp_path, seed)
    ann, bob = (await store.read(models.page)).models
    assert (ann.voice, ann.handles, ann.version, ann.current) == ("ann", ("ann",), 1, True)
    assert ann.corpus != bob.corpus
    assert await store.read(stored_weights, ann.id) == b"weights"
    stored = await store.read(jobs.corpus_of, ann.corpus)
    assert {post.author for post in stored.train + stored.stop + stored.report} == {"ann"}
    assert len(stored.train + stored.stop + stored.report) == 150
    assert ann.result["details"]["adapter"]
    assert (await store.read(jobs.get, ann.job)).status is jobs.Status.DONE


def test_handles_are_distinct_and_could_be_peoples():
    made = crowd.handles(10_000, 0)
    assert len(set(made)) == 10_000
    assert all(re.fullmatch(r"[a-z0-9_]{1,15}", handle) for handle in made)
    assert made == crowd.handles(10_000, 0)


@pytest.mark.parametrize("words", [["--voices", "100"], ["--small", "--pairs", "0"]])
def test_what_cannot_be_measured_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        voices.main(words)
    assert "--voices must be more" in capsys.readouterr().err


def test_the_small_form_measures_everything(small_form, tmp_path):
    document, _ = small_form("voices", "--work", str(tmp_path))
    figures = document["figures"]
    assert document["voices"] == 30
    names = [f"{name}_ms_{share}" for name in voices.LOOKS for share in ("p50", "p95")]
    names += ["build_s", "database_mb", "first_question_s", "question_s_p50", "question_s_p95", "memory_mb_bot"]
    names.append("questions_per_minute")
    for name in (*names, "memory_mb_speaker", "adapters_mb"):
        assert figures[name] > 0, name
    assert {"cold_ms", "grown_mb_bot", "grown_mb_speaker"} <= figures.keys()
    assert len(figures["memory_mb_speaker_all"]) == 4
    assert figures["adapters"] == 1 + 2 + 4
    assert not list(tmp_path.glob("mynah-bench-*"))  # the database is gone
