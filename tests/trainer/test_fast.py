"""What stands in for a part of a transformers model computes what that part did, and only where it does."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, GemmaConfig, GemmaForCausalLM, Qwen3Config, Qwen3ForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tests.trainer.conftest import CPU, never
from trainer import bases, fast, packing, tiny
from trainer.fast import RmsNorm
from trainer.frames import Sequence_

ROOT = Path(__file__).parents[2]
SMALL = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.mark.parametrize("shape", [(3, 16), (2, 5, 16), (1, 1, 16)])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_the_norm_and_its_gradient_are_those_of_the_module_it_replaces(shape, size):
    torch.manual_seed(0)
    theirs = LlamaRMSNorm(16, eps=1e-5)
    theirs.weight.data.normal_()
    theirs.requires_grad_(False)
    ours = RmsNorm(theirs.weight, 1e-5)
    x = (torch.randn(shape) * size).requires_grad_()
    upstream = torch.randn(shape)
    torch.testing.assert_close(ours(x), theirs(x))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))
    (found,) = torch.autograd.grad(ours(x), x, upstream)
    (wanted,) = torch.autograd.grad(theirs(x), x, upstream)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * wanted.abs().max().item())


def test_the_norms_gradient_is_that_of_its_differences():
    torch.manual_seed(0)
    norm = RmsNorm(torch.randn(6, dtype=torch.float64), 1e-5)
    assert torch.autograd.gradcheck(norm, torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True))
    transposed = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: norm(x.transpose(1, 2)), transposed)


class PlusOneRMSNorm(nn.Module):
    """A norm by name that weighs with 1 + w."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((8,), 0.5))
        self.eps = 1e-5

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * (1 + self.weight)


def test_a_norm_that_computes_something_else_is_left_alone():
    model = nn.Module()
    model.other, model.true = PlusOneRMSNorm(), LlamaRMSNorm(8, eps=1e-5)
    model.named_so = nn.LayerNorm(8)
    fast.exchange_norms(model)
    assert [type(module).__name__ for module in model.children()] == ["PlusOneRMSNorm", "RmsNorm", "LayerNorm"]


def test_the_norms_of_real_models_are_exchanged_or_not():
    torch.manual_seed(0)
    tokens = torch.arange(20)[None]
    for model, exchanged in (
        (GemmaForCausalLM(GemmaConfig(**SMALL, num_key_value_heads=1, head_dim=16)), 0),
        (Qwen3ForCausalLM(Qwen3Config(**SMALL, num_key_value_heads=1, head_dim=16)), 2 * 4 + 1),  # with those of queries and keys
    ):
        model.eval().requires_grad_(False)
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.normal_()
        before = model(tokens).logits
        fast.exchange_norms(model)
        assert sum(isinstance(module, RmsNorm) for module in model.modules()) == exchanged
        torch.testing.assert_close(model(tokens).logits, before, rtol=1e-4, atol=1e-4)


def test_a_base_on_a_cpu_has_them_unless_it_is_trained_in_full(load):
    def count(base):
        return sum(isinstance(module, RmsNorm) for module in base.model.modules())

    assert count(load("tiny-random")) == 5
    assert count(load("tiny-random", trainable=True)) == 0


def sequences(lengths):
    """Posts of these lengths."""
    return [Sequence_([0, *(1 + (7 * i + j) % 256 for j in range(length)), 0], 1) for i, length in enumerate(lengths)]


def test_attention_is_transformers_own_with_the_block_mask(base, base_name, cache):
    """The tiny Llama has two query heads to a key head, the tiny GPT-2 one."""
    assert base.model.config._attn_implementation == fast.ATTENTION
    folder = tiny.folder(cache, print, never) if base_name == "tiny-random" else base_name
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True).eval()
    batch = packing.collate([sequences([9, 30, 4]), sequences([20])], 0, CPU)
    results = []
    for model in (base.model, theirs):
        model.requires_grad_(False)
        embedding = model.get_input_embeddings()
        x = embedding(batch.tokens).clone().requires_grad_()
        logits = model(inputs_embeds=x, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False).logits
        asked = logits[batch.targets != packing.IGNORED]
        results.append((asked, torch.autograd.grad(asked.logsumexp(-1).sum(), x)[0]))
    (ours, our_gradient), (wanted, gradient) = results
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)
    assert gradient.abs().max() > 1e-3
    torch.testing.assert_close(our_gradient, gradient, rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_attention_without_a_mask_sees_what_came_before_and_no_more(base):
    tokens = torch.arange(1, 31)[None]
    whole = base.model(tokens, use_cache=False).logits
    other = base.model(torch.cat([tokens[:, :20], tokens.flip(1)[:, :10]], 1), use_cache=False).logits
    torch.testing.assert_close(whole[:, :20], other[:, :20])
    first = base.model(tokens[:, :20], use_cache=True)
    rest = [base.model(tokens[:, i : i + 1], past_key_values=first.past_key_values, use_cache=True).logits for i in range(20, 30)]
    torch.testing.assert_close(torch.cat([first.logits, *rest], 1), whole, rtol=1e-4, atol=1e-4)


def test_the_attention_is_known_to_transformers(load):
    assert load("tiny-random", trainable=True).model.config._attn_implementation == bases.fast.ATTENTION


integers = pytest.mark.skipif(not fast.INTEGERS, reason="this processor has no VNNI")


@integers
@pytest.mark.parametrize("columns", [64, 96, 100, 576, 1536])
def test_a_product_of_integers_is_nearly_the_product(columns):
    """Also where one column is far greater than the others, as behind an activation; turned in blocks, or hardly where none fits."""
    torch.manual_seed(0)
    matrix, x = torch.randn(80, columns), torch.randn(12, columns)
    product = fast.IntegerProduct(matrix.clone())
    assert product.bytes == matrix.numel()

    def error(x):
        return (product(x) - x @ matrix.T).norm() / (x @ matrix.T).norm()

    assert error(x) < 0.015
    x[:, 5] *= 30
    assert error(x) < (0.015 if columns % 32 == 0 else 0.03)


@integers
@pytest.mark.parametrize("columns", [64, 128, 576, 1536])
def test_a_row_of_integers_has_no_say_in_another(columns):
    torch.manual_seed(0)
    product = fast.IntegerProduct(torch.randn(192, columns))
    x = torch.randn(70, columns)
    x[3], x[4], x[5] = 0, torch.nan, 1e30
    whole = product(x)
    for count in (2, 3, 7, 16, 64, 70):
        torch.testing.assert_close(product(x[:count]), whole[:count], rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(product(x[-count:]), whole[-count:], rtol=0, atol=0, equal_nan=True)
    assert not whole[3].any()
    assert whole[4].isnan().all()
    assert whole[5].isfinite().all()
    assert whole[[*range(3), *range(6, 70)]].isfinite().all()


COUNTED = """
import torch
from trainer import fast
for form in (fast.Product, fast.IntegerProduct) if fast.INTEGERS else (fast.Product,):
    print("form", flush=True)
    product = form(torch.ones(192, 128))
    for rows in range(1, 257):
        product(torch.ones(rows, 128))
"""


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_products_of_many_numbers_of_rows_are_few_programs():
    """Of which oneDNN keeps a thousand, as it says itself: they were a fifth of a gigabyte in a speaker."""
    child = [sys.executable, "-c", COUNTED]
    said = subprocess.run(
        child, env={"ONEDNN_VERBOSE": "profile_create"}, cwd=ROOT, capture_output=True, text=True, check=True, timeout=100
    )
    for one in said.stdout.split("form\n")[1:]:
        assert 16 <= one.count("create:cache_miss") <= 32


def test_integers_are_taken_where_they_are_wanted_and_pay(monkeypatch):
    monkeypatch.setattr(fast, "INTEGERS", True)
    assert fast.packing(CPU, integers=True) is fast.IntegerProduct
    assert fast.packing(CPU, integers=False) is fast.Product
    assert fast.packing(torch.device("cuda"), integers=True) is fast.Product
    monkeypatch.setattr(fast, "INTEGERS", False)
    assert fast.packing(CPU, integers=True) is fast.Product


@pytest.mark.parametrize("width", [64, 128, 192, 256, 448])
def test_attention_by_two_products_is_the_same_in_any_company_and_what_torch_calls_attention(threads, width):
    source = torch.Generator().manual_seed(width)
    query, key, value = (torch.randn(16, 3, rows, 64, generator=source) for rows in (3, width, width))
    mask = (torch.arange(width) <= torch.randint(1, width, (16, 1), generator=source))[:, None, None]
    whole = fast._plainly(query, key, value, mask, None)
    wanted = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert torch.allclose(whole, wanted, atol=1e-5)
    for rows in range(1, 16):
        assert torch.equal(fast._plainly(query[:rows], key[:rows], value[:rows], mask[:rows], None), whole[:rows])
