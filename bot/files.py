"""Files, where the standard library stops short: their hashes, second names for them, and their bytes on the disk for good."""

import hashlib
import os
import shutil
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def double(path: Path, second: Path) -> None:
    """Give a file a second name, or a copy where the file system has one name for each."""
    try:
        os.link(path, second)
    except OSError:
        shutil.copy2(path, second)


def sync(path: Path) -> None:
    """Return when what was written to a file is on the disk, or, of a folder, which files are in it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
