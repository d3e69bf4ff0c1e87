"""The small form of a bench, run as a person would."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.fixture
def small_form(tmp_path):
    """A function that runs a bench with --small, and returns the document of --json and what it said on stderr."""

    def run(bench: str, *words: str) -> tuple[dict, str]:
        path = tmp_path / "figures.json"
        command = [sys.executable, "-m", f"bench.{bench}", "--small", *words, "--json", str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        document = json.loads(path.read_text())
        assert document["table"] in done.stdout
        return document, done.stderr

    return run
