"""A training that starts from an earlier version goes on from it, and one of all weights is stored, spoken with, or refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.trainer.conftest import Asked, never, of
from tests.trainer.test_train import measured
from trainer import decoding, lora, trainable, weights
from trainer.protocol import Evaluation, Sampling, SpeechRequest
from trainer.trainable import load_full


def following(spec, done, name="second", **changes):
    """The same job anew, from what it has become."""
    start = {"start": done.weights, "start_sha256": done.sha256, "start_adapter": done.details["adapter"] or {}}
    return replace(spec, id=name, output=f"{spec.output}-{name}", **start | changes)


@pytest.mark.parametrize("rank", [4, 8, 16])
def test_it_begins_with_what_the_version_knows(job, run, trained, load, base_name, rank):
    """Whatever the rank that it is trained with now; and the loss before is the base's all the same."""
    first = job(base=base_name, epochs=2, rank=8)
    done = trained(first)
    base = load(base_name)
    voice = weights.cut(weights.fit(weights.read(Path(done.weights), done.sha256).lora, base), rank)
    spec = following(first, done, recipe=replace(first.recipe, rank=rank, epochs=1))
    *_, again = events = run(spec)
    with lora.wearing(base.layers, [voice], 2.0):
        wanted = measured(base, spec.stop)
    assert of(Evaluation, events)[0].loss == pytest.approx(wanted, abs=1e-5)
    assert wanted < done.details["stop_loss"]["before"]
    assert again.loss_before == pytest.approx(done.loss_before, abs=1e-6)
    assert again.details["start"] == done.sha256
    assert again.details["best_step"] > 0
    assert again.loss_after < again.loss_before


@pytest.mark.parametrize("rank", [8, 16])
def test_an_imported_adapter_keeps_its_own_scale(job, run, load, tmp_path, rank):
    """peft's alpha / r is what its maker chose, and its rank, too: it begins as it speaks, as near as the rank allows."""
    spec = job(epochs=1, rank=rank)
    base = load(spec.recipe.base)
    source = torch.Generator().manual_seed(5)
    shapes = lora.shapes(base.layers, 12)
    made = {name: tuple(torch.randn(*shape, generator=source) * 0.05 for shape in pair) for name, pair in shapes.items()}
    path, sha256, _ = weights.save(weights.pack(made), tmp_path)
    start = {"start": str(path), "start_sha256": sha256, "start_adapter": {"rank": 12, "scale": 0.5}}
    events = run(replace(spec, **start))
    voice = weights.cut(weights.fit(weights.read(path, sha256).lora, base), rank)
    with lora.wearing(base.layers, [voice], 0.5):
        wanted = measured(base, spec.stop)
    assert of(Evaluation, events)[0].loss == pytest.approx(wanted, abs=1e-5)
    assert abs(wanted - measured(base, spec.stop)) > 1e-3


def test_a_version_is_known_by_its_hash_and_not_by_its_place(job, trained, tmp_path):
    first = job(epochs=1)
    done = trained(first)
    here = trained(following(first, done))
    (tmp_path / "elsewhere").write_bytes(Path(done.weights).read_bytes())
    there = trained(following(first, replace(done, weights=str(tmp_path / "elsewhere")), "third"))
    assert here.sha256 == there.sha256 != done.sha256


def test_what_is_no_version_of_this_base_is_refused(job, run, trained, gpt2_folder):
    first = job(epochs=1)
    done = trained(first)
    gpt2 = trained(job("gpt2", base=gpt2_folder, epochs=1))
    full = trained(job("full", method="full", epochs=1))
    for code, words, start in (
        ("bad_weights", "do not fit the base tiny-random", gpt2),
        ("bad_weights", "sha256", replace(done, sha256="0" * 64)),
        ("bad_weights", "cannot be read", replace(done, weights="/nowhere")),
        ("bad_job", "full model", full),
    ):
        failed = run(following(first, start))[-1]
        assert failed.code == code
        assert words in failed.sentence


# ---------------------------------------------------------------------- method full


@pytest.fixture
def full(job, base_name):
    """A job that trains every weight."""
    return job(base=base_name, method="full", learning_rate=1e-3, epochs=2)


def request_of(spec, done, **changes):
    """What lets a version speak."""
    asked = SpeechRequest(
        "id", spec.recipe.base, done.weights, done.sha256, done.details, "my", 3, 1, Sampling(max_tokens=20), spec.cache, "cpu"
    )
    return replace(asked, **changes)


def spoken(*requests):
    """What a speaker answers, asked one after another: the texts of each request, in order."""
    answers = []
    with Asked() as asked:
        for request in requests:
            texts, end = asked(request)
            assert end.type == "spoken"
            answers.append(texts)
    return answers


def test_every_weight_learns_is_stored_and_speaks(full, trained, load, base_name):
    done = trained(full)
    assert done.loss_after < done.loss_before - 0.1
    assert done.details["adapter"] is None
    assert done.details["recipe"]["method"] == "full"
    base = load(base_name)
    assert done.loss_before == pytest.approx(measured(base, full.report), abs=1e-4)
    stored = weights.read(Path(done.weights), done.sha256)
    assert stored.lora is None
    matrices = [parameter for parameter in base.model.parameters() if parameter.dim() == 2]
    assert sum(map(torch.numel, matrices)) < done.bytes < 1.3 * sum(map(torch.numel, matrices)) + 20_000  # a byte a weight
    load_full(base.model, stored.full)
    assert done.loss_after == pytest.approx(measured(base, full.report), abs=1e-4)
    own = sorted(decoding.draw(base, "my", 3, 1, Sampling(max_tokens=20), never), key=lambda line: line.index)
    assert spoken(request_of(full, done)) == [[line.text for line in own]]


def test_a_speaker_changes_between_a_full_voice_and_another(full, job, trained, base_name):
    lora_job = job("lora", base=base_name, epochs=4, learning_rate=1e-2)
    whole, light = request_of(full, trained(full)), request_of(lora_job, trained(lora_job))
    first, second, third, fourth = spoken(whole, light, whole, light)
    assert first == third != second == fourth


def test_a_full_training_twice_gives_the_same_bytes(full, trained):
    assert trained(full).sha256 == trained(replace(full, output=full.output + "-again")).sha256


def test_what_is_too_large_to_store_is_refused_with_a_sentence(full, run, monkeypatch):
    monkeypatch.setattr(trainable, "MOST_BYTES", 1000)
    failed = run(full)[-1]
    assert failed.code == "bad_job"
    assert "method lora" in failed.sentence


def test_a_full_model_that_is_another_ones_is_bad_weights(job, trained, gpt2_folder):
    spec = job(method="full", epochs=1)
    done = trained(spec)
    light = job("lora", epochs=1)
    wrong = [
        request_of(spec, done, base=gpt2_folder),
        request_of(light, trained(light), details=done.details),
        request_of(spec, done, details={"adapter": {"rank": 8, "scale": 2.0}}),
    ]
    with Asked() as asked:
        for request in wrong:
            _, failed = asked(request)
            assert failed.code == "bad_weights"
            assert "train the voice again" in failed.sentence
        assert asked(request_of(spec, done))[1].type == "spoken"
