"""A process that reads an account, for tests that kill it: `python -m tests.bot.x.reader DATABASE URL HANDLE`."""

import asyncio
import sys
from pathlib import Path

from bot.services.reading import Reading
from bot.services.spending import Budget
from bot.settings import Settings, X
from bot.x.tweepy_reader import TweepyReader
from data.consents import Ground
from data.store import Store
from tests.loopback_x import SECRETS


async def main(database: str, url: str, handle: str) -> None:
    """Read all that is new."""
    settings = Settings(data_dir=Path(database).parent, x=X(read_timelines=True, daily_cap=100, monthly_cap=100))
    async with Store(Path(database)) as store:
        reading = Reading(store, settings, Budget(store, settings.x), lambda: TweepyReader(SECRETS, api_url=url))
        print((await reading.read(handle, by="a test", ground=Ground.PERMISSION)).posts)
        await reading.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
