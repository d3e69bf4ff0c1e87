"""A reader that is killed while it pages: no post is lost, a kill has one page paid for twice at most, and the ledger knows of it."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from data import accounts, spending
from data.store import Store
from tests.loopback_x import Account, LoopbackX

ROOT = Path(__file__).resolve().parents[3]
LOOK_UP, SECOND, FOURTH = 1, 3, 5
"""Requests of one reading, counted from 1: at these it is killed, before X has answered."""


async def test_kills_in_the_middle_of_paging_lose_nothing(tmp_path):
    database = tmp_path / "mynah.db"
    ann = Account("7", "ann")
    ann.write(520)

    async def start():
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bot.x.reader", database, server.url, "ann"),
            cwd=ROOT,
            env={"NO_PROXY": "127.0.0.1"},
            stdout=asyncio.subprocess.PIPE,
        )

    async with Store(database) as store, LoopbackX(accounts=[ann]) as server, asyncio.timeout(120):
        for kill_at in (LOOK_UP, SECOND, FOURTH):
            child = await start()
            try:
                for _ in range(kill_at):
                    await server.asked.get()
                child.send_signal(signal.SIGKILL)
                assert await child.wait() == -signal.SIGKILL
            finally:
                if child.returncode is None:
                    with suppress(ProcessLookupError):
                        os.kill(child.pid, signal.SIGKILL)
                await child.wait()
                child._transport.close()
        child = await start()
        output, _ = await child.communicate()
        assert child.returncode == 0
        assert 0 < int(output) < 520, "the last one had only the rest to read"

        stored = await store.read(accounts.read_tweets, "ann")
        assert {tweet.id for tweet in stored} == {row["id"] for row in ann.rows}
        twice = sum(server.delivered[row["id"]] - 1 for row in ann.rows)
        assert twice <= 3 * 100, "of each kill one page"
        paid = server.delivered["7"] * 10_000 + sum(server.delivered[row["id"]] for row in ann.rows) * 5_000
        assert paid <= await store.read(spending.spent, spending.month(datetime.now(UTC)))
        (check,) = await store.read(lambda db: db.execute("PRAGMA integrity_check").fetchone())
        assert check == "ok"
