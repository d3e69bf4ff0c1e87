"""The door through which every base model is loaded: a name goes in, a model with its tokenizer and its rules comes out.

Text is never parsed for special tokens: a post that says `<|endoftext|>` becomes those thirteen characters in ordinary
tokens, so nobody can end, split or steer a sequence by what he writes. Only safetensors are read, and no code of a
model's repository is ever run.
"""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from trainer import embedded, fast, lora, mixing, tiny
from trainer.errors import BadJob, BaseUnavailable, TrainerError, first_line
from trainer.lora import LoraLinear
from trainer.mixing import Readers
from trainer.process import Check, Tell

_ONE_AT_A_TIME = threading.Lock()
"""transformers changes how modules are made while it makes a model's, for all threads: two at once leave each other without weights."""
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass(frozen=True)
class Entry:
    """A base that is known by name. What is not listed here is loaded by the same rules as those without `made_by`."""

    name: str
    made_by: Any = None
    """A function (cache, tell, check) -> folder; None: the hub, by the name."""
    separator: str | None = None
    """The token that ends a post; None: the tokenizer's end of text."""
    licence: str = "see its model card"


ENTRIES = {
    entry.name: entry
    for entry in (
        # Its tokenizer ends a chat turn with <|im_end|>; documents were parted by <|endoftext|>, and posts are documents.
        Entry("smollm2-135m-instruct", embedded.folder, "<|endoftext|>", "Apache-2.0"),
        Entry("tiny-random", tiny.folder, None, "made here, of random numbers"),
        Entry("gpt2", licence="MIT"),
        Entry("distilgpt2", licence="Apache-2.0"),
        Entry("HuggingFaceTB/SmolLM2-135M", separator="<|endoftext|>", licence="Apache-2.0"),
        # These write many languages: docs/bases.md.
        Entry("google/gemma-3-270m", licence="Gemma Terms of Use"),
        Entry("Qwen/Qwen3-0.6B-Base", separator="<|endoftext|>", licence="Apache-2.0"),
        Entry("Qwen/Qwen2.5-0.5B", separator="<|endoftext|>", licence="Apache-2.0"),
    )
}


#: How bases that converse mark a person's turn and the beginning of their own, by the token that opens a turn.
_TURNS = {
    "<|im_start|>": ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"),  # SmolLM2, Qwen
    "<start_of_turn>": ("<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n"),  # Gemma
    "<|start_header_id|>": (
        "<|start_header_id|>user<|end_header_id|>\n\n",
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    ),  # Llama 3
}


@dataclass(frozen=True)
class Base:
    """A loaded base model, frozen, on its device."""

    name: str
    licence: str
    revision: str | None
    """The hub's commit, where it came from the hub."""
    model: PreTrainedModel
    """Every linear layer but the output layer is a LoraLinear."""
    layers: dict[str, LoraLinear]
    """Those layers, by name."""
    readers: dict[str, Readers]
    """By each layer's name, what multiplies it: alone, or once packed, with all layers that read the same."""
    head: torch.Tensor | None
    """(V, D) weights of the output layer, where the model's logits are `body(…)[0] @ head.T`; None where they are more than that."""
    tokenizer: PreTrainedTokenizerBase
    opening: int
    """Id of the token before a post: what the model read at the head of every text that it was made from."""
    separator: int
    """Id of the token after a post."""
    turns: tuple[list[int], list[int]]
    """The tokens before a message that is to be answered, and those between it and the answer."""
    special: frozenset[int]
    """Ids that stand for no text, the separator among them."""
    context: int
    """Most tokens that the model takes, all of them seen by every layer."""
    forbidden: torch.Tensor
    """(V,) bool, on the device: ids that may never be drawn: special tokens but the separator, and padding of the vocabulary."""

    @property
    def bytes(self) -> int:
        """Memory that its weights take, packed ones included."""
        head = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        products = [readers.product for readers in self.readers.values()]
        products += [head.product] if isinstance(head, fast.PackedLinear) else []
        packed = {id(product): product.bytes for product in products}
        plain = [*self.model.parameters(), *(product.plain for product in products if product.plain is not None)]
        # By where they lie: a matrix may be a layer's weight, seen otherwise, or the embedding once more.
        return sum({tensor.data_ptr(): tensor.numel() * tensor.element_size() for tensor in plain}.values()) + sum(packed.values())

    @property
    def body(self) -> nn.Module:
        """The model without its output layer."""
        return self.model.base_model

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.forbidden.device

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, none of them special. A lone surrogate, which no UTF-8 holds, becomes a question mark."""
        if not texts:
            return []
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        ids = self.tokenizer(clean, add_special_tokens=False, split_special_tokens=True, return_attention_mask=False)["input_ids"]
        # Nothing special is left by then, unless a tokenizer does not heed split_special_tokens or says "unknown" with its end of text.
        return [[id_ for id_ in one if id_ not in self.special] for one in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, exactly: nothing is skipped, no space is tidied."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def pack(base: Base, *, integers: bool = False) -> Base:
    """Return a base for speaking and not for training, which takes its place: its layers are kept as decoding multiplies them quickest.

    `integers`: in 8 bits, where that pays; logits then differ a little from those of the base as it was.
    """
    packed = fast.packing(base.device, integers=integers)
    base.readers.clear()  # or all weights would be there twice, until the last is packed
    base.readers.update(mixing.together(base.model, base.layers, [base.opening, base.separator], packed))
    output = base.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if isinstance(output, nn.Linear) and output.bias is None:
        name = next(name for name, module in base.model.named_modules() if module is output)
        parent, _, own = name.rpartition(".")
        setattr(base.model.get_submodule(parent), own, fast.PackedLinear(packed(output.weight)))
    for parameter in base.model.parameters() if base.device.type == "cpu" else ():
        parameter.data = parameter.data.clone()  # or the file that they were read from, of which they are parts, stays in memory
    return replace(base, head=None)


def holding(base: Base, characters: str) -> torch.Tensor:
    """Return which tokens hold one of these ASCII characters, (V,) bool, on the base's device."""
    found = torch.zeros_like(base.forbidden)
    tokens = base.tokenizer.convert_ids_to_tokens(list(range(min(len(found), len(base.tokenizer)))))
    # Whatever stands for bytes in a vocabulary's words, ASCII stands for itself, or is spelt out as in <0x40>.
    spelt = {f"<0x{ord(character):02X}>" for character in characters}
    found[[id_ for id_, token in enumerate(tokens) if token and _holds(token, characters, spelt)]] = True
    return found


def _holds(token: str, characters: str, spelt: set[str]) -> bool:
    return token in spelt if _BYTE.fullmatch(token) else not set(characters).isdisjoint(token)


def device_of(wish: str) -> torch.device:
    """Return the device for `auto`, `cpu` or `cuda`.

    Raises:
        BadJob: another word, or cuda where torch sees none.
    """
    if wish not in {"auto", "cpu", "cuda"}:
        raise BadJob(f"The device {wish!r} is unknown: choose auto, cpu or cuda.")
    if wish == "cuda" and not torch.cuda.is_available():
        raise BadJob("The device cuda was asked for and torch sees none: choose auto or cpu, or install a torch built for this GPU.")
    return torch.device("cuda" if wish != "cpu" and torch.cuda.is_available() else "cpu")


def load(name: str, cache: Path, device: torch.device, tell: Tell, check: Check, *, trainable: bool = False) -> Base:
    """Load a base by a name of ENTRIES, a model's name on the hub, or a local folder (absolute, or beginning with a dot or tilde).

    The weights are fp32 on a CPU (whose bf16 is an emulation many times slower) and bf16 on a GPU. They are frozen, unless the
    base is to be trained in full: then they are fp32 and whole, without what is quicker because they are frozen.

    Raises:
        BaseUnavailable: it is not there, cannot be fetched, or is of a kind that cannot be packed or tokenised safely.
        Cancelled: `check` said so.
    """
    entry = ENTRIES.get(name, Entry(name))
    source: str | Path
    options: dict[str, Any]
    if entry.made_by is not None:
        source, options = entry.made_by(cache, tell, check), {"local_files_only": True}
    elif name.startswith(("/", ".", "~")):
        source, options = Path(name).expanduser(), {"local_files_only": True}
        if not source.is_dir():
            raise BaseUnavailable(
                f"There is no folder {name}: name a folder with config.json and model.safetensors, or a model of the hub."
            )
    else:
        source, options = name, {"cache_dir": str(cache / "hub")}
    check()
    try:
        with _ONE_AT_A_TIME:
            return _load(entry, str(source), options, device, trainable=trainable)
    except (TrainerError, MemoryError):
        raise
    except Exception as error:  # the hub, the cache, the parsers: each has exceptions of its own
        if "memory" in str(error):  # torch's CPU allocator raises a bare RuntimeError
            raise
        raise BaseUnavailable(_advice(name, from_hub="cache_dir" in options, error=error)) from error


def load_folder(name: str, folder: str, device: torch.device, *, trainable: bool = False) -> Base:
    """Load a model that is no base of several voices from a local folder, under a name.

    Raises:
        BaseUnavailable: it is of a kind that cannot be loaded or tokenised safely.
    """
    try:
        with _ONE_AT_A_TIME:
            return _load(Entry(name), folder, {"local_files_only": True}, device, trainable=trainable)
    except (TrainerError, MemoryError):
        raise
    except Exception as error:
        if "memory" in str(error):
            raise
        raise BaseUnavailable(_advice(name, from_hub=False, error=error)) from error


def _load(entry: Entry, source: str, options: dict[str, Any], device: torch.device, *, trainable: bool) -> Base:
    config = AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
    text = config.get_text_config()
    layer_types = set(getattr(text, "layer_types", None) or ())
    if layer_types - {"full_attention", "sliding_attention"}:
        raise BaseUnavailable(f"{entry.name} has layers other than attention, which would mix the posts of one row: choose another base.")
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
    model = AutoModelForCausalLM.from_pretrained(
        source,
        config=config,
        dtype=torch.float32 if device.type == "cpu" or trainable else torch.bfloat16,
        attn_implementation=fast.ATTENTION if device.type == "cpu" else "sdpa",  # both take the block mask of packing.py
        use_safetensors=True,
        trust_remote_code=False,
        **options,
    )
    # eval() for good: dropout would make one epoch over few posts noisier and no better, and packs unequal to single posts.
    model.to(device).eval()  # type: ignore[arg-type]
    model.requires_grad_(trainable)

    if device.type == "cpu" and not trainable:
        fast.exchange_norms(model)
    layers = lora.wrap(model)

    separator = tokenizer.convert_tokens_to_ids(entry.separator) if entry.separator else tokenizer.eos_token_id
    if not isinstance(separator, int):
        raise BaseUnavailable(f"The tokenizer of {entry.name} names no end of text: choose another base.")
    opening = _prefix(config, tokenizer) or _opening(tokenizer, separator)
    special = {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special} | set(tokenizer.all_special_ids)
    special |= {opening, separator}
    forbidden = torch.zeros(text.vocab_size, dtype=torch.bool)  # (V,)
    forbidden[len(tokenizer) :] = True
    # Gemma 3's tokenizer has a token for images, 262144, beyond the 262,144 that its models without eyes know.
    forbidden[[id_ for id_ in special if id_ < text.vocab_size]] = True
    forbidden[separator] = False
    return Base(
        name=entry.name,
        licence=entry.licence,
        revision=getattr(config, "_commit_hash", None),
        model=model,
        layers=layers,
        readers=mixing.apart(layers),
        head=None if trainable else _plain_head(model),
        tokenizer=tokenizer,
        opening=opening,
        separator=separator,
        turns=_turns(tokenizer, opening),
        special=frozenset(special),
        context=_context(text, layer_types),
        forbidden=forbidden.to(device),
    )


def _prefix(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the token that a model says itself every prompt is to begin with, as the ancestor's do; None: it says nothing."""
    tasks = getattr(config, "task_specific_params", None)
    task = tasks.get("text-generation") if isinstance(tasks, dict) else None
    prefix = task.get("prefix") if isinstance(task, dict) else None
    found = tokenizer.convert_tokens_to_ids(prefix) if isinstance(prefix, str) and prefix in tokenizer.all_special_tokens else None
    return found if isinstance(found, int) else None


def _opening(tokenizer: PreTrainedTokenizerBase, separator: int) -> int:
    """Return the token that the tokenizer itself puts before every text (Gemma, Llama 3: without it they hardly know a language).

    Where it puts none, texts were parted by the separator, and it stands before a post, too.
    """
    bare, dressed = (tokenizer("a", add_special_tokens=wish)["input_ids"] for wish in (False, True))
    return int(dressed[0]) if dressed[:1] != bare[:1] else separator


def _context(text: PreTrainedConfig, layer_types: set[str]) -> int:
    """Return how many positions all layers see: the block mask of a packed row knows no window, so that a row must fit into it."""
    whole = getattr(text, "max_position_embeddings", None) or 2048
    return min(whole, text.sliding_window) if "sliding_attention" in layer_types else whole


def _turns(tokenizer: PreTrainedTokenizerBase, before: int) -> tuple[list[int], list[int]]:
    """Return a conversation's turns as the base knows them; for one that only continues text, a line that begins with `> `."""
    known = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    opening, closing = next((turns for mark, turns in _TURNS.items() if mark in known), ("> ", "\n"))
    first, second = tokenizer([opening, closing], add_special_tokens=False, split_special_tokens=False)["input_ids"]
    return [before, *first], second


@torch.no_grad()
def _plain_head(model: PreTrainedModel) -> torch.Tensor | None:
    """Return the output layer's weights if it is a product and nothing more: no bias, no cap, no scale (asked of the model)."""
    output = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if not isinstance(output, nn.Linear) or output.bias is not None:
        return None
    tokens = torch.arange(1, 4, device=output.weight.device)[None]  # (1, 3)
    logits = model(input_ids=tokens, use_cache=False).logits
    plain = model.base_model(input_ids=tokens, use_cache=False)[0] @ output.weight.T
    return output.weight if torch.allclose(logits, plain, rtol=1e-3, atol=1e-3) else None


def _advice(name: str, *, from_hub: bool, error: Exception) -> str:
    if from_hub and "gated repo" in str(error):
        return (
            f"The base {name!r} is given to those who accept its maker's terms: accept them on its page on the model hub, "
            "say `hf auth login` once on this machine, and try again."
        )
    if from_hub:
        return (
            f"The base {name!r} could not be had from the model hub ({first_line(error)}): check its name and the network, "
            "or choose smollm2-135m-instruct, which needs no hub."
        )
    return f"The base {name!r} could not be loaded ({first_line(error)}): it must be a causal model in safetensors with its tokenizer."
