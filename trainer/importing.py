"""A model that somebody else made, as a voice's weights: every weight with configuration and tokenizer, or a LoRA of a known base.

A LoRA becomes what a training would have stored (int8, trainer/weights.py); a whole model stays as it is (trainer/whole.py). Either
says a few lines before it is stored, as the speaker would have it say them: what cannot speak is refused, and the lines' mean
likelihood stands in for the held-out loss, which nobody can measure without the posts.
"""

import re
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig

from trainer import bases, decoding, foreign, lora, weights, whole
from trainer.bases import ENTRIES, Base
from trainer.errors import BadJob, BadWeights, BaseUnavailable, TrainerError, first_line
from trainer.files import sha256_of
from trainer.foreign import Folder
from trainer.lora import Lora, Pair
from trainer.process import Check
from trainer.protocol import HUB_NAMES, NOTE, PRESETS, VERSION, Import, Imported, Sampling
from trainer.sampling import check_request
from trainer.trainable import MOST_BYTES
from trainer.weights import Tensors

CPU = torch.device("cpu")
LINES = 5
"""That a model says before it is stored."""
KINDS = ("gpt2", "llama", "qwen2", "qwen3", "gemma3_text")
"""Of models, by their model_type: the ancestor's, and those that an export can be of."""
MOST_RANK = 256
#: What a file of weights may hold beside a model's parameters: masks that old versions of GPT-2 stored, and positions.
_BUFFER = re.compile(r"\.attn\.(masked_)?bias$|\.rotary_emb\.inv_freq$")
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_PEFT_KEY = re.compile(re.escape(weights.PEFT) + r"(?P<layer>.+)\.lora_(?P<side>[AB])\.weight")
#: What a LoRA of peft's may be beside a plain one, with the values that leave it plain.
_PLAIN = {
    "bias": (None, "none"),
    "use_dora": (None, False),
    "use_qalora": (None, False),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "layer_replication": (None, []),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
}


def import_model(order: Import, check: Check) -> Imported:
    """Read, check and store what an order names.

    Raises:
        BadJob: it is not a model that can be taken; the text says why.
        BaseUnavailable: a LoRA's base is not there, or the hub is not.
    """
    if order.protocol != VERSION:
        raise BadJob(f"The order speaks protocol {order.protocol} and this carrier {VERSION}: update whichever is older.")
    output = Path(order.output)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output) as fetched:
        revision = _fetched(order.source, Path(fetched)) if order.hub else None
        folder = Folder(Path(fetched) if order.hub else Path(order.source).expanduser())
        check()
        note = folder.document(NOTE)
        kind = _lora_from if foreign.ADAPTER_CONFIG in folder else _whole_from
        found = kind(folder, order, note, check)
        return replace(found, details=found.details | {"files": folder.hashes(), "revision": revision})


# ----------------------------------------------------------------------- whole


def _whole_from(folder: Folder, order: Import, note: dict[str, Any], check: Check) -> Imported:
    document = folder.document(foreign.CONFIG)
    kind = document.get("model_type")
    if kind not in KINDS:
        raise BadJob(f"That folder holds a model of the kind {str(kind)[:40]!r}, and what can be taken is {', '.join(KINDS)}.")
    if "quantization_config" in document:
        raise BadJob(f"{foreign.CONFIG} says that the model is quantised: choose one whose weights are plain numbers.")
    path = Path(order.output) / weights.FILE
    with tempfile.TemporaryDirectory(dir=order.output) as clean:
        tensors = folder.tensors((foreign.WEIGHTS, foreign.PICKLED))
        (Path(clean) / whole.CONFIG).write_text(folder.text(foreign.CONFIG), encoding="utf-8")
        folder.copy_tokenizer(Path(clean))
        try:
            config = AutoConfig.from_pretrained(clean, trust_remote_code=False, local_files_only=True)
            tokenizer = AutoTokenizer.from_pretrained(clean, trust_remote_code=False, local_files_only=True)
            skeleton = _skeleton(config, len(tensors))
            parameters = _fitted(skeleton, tensors)
            config.architectures = [type(skeleton).__name__]
            config.save_pretrained(clean)
            tokenizer.save_pretrained(clean)
        except (TrainerError, MemoryError):
            raise
        except Exception as error:  # the parsers of strangers' files: each has exceptions of its own
            raise BadJob(f"That model cannot be read ({first_line(error)}): choose another.") from error
        texts = {name: (Path(clean) / name).read_text(encoding="utf-8") for name in whole.FILES}
    check()
    try:
        whole.write(path, parameters, texts)
    except (RuntimeError, ValueError) as error:  # two names for one memory, which no model of these kinds has
        raise BadJob(f"Those weights cannot be stored ({first_line(error)}): choose another model.") from error
    del tensors, parameters
    digest = sha256_of(path)
    sampling = _sampling(folder, document)
    base = whole.load(path, digest, str(kind), CPU)
    known = [id_ for name, id_ in base.tokenizer.get_vocab().items() if id_ not in base.special]
    if known and max(known) >= base.forbidden.shape[0]:
        raise BadJob("That tokenizer has words that the model does not know: fetch the model again.")
    lines, typical = _lines(base, None, 0.0, sampling, check)
    made_from = note.get("base") if isinstance(note.get("base"), str) else kind
    return Imported(
        str(path),
        digest,
        path.stat().st_size,
        str(made_from)[:100],
        "whole",
        _details(order, folder, note, document, typical) | {"adapter": None, "whole": True},
        lines,
        folder.text(foreign.CARD),
        note,
    )


def _skeleton(config: PreTrainedConfig, tensors: int) -> nn.Module:
    """Return the model of a configuration without its weights; one that claims more layers than there are tensors would take for ever.

    Raises:
        BadJob: it does.
    """
    text = config.get_text_config()
    if not 0 < text.num_hidden_layers <= tensors:
        raise BadJob(f"{foreign.CONFIG} speaks of {text.num_hidden_layers} layers, and there are {tensors} tensors: fetch the model again.")
    with torch.device("meta"):
        # "eager" is said here, because a configuration can name code on the hub for it, which is no remote code to transformers.
        return AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call, no-any-return]
            config, trust_remote_code=False, attn_implementation="eager"
        )


def _fitted(skeleton: nn.Module, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Return a model's parameters by name, those that are tied once.

    Raises:
        BadJob: one lacks, is one too many, has another shape, or holds what is no number.
    """
    wanted = dict(skeleton.named_parameters())
    if sum(parameter.numel() for parameter in wanted.values()) * 4 > MOST_BYTES:
        raise BadJob(f"That model is too large: at most {MOST_BYTES / 1e6:,.0f} MB can be stored.")
    tied = {name for name, _ in skeleton.named_parameters(remove_duplicate=False)} - wanted.keys()
    prefix = f"{skeleton.base_model_prefix}."
    # What was saved without its output layer lacks the prefix, as GPT-2 itself does on the hub.
    bare = not any(name.startswith(prefix) for name in tensors)
    found: Tensors = {}
    for name, tensor in tensors.items():
        own = prefix + name if bare and prefix + name in wanted else name
        if own in wanted:
            found[own] = tensor
        elif own not in tied and not _BUFFER.search(own):
            raise BadJob(f"The weights hold {own[:80]!r}, which {foreign.CONFIG} does not speak of: fetch the model again.")
    for name, parameter in wanted.items():
        if name not in found:
            raise BadJob(f"The weights lack {name!r}: fetch the model again.")
        tensor = found[name]
        if tensor.shape != parameter.shape or tensor.dtype not in _FLOATS or tensor.layout != torch.strided:
            have, want = list(tensor.shape), list(parameter.shape)
            raise BadJob(f"The weights {name!r} are {have} of {tensor.dtype}, and should be {want} of a float: fetch the model again.")
        if not tensor.isfinite().all():
            raise BadJob(f"The weights {name!r} hold what is no number: choose another model.")
    for name in tied & tensors.keys():
        if not any(tensors[name].shape == one.shape and torch.equal(tensors[name], one) for one in found.values()):
            raise BadJob(f"The weights {name!r} are tied in {foreign.CONFIG} and differ in the file: fetch the model again.")
    return found


# ------------------------------------------------------------------------ LoRA


def _lora_from(folder: Folder, order: Import, note: dict[str, Any], check: Check) -> Imported:
    settings = folder.document(foreign.ADAPTER_CONFIG)
    rank: Any = settings.get("r")
    alpha: Any = settings.get("lora_alpha")
    plain = settings.get("peft_type") == "LORA" and all(settings.get(name) in values for name, values in _PLAIN.items())
    if not plain or type(rank) is not int or not 1 <= rank <= MOST_RANK or type(alpha) not in (int, float):
        raise BadJob(f"{foreign.ADAPTER_CONFIG} describes no plain LoRA of a rank up to {MOST_RANK}: merge it into its base and try again.")
    name = _known(order, note, settings)
    base = bases.load(name, Path(order.cache), CPU, lambda _: None, check)
    pairs = _pairs(folder.tensors((foreign.ADAPTER,)), base, rank)
    tensors = weights.pack(pairs)
    scale = float(alpha) / (rank**0.5 if settings.get("use_rslora") else rank)
    stored = weights.unpack(tensors).lora or {}
    if not all((b * scale).isfinite().all() for _, b in stored.values()):
        raise BadJob("That LoRA is beyond all bounds: choose another.")
    path, digest, size = weights.save(tensors, Path(order.output))
    lines, typical = _lines(base, stored, scale, PRESETS["mynah"], check)
    details = _details(order, folder, note, {}, typical) | {"adapter": {"rank": rank, "scale": scale}}
    return Imported(str(path), digest, size, name, "lora", details, lines, folder.text(foreign.CARD), note)


def _known(order: Import, note: dict[str, Any], settings: dict[str, Any]) -> str:
    """Return the base of a LoRA as a training would be told it.

    Raises:
        BadJob: it is none that is known here; a stranger's folder does not say what is loaded.
    """
    said = settings.get("base_model_name_or_path")
    names = {hub: name for name, hub in HUB_NAMES.items()} | {name: name for name in (*ENTRIES, order.base)}
    names.setdefault(Path(order.base).name, order.base)  # an export tells no path of its machine
    for wish in (note.get("base"), said):
        if isinstance(wish, str) and wish in names:
            return names[wish]
    raise BadJob(f"That LoRA is of {str(said)[:80]!r}, which is no base that is known here: set `[trainer] base` to it, or merge it.")


def _pairs(tensors: Mapping[str, torch.Tensor], base: Base, rank: int) -> Lora:
    """Return the LoRA that peft's tensors are, with zeros for the layers that it leaves alone.

    Raises:
        BadJob: they are not this base's.
    """
    shapes = lora.shapes(base.layers, rank)
    sides: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = _PEFT_KEY.fullmatch(key)
        side = "AB".index(match["side"]) if match else 0
        if not match or match["layer"] not in shapes or tuple(tensor.shape) != shapes[match["layer"]][side]:
            raise BadJob(f"The weights {key[:80]!r} do not fit the base {base.name}, or the rank {rank}: fetch the LoRA again.")
        if tensor.dtype not in _FLOATS or not tensor.isfinite().all():
            raise BadJob(f"The weights {key[:80]!r} hold what is no number: choose another LoRA.")
        sides.setdefault(match["layer"], {})[match["side"]] = tensor.float()
    if not sides or any(len(pair) < 2 for pair in sides.values()):
        raise BadJob("Half of that LoRA is missing: fetch it again.")
    pairs: dict[str, Pair] = {}
    for name, (a, b) in shapes.items():
        pairs[name] = (sides[name]["A"], sides[name]["B"]) if name in sides else (torch.zeros(a), torch.zeros(b))
    return pairs


# ------------------------------------------------------------------ what is said


def _lines(base: Base, voice: Lora | None, scale: float, sampling: Sampling, check: Check) -> tuple[list[str], float]:
    """Return some lines, and the mean of their tokens' log-likelihoods, nats."""
    try:
        with lora.wearing(base.layers, [voice], scale) if voice else nullcontext():
            drawn = sorted(decoding.draw(base, "", LINES, 0, sampling, check), key=lambda line: line.index)
    except BadWeights as error:
        raise BadJob("That model answers with what is no number: choose another.") from error
    return [line.text for line in drawn], fmean(line.log_likelihood for line in drawn)


def _details(order: Import, folder: Folder, note: dict[str, Any], config: dict[str, Any], typical: float) -> dict[str, Any]:
    """Return what a training's details have of it, and where it came from."""
    authors = note.get("authors")
    return {
        "authors": [str(author)[:20] for author in authors[:100]] if isinstance(authors, list) else [],
        "answers": note.get("answers") is True,
        "typical": typical,
        "sampling": _values(folder, config),
        "source": order.source[-200:] if order.hub else Path(order.source).name[-200:],
        "versions": {name: version(name) for name in ("torch", "transformers")},
        "protocol": VERSION,
    }


def _sampling(folder: Folder, config: dict[str, Any]) -> Sampling:
    return Sampling(**vars(PRESETS["huggingtweets"]) | _values(folder, config))


def _values(folder: Folder, config: dict[str, Any]) -> dict[str, Any]:
    """Return the values of sampling that a model says of itself, by our names; what is out of bounds is left out.

    The ancestor's stand in `task_specific_params`. Its lengths hold the prompt.
    """
    tasks = config.get("task_specific_params")
    task = tasks.get("text-generation") if isinstance(tasks, dict) else None
    said = folder.document("generation_config.json") | (task if isinstance(task, dict) else {})
    names: dict[str, str] = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p"}
    names |= {"repetition_penalty": "repetition_penalty", "no_repeat_ngram_size": "no_repeat_ngram"}
    names |= {"max_length": "max_tokens", "max_new_tokens": "max_tokens"}
    found: dict[str, Any] = {}
    for theirs, ours in names.items():
        value: Any = said.get(theirs)
        if type(value) not in (int, float) or said.get("do_sample") is False:
            continue
        wish: Any = int(min(value, 400)) if ours == "max_tokens" else value
        try:
            check_request(1, Sampling(**{ours: wish}))
        except TrainerError:
            continue
        found[ours] = wish
    return found


# ------------------------------------------------------------------------- hub


def _fetched(name: str, to: Path) -> str | None:
    """Fetch a model of the hub, of its files those that are ever opened, and return the commit that they are of, if the hub names it.

    Raises:
        BaseUnavailable: it is not there, or the hub is not.
        BadJob: it is too large.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi(token=False).model_info(name, files_metadata=True, timeout=30)
        sizes = {one.rfilename: one.size or 0 for one in info.siblings or () if one.rfilename in foreign.LIMITS}
        if foreign.WEIGHTS in sizes or foreign.ADAPTER in sizes:
            sizes.pop(foreign.PICKLED, None)
        for file, size in sizes.items():
            if size > foreign.LIMITS[file]:
                raise BadJob(f"{file} of {name} has {size / 1e6:,.0f} MB, and may have {foreign.LIMITS[file] / 1e6:,.0f}.")
        snapshot_download(name, revision=info.sha, local_dir=to, allow_patterns=list(sizes), token=False, max_workers=2)
    except TrainerError:
        raise
    except Exception as error:  # the hub, the network, the disk: each has exceptions of its own
        raise BaseUnavailable(
            f"The model {name!r} could not be had from the hub ({first_line(error)}): check its name and the network."
        ) from error
    return info.sha
