"""bench/filter.py in small: its shape and its edges, not speed."""

import json

import pytest

from bench import filter as bench
from bot.services.blocklist import Blocklist


def test_it_times_lines_and_counts_refusals(tmp_path, capsys):
    bench.main(["--small", "--json", str(tmp_path / "figures.json")])
    printed = capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert 0 < figures["line"]["p50_ms"] <= figures["line"]["p99_ms"] <= figures["line"]["max_ms"]
    assert set(figures["refused"]) == {"ann", "bob"}
    assert all(share == 0 for one in figures["refused"].values() for share in one.values())
    assert "30 lines against 100 posts and 1,020 blocked words" in printed
    assert "| ann | " in printed


def test_refusals_are_by_the_first_broken_rule():
    texts = ["a plain line", "hello @bob at x.ai", "see x.ai", "ring (212) 736-5000"]
    shares = bench.refusals(texts)
    assert {rule: share for rule, share in shares.items() if share} == {"mention": 0.25, "link": 0.25, "personal": 0.25}


def test_percentiles():
    assert [bench.quantile(range(1, 101), share) for share in (0.01, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert bench.quantile([7], 0.5) == 7


def test_the_blocklist_is_as_long_as_it_says(tmp_path):
    assert len(Blocklist(bench.blocklist(tmp_path, 0)).rules) == bench.BLOCKED_WORDS + bench.EXPRESSIONS


@pytest.mark.parametrize("words", [["--posts", "0"], ["--small", "--lines", "x"]])
def test_what_cannot_be_measured_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        bench.main(words)
    assert "error:" in capsys.readouterr().err
