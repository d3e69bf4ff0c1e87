"""Tracking: what a tracker is told, what it is never told, and that nothing it does or omits reaches a training."""

import asyncio
import hashlib
import json
import os
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from io import StringIO
from pathlib import Path
from time import monotonic

import psutil
import pytest
from pydantic import SecretStr, ValidationError
from rich.console import Console
from structlog.testing import capture_logs

from bot.app import Mynah
from bot.executors.processes import child_environment
from bot.faces.terminal import actions
from bot.services import tracking
from bot.services.doctor import examine, healthy
from bot.services.forgetting import forget
from bot.services.tracking import Tracking, lacks
from bot.services.training import Training
from bot.settings import Secrets, load_secrets
from bot.settings import Tracking as Wanted
from bot.trackers import child as trackers_child
from bot.trackers.child import ChildTracker
from bot.trackers.port import Artifact, Begin, End, Metrics
from data import accounts, jobs, models
from data.jobs import Status
from data.origin import Origin
from data.sources import chained, of_account
from tests.bot.conftest import WEIGHTS
from tests.conftest import store_account
from trainer.protocol import Done, Evaluation, Failed, Sample, Step

FAKE = "tests.bot.fake_tracker"
KEY = "0123456789" * 4


class Recorder:
    """A tracker that remembers what it was told."""

    def __init__(self) -> None:
        self.told = []
        self.closed = False

    def tell(self, message) -> None:
        self.told.append(message)

    async def close(self) -> None:
        self.closed = True

    def of(self, kind, run=""):
        return [message for message in self.told if isinstance(message, kind) and run in message.run]


def tracked(settings, **wanted):
    return settings.model_copy(update={"tracking": Wanted(tracker="wandb", **wanted)})


@asynccontextmanager
async def queue(training):
    task = asyncio.create_task(training.run_forever())
    try:
        async with asyncio.timeout(30):
            yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def trained(store, settings, executor, tracker, **asked):
    """Train ann, told to a tracker; return the job as it ended."""
    training = Training(store, settings, executor, tracking=Tracking(settings, tracker))
    requested = await training.request(["ann"], by="a person", **asked)
    async with queue(training):
        return await training.ended(requested.job.id)


# ------------------------------------------------------------ what it is told


async def test_a_training_is_two_runs_with_the_artifacts_of_each_step(filled, settings, executor):
    tracker = Recorder()
    job = await trained(filled, tracked(settings), executor, tracker)
    assert [(run.name, run.kind) for run in tracker.of(Begin)] == [("@ann-preprocess", "preprocess"), ("@ann-train", "train")]
    assert len({run.group for run in tracker.of(Begin)}) == 1
    artifacts = [(one.name, one.kind, one.used) for one in tracker.of(Artifact)]
    assert artifacts == [
        ("tweets-ann", "raw-dataset", True),
        ("dataset-ann", "train-dataset", False),
        ("dataset-ann", "train-dataset", True),
        ("tiny-random", "pretrained-model", True),
        ("ann", "finetuned-model", False),
    ]
    raw, made, used, _, model = tracker.of(Artifact)
    assert raw.facts["counts"]["ann"]["downloaded"] == 150
    assert raw.facts["sha256"] == chained(await filled.read(of_account, "ann"))
    assert made.facts["sha256"] == used.facts["sha256"] == model.facts["corpus"] == job.corpus
    assert model.facts["sha256"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert [(one.step, one.values["loss"]) for one in tracker.of(Metrics)] == [(1, 5.0), (2, 4.5)]
    assert [end.ok for end in tracker.of(End)] == [True, True]
    assert tracker.of(End)[1].facts["loss_after"] == 4.25
    assert tracker.of(Begin, "train")[0].config["recipe"]["base"] == "tiny-random"


async def test_nothing_is_told_but_counts_hashes_and_losses_unless_it_is_set(filled, settings, executor):
    tracker = Recorder()
    base = "/home/somebody/models/mine"
    settings = tracked(settings.model_copy(update={"trainer": settings.trainer.model_copy(update={"base": base})}))
    weights = settings.data_dir / "weights"
    weights.write_bytes(WEIGHTS)
    details = {"adapter": {}, "base": {"name": base}, "recipe": {"base": base, "rank": 4}, "device": "a processor"}
    sample, sha256 = "a goose has the floor", hashlib.sha256(WEIGHTS).hexdigest()
    done = Done(str(weights), sha256, len(WEIGHTS), 5.5, 4.25, 12.0, [sample], details, job="1")
    executor.script = [Sample(1, sample, job="1"), done]
    job = await trained(filled, settings, executor, tracker, origin=Origin(member=777_888_999, server=111_222_333))
    assert job.status is Status.DONE
    told = json.dumps([message.to_json() for message in tracker.told])
    words = {word for tweet in await filled.read(accounts.read_tweets, "ann") for word in tweet.text.split() if len(word) > 6}
    assert words
    private = [*words, "goose", "a person", "777888999", "111222333", "somebody"]
    assert [text for text in private if text in told.replace(str(settings.data_dir), "")] == []
    assert [one.name for one in tracker.of(Artifact) if one.kind == "pretrained-model"] == ["mine"]
    assert tracker.of(End, "train")[0].facts["recipe"] == {"base": "mine", "rank": 4}
    assert not [one for one in tracker.of(Artifact) if one.texts or one.files]


async def test_posts_are_told_where_that_is_set_but_never_what_others_wrote(filled, settings, executor):
    tracker = Recorder()
    tweets = await filled.read(accounts.read_tweets, "ann")
    answers = [replace(tweet, id=f"9{tweet.id}", text=f"{tweet.text} indeed", in_reply_to="5") for tweet in tweets[:40]]
    stranger = replace(tweets[0], id="5", text="a stranger asks for the weather at sea")
    await filled.write(accounts.add_tweets, "ann", answers)
    await filled.write(accounts.add_tweets, "stranger", [stranger])
    await trained(filled, tracked(settings, uploads=["posts"]), executor, tracker)
    assert any(post.parent for post in executor.jobs[0].train)
    (made,) = [one for one in tracker.of(Artifact, "preprocess") if one.kind == "train-dataset"]
    lines = [json.loads(line) for text in made.texts.values() for line in text.splitlines()]
    assert set(made.texts) == {"train.jsonl", "stop.jsonl", "report.jsonl"}
    assert {line["text"] for line in lines} >= {tweet.text for tweet in tweets[:5]}
    assert {frozenset(line) for line in lines} == {frozenset({"author", "text"})}
    assert "stranger" not in json.dumps([message.to_json() for message in tracker.told])


async def test_samples_and_weights_are_told_where_that_is_set(filled, settings, executor):
    tracker = Recorder()
    job = await trained(filled, tracked(settings, uploads=["samples", "weights"]), executor, tracker)
    (model,) = [one for one in tracker.of(Artifact) if one.kind == "finetuned-model"]
    assert model.texts == {"samples.txt": "a sample"}
    kept = Path(model.files["adapter.safetensors"])
    assert kept.read_bytes() == WEIGHTS
    assert kept.parent == tracking.folder(settings) / str(job.id)
    assert not (settings.data_dir / "work" / str(job.id)).exists()


def _refuse(*_):
    raise OSError("one name for each")


async def test_weights_are_copied_where_a_file_has_one_name(filled, settings, executor, monkeypatch):
    monkeypatch.setattr("bot.files.os.link", _refuse)
    tracker = Recorder()
    await trained(filled, tracked(settings, uploads=["weights"]), executor, tracker)
    (model,) = [one for one in tracker.of(Artifact) if one.kind == "finetuned-model"]
    assert Path(model.files["adapter.safetensors"]).read_bytes() == WEIGHTS


async def test_a_run_whose_weights_cannot_be_kept_is_ended_all_the_same(filled, settings, executor, monkeypatch):
    monkeypatch.setattr("bot.files.os.link", _refuse)
    monkeypatch.setattr("bot.files.shutil.copy2", _refuse)
    tracker = Recorder()
    with capture_logs() as logs:
        job = await trained(filled, tracked(settings, uploads=["weights"]), executor, tracker)
    assert job.status is Status.DONE
    assert [(end.ok, end.facts["loss_after"]) for end in tracker.of(End, "train")] == [(True, 4.25)]
    assert "tracking fails, and the training goes on" in {entry["event"] for entry in logs}


async def test_every_step_is_told_and_the_looks_at_the_stop_split_but_no_sample(filled, settings, executor):
    tracker = Recorder()
    steps = [Step(number, 50, 5 - number / 50, 10.0, 1.0, job="1") for number in range(1, 51)]
    failed = Failed("not_finite", "The loss is not finite, and this sentence may say anything.", job="1")
    executor.script = [*steps, Evaluation(50, 4.4, job="1"), Sample(50, "words", job="1"), failed]
    job = await trained(filled, tracked(settings), executor, tracker)
    assert job.status is Status.FAILED
    assert [one.step for one in tracker.of(Metrics) if "loss" in one.values] == list(range(1, 51))
    assert [one.values for one in tracker.of(Metrics) if "stop_loss" in one.values] == [{"stop_loss": 4.4}]
    assert [(end.ok, end.facts) for end in tracker.of(End, "train")] == [(False, {"ended": "not_finite"})]


async def test_a_training_that_is_cut_off_is_told_as_such_and_its_next_attempt_is_another_run(filled, settings, executor):
    tracker = Recorder()
    executor.gate = asyncio.Event()
    training = Training(filled, tracked(settings), executor, tracking=Tracking(tracked(settings), tracker))
    requested = await training.request(["ann"], by="me")
    async with queue(training):
        await anext(training.events(requested.job.id))
    assert tracker.of(End, "1.1-train")[0].facts == {"ended": "cut off"}
    executor.gate.set()
    async with queue(training):
        assert (await training.ended(requested.job.id)).status is Status.DONE
    assert [end.ok for end in tracker.of(End, "1.2-train")] == [True]


async def test_an_attempt_whose_end_was_not_told_is_ended_by_the_next(filled, settings, executor):
    tracker = Recorder()
    service = Tracking(tracked(settings), tracker)
    job = (await Training(filled, settings, executor).request(["ann"], by="me")).job
    corpus = await filled.read(jobs.corpus_of, job.corpus)
    service.began(replace(job, attempt=1), corpus, None)
    service.began(replace(job, attempt=2), corpus, None)
    service.stopped(replace(job, attempt=2), "cancelled")
    service.stopped(replace(job, attempt=2), "cancelled")
    assert [(end.run, end.facts) for end in tracker.of(End, "train")] == [
        ("1.1-train", {"ended": "cut off"}),
        ("1.2-train", {"ended": "cancelled"}),
    ]


async def test_a_long_voice_has_a_name_that_trackers_take(filled, settings, executor, tweets):
    handles = [f"somebody_of_name_{number}" for number in range(10)]
    for number, handle in enumerate(handles):
        await filled.write(store_account, handle, tweets(150, seed=number))
    tracker = Recorder()
    training = Training(filled, tracked(settings), executor, tracking=Tracking(tracked(settings), tracker))
    requested = await training.request(handles, by="me")
    async with queue(training):
        await training.ended(requested.job.id)
    names = [message.name for message in tracker.told if isinstance(message, Begin | Artifact)]
    assert max(map(len, names)) <= 128
    assert len(set(names)) == 6


async def test_a_tracker_that_raises_does_not_reach_the_training(filled, settings, executor):
    class Broken(Recorder):
        def tell(self, message) -> None:
            raise RuntimeError("broken")

    with capture_logs() as logs:
        job = await trained(filled, tracked(settings), executor, Broken())
    assert job.status is Status.DONE
    assert "tracking fails, and the training goes on" in {entry["event"] for entry in logs}


# ------------------------------------------------------------------ the child


@pytest.fixture
async def child(tmp_path, monkeypatch):
    """Make a tracker whose child has a manner, with other limits than its own; `lines` is what children were told."""
    made = []

    def make(manner: str, **limits) -> ChildTracker:
        for name, value in limits.items():
            monkeypatch.setattr(trackers_child, name, value)
        command = (sys.executable, "-m", FAKE, manner, str(tmp_path / "told"))
        greeting = {
            "mode": "offline",
            "project": "mynah",
            "entity": "",
            "url": "https://wandb.example.org",
            "folder": str(tmp_path / "kept"),
        }
        made.append(ChildTracker(command, greeting, tmp_path / "tracker.log", secret=KEY))
        return made[-1]

    yield make
    for tracker in made:
        await tracker.close()


@pytest.fixture
def lines(tmp_path):
    def read():
        with suppress(FileNotFoundError):
            return [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
        return []

    return read


def begin(run="1"):
    return Begin(run, "@ann-train", "train", "ann", {}, "folder")


async def at_rest(tracker):
    async with asyncio.timeout(30):
        while tracker._worker is not None and not tracker._worker.done():
            await asyncio.wait([tracker._worker])


async def test_a_child_is_told_all_in_order_and_goes_when_no_run_is_open(child, lines):
    tracker = child("well")
    for message in (begin("1"), begin("2"), Metrics("1", 1, {"loss": 4.0}), End("1", ok=True), End("2", ok=False)):
        tracker.tell(message)
    await at_rest(tracker)
    assert [(line.get("type"), line.get("run")) for line in lines()] == [
        (None, None), ("begin", "1"), ("begin", "2"), ("metrics", "1"), ("end", "1"), ("end", "2"),
    ]  # fmt: skip
    assert lines()[0]["key"] == KEY
    assert not psutil.pid_exists(lines()[0]["pid"])
    tracker.tell(begin("3"))
    tracker.tell(End("3", ok=True))
    await at_rest(tracker)
    assert len({line["pid"] for line in lines()}) == 2


@pytest.mark.parametrize(
    ("manner", "why"),
    [
        ("die", "its process ended by itself; tracker.log has what it said"),
        ("hang", "it gave no answer for 2 s, and was ended"),
        ("babble", "its process answered what cannot be understood, and was ended"),
        ("refuse", "the key *** is refused"),
        ("fail", "the server is gone (4)"),
    ],
)
async def test_whatever_a_child_does_the_training_ends_as_it_should_and_the_log_says_why_once(
    manner, why, child, filled, settings, executor, lines
):
    tracker = child(manner, ANSWER_SECONDS=2.0 if manner == "hang" else 30.0)
    with capture_logs() as logs:
        job = await trained(filled, tracked(settings), executor, tracker)
        assert job.status is Status.DONE
        await at_rest(tracker)
        tracker.tell(begin("again"))
        tracker.tell(Metrics("again", 1, {"loss": 4.0}))
        tracker.tell(End("again", ok=True))
        await at_rest(tracker)
    said = [entry["why"] for entry in logs if entry["event"].startswith("tracking fails")]
    assert said[:1] == [why]
    assert len(said) == 1
    assert KEY not in str(logs)
    assert not [line["pid"] for line in lines() if psutil.pid_exists(line["pid"])]


async def test_a_failure_that_passed_is_said_again_when_it_comes_back(child, tmp_path):
    tracker = child("fail")
    with capture_logs() as logs:
        tracker.tell(begin("1"))
        tracker.tell(End("1", ok=True))
        await at_rest(tracker)
        tracker._command = (sys.executable, "-m", FAKE, "well", str(tmp_path / "told"))
        tracker.tell(begin("2"))
        tracker.tell(End("2", ok=True))
        await at_rest(tracker)
        tracker._command = (sys.executable, "-m", FAKE, "fail", str(tmp_path / "told"))
        tracker.tell(begin("3"))
        tracker.tell(End("3", ok=True))
        await at_rest(tracker)
    assert [entry["why"] for entry in logs] == ["the server is gone (2)"] * 2


@pytest.mark.parametrize("forgotten", [True, False])
async def test_what_waits_for_a_slow_child_does_not_come_back_after_it_was_forgotten(
    forgotten, child, filled, settings, executor, tmp_path
):
    os.mkfifo(tmp_path / "told")
    tracker, settings = child("late"), tracked(settings, uploads=["posts", "samples", "weights"])
    job = await trained(filled, settings, executor, tracker)
    if forgotten:
        await forget(filled, Training(filled, settings, executor), settings, "ann", by="me")
    with capture_logs() as logs, os.fdopen(os.open(tmp_path / "told", os.O_RDWR), "w") as pipe:
        print("begin", file=pipe, flush=True)
        await at_rest(tracker)
    there = tracking.folder(settings) / str(job.id)
    assert there.exists() != forgotten
    assert {path.name for path in there.rglob("*.jsonl")} == (set() if forgotten else {"train.jsonl", "stop.jsonl", "report.jsonl"})
    why = f"FileNotFoundError: {there} is gone, so nothing more is told of its job"
    assert [entry["why"] for entry in logs] == [why] * forgotten


async def test_a_child_that_cannot_be_started_is_no_failure_of_the_training(filled, settings, executor, tmp_path):
    tracker = ChildTracker((str(tmp_path / "nowhere"),), {}, tmp_path / "tracker.log")
    with capture_logs() as logs:
        job = await trained(filled, tracked(settings), executor, tracker)
        await at_rest(tracker)
    assert job.status is Status.DONE
    assert len([entry for entry in logs if entry["event"].startswith("tracking fails")]) == 1


async def test_a_hanging_child_holds_up_neither_what_tells_it_nor_the_end(child):
    tracker = child("hang", CLOSE_SECONDS=0.5)
    began = monotonic()
    tracker.tell(begin())
    for step in range(1000):
        tracker.tell(Metrics("1", step, {"loss": 4.0}))
    assert monotonic() - began < 1
    began = monotonic()
    with capture_logs() as logs:
        await tracker.close()
    assert monotonic() - began < 5
    assert "still at work when Mynah ended" in logs[0]["why"]
    assert [process for process in psutil.Process().children() if FAKE in process.cmdline()] == []
    tracker.tell(begin("2"))  # too late, and harmless


async def test_what_waits_for_a_slow_child_is_bounded(child):
    tracker = child("hang", MOST=10, CLOSE_SECONDS=0)
    with capture_logs() as logs:
        tracker.tell(begin())
        for step in range(100):
            tracker.tell(Metrics("1", step, {"loss": 4.0}))
        tracker.tell(End("1", ok=True))
        tracker.tell(begin("2"))
        tracker.tell(End("2", ok=True))
        assert len(tracker._waiting) <= 10
    assert len(logs) == 1
    assert "too slow" in logs[0]["why"]


# ------------------------------------------------- the operator, and the rest


def test_a_child_gets_no_key_by_its_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert load_secrets().wandb_api_key.get_secret_value() == KEY
    assert KEY not in child_environment(os.environ).values()
    assert not [name for name in child_environment(os.environ) if "WANDB" in name]
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / "key").write_text(f"{KEY}\n")
    monkeypatch.setenv("WANDB_API_KEY_FILE", str(tmp_path / "key"))
    assert load_secrets().wandb_api_key.get_secret_value() == KEY


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://wandb.example.org/", "https://wandb.example.org"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://example.org/tools/wandb/", "https://example.org/tools/wandb"),
        ("https://me:secret@example.org", None),
        ("https://example.org/@me", None),
        ("https:///wandb", None),
        ("https://example.org?key=secret", None),
        ("wandb.example.org", None),
    ],
)
def test_a_server_may_have_a_path_but_no_password(url, taken):
    if taken:
        assert Wanted(url=url).url == taken
    else:
        with pytest.raises(ValidationError, match="url"):
            Wanted(url=url)


@pytest.fixture
def installed(monkeypatch):
    def pretend(there: bool) -> None:
        def version(name: str) -> str:
            if name == "wandb" and not there:
                raise PackageNotFoundError(name)
            return "1.0"

        monkeypatch.setattr(tracking, "version", version)

    return pretend


def test_what_a_tracker_lacks_is_one_sentence(settings, installed):
    installed(False)
    assert lacks(settings, Secrets()) is None
    assert lacks(tracked(settings), Secrets()).startswith("`[tracking] tracker` is wandb, which is not installed: `pip install")
    installed(True)
    assert lacks(tracked(settings), Secrets()) is None
    online = tracked(settings, mode="online")
    assert lacks(online, Secrets()).endswith("set WANDB_API_KEY, or the mode to offline.")
    assert lacks(online, Secrets(wandb_api_key=SecretStr(KEY))) is None


def test_the_doctor_says_what_is_tracked_and_what_lacks(settings, installed):
    def found(of):
        return [finding for finding in examine(of, Secrets()) if finding.name == "tracking"]

    installed(False)
    assert found(settings) == []
    (finding,) = found(tracked(settings, uploads=["weights"]))
    assert (finding.ok, finding.found) == (False, "wandb, offline; told beyond counts, hashes and losses: weights")
    assert "is not installed" in finding.advice
    assert healthy([finding])
    installed(True)
    assert [finding.ok for finding in found(tracked(settings))] == [True]


async def test_where_the_library_is_missing_trainings_go_on_and_the_log_and_the_terminal_say_it(filled, settings, executor, installed):
    installed(False)
    terminal = Console(file=StringIO(), width=200)
    with capture_logs() as logs:
        async with Mynah(tracked(settings), Secrets(), executor) as app:
            await actions.train(app, ["ann"], "me", terminal)
            assert (await filled.read(models.current, "ann")).version == 1
    assert "wandb, which is not installed" in terminal.file.getvalue()
    assert [entry["why"][:41] for entry in logs if entry["event"] == "trainings are not tracked"] == [
        lacks(tracked(settings), Secrets())[:41]
    ]


async def test_what_was_written_of_an_account_is_forgotten_with_it(filled, settings, executor):
    service = Training(filled, settings, executor)
    async with queue(service):
        for handle in ("ann", "bob"):
            requested = await service.request([handle], by="me")
            await service.ended(requested.job.id)
            (tracking.folder(settings) / str(requested.job.id) / "wandb").mkdir(parents=True)
        (tracking.folder(settings) / "cache").mkdir()
        await forget(filled, service, settings, "ann", by="me")
    assert sorted(path.name for path in tracking.folder(settings).iterdir()) == ["2", "cache"]


async def test_what_a_tracker_wrote_while_its_job_was_forgotten_goes_before_the_next_training(filled, settings, executor):
    left = tracking.folder(settings) / "7" / "wandb"
    left.mkdir(parents=True)
    assert not await Training(filled, settings, executor).run_next()
    assert not left.parent.exists()
