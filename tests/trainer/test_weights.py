"""What is stored is the nearest that fits, comes back within half a step of eight bits, and nothing else is taken for it."""

import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from trainer import lora, weights
from trainer.errors import BadWeights

SIZES = st.integers(1, 9)
SCALES = st.sampled_from([0.0, 1e-30, 1e-6, 1.0, 1e6])


@st.composite
def matrices(draw):
    """A LoRA of one or two layers: of any shape, large or small by rows, with rows and wholes of zeros, or all alike."""
    made = {}
    source = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    for name in ("layers.0.q", "layers.0.scale_proj")[: draw(st.integers(1, 2))]:
        rank, height, width = draw(SIZES), draw(SIZES), draw(SIZES)
        a = torch.randn(rank, width, generator=source) * torch.tensor(draw(st.lists(SCALES, min_size=rank, max_size=rank)))[:, None]
        b = torch.randn(height, rank, generator=source).round(decimals=draw(st.integers(0, 3))) * draw(SCALES)
        made[name] = a, b
    return made


@given(matrices())
def test_what_comes_back_is_within_half_a_step(made):
    tensors = weights.pack(made)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.int8, torch.float32}
    back = weights.unpack(tensors)
    assert back.full is None
    assert back.lora.keys() == made.keys()
    for name, (a, b) in made.items():
        found_a, found_b = back.lora[name]
        for wanted, found, axis in ((a, found_a, 1), (b, found_b, 0)):
            assert found.shape == wanted.shape
            step = wanted.abs().amax(axis, keepdim=True) / 127
            assert ((found - wanted).abs() <= step * 0.5001 + 1e-37).all()


@given(matrices())
def test_what_came_back_once_comes_back_as_it_is(made):
    once = weights.pack(weights.unpack(weights.pack(made)).lora)
    twice = weights.pack(weights.unpack(once).lora)
    for name, tensor in once.items():
        torch.testing.assert_close(twice[name], tensor, rtol=1e-5, atol=0)


def test_a_full_model_comes_back_within_half_a_step():
    torch.manual_seed(0)
    state = {"head.weight": torch.randn(5, 7), "norm.weight": torch.randn(7), "zero": torch.zeros(3, 2), "deep": torch.randn(2, 2, 2)}
    back = weights.unpack(weights.pack_full(state))
    assert back.lora is None
    assert back.full.keys() == state.keys()
    for name, tensor in state.items():
        step = tensor.abs().amax(1, keepdim=True) / 127 if tensor.dim() == 2 else torch.zeros(())
        assert ((back.full[name] - tensor).abs() <= step * 0.5001).all()


@pytest.mark.parametrize(("rank", "kept"), [(16, 8), (9, 1), (12, 11)])
@pytest.mark.parametrize("weak", [False, True])
def test_the_cut_is_the_nearest_of_its_rank(rank, kept, weak):
    """By Eckart and Young that is the truncated singular value decomposition of B A."""
    torch.manual_seed(0)
    a, b = torch.randn(rank, 20), torch.randn(30, rank)
    if weak:
        b[:, rank // 2 :] = 0  # as of a rank that was never used
    found_a, found_b = weights.cut({"layer": (a.requires_grad_(), b)}, kept)["layer"]
    assert found_a.shape == (kept, 20)
    assert found_b.shape == (30, kept)
    assert not found_a.requires_grad
    u, s, v = torch.linalg.svd((b.double() @ a.double()).detach())
    nearest = u[:, :kept] * s[:kept] @ v[:kept]
    torch.testing.assert_close(found_b.double() @ found_a.double(), nearest, rtol=1e-4, atol=1e-4)
    norms = found_a.norm(dim=1), found_b.norm(dim=0)
    torch.testing.assert_close(*norms, rtol=1e-3, atol=1e-3)  # both sides use the eight bits alike
    assert (norms[0][:-1] >= norms[0][1:] - 1e-4).all()  # the first are the most: what is cut again loses the least


@pytest.mark.parametrize("rank", [1, 7, 8])
def test_a_rank_that_fits_is_not_touched(rank):
    torch.manual_seed(0)
    a, b = torch.randn(rank, 5), torch.randn(6, rank)
    found = weights.cut({"layer": (a, b)}, 8)["layer"]
    assert torch.equal(found[0], a)
    assert torch.equal(found[1], b)


def some():
    """A small LoRA."""
    torch.manual_seed(0)
    return {"layer": (torch.randn(2, 5), torch.randn(6, 2))}


def test_a_file_is_what_it_says_it_is(tmp_path):
    tensors = weights.pack(some())
    path, digest, size = weights.save(tensors, tmp_path)
    assert path == tmp_path / "adapter.safetensors"
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert size == path.stat().st_size
    assert [file.name for file in tmp_path.iterdir()] == ["adapter.safetensors"]
    found = weights.read(path, digest).lora["layer"]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, weights.unpack(tensors).lora["layer"], strict=True))
    assert weights.save(tensors, tmp_path)[1] == digest


def test_a_voice_lies_in_memory_in_one_piece(base):
    voice = {name: (torch.randn(2, layer.in_features), torch.randn(layer.out_features, 2)) for name, layer in base.layers.items()}
    found = weights.fit(voice, base)
    assert len({tensor.untyped_storage().data_ptr() for pair in found.values() for tensor in pair}) == 1
    for name, pair in voice.items():
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(found[name], pair, strict=True))


def refused(path, content=None):
    """Return the sentence with which a file is refused that holds `content`, as its sha256 says."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadWeights) as caught:
        weights.read(path, hashlib.sha256(content or b"").hexdigest())
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_other_files_are_refused(tmp_path):
    path, digest, _ = weights.save(weights.pack(some()), tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BadWeights, match="sha256"):
        weights.read(path, digest)
    assert "write them anew" in refused(tmp_path / "nowhere")
    for content in (b"", b"PK\x03\x04", whole[:-1], whole[:20], b"\xff" * 100):
        assert "something else" in refused(path, content)
    for missing in ("layer.lora_A.scale", "layer.lora_B", "layer.lora_B.scale"):
        assert "something else" in refused(path, save({n: t for n, t in weights.pack(some()).items() if n != missing}))


def test_weights_of_another_base_do_not_fit(load, gpt2_folder):
    llama, gpt2 = load("tiny-random"), load(gpt2_folder)
    shapes = lora.shapes(llama.layers, 3)
    voice = {name: (torch.zeros(a), torch.zeros(b)) for name, (a, b) in shapes.items()}
    assert weights.fit(voice, llama).keys() == voice.keys()
    others = [
        (voice, gpt2),
        (dict(list(voice.items())[1:]), llama),
        (voice | {"more": (torch.zeros(3, 4), torch.zeros(4, 3))}, llama),
        (voice | {next(iter(voice)): (torch.zeros(3, 4), torch.zeros(4, 3))}, llama),
    ]
    for lora_, base in others:
        with pytest.raises(BadWeights, match="do not fit the base"):
            weights.fit(lora_, base)
