"""The main job by the command line, and each command's answer for people and as JSON."""

import asyncio
import json
import signal
import sqlite3
import subprocess

import psutil
import pytest

from data.store import Store
from tests.acceptance.conftest import write_posts
from tests.conftest import made_up_tweets
from tests.voices import add_version

LONG = {"MYNAH_TRAINER__EPOCHS": "100"}
"""A training is to be under way for as long as a command takes to start, or a signal to arrive."""


def test_from_a_file_of_posts_to_lines_and_to_nothing_left(mynah, tmp_path):
    imported = mynah.json("import", str(write_posts(tmp_path / "ann.jsonl")), "--as", "@Ann")
    counts = {"downloaded": 150, "retweets": 0, "short": 0, "kept": 150, "duplicates": 0}
    assert imported == {"handle": "ann", "counts": counts, "new": 150, "ground": "permission"}
    assert mynah.json("import", str(tmp_path / "ann.jsonl"), "--as", "ann")["new"] == 0
    mynah.json("import", str(write_posts(tmp_path / "bob.jsonl", seed=5)), "--as", "bob")

    trained = mynah.json("train", "ann")
    assert (trained["name"], trained["version"], trained["counts"]["ann"]["kept"]) == ("ann", 1, 150)
    assert trained["loss"]["after"] < trained["loss"]["before"]
    assert trained["seconds"] > 0
    assert trained["bytes"] > 0
    assert (tmp_path / "data/cards/ann/curve-v1.png").read_bytes().startswith(b"\x89PNG")
    assert mynah.json("train", "ann") == trained  # the same again is the same model, at once
    assert mynah.json("show", "ann") == trained
    assert mynah.json("train", "bob", "@ANN")["name"] == "ann-bob"
    assert [model["name"] for model in mynah.json("models")["models"]] == ["ann", "ann-bob"]
    assert [job["status"] for job in mynah.json("jobs")["jobs"]] == ["done", "done"]

    first = mynah.json("generate", "ann", "-n", "3", "--seed", "4")
    assert len(first["lines"]) == 3
    assert all(line["text"] for line in first["lines"])
    assert "• the lamp" in mynah("generate", "ann-bob", "-n", "1", "--prompt", "the lamp").stdout
    explained = mynah.json("generate", "ann", "-n", "3", "--seed", "4", "--explain")
    assert explained["lines"] == first["lines"]
    assert {line["text"] for line in explained["candidates"] if line["chosen"]} == {line["text"] for line in first["lines"]}
    assert all(line["reason"] for line in explained["candidates"] if line["verdict"] != "passed")
    files = list((tmp_path / "data/adapters").iterdir())
    for file in files:
        file.write_bytes(b"damaged")
    assert mynah.json("generate", "ann", "-n", "3", "--seed", "4")["lines"] == first["lines"]
    files[0].with_suffix(".1-2.part").write_bytes(b"what a process that was killed wrote")

    assert mynah.json("forget", "ann")["deleted"]["models"] == 2
    assert mynah.json("models")["models"] == []
    assert "No posts of @ann are stored" in mynah.refused("train", "ann")
    content = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file() and path.name != "mynah.log")
    assert not [post.text for post in made_up_tweets(150) if post.text.encode() in content]
    assert b'"ann"' not in content
    assert not list((tmp_path / "data/adapters").iterdir())


def test_versions_are_pinned_listed_and_shown(mynah):
    async def two_versions():
        async with Store(mynah.database) as store:
            for weights in (b"first", b"second"):
                await store.write(add_version, weights=weights)

    asyncio.run(two_versions())
    assert [(m["version"], m["current"]) for m in mynah.json("models", "--versions", "ann")["models"]] == [(2, True), (1, False)]
    assert mynah.json("pin", "@Ann", "1") == {"name": "ann", "version": 1, "pinned": True}
    assert [m["version"] for m in mynah.json("models")["models"]] == [1]
    assert mynah.json("show", "ann")["version"] == 1
    full = mynah.json("show", "ann", "--version", "2", "--all")
    assert (full["version"], full["job"]["requested_by"]) == (2, "me")
    shown = mynah("show", "ann", "--all").stdout
    assert mynah.json("show", "ann", "--all")["command"] in shown
    assert mynah("unpin", "ann").stdout == "ann is not pinned: it speaks with its newest version, 2 now.\n"
    for words in (["pin", "ann"], ["show", "ann", "--version"], ["generate", "ann", "--version"]):
        assert mynah.refused(*words, "3") == "ann has no version 3: choose from 1, 2."
    assert mynah.refused("generate", "ann", "--as", "bob") == "ann cannot speak as @bob: name @ann."
    assert "A message to answer has at most 1000 characters" in mynah.refused("generate", "ann", "--answer", "x" * 1001)
    assert "'--from'" in mynah.refused("train", "ann", "--from", "scratch")


def test_posting_is_paused_and_goes_on(mynah):
    assert mynah.json("posts") == {"posts": [], "paused": None}
    paused = mynah.json("pause", "--why", "a wrong word")["paused"]
    assert paused["why"] == "a wrong word"
    assert mynah.json("posts")["paused"] == paused
    shown = " ".join(mynah("posts").stdout.split())
    assert f"Posting is paused since {paused['paused_at'][:10]}" in shown
    assert f"by {paused['paused_by']}: a wrong word. `mynah resume` lets it go on." in shown
    assert mynah.json("resume") == {"ended": paused}
    assert mynah.refused("resume") == "Posting is not paused."


def test_config_stands_before_or_after_the_commands_own_arguments(mynah, tmp_path):
    before = mynah("models", "--json")
    command = mynah.command("models", "--json")
    moved = [*command[:3], *command[5:], *command[3:5]]
    done = subprocess.run(moved, capture_output=True, text=True, env=mynah.environment, cwd="/", check=False)
    assert (done.returncode, done.stdout) == (0, before.stdout)


def test_the_doctor_says_what_is_missing_and_what_to_do(mynah):
    report = mynah.json("doctor")
    assert report["ok"] is True
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["Discord"]["ok"] is False
    assert "DISCORD_TOKEN" in checks["Discord"]["advice"]
    assert "✗" in mynah("doctor").stdout


def test_a_command_beside_another_leaves_the_work_to_it_and_gets_the_same_result(mynah, tmp_path):
    mynah.json("import", str(write_posts(tmp_path / "ann.jsonl")), "--as", "ann")
    both = [mynah.start("train", "ann", "--json") for _ in range(2)]
    answers = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert json.loads(answers[0][0]) == json.loads(answers[1][0])
    assert len(mynah.json("jobs")["jobs"]) == 1


def test_control_c_cancels_the_training_and_leaves_nothing_running(mynah, tmp_path):
    mynah.json("import", str(write_posts(tmp_path / "ann.jsonl", 900)), "--as", "ann")
    process = mynah.start("train", "ann", env=mynah.environment | LONG)
    for line in process.stderr:
        if "learning" in line:
            break
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.strip().splitlines()[-1] == "Stopped."
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert [job["status"] for job in mynah.json("jobs")["jobs"]] == ["cancelled"]


def test_a_running_job_is_cancelled_by_a_command_typed_beside_it(mynah, tmp_path):
    mynah.json("import", str(write_posts(tmp_path / "ann.jsonl", 900)), "--as", "ann")
    process = mynah.start("train", "ann", env=mynah.environment | LONG)
    for line in process.stderr:
        if "learning" in line:
            break
    assert mynah.json("cancel", "1")["job"]["status"] == "cancelled"
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Cancelled by" in err
    assert "has ended already" in mynah.refused("cancel", "1")


def test_the_console_takes_the_discord_commands(mynah, tmp_path):
    mynah.json("import", str(write_posts(tmp_path / "ann.jsonl")), "--as", "ann")
    process = mynah.start("console", stdin=-1)
    out, err = process.communicate(
        "!help\n!train ann\n!generate ann the lamp\n!show ann\n!models\n!jobs\n!nonsense\n!cancel x\n!train\n!quit\n", 120
    )
    assert process.returncode == 0, err
    for said in ("!forget HANDLE", "AI BOT", "• the lamp", "is not a command", "is not a job's number", "Type it as: !train HANDLE"):
        assert said in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "DISCORD_TOKEN is not set, and there is no schedule for X"),
        (["show", "nobody"], "No voice named nobody"),
        (["generate", "nobody"], "No voice named nobody"),
        (["pin", "nobody", "1"], "No voice named nobody"),
        (["unpin", "nobody"], "No voice named nobody"),
        (["models", "nobody"], "No voice named nobody"),
        (["forget", "nobody"], "Nothing of @nobody is stored"),
        (["cancel", "7"], "There is no job 7"),
        (["cancel", "seven"], "JOB"),
        (["frobnicate"], "No such command"),
        (["train", "a", "--frob"], "--frob"),
        (["train", "a/b"], "is not a handle"),
        (["train", "x" * 400], "is not a handle"),
        (["train", "🐦"], "is not a handle"),
        (["import", "nowhere.zip", "--as", "ann"], "nowhere.zip"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(mynah, refused, words, said):
    assert said in refused(*words)
    if mynah.database.exists():
        with sqlite3.connect(mynah.database) as db:
            assert db.execute(
                "SELECT (SELECT count(*) FROM tweets) + (SELECT count(*) FROM jobs) + (SELECT count(*) FROM accounts)"
            ).fetchone() == (0,)
        db.close()


def test_control_c_at_the_consoles_prompt_ends_it_at_once(mynah):
    process = mynah.start("console", stdin=subprocess.PIPE)
    assert process.stdout.readline().startswith("Mynah.")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 1  # stdin is still open: nobody presses Enter
    _, err = process.communicate()
    assert err.strip() == "Stopped."
