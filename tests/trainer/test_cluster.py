"""What is made of what a node sends: versions that differ, weights that came whole or not, jobs that end, are cancelled or lost."""

import json
import signal
import socket
from pathlib import Path

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
