"""`mynah run` for a day that passes in minutes, against the loopback X: posts flow, and memory and open files stay as they are."""

import asyncio
import os
import statistics
import sys
import time
from asyncio.subprocess import Process
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from bot.services.posting import Posting
from bot.services.scheduling import Scheduling, Spec
from data import outbox
from data.outbox import Post, State
from data.store import Store
from tests.conftest import ROOT
from tests.loopback_x import SECRETS, LoopbackX
from tests.voices import add_version

START = datetime(2027, 3, 27, 23, tzinfo=UTC)  # two hours before the clocks of Madrid go forward
CONFIG = """
data_dir = "var"
[x]
api_url = "{url}"
unattended = ["tides"]
posts_a_day = 10000
daily_cap = 1000
monthly_cap = 1000
"""


@dataclass
class Watched:
    """What was seen of the process, every second."""

    memory: list[int] = field(default_factory=list)
    """Bytes."""
    files: list[int] = field(default_factory=list)

    def look(self, process: psutil.Process) -> None:
        self.memory.append(process.memory_info().rss)
        self.files.append(process.num_fds())


async def day(folder: Path, seconds: float, factor: float, every: str) -> tuple[Watched, list[Post], LoopbackX]:
    """Run Mynah for so many real seconds while a person approves what waits; return what was seen, all posts, and X."""
    async with LoopbackX() as server, Store(folder / "var" / "mynah.db") as store:
        (folder / "config.toml").write_text(CONFIG.format(url=server.url))
        await store.write(add_version)
        person = Posting(store, clock=lambda: START)
        planning = Scheduling(store, _nobody, person, clock=lambda: START)
        zone = "Europe/Madrid"
        await planning.add("tides", "ann", Spec(every=every, jitter="4m", timezone=zone), by="ann", operator=True)
        await planning.add("weather", "ann", Spec(cron="*/20 * * * *", timezone=zone), by="ann", operator=True)
        keys = {f"X_{name.upper()}": secret.get_secret_value() for name, secret in SECRETS.of_x() if secret}
        environment = os.environ | keys | {"PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"}
        command = [sys.executable, "-m", "tests.bot.x.accelerated", str(folder / "config.toml"), START.isoformat(), str(factor)]
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=log, stderr=log, cwd=folder)
        try:
            watched = await _approve_and_watch(process, person, store, seconds)
            process.terminate()
            async with asyncio.timeout(20):
                assert await process.wait() == 0, (folder / "log").read_text()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return watched, (await person.listed(100_000))[::-1], server


async def _approve_and_watch(process: Process, person: Posting, store: Store, seconds: float) -> Watched:
    watched, seen = Watched(), psutil.Process(process.pid)
    async with asyncio.timeout(60):
        while not await person.listed(1):
            await store.changed()
            assert process.returncode is None
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        for draft in await store.read(outbox.in_state, State.DRAFT):
            if draft.schedule == "weather":
                await person.approve(draft.id, "ann")
        watched.look(seen)
        await asyncio.sleep(min(1.0, left))  # the span that is watched
        assert process.returncode is None
    return watched


async def _nobody(_schedule: object) -> str:
    raise AssertionError


def judge(watched: Watched, posts: list[Post], server: LoopbackX, *, hours: float, every: timedelta, share: float) -> list[timedelta]:
    """Check what must hold of any such day, in which a share of all times at least becomes a post; return how far apart weather's are."""
    sent = [post for post in posts if post.status is State.POSTED]
    assert sorted(server.posts.values()) == sorted(post.text for post in sent), "each is there once, and nothing else"
    assert len(server.requests) == len(sent)
    assert {post.status for post in posts} <= {State.POSTED, State.APPROVED, State.DRAFT}
    for post in sent:
        assert post.not_before
        assert post.tried_at
        assert post.not_before <= post.tried_at, "none before its time"
    tides = [datetime.fromisoformat(post.not_before or "") for post in sent if post.schedule == "tides"]
    weather = [datetime.fromisoformat(post.not_before or "") for post in sent if post.schedule == "weather"]
    assert len(tides) >= timedelta(hours=hours) / every * share
    assert len(weather) >= hours * 3 * share
    gaps = [two - one for one, two in pairwise(sorted(weather))]
    assert all(gap and gap % timedelta(minutes=20) == timedelta() for gap in gaps), "over the change of clocks as well"
    order = [post.not_before for post in sorted(sent, key=lambda post: int(post.x_id or 0)) if post.schedule == "tides"]
    assert order == sorted(order), "what waits for no person goes in the order of its times"
    third = len(watched.memory) // 3
    early, late = (statistics.median(part) / 2**20 for part in (watched.memory[third : 2 * third], watched.memory[-third:]))
    files = max(watched.files[third : 2 * third]), max(watched.files[-third:])
    print(f"{len(sent)} posts in {hours:.1f} hours; {early:.1f} and then {late:.1f} MiB; at most {files[0]} and then {files[1]} files open")
    return gaps


@pytest.mark.long
async def test_posts_flow_through_some_quick_hours(tmp_path):
    seconds, factor = 10.0, 1200.0
    watched, posts, server = await day(tmp_path, seconds, factor, "30m")
    # Should this machine stand still for a second, a time is missed; so half of them will do.
    judge(watched, posts, server, hours=seconds * factor / 3600, every=timedelta(minutes=30), share=0.5)
    assert max(watched.files) <= min(watched.files) + 8


@pytest.mark.long
async def test_a_day_in_ten_minutes_leaves_memory_and_files_as_they_are(tmp_path):
    seconds, factor = 600.0, 144.0
    watched, posts, server = await day(tmp_path, seconds, factor, "5m")
    gaps = judge(watched, posts, server, hours=24, every=timedelta(minutes=5), share=0.95)
    assert set(gaps) == {timedelta(minutes=20)}
    third = len(watched.memory) // 3
    assert statistics.median(watched.memory[-third:]) - statistics.median(watched.memory[third : 2 * third]) < 3 * 2**20
    assert max(watched.files[-third:]) <= max(watched.files[:third])
