"""A sender that is killed while a post is on its way: the post is on X at most once, and waits for a person."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bot.services.posting import Posting
from data.outbox import State
from data.store import Store
from tests.bot.x.rows import VOICE, add_voice
from tests.loopback_x import Answer, LoopbackX

ROOT = Path(__file__).resolve().parents[3]


@asynccontextmanager
async def sender(database: Path, url: str, rounds: int) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bot.x.sender",
        database,
        url,
        str(rounds),
        cwd=ROOT,
        env={"NO_PROXY": "127.0.0.1"},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)  # child.kill() would reap it under asyncio's feet
        await child.wait()
        child._transport.close()


@pytest.mark.parametrize(("answer", "there"), [(Answer.SILENT, 0), (Answer.SILENT_AFTER_MAKING, 1)])
async def test_a_killed_sender_never_doubles_a_post(tmp_path, answer, there):
    database = tmp_path / "mynah.db"
    async with Store(database) as store, LoopbackX() as server, asyncio.timeout(60):
        await store.write(add_voice)
        posting = Posting(store, None)
        post = await posting.draft(VOICE, None, "Low water.", "a test")
        await posting.approve(post.id, "ann")

        server.script.append(answer)
        async with sender(database, server.url, 1) as child:
            await server.arrived.get()
            child.send_signal(signal.SIGKILL)
            assert await child.wait() == -signal.SIGKILL

        async with sender(database, server.url, 3) as child:
            assert child.stdout is not None
            assert (await child.stdout.read()).decode().splitlines()[-3:] == ["nothing to send"] * 3
            assert await child.wait() == 0

        (found,) = await posting.listed()
        assert found.status is State.SENDING
        assert "look there" in (await posting.history(post.id))[-1]["why"]
        assert (len(server.posts), len(server.requests)) == (there, 1)

        # A person looked, and not well: where the post is there already, X itself refuses its twin, and the person is asked again.
        await posting.approve(post.id, "ann")
        async with sender(database, server.url, 1) as child:
            assert child.stdout is not None
            assert (await child.stdout.read()).decode().splitlines()[-1] == "sent"  # after a line of the log
        (found,) = await posting.listed()
        assert (found.status, found.awaits_person) == ((State.SENDING, True) if there else (State.POSTED, False))
        assert list(server.posts.values()) == ["Low water."]
        (check,) = await store.read(lambda db: db.execute("PRAGMA integrity_check").fetchone())
        assert check == "ok"
