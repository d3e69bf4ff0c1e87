"""Models that travel: a voice as a folder that needs nothing of Mynah, and such a folder, or one of the ancestor's, as a voice."""

import asyncio
import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import structlog
from pydantic import SecretStr
from sqlite_utils import Database

from bot.errors import BadRequestError, NotStoredError, TravelError
from bot.executors.carrier import carry
from bot.services import weights
from bot.services.safety import Safety, Said
from bot.services.speaking import own_sampling
from bot.services.training import accounts_of
from bot.settings import Settings
from data import accounts, consents, models
from data.choosing import Counts
from data.consents import ConsentError, Ground
from data.copies import TrainingPosts
from data.handles import voice_name
from data.models import Model
from data.readers.modelcard import read_model_card
from data.speech import PASSED
from data.store import Store
from trainer.protocol import NOTE, Export, Exported, Import, Imported

FORMAT = 1
"""Of mynah.json."""
UNKNOWN = Counts(0, 0, 0, 0, 0)
"""Of an account whose posts nobody counted."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
log = structlog.get_logger()


# ---------------------------------------------------------------------- export


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
        MynahError: as `export`.
    """
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


async def push(folder: Path, name: str, token: SecretStr | None) -> str:
    """Upload an exported folder into a private repository of the hub, which is made if it is not there; return its address.

    Raises:
        BadRequestError: no name of a repository, or no token.
        TravelError: the hub refused, or cannot be reached.
    """
    check_push(name, token)
    from huggingface_hub import HfApi  # half a second, which only those who push wait for

    api = HfApi(token=token.get_secret_value() if token else None)

    def upload() -> str:
        address = str(api.create_repo(name, private=True, exist_ok=True))
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="A voice of Mynah's")
        return address

    try:
        return await asyncio.to_thread(upload)
    except Exception as error:  # the hub's, the network's: each has exceptions of its own
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".:; ")
        raise TravelError(f"{name} could not be uploaded ({why}): {folder} is complete, try again.") from error


def check_push(name: str, token: SecretStr | None) -> None:
    """Refuse a push that cannot be, before anything is written.

    Raises:
        BadRequestError: no name of a repository, or no token.
    """
    if not _HUB_NAME.fullmatch(name):
        raise BadRequestError(f"{name[:80]!r} is no name of a repository: say it as OWNER/NAME.")
    if token is None:
        raise BadRequestError("Pushing needs a token of the hub's that may write: set HF_TOKEN.")


# ---------------------------------------------------------------------- import


async def import_model(
    store: Store, settings: Settings, source: str, voice: str, *, by: str, ground: Ground | None = None
) -> tuple[Model, bool]:
    """Store a model that was made elsewhere as the next version of a voice.

    Args:
        store: where to.
        settings: whose consent is asked for, and which bases are known.
        source: a folder's path, or a model's name on the hub.
        voice: whose posts it learned from: a handle, or several joined by `-`.
        by: who brings it.
        ground: on which he claims consent; None: it was claimed before.

    Returns:
        The model, and whether it is new.

    Raises:
        BadHandleError, ConsentError, BadRequestError, TravelError: nothing was stored.
    """
    names = await accounts_of(store, settings, voice.split("-"))
    await store.read(_require, names, settings, ground)
    folder = await asyncio.to_thread(Path(source).expanduser().is_dir)
    if not folder and not _HUB_NAME.fullmatch(source):
        raise BadRequestError(f"There is no folder {source[-200:]}: name one that is there, or a model of the hub as OWNER/NAME.")
    work = settings.data_dir / f"import-{token_hex(8)}"
    order = Import(
        source=str(Path(source).expanduser().absolute()) if folder else source,
        hub=not folder,
        output=str(work),
        cache=str(settings.cache),
        base=settings.trainer.base,
    )
    try:
        found = await carry(order, Imported, settings.data_dir / "trainer.log")
        counts = _counts(found, names)
        result = await _result(found, names, settings)
        recipe = {"base": found.base, "method": found.method, "imported": found.sha256}
        add: Callable[..., tuple[Model, bool]] = _add
        model, new = await store.write(add, counts, recipe, Path(found.weights), result, by, ground, settings)
    finally:
        await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)
    log.info("a model was imported", voice=model.voice, version=model.version, new=new)
    return model, new


def _require(db: Database, names: Sequence[str], settings: Settings, ground: Ground | None) -> None:
    """Make sure that there is leave to have these accounts' voice, or will be with this claim.

    Raises:
        ConsentError: there is not.
    """
    accepted = settings.consent.grounds
    if ground in accepted:
        return
    for name in names:
        if ground is None and not consents.claims(db, name):
            raise ConsentError(f"Nobody has claimed consent for @{name}: say with `--consent permission`, or `parody`, that you do.")
    consents.require(db, names, accepted)


def _counts(found: Imported, names: Sequence[str]) -> dict[str, Counts]:
    """Return what the folder says of the accounts' posts.

    Raises:
        ConsentError: it says that it learned from others than these.
    """
    card = read_model_card(found.card)
    said = tuple(sorted(map(str, listed))) if isinstance(listed := found.note.get("handles"), list) else card.handles
    if said and said != tuple(names):
        whose = " and ".join(f"@{handle[:20]}" for handle in said[:10])
        raise ConsentError(f"That model says that it learned from {whose}: import it --as {'-'.join(said)[:200]}.")
    noted = found.note.get("counts")
    return {name: _noted(noted, name) or card.counts.get(name, UNKNOWN) for name in names}


def _noted(counts: Any, name: str) -> Counts | None:
    try:
        own = counts[name]
        return Counts(**own) if all(type(value) is int and value < 10**9 for value in own.values()) else None
    except (TypeError, KeyError, ValueError, AttributeError):  # a stranger's file, or a card alone
        return None


async def _result(found: Imported, names: Sequence[str], settings: Settings) -> dict[str, Any]:
    """Return what a Done message would have said; what nobody measured is None."""
    details = found.details
    details["authors"] = [name for name in names if len(names) > 1 and name in details["authors"]]
    safety = Safety(settings.safety)
    nothing = TrainingPosts([])
    verdicts = [await asyncio.to_thread(safety.judge, line, nothing, Said()) for line in found.samples]
    return {
        "sha256": found.sha256,
        "bytes": found.bytes,
        "loss_before": None,
        "loss_after": None,
        "seconds": 0.0,
        "samples": [line for line, verdict in zip(found.samples, verdicts, strict=True) if verdict.name == PASSED],
        "details": details,
    }


def _add(
    db: Database,
    counts: dict[str, Counts],
    recipe: dict[str, Any],
    file: Path,
    result: dict[str, Any],
    by: str,
    ground: Ground | None,
    settings: Settings,
) -> tuple[Model, bool]:
    for name in counts:
        consents.refuse_opted_out(db, [name])
        accounts.ensure_account(db, name)
        if ground:
            consents.claim(db, name, ground, by)
    consents.require(db, counts, settings.consent.grounds)
    return models.add_imported(db, counts, recipe, file, result, by)
