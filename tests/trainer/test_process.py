"""Real processes: asked to stop, bereft of a parent, given nonsense; each says so, and leaves nobody behind."""

import gc
import os
import signal
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest

from tests.trainer.conftest import ROOT, end, pip_of, tell
from trainer import process
from trainer.process import Stop
from trainer.protocol import Cancel, Order, parse


def test_stop_lets_go_on_until_it_was_asked():
    Stop().check()


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


@pytest.mark.parametrize("stay", [False, True])
def test_a_cut_lifeline_ends_the_grandchildren_too(start, unfetched, written, pip_that_hangs, stay):
    with start(*[] if stay else [unfetched], stay=stay, lifeline=not stay, **pip_that_hangs) as child:
        if stay:
            tell(child, Order([written(unfetched)]))
        pip_of(child)
        child.stdin.close()
        child.stderr.read()  # ends when nobody holds the pipe any more: neither the trainer nor its pip
        assert child.wait() == -signal.SIGKILL


def test_a_cut_lifeline_spares_a_group_that_is_not_its_own(start, unfetched, pip_that_hangs):
    with start(unfetched, lifeline=True, own_group=False, **pip_that_hangs) as child:
        pip = pip_of(child)
        child.stdin.close()
        assert child.wait() == 1  # and this test, which leads the group, lives
        end(pip)


def test_sigint_while_fetching_ends_the_fetch(start, unfetched, pip_that_hangs, last):
    with start(unfetched, **pip_that_hangs) as child:
        pip_of(child)
        child.send_signal(signal.SIGINT)
        child.stderr.read()
        assert last(child.stdout.read())["code"] == "cancelled"


def test_a_parent_that_is_there_may_cancel_one_job_and_no_other(start, job):
    with start(job("doomed", train=200, epochs=20), job("spared", seed=1, epochs=20), lifeline=True) as child:
        next(line for line in child.stdout if '"type": "step"' in line)
        tell(child, Cancel("doomed"))
        ended = {event.job: event for event in map(parse, child.stdout) if event.type in ("done", "failed")}
        assert child.wait() == 1
    assert ended.keys() == {"doomed", "spared"}
    assert ended["doomed"].code == "cancelled"
    assert ended["spared"].type == "done"


def test_every_line_of_stdout_is_a_message_whatever_libraries_print(start, job, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, os\n"
        "class Loud:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'safetensors': print('NOISE'); os.write(1, b'NOISE\\n'); os.system('echo NOISE')\n"
        "sys.meta_path.insert(0, Loud())\n"
    )
    with start(job(epochs=1), PYTHONPATH=str(tmp_path)) as child:
        stdout, stderr = child.communicate()
    assert stderr.count("NOISE") == 3
    assert [parse(line).type for line in stdout.splitlines()][-1] == "done"


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


PARENT = """
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "trainer", "--stay"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
child.stdin.write(b'{"type": "order", "files": []}\\n')
child.stdin.flush()
while b"ready" not in child.stdout.readline():
    pass
os.killpg(child.pid, signal.SIGSTOP)
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_trainer_that_stands_still_ends_with_its_parent():
    parent = subprocess.run([sys.executable, "-c", PARENT], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    trainer = int(parent.stdout)
    try:
        assert psutil.wait_procs([psutil.Process(trainer)], timeout=20)[0]
    except psutil.NoSuchProcess:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(trainer, signal.SIGKILL)


def test_the_collector_rests_while_libraries_are_imported_and_works_after_it_also_where_one_is_missing():
    with process.imports():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), process.imports():
        raise ImportError
    assert gc.isenabled()
    gc.unfreeze()
