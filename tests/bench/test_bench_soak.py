"""bench/soak.py in small: that everything is watched and drawn, and what counts as flat."""

import pytest

from bench import soak, watched
from bench.soak import Series


def test_growth_is_of_the_second_half_alone():
    minutes = [float(minute) for minute in range(60)]
    filling = [min(minute, 30.0) for minute in minutes]
    assert Series(minutes, filling).growth == pytest.approx(0.0, abs=0.1)
    assert Series(minutes, [2 * minute for minute in minutes]).growth == pytest.approx(120.0)
    assert watched.growth([1.0], [5.0]) == 0.0


@pytest.mark.parametrize("words", [["--minutes", "0"], ["--small", "--pace", "-1"]])
def test_what_cannot_be_measured_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        soak.main(words)
    assert "more than nothing" in capsys.readouterr().err


def test_the_small_form_watches_and_draws_everything(small_form, tmp_path):
    document, _ = small_form("soak", "--work", str(tmp_path), "--plot", str(tmp_path / "soak.png"))
    figures = document["figures"]
    for name in soak.LIMITS:
        minutes, values = figures[f"{name}_all"]
        assert len(minutes) == len(values) >= 2, name
        assert minutes == sorted(minutes)
        assert figures[f"{name}_last"] == values[-1] > 0
        assert f"{name}_growth" in figures
    assert figures["times_asked"] > figures["times_trained_and_forgotten"] > 0
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("mynah-bench-*"))  # the data are gone
