"""A training learns, repeats itself bit for bit, tells what it does, and says why it cannot."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.conftest import of
from trainer import frames, lora, loss, packing, recipe, train, weights
from trainer.errors import Cancelled
from trainer.files import sha256_of
from trainer.protocol import Evaluation, Note, Post, Recipe, Sample, Stage, Step


def test_it_learns_and_tells_of_it(run, job, base_name):
    events = run(job("an id", train=80, base=base_name))
    done = events[-1]
    assert done.type == "done", done
    assert {event.job for event in events} == {"an id"}
    assert [stage.name for stage in of(Stage, events)] == ["base", "measure", "train", "sample", "save"]
    steps = of(Step, events)
    assert [step.step for step in steps] == list(range(1, steps[-1].steps + 1))
    assert len(of(Evaluation, events)) == 1 + recipe.EVALUATIONS
    assert [sample.step for sample in of(Sample, events)] == [look.step for look in of(Evaluation, events)[1:]]
    assert done.loss_after < done.loss_before - 0.1
    assert len(done.samples) == 5
    assert done.sha256 == sha256_of(Path(done.weights))
    assert done.bytes == Path(done.weights).stat().st_size
    assert done.details["adapter"] == {"rank": 8, "scale": 2.0}
    assert done.details["posts"] == {"train": 80, "stop": 8, "report": 8}
    assert done.details["resumed_at"] == 0
    assert done.details["seconds"].keys() == {"base", "measure", "train", "sample", "save"}
    json.loads(done.to_json())


def measured(base, posts):
    """Return the mean loss of posts, each alone in its row."""
    sequences = frames.framed(base, base.encode([post.text for post in posts]), [frames.frame(base)] * len(posts), 256)
    with torch.no_grad():
        each = [loss.losses(base, packing.collate([[sequence]], base.separator, base.device)) for sequence in sequences]
    return torch.cat(each).mean().item()


def test_the_losses_are_those_of_the_base_and_of_the_weights_on_disk(trained, job, load, base_name):
    spec = job(base=base_name)
    done = trained(spec)
    base = load(base_name)
    assert done.loss_before == pytest.approx(measured(base, spec.report), abs=1e-5)
    assert done.details["stop_loss"]["before"] == pytest.approx(measured(base, spec.stop), abs=1e-5)
    voice = weights.fit(weights.read(Path(done.weights), done.sha256).lora, base)
    with lora.wearing(base.layers, [voice], done.details["adapter"]["scale"]):
        assert done.loss_after == pytest.approx(measured(base, spec.report), abs=1e-5)
        assert done.loss_after < done.loss_before


def test_the_same_job_twice_gives_the_same_bytes(start, job, trained, last):
    """In a process of its own, as the bot runs it, and in this one."""
    here = trained(job("here", seed=3, epochs=2))
    with start(job("there", seed=3, epochs=2)) as child:
        stdout, stderr = child.communicate()
    assert child.returncode == 0, stderr
    assert last(stdout)["sha256"] == here.sha256


def test_another_seed_gives_other_bytes(trained, job):
    assert trained(job(seed=1, epochs=1)).sha256 != trained(job(seed=2, epochs=1)).sha256


@pytest.fixture
def looks(monkeypatch):
    """A function that says what is found when somebody looks: report and stop before, stop after each part, report after."""

    def become(*losses):
        found = iter(losses)
        monkeypatch.setattr(train._Order, "_evaluate", lambda *_: next(found))

    return become


def test_it_stops_when_it_got_worse_twice_and_keeps_the_best(run, job, looks, monkeypatch):
    monkeypatch.setattr(recipe, "EVALUATIONS", 5)
    kept = []
    honest = weights.save
    monkeypatch.setattr(weights, "save", lambda tensors, folder: kept.append(tensors) or honest(tensors, folder))
    looks(5.0, 5.0, 4.0, 4.1, 4.2, 3.0)
    states = {}

    def watch(step, model):
        worn = model.model.layers[0].self_attn.q_proj.worn
        states[step] = worn[0][0].clone(), worn[1][0].clone()

    *_, done = events = run(job(train=80, epochs=3), watch=watch)
    assert [look.loss for look in of(Evaluation, events)] == [5.0, 4.0, 4.1, 4.2]
    assert done.details["steps"] < done.details["steps_planned"]
    best = done.details["best_step"]
    assert best == of(Evaluation, events)[1].step
    stored = weights.unpack(kept[0]).lora["model.layers.0.self_attn.q_proj"]
    distances = {step: (stored[1] @ stored[0] - b @ a).norm().item() for step, (a, b) in states.items()}
    assert min(distances, key=distances.get) == best


def test_a_worse_look_is_forgiven_when_the_next_is_the_best_yet(run, job, looks, monkeypatch):
    monkeypatch.setattr(recipe, "EVALUATIONS", 5)
    looks(5.0, 5.0, 4.0, 4.1, 3.9, 4.1, 3.8, 3.0)
    *_, done = events = run(job(train=80, epochs=3))
    assert [look.loss for look in of(Evaluation, events)] == [5.0, 4.0, 4.1, 3.9, 4.1, 3.8]
    assert done.details["best_step"] == done.details["steps"] == done.details["steps_planned"]


def test_a_learning_rate_that_harms_is_halved_as_if_it_had_been_that_from_the_beginning(run, job, looks):
    looks(5.0, 5.0, 6.0, 5.5, 4.0, 3.9, 3.8, 3.0)
    *_, done = events = run(job(learning_rate=0.02))
    assert [note.sentence.rpartition(" ")[2] for note in of(Note, events)] == ["0.01.", "0.005."]
    assert done.details["learning_rate"] == 0.005
    first, second, third = sorted({look.step for look in of(Evaluation, events)} - {0})
    assert [look.step for look in of(Evaluation, events)] == [0, first, first, first, second, third]
    looks(5.0, 5.0, 4.0, 3.9, 3.8, 3.0)
    assert run(job("lower", learning_rate=0.005))[-1].sha256 == done.sha256


def test_a_training_that_helped_once_does_not_begin_again(run, job, looks):
    looks(5.0, 5.0, 4.0, 6.0, 6.0, 3.0)
    *_, done = events = run(job())
    assert not of(Note, events)
    assert done.details["best_step"] > 0


def test_a_training_that_only_harms_returns_the_base(trained, job, looks):
    looks(5.0, 5.0, *[6.0] * recipe.MOST_HALVINGS, 6.0, 7.0, 5.0)
    done = trained(job(epochs=3))
    assert done.details["best_step"] == 0
    tensors = load_file(done.weights)
    assert not any(tensor.any() for name, tensor in tensors.items() if "lora_B" in name)
    assert any("lora_B" in name for name in tensors)


@pytest.mark.parametrize(("where", "what"), [(1, "held-out loss"), (3, "at step 1"), (5, "at step 3")])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_not_finite(run, job, monkeypatch, where, what, value):
    """Before training, and at two steps: 8 posts are two rows, one batch."""
    calls = 0
    honest = train.losses

    def spoilt(*arguments):
        nonlocal calls
        calls += 1
        return honest(*arguments) * (value if calls == where else 1)

    monkeypatch.setattr(train, "losses", spoilt)
    failed = run(job(epochs=3))[-1]
    assert failed.code == "not_finite"
    assert "learning rate" in failed.sentence
    assert what in failed.sentence


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

    monkeypatch.setattr(train, "losses", fail)
    failed = run(job())[-1]
    assert failed.code == "out_of_memory"
    assert "Memory ran out" in failed.sentence


def test_what_nobody_foresaw_is_internal_and_one_sentence(run, job, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("first line\nsecond line")

    monkeypatch.setattr(train, "losses", fail)
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
        {"answers": -0.1},
        {"answers": math.nan},
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
    assert [event.type for event in events] == ["stage", "failed"]
    assert events[-1].code == "bad_job"


@pytest.mark.parametrize("calls", [0, 1, 2, 5, 8])
def test_it_can_be_cancelled_anywhere(run, job, calls):
    left = calls

    def check():
        nonlocal left
        left -= 1
        if left < 0:
            raise Cancelled("enough")

    failed = run(job(), check=check)[-1]
    assert (failed.code, failed.sentence) == ("cancelled", "enough")


def test_the_smallest_corpus_trains(trained, job):
    trained(job(train=1, stop=1, report=1))


def test_a_lone_surrogate_and_a_nul_are_text_like_any_other(trained, job):
    odd = [Post("a", "half a \ud83d pair"), Post("a", "\0\x1b[31m"), Post("a\ud83d", "<|endoftext|>" * 3, "\ud83d?")]
    trained(replace(job(answers=1.0), train=odd, stop=odd, report=odd))


def test_held_out_splits_are_looked_at_in_part_and_by_seed(trained, job, monkeypatch):
    monkeypatch.setattr(recipe, "HELD_OUT", {"stop": 200, "report": 400})
    spec = job(train=20, stop=100, report=100, epochs=1)
    done = trained(spec)
    longest = max(len(post.text.encode()) + 1 for post in spec.stop + spec.report)
    assert 200 <= done.details["targets"]["stop"] < 200 + longest
    assert 400 <= done.details["targets"]["report"] < 400 + longest
    assert trained(spec).loss_before == done.loss_before
    assert trained(job(train=20, stop=100, report=100, epochs=1, seed=1)).loss_before != done.loss_before


def test_the_recipe_follows_the_amount_of_text():
    epochs = {targets: recipe.resolve(Recipe(), targets, 2048).epochs for targets in (500, 7_500, 11_000, 22_000, 300_000)}
    assert epochs == {500: 4, 7_500: 3, 11_000: 2, 22_000: 1, 300_000: 1}
    assert recipe.resolve(Recipe(epochs=7, learning_rate=0.5), 22_000, 2048).epochs == 7
    assert recipe.resolve(Recipe(tokens_per_step=1024), 22_000, 2048).rows_per_step == 4
    assert recipe.resolve(Recipe(tokens_per_step=1), 22_000, 2048).rows_per_step == 1
    assert recipe.resolve(Recipe(), 22_000, 128).row == 128
    assert recipe.resolve(Recipe(rank=4), 22_000, 128).stored_rank == 4
    assert recipe.resolve(Recipe(rank=64), 22_000, 128).stored_rank == recipe.STORED_RANK


def test_the_learning_rate_rises_and_falls():
    factors = [recipe.learning_rate_factor(step, 100, 0.05, 0.5) for step in range(100)]
    assert factors[:5] == [0.2, 0.4, 0.6, 0.8, 1]
    assert set(factors[4:50]) == {1}
    assert factors[49:] == pytest.approx([1 - n / 51 for n in range(51)])
    assert recipe.learning_rate_factor(0, 1, 0.05, 0.5) == 1
