"""What a trainer is: the hash of its sources, and the versions of what its results depend on."""

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def versions() -> dict[str, str]:
    """Return them by name; two machines where they are the same make the same of a job, as far as their processors do."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    found = {name: _version(name) for name in ("torch", "transformers", "safetensors")}
    return {"trainer": digest.hexdigest()[:12], "Python": platform.python_version(), **found}


def _version(name: str) -> str:
    """Return a package's version without its build (+cpu, +cu130), which machines may differ in."""
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return "missing"
