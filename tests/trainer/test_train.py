"""A training learns, repeats itself bit for bit, changes nothing but its LoRA, and says why it cannot."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainer import adapters, packing, recipe, train
from trainer.errors import Cancelled, failure
from trainer.files import sha256_of
from trainer.protocol import Evaluation, Post, Recipe, Sample, Stage, Step


def never():
    """A check that lets everything go on."""


@pytest.fixture
def run():
    """A function that trains in this process and returns the events, Done or Failed last."""

    def trained(job, check=never):
        events = []
        try:
            events.append(train.train(job, events.append, check, time.monotonic()))
        except Exception as error:
            events.append(failure(error))
        return events

    return trained


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
def test_it_learns_and_tells_of_it(run, job, shape, gpt2_folder):
    events = run(job(train=80, base="tiny-random" if shape == "llama" else gpt2_folder))
    done = events[-1]
    assert done.type == "done", done
    assert [stage.name for stage in of(Stage, events)] == ["base", "measure", "train", "sample", "save"]
    steps = of(Step, events)
    assert [step.step for step in steps] == list(range(1, steps[-1].steps + 1))
    assert 4 <= len(of(Evaluation, events)) <= 6
    assert [sample.step for sample in of(Sample, events)] == [look.step for look in of(Evaluation, events)[1:]]
    assert done.loss_after < done.loss_before - 0.1
    assert len(done.samples) == 5
    assert done.sha256 == sha256_of(Path(done.weights))
    assert done.bytes == Path(done.weights).stat().st_size
    assert done.details["adapter"]["fan_in_fan_out"] == (shape == "gpt2")
    assert "lm_head" not in done.details["adapter"]["target_modules"]
    assert len(done.details["adapter"]["target_modules"]) == (7 if shape == "llama" else 3)
    json.loads(done.to_json())


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
def test_the_loss_after_is_of_the_weights_on_disk(run, job, load, shape, gpt2_folder):
    spec = job(base="tiny-random" if shape == "llama" else gpt2_folder)
    done = run(spec)[-1]
    base = load(spec.recipe.base)
    rows = packing.pack(packing.sequences_of(base, [post.text for post in spec.report], 256), 256)
    plan = recipe.resolve(spec.recipe, 1000, base.context)
    assert train.evaluate(base, rows, plan, never) == done.loss_before
    adapters.add(base, None, "voice", done.details["adapter"], adapters.read(Path(done.weights), done.sha256))
    assert train.evaluate(base, rows, plan, never) == done.loss_after


def test_the_same_job_twice_gives_the_same_bytes(start, job):
    """In two processes, as the bot runs them."""
    digests = []
    for output in ("one", "two"):
        with start(job(output=output, seed=3, epochs=2)) as child:
            stdout, stderr = child.communicate()
        assert child.returncode == 0, stderr
        digests.append(json.loads(stdout.splitlines()[-1])["sha256"])
    assert digests[0] == digests[1]


def test_another_seed_gives_other_bytes(run, job):
    assert run(job(seed=1, epochs=1))[-1].sha256 != run(job(seed=2, epochs=1))[-1].sha256


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
def test_training_leaves_the_base_as_it_was(load, shape, gpt2_folder, job):
    base = load("tiny-random" if shape == "llama" else gpt2_folder)
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    spec = job()
    split = packing.sequences_of(base, [post.text for post in spec.train], 256)
    plan = recipe.resolve(replace(spec.recipe, epochs=1), packing.targets_in(split), base.context)
    wrapped = adapters.attach(base, adapters.settings_for(base, 4, 8), 0)
    learned = train.optimise(base, wrapped, split, packing.pack(split, 256), math.inf, plan, lambda _: None, never)
    after = {name.replace(".base_layer", ""): tensor for name, tensor in base.model.state_dict().items() if "lora_" not in name}
    assert learned.best_step > 0
    assert any(tensor.any() for name, tensor in learned.weights.items() if "lora_B" in name)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_it_stops_when_it_got_worse_twice_and_keeps_the_best(run, job, monkeypatch):
    looks = iter([5.0, 5.0, 4.0, 4.1, 4.2, 3.0, 3.0])  # report, stop at step 0, then after each quarter; the last is the report's
    monkeypatch.setattr(train, "evaluate", lambda *_: next(looks))
    *_, done = events = run(job(train=80, epochs=3))
    assert [look.loss for look in of(Evaluation, events)] == [5.0, 4.0, 4.1, 4.2]
    assert done.details["steps"] < done.details["steps_planned"]
    assert done.details["best_step"] == of(Evaluation, events)[1].step


def test_a_training_that_only_harms_returns_the_base(run, job, monkeypatch):
    looks = iter([5.0, 5.0, 6.0, 7.0, 5.0])
    monkeypatch.setattr(train, "evaluate", lambda *_: next(looks))
    done = run(job(epochs=3))[-1]
    assert done.details["best_step"] == 0
    weights = adapters.read(Path(done.weights), done.sha256)
    assert not any(tensor.any() for name, tensor in weights.items() if "lora_B" in name)


@pytest.mark.parametrize("where", [1, 3, 5])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_not_finite(run, job, monkeypatch, where, value):
    """Before training, at a step, and in an evaluation, by turns."""
    calls = 0
    honest = train.total_loss

    def loss(*arguments):
        nonlocal calls
        calls += 1
        return honest(*arguments) * (value if calls == where else 1)

    monkeypatch.setattr(train, "total_loss", loss)
    failed = run(job(epochs=3))[-1]
    assert failed.code == "not_finite"
    assert "learning rate" in failed.sentence


def test_a_gradient_that_is_no_number_is_not_finite(run, job, monkeypatch):
    honest = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *arguments: honest(*arguments) * math.nan)
    assert "gradient" in run(job())[-1].sentence


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
        ),
        MemoryError(),
    ],
)
def test_memory_that_runs_out_is_said(run, job, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(train, "total_loss", fail)
    failed = run(job())[-1]
    assert failed.code == "out_of_memory"
    assert "Memory ran out" in failed.sentence


def test_what_nobody_foresaw_is_internal_and_one_sentence(run, job, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("first line\nsecond line")

    monkeypatch.setattr(train, "total_loss", fail)
    failed = run(job())[-1]
    assert failed.code == "internal"
    assert "first line" in failed.sentence
    assert "\n" not in failed.sentence


@pytest.mark.parametrize("split", ["train", "stop", "report"])
@pytest.mark.parametrize("text", [[], [Post("a", "")]])
def test_an_empty_split_is_too_little_text(run, job, split, text):
    failed = run(replace(job(), **{split: text}))[-1]
    assert failed.code == "too_little_text"
    assert split in failed.sentence


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank": 0},
        {"epochs": 0},
        {"epochs": 10_000},
        {"learning_rate": -1.0},
        {"learning_rate": math.inf},
        {"learning_rate": 1e38},
        {"tokens_per_step": 0},
        {"seed": -1},
        {"method": "prayer"},
        {"device": "abacus"},
    ],
)
def test_a_recipe_that_cannot_be_meant_is_a_bad_job(run, job, wrong):
    failed = run(job(**wrong))[-1]
    assert failed.code == "bad_job"
    assert str(next(iter(wrong.values()))) in failed.sentence


def test_another_protocol_is_a_bad_job(run, job):
    assert run(replace(job(), protocol=99))[-1].code == "bad_job"


def test_an_output_that_cannot_be_made_is_found_out_before_the_work(run, job, tmp_path):
    (tmp_path / "file").touch()
    events = run(replace(job(), output=str(tmp_path / "file" / "out")))
    assert [event.type for event in events] == ["failed"]
    assert events[-1].code == "bad_job"


def test_it_can_be_cancelled_between_any_two_steps(run, job):
    calls = 0

    def check():
        nonlocal calls
        calls += 1
        if calls > 6:
            raise Cancelled("enough")

    assert run(job(), check)[-1].code == "cancelled"


def test_the_smallest_corpus_trains(run, job):
    done = run(job(train=1, stop=1, report=1))[-1]
    assert done.type == "done"


def test_a_lone_surrogate_and_a_nul_are_text_like_any_other(run, job):
    odd = [Post("a", "half a \ud83d pair"), Post("a", "\0\x1b[31m"), Post("a", "<|endoftext|>" * 3)]
    assert run(replace(job(), train=odd, stop=odd, report=odd))[-1].type == "done"


def test_the_recipe_follows_the_amount_of_text():
    epochs = {targets: recipe.resolve(Recipe(), targets, 2048).epochs for targets in (500, 10_000, 22_000, 300_000)}
    assert epochs == {500: 4, 10_000: 2, 22_000: 1, 300_000: 1}
    assert recipe.resolve(Recipe(epochs=7, learning_rate=0.5), 22_000, 2048).epochs == 7
    assert recipe.resolve(Recipe(tokens_per_step=512), 22_000, 2048).rows_per_step == 2
    assert recipe.resolve(Recipe(), 22_000, 128).row == 128


def test_the_learning_rate_rises_and_falls():
    factors = [recipe.learning_rate_factor(step, 100, 0.05) for step in range(100)]
    assert max(factors) == factors[4] == 1
    assert factors[:5] == sorted(factors[:5])
    assert factors[4:] == sorted(factors[4:], reverse=True)
    assert 0 <= factors[-1] < 0.01
    assert recipe.learning_rate_factor(0, 1, 0.05) == 1
