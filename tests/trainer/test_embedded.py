"""The real embedded base learns from a few dozen posts; about a minute on two cores, and 93 MB fetched the first time."""

import os
import time

import pytest
import torch

from trainer import bases, embedded, train
from trainer.protocol import Evaluation, Sample


@pytest.fixture
def every_core():
    """This one is heavy: give it the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count())
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("every_core")
def test_the_embedded_base_learns(job, cache):
    spec = job(train=90, stop=10, report=10, base="smollm2-135m-instruct", epochs=2)
    events = []
    done = train.train(spec, events.append, lambda: None, time.monotonic())
    assert done.details["steps"] <= 6
    assert done.loss_after < done.loss_before - 1.5
    assert done.details["targets"]["train"] == sum(1 + len(ids) for ids in _encoded(spec, cache))
    looks = [event.loss for event in events if isinstance(event, Evaluation)]
    assert looks[-1] == min(looks) < looks[0] - 1.5
    assert all(event.text for event in events if isinstance(event, Sample))
    assert done.details["adapter"]["target_modules"] == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


def _encoded(spec, cache):
    base = bases.load(spec.recipe.base, cache, torch.device("cpu"), print, lambda: None)
    return base.encode([post.text for post in spec.train])


def test_it_is_verified_once_a_process(cache, monkeypatch):
    embedded.folder(cache, print, lambda: None)
    monkeypatch.setattr(embedded, "sha256_of", None)
    assert (embedded.folder(cache, print, lambda: None) / "model.safetensors").stat().st_size == 538_090_408
