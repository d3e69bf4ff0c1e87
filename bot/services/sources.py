"""A command of the operator's own that prints an account's posts: run as a child that knows no token, within limits, and read as a file."""

import asyncio
import tempfile
from asyncio import StreamReader
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from pathlib import Path
from typing import cast

from bot.errors import SourceError
from bot.executors.processes import child_environment, kill_group
from bot.settings import Settings, Source
from data.readers.plain import read_jsonl
from data.tweets import Tweet

CHUNK = 1 << 20
LAST_WORDS = 200  # characters of stderr
END_SECONDS = 2.0  # for what was killed to be gone


async def posts_of(settings: Settings, handle: str) -> list[Tweet]:
    """Run the command for an account, and return the posts that it printed.

    Raises:
        SourceError: it cannot be started, failed, took too long, printed too much, or what it printed is no posts.
    """
    with tempfile.TemporaryDirectory(prefix="source-", dir=settings.data_dir) as folder:
        path = Path(folder) / "The output of source.command"  # which is how a sentence about a line of it names it
        await _run(settings.source, handle, path)
        tweets = await asyncio.to_thread(lambda: list(read_jsonl(path)))
    if not tweets:
        raise SourceError(f"The command of [source] printed no posts of @{handle}.")
    return tweets


async def _run(source: Source, handle: str, path: Path) -> None:
    command = [argument.replace("{handle}", handle) for argument in source.command]
    try:
        child = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=child_environment(), start_new_session=True
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
        raise SourceError(f"The command of [source] cannot be started: {command[0]} ({error}).") from error
    stdout, stderr = cast("StreamReader", child.stdout), cast("StreamReader", child.stderr)
    complaint = asyncio.ensure_future(_last_words(stderr))
    try:
        async with asyncio.timeout(source.timeout_seconds):
            await _copy(stdout, path, source.max_mib << 20)
            status = await child.wait()
    except TimeoutError as error:
        raise SourceError(f"The command of [source] took more than {source.timeout_seconds:g} s: see source.timeout_seconds.") from error
    finally:
        kill_group(child.pid)  # and with it what it started, also where it has ended itself
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await stdout.read()  # what was left unread would keep the pipe open
                await child.wait()
                await asyncio.wait([complaint])
        complaint.cancel()
    if status:
        if complaint.done() and not complaint.cancelled() and (words := complaint.result()):
            raise SourceError(f"The command of [source] ended with status {status}: {words}.")
        raise SourceError(f"The command of [source] ended with status {status}.")


async def _copy(stdout: StreamReader, path: Path, most: int) -> None:
    """Write what the child prints into a file."""
    printed = 0
    with path.open("wb") as file:
        while chunk := await stdout.read(CHUNK):
            printed += len(chunk)
            if printed > most:
                raise SourceError(f"The command of [source] printed more than {most >> 20} MiB: see source.max_mib.")
            file.write(chunk)


async def _last_words(stderr: StreamReader) -> str:
    """Return the last line that the child writes to stderr, fit for the end of a sentence."""
    tail = b""
    while chunk := await stderr.read(CHUNK):
        tail = (tail + chunk)[-4096:]
    lines = tail.decode("utf-8", "replace").strip().splitlines() or [""]
    return "".join(char if char.isprintable() else " " for char in lines[-1]).strip()[:LAST_WORDS].rstrip(" .")
