"""Models as folders: what is exported works with nothing of Mynah, what is imported is the same model, and what is hostile is refused."""

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import peft
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline, set_seed

from tests import ancestor
from tests.trainer.conftest import CPU, Asked, never
from tests.trainer.test_lora import made_up
from trainer import foreign, lora, trainable, weights, whole
from trainer.errors import BadJob, BadWeights, BaseUnavailable
from trainer.exporting import export_model
from trainer.files import sha256_of
from trainer.importing import import_model
from trainer.protocol import NOTE, PRESETS, Export, Import, Sampling, SpeechRequest

TOKENS = torch.arange(1, 61).view(2, 30)
SCALE = 2.0


@pytest.fixture
def bring(tmp_path, cache):
    """A function that imports a folder."""
    return lambda folder, base="tiny-random": import_model(
        Import(str(folder), hub=False, output=str(tmp_path / "in"), cache=str(cache), base=base), never
    )


@pytest.fixture
def take(tmp_path, cache):
    """A function that exports weights into a new folder, and returns that."""

    def take(base, path, sha256, details, *, adapter=False, sampling=PRESETS["mynah"]):
        folder = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        export_model(Export(base, str(path), sha256, details, sampling, adapter, str(folder), str(cache)), never)
        return folder

    return take


@pytest.fixture
def trained(load, base_name, tmp_path):
    """A made-up voice of both shapes of base: (name, path, sha256, details, its logits)."""
    base = load(base_name)
    path, sha256, _ = weights.save(weights.pack(made_up(base, 1)), tmp_path)
    stored = weights.read(path, sha256).lora
    with torch.no_grad(), lora.wearing(base.layers, [stored], SCALE):
        logits = base.model(TOKENS).logits
    return base_name, path, sha256, {"adapter": {"rank": 4, "scale": SCALE}, "authors": ["ann", "bob"]}, logits


@torch.no_grad()
def logits_of(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    return model(TOKENS).logits


@torch.no_grad()
def imported_logits(found):
    return whole.load(Path(found.weights), found.sha256, "voice", CPU).model(TOKENS).logits


def test_an_exported_voice_says_what_it_said(trained, take, bring):
    *voice, logits = trained
    folder = take(*voice)
    torch.testing.assert_close(logits_of(folder), logits, rtol=0, atol=1e-3)
    found = bring(folder)
    assert (found.method, found.details["whole"]) == ("whole", True)
    torch.testing.assert_close(imported_logits(found), logits, rtol=0, atol=1e-3)
    again = take(found.base, found.weights, found.sha256, found.details)
    torch.testing.assert_close(logits_of(again), logits, rtol=0, atol=1e-3)


def test_a_bare_pipeline_begins_lines_where_posts_begin_and_ends_them(trained, take, load):
    *voice, _ = trained
    folder = take(*voice, sampling=Sampling(temperature=0.7, top_k=7, min_p=0.01, repetition_penalty=1.1, no_repeat_ngram=4, max_tokens=9))
    base = load(trained[0])
    speak = pipeline("text-generation", model=str(folder))
    assert speak.tokenizer("hi")["input_ids"] == [base.opening, *base.encode(["hi"])[0]]
    set_seed(1)
    lines = [line["generated_text"] for line in speak("My dream is", num_return_sequences=5)]
    assert len(set(lines)) == 5
    assert all(line.startswith("My dream is") for line in lines)
    said = json.loads((folder / "generation_config.json").read_text())
    assert said | {"do_sample": True, "temperature": 0.7, "top_k": 7, "min_p": 0.01, "max_new_tokens": 9} == said
    assert said | {"repetition_penalty": 1.1, "no_repeat_ngram_size": 4, "pad_token_id": base.separator} == said
    assert said["eos_token_id"] == [base.separator, *base.encode(["\n"])[0]]
    assert json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_a_message_is_framed_as_the_voice_learned_to_answer(trained, take, load):
    *voice, _ = trained
    base = load(trained[0])
    tokenizer = AutoTokenizer.from_pretrained(take(*voice), local_files_only=True)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": 'say "hi"?'}], return_dict=True)["input_ids"]
    assert ids == [*base.turns[0], *base.encode(['say "hi"?'])[0], *base.turns[1]]


def test_without_a_temperature_nothing_is_drawn(trained, take):
    *voice, _ = trained
    said = json.loads((take(*voice, sampling=Sampling(temperature=0)) / "generation_config.json").read_text())
    assert (said["do_sample"], "temperature" in said) == (False, False)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks transformers for it
def test_peft_loads_an_exported_adapter_on_the_base(trained, take, cache, tmp_path):
    *voice, logits = trained
    folder = take(*voice, adapter=True)
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    base = trained[0] if trained[0].startswith("/") else cache / "bases" / "tiny-random-1"
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True).eval()
    with torch.no_grad():
        theirs = peft.PeftModel.from_pretrained(model, folder)(TOKENS).logits
    torch.testing.assert_close(theirs, logits, rtol=0, atol=1e-3)
    assert str(tmp_path) not in (folder / "adapter_config.json").read_text()


def test_an_exported_adapter_comes_back_to_the_last_bit(trained, take, bring):
    name, path, sha256, details, _ = trained
    found = bring(take(name, path, sha256, details, adapter=True), base=name)
    assert (found.base, found.method, found.details["adapter"]) == (name, "lora", {"rank": 4, "scale": SCALE})
    before, after = weights.read(path, sha256).lora, weights.read(Path(found.weights), found.sha256).lora
    assert before.keys() == after.keys()
    for layer, (a, b) in before.items():
        assert torch.equal(a, after[layer][0])
        assert torch.equal(b, after[layer][1])


def test_a_training_of_every_weight_is_exported_whole_and_has_no_adapter(load, take, tmp_path):
    base = load("tiny-random", trainable=True)
    with torch.no_grad():
        for parameter in base.model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    path, sha256, _ = weights.save(weights.pack_full(dict(base.model.named_parameters())), tmp_path)
    trainable.load_full(base.model, weights.read(path, sha256).full)
    with torch.no_grad():
        logits = base.model(TOKENS).logits
    torch.testing.assert_close(logits_of(take("tiny-random", path, sha256, {"adapter": None})), logits, rtol=0, atol=1e-3)
    with pytest.raises(BadJob, match="no adapter: export it whole"):
        take("tiny-random", path, sha256, {"adapter": None}, adapter=True)


@pytest.mark.parametrize("pickled", [True, False])
def test_an_ancestors_model_is_taken_as_it_is(bring, tmp_path, pickled):
    found = bring(ancestor.write(tmp_path / "hers", pickled=pickled))
    with torch.no_grad():
        expected = ancestor.model()(TOKENS).logits
    torch.testing.assert_close(imported_logits(found), expected, rtol=0, atol=1e-5)
    assert (found.base, found.method, found.details["adapter"]) == ("gpt2", "whole", None)
    assert found.details["sampling"] == {"temperature": 1.0, "top_p": 0.95, "max_tokens": 160}
    assert len(found.samples) == 5
    assert found.details["typical"] < 0
    assert "@ann" in found.card
    came = found.details["files"]
    assert {"config.json", "README.md", "pytorch_model.bin" if pickled else "model.safetensors", "tokenizer.json"} <= came.keys()
    assert came == {name: sha256_of(tmp_path / "hers" / name) for name in came}
    assert (found.details["source"], found.details["revision"]) == ("hers", None)
    assert whole.load(Path(found.weights), found.sha256, "x", CPU).opening == 0
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["adapter.safetensors"]


def test_weights_without_the_models_prefix_and_in_half_precision_are_taken(bring, tmp_path):
    folder = ancestor.write(tmp_path / "hers", pickled=False)
    state = {name.removeprefix("transformer."): tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    found = bring(folder)
    with torch.no_grad():
        expected = ancestor.model().half().float()(TOKENS).logits
    torch.testing.assert_close(imported_logits(found), expected, rtol=0, atol=1e-4)
    assert set(load_file(found.weights)) == {f"transformer.{name}" for name in state}


def test_the_token_that_a_model_says_begins_its_prompts_does(bring, tmp_path):
    folder = ancestor.write(tmp_path / "hers")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    begin = tokenizer["added_tokens"][0] | {"id": 256, "content": "ÿ"}
    tokenizer["added_tokens"].append(begin)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    names = json.loads((folder / "tokenizer_config.json").read_text()) | {"bos_token": "ÿ"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    change(folder / "config.json", task_specific_params={"text-generation": ancestor.TASK | {"prefix": "ÿ"}})
    found = bring(folder)
    assert whole.load(Path(found.weights), found.sha256, "x", CPU).opening == AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(
        "ÿ"
    )


def test_values_of_sampling_out_of_bounds_are_left_out(bring, tmp_path):
    folder = ancestor.write(tmp_path / "hers")
    change(
        folder / "config.json", task_specific_params={"text-generation": {"temperature": -1, "top_p": "x", "top_k": 7, "max_length": 9999}}
    )
    assert bring(folder).details["sampling"] == {"top_k": 7, "max_tokens": 400}


def test_what_a_mynah_wrote_beside_a_model_comes_back(trained, take, bring):
    *voice, _ = trained
    folder = take(*voice)
    (folder / NOTE).write_text(json.dumps({"base": "smollm2-135m-instruct", "authors": ["ann"], "answers": True}))
    found = bring(folder)
    assert (found.base, found.details["authors"], found.details["answers"]) == ("smollm2-135m-instruct", ["ann"], True)


# ---------------------------------------------------------------------- hostile


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/mynah-was-here",)


def change(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def swap(folder, change_of):
    """Change the tensors of a folder."""
    state = load_file(folder / "model.safetensors")
    change_of(state)
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def big_config(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "x": "y" * foreign.MIB}))


def link(folder, name, target="/etc/passwd"):
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)


def number(folder, id_):
    """Give a word of the tokenizer a number."""
    document = json.loads((folder / "tokenizer.json").read_text())
    document["model"]["vocab"]["evil"] = id_
    (folder / "tokenizer.json").write_text(json.dumps(document))


HOSTILE = {
    "a link out of the folder": (lambda f: link(f, "config.json"), "config.json in that folder is a link or no file"),
    "a link for the weights": (lambda f: link(f, "model.safetensors", "/dev/zero"), "model.safetensors in that folder is a link"),
    "a link for the card": (lambda f: link(f, "README.md"), "README.md in that folder is a link"),
    "a pipe": (lambda f: ((f / "vocab.json").unlink(missing_ok=True), os.mkfifo(f / "vocab.json")), "vocab.json .* is a link or no file"),
    "huge JSON": (big_config, "config.json in that folder has 1 MB, and may have 1"),
    "deep JSON": (lambda f: (f / "config.json").write_text("[" * 200_000), "config.json in that folder is no JSON"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "config.json in that folder is no JSON object"),
    "code of its own": (lambda f: change(f / "config.json", auto_map={"AutoConfig": "evil.C"}), "asks for code of its own"),
    "a tokenizer's code": (lambda f: change(f / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", None]}), "code of its own"),
    "quantised": (lambda f: change(f / "config.json", quantization_config={"quant_method": "gptq", "bits": 4}), "is quantised"),
    "a word of a huge number": (lambda f: number(f, 2**31), "tokenizer.json in that folder numbers its words as no tokenizer does"),
    "a word of no number": (lambda f: number(f, "1"), "numbers its words as no tokenizer does"),
    "an added word of a huge number": (
        lambda f: change(f / "tokenizer_config.json", added_tokens_decoder={"9999999999": {"content": "x"}}),
        "tokenizer_config.json in that folder numbers its words",
    ),
    "another kind": (lambda f: change(f / "config.json", model_type="bert"), "a model of the kind 'bert'"),
    "no kind": (lambda f: (f / "config.json").unlink(), "a model of the kind 'None'"),
    "a million layers": (lambda f: change(f / "config.json", n_layer=10**6), "speaks of 1000000 layers, and there are"),
    "too many parameters": (lambda f: change(f / "config.json", n_embd=2**20), "too large"),
    "another width": (lambda f: change(f / "config.json", n_embd=32), r"are \[.*\], and should be|should be \[.*\] of a float"),
    "a width that is none": (lambda f: change(f / "config.json", n_embd="x"), "cannot be read"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "holds no weights"),
    "damaged weights": (lambda f: (f / "model.safetensors").write_bytes(b"x" * 100), "model.safetensors in that folder is damaged"),
    "a tensor too few": (lambda f: swap(f, lambda s: s.pop("transformer.ln_f.bias")), "The weights lack 'transformer.ln_f.bias'"),
    "a tensor too many": (lambda f: swap(f, lambda s: s.update(evil=torch.zeros(2))), "hold 'evil', which config.json does not speak of"),
    "a wrong shape": (lambda f: swap(f, lambda s: s.update({"transformer.ln_f.bias": torch.zeros(3)})), r"are \[3\] of torch.float32"),
    "integers": (lambda f: swap(f, lambda s: s.update({"transformer.ln_f.bias": torch.zeros(64, dtype=torch.int8)})), "of torch.int8"),
    "no number": (lambda f: swap(f, lambda s: s["transformer.ln_f.bias"].fill_(torch.nan)), "hold what is no number"),
    "a loose output layer": (
        lambda f: swap(f, lambda s: s.update({"lm_head.weight": torch.ones(257, 64)})),
        "are tied in config.json and differ",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "cannot be read"),
    "a broken tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), "cannot be read"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_folder_is_refused_in_one_sentence(bring, tmp_path, kind):
    folder = ancestor.write(tmp_path / "evil", pickled=False)
    spoil, sentence = HOSTILE[kind]
    spoil(folder)
    with pytest.raises(BadJob, match=sentence):
        bring(folder)
    assert not list((tmp_path / "in").iterdir())


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_code_that_a_configuration_names_for_attention_is_not_fetched(bring, tmp_path, key):
    """It is no remote code to transformers: with `kernels` installed it would be run, without it the model would be refused."""
    folder = ancestor.write(tmp_path / "evil", pickled=False)
    change(folder / "config.json", **{key: "evil/kernel"})
    found = bring(folder)
    with safe_open(found.weights, "pt") as file:
        assert "evil" not in str(file.metadata())


def test_paths_that_a_tokenizer_names_are_not_opened(bring, tmp_path):
    folder = ancestor.write(tmp_path / "evil", pickled=False)
    (tmp_path / "secret.json").write_text("not a tokenizer, so whoever opened it would fail")
    elsewhere = str(tmp_path / "secret.json")
    change(folder / "tokenizer_config.json", tokenizer_file=elsewhere, vocab_file=elsewhere, merges_file=elsewhere)
    assert bring(folder).samples


def test_a_pickle_with_code_is_not_run(bring, tmp_path):
    folder = ancestor.write(tmp_path / "evil")
    torch.save({"transformer.wte.weight": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(BadJob, match="holds more than weights, such as code, which is never run"):
        bring(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(BadJob, match=r"pytorch_model\.bin in that folder"):
        bring(folder)
    assert not Path("/tmp/mynah-was-here").exists()


def test_a_small_file_that_unfolds_to_a_huge_tensor_is_refused(bring, tmp_path):
    folder = ancestor.write(tmp_path / "evil")
    state = torch.load(folder / "pytorch_model.bin")
    state["transformer.wte.weight"] = torch.zeros(1).expand(10**6, 10**6)
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(BadJob, match=r"are \[1000000, 1000000\]"):
        bring(folder)


def test_a_packed_file_that_unpacks_to_more_than_may_be_stored_is_refused(bring, tmp_path, monkeypatch):
    folder = ancestor.write(tmp_path / "evil")
    size = (folder / "pytorch_model.bin").stat().st_size
    with ZipFile(folder / "pytorch_model.bin") as plain, ZipFile(tmp_path / "packed", "w", ZIP_DEFLATED) as packed:
        for info in plain.infolist():
            packed.writestr(info.filename, bytes(2 * info.file_size))
    (tmp_path / "packed").replace(folder / "pytorch_model.bin")
    monkeypatch.setattr(foreign, "MOST_BYTES", size)
    with pytest.raises(BadJob, match=r"pytorch_model\.bin in that folder unpacks to more than"):
        bring(folder)


def test_a_folder_that_is_not_there_is_refused(bring, tmp_path):
    with pytest.raises(BadJob, match="There is no folder"):
        bring(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"peft_type": "IA3"}, "describes no plain LoRA"),
        ({"use_dora": True}, "describes no plain LoRA"),
        ({"modules_to_save": ["lm_head"]}, "describes no plain LoRA"),
        ({"r": 10**6}, "describes no plain LoRA"),
        ({"r": True}, "describes no plain LoRA"),
        ({"r": 5}, "do not fit the base"),
        ({"lora_alpha": "x"}, "describes no plain LoRA"),
        ({"lora_alpha": 1e308}, "beyond all bounds"),
        ({"base_model_name_or_path": "../../etc"}, "is of '../../etc', which is no base that is known here"),
        ({"auto_mapping": None, "auto_map": {}}, "asks for code of its own"),
    ],
)
def test_a_strange_adapter_is_refused_in_one_sentence(trained, take, bring, changes, sentence):
    *voice, _ = trained
    folder = take(*voice, adapter=True)
    change(folder / "adapter_config.json", **changes)
    with pytest.raises(BadJob, match=sentence):
        bring(folder, base=trained[0])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda s: s.update({"base_model.model.evil.lora_A.weight": torch.zeros(4, 4)}), "do not fit the base"),
        (lambda s: s.update(evil=torch.zeros(4, 4)), "do not fit the base"),
        (lambda s: s.pop(min(s)), "Half of that LoRA is missing"),
        (lambda s: s.clear(), "Half of that LoRA is missing"),
        (lambda s: s[min(s)].fill_(torch.inf), "hold what is no number"),
    ],
)
def test_a_damaged_adapter_is_refused_in_one_sentence(trained, take, bring, spoil, sentence):
    *voice, _ = trained
    folder = take(*voice, adapter=True)
    state = load_file(folder / "adapter_model.safetensors")
    spoil(state)
    save_file(state, folder / "adapter_model.safetensors")
    with pytest.raises(BadJob, match=sentence):
        bring(folder, base=trained[0])


def test_layers_that_an_adapter_leaves_alone_stay_as_they_are(trained, take, bring):
    *voice, _ = trained
    folder = take(*voice, adapter=True)
    state = load_file(folder / "adapter_model.safetensors")
    kept = {name: tensor for name, tensor in state.items() if name.startswith(min(state).removesuffix("lora_A.weight"))}
    save_file(kept, folder / "adapter_model.safetensors")
    found = bring(folder, base=trained[0])
    stored = weights.read(Path(found.weights), found.sha256).lora
    assert sum(bool(b.any()) for _, b in stored.values()) == 1


def test_imported_models_speak_as_they_are_and_the_one_used_longest_ago_makes_room(tmp_path, cache):
    requests = []
    for seed in (1, 2):
        folder = ancestor.write(tmp_path / f"hers-{seed}", seed=seed)
        order = Import(str(folder), hub=False, output=str(tmp_path / f"in-{seed}"), cache=str(cache), base="tiny-random")
        found = import_model(order, never)
        sampling = Sampling(temperature=1.0, max_tokens=20, max_weight=0)
        requests.append(
            SpeechRequest(f"{seed}", "gpt2", found.weights, found.sha256, found.details, "hi", 2, 1, sampling, str(cache), "cpu")
        )
    one, two = requests
    with Asked(memory=1) as asked:
        alone = [asked(one)[0], asked(two)[0]]
        assert len(asked.speaker._loaded) == 1  # what has just spoken
        again = [asked(replace(request, id=f"{request.id} again"))[0] for request in (one, two)]
    assert alone == again
    assert alone[0] != alone[1]
    # What is drawn is the model's own: greedily, its likeliest tokens after the token that begins its texts.
    greedy = replace(one, id="greedy", count=1, sampling=Sampling(temperature=0.0, max_tokens=8, max_weight=0))
    with Asked() as asked:
        ((line,), _) = asked(greedy)
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path / "hers-1"), ancestor.model(1)
    tokens = [0, *tokenizer("hi")["input_ids"]]
    for _ in range(8):
        with torch.no_grad():
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    assert line == tokenizer.decode(tokens[1:])


def test_weights_that_changed_on_the_disk_are_not_spoken_with(bring, tmp_path):
    found = bring(ancestor.write(tmp_path / "hers"))
    path = Path(found.weights)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BadWeights, match="their sha256 differs"):
        whole.load(path, found.sha256, "x", CPU)
    path.unlink()
    with pytest.raises(BadWeights, match="cannot be read"):
        whole.load(path, found.sha256, "x", CPU)


def test_a_hub_that_is_not_there_is_one_sentence(tmp_path, cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    order = Import("huggingtweets/nobody", hub=True, output=str(tmp_path / "in"), cache=str(cache), base="tiny-random")
    with pytest.raises(BaseUnavailable, match="'huggingtweets/nobody' could not be had from the hub"):
        import_model(order, never)


def test_an_order_of_another_protocol_is_refused(tmp_path, cache):
    order = Import(str(tmp_path), hub=False, output=str(tmp_path / "in"), cache=str(cache), base="tiny-random")
    with pytest.raises(BadJob, match="speaks protocol 99"):
        import_model(replace(order, protocol=99), never)


@pytest.mark.long
def test_the_embedded_base_goes_out_and_comes_back(load, take, bring, tmp_path):
    base = load("smollm2-135m-instruct")
    path, sha256, _ = weights.save(weights.pack(weights.cut(made_up(base, 1), 4)), tmp_path)
    stored = weights.read(path, sha256).lora
    scale = 0.05
    # Text, as voices read it: on special tokens in a row this base's activations are so large that fp32 itself rounds by 2e-3.
    words = "the lamp is lit and the fog comes in from the harbour, nobody answers the bell tonight, my dream is a quiet sea"
    tokens = torch.tensor([[base.opening, *base.encode([words])[0]]])
    with torch.no_grad(), lora.wearing(base.layers, [stored], scale):
        logits = base.model(tokens).logits
    details = {"adapter": {"rank": 4, "scale": scale}}
    folder = take("smollm2-135m-instruct", path, sha256, details)
    found = bring(folder)
    with torch.no_grad():
        again = whole.load(Path(found.weights), found.sha256, "voice", CPU).model(tokens).logits
        assert (logits - base.model(tokens).logits).abs().max() > 1
    torch.testing.assert_close(again, logits, rtol=0, atol=1e-3)
    speak = pipeline("text-generation", model=str(folder))
    assert len(speak("My dream is", num_return_sequences=5)) == 5
    assert (
        "HuggingFaceTB/SmolLM2-135M-Instruct"
        in (take("smollm2-135m-instruct", path, sha256, details, adapter=True) / "adapter_config.json").read_text()
    )
