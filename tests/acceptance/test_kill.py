"""kill -9 at random moments: no lost model, no stuck job, no orphan process, a sound database each time."""

import random
import shutil
import sqlite3
import subprocess
import time

import psutil
import pytest

from tests.acceptance.conftest import Mynah, write_posts

#: Each takes some ten seconds, most of them imports: a few every time, many in the long tests.
FEW_OR_MANY = pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.long)])


def look(mynah, question):
    """Ask the database, after checking that it is sound."""
    with sqlite3.connect(mynah.database) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        rows = db.execute(question).fetchall()
    db.close()
    return rows


def descendants(process):
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def gone(processes):
    """Wait for processes to end, and say whether all did."""
    return not psutil.wait_procs(processes, timeout=15)[1]


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """An installation with a trained voice, ann, and posts of bob; and how many seconds a training takes here."""
    folder = tmp_path_factory.mktemp("once")
    mynah = Mynah.installed(folder)
    mynah.json("import", str(write_posts(folder / "ann.jsonl")), "--as", "ann")
    mynah.json("import", str(write_posts(folder / "bob.jsonl", 900, seed=5)), "--as", "bob")
    began = time.monotonic()
    mynah.json("train", "ann")
    return folder, time.monotonic() - began


@pytest.fixture
def trained(once, tmp_path, mynah):
    """A copy of that installation, for one test to break; the seconds."""
    shutil.copytree(once[0], tmp_path, dirs_exist_ok=True)
    return once[1]


@FEW_OR_MANY
def test_the_bot_is_killed_at_random_moments_of_one_job_and_the_job_is_done_once(mynah, trained, kills):
    moments = random.Random(1)
    kept = look(mynah, "SELECT * FROM models")
    for _ in range(kills):
        bot = mynah.start("train", "bob", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            bot.wait(timeout=moments.uniform(0.3, trained))  # not a wait for something: the random moment itself
        except subprocess.TimeoutExpired:
            family = descendants(bot)
            bot.kill()
            bot.wait()
            assert gone(family)
        assert look(mynah, "SELECT * FROM models WHERE voice = 'ann'") == kept
        assert look(mynah, "SELECT id FROM jobs WHERE status NOT IN ('queued', 'running', 'done')") == []
    assert mynah.json("train", "bob")["version"] == 1
    assert look(mynah, "SELECT voice, status FROM jobs ORDER BY id") == [("ann", "done"), ("bob", "done")]
    assert look(mynah, "SELECT voice, version FROM models ORDER BY id") == [("ann", 1), ("bob", 1)]
    assert mynah.json("generate", "bob", "-n", "1")["lines"]


@FEW_OR_MANY
def test_the_trainer_is_killed_at_random_moments_and_each_time_it_is_a_sentence_and_the_next_request_a_new_job(mynah, trained, kills):
    moments = random.Random(2)
    kept = look(mynah, "SELECT * FROM models")
    killed = 0
    while killed < kills:
        bot = mynah.start("train", "bob")
        for line in bot.stderr:
            if "bob" in line:  # a stage began, so the trainer is there
                break
        family = descendants(bot)
        trainers = [process for process in family if "trainer" in process.cmdline()]
        try:
            bot.wait(timeout=moments.uniform(0, 2))  # the random moment
        except subprocess.TimeoutExpired:
            for process in trainers:
                process.kill()
        _, err = bot.communicate(timeout=60)
        assert gone(family)
        assert look(mynah, "SELECT * FROM models WHERE voice = 'ann'") == kept
        assert look(mynah, "SELECT id FROM jobs WHERE status IN ('queued', 'running')") == []
        assert bot.returncode == 1, err
        assert "killed from outside" in err.strip().splitlines()[-1]
        killed += 1
    assert mynah.json("train", "bob")["version"] == 1
    states = [status for (status,) in look(mynah, "SELECT status FROM jobs ORDER BY id")]
    assert states == ["done", *["failed"] * kills, "done"]


def test_a_dead_bots_trainer_that_would_not_die_is_swept_at_the_next_start(mynah, trained):
    """The lifeline is cut off here on purpose: a process group of a dead owner's is left running, recorded in the job's row."""
    left = subprocess.Popen(["sleep", "300"], start_new_session=True)
    bot = mynah.start("train", "bob", stdout=subprocess.DEVNULL)
    for line in bot.stderr:
        if "bob" in line:
            break
    family = descendants(bot)
    bot.kill()
    bot.communicate()
    assert gone(family)
    with sqlite3.connect(mynah.database) as db:
        row = (left.pid, int(psutil.Process(left.pid).create_time()))
        db.execute("UPDATE jobs SET status = 'running', process_group = ?, process_started = ? WHERE voice = 'bob'", row)
    db.close()
    assert mynah.json("train", "bob")["version"] == 1
    assert left.wait(timeout=15) == -9


def test_the_speaker_dies_in_an_answer_which_is_given_all_the_same(mynah, trained, tmp_path):
    bot = mynah.start("console", stdin=subprocess.PIPE)
    try:
        bot.stdin.write("!generate ann\n")
        bot.stdin.flush()
        while not (speakers := [child for child in descendants(bot) if "--speak" in child.cmdline()]):
            time.sleep(0.02)  # a poll of the process table, which tells no one when it changes
        speakers[0].kill()
        out, err = bot.communicate("!generate ann the lamp\n!quit\n", timeout=90)
        assert out.count("•") >= 2, err
        assert "• the lamp" in out
    finally:
        bot.kill()
    assert look(mynah, "SELECT status FROM requests") == [("done",), ("done",)]
