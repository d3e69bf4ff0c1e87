"""A month of schedules while the process is killed again and again and X fails as it likes: each approved post is there exactly once."""

import asyncio
import multiprocessing
import os
import random
import signal
import sqlite3
import time
from collections import Counter, deque
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot.services.scheduling import TRIES
from data.store import stamp
from tests.bot.x import chaos
from tests.bot.x.chaos import ACCOUNTS, LEFT, MONTH, REJECTED, SCHEDULES, START, Death, DiskClock, number_of
from tests.loopback_x import Answer, LoopbackX

#: How often X gives each answer to a post, and to a look; the rest is as it should be.
POSTS = {
    Answer.UNAUTHORIZED: 0.01,
    Answer.NO_CREDITS: 0.01,
    Answer.DUPLICATE: 0.01,
    Answer.FORBIDDEN: 0.01,
    Answer.NOT_ENROLLED: 0.005,
    Answer.INVALID: 0.005,
    Answer.LIMITED: 0.03,
    Answer.LIMITED_FOR_THE_DAY: 0.01,
    Answer.LIMITED_WITHOUT_HEADERS: 0.02,
    Answer.FAILED: 0.04,
    Answer.FAILED_AFTER_MAKING: 0.04,
    Answer.CUT: 0.04,
    Answer.CUT_AFTER_MAKING: 0.04,
    Answer.SILENT: 0.015,
    Answer.SILENT_AFTER_MAKING: 0.02,
    Answer.NO_ID: 0.02,
}
LOOKS = {Answer.FAILED: 0.1, Answer.LIMITED: 0.04, Answer.FORBIDDEN: 0.03, Answer.SILENT: 0.02}
#: Where a process dies: between any two changes of a time's state or a post's, and at X itself.
AT_X = ("arrived, not made", "made, not answered")
WRITES = (
    "take up",
    "begin",
    "finish",
    "approve",
    "sending",
    "reserve posts_written",
    "posted",
    "unsure",
    "refused: approved",
    "not found",
    "reserve own_posts_read",
    "settle",
    "refused: failed",
)
PLACES = (*AT_X, *(f"{phase} {write}" for write in WRITES for phase in chaos.PHASES))
#: Those that each post passes, which even a short month comes by, and after which the disk says something new.
COMMON = (
    *AT_X,
    *(f"after {write}" for write in ("take up", "begin", "finish", "approve", "sending", "posted")),
    *(f"within {write}" for write in ("take up", "finish", "sending", "posted")),
)


#: What the outbox says of a look that found the post, of one that did not, and of a post that a person has to look for.
FOUND, NOT_FOUND, ASKED = "and found it: an earlier try", "and it is not: it is sent again", "look there: approve it"


class Fate(deque[Answer]):
    """Draws X's answers, and lets time tell when its limits reset."""

    def __init__(self, server: "ChaosX", odds: dict[Answer, float]) -> None:
        super().__init__([Answer.CREATED])  # so that it is never empty
        self._server = server
        self._odds = odds

    def popleft(self) -> Answer:
        server = self._server
        now = int(server.clock().timestamp())
        server.resets = {"x-rate-limit": now + 900, "x-user-limit-24hour": now + 4 * 3600}
        (answer,) = server.random.choices([*self._odds, Answer.CREATED], [*self._odds.values(), 1 - sum(self._odds.values())])
        if self is server.script and server.victim and server.place in AT_X and server.clock() >= server.kill_from:
            answer = Answer.SILENT if server.place == AT_X[0] else Answer.SILENT_AFTER_MAKING
        server.answers[answer] += 1
        return answer


class ChaosX(LoopbackX):
    """An X that fails at random, and may kill who posts to it."""

    def __init__(self, seed: int, clock: DiskClock) -> None:
        super().__init__(clock=clock, hides_for=timedelta(seconds=90), refuses_duplicates=False)  # so that a double would be seen
        self.random = random.Random(seed)
        self.answers: Counter[Answer] = Counter()
        self.script, self.looks = Fate(self, POSTS), Fate(self, LOOKS)
        self.victim: int | None = None
        self.place = ""
        self.kill_from = START
        self.deaths: list[str] = []
        self.arrived = self  # type: ignore[assignment]

    def put_nowait(self, text: str) -> None:
        """Hear of a request, once it is decided whether its post is made."""
        if self.victim and self.place in AT_X and self.clock() >= self.kill_from:
            os.kill(self.victim, signal.SIGKILL)
            self.victim = None
            self.deaths.append(self.place)

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/eyes", self._eyes)

    async def _eyes(self, request: web.Request) -> web.StreamResponse:
        """Tell a person whether a post is there."""
        wanted = (request.query["account"], request.query["text"])
        return web.json_response(any((post.account, post.text) == wanted for post in self.made))


async def _ended(process: Any) -> int:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)
    process.join()
    return int(process.exitcode)


async def month(folder: Path, count: int, kills: int, seed: int) -> str:
    """Post a month with so many deaths on the way, check all that must hold, and return the tally."""
    began = time.monotonic()
    chance = random.Random(seed)
    clock = DiskClock(folder / "clock")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.bot.x.chaos"])
    deaths: Counter[str] = Counter()
    killed = 0
    async with ChaosX(seed, clock) as server:
        while True:
            passed, death = (clock() - START).total_seconds(), None
            if killed < kills:
                slice_ = max(0.95 * MONTH.total_seconds() - passed, 0) / (kills - killed)  # so that the last one is not at the very end
                # Where nobody died yet: at the common places first, for a short month has not many kills.
                places = set(COMMON) - deaths.keys() or set(PLACES) - deaths.keys()
                server.place = next((place for place in AT_X if place in places), "")
                places = set() if server.place else places
                death = Death(frozenset(places), passed + slice_ * chance.uniform(0, 0.5), passed + slice_)
            process = context.Process(target=chaos.run, args=(str(folder), server.url, count, death))
            process.start()
            if death:
                server.victim = process.pid
                server.kill_from = START + timedelta(seconds=death.from_)
            code = await _ended(process)
            server.victim = None
            await asyncio.sleep(0.05)  # what it sent before it died arrives
            process.close()
            if code == 0:
                break
            assert code == -signal.SIGKILL
            killed += 1
            record = folder / "deaths"
            deaths = Counter([*server.deaths, *(record.read_text().splitlines() if record.exists() else [])])
    assert killed == kills
    missing = set(PLACES if kills >= 2 * len(PLACES) else COMMON) - deaths.keys()
    assert not missing, "a process died between any two changes of a state"
    return check(folder, server, deaths, count, time.monotonic() - began)


def check(folder: Path, server: ChaosX, deaths: Counter[str], count: int, seconds: float) -> str:
    db = sqlite3.connect(folder / "mynah.db")
    db.row_factory = sqlite3.Row
    posts = db.execute("SELECT * FROM posts ORDER BY id").fetchall()
    approved = {row["post"] for row in db.execute("SELECT DISTINCT post FROM post_changes WHERE status = 'approved'")}
    whys = [row["why"] for row in db.execute("SELECT why FROM post_changes")]
    runs = db.execute("SELECT * FROM schedule_runs ORDER BY id").fetchall()
    created = {row["name"]: datetime.fromisoformat(row["created_at"]) for row in db.execute("SELECT * FROM schedules")}
    spent = sum(row["cost"] for row in db.execute("SELECT cost FROM spending WHERE kind = 'posts_written'"))
    (integrity,) = db.execute("PRAGMA integrity_check").fetchone()
    db.close()

    numbers = {account: str(number) for number, account in enumerate(ACCOUNTS, 1)}
    there = Counter((post.account, post.text) for post in server.made)
    by_status = Counter(post["status"] for post in posts)
    duplicates = [post for post in posts if post["status"] == "failed"]
    for post in posts:
        expected = 1 if post["status"] == "posted" else 0
        assert there[numbers[post["account"]], post["text"]] == expected, dict(post)
        assert (post["id"] in approved) == (post["status"] in ("posted", "failed")), dict(post)
        assert post["x_id"] is None or server.posts[post["x_id"]] == post["text"]
    assert sum(there.values()) == by_status["posted"]
    for post in posts:
        fates = {REJECTED: {"rejected"}, LEFT: {"draft", "rejected"}}  # what is left is rejected a day after its time
        assert post["status"] in fates.get(number_of(post["text"]) % 10, {"posted", "failed"}), dict(post)
    assert len({post["text"] for post in posts}) == len(posts)

    step, times = timedelta(seconds=chaos.every(count)), count // len(SCHEDULES)
    for name in SCHEDULES:
        own = sorted(run["nominal"] for run in runs if run["schedule"] == name and run["asked_by"] is None)
        assert own == [stamp(created[name] + number * step) for number in range(1, times + 1)], f"each time of {name} once"
    for run in runs:
        assert run["outcome"] == "drafted" or (run["outcome"], run["tries"]) == ("failed", TRIES), dict(run)
    drafted = {run["post"]: run for run in runs if run["outcome"] == "drafted"}
    given_up = [run for run in runs if run["outcome"] == "failed"]
    assert sorted(drafted) == [post["id"] for post in posts], "a draft for each time, and none besides"
    assert len(drafted) + len(given_up) == len(runs), "no draft for two times"
    assert all(drafted[post["id"]]["schedule"] == post["schedule"] for post in posts)
    for account, number in numbers.items():
        turns = {post["text"]: (drafted[post["id"]]["at"], post["id"]) for post in posts if post["account"] == account}
        made = [turns[post.text] for post in server.made if post.account == number]
        assert made == sorted(made), f"the order on {account}"
    assert spent >= 15_000 * len(server.made), "what was posted is in the ledger"
    assert integrity == "ok"
    said = Counter(sign for sign in (FOUND, NOT_FOUND, ASKED) for why in whys if sign in why)
    anew = sum(run["asked_by"] == "mynah" for run in runs)
    assert anew == len(duplicates), "what takes a duplicate's place is asked for with its refusal"
    failures = ", ".join(
        f"{answer.name.lower()} {number}" for answer, number in sorted(server.answers.items(), key=lambda one: one[0].value)
    )
    return f"""
{count} times of {len(SCHEDULES)} schedules in {MONTH.days} virtual days, {seconds:.0f} s of real time
  {len(posts)} drafts, {sum(run["tries"] > 1 for run in runs)} of them begun more than once, {len(given_up)} given up
  {len(approved)} approved: {by_status["posted"]} posted, each once and in its order;
    {len(duplicates)} called duplicates by X, {anew} written anew
  {by_status["rejected"]} rejected by a person or as too late, {by_status["draft"]} left as drafts: none of them posted
  {len(server.requests)} requests to post for {len(server.made)} posts made; {len(server.looked)} looks:
    {said[FOUND]} posts found, {said[NOT_FOUND]} not there and sent again, {said[ASKED]} left to a person
  answers: {failures}
  {sum(deaths.values())} kills: {", ".join(f"{place} {number}" for place, number in sorted(deaths.items()))}"""


async def test_sixty_posts_and_fifteen_kills(tmp_path, capsys):
    tally = await month(tmp_path, count=60, kills=15, seed=1)
    with capsys.disabled():
        print(tally)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_five_hundred_posts_and_a_hundred_kills(tmp_path, capsys, seed):
    tally = await month(tmp_path, count=500, kills=100, seed=seed)
    with capsys.disabled():
        print(tally)
