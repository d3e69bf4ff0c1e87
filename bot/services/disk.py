"""The disk: room that trainings leave to speech, which a full one would take the words from."""

import shutil
from pathlib import Path

from bot.settings import Settings


def free_bytes(folder: Path) -> int:
    """Return what is free where a folder lies, or is to lie."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return shutil.disk_usage(there).free


def lacks_room(settings: Settings) -> str | None:
    """Return why nothing is to be trained now, or None."""
    free = free_bytes(settings.data_dir)
    if free >= settings.trainer.spare_mib << 20:
        return None
    return f"Mynah's disk has {free >> 20:,} MiB left, so nothing new is trained: its operator must free some (`mynah gc` helps)."
