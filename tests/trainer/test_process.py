"""Real processes: asked to stop, bereft of a parent, given nonsense; each says so, and leaves nobody behind."""

import json
import os
import signal

import pytest


def test_sigint_lets_the_step_end_and_says_cancelled(start, job, last):
    with start(job(train=200, epochs=100)) as child:
        next(line for line in child.stdout if '"type": "step"' in line)
        child.send_signal(signal.SIGINT)
        rest, stderr = child.communicate()
    assert child.returncode == 1
    assert last(rest)["code"] == "cancelled"
    assert "Traceback" not in stderr


def test_sigterm_ends_at_once(start, job):
    with start(job(train=200, epochs=100)) as child:
        next(line for line in child.stdout if '"type": "step"' in line)
        child.send_signal(signal.SIGTERM)
        rest, _ = child.communicate()
    assert child.returncode == -signal.SIGTERM
    assert '"failed"' not in rest


def pip_of(child):
    """Wait for the hanging pip and return its pid."""
    return int(next(line for line in child.stderr if line.startswith("PIP")).split()[1])


def test_a_cut_lifeline_ends_the_grandchildren_too(start, unfetched, pip_that_hangs):
    with start(unfetched, lifeline=True, **pip_that_hangs) as child:
        pip_of(child)
        child.stdin.close()
        child.stderr.read()  # ends when nobody holds the pipe any more: neither the trainer nor its pip
        assert child.wait() == -signal.SIGKILL


def test_a_cut_lifeline_spares_a_group_that_is_not_its_own(start, unfetched, pip_that_hangs):
    with start(unfetched, lifeline=True, own_group=False, **pip_that_hangs) as child:
        pip = pip_of(child)
        child.stdin.close()
        assert child.wait() == 1  # and this test, which leads the group, lives
        os.kill(pip, signal.SIGKILL)


def test_sigint_while_fetching_ends_the_fetch(start, unfetched, pip_that_hangs, last):
    with start(unfetched, **pip_that_hangs) as child:
        pip_of(child)
        child.send_signal(signal.SIGINT)
        child.stderr.read()
        assert last(child.stdout.read())["code"] == "cancelled"


def test_a_lifeline_that_holds_changes_nothing(start, job, last):
    with start(job(epochs=1), lifeline=True) as child:
        stdout = child.stdout.read()
    assert last(stdout)["type"] == "done"


def test_every_line_of_stdout_is_a_message_whatever_libraries_print(start, job, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, os\n"
        "class Loud:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'peft': print('NOISE'); os.write(1, b'NOISE\\n'); os.system('echo NOISE')\n"
        "sys.meta_path.insert(0, Loud())\n"
    )
    with start(job(epochs=1), PYTHONPATH=str(tmp_path)) as child:
        stdout, stderr = child.communicate()
    assert stderr.count("NOISE") == 3
    assert [json.loads(line)["type"] for line in stdout.splitlines()][-1] == "done"


@pytest.mark.parametrize("content", [None, "", "{", '{"type": "stage", "name": "base"}', '{"type": "job"}', b"\xff\xfe", "\0"])
def test_a_file_that_holds_no_job_is_a_bad_job(start, tmp_path, content, last):
    path = tmp_path / "odd.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with start(path) as child:
        stdout, stderr = child.communicate()
    assert child.returncode == 1
    assert len(stdout.splitlines()) == 1
    failed = last(stdout)
    assert failed["code"] == "bad_job"
    assert str(path) in failed["sentence"]
    assert "Traceback" not in stdout
    assert "torch" not in stderr
