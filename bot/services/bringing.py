"""Models that come in: a folder or a name of the hub becomes the next version of a voice, with somebody's word that it may."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog
from sqlite_utils import Database

from bot.errors import BadRequestError
from bot.executors.carrier import carry
from bot.services.pushing import HUB_NAME
from bot.services.safety import Safety, Said
from bot.services.training import accounts_of
from bot.services.workplace import workplace
from bot.settings import Settings
from data import accounts, consents, models
from data.choosing import Counts
from data.consents import ConsentError, Ground
from data.copies import TrainingPosts
from data.models import Model
from data.readers.modelcard import read_model_card
from data.speech import PASSED
from data.store import Store
from trainer.protocol import Import, Imported

UNKNOWN = Counts(0, 0, 0, 0, 0)
"""Of an account whose posts nobody counted."""
log = structlog.get_logger()


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
    if not folder and not HUB_NAME.fullmatch(source):
        raise BadRequestError(f"There is no folder {source[-200:]}: name one that is there, or a model of the hub as OWNER/NAME.")
    with workplace(settings) as work:
        order = Import(
            source=str(Path(source).expanduser().absolute()) if folder else source,
            hub=not folder,
            output=str(work),
            cache=str(settings.cache),
            base=settings.trainer.base,
        )
        found = await carry(order, Imported, settings.data_dir / "trainer.log")
        counts = _counts(found, names)
        result = await _result(found, names, settings)
        recipe = {"base": found.base, "method": found.method, "imported": found.sha256}
        add: Callable[..., tuple[Model, bool]] = _add
        model, new = await store.write(add, counts, recipe, Path(found.weights), result, by, ground, settings)
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
