"""bench/ack.py in small: that everything is measured, and what counts as lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import ack

ROOT = Path(__file__).resolve().parents[2]


def test_what_comes_late_or_never_is_lost():
    assert ack.Round(sent=4, acks=[2.0, 3000.0, 3000.1]).lost == 2


@pytest.mark.parametrize("words", [["--rounds", "0"], ["--small", "--interactions", "0"]])
def test_what_cannot_be_measured_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        ack.main(words)
    assert "numbers from 1 on" in capsys.readouterr().err


def test_the_small_form_measures_everything(tmp_path):
    path = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench.ack", "--small", "--work", str(tmp_path), "--json", str(path)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # beside another load, two would spend the time waiting for each other
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=one_thread)
    assert done.returncode == 0, done.stderr
    document = json.loads(path.read_text())
    figures = document["figures"]
    assert document["table"] in done.stdout
    for name in ("alone", "training"):
        assert 0 < figures[f"{name}_ms_p50"] <= figures[f"{name}_ms_p99"] <= figures[f"{name}_ms_max"]
        assert figures[f"{name}_sent"] == 10
        assert figures[f"{name}_lost"] == 0
        assert len(figures[f"{name}_ms_all"]) == 10
    assert figures["still_training"] in (0, 1)
    assert not list(tmp_path.glob("mynah-bench-*"))  # the data are gone
