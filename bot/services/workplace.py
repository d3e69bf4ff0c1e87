"""A folder for a model on its way in or out, which is gone afterwards, and after a kill by the next one or the next forgetting."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from bot.executors.processes import started_at
from bot.settings import Settings


@contextmanager
def workplace(settings: Settings) -> Iterator[Path]:
    """Give the path of a folder of one's own, which is not there yet; what others left that were killed goes."""
    tidy(settings)
    folder = _all(settings) / f"{os.getpid()}-{started_at(os.getpid())}-{token_hex(4)}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tidy(settings: Settings) -> None:
    """Remove the folders of processes that are gone."""
    for folder in abandoned(settings):
        shutil.rmtree(folder, ignore_errors=True)


def abandoned(settings: Settings) -> list[Path]:
    """Return the folders of processes that are gone."""
    return [folder for folder in _all(settings).glob("*") if not _lives(folder)]


def _lives(folder: Path) -> bool:
    # What is written beside a folder, to be renamed, is named after it.
    pid, _, rest = folder.name.lstrip(".").partition("-")
    return pid.isdecimal() and rest.partition("-")[0] == str(started_at(int(pid)))


def _all(settings: Settings) -> Path:
    return settings.data_dir / "travel"
