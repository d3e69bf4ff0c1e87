"""Our LoRA is the LoRA of the paper and of peft, and what one voice adds to a base is gone when it takes it off."""

import peft
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from tests.trainer.conftest import never
from trainer import lora, tiny, train
from trainer.lora import LoraLinear
from trainer.recipe import ALPHA_PER_RANK

IN, OUT, RANK, ROWS, LENGTH = 5, 7, 3, 4, 6


def layer_of(kind):
    """A frozen layer of doubles, and its weights as (out, in)."""
    torch.manual_seed(0)
    layer = {"linear": lambda: nn.Linear(IN, OUT, bias=False), "biased": lambda: nn.Linear(IN, OUT), "conv1d": lambda: Conv1D(OUT, IN)}
    made = layer[kind]().double().requires_grad_(False)
    if made.bias is not None:
        made.bias.normal_()
    return made, made.weight.T if kind == "conv1d" else made.weight


@pytest.mark.parametrize("kind", ["linear", "biased", "conv1d"])
@pytest.mark.parametrize("voices", [1, 3])
@pytest.mark.parametrize("scale", [2.0, 0.5])
def test_product_and_gradients_are_autograds_own(kind, voices, scale):
    layer, matrix = layer_of(kind)
    ours = LoraLinear(layer)
    x = torch.randn(voices * ROWS, LENGTH, IN, dtype=torch.float64, requires_grad=True)
    pairs = [
        (torch.randn(RANK, IN, dtype=torch.float64, requires_grad=True), torch.randn(OUT, RANK, dtype=torch.float64, requires_grad=True))
        for _ in range(voices)
    ]
    leaves = [x, *(leaf for pair in pairs for leaf in pair)]
    upstream = torch.randn(voices * ROWS, LENGTH, OUT, dtype=torch.float64)

    added = [(part @ a.T) @ b.T for part, (a, b) in zip(x.chunk(voices), pairs, strict=True)]
    wanted = nn.functional.linear(x, matrix, layer.bias) + scale * torch.cat(added)
    wanted_gradients = torch.autograd.grad(wanted, leaves, upstream)

    with lora.wearing({"it": ours}, [{"it": pair} for pair in pairs], scale):
        found = ours(x)
        found_gradients = torch.autograd.grad(found, leaves, upstream)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(found_gradients, wanted_gradients)


def test_without_a_voice_it_is_the_layer_it_stands_for():
    layer, _ = layer_of("conv1d")
    x = torch.randn(2, 3, IN, dtype=torch.float64)
    torch.testing.assert_close(LoraLinear(layer)(x), layer(x))


def made_up(base, seed, rank=4):
    """A LoRA that changes every layer."""
    source = torch.Generator().manual_seed(seed)
    return {
        name: (torch.randn(a, generator=source) * 0.2, torch.randn(b, generator=source) * 0.2)
        for name, (a, b) in lora.shapes(base.layers, rank).items()
    }


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks transformers for it
def test_peft_says_the_same_of_the_same_matrices(base, base_name, cache):
    voice = made_up(base, 1)
    tokens = torch.arange(1, 61).view(2, 30)
    folder = tiny.folder(cache, print, never) if base_name == "tiny-random" else base_name
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    wanted_names = sorted({name.rpartition(".")[2] for name in base.layers})
    settings = peft.LoraConfig(
        r=4, lora_alpha=4 * ALPHA_PER_RANK, target_modules=wanted_names, fan_in_fan_out=base_name != "tiny-random", lora_dropout=0.0
    )
    theirs = peft.get_peft_model(model, settings)
    missing = {name for name, _ in theirs.named_parameters() if "lora_" in name}
    with torch.no_grad():
        for name, (a, b) in voice.items():
            for which, matrix in (("lora_A", a), ("lora_B", b)):
                theirs.get_parameter(f"base_model.model.{name}.{which}.default.weight").copy_(matrix)
                missing.discard(f"base_model.model.{name}.{which}.default.weight")
        assert not missing
        with lora.wearing(base.layers, [voice], float(ALPHA_PER_RANK)):
            ours = base.model(tokens).logits
        torch.testing.assert_close(ours, theirs(tokens).logits, rtol=1e-4, atol=1e-4)
        assert (ours - base.model(tokens).logits).abs().max() > 0.1


@torch.no_grad()
def test_voices_side_by_side_say_what_each_says_alone(base):
    voices = [made_up(base, seed) for seed in (1, 2, 3)]
    tokens = torch.arange(1, 121).view(6, 20)
    with lora.wearing(base.layers, voices, 2.0):
        together = base.model(tokens).logits
    for place, voice in enumerate(voices):
        rows = slice(2 * place, 2 * place + 2)
        with lora.wearing(base.layers, [voice], 2.0):
            torch.testing.assert_close(together[rows], base.model(tokens[rows]).logits, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_nothing_is_left_on_the_base_also_when_it_goes_wrong(base):
    tokens = torch.arange(1, 31)[None]
    before = base.model(tokens).logits
    voice = made_up(base, 1)
    with lora.wearing(base.layers, [voice], 2.0):
        assert not torch.equal(base.model(tokens).logits, before)
    assert torch.equal(base.model(tokens).logits, before)
    with pytest.raises(ZeroDivisionError), lora.wearing(base.layers, [voice], 2.0):
        raise ZeroDivisionError
    assert torch.equal(base.model(tokens).logits, before)
    incomplete = dict(list(voice.items())[:-1])
    with pytest.raises(KeyError), lora.wearing(base.layers, [incomplete], 2.0):
        pass
    assert all(layer.worn is None for layer in base.layers.values())


def test_every_linear_layer_is_wrapped_but_the_output(base, base_name):
    wrapped = {name for name, module in base.model.named_modules() if isinstance(module, LoraLinear)}
    assert wrapped == base.layers.keys()
    assert len(wrapped) == 2 * (7 if base_name == "tiny-random" else 4)
    assert [n for n, m in base.model.named_modules() if isinstance(m, nn.Linear | Conv1D)] == ["lm_head"]


def test_a_training_changes_no_frozen_weight_and_gives_it_no_gradient(trained, job, base_name):
    kept = train.Bases()
    spec = job(base=base_name, epochs=2)
    base = kept.get(spec, print, never)
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    done = trained(spec, kept=kept)
    assert done.details["best_step"] > 0
    after = kept.get(spec, print, never).model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in base.model.parameters())
    assert all(layer.worn is None for layer in base.layers.values())
