"""Whole journeys: the real command in real processes, on the tiny model."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.__main__ import main
from tests.conftest import ROOT, made_up_tweets

# A shell's background job ignores SIGINT, and its children inherit that: Ctrl-C is to be heard wherever these tests run.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Mynah:
    """The command `mynah` in a folder of its own."""

    folder: Path
    processes: list[subprocess.Popen] = field(default_factory=list)

    @classmethod
    def installed(cls, folder: Path) -> "Mynah":
        """Write the configuration: the tiny model, a data folder of its own, and the cache that all tests share."""
        (folder / "config.toml").write_text(
            f'data_dir = "data"\ncache_dir = "{ROOT}/var/cache"\n[trainer]\nbase = "tiny-random"\nepochs = 1\ndevice = "cpu"\n'
            "[speaker]\nmax_tokens = 200\n"  # the tiny model is slow to end a line, and one that is cut off is not said
        )
        return cls(folder)

    @property
    def environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith(("MYNAH_", "DISCORD_", "X_A"))}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "bot", "--config", str(self.folder / "config.toml"), *words]

    def start(self, *words: str, **options) -> subprocess.Popen:
        options = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "env": self.environment,
            "cwd": self.folder,
        } | options
        self.processes.append(subprocess.Popen(self.command(*words), **options))
        return self.processes[-1]

    def close(self) -> None:
        """End what a test left running, and close its pipes."""
        for process in self.processes:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    def __call__(self, *words: str) -> subprocess.CompletedProcess:
        process = self.start(*words)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def json(self, *words: str) -> dict:
        """Run a command that must succeed, and return the one document on its stdout."""
        done = self(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, *words: str) -> str:
        """Run a command that must fail with one sentence and nothing else, and return the sentence."""
        done = self(*words)
        return one_sentence(done.returncode, done.stdout, done.stderr)

    @property
    def database(self) -> Path:
        return self.folder / "data" / "mynah.db"


@pytest.fixture
def mynah(tmp_path: Path) -> Iterator[Mynah]:
    """A fresh installation on the tiny model."""
    installed = Mynah.installed(tmp_path)
    yield installed
    installed.close()


@pytest.fixture
def refused(mynah: Mynah, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`mynah.refused` in this process, for lists of what is refused: a second each is what a process takes to start."""

    def here(*words: str) -> str:
        with monkeypatch.context() as patch:
            patch.chdir(mynah.folder)
            for name in os.environ.keys() - mynah.environment.keys():
                patch.delenv(name)
            with pytest.raises(SystemExit) as ended:
                main(["--config", str(mynah.folder / "config.toml"), *words])
        return one_sentence(ended.value.code, *capsys.readouterr())

    return here


def one_sentence(status: object, out: str, err: str) -> str:
    """Return what a command that failed said: one sentence and nothing else."""
    assert status == 1, (out, err)
    assert out == ""
    assert "Traceback" not in err
    (sentence,) = err.strip().splitlines()
    return sentence


def write_posts(path: Path, count: int = 150, seed: int = 0) -> Path:
    """Write posts as JSONL."""
    rows = ({"id": tweet.id, "created_at": tweet.created_at.isoformat(), "text": tweet.text} for tweet in made_up_tweets(count, seed))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
