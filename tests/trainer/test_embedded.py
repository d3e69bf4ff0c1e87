"""The real embedded base learns from a few dozen posts; about a minute on two cores, and 93 MB fetched the first time."""

import gc
from pathlib import Path

import pytest

from tests.trainer.conftest import never, of
from trainer import embedded, train, weights
from trainer.protocol import Evaluation, Sample


@pytest.fixture
def kept():
    """The base in memory, which hangs in cycles."""
    yield train.Bases()
    gc.collect()


def test_the_embedded_base_learns(run, job, kept):
    spec = job(train=90, stop=10, report=10, base="smollm2-135m-instruct", epochs=2)
    *_, done = events = run(spec, kept=kept)
    assert done.type == "done", done
    assert done.details["steps"] <= 20
    assert done.loss_after < done.loss_before - 1.5
    base = kept.get(spec, print, never)
    assert done.details["targets"]["train"] == sum(1 + len(ids) for ids in base.encode([post.text for post in spec.train]))
    looks = [event.loss for event in of(Evaluation, events)]
    assert looks[-1] == min(looks) < looks[0] - 1.5
    assert all(event.text for event in of(Sample, events))
    assert {name.rpartition(".")[2] for name in weights.read(Path(done.weights), done.sha256).lora} == {
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    }
    assert done.bytes < 3_500_000


def test_it_is_verified_once_a_process(cache, monkeypatch):
    embedded.folder(cache, print, never)
    monkeypatch.setattr(embedded, "sha256_of", None)
    assert (embedded.folder(cache, print, never) / "model.safetensors").stat().st_size == 538_090_408
