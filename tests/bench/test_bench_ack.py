"""bench/ack.py in small: that everything is measured, and what counts as lost."""

import pytest

from bench import ack


def test_what_comes_late_or_never_is_lost():
    assert ack.Round(sent=4, acks=[2.0, 3000.0, 3000.1]).lost == 2


@pytest.mark.parametrize("words", [["--rounds", "0"], ["--questions", "0"], ["--small", "--interactions", "0"]])
def test_what_cannot_be_measured_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        ack.main(words)
    assert "numbers from 1 on" in capsys.readouterr().err


def test_the_small_form_measures_everything(small_form, tmp_path):
    document, _ = small_form("ack", "--work", str(tmp_path))
    figures = document["figures"]
    for name in ("alone", "training"):
        assert 0 < figures[f"{name}_ms_p50"] <= figures[f"{name}_ms_p99"] <= figures[f"{name}_ms_max"]
        assert figures[f"{name}_sent"] == 10
        assert figures[f"{name}_lost"] == 0
        assert len(figures[f"{name}_ms_all"]) == 10
        assert 0 < figures[f"{name}_question_s_p50"] <= figures[f"{name}_question_s_max"]
    assert figures["still_training"] in (0, 1)
    assert not list(tmp_path.glob("mynah-bench-*"))  # the data are gone
