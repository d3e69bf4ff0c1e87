"""What is made of what a node sends: versions that differ, weights that came whole or not, jobs that end, are cancelled or lost."""

import errno
import json
import os
import signal
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from trainer import cluster
from trainer.cluster import _mismatch, _Task
from trainer.errors import NoCluster
from trainer.node import CHECKPOINT, START, WEIGHTS
from trainer.protocol import Cluster, Done, Failed, Job, Post, Recipe, Stage, Step
from trainer.versions import versions

POSTS = [Post("ann", "a post")]


class Parent:
    """Whoever may ask for a job's end."""

    def __init__(self):
        self.asked = set()

    def cancelled(self, job):
        return job in self.asked


@pytest.fixture
def task(tmp_path):
    """A task of two jobs, whose second has a checkpoint and weights to start from, and what is said of it."""
    (tmp_path / "start").write_bytes(b"earlier")
    jobs = [
        Job("1", Recipe(), POSTS, POSTS, POSTS, output=str(tmp_path / "1"), cache="/here"),
        Job("2", Recipe(), POSTS, POSTS, POSTS, output=str(tmp_path / "2"), cache="/here", start=str(tmp_path / "start")),
    ]
    for job in jobs:
        Path(job.output).mkdir()
    (tmp_path / "2" / CHECKPOINT).write_bytes(b"half")
    said = []
    made = _Task(jobs, Cluster(cache="/there", inherited=["PATH"]), Parent(), said.append)
    made.said = said
    return made


def begin(task):
    task._take(("begun", versions(), "gpu-2", None))


def line(task, message):
    task._take(("line", message.to_json() + "\n", None, None))


def done(content, job="1"):
    digest = cluster.sha256_of(content)
    return Done("/there/adapter.safetensors", digest, 7, 5.5, 4.5, 1.0, [], job=job)


def test_a_parcel_holds_what_a_node_cannot_have(task):
    parcel = task._parcel()
    assert parcel["files"] == {"1": {}, "2": {CHECKPOINT: b"half", START: b"earlier"}}
    assert parcel["jobs"]["1"]["train"] == [{"author": "ann", "text": "a post", "parent": ""}]
    assert (parcel["cache"], parcel["inherited"]) == ("/there", ["PATH"])
    assert json.dumps(parcel["jobs"])


def test_what_the_trainer_says_is_passed_on_and_the_weights_are_those_that_came(task, tmp_path):
    begin(task)
    (tmp_path / "made").write_bytes(b"weights")
    line(task, Stage("train", job="1"))
    task._take(("piece", ("1", WEIGHTS), b"wei", False))
    assert not (tmp_path / "1" / WEIGHTS).exists()
    task._take(("piece", ("1", WEIGHTS), b"ghts", True))
    line(task, done(tmp_path / "made"))
    assert (tmp_path / "1" / WEIGHTS).read_bytes() == b"weights"
    assert task.said[0] == Stage("train", job="1")
    assert task.said[-1].weights == str(tmp_path / "1" / WEIGHTS)
    line(task, Step(1, 2, 5.0, 1.0, 1.0, job="1"))  # of one that has ended, nothing
    assert len(task.said) == 2
    assert task._open == {"2"}


@pytest.mark.parametrize("came", [b"other", None])
def test_weights_that_are_not_what_was_trained_are_lost(task, tmp_path, came):
    begin(task)
    (tmp_path / "made").write_bytes(b"weights")
    if came:
        task._take(("piece", ("1", WEIGHTS), came, True))
    line(task, done(tmp_path / "made"))
    assert [(event.code, event.job) for event in task.said] == [("lost", "1"), ("lost", "2")]
    assert task.said[0].sentence == "The weights that came back from the node gpu-2 are not those that were trained there: it begins anew."
    assert task.said[1].sentence.endswith(": it goes on from its last checkpoint.")


def test_a_checkpoint_that_comes_back_takes_the_place_of_the_last(task, tmp_path):
    begin(task)
    task._take(("piece", ("2", CHECKPOINT), b"more of it", True))
    assert (tmp_path / "2" / CHECKPOINT).read_bytes() == b"more of it"
    task._take(("piece", ("2", CHECKPOINT), b"a part that nev", False))
    assert (tmp_path / "2" / CHECKPOINT).read_bytes() == b"more of it"


def test_a_checkpoint_of_a_job_that_was_cancelled_disturbs_nobody(task, tmp_path):
    begin(task)
    line(task, Failed("cancelled", "Cancelled.", job="1"))
    (tmp_path / "1").rmdir()
    task._take(("piece", ("1", CHECKPOINT), b"more of it", True))
    assert (task._open, task._pieces) == ({"2"}, {})


@pytest.mark.parametrize(("status", "words"), [(-signal.SIGKILL, "killed from outside"), (1, "without a result (status 1")])
def test_a_trainer_that_dies_on_a_sound_node_is_a_failure(task, status, words):
    begin(task)
    line(task, Failed("too_little_text", "There is too little.", job="1"))
    task._take(("ended", status, "the end of its log", None))
    first, second = task.said
    assert (first.code, second.code, second.job) == ("too_little_text", "died", "2")
    assert words in second.sentence


def test_a_failure_that_names_no_job_is_that_of_all(task):
    begin(task)
    line(task, Failed("bad_job", "The job file cannot be read."))
    assert [(event.code, event.job) for event in task.said] == [("bad_job", "1"), ("bad_job", "2")]
    assert not task._open


@pytest.mark.parametrize("differs", [{"torch": "1.0"}, {"trainer": "python: No module named trainer"}, {"Python": "3.9.1"}])
def test_a_node_of_other_versions_gets_nothing_and_both_sides_are_named(task, differs):
    there = versions() | differs
    (what,) = differs
    task._take(("begun", there, "gpu-2", None))
    assert task._node == ""
    assert {event.code for event in task.said} == {"lost"}
    sentence = _mismatch("gpu-2", there)
    assert sentence == f"The node gpu-2 has {what} {differs[what]}, and this machine {versions()[what]}: install the same Mynah on both."
    assert _mismatch("gpu-2", versions()) is None


def test_versions_are_those_of_these_sources(tmp_path, monkeypatch):
    found = versions()
    assert found.keys() == {"trainer", "Python", "torch", "transformers", "safetensors"}
    assert "+" not in "".join(found.values())
    monkeypatch.setattr("trainer.versions.__file__", str(tmp_path / "versions.py"))
    (tmp_path / "a.py").write_text("1")
    one = versions()["trainer"]
    (tmp_path / "a.py").write_text("2")
    assert versions()["trainer"] != one
    assert one != found["trainer"]


def test_nobody_at_the_address_is_told_at_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(NoCluster, match=rf"Nothing answers at {address} \(Connection refused\): is Ray's head node up"):
            cluster._knock(address)


# ------------------------------------------------------- a task, to its end


class RayTaskError(Exception):
    """What Ray raises for an exception of the task's own."""

    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


class OutOfMemoryError(Exception):
    """What Ray raises where its watch over a node's memory ended the task."""


class FakeRay:
    """As much of Ray as a task is followed with: it gives these things one after another; None: nothing yet."""

    def __init__(self, *items):
        self.items = list(items)
        self.wanted = {}
        self.cancelled = []
        self.keys = {}
        self.exceptions = SimpleNamespace(OutOfMemoryError=OutOfMemoryError, RayTaskError=RayTaskError)
        self.cloudpickle = SimpleNamespace(register_pickle_by_value=lambda _: None)

    def remote(self, *_, **options):
        self.wanted |= options
        return lambda _: self

    def options(self, **options):
        self.wanted |= options
        return SimpleNamespace(remote=lambda *_: self)

    def wait(self, _, timeout):
        ready = not self.items or self.items[0] is not None
        if not ready:
            self.items.pop(0)
        return ([self] if ready else []), []

    def __next__(self):
        if not self.items:
            raise StopIteration
        return self.items.pop(0)

    def get(self, item):
        if isinstance(item, Exception):
            raise item
        return item

    def cancel(self, task, *, force):
        self.cancelled.append(force)

    def put(self, key, value, namespace):
        self.keys[key] = json.loads(value)

    def delete(self, key, namespace):
        self.keys.clear()


@pytest.fixture
def follow(task, monkeypatch):
    """A function that has the task run on a Ray that gives what it is told."""

    def run(*items):
        fake = FakeRay(*items)
        store = SimpleNamespace(_internal_kv_put=fake.put, _internal_kv_del=fake.delete)
        for name, module in {"ray": fake, "ray.exceptions": fake.exceptions, "ray.experimental.internal_kv": store}.items():
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setitem(sys.modules, "ray.experimental", SimpleNamespace(internal_kv=store))
        task.run()
        assert fake.cancelled == [True]  # whatever became of it, nothing of it is left
        assert not task._open
        return fake

    return run


def ended(job, code="too_little_text"):
    return ("line", Failed(code, "There is too little.", job=job).to_json(), None, None)


BEGUN = ("begun", versions(), "gpu-2", None)


def test_a_task_takes_of_a_node_what_the_settings_say_and_is_never_tried_again_by_ray(follow, task):
    fake = follow(BEGUN, ended("1"), None, ended("2"), ("ended", 1, "", None))
    assert (fake.wanted["num_gpus"], fake.wanted["num_cpus"], fake.wanted["max_retries"]) == (1, 1, 0)
    assert fake.wanted["name"] == "mynah 1, 2"
    assert [event.job for event in task.said] == ["1", "2"]


def test_whoever_waits_for_a_node_is_told_once_and_may_give_up(follow, task, monkeypatch):
    monkeypatch.setattr(cluster, "WAIT_SECONDS", 1.0)
    looks = []
    monkeypatch.setattr(task._parent, "cancelled", lambda job: looks.append(job) or len(looks) > 20)
    follow(*[None] * 100)
    assert [event.sentence for event in task.said[:2]] == ["Waiting for a node of the cluster to be free."] * 2
    assert [event.code for event in task.said[2:]] == ["cancelled"] * 2


def test_a_cancellation_is_laid_down_for_the_node_and_the_trainer_has_the_last_word(follow, task, monkeypatch):
    laid = []
    monkeypatch.setattr(FakeRay, "put", lambda self, key, value, namespace: laid.append(json.loads(value)))
    task._parent.asked.add("2")
    follow(BEGUN, None, ended("2", "cancelled"), None, ended("1"))
    assert laid == [["2"]]
    assert [(event.job, event.code) for event in task.said] == [("2", "cancelled"), ("1", "too_little_text")]


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RuntimeError("the node died"), "lost", "The node gpu-2 was lost: it begins anew."),
        (OutOfMemoryError("killed"), "out_of_memory", "The memory of the node gpu-2 ran out"),
        (RayTaskError(OSError(errno.ENOSPC, "No space left on device")), "internal", "The disk is full"),
    ],
)
def test_what_went_wrong_with_a_task_says_whose_fault_it_was(follow, task, error, code, words):
    follow(BEGUN, ended("2"), error)
    _, last = task.said
    assert (last.job, last.code) == ("1", code)
    assert words in last.sentence


@pytest.mark.parametrize("rest", [[("ended", 0, "", None)], [None] * 1000, [RuntimeError("the node died")]])
def test_the_end_of_the_last_job_is_said_when_the_node_has_cleared_up_or_does_not(follow, task, monkeypatch, rest):
    counts = []
    monkeypatch.setattr(FakeRay, "cancel", lambda self, *_, **__: self.cancelled.append(True) or counts.append(len(task.said)))
    follow(BEGUN, ended("1"), ended("2"), *rest)
    assert counts == [1]
    assert [(event.job, event.code) for event in task.said] == [("1", "too_little_text"), ("2", "too_little_text")]


def test_what_is_lost_before_a_node_had_it_is_told(follow, task):
    follow(None, RuntimeError("no more nodes"))
    assert task.said[0].sentence == "The cluster lost the training before a node had it: it begins anew."


# ------------------------------------------------------------- connecting


class RayError(Exception):
    """What Ray raises for a node that is gone."""


class FakeCluster:
    """As much of Ray as is connected to: nodes by address, each with what it has and what it answers; None: nothing, in time."""

    __version__ = "2.60.0"

    def __init__(self, refuses=None, **nodes):
        self.refuses = refuses
        self.all = nodes
        self.exceptions = SimpleNamespace(RayError=RayError)
        self.cloudpickle = SimpleNamespace(register_pickle_by_value=lambda _: None)
        self.asked = []

    def init(self, address, **options):
        self.how = options
        if self.refuses:
            raise self.refuses

    def nodes(self):
        return [
            {"NodeID": name, "NodeManagerAddress": name, "Alive": has is not None, "Resources": has or {}}
            for name, (has, _) in self.all.items()
        ]

    def remote(self, **_):
        return lambda _: self

    def options(self, *, scheduling_strategy, **_):
        self.asked.append(scheduling_strategy)
        return SimpleNamespace(remote=lambda _: scheduling_strategy)

    def wait(self, refs, *, num_returns, timeout):
        assert num_returns == len(refs)
        return [ref for ref in refs if self.all[ref][1] is not None], []

    def get(self, ref):
        if isinstance(self.all[ref][1], Exception):
            raise self.all[ref][1]
        return self.all[ref][1]


@pytest.fixture
def joined(monkeypatch):
    """A function that connects to a cluster as it is told."""

    def connect(fake, **wanted):
        monkeypatch.setitem(sys.modules, "ray", fake)
        strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: node)
        monkeypatch.setitem(sys.modules, "ray.util", SimpleNamespace(scheduling_strategies=strategies))
        monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", strategies)
        monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
        return cluster.connect(Cluster(**wanted))

    return connect


MISMATCH = "Version mismatch: The cluster was started with:\n    Ray: 2.59.0\nThis process was started with:\n    Ray: 2.60.0\n"
BIG = {"CPU": 8.0, "GPU": 1.0}


def test_nodes_that_fit_are_asked_and_those_that_are_gone_are_passed_over(joined):
    fake = FakeCluster(
        gone=(None, versions()),
        small=({"CPU": 2.0}, {"trainer": "another"}),
        lost=(BIG, RayError()),
        slow=(BIG, None),
        good=(BIG, versions()),
    )
    assert joined(fake) == "Ray 2.60.0, 4 nodes; trainings fit on 1, which have the versions that are here"
    assert fake.asked == ["lost", "slow", "good"]
    assert fake.how["namespace"] == "mynah"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.mark.parametrize(
    ("fake", "sentence"),
    [
        (
            FakeCluster(RuntimeError(MISMATCH)),
            f"The Ray cluster at auto cannot be joined ({' '.join(MISMATCH.split())}): see docs/growth.md.",
        ),
        (
            FakeCluster(small=({"CPU": 2.0}, {})),
            "No node of the cluster, of 1, has 1 CPU and 1 GPU: start one, or set [trainer.ray] num_gpus and num_cpus.",
        ),
        (FakeCluster(slow=(BIG, None)), "No node of the 1 that have 1 CPU and 1 GPU has answered: see Ray's logs."),
        (
            FakeCluster(good=(BIG, versions()), old=(BIG, versions() | {"torch": "2.0.0"})),
            f"The node old has torch 2.0.0, and this machine {versions()['torch']}: install the same Mynah on both.",
        ),
    ],
)
def test_a_cluster_that_will_not_do_is_one_sentence(joined, fake, sentence):
    with pytest.raises(NoCluster) as error:
        joined(fake)
    assert str(error.value) == sentence
