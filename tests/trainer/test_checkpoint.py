"""A training that was cut off goes on where it stood and ends as if nothing had been; a checkpoint that is none of its own is left."""

import json
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.trainer.conftest import ends, of
from trainer import learner, recipe
from trainer.errors import Cancelled
from trainer.learner import CHECKPOINT
from trainer.protocol import Evaluation, Note, Post, Step


@pytest.fixture
def job(job):
    """Jobs of two rows a step."""
    return partial(job, tokens_per_step=512)


def test_a_killed_process_started_again_ends_with_the_same_bytes(start, job, trained, last, monkeypatch):
    monkeypatch.undo()  # lines as long as the other process says them
    spec = job(train=80, epochs=2, seed=4)
    undisturbed = trained(replace(spec, output=spec.output + "-undisturbed"))
    with start(spec, module=("tests.trainer.cut_off", "5")) as child:
        stdout, _ = child.communicate()
        assert child.returncode == -signal.SIGKILL
        assert last(stdout)["step"] == 5
    assert [path.name for path in Path(spec.output).iterdir()] == [CHECKPOINT]
    with start(spec) as child:
        stdout, stderr = child.communicate()
        assert child.returncode == 0, stderr
    done = last(stdout)
    assert done["details"]["resumed_at"] == 5
    assert done["sha256"] == undisturbed.sha256
    assert done["loss_before"] == undisturbed.loss_before
    assert done["loss_after"] == undisturbed.loss_after
    assert done["samples"] == undisturbed.samples
    assert next(json.loads(line)["step"] for line in stdout.splitlines() if '"type": "step"' in line) == 6
    assert [path.name for path in Path(spec.output).iterdir()] == ["adapter.safetensors"]


@pytest.fixture
def often(monkeypatch):
    """A checkpoint after each step."""
    monkeypatch.setattr(learner, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(learner, "CHECKPOINT_SHARE", 0)


@pytest.fixture
def cut(run):
    """A function that trains until one job has begun again so often and then taken a step."""

    def until(step, *jobs, halvings=0, **options):
        events = []

        def check():
            begun = [place for place, event in enumerate(events) if isinstance(event, Note)]
            if len(begun) < halvings:
                return
            since = events[begun[halvings - 1] + 1 :] if halvings else events
            if step == 0 or any(one.step >= step for one in of(Step, since)):
                raise Cancelled("cut off")

        run(*jobs, check=check, events=events, **options)
        assert {end.code for end in ends(events).values()} == {"cancelled"}

    return until


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("times", [[1], [8], [2, 5, 6]])
def test_cut_off_anywhere_and_how_often(job, cut, trained, method, times, base_name):
    """Before the first look, after one, in another epoch, and again and again."""
    spec = job(base=base_name, method=method, learning_rate=1e-3, epochs=2)
    undisturbed = trained(replace(spec, output=spec.output + "-undisturbed"))
    assert undisturbed.details["steps"] > max(times)
    for step in times:
        cut(step, spec)
    done = trained(spec)
    assert done.details["resumed_at"] == times[-1]
    assert done.sha256 == undisturbed.sha256
    for name in ("steps", "best_step", "stop_loss", "targets"):
        assert done.details[name] == undisturbed.details[name]
    assert not Path(spec.output, CHECKPOINT).exists()


@pytest.mark.usefixtures("often")
def test_the_best_and_the_patience_are_remembered(job, cut, trained, run, monkeypatch):
    monkeypatch.setattr(recipe, "EVALUATIONS", 5)
    honest = learner.Learner.look
    # Whatever is found: the second look is the best, and the next two are worse.
    monkeypatch.setattr(learner.Learner, "look", lambda self, loss: honest(self, loss / 2 + abs(self.found.step - 4) / 9))
    spec = job(epochs=2, learning_rate=1e-4)
    undisturbed = trained(replace(spec, output=spec.output + "-undisturbed"))
    assert undisturbed.details["best_step"] == 4
    assert undisturbed.details["steps"] == 8 < undisturbed.details["steps_planned"]
    cut(7, spec)
    *_, done = events = run(spec)
    assert (done.details["resumed_at"], done.details["best_step"], done.details["steps"]) == (7, 4, 8)
    assert done.sha256 == undisturbed.sha256
    assert [look.step for look in of(Evaluation, events)] == [0, 8]


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(("halvings", "step"), [(0, 3), (1, 0), (1, 2), (1, 6)])
def test_cut_off_before_and_after_it_began_again(job, cut, trained, monkeypatch, halvings, step):
    honest = learner.Learner.look
    # Whatever is found: the first look is worse than the beginning.
    monkeypatch.setattr(learner.Learner, "look", lambda self, loss: honest(self, loss + 9 * (not self.found.halvings)))
    spec = job(epochs=2)
    undisturbed = trained(replace(spec, output=spec.output + "-undisturbed"))
    assert undisturbed.details["learning_rate"] == recipe.LEARNING_RATE["lora"] / 2
    cut(step, spec, halvings=halvings)
    done = trained(spec)
    assert done.details["resumed_at"] == (step or undisturbed.details["steps_planned"] // 3)
    assert done.details["steps"] == undisturbed.details["steps"]
    assert done.sha256 == undisturbed.sha256


@pytest.mark.usefixtures("often")
def test_several_that_were_cut_off_together_go_on_together(job, cut, run, trained):
    jobs = [job("one", epochs=2, rank=4), job("two", train=70, seed=2, epochs=2, rank=4)]
    alone = {each.id: trained(replace(each, output=each.output + "-alone")) for each in jobs}
    cut(4, *jobs)
    for name, done in ends(run(*jobs)).items():
        assert done.details["resumed_at"] in (3, 4)
        assert done.loss_after == pytest.approx(alone[name].loss_after, abs=1e-3)


@pytest.fixture
def stale(often, job, cut):
    """A job that was cut off, with its checkpoint."""
    spec = job(epochs=2)
    cut(3, spec)
    return spec


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: replace(spec, recipe=replace(spec.recipe, seed=1)),
        lambda spec: replace(spec, recipe=replace(spec.recipe, epochs=3)),
        lambda spec: replace(spec, train=[*spec.train[:-1], Post("mynah", "something else")]),
        lambda spec: replace(spec, stop=spec.stop[:-1]),
    ],
)
def test_another_jobs_checkpoint_is_ignored(stale, trained, change):
    other = change(stale)
    done = trained(other)
    assert done.details["resumed_at"] == 0
    assert done.sha256 == trained(replace(other, output=other.output + "-elsewhere")).sha256


def test_the_same_job_by_another_name_goes_on(stale, trained, tmp_path):
    Path(stale.output).rename(tmp_path / "moved")
    assert trained(replace(stale, id="again", output=str(tmp_path / "moved"))).details["resumed_at"] == 3


@pytest.mark.parametrize("damage", [lambda _: b"", lambda whole: whole[: len(whole) // 2], lambda _: b"x" * 99, lambda whole: whole[:9]])
def test_a_damaged_checkpoint_is_ignored(stale, trained, damage):
    path = Path(stale.output, CHECKPOINT)
    path.write_bytes(damage(path.read_bytes()))
    done = trained(stale)
    assert done.details["resumed_at"] == 0
    assert not path.exists()
    assert done.sha256 == trained(replace(stale, output=stale.output + "-elsewhere")).sha256


def test_a_checkpoint_is_not_written_more_often_than_it_is_worth(job, trained, monkeypatch):
    written = []
    honest = learner.write_atomically
    monkeypatch.setattr(learner, "write_atomically", lambda path, content: written.append(path) or honest(path, content))
    trained(job(epochs=1))
    assert not written  # the training took no 12 seconds
    clock = iter(range(0, 1_000_000, 5))
    monkeypatch.setattr(learner.time, "monotonic", lambda: float(next(clock)))
    trained(job("slow", epochs=1))
    assert written
