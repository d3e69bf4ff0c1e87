"""A model's weights as a file: the database holds the truth, and this cache of files for child processes can always be rebuilt."""

import asyncio
import os
from pathlib import Path
from threading import get_ident

from bot.settings import Settings
from data import models
from data.store import Store


def adapter_file(settings: Settings, sha256: str) -> Path:
    """Return where weights of this hash lie, if they were laid down."""
    return settings.data_dir / "adapters" / f"{sha256}.safetensors"


async def lay_down(store: Store, settings: Settings, model: models.Model, *, anew: bool = False) -> Path:
    """Return a file of a model's weights, written from the database where the cache lacks it; `anew`: whatever the cache has.

    Raises:
        DamagedError: the stored weights do not match their hash.
    """
    path = adapter_file(settings, model.sha256)
    if anew or not path.is_file():
        weights = await store.read(models.load_weights, model.id)
        await asyncio.to_thread(_write_whole, path, weights)
    return path


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A trainer and a speaker may need the same weights at once, and so may two processes: each writes a part of its own.
    part = path.with_suffix(f".{os.getpid()}-{get_ident()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
