"""A model's weights as a file: the database holds the truth, and this cache of files for child processes can always be rebuilt.

What was used longest ago goes when the cache grows beyond its bound. Should that be what a child is about to read, it says so, and
the file is laid down anew.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from bot.errors import DamagedError, NotStoredError
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
        NotStoredError: the voice was forgotten meanwhile; no file is left.
    """
    path = adapter_file(settings, model.sha256)
    if anew or not await asyncio.to_thread(_touch, path):
        await _write_whole(store, model, path)
        if not await store.read(models.exists, model.id):  # forgotten while it was written
            path.unlink(missing_ok=True)
            raise NotStoredError(f"{model.voice} was forgotten.")
        await asyncio.to_thread(_make_room, path, settings.speaker.disk_mib << 20)
    return path


def _touch(path: Path) -> bool:
    """Mark a file as used now; say whether it is there."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _make_room(newest: Path, most: int) -> None:
    """Remove the files beside `newest` that were used longest ago, until all together take at most `most` bytes."""
    found = []
    for path in newest.parent.glob("*.safetensors"):
        with suppress(FileNotFoundError):  # another process makes room, too
            state = path.stat()
            found.append((state.st_mtime_ns, state.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= most or path == newest:
            continue
        path.unlink(missing_ok=True)
        total -= size


async def pieces(store: Store, model_id: int) -> AsyncIterator[bytes]:
    """Yield what is stored of a model's weights: a full model has 500 MB, and others read the database in between."""
    number = 0
    while (piece := await store.read(models.chunk, model_id, number)) is not None:
        yield piece
        number += 1


async def _write_whole(store: Store, model: models.Model, path: Path) -> None:
    """Write a file of what is stored."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A trainer and a speaker may need the same weights at once, and so may two processes: each writes a part of its own.
    part = path.with_suffix(f".{os.getpid()}-{token_hex(4)}.part")
    digest = hashlib.sha256()
    try:
        with part.open("wb") as file:
            async for piece in pieces(store, model.id):
                digest.update(piece)
                await asyncio.to_thread(file.write, piece)
        if digest.hexdigest() != model.sha256:
            if not await store.read(models.exists, model.id):
                raise NotStoredError(f"{model.voice} was forgotten.")
            raise DamagedError(f"The stored weights of {model.voice} are damaged: restore a backup, or train it again.")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
