"""The bases that write many languages: each kind of model packs, decodes and begins a post as it was taught to, in miniature."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GraniteMoeHybridConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from tests.trainer.conftest import CPU, never
from trainer import bases, decoding, fast, frames, loss, packing, tiny
from trainer.bases import ENTRIES
from trainer.errors import BaseUnavailable
from trainer.frames import Sequence_
from trainer.protocol import LANGUAGES, MULTILINGUAL, Post, Sampling

WINDOW = 48
MARKS = ("<bos>", "<start_of_turn>", "<end_of_turn>", "<image_soft_token>")
BOS, TURN, END_OF_TURN, IMAGE = range(257, 261)
#: Gemma 3's tokenizer has its token for images, though a model of text alone ends one place before it.
VOCABULARY = IMAGE
SIZE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
    "pad_token_id": 0,
    "bos_token_id": BOS,
    "eos_token_id": 0,
}
KINDS = {
    "gemma3": lambda: Gemma3TextConfig(
        **SIZE, head_dim=16, sliding_window=WINDOW, layer_types=["sliding_attention", "full_attention", "sliding_attention"]
    ),
    "qwen3": lambda: Qwen3Config(**SIZE, head_dim=16),
    "qwen2": lambda: Qwen2Config(**SIZE),
    "smollm3": lambda: SmolLM3Config(**SIZE, no_rope_layers=[1, 0, 1]),
    "granite": lambda: GraniteMoeHybridConfig(
        **SIZE,
        shared_intermediate_size=64,
        num_local_experts=0,
        num_experts_per_tok=0,
        layer_types=["attention"] * 3,
        position_embedding_type="rope",
        mamba_n_heads=8,
        logits_scaling=4.0,
    ),
}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A model of each kind with random weights, and a tokenizer of bytes that begins every text as Gemma's does."""
    made = {}
    for kind, config in KINDS.items():
        folder = made[kind] = tmp_path_factory.mktemp(kind)
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)  # norms and biases, too: they begin as 0 or 1
        model.save_pretrained(folder)
        tiny.write_byte_tokenizer(folder)
        document = json.loads((folder / "tokenizer.json").read_text())
        special = document["added_tokens"][0]
        document["added_tokens"] += [special | {"id": id_, "content": mark} for id_, mark in enumerate(MARKS, start=BOS)]
        document["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [BOS], "tokens": ["<bos>"]}},
        }
        (folder / "tokenizer.json").write_text(json.dumps(document))
        names = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps(names | {"bos_token": "<bos>"}))
    return made


@pytest.fixture(scope="session")
def loaded(folders, cache):
    """Each kind behind the door; the tests that use it change nothing."""
    return {kind: bases.load(str(folder), cache, CPU, print, never) for kind, folder in folders.items()}


@pytest.fixture(params=KINDS)
def base(request, loaded):
    """One base of each kind."""
    return loaded[request.param]


@pytest.fixture
def gemma(loaded):
    """The Gemma alone."""
    return loaded["gemma3"]


def sequences(base, count=12):
    """Return posts of 5 to 38 tokens, framed."""
    source = torch.Generator().manual_seed(1)
    lengths = torch.randint(5, 39, (count,), generator=source).tolist()
    return [Sequence_([base.opening, *torch.randint(1, 257, (n,), generator=source).tolist(), base.separator], 1) for n in lengths]


# ------------------------------------------------------------------------------- in every layer


@torch.no_grad()
def test_packed_losses_are_the_losses_of_single_posts(base):
    rows = packing.pack(sequences(base), 100)
    assert len(rows) < 5
    packed = loss.losses(base, packing.collate(rows, base.separator, CPU))
    alone = torch.cat([loss.losses(base, packing.collate([[one]], base.separator, CPU)) for row in rows for one in row])
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_no_layer_lets_a_post_see_its_neighbour(base):
    one, two, *_ = sequences(base)
    other = Sequence_([base.opening, *reversed(one.tokens[1:-1]), base.separator], 1)
    seen = [loss.losses(base, packing.collate([[first, two]], base.separator, CPU))[one.targets :] for first in (one, other)]
    assert torch.equal(*seen)


@torch.no_grad()
def test_it_speaks_as_it_was_taught(base):
    """Token by token from a cache, as decoding does, the model says what it says of a whole row."""
    (sequence,) = packing.pack([Sequence_([base.opening, *range(1, WINDOW + 1)], 1)], WINDOW)[0]
    batch = packing.collate([[sequence]], base.separator, CPU)
    at_once = base.model(input_ids=batch.tokens, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False).logits
    cache, by_token = None, []
    for token in batch.tokens[0]:
        answer = base.model(input_ids=token.view(1, 1), past_key_values=cache, use_cache=True)
        cache = answer.past_key_values
        by_token.append(answer.logits[:, -1])
    torch.testing.assert_close(torch.stack(by_token, 1), at_once, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_what_is_exchanged_for_speed_changes_nothing(base, folders):
    folder = next(folder for folder in folders.values() if str(folder) == base.name)
    theirs = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    tokens = torch.arange(1, 40)[None]
    torch.testing.assert_close(base.model(input_ids=tokens).logits, theirs(input_ids=tokens).logits, rtol=1e-3, atol=1e-3)
    assert base.model.config._attn_implementation == fast.ATTENTION


def test_a_voice_is_learned(gemma, job, trained):
    done = trained(job(base=gemma.name, train=60, rank=4, epochs=1, learning_rate=1e-2))
    assert done.loss_after < done.loss_before - 0.3


# ------------------------------------------------------------------------------- how a post begins and ends


def test_a_post_begins_with_what_the_tokenizer_begins_every_text_with(gemma):
    assert (gemma.opening, gemma.separator) == (BOS, 0)
    answering = frames.frame(gemma, "hello", "ann")
    assert gemma.decode(answering) == "<bos><start_of_turn>user\nhello<end_of_turn>\n<start_of_turn>model\nann:\n"
    (sequence,) = frames.framed(gemma, gemma.encode(["a"]), [frames.frame(gemma)], 128)
    assert sequence.tokens == [BOS, 98, 0]


def test_where_the_tokenizer_puts_nothing_the_separator_stands_on_both_sides(load):
    base = load("tiny-random")
    assert base.opening == base.separator == 0
    assert base.turns[0][0] == 0


def test_nothing_special_is_ever_drawn_but_the_end(gemma):
    assert gemma.forbidden.nonzero().flatten().tolist() == [BOS, TURN, END_OF_TURN]
    loud = replace(gemma, forbidden=torch.zeros_like(gemma.forbidden))
    wild = Sampling(temperature=100.0, top_p=1.0, top_k=0, max_tokens=40)
    marks = [sum(mark in line.text for line in decoding.draw(one, "", 64, 0, wild, never) for mark in MARKS) for one in (gemma, loud)]
    assert marks[0] == 0
    assert marks[1] > 0  # they would come if they were let


@given(texts=st.lists(st.lists(st.sampled_from([*MARKS, "<|endoftext|>", "<", "チクショー", "\n"]), max_size=6).map("".join), min_size=1))
def test_no_text_becomes_a_special_token_nor_one_beyond_the_vocabulary(loaded, texts):
    base = loaded["gemma3"]
    for text, ids in zip(texts, base.encode(texts), strict=True):
        assert max(ids, default=0) < BOS
        assert base.decode(ids) == text


# ------------------------------------------------------------------------------- what is cut, and what is refused


def test_a_row_fits_into_the_narrowest_window(gemma, loaded, job, trained):
    """For the block mask of a row shows a post more than a window would, and decoding from a cache does not."""
    assert gemma.context == WINDOW
    assert loaded["qwen3"].context == 128
    whole = job(base=gemma.name, epochs=1, train=10)
    long = replace(whole, train=[Post("mynah", "a very long post " * 20)] * 10)
    assert trained(long).details["recipe"]["row"] == WINDOW


def test_layers_other_than_attention_are_refused_also_inside_a_model_of_more_than_text(tmp_path, cache):
    hybrid = KINDS["granite"]()
    hybrid.layer_types = ["linear_attention", "full_attention", "full_attention"]
    hybrid.save_pretrained(tmp_path)
    with pytest.raises(BaseUnavailable, match="other than attention"):
        bases.load(str(tmp_path), cache, CPU, print, never)
    seeing = AutoConfig.for_model("qwen3_5")
    assert "linear_attention" in seeing.get_text_config().layer_types
    seeing.save_pretrained(tmp_path)
    with pytest.raises(BaseUnavailable, match="other than attention"):
        bases.load(str(tmp_path), cache, CPU, print, never)


def test_a_base_behind_terms_says_what_to_do(tmp_path, monkeypatch):
    def gated(*_, **__):
        raise OSError("You are trying to access a gated repo.\nMake sure to have access to it.")

    monkeypatch.setattr(AutoConfig, "from_pretrained", gated)
    with pytest.raises(BaseUnavailable, match=r"google/gemma-3-270m.* accept them .*hf auth login"):
        bases.load("google/gemma-3-270m", tmp_path, CPU, print, never)


# ------------------------------------------------------------------------------- what is said of them


def test_every_base_that_is_known_by_name_says_what_it_writes():
    assert LANGUAGES.keys() == ENTRIES.keys() - {"tiny-random"}
    for codes in LANGUAGES.values():
        assert codes is None or all(len(code) == 2 and code.islower() for code in codes)


def test_what_is_suggested_writes_what_was_asked_for():
    assert ENTRIES[MULTILINGUAL].made_by is None
    assert LANGUAGES[MULTILINGUAL] is None or {"ja", "pt", "fr"} <= set(LANGUAGES[MULTILINGUAL])
