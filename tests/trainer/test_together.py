"""Several jobs at once are each as if alone, one after another each as if first, and with less memory each as if with more."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.conftest import ends, make_job, of, run_jobs
from trainer import lora, train
from trainer.learner import Learner
from trainer.protocol import Done, Note, Post, Step

#: Of rank 4 a LoRA is stored uncut, so that its levels can be compared one by one.
SIZES = {"small": {"train": 30, "seed": 1}, "large": {"train": 90, "seed": 2}, "other": {"train": 60, "seed": 3}}


def three_jobs(folder, cache):
    """Three jobs of different posts, sizes and seeds, of two rows a step."""
    same = {"rank": 4, "epochs": 2, "tokens_per_step": 512}
    return [make_job(folder, cache, name, data_seed=i, **same, **sizes) for i, (name, sizes) in enumerate(SIZES.items())]


@pytest.fixture
def three(tmp_path, cache):
    """`three_jobs`, in the test's own folder."""
    return three_jobs(tmp_path, cache)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, cache):
    """What each of the three becomes alone."""
    return {job.id: run_jobs(job)[-1] for job in three_jobs(tmp_path_factory.mktemp("alone"), cache)}


def renamed(job, folder):
    """The same job, with its results elsewhere."""
    return replace(job, output=f"{job.output}-{folder}")


def assert_alike(one, other):
    """The two ended alike: up to rounding."""
    assert one.type == other.type == "done", (one, other)
    for name in ("steps", "best_step", "recipe", "targets"):
        assert one.details[name] == other.details[name]
    assert one.loss_before == pytest.approx(other.loss_before, abs=1e-3)
    assert one.loss_after == pytest.approx(other.loss_after, abs=1e-3)
    assert one.loss_after < one.loss_before
    ours, theirs = load_file(one.weights), load_file(other.weights)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        if tensor.dtype == torch.int8:
            assert (tensor.int() - theirs[name].int()).abs().max() <= 1, name
        else:
            torch.testing.assert_close(tensor, theirs[name], rtol=1e-3, atol=1e-6)


def test_many_are_each_as_if_alone_and_end_when_they_are_done(run, three, alone):
    events = run(*three)
    found = ends(events)
    for name, done in alone.items():
        assert_alike(found[name], done)
        assert len([step for step in of(Step, events) if step.job == name]) == done.details["steps"]
    assert [event.job for event in of(Done, events)] == ["small", "other", "large"]
    assert len({done.sha256 for done in found.values()}) == 3


def test_gpt2_too(run, job, trained, gpt2_folder):
    jobs = [job(name, data_seed=i, base=gpt2_folder, rank=4, epochs=1) for i, name in enumerate(("one", "two"))]
    found = ends(run(*jobs))
    for each in jobs:
        assert_alike(found[each.id], trained(renamed(each, "alone")))


def test_one_with_too_little_text_ends_no_other(run, three, alone):
    three[1] = replace(three[1], stop=[Post("a", "")])
    found = ends(run(*three))
    assert found["large"].code == "too_little_text"
    assert_alike(found["small"], alone["small"])
    assert_alike(found["other"], alone["other"])


def test_one_whose_weights_become_no_numbers_ends_no_other(run, three, alone, monkeypatch):
    """It stands in one batch with the others when that happens."""
    honest = Learner.advance

    def advance(self, total, count):
        honest(self, total, count)
        if self.job.id == "large" and self.found.step == 2:
            self.weights.parameters[0].detach().fill_(math.nan)

    monkeypatch.setattr(Learner, "advance", advance)
    events = run(*three)
    found = ends(events)
    assert found["large"].code == "not_finite"
    assert "at step 3" in found["large"].sentence
    assert_alike(found["small"], alone["small"])
    assert_alike(found["other"], alone["other"])


def test_one_that_is_cancelled_ends_no_other(run, three, alone):
    events = []

    def cancelled(name):
        return name == "other" and any(step.job == "other" and step.step == 2 for step in of(Step, events))

    run(*three, events=events, cancelled=cancelled)
    found = ends(events)
    assert found["other"].code == "cancelled"
    assert max(step.step for step in of(Step, events) if step.job == "other") == 2
    assert_alike(found["small"], alone["small"])
    assert_alike(found["large"], alone["large"])


def test_jobs_that_do_not_go_together_are_all_refused(run, job):
    one = job("one")
    for others in (
        [job("two", rank=5)],
        [replace(job("two"), cache="/elsewhere")],
        [replace(job("two"), protocol=1)],
        [job("two"), job("three", epochs=0)],
    ):
        found = ends(run(one, *others))
        assert {failed.code for failed in found.values()} == {"bad_job"}
        assert len(found) == 1 + len(others)
    assert "apart" in ends(run(job("one", method="full"), job("two", method="full")))["two"].sentence
    assert "same id" in ends(run(one, replace(one, train=[])))["one"].sentence


# ------------------------------------------------------------------- warm = cold


@pytest.mark.parametrize("before", ["another voice", "another base", "a full model", "one that failed", "many"])
def test_what_was_trained_before_does_not_matter(run, job, trained, before, gpt2_folder, monkeypatch):
    """Bit for bit, in one memory."""
    kept = train.Bases()
    match before:
        case "another voice":
            trained(job("first", data_seed=5, seed=5, epochs=1), kept=kept)
        case "another base":
            trained(job("first", base=gpt2_folder, epochs=1), kept=kept)
        case "a full model":
            trained(job("first", method="full", learning_rate=1e-3, epochs=1), kept=kept)
        case "many":
            run(job("first", epochs=1), job("second", seed=1, epochs=1), kept=kept)
        case _:
            with monkeypatch.context() as patch:
                patch.setattr(train, "losses", lambda *_: 1 / 0)
                assert run(job("first"), kept=kept)[-1].code == "internal"
    spec = job("warm", seed=3, epochs=1)
    warm, cold = trained(spec, kept=kept), trained(renamed(spec, "cold"))
    assert warm.sha256 == cold.sha256
    assert (warm.loss_before, warm.loss_after, warm.samples) == (cold.loss_before, cold.loss_after, cold.samples)


def test_a_base_is_loaded_once(run, job, monkeypatch):
    kept = train.Bases()
    run(job(epochs=1), kept=kept)
    monkeypatch.setattr(train.bases, "load", None)
    assert run(job(epochs=1), kept=kept)[-1].type == "done"


# ------------------------------------------------------------- memory that runs out


@pytest.fixture
def memory(monkeypatch):
    """A function that sets how many rows fit while gradients are wanted; more are out of memory."""
    seen = []

    def become(most):
        honest = train.losses

        def losses(base, batch):
            if torch.is_grad_enabled():
                seen.append(len(batch.tokens))
                if len(batch.tokens) > most:
                    raise torch.OutOfMemoryError("CUDA out of memory.")
            return honest(base, batch)

        monkeypatch.setattr(train, "losses", losses)
        return seen

    return become


@pytest.mark.parametrize(("most", "tried"), [(5, [6, 3]), (2, [6, 3]), (1, [6, 3, 1])])
def test_with_less_memory_it_goes_on_with_fewer_rows_and_the_same_result(run, three, alone, memory, most, tried):
    """Three jobs, two rows of each a step."""
    seen = memory(most)
    events = run(*three)
    found = ends(events)
    for name, done in alone.items():
        assert_alike(found[name], done)
        notes = [note.sentence for note in of(Note, events) if note.job == name]
        assert len(notes) == len(tried) - 1
        for (before, after), note in zip(pairwise(tried), notes, strict=True):
            assert f"with {after} rows at once instead of {before}" in note
    assert sum(rows > most for rows in seen) <= len(notes)


def test_not_even_one_row_fits(run, job, memory):
    memory(0)
    events = run(job())
    assert events[-1].code == "out_of_memory"
    assert not of(Step, events)


def test_gradients_of_a_part_that_was_given_up_count_for_nothing(trained, job, monkeypatch):
    """Memory runs out in the middle of a backward pass, when the upper layers have theirs, and again in the second part of a step."""
    spec = job(train=120, tokens_per_step=1024, rank=4, epochs=2)
    undisturbed = trained(renamed(spec, "undisturbed"))
    calls = 0
    honest = lora._LoraProduct.backward

    def backward(ctx, *gradients):
        nonlocal calls
        calls += 1
        if calls in (14 * 2 + 9, 14 * 2 + 9 + 14 + 5):  # of 14 layers: in the third step; then in its second part
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return honest(ctx, *gradients)

    monkeypatch.setattr(lora._LoraProduct, "backward", staticmethod(backward))
    assert_alike(trained(spec), undisturbed)
    assert calls > 14 * 3
