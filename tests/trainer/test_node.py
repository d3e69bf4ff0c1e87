"""What runs on a node, without a cluster: what it is told and sees, what it sends back and when, and what it leaves behind."""

import fcntl
import os
import signal
import sys
import threading
from pathlib import Path

import psutil
import pytest

from trainer import node
from trainer.node import CHECKPOINT, PIECE, START, WEIGHTS

TRAINER = """
import json, os, signal, sys, time
from pathlib import Path
if sys.argv[1:] == ["--version"]:
    print(json.dumps({"trainer": "abc"}))
    sys.exit()
jobs = [json.loads(Path(file).read_text()) for file in sys.argv[2:-1]]
assert (sys.argv[1], sys.argv[-1]) == ("--job", "--lifeline")
def say(job, type, **more):
    print(json.dumps({"type": type, "job": job["id"], **more}), flush=True)
for job in jobs:
    folder = Path(job["output"])
    say(job, "seen", pid=os.getpid(), names=sorted(os.environ), files=sorted(path.name for path in folder.iterdir()), cwd=os.getcwd())
    for name in ("cache", "start"):
        say(job, name, path=job.get(name))
    match job["does"]:
        case "make":
            (folder / "checkpoint.safetensors").write_bytes(b"half of it")
            say(job, "step")
            say(job, "step", pad="x" * 2**20)  # more than a pipe holds: when this is out, what the first one brought about is done
            (folder / "checkpoint.safetensors").unlink()
            (folder / "adapter.safetensors").write_bytes(os.urandom(job["size"]))
            say(job, "done", weights=str(folder / "adapter.safetensors"))
        case "wait":
            say(job, "failed", heard=json.loads(sys.stdin.readline()))
        case "die":
            sys.exit("the reason in the log")
        case "vanish":
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A node whose trainer is the one above: a function that makes a parcel for it."""
    (tmp_path / "there/trainer").mkdir(parents=True)
    (tmp_path / "there/trainer/__main__.py").write_text(TRAINER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "there"))

    def make(*does, files=None, seconds=0.0, size=10):
        jobs = {str(number): {"id": str(number), "does": one, "size": size} for number, one in enumerate(does)}
        return node.Parcel(
            jobs=jobs, files=files or {}, cache=str(tmp_path / "cache"), inherited=["PATH", "PYTHON*"], checkpoint_seconds=seconds
        )

    return make


def nobody():
    return []


def lines(items):
    return [node.json.loads(item[1]) for item in items if item[0] == "line"]


def test_it_says_what_it_is_and_sends_what_was_made_before_it_says_so(here):
    items = list(node.train(here("make", size=PIECE + 5), nobody, "gpu-2"))
    assert items[0] == ("begun", {"trainer": "abc"}, "gpu-2", None)
    kinds = [item[0] for item in items]
    assert kinds[-4:] == ["piece", "piece", "line", "ended"]
    pieces = [item for item in items if item[0] == "piece"]
    assert [(item[1], len(item[2]), item[3]) for item in pieces] == [(("0", WEIGHTS), PIECE, False), (("0", WEIGHTS), 5, True)]
    assert (lines(items)[-1]["type"], items[-1][1]) == ("done", 0)


def test_an_empty_file_is_one_piece(here):
    (piece,) = [item for item in node.train(here("make", size=0), nobody, "") if item[0] == "piece"]
    assert piece[2:] == (b"", True)


def test_checkpoints_come_now_and_then_and_each_once(here, monkeypatch):
    parcel = here("make", seconds=1e-9)
    items = [item for item in node.train(parcel, nobody, "") if item[0] == "piece" and item[1][1] == CHECKPOINT]
    assert [item[2] for item in items] == [b"half of it"]
    monkeypatch.setattr(node, "MOST_CHECKPOINT", 5)
    assert not [item for item in node.train(parcel, nobody, "") if item[0] == "piece" and item[1][1] == CHECKPOINT]
    assert not [item for item in node.train(here("make"), nobody, "") if item[0] == "piece" and item[1][1] == CHECKPOINT]


def test_each_job_has_its_files_in_a_folder_of_its_own_and_all_places_are_the_nodes(here, tmp_path):
    files = {"0": {CHECKPOINT: b"c", START: b"s"}, "1": {}}
    said = lines(node.train(here("die", "die", files=files), nobody, ""))
    work = tmp_path / "cache/work"
    seen = next(one for one in said if one["type"] == "seen")
    assert seen["files"] == [CHECKPOINT, "job.json", START]
    assert Path(seen["cwd"]).parent == work
    assert next(one["path"] for one in said if one["type"] == "cache") == str(tmp_path / "cache")
    assert next(one["path"] for one in said if one["type"] == "start").endswith(f"/0/{START}")


def test_the_trainer_sees_of_the_nodes_environment_what_it_may(here, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    monkeypatch.setenv("PATH_TO_KEY", "secret")
    (seen,) = [one for one in lines(node.train(here("die"), nobody, "")) if one["type"] == "seen"]
    assert set(seen["names"]) - {"LC_CTYPE"} == {"PATH", *(name for name in os.environ if name.startswith("PYTHON"))} | {"PYTHONUNBUFFERED"}


@pytest.mark.parametrize(("does", "status", "words"), [("die", 1, "the reason in the log"), ("vanish", -signal.SIGKILL, "")])
def test_how_it_ended_is_told_with_the_end_of_its_log(here, does, status, words):
    *_, (kind, ended, log, _) = node.train(here(does), nobody, "")
    assert (kind, ended) == ("ended", status)
    assert words in log


def test_a_cancellation_reaches_the_trainer(here, monkeypatch):
    monkeypatch.setattr(node, "ASK_SECONDS", 0.01)
    asked = []
    items = node.train(here("wait"), lambda: asked, "")
    for item in items:
        if item[0] == "line" and '"seen"' in item[1]:
            asked.append("0")
        if item[0] == "line" and '"failed"' in item[1]:
            assert node.json.loads(item[1])["heard"] == {"type": "cancel", "job": "0"}
            return
    pytest.fail("it never heard")


def test_whoever_stops_listening_ends_the_trainer_and_its_folder_goes(here, tmp_path):
    items = node.train(here("wait"), nobody, "")
    pid = next(node.json.loads(item[1])["pid"] for item in items if item[0] == "line")
    assert psutil.pid_exists(pid)
    assert (tmp_path / "cache/work").stat().st_mode & 0o077 == 0
    items.close()
    assert not psutil.pid_exists(pid)
    assert [path.name for path in (tmp_path / "cache/work").iterdir()] == [".lock"]


def test_folders_of_those_that_were_killed_go_and_those_of_the_living_stay(here, tmp_path):
    work = tmp_path / "cache/work"
    for name in ("dead", "alive", "half"):
        (work / name).mkdir(parents=True)
        (work / name / "job.json").write_text("posts")
    (work / "dead/.lock").touch()
    with (work / "alive/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        list(node.train(here("die"), nobody, ""))
        assert sorted(path.name for path in work.iterdir()) == [".lock", "alive"]


def test_a_node_without_mynah_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "sys.path[:] = [path for path in sys.path if not os.path.isdir(os.path.join(path, 'trainer'))]\n"
        "sys.meta_path[:] = [one for one in sys.meta_path if 'editable' not in repr(one)]\n"
    )
    assert node.versions(["PATH", "PYTHON*"]) == {"trainer": f"{sys.executable}: No module named trainer"}


def test_it_can_be_sent_as_it_stands():
    """It is pickled by its text, so it may import nothing that a node has not."""
    source = Path(node.__file__).read_text()
    assert not [line for line in source.splitlines() if line.startswith(("from trainer", "import trainer", "from bot", "import ray"))]
    assert threading.active_count() < 50
