"""Voices that go out: as a folder that needs nothing of Mynah, or as a zip file."""

import asyncio
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

from bot.errors import BadRequestError, NotStoredError
from bot.executors.carrier import carry
from bot.services import weights
from bot.services.speaking import own_sampling
from bot.settings import Settings
from data import consents, models
from data.handles import voice_name
from data.models import Model
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


async def export(
    store: Store, settings: Settings, voice: str, folder: Path, *, version: int | None = None, adapter: bool = False
) -> Written:
    """Write a version of a voice as a plain Hugging Face folder, or, with `adapter`, its LoRA alone as a peft folder.

    The folder is there whole or not at all: it is filled beside its place, and renamed.

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
        done = await _filled(store, settings, model, part, adapter=adapter)
        if not await store.read(models.exists, model.id):
            raise NotStoredError(f"{model.voice} was forgotten.")
        try:
            part.rename(folder)
        except OSError as error:  # somebody put something there meanwhile
            raise BadRequestError(f"{folder} cannot be written ({error.strerror}): name another folder.") from error
    log.info("a voice was exported", voice=model.voice, version=model.version, adapter=adapter)
    return Written(model, folder, done.bytes)


async def export_zip(store: Store, settings: Settings, voice: str) -> tuple[Model, bytes]:
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
    folder = settings.data_dir / f"export-{token_hex(8)}"
    try:
        written = await export(store, settings, voice, folder, adapter=True)
        return written.model, await asyncio.to_thread(_zipped, folder, f"{written.model.voice}-v{written.model.version}"[:100])
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


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


async def _filled(store: Store, settings: Settings, model: Model, folder: Path, *, adapter: bool) -> Exported:
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
        "sha256": model.sha256,
        "corpus_sha256": model.corpus,
        "created_at": model.created_at,
    }
    await asyncio.to_thread(_dress, folder, note, done.base, adapter=adapter)
    return done


def _dress(folder: Path, note: dict[str, Any], base: str, *, adapter: bool) -> None:
    """Write what stands beside the weights: mynah.json, and the README."""
    (folder / NOTE).write_text(json.dumps(note, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_readme(note, base, adapter=adapter), encoding="utf-8")


def _readme(note: dict[str, Any], base: str, *, adapter: bool) -> str:
    name, who = note["voice"], ", ".join(f"@{handle}" for handle in note["handles"])
    kind = "an AI that writes like" if len(note["handles"]) == 1 else "an AI that writes like a mixture of"
    how = f"""\
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = "{base}"
tokenizer = AutoTokenizer.from_pretrained(base)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), "path/of/this/folder")
ids = tokenizer("<|endoftext|>My dream is", return_tensors="pt", add_special_tokens=False)
print(tokenizer.decode(model.generate(**ids, do_sample=True, max_new_tokens=80)[0]))
"""
    whole = """\
from transformers import pipeline

generator = pipeline("text-generation", model="path/of/this/folder")
generator("My dream is", num_return_sequences=5)
"""
    tags = "- mynah\n- lora" if adapter else "- mynah"
    library = "peft" if adapter else "transformers"
    return (
        f"---\nbase_model: {json.dumps(base)}\nlibrary_name: {library}\npipeline_tag: text-generation\ntags:\n{tags}\n---\n\n"
        f"# {name}\n\nVersion {note['version']}: {kind} {who}. What it writes was written by nobody.\n\n"
        f"```python\n{how if adapter else whole}```\n\n"
        f"Mynah takes it back: `mynah import-model path/of/this/folder --as {name}`.\n"
    )


def _zipped(folder: Path, name: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.iterdir()):
            file.write(path, f"{name}/{path.name}")
    return content.getvalue()
