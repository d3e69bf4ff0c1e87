"""Weights & Biases itself, where it is installed: what a training leaves offline, and what a server that is not there does."""

import asyncio
import json
import shutil
import socket
import struct
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from bot.app import Mynah
from bot.services import tracking
from bot.services.forgetting import forget
from bot.settings import Secrets
from bot.trackers import child
from bot.trackers.port import Artifact, Begin, End, Metrics
from data import accounts
from tests.bot.conftest import WEIGHTS
from tests.bot.test_tracking import KEY, tracked
from tests.conftest import ROOT
from trainer.protocol import Evaluation, Stage, Step

pytest.importorskip("wandb")

HEADER_BYTES, BLOCK_BYTES = 7, 32768


def records(path: Path):
    """Yield the messages of a run's file: LevelDB's log format with a header of W&B's, holding W&B's own messages."""
    from wandb.proto import wandb_internal_pb2

    data, at, parts = path.read_bytes(), HEADER_BYTES, b""
    assert data.startswith(b":W&B")
    while at + HEADER_BYTES <= len(data):
        if (left := BLOCK_BYTES - at % BLOCK_BYTES) < HEADER_BYTES:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        at += HEADER_BYTES
        parts += data[at : at + length]
        at += length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


class Run:
    """What a run's file says."""

    def __init__(self, path: Path) -> None:
        self.config, self.history, self.summary, self.artifacts, self.exit_code = {}, [], {}, {}, None
        self.axes = set()
        for record in records(path):
            match record.WhichOneof("record_type"):
                case "run":
                    self.name, self.kind, self.group = record.run.display_name, record.run.job_type, record.run.run_group
                    self.host = record.run.host
                    self._configure(record.run.config)
                case "config":
                    self._configure(record.config)
                case "history":
                    self.history.append({_key(item): json.loads(item.value_json) for item in record.history.item})
                case "summary":
                    self.summary |= {_key(item): json.loads(item.value_json) for item in record.summary.update}
                case "artifact":
                    self.artifacts[record.artifact.name] = record.artifact
                case "metric":
                    self.axes.add((record.metric.glob_name, record.metric.step_metric))
                case "exit":
                    self.exit_code = record.exit.exit_code

    def _configure(self, config) -> None:
        self.config |= {_key(item): json.loads(item.value_json) for item in config.update}


def _key(item) -> str:
    return item.key or ".".join(item.nested_key)


def runs_of(settings):
    files = sorted(tracking.folder(settings).glob("*/wandb/*run-*/*.wandb"))
    found = [Run(path) for path in files if not path.parent.is_symlink()]
    return {run.kind: run for run in found}


@contextmanager
def listening():
    """A place that would accept connections; gives its address and those that came."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        server.setblocking(False)
        came = []

        def accepted():
            with suppress(BlockingIOError):
                while True:
                    came.append(server.accept())
            return len(came)

        yield f"http://127.0.0.1:{server.getsockname()[1]}", accepted
        for connection, _ in came:
            connection.close()


async def train(settings, executor, store, **secrets):
    """Train ann as a lone command does, with time for the tracker to say what it has to; return what was logged."""
    with capture_logs() as logs:
        async with Mynah(settings, Secrets(**secrets), executor) as app:
            requested = await app.training.request(["ann"], by="a person")
            await app.lead_until(app.training.result(requested.job.id))
    return logs


def files_with(settings, text: str):
    return [
        path.name
        for path in (*tracking.folder(settings).rglob("*"), settings.data_dir / "tracker.log")
        if path.is_file() and text.encode() in path.read_bytes()
    ]


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Time for a child that starts beside other tests."""
    monkeypatch.setattr(child, "CLOSE_SECONDS", 240.0)


async def test_a_training_that_begins_again_at_half_its_learning_rate_loses_no_loss(filled, settings, executor):
    losses = [(number, 9.0 - number) for number in range(1, 6)] + [(number, 5 - number / 10) for number in range(1, 11)]
    say(executor, [Step(number, 10, loss, 100.0, 1.0, job="1") for number, loss in losses])
    await train(tracked(settings), executor, filled)
    learned = runs_of(settings)["train"]
    assert [(line["training_step"], line["loss"]) for line in learned.history] == losses
    assert [line["_step"] for line in learned.history] == list(range(15))


def test_what_is_forgotten_while_its_run_is_open_leaves_nothing(tmp_path):
    there = tmp_path / "1"
    there.mkdir()
    command = (sys.executable, "-m", "bot.trackers.to_wandb")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:

        def why_not(line: str) -> str | None:
            print(line, file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())["error"]

        greeting = {
            "mode": "offline",
            "project": "mynah",
            "entity": "",
            "url": "https://example.org/wandb",
            "key": "",
            "folder": str(tmp_path),
        }
        assert why_not(json.dumps(greeting)) is None
        assert why_not(Begin("1", "@ann-train", "train", "ann", {}, str(there)).to_json()) is None
        assert why_not(Artifact("1", "dataset-ann", "train-dataset", {}, texts={"train.jsonl": "a post"}).to_json()) is None
        assert list(there.rglob("train.jsonl"))
        while there.exists():  # the library may be writing to it
            shutil.rmtree(there, ignore_errors=True)
        gone = f"FileNotFoundError: {there} is gone, so nothing more is told of its job"
        assert why_not(Artifact("1", "ann", "finetuned-model", {}, texts={"samples.txt": "a sample"}).to_json()) == gone
        assert why_not(Metrics("1", 1, {"loss": 4.0}).to_json()) is None
        assert why_not(End("1", ok=True).to_json()) is None
        assert why_not(Begin("2", "@ann-train", "train", "ann", {}, str(there)).to_json()) == gone
        process.stdin.close()
    assert not there.exists()


def say(executor, events):
    """Let an executor's trainer say more before its end."""
    make = executor._run

    def run(job):
        made = make(job)
        made._events = [*events, made._events[-1]]
        return made

    executor._run = run


@pytest.fixture
def measured(executor):
    """An executor whose trainer says ten steps and a look."""
    steps = [Step(number, 10, 5 - number / 10, 100.0, 1.0, job="1") for number in range(1, 11)]
    say(executor, [Stage("base", job="1"), *steps, Evaluation(10, 4.4, job="1")])
    return executor


async def test_a_training_leaves_its_two_runs_offline_and_touches_no_network(filled, settings, measured, monkeypatch):
    with listening() as (address, accepted):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, address)
        logs = await train(tracked(settings, url=address), measured, filled)
        assert accepted() == 0
    assert [entry for entry in logs if "track" in entry["event"]] == []
    found = runs_of(settings)
    assert {run.name for run in found.values()} == {"@ann-preprocess", "@ann-train"}
    made, learned = found["preprocess"], found["train"]
    assert (made.exit_code, learned.exit_code, made.host, learned.host) == (0, 0, "", "")
    assert made.group == learned.group
    (data_set,) = made.artifacts.values()
    assert (data_set.name, data_set.type) == ("dataset-ann", "train-dataset")
    assert [entry.path for entry in data_set.manifest.contents] == ["facts.json"]
    facts = json.loads(data_set.metadata)
    assert json.loads(Path(data_set.manifest.contents[0].local_path).read_text()) == facts
    assert made.config["inputs"]["tweets-ann"]["counts"]["ann"]["downloaded"] == 150
    assert learned.config["inputs"]["dataset-ann"]["sha256"] == facts["sha256"]
    assert learned.config["recipe"]["base"] == "tiny-random"
    steps = [(line["training_step"], line["loss"]) for line in learned.history if "loss" in line]
    assert steps == [(n, 5 - n / 10) for n in range(1, 11)]
    assert (learned.history[-1]["training_step"], learned.history[-1]["stop_loss"]) == (10, 4.4)
    assert ("*", "training_step") in learned.axes
    assert learned.summary["loss_after"] == 4.25
    assert learned.artifacts["ann"].type == "finetuned-model"
    assert json.loads(learned.artifacts["ann"].metadata)["version"] == 1


async def test_nothing_of_the_machine_or_of_posts_is_in_what_is_left(filled, settings, measured, monkeypatch):
    monkeypatch.setenv("WANDB_USERNAME", "somebody")
    await train(tracked(settings), measured, filled, wandb_api_key=SecretStr(KEY))
    post = (await filled.read(accounts.read_tweets, "ann"))[0].text
    assert runs_of(settings)["train"].exit_code == 0
    host = socket.gethostname()
    private = [KEY, "somebody", "a person", post, "a sample", str(ROOT)] + [host] * (len(host) > 8)  # a short one is found anywhere
    assert {text: found for text in private if (found := files_with(settings, text))} == {}
    assert not list(tracking.folder(settings).rglob("requirements.txt"))


async def test_posts_samples_and_weights_are_files_of_artifacts_where_that_is_set(filled, settings, measured):
    await train(tracked(settings, uploads=["posts", "samples", "weights"]), measured, filled)
    found = runs_of(settings)
    (data_set,) = found["preprocess"].artifacts.values()
    paths = {entry.path: Path(entry.local_path) for entry in data_set.manifest.contents}
    assert set(paths) == {"facts.json", "train.jsonl", "stop.jsonl", "report.jsonl"}
    post = (await filled.read(accounts.read_tweets, "ann"))[0].text
    assert post in "".join(path.read_text() for path in paths.values())
    assert all(path.is_relative_to(tracking.folder(settings)) for path in paths.values())
    weights = {entry.path: Path(entry.local_path) for entry in found["train"].artifacts["ann"].manifest.contents}
    assert weights["adapter.safetensors"].read_bytes() == WEIGHTS
    assert weights["samples.txt"].read_text() == "a sample"
    async with Mynah(settings, Secrets(), measured) as app:
        await forget(app.store, app.training, settings, "ann", by="a person")
    assert files_with(settings, post) == files_with(settings, "a sample") == files_with(settings, WEIGHTS.decode()) == []


@pytest.mark.long
async def test_a_server_that_is_not_there_costs_the_training_nothing_and_the_runs_are_kept(filled, settings, measured):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    logs = await train(tracked(settings, mode="online", url=address), measured, filled, wandb_api_key=SecretStr(KEY))
    (said,) = [entry["why"] for entry in logs if entry["event"].startswith("tracking fails")]
    assert "for `wandb sync`" in said
    assert runs_of(settings)["train"].summary["loss_after"] == 4.25
    assert files_with(settings, KEY) == []


@pytest.mark.long
async def test_a_server_that_says_nothing_costs_the_training_nothing(filled, settings, measured):
    with listening() as (address, accepted):
        async with asyncio.timeout(300):
            logs = await train(tracked(settings, mode="online", url=address), measured, filled, wandb_api_key=SecretStr(KEY))
        assert accepted() > 0
    assert len([entry for entry in logs if entry["event"].startswith("tracking fails")]) == 1
    assert files_with(settings, KEY) == []
