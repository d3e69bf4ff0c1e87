"""Files, where the standard library stops short: hashes, second names, files whole or not at all, and bytes on the disk for good."""

import hashlib
import os
import shutil
from collections.abc import Mapping
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


def write_whole(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, which is made if need be, each whole or not at all, in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        part = folder / f".{name}.{os.getpid()}.part"
        try:
            part.write_bytes(content)
            part.replace(folder / name)
        finally:
            part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Return when what was written to a file is on the disk, or, of a folder, which files are in it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
