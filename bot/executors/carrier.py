"""One child that exports or imports one model, and ends."""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TypeVar, cast

from bot.errors import TravelError
from bot.executors import processes
from bot.executors.processes import kill_group
from trainer.protocol import Export, Exported, Failed, Import, Imported, ProtocolError, parse

T = TypeVar("T", Exported, Imported)
NO_WORD = "The model could not be carried, and nobody said why (memory may have run out): see trainer.log."


async def carry(order: Export | Import, answer: type[T], log: Path) -> T:
    """Have a child do what an order says, and return what it answers; when this is cancelled, the child is killed.

    Raises:
        TravelError: it could not; the text says why.
    """
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="mynah-"))
    try:
        file = folder / "order.json"
        await asyncio.to_thread(file.write_text, order.to_json(), "utf-8")
        process = await processes.start([sys.executable, "-m", "trainer", "--carry", str(file), "--lifeline"], log)
        try:
            said = await cast("asyncio.StreamReader", process.stdout).read()
        finally:
            kill_group(process.pid)
            await process.wait()
            cast("asyncio.StreamWriter", process.stdin).close()
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    try:
        found = parse(said.decode("utf-8", "replace"))
    except ProtocolError as error:
        raise TravelError(NO_WORD) from error
    if isinstance(found, Failed):
        raise TravelError(found.sentence)
    if not isinstance(found, answer):
        raise TravelError(NO_WORD)
    return found
