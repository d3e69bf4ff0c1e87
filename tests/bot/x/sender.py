"""A process that sends what is approved, for tests that kill it: `python -m tests.bot.x.sender DATABASE URL ROUNDS`."""

import asyncio
import sys
from pathlib import Path

from bot.services.posting import Posting
from data.outbox import DEFAULT_ACCOUNT
from data.store import Store
from tests.bot.x.rows import sender_to


async def main(database: str, url: str, rounds: str) -> None:
    """Recover, then try to send that many times, and print what came of each."""
    async with Store(Path(database)) as store:
        x = sender_to(store, url)
        posting = Posting(store, {DEFAULT_ACCOUNT: x})
        await posting.recover()
        for _ in range(int(rounds)):
            print("sent" if await posting.send_next() else "nothing to send", flush=True)
        await x.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
