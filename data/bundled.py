"""The files that come with this package: the sample persona, and lists of words."""

from pathlib import Path


def bundled(*names: str) -> Path:
    """Return a file or folder by its way from here.

    Not through importlib.resources: in a working directory with a folder named `data`, that looks there.
    """
    return Path(__file__).parent.joinpath(*names)
