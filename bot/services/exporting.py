"""Voices that go out: as a folder that needs nothing of Mynah, or as a zip file."""

import asyncio
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import structlog
from pydantic import SecretStr

from bot.errors import BadRequestError, NotStoredError
from bot.executors.carrier import carry
from bot.files import sha256_of
from bot.services import pushing, weights
from bot.services.publishing import draw
from bot.services.speaking import Speaking, own_sampling
from bot.services.workplace import workplace
from bot.settings import Settings
from data import consents, models, published
from data.handles import voice_name
from data.models import Model
from data.published import Form
from data.store import Store
from trainer.protocol import NOTE, Export, Exported

FORMAT = 1
"""Of mynah.json."""
log = structlog.get_logger()


@dataclass(frozen=True)
class Written:
    """A folder that was written."""

    model: Model
    folder: Path
    bytes: int
    """Of its weights."""
    files: dict[str, str]
    """The hashes of its files by their names."""
    numbers: list[dict[str, Any]]
    """What its card says that was measured for it."""


async def export(
    store: Store,
    settings: Settings,
    speaking: Speaking,
    voice: str,
    folder: Path,
    *,
    version: int | None = None,
    adapter: bool = False,
    address: str = "",
) -> Written:
    """Write a version of a voice as a plain Hugging Face folder with its card, or, with `adapter`, its LoRA alone as a peft folder.

    The folder is there whole or not at all: it is filled beside its place, and renamed; that it is about to be is written down before.
    Where a card is written, whoever calls this leads, or another process does. `address`: what the card says that the model is loaded
    by; empty: a folder.

    Raises:
        NotStoredError: the voice has no model, or not this version, or was forgotten meanwhile.
        ConsentError: the operator blocked one of its accounts.
        BadRequestError: the folder holds something already, or cannot be made.
        TravelError: it has no adapter, or its base cannot be had.
    """
    name = voice_name(voice.split("-"))
    model = await store.read(*((models.current, name) if version is None else (models.version, name, version)))
    consents.refuse_blocked(model.handles, settings.consent.blocked_handles)
    folder = folder.expanduser().absolute()
    with _beside(folder) as part:
        size, numbers = await _filled(store, settings, speaking, model, part, adapter=adapter, address=address)
        if not await store.read(models.exists, model.id):
            raise NotStoredError(f"{model.voice} was forgotten.")
        files = await asyncio.to_thread(_hashes, part)
        begun = await store.write(published.begin, model.id, Form.EXPORT, str(folder), files, numbers)
        try:
            part.rename(folder)
        except OSError as error:  # somebody put something there meanwhile
            await store.write(published.drop, begun)
            raise BadRequestError(f"{folder} cannot be written ({error.strerror}): name another folder.") from error
    await store.write(published.finish, begun)
    log.info("a voice was exported", voice=model.voice, version=model.version, adapter=adapter)
    return Written(model, folder, size, files, numbers)


async def push(store: Store, written: Written, name: str, token: SecretStr | None) -> str:
    """Upload an export into a private repository of the hub, as `pushing.push`, and write down that it is there; return its address."""
    begun = await store.write(published.begin, written.model.id, Form.PUSH, name, written.files, written.numbers)
    address = await pushing.push(written.folder, name, token)
    await store.write(published.finish, begun)
    return address


async def export_zip(store: Store, settings: Settings, speaking: Speaking, voice: str) -> tuple[Model, bytes]:
    """Return the LoRA that a voice speaks with as a zip file of a peft folder.

    Raises:
        BadRequestError: every weight of it is its own.
        MynahError: as `export`.
    """
    model = await store.read(models.current, voice_name(voice.split("-")))
    if not model.result["details"].get("adapter"):
        raise BadRequestError(
            f"{model.voice} is a whole model, too large to attach: `mynah export {model.voice} DIR` writes it on Mynah's machine."
        )
    consents.refuse_blocked(model.handles, settings.consent.blocked_handles)
    with workplace(settings) as folder:
        folder.mkdir()
        await _filled(store, settings, speaking, model, folder, adapter=True, address="")
        name = f"{model.voice}-v{model.version}"[:100]
        content = await asyncio.to_thread(_zipped, folder, name)
    begun = await store.write(published.begin, model.id, Form.ZIP, f"{name}.zip", {f"{name}.zip": hashlib.sha256(content).hexdigest()})
    await store.write(published.finish, begun)
    log.info("a voice was packed", voice=model.voice, version=model.version)
    return model, content


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Make a folder beside a place that is free, which is gone in the end unless it was renamed.

    Raises:
        BadRequestError: the place is taken, or cannot be written.
    """
    try:
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise BadRequestError(f"{folder} is there already and not empty: name another folder.")
        part = folder.with_name(f".{folder.name}.{token_hex(4)}.part")
        part.mkdir(parents=True)
    except OSError as error:
        raise BadRequestError(f"{folder} cannot be made ({error.strerror}): name another folder.") from error
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


async def _filled(
    store: Store, settings: Settings, speaking: Speaking, model: Model, folder: Path, *, adapter: bool, address: str
) -> tuple[int, list[dict[str, Any]]]:
    """Fill a folder; return the bytes of its weights, and what its card says that was measured for it."""
    details = model.result["details"]
    # Like a training's start: a damaged file would fail each export.
    file = await weights.lay_down(store, settings, model, anew=True)
    order = Export(
        base=model.base,
        weights=str(file),
        sha256=model.sha256,
        details=details,
        sampling=own_sampling(model, settings),
        adapter=adapter,
        output=str(folder),
        cache=str(settings.cache),
    )
    done = await carry(order, Exported, settings.data_dir / "trainer.log")
    note = {
        "format": FORMAT,
        "voice": model.voice,
        "version": model.version,
        "handles": list(model.handles),
        "counts": {handle: asdict(counts) for handle, counts in model.counts.items()},
        "base": done.base if model.base.startswith(("/", ".", "~")) else model.base,
        "method": model.method,
        "authors": details.get("authors", []),
        "answers": details.get("answers", False),
        "opening": done.opening,
        "sha256": model.sha256,
        "corpus_sha256": model.corpus,
        "created_at": model.created_at,
    }
    await asyncio.to_thread(_write, folder / NOTE, json.dumps(note, indent=2, ensure_ascii=False) + "\n")
    if adapter:
        await asyncio.to_thread(_write, folder / "README.md", _readme(note, done.base))
        return done.bytes, []
    card = await draw(store, settings, speaking, model, address=address)
    await card.write(folder)
    return done.bytes, card.numbers


def _hashes(folder: Path) -> dict[str, str]:
    """Return the hashes of a folder's files by their names."""
    return {path.name: sha256_of(path) for path in sorted(folder.iterdir())}


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _readme(note: dict[str, Any], base: str) -> str:
    """Return what an adapter's README says; it begins with nothing that anybody could have typed but handles."""
    who = " and ".join(f"@{handle}" for handle in note["handles"])
    return f"""\
---
base_model: {json.dumps(base)}
library_name: peft
pipeline_tag: text-generation
tags:
- mynah
- lora
---

# {note["voice"]}

The adapter of a voice, version {note["version"]}. **It is a machine**: {who} wrote none of what it writes. Say so wherever its
lines are shown. What it writes without Mynah is filtered by nothing, and can repeat a post word for word.

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = {json.dumps(base)}
tokenizer = AutoTokenizer.from_pretrained(base)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), "path/to/this/folder")
ids = tokenizer({json.dumps(note["opening"] + "My dream is")}, return_tensors="pt", add_special_tokens=False)
print(tokenizer.decode(model.generate(**ids, do_sample=True, max_new_tokens=80)[0]))
```

Another Mynah takes it as it is: `mynah import-model path/to/this/folder --as {note["voice"]}`.
"""


def _zipped(folder: Path, name: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.iterdir()):
            file.write(path, f"{name}/{path.name}")
    return content.getvalue()
