"""The real embedded base learns from a few dozen posts; about a minute on two cores, and 93 MB fetched the first time."""

import gc
import os
from pathlib import Path

import pytest
import torch

from tests.trainer.conftest import CPU, never, of
from trainer import bases, embedded, weights
from trainer.protocol import Evaluation, Sample


@pytest.fixture
def every_core():
    """This one is heavy: give it the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count())
    yield
    torch.set_num_threads(before)
    gc.collect()  # the base hangs in cycles


@pytest.mark.usefixtures("every_core")
def test_the_embedded_base_learns(run, job, cache):
    spec = job(train=90, stop=10, report=10, base="smollm2-135m-instruct", epochs=2)
    *_, done = events = run(spec)
    assert done.type == "done", done
    assert done.details["steps"] <= 20
    assert done.loss_after < done.loss_before - 1.5
    base = bases.load(spec.recipe.base, cache, CPU, print, never)
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
