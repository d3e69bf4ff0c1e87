"""A folder that anybody may have made: only files of known names are opened, none of them too large, none elsewhere, and none is run.

What is not named here is never looked at: training_args.bin and the like are pickles.
"""

import json
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import ZipFile, is_zipfile

import torch
from safetensors import SafetensorError, safe_open

from trainer.errors import BadJob, first_line
from trainer.files import sha256_of
from trainer.protocol import NOTE
from trainer.trainable import MOST_BYTES

MIB = 1 << 20
CONFIG, CARD, ADAPTER_CONFIG = "config.json", "README.md", "adapter_config.json"
WEIGHTS, PICKLED, ADAPTER = "model.safetensors", "pytorch_model.bin", "adapter_model.safetensors"
TOKENIZERS = {
    "tokenizer.json": 64 * MIB,
    "tokenizer_config.json": 8 * MIB,
    "special_tokens_map.json": MIB,
    "added_tokens.json": MIB,
    "vocab.json": 16 * MIB,
    "merges.txt": 16 * MIB,
}
#: Words that a tokenizer may number; the largest that are known have a quarter of them.
MOST_IDS = 1_000_000
#: What is ever opened, with the most bytes that it may have.
LIMITS = {CONFIG: MIB, "generation_config.json": MIB, CARD: MIB, NOTE: MIB, ADAPTER_CONFIG: MIB, **TOKENIZERS} | dict.fromkeys(
    (WEIGHTS, PICKLED, ADAPTER), MOST_BYTES
)


class Folder:
    """The files of such a folder, each checked before a byte of it is read."""

    def __init__(self, path: Path) -> None:
        """Look at the folder.

        Raises:
            BadJob: it is none, or one of its files is a link, no plain file, or too large.
        """
        if not path.is_dir():
            raise BadJob(f"There is no folder {path}: name one with config.json and model.safetensors, or a model of the hub.")
        self._path = path
        self._there: set[str] = set()
        self._opened: set[str] = set()
        for name, most in LIMITS.items():
            with suppress(FileNotFoundError):
                state = (path / name).lstat()
                if not stat.S_ISREG(state.st_mode):
                    raise BadJob(f"{name} in that folder is a link or no file: copy the file itself there.")
                if state.st_size > most:
                    raise BadJob(f"{name} in that folder has {state.st_size / 1e6:,.0f} MB, and may have {most / 1e6:,.0f}.")
                self._there.add(name)

    def __contains__(self, name: object) -> bool:
        return name in self._there

    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of each file that was opened so far, in hexadecimal, by its name."""
        return {name: sha256_of(self._path / name) for name in sorted(self._opened)}

    def text(self, name: str) -> str:
        """Return a file as text; empty where it is not there. What is no UTF-8 in it becomes a sign that says so."""
        return self._open(name).read_text(encoding="utf-8", errors="replace") if name in self else ""

    def document(self, name: str) -> dict[str, Any]:
        """Return a JSON object; empty where it is not there.

        Raises:
            BadJob: it is something else, or asks for code of its own.
        """
        if name not in self:
            return {}
        try:
            found = json.loads(self._open(name).read_bytes())
        except (ValueError, RecursionError) as error:
            raise BadJob(f"{name} in that folder is no JSON that can be read: fetch the model again.") from error
        if not isinstance(found, dict):
            raise BadJob(f"{name} in that folder is no JSON object: fetch the model again.")
        if "auto_map" in found:
            raise BadJob(f"{name} in that folder asks for code of its own, and no code of a model is ever run: choose another.")
        return found

    def copy_tokenizer(self, to: Path) -> None:
        """Copy what a tokenizer is made of, and nothing else, into a folder.

        Raises:
            BadJob: one of the files asks for code of its own, cannot be read, or numbers words beyond all bounds, over which the library
                counts from 0 on and keeps what it did not find.
        """
        for name in TOKENIZERS:
            if name in self:
                if name.endswith(".json") and not all(type(id_) is int and 0 <= id_ < MOST_IDS for id_ in _ids(name, self.document(name))):
                    raise BadJob(f"{name} in that folder numbers its words as no tokenizer does: choose another model.")
                (to / name).write_bytes(self._open(name).read_bytes())

    def tensors(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Return the tensors of the first of these files that is there, as they lie in it.

        Raises:
            BadJob: none is there, it holds something else, or code.
        """
        name = next((name for name in names if name in self), None)
        if name is None:
            raise BadJob("That folder holds no weights: name one with model.safetensors, pytorch_model.bin or adapter_model.safetensors.")
        path = self._open(name)
        if name != PICKLED:
            try:
                with safe_open(path, "pt") as file:
                    return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
            except (SafetensorError, OSError) as error:
                raise BadJob(f"{name} in that folder is damaged ({first_line(error)}): fetch the model again.") from error
        try:
            if is_zipfile(path):
                with ZipFile(path) as file:  # torch packs nothing; what is packed could be a thousand times as large
                    if sum(info.file_size for info in file.infolist()) > MOST_BYTES:
                        raise BadJob(f"{name} in that folder unpacks to more than {MOST_BYTES / 1e6:,.0f} MB: choose another model.")
            found = torch.load(path, map_location="cpu", weights_only=True)
        except BadJob:
            raise
        except UnpicklingError as error:
            raise BadJob(f"{name} in that folder holds more than weights, such as code, which is never run: choose another.") from error
        except Exception as error:  # a zip, a pickle and torch's own: each has exceptions of its own
            raise BadJob(f"{name} in that folder is damaged ({first_line(error)}): fetch the model again.") from error
        if not isinstance(found, dict) or not all(isinstance(k, str) and isinstance(t, torch.Tensor) for k, t in found.items()):
            raise BadJob(f"{name} in that folder holds something else than named weights: choose another model.")
        return found

    def _open(self, name: str) -> Path:
        self._opened.add(name)
        return self._path / name


def _ids(name: str, document: dict[str, Any]) -> Iterator[Any]:
    """Yield the numbers that a tokenizer's file gives to words."""
    model, added, decoder = (document.get(part) for part in ("model", "added_tokens", "added_tokens_decoder"))
    vocabulary = document if name in ("vocab.json", "added_tokens.json") else model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict):
        yield from vocabulary.values()
    if isinstance(added, list):
        yield from (one.get("id") for one in added if isinstance(one, dict))
    if isinstance(decoder, dict):
        yield from (int(key) if re.fullmatch("[0-9]{1,7}", key) else None for key in decoder)
