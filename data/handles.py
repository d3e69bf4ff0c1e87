"""Handles of accounts, and the name that a voice made of several of them has."""

import re
from collections.abc import Iterable

from data.errors import BadHandleError

# X allows 15 characters today; accounts made before that rule, and huggingtweets models, have up to 20.
_HANDLE = re.compile(r"[A-Za-z0-9_]{1,20}", re.ASCII)


def normalise_handle(text: str) -> str:
    """Return the handle in lower case without its leading `@`.

    Raises:
        BadHandleError: it is empty, too long, or holds anything but letters, digits and underscores.
    """
    handle = text.strip().removeprefix("@")
    if not _HANDLE.fullmatch(handle):
        shown = handle if len(handle) <= 40 else handle[:40] + "…"
        raise BadHandleError(f"{shown!r} is not a handle: use 1 to 20 letters, digits and underscores, such as @keeper_ottoline.")
    return handle.lower()


def normalise_handles(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct handles, lower case and sorted: the order in which a voice names its accounts."""
    return tuple(sorted({normalise_handle(text) for text in texts}))


def voice_name(handles: Iterable[str]) -> str:
    """Return the name of the voice that these accounts make: lower case, sorted, joined by `-`."""
    return "-".join(normalise_handles(handles))
