"""Forgetting an account: everything that was stored, trained or said of it goes, and its free pages are wiped."""

import shutil
from pathlib import Path

import structlog

from bot.services import tracking, workplace
from bot.services.training import Training
from bot.services.weights import adapter_file
from bot.settings import Settings
from data import accounts, askings, consents, jobs, models, published
from data.handles import normalise_handle
from data.store import Store

log = structlog.get_logger()


async def beyond(store: Store, settings: Settings, handle: str) -> list[str]:
    """Return where cards and exports of an account's voices were written, beside the data folder, whose own forgetting deletes.

    Raises:
        BadHandleError: no account can have that name.
    """
    voices = await store.read(accounts.voices_of, normalise_handle(handle))
    own = settings.data_dir / "cards"
    return [place for place in await store.read(published.places, voices) if not Path(place).is_relative_to(own)]


async def forget(store: Store, training: Training, settings: Settings, handle: str, *, by: str) -> dict[str, int]:
    """Delete all of an account and of every voice made of it; return how many rows of each kind went.

    Running trainings are cancelled first, and waited for. Whoever calls this leads, or another process does. What stands elsewhere
    (`beyond`) goes into the log, since nobody knows of it afterwards.

    Raises:
        BadHandleError, NotStoredError: nothing was deleted but questions that wait, and what was brought for them.
    """
    name = normalise_handle(handle)
    await _drop_questions(store, name)
    voices = await store.read(accounts.voices_of, name)
    for voice in voices:
        for job in await store.read(jobs.unfinished, voice):
            await store.write(jobs.request_cancel, job.id, by)
            await training.ended(job.id)
    elsewhere = await beyond(store, settings, name)
    cached = [sha256 for voice in voices for sha256 in await store.read(models.hashes, voice)]
    gone = await store.write(accounts.forget, name)
    if elsewhere:
        log.warning("what was published of a forgotten account is not deleted", places=elsewhere)
    for sha256 in cached:
        file = adapter_file(settings, sha256)
        for left in (file, *file.parent.glob(f"{sha256}.*.part")):  # a part is what a process that was killed left of it
            left.unlink(missing_ok=True)
    for voice in voices:
        shutil.rmtree(settings.data_dir / "cards" / voice, ignore_errors=True)
    workplace.tidy(settings)
    await tracking.tidy(store, settings)
    await store.wipe()
    return gone


async def _drop_questions(store: Store, handle: str) -> None:
    """Take back the questions about an account that wait, with their files: one that is still open would bring it all back."""
    for file in await store.write(askings.drop, handle):
        shutil.rmtree(file.parent, ignore_errors=True)


async def opt_out(store: Store, training: Training, settings: Settings, handle: str, *, by: str) -> dict[str, int]:
    """Never store or train an account again, and forget it; return how many rows of each kind went, none where nothing was stored.

    Raises:
        BadHandleError: nothing changed.
    """
    name = normalise_handle(handle)
    await store.write(consents.opt_out, name, by)  # first: nothing of it comes in between
    if name not in await store.read(accounts.known_handles):
        await _drop_questions(store, name)
        return {}
    return await forget(store, training, settings, name, by=by)
