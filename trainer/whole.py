"""A model that is stored whole: one safetensors file with every weight, whose metadata holds the configuration and the tokenizer.

So it needs no base, and shares nothing with another. The weights are kept in the precision in which they came: in int8 they would
not be the model any more that somebody else made and measured.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from trainer import bases
from trainer.bases import Base
from trainer.errors import BadWeights, first_line
from trainer.files import sha256_of

CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
FILES = (CONFIG, TOKENIZER, TOKENIZER_CONFIG)


def write(path: Path, tensors: Mapping[str, torch.Tensor], texts: Mapping[str, str]) -> None:
    """Write a model's weights with the texts of its FILES."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"format": "pt"} | dict(texts))


def load(path: Path, sha256: str, name: str, device: torch.device, *, trainable: bool = False) -> Base:
    """Return a stored model as a base of its own.

    Raises:
        BadWeights: the file is missing, is not what `sha256` says, or holds something else.
        BaseUnavailable: what it holds cannot speak.
    """
    try:
        if sha256_of(path) != sha256:
            raise BadWeights(f"The weights {path} are not those that were stored (their sha256 differs): write them anew from the store.")
        with safe_open(path, "pt") as file:
            texts = file.metadata() or {}
    except OSError as error:
        raise BadWeights(f"The weights {path} cannot be read ({error.strerror}): write them anew from the store.") from error
    except SafetensorError as error:
        raise BadWeights(f"The weights {path} hold something else ({first_line(error)}): import the model again.") from error
    with tempfile.TemporaryDirectory(prefix="mynah-") as folder:
        for file_name in FILES:
            if file_name not in texts:
                raise BadWeights(f"The weights {path} lack {file_name}: import the model again.")
            (Path(folder) / file_name).write_text(texts[file_name], encoding="utf-8")
        (Path(folder) / "model.safetensors").symlink_to(path.absolute())
        return bases.load_folder(name, folder, device, trainable=trainable)
