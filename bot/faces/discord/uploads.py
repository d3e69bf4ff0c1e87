"""Files that members attach: streamed to disk, refused where they are larger than allowed, and never trusted."""

import asyncio
import re
import secrets
import shutil
from pathlib import Path, PurePosixPath

import aiohttp

from bot.errors import BadRequestError

SUFFIXES = (".zip", ".js", ".jsonl", ".ndjson", ".csv", ".txt")
CHUNK = 2**18
SECONDS = 120.0  # for a whole download
MIB = 2**20


def check_upload(name: str, size: int, most_mib: int) -> None:
    """Refuse a file by its name and announced size, before a byte of it is fetched.

    Raises:
        BadRequestError: it is too large, or of no kind that can be read.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise BadRequestError(f"I cannot read {name[-60:]!r}: attach X's archive (.zip), or a .jsonl, .csv or .txt file of posts.")
    if size > most_mib * MIB:
        raise BadRequestError(f"That file has {size / MIB:.1f} MiB, and I take {most_mib}: attach the archive's tweets.js alone.")


async def download(url: str, name: str, folder: Path, most_mib: int) -> Path:
    """Stream a file into a new folder inside `folder`, and return its path; of its name only harmless characters are kept.

    Raises:
        BadRequestError: it is larger than was announced, or cannot be fetched; nothing is left of it.
    """
    path = folder / secrets.token_hex(8) / re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(name).name)[-60:].lstrip(".")
    path.parent.mkdir(parents=True)
    try:
        async with (
            asyncio.timeout(SECONDS),
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.get(url, raise_for_status=True) as response,
        ):
            room = most_mib * MIB
            with path.open("xb") as file:
                async for chunk in response.content.iter_chunked(CHUNK):
                    room -= len(chunk)
                    if room < 0:
                        raise BadRequestError(f"That file is larger than {most_mib} MiB: attach the archive's tweets.js alone.")
                    await asyncio.to_thread(file.write, chunk)
    except BaseException as error:
        shutil.rmtree(path.parent, ignore_errors=True)
        if isinstance(error, aiohttp.ClientError | TimeoutError):
            raise BadRequestError("I could not fetch that file from Discord: attach it again.") from error
        raise
    return path
