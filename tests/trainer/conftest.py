"""What the trainer's tests share: bases, posts, jobs, and real processes."""

# ruff: noqa: E402 - the environment comes before the imports that read it

import json
import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from trainer import process

process.quiet_libraries()  # before transformers is imported

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from trainer import bases, tiny
from trainer.protocol import Job, Post, Recipe

# Tiny models gain nothing from a second thread, and OpenMP's threads wait by spinning: beside any other load it costs a tenfold.
torch.set_num_threads(1)

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


def never() -> None:
    """A check that lets everything go on."""


@pytest.fixture(scope="session")
def cache() -> Path:
    """The folder that keeps bases between runs, so that the embedded one is fetched once."""
    return Path(os.environ.get("MYNAH_CACHE") or ROOT / "var/cache")


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory) -> str:
    """A GPT-2 of random weights: Conv1D layers, learned positions, dropout in its configuration."""
    folder = tmp_path_factory.mktemp("gpt2")
    tiny.write_byte_tokenizer(folder)
    torch.manual_seed(0)
    GPT2LMHeadModel(
        GPT2Config(vocab_size=257, n_embd=64, n_layer=2, n_head=4, n_positions=512, bos_token_id=0, eos_token_id=0)
    ).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def load(cache):
    """A function that loads a base anew, so that a test may change it."""
    return lambda name: bases.load(name, cache, CPU, print, never)


@pytest.fixture(params=["llama", "gpt2"])
def base(request, load, gpt2_folder):
    """Both shapes of model."""
    return load("tiny-random" if request.param == "llama" else gpt2_folder)


def posts(count: int, seed: int) -> list[Post]:
    """Made-up posts that a model can learn something from: few words, in a few patterns."""
    chance = random.Random(seed)
    who = ["the mynah", "my landlord", "a very small dog", "the ocean", "our bus driver", "grandma"]
    does = ["refuses to sing", "has opinions about soup", "is late again", "sold my bicycle", "believes in gravity", "forgot the password"]
    why = ["because of the moon", "and nobody noticed", "for the third time today", "which is fine", "thank you for asking", "👍"]
    return [Post("mynah", " ".join(chance.choice(part) for part in (who, does, why))) for _ in range(count)]


@pytest.fixture
def job(tmp_path, cache):
    """A function that makes a job; what is not said is small."""

    def make(train=40, stop=8, report=8, output="out", data_seed=0, **recipe) -> Job:
        pool = posts(train + stop + report, data_seed)
        spec = Recipe(**({"base": "tiny-random", "device": "cpu"} | recipe))
        return Job(spec, pool[:train], pool[train : train + stop], pool[train + stop :], str(tmp_path / output), str(cache))

    return make


@pytest.fixture
def start(tmp_path):
    """A context manager that runs `python -m trainer` with a job, a job file, or --speak; killed after a minute."""

    @contextmanager
    def started(what=None, *, lifeline=False, own_group=True, **environment):
        if isinstance(what, Job):
            path = tmp_path / "job.json"
            path.write_text(what.to_json())
            what = path
        arguments = ["--job", str(what)] if what else ["--speak"]
        child = subprocess.Popen(
            [sys.executable, "-m", "trainer", *arguments, *(["--lifeline"] if lifeline else [])],
            cwd=ROOT,
            env=os.environ | {"MYNAH_THREADS": "1"} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=own_group,
        )
        watchdog = threading.Timer(60, lambda: os.killpg(child.pid, signal.SIGKILL) if own_group else child.kill())
        watchdog.start()
        try:
            yield child
        finally:
            watchdog.cancel()
            if child.poll() is None:
                child.kill()
            for pipe in (child.stdin, child.stdout, child.stderr):
                pipe.close()
            child.wait()

    return started


@pytest.fixture
def pip_that_hangs(tmp_path):
    """The environment in which `python -m pip` says its pid on stderr and then waits for ever."""
    (tmp_path / "fake/pip").mkdir(parents=True)
    (tmp_path / "fake/pip/__init__.py").touch()
    (tmp_path / "fake/pip/__main__.py").write_text(
        "import os, signal, sys\nprint('PIP', os.getpid(), file=sys.stderr, flush=True)\nwhile True: signal.pause()\n"
    )
    return {"PYTHONPATH": str(tmp_path / "fake")}


@pytest.fixture
def unfetched(job, tmp_path):
    """A job whose base has to be fetched first."""
    whole = job(base="smollm2-135m-instruct")
    return replace(whole, cache=str(tmp_path / "empty"))


@pytest.fixture
def last():
    """A function that returns the last line of a stream as JSON."""
    return lambda text: json.loads(text.strip().splitlines()[-1])
