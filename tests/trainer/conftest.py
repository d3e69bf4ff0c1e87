"""What the trainer's tests share: bases, posts, jobs, trainings in this process, and real processes."""

# ruff: noqa: E402 - the environment comes before the imports that read it

import gc
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from trainer import process

process.quiet_libraries()  # before transformers is imported

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from trainer import bases, fast, speaking, tiny, train
from trainer.protocol import Done, Failed, Job, Post, Recipe, Sampling

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


def never(*_) -> bool:
    """A check that lets everything go on, and a question that is always answered with no."""
    return False


@pytest.fixture(params=[1, 2])
def threads(request):
    """So many of torch's, for what a processor may do otherwise with several."""
    torch.set_num_threads(request.param)
    fast._threads_agree.cache_clear()
    yield request.param
    torch.set_num_threads(1)
    fast._threads_agree.cache_clear()


@pytest.fixture(autouse=True)
def _short_samples(monkeypatch):
    """A training in this process says shorter lines: half of its time would go into them, and how long they are nothing asks."""
    monkeypatch.setattr(train, "GLANCE", Sampling(max_tokens=8))
    monkeypatch.setattr(train, "Sampling", partial(Sampling, max_tokens=16))


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
    asked = set()

    def loaded(name, **options):
        asked.add(name)
        return bases.load(name, cache, CPU, print, never, **options)

    yield loaded
    if "smollm2-135m-instruct" in asked:
        gc.collect()  # its half a gigabyte hangs in cycles


@pytest.fixture(params=["llama", "gpt2"])
def base_name(request, gpt2_folder):
    """Both shapes of model, by name."""
    return "tiny-random" if request.param == "llama" else gpt2_folder


@pytest.fixture
def base(load, base_name):
    """Both shapes of model."""
    return load(base_name)


def posts(count: int, seed: int) -> list[Post]:
    """Made-up posts that a model can learn something from: few words, in a few patterns."""
    chance = random.Random(seed)
    who = ["the mynah", "my landlord", "a very small dog", "the ocean", "our bus driver", "grandma"]
    does = ["refuses to sing", "has opinions about soup", "is late again", "sold my bicycle", "believes in gravity", "forgot the password"]
    why = ["because of the moon", "and nobody noticed", "for the third time today", "which is fine", "thank you for asking", "👍"]
    return [Post("mynah", " ".join(chance.choice(part) for part in (who, does, why))) for _ in range(count)]


def make_job(folder: Path, cache: Path, id: str = "out", *, train=40, stop=8, report=8, data_seed=0, **recipe) -> Job:  # noqa: A002
    """Return a job; what is not said is small. Its folder is called as the job is."""
    pool = posts(train + stop + report, data_seed)
    spec = Recipe(**({"base": "tiny-random", "device": "cpu"} | recipe))
    return Job(id, spec, pool[:train], pool[train : train + stop], pool[train + stop :], str(folder / id), str(cache))


@pytest.fixture
def job(tmp_path, cache):
    """`make_job`, its folders in the test's own."""
    return partial(make_job, tmp_path, cache)


def of(kind, events):
    """Return the events of a kind."""
    return [event for event in events if isinstance(event, kind)]


def ends(events):
    """Return what ended each job, by its id: one Done or Failed, and nothing of the job after it."""
    found = {}
    for event in events:
        assert event.job not in found, event
        if isinstance(event, Done | Failed):
            found[event.job] = event
    return found


def run_jobs(*jobs, kept=None, check=never, events=None, **options):
    """Train jobs in this process, all at once, and return the events."""
    events = [] if events is None else events
    done = train.train(jobs, kept or train.Bases(), events.append, check, **options)
    assert ends(events).keys() == {job.id for job in jobs}
    assert done == len(of(Done, events))
    return events


@pytest.fixture
def run():
    """`run_jobs`."""
    return run_jobs


@pytest.fixture
def trained(run):
    """A function that trains one job in this process and returns its Done."""

    def done(job, **options):
        end = run(job, **options)[-1]
        assert end.type == "done", end
        return end

    return done


@pytest.fixture
def written(tmp_path):
    """A function that writes a job into a file of its own and returns the path."""
    numbers = itertools.count()

    def write(job) -> str:
        path = tmp_path / f"job-{next(numbers)}.json"
        path.write_text(job.to_json())
        return str(path)

    return write


@pytest.fixture
def start(written):
    """A context manager that runs `python -m trainer` with jobs or job files, --stay, or else --speak; killed after two minutes."""

    @contextmanager
    def started(*what, stay=False, lifeline=False, own_group=True, module=("trainer",), **environment):
        files = [written(one) if isinstance(one, Job) else str(one) for one in what]
        arguments = ["--stay"] if stay else ["--job", *files] if files else ["--speak"]
        child = subprocess.Popen(
            [sys.executable, "-m", *module, *arguments, *(["--lifeline"] if lifeline else [])],
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=own_group,
        )
        watchdog = threading.Timer(120, lambda: os.killpg(child.pid, signal.SIGKILL) if own_group else child.kill())
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


def tell(child, message) -> None:
    """Write a message, or a line that is none, to a process."""
    child.stdin.write((message if isinstance(message, str) else message.to_json()) + "\n")
    child.stdin.flush()


class Asked:
    """A speaker in this process, which is asked for something and answers before the next is asked."""

    def __init__(self, **options):
        self._came = threading.Event()
        self._heard = []
        self.speaker = speaking.Speaker(self._heard.append, never, wake=self._came.set, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        assert self.speaker.idle

    def __call__(self, request):
        """Return the lines' texts in order, and the message that ended the answer."""
        *lines, end = self.together(request)
        return [line.text for line in sorted(lines, key=lambda line: line.index)], end

    def together(self, *requests):
        """Ask for several things at once, and return all messages."""
        self._heard.clear()
        for request in requests:
            self.speaker.ask(request)
        while not self.speaker.idle:
            if not self.speaker.busy:
                assert self._came.wait(60)
                self._came.clear()
            self.speaker.step()
        return list(self._heard)


@pytest.fixture
def pip_that_hangs(tmp_path):
    """The environment in which `python -m pip` says its pid on stderr and then waits for ever."""
    (tmp_path / "fake/pip").mkdir(parents=True)
    (tmp_path / "fake/pip/__init__.py").touch()
    (tmp_path / "fake/pip/__main__.py").write_text(
        "import os, signal, sys\nprint('PIP', os.getpid(), file=sys.stderr, flush=True)\nwhile True: signal.pause()\n"
    )
    return {"PYTHONPATH": str(tmp_path / "fake")}


def pip_of(child) -> int:
    """Wait for the hanging pip and return its pid."""
    return int(next(line for line in child.stderr if line.startswith("PIP")).split()[1])


def end(pid: int) -> None:
    """Kill a process, if it is not gone."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).kill()


@pytest.fixture
def unfetched(job, tmp_path):
    """A job whose base has to be fetched first."""
    return replace(job(base="smollm2-135m-instruct"), cache=str(tmp_path / "empty"))


@pytest.fixture
def last():
    """A function that returns the last line of a stream as JSON."""
    return lambda text: json.loads(text.strip().splitlines()[-1])
