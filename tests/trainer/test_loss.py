"""The loss in slices is the loss: in value, in gradient, for however many targets; and a frame has none."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional
from transformers import Gemma2Config, Gemma2ForCausalLM, GraniteConfig, GraniteForCausalLM, LlamaConfig, LlamaForCausalLM

from tests.trainer.conftest import CPU, posts
from trainer import bases, frames, lora, loss, packing


def batch_of(base, count, seed=0):
    """A batch of framed posts: some alone, some with an author, some as answers."""
    texts = [post.text for post in posts(count, seed)]
    befores = [frames.frame(base, ["", "what is it?", ""][i % 3], ["", "", "ann"][i % 3]) for i in range(count)]
    sequences = frames.framed(base, base.encode(texts), befores, 128)
    return packing.collate(packing.pack(sequences, 128), base.separator, CPU), sequences


def reference(base, batch):
    """Return what torch's own cross-entropy says of each target."""
    logits = base.model(input_ids=batch.tokens, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False).logits
    each = functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=packing.IGNORED, reduction="none")
    return each[batch.targets.flatten() != packing.IGNORED]


def gradients(base, voice, count):
    """Return the losses and the gradient of each matrix of a LoRA, ours and the reference's."""
    leaves = [leaf for pair in voice.values() for leaf in pair]
    batch, _ = batch_of(base, count)
    weights = torch.linspace(0.5, 1.5, batch.count)  # so that each target has a gradient of its own
    results = []
    for measure in (loss.losses, reference):
        with lora.wearing(base.layers, [voice], 2.0):
            each = measure(base, batch)
            results.append((each.detach(), torch.autograd.grad(each @ weights, leaves)))
    return batch, results


@pytest.mark.parametrize("path", ["in slices", "whole"])
@pytest.mark.parametrize("size", [None, 7, 10_000])
def test_it_is_torchs_cross_entropy_in_value_and_gradient(base, path, size, monkeypatch):
    assert base.head is not None
    if size:
        monkeypatch.setattr(loss, "SLICE", size)
    if path == "whole":
        base = replace(base, head=None)
    source = torch.Generator().manual_seed(0)
    voice = {
        name: tuple((torch.randn(shape, generator=source) * 0.1).requires_grad_() for shape in pair)
        for name, pair in lora.shapes(base.layers, 2).items()
    }
    batch, ((ours, our_gradients), (theirs, their_gradients)) = gradients(base, voice, 12)
    assert batch.count > 128
    assert batch.count % loss.SLICE
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert all(gradient.abs().max() > 1e-3 for gradient in their_gradients)
    torch.testing.assert_close(our_gradients, their_gradients, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_frame_is_read_and_never_asked_for(base):
    batch, sequences = batch_of(base, 12)
    rows = packing.pack(sequences, 128)
    in_order = [sequence for row in rows for sequence in row]
    assert any(sequence.silent > 1 for sequence in sequences)
    wanted = []
    for sequence in in_order:
        logits = base.model(torch.tensor([sequence.tokens])).logits[0]
        each = functional.cross_entropy(logits[:-1], torch.tensor(sequence.tokens[1:]), reduction="none")
        wanted.append(each[sequence.silent - 1 :])
    assert batch.count == sum(sequence.targets for sequence in sequences)
    torch.testing.assert_close(loss.losses(base, batch), torch.cat(wanted), rtol=1e-4, atol=1e-4)


SMALL = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


@pytest.mark.parametrize(
    ("model", "plain"),
    [
        (lambda: LlamaForCausalLM(LlamaConfig(**SMALL)), True),
        (lambda: GraniteForCausalLM(GraniteConfig(**SMALL, logits_scaling=8.0)), False),
        (lambda: Gemma2ForCausalLM(Gemma2Config(**SMALL, head_dim=16, final_logit_softcapping=0.01)), False),
    ],
    ids=["a product", "divided by eight", "capped"],
)
def test_slices_are_for_models_whose_logits_are_a_product(model, plain):
    torch.manual_seed(0)
    built = model().eval()
    assert (bases._plain_head(built) is not None) == plain
    if plain:
        with torch.no_grad():
            built.lm_head.bias = torch.nn.Parameter(torch.zeros(64))
        assert bases._plain_head(built) is None
