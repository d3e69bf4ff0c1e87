"""bench/again.py and bench/joint.py in small: what they compare, not how it comes out."""

import json

import pytest

from bench import again, joint, posts


def figures_of(bench, tmp_path):
    file = tmp_path / "figures.json"
    bench.main(["--small", "--device", "cpu", "--work", str(tmp_path / "work"), "--json", str(file)])
    return json.loads(file.read_text())


def test_the_next_version_learns_from_all_posts_whatever_it_begins_with(tmp_path, capsys):
    one = figures_of(again, tmp_path)["accounts"]["ann"]
    jobs = {path.parent: json.loads(path.read_text()) for path in (tmp_path / "work").glob("*/job.json")}
    (earlier,) = (job for job in jobs.values() if len(job["train"]) < one["posts"])
    later = [job for job in jobs.values() if job is not earlier]
    assert len(earlier["train"]) == one["posts"] - one["new"]
    assert sorted((job["start"] is not None, job["recipe"]["epochs"]) for job in later) == [(False, 2), (True, 2)]
    assert len({json.dumps(job["report"]) for job in jobs.values()}) == 1
    assert not {post["text"] for post in earlier["report"]} & {post["text"] for job in jobs.values() for post in job["train"]}
    assert "| ann | last |" in capsys.readouterr().out


def test_the_older_posts_are_those_of_the_smaller_ids():
    corpus = posts.invented(["ann"], 120, 0)["ann"]
    tweets = posts.tweets_of(None, ["ann"], small=True)["ann"]
    ids = {tweet.text: int(tweet.id) for tweet in tweets}
    texts = again.older(corpus, tweets, 0.3)
    assert max(map(ids.get, texts)) < min(ids[post.text] for post in corpus.train if post.text not in texts)


def test_a_joint_voice_speaks_as_each_and_as_the_blend(tmp_path, capsys):
    figures = figures_of(joint, tmp_path)
    assert set(figures["lines"]) == {"ann", "bob", "the blend"}
    for shares in [*figures["lines"].values(), *figures["posts"].values()]:
        assert sum(shares.values()) == pytest.approx(1)
    assert figures["posts"]["ann"]["ann"] > 0.9
    assert "As bob: fidelity" in capsys.readouterr().out


@pytest.mark.parametrize(("bench", "words"), [(again, ["--new", "1"]), (joint, ["--accounts", "dril"])])
def test_what_cannot_be_compared_is_refused(bench, words, capsys):
    with pytest.raises(SystemExit):
        bench.main(words)
    assert "error:" in capsys.readouterr().err
