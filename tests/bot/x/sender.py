"""A process that sends what is approved, for tests that kill it: `python -m tests.bot.x.sender DATABASE URL ROUNDS`."""

import asyncio
import sys
from pathlib import Path

from bot.services.posting import Posting
from bot.x.sender import XSender
from bot.x.tweepy_client import TweepyClient
from data.outbox import DEFAULT_ACCOUNT
from data.store import Store
from tests.loopback_x import SECRETS


async def main(database: str, url: str, rounds: str) -> None:
    """Recover, then try to send that many times, and print what came of each."""
    async with Store(Path(database)) as store:
        x = TweepyClient(SECRETS, api_url=url)
        posting = Posting(store, {DEFAULT_ACCOUNT: XSender(x)})
        await posting.recover()
        for _ in range(int(rounds)):
            print("sent" if await posting.send_next() else "nothing to send", flush=True)
        await x.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
