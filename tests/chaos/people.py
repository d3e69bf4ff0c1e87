"""Those who use Mynah while its parts are killed: members in Discord, an operator at the terminal, and owners of accounts.

Each draws what he does from the seed, and writes into the ledger what he was told. Whoever is not answered because the service died asks
for something else: he was told nothing.
"""

import asyncio
import json
import random
import re
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.app import Mynah
from bot.errors import MynahError
from bot.services.importing import import_file
from data import outbox
from data.outbox import Post, State
from data.store import stamp
from tests.chaos.ledger import Ledger
from tests.chaos.service import START_SECONDS, Service

MEMBER, OPERATOR = "alice", "the operator"
SOON = timedelta(seconds=5)
"""A post whose time is later than this is not approved: everything is to come to rest in the end."""
WORDS = "lamp gull kettle fog tide letter bell boat stair harbour neighbour cat mill boot soup night morning wind rope salt".split()  # noqa: SIM905


@dataclass
class World:
    """What they all know."""

    service: Service
    app: Mynah
    """A command's, in this process: it only writes rows."""
    ledger: Ledger
    posts: int
    """Of an import."""
    patience: float
    """Seconds within which whoever is answered at all has his answer."""

    @property
    def handles(self) -> list[str]:
        """Who can be trained on: imported, and not withdrawn."""
        return self.ledger.names("SELECT DISTINCT handle FROM imports WHERE handle NOT IN (SELECT handle FROM withdrawn) ORDER BY handle")

    async def connected(self) -> None:
        """Wait until the service is in Discord: before, its members see that it is not there."""
        await self.service.discord.until(lambda: self.service.discord.online, START_SECONDS)

    async def answer(self, found: Callable[[], Any]) -> Any:
        """Return what somebody in Discord waits for; None: the service died over it, or was too slow."""
        life = self.service.life
        with suppress(TimeoutError):
            answered = await self.service.discord.until(lambda: found() or self.service.life != life, self.patience)
            return None if answered is True else answered
        self.ledger.tally["unanswered"] += 1
        return None


def write_archive(path: Path, count: int, draw: random.Random) -> Path:
    """Write so many posts that nobody wrote before, as X's archive or as a file of lines, by chance."""
    rows = []
    for _ in range(count):
        number = str(draw.randrange(10**17, 10**18))
        rows.append((number, f"{' '.join(draw.choices(WORDS, k=12))} {number[-6:]}"))
    if draw.random() < 0.5:
        path = path.with_suffix(".zip")
        tweets = [{"tweet": {"id_str": n, "full_text": text, "created_at": "Sat Feb 18 12:33:11 +0000 2023"}} for n, text in rows]
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data/tweets.js", "window.YTD.tweets.part0 = " + json.dumps(tweets))
    else:
        path = path.with_suffix(".jsonl")
        path.write_text("".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in rows))
    return path


class Member:
    """Trains, cancels and asks, in Discord."""

    def __init__(self, world: World, draw: random.Random) -> None:
        self._world, self._draw = world, draw
        self._discord = world.service.discord

    async def train(self, *handles: str) -> int | None:
        """Ask for a training and say yes to it; return the job, if he is told of one."""
        world = self._world
        handles = handles or tuple(self._draw.sample(world.handles, min(self._draw.choice([1, 1, 2, 3]), len(world.handles))))
        world.ledger.tally["trainings asked for"] += 1
        token = await self._discord.slash("train", handles=" ".join(handles))
        question = await world.answer(lambda: self._discord.shown(token))
        if not question or not any(one.get("label") == "Train" for row in question["components"] for one in row["components"]):
            return None
        await self._discord.press(question, "Train")
        settled = await world.answer(lambda: (shown := self._discord.shown(token)) and not shown["components"] and shown)
        found = settled and re.search(r"is queued: \S+/(\d+) shows|was asked for already: \S+/(\d+) shows", settled["content"])
        if not found:
            return None
        message = found[1] or found[2]
        number = re.search(r"job (\d+)", self._discord.first_words[message])  # it may show the end by now
        assert number, self._discord.first_words[message]
        world.ledger.note("trainings", int(number[1]), "-".join(sorted(handles)), int(message))
        return int(number[1])

    async def cancel(self, job: int) -> None:
        """Cancel a training."""
        ledger = self._world.ledger
        ledger.note("cancels", job, 0)
        token = await self._discord.slash("cancel", job=job)
        answer = await self._world.answer(lambda: self._discord.shown(token))
        if answer and answer["content"].endswith(("is cancelled.", "is being stopped.")):
            ledger.note("cancels", job, 1)

    async def ask(self) -> None:
        """Have a voice speak."""
        world = self._world
        voices = await world.app.store.read(lambda db: [row["voice"] for row in db.query("SELECT DISTINCT voice FROM models")])
        if not voices:
            return
        voice, prompt = self._draw.choice(voices), " ".join(self._draw.choices(WORDS, k=6))  # which nobody asks for twice
        world.ledger.tally["lines asked for"] += 1
        token = await self._discord.slash("generate", voice=voice, prompt=prompt, count=self._draw.choice([1, 1, 3]))
        answer = await world.answer(lambda: self._discord.shown(token))
        if answer and prompt in answer["content"]:
            world.ledger.note("answers", voice, prompt)

    async def train_for_ever(self, pause: float) -> None:
        """Train again and again; think better of some of it."""
        while True:
            await self._world.connected()
            with suppress(ConnectionError):  # the service dies while it is told
                job = await self.train()
                if job is not None and self._draw.random() < 0.3:
                    await asyncio.sleep(self._draw.uniform(0, pause))
                    await self.cancel(job)
            await asyncio.sleep(self._draw.uniform(0, pause))

    async def ask_for_ever(self, pause: float) -> None:
        """Ask again and again."""
        while True:
            await self._world.connected()
            with suppress(ConnectionError):
                await self.ask()
            await asyncio.sleep(self._draw.uniform(0, pause))


class Operator:
    """Imports, has schedules write, and decides about drafts, at the terminal."""

    def __init__(self, world: World, draw: random.Random) -> None:
        self._world, self._draw = world, draw
        self._files = 0

    async def import_(self, handle: str) -> None:
        """Import posts of an account by the command."""
        world = self._world
        file = self._write()
        world.ledger.tally["imports begun"] += 1
        told = await world.service.command("import", str(file), "--as", handle)
        if isinstance(told, dict):
            world.ledger.note("imports", told["handle"], told["new"])
        file.unlink()

    async def bring(self, handle: str) -> None:
        """Import posts of an account as the command does, while there is nobody to be killed yet."""
        app, file = self._world.app, self._write()
        self._world.ledger.tally["imports begun"] += 1
        told = await import_file(app.store, app.settings, file, handle, by=OPERATOR)
        self._world.ledger.note("imports", told.handle, told.new)

    def _write(self) -> Path:
        self._files += 1
        return write_archive(self._world.service.folder / f"posts-{self._files}", self._world.posts, self._draw)

    async def import_for_ever(self, pause: float) -> None:
        """Import new accounts, and more posts of those that stay; a guest is somebody who will withdraw."""
        while True:
            kept = [handle for handle in self._world.handles if not handle.startswith("guest")]
            handle = self._draw.choice([f"guest{self._files}", f"guest{self._files}", f"keeper{self._files}", self._draw.choice(kept)])
            await self.import_(handle)
            await asyncio.sleep(self._draw.uniform(0, pause))

    async def run(self, schedule: str) -> None:
        """Have a schedule write a draft."""
        with suppress(MynahError):  # it has just been run
            run = await self._world.app.scheduling.run_now(schedule, OPERATOR)
            self._world.ledger.note("runs", run.id)

    async def post_for_ever(self, pause: float) -> None:
        """Have drafts written, and decide about those that are there."""
        while True:
            if self._draw.random() < 0.5:
                await self.run(self._draw.choice(self._world.ledger.names("SELECT name FROM schedules ORDER BY name")))
            await self.decide()
            await self.settle()
            await asyncio.sleep(self._draw.uniform(0, pause))

    async def decide(self) -> None:
        """Approve most of the drafts whose time has come, and reject the others."""
        posting, ledger = self._world.app.posting, self._world.ledger
        for post in await self._world.app.store.read(outbox.in_state, State.DRAFT):
            if post.not_before and post.not_before > stamp(datetime.now(UTC) + SOON):
                continue
            if self._draw.random() < 0.8:
                await posting.approve(post.id, OPERATOR)
                ledger.note("decisions", post.id, "approved")
            else:
                await posting.reject(post.id, OPERATOR, "dull")
                ledger.note("decisions", post.id, "rejected")

    async def settle(self) -> None:
        """Look with a person's own eyes for what Mynah is not sure of."""
        for post in await self._world.app.store.read(outbox.awaiting):
            self._world.ledger.tally["posts that a person had to look for"] += 1
            if post.status is State.SENDING and self._is_there(post):
                await self._world.app.posting.confirm(post.id, OPERATOR)
            else:
                await self._world.app.posting.approve(post.id, OPERATOR)

    def _is_there(self, post: Post) -> bool:
        return post.text in self._world.service.x.posts.values()


class Owner:
    """Withdraws accounts by the commands."""

    def __init__(self, world: World, draw: random.Random) -> None:
        self._world, self._draw = world, draw

    async def withdraw(self, handle: str, how: str) -> None:
        """Have an account forgotten, or opt out."""
        ledger = self._world.ledger
        ledger.note("withdrawn", handle, how, 0)
        if isinstance(await self._world.service.command(how, handle), dict):
            ledger.note("withdrawn", handle, how, 1)

    async def withdraw_for_ever(self, pause: float) -> None:
        """Withdraw guests."""
        while True:
            await asyncio.sleep(self._draw.uniform(0, pause))
            if guests := [handle for handle in self._world.handles if handle.startswith("guest")]:
                await self.withdraw(self._draw.choice(guests), self._draw.choice(["forget", "opt-out"]))
