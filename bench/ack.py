"""Does Discord get its acknowledgement in time, with a hundred interactions at once and a training on the same cores? (`make bench-ack`)

    python -m bench.ack [--interactions 100] [--rounds 3] [--questions 8] [--base NAME] [--json FILE] [--small]

`mynah run`, as it is, in a data folder of its own, on the loopback Discord of the tests: what Discord does is written once, and this is
the one bench that needs what the tests need. A voice is trained first. Then so many interactions are sent at once, of which a fifth
has the voice speak and the others look at voices, cards, the queue and help; the next round comes when all of them have their answers.
Then one person alone asks for five lines, some times in succession: how long until they are there. All of it is done twice: while the
service has nothing else to do, and while it trains another voice, with its message that is edited.

An acknowledgement's time is from before the interaction is written to the gateway's socket until the callback was read. So it holds what
this process takes itself, on the same cores. Discord takes none after 3 seconds: such a one is lost.
"""

import argparse
import asyncio
import json
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench import command, posts
from bench.command import ROOT, Goal, Report, Row, seconds
from bench.common import quantile
from bench.crowd import tweets
from data.tweets import Tweet
from tests.loopback_discord import LoopbackDiscord

VOICE, PUPIL = "keeper", "pupil"
MIX: tuple[tuple[str, dict[str, Any]], ...] = (
    ("generate", {"voice": VOICE, "count": 1}),
    ("models", {}),
    ("queue", {}),
    ("help", {}),
    ("about", {}),
    ("ask", {"voice": VOICE, "message": "is anybody else still awake?"}),
    ("models", {"search": "kee"}),
    ("show", {"voice": VOICE}),
    ("queue", {}),
    ("help", {"command": "train"}),
)
"""Sent in turn."""
QUESTION = (("generate", {"voice": VOICE, "count": 5}),)
"""For which eight candidates are drawn, three more than are asked for."""
ANSWERED = 4
"""Type of a callback that is the answer itself."""
LOST_SECONDS = 3.0
GOAL_MS = 1000.0
LONGEST = 900.0
"""Seconds by which a training has begun, and by which all answers of a round have come."""
VOICE_POSTS = 150
FULL = {"base": "smollm2-135m-instruct", "interactions": 100, "rounds": 3, "questions": 8}
SMALL = {"base": "tiny-random", "interactions": 10, "rounds": 1, "questions": 2}
Tell = Callable[..., None]


@dataclass
class Round:
    """What became of interactions that were sent at once."""

    sent: int
    acks: list[float] = field(default_factory=list)
    """Milliseconds."""
    seconds: float = 0.0
    """Until all were answered."""

    @property
    def lost(self) -> int:
        """How many were not acknowledged in time."""
        return self.sent - sum(ack <= 1e3 * LOST_SECONDS for ack in self.acks)


@dataclass
class Service:
    """A running Mynah, and the Discord that it is connected to."""

    discord: LoopbackDiscord
    folder: Path
    environment: dict[str, str]

    async def command(self, *words: str, **environment: str) -> None:
        """Run another command beside the service.

        Raises:
            SystemExit: it fails; its words are on stderr.
        """
        wanted = {**self.environment, **environment}
        process = await asyncio.create_subprocess_exec(
            *_command(self.folder, *words), cwd=ROOT, env=wanted, stdout=asyncio.subprocess.DEVNULL
        )
        if await process.wait():
            raise SystemExit(f"mynah {words[0]} failed.")

    async def together(self, count: int, mix: Sequence[tuple[str, dict[str, Any]]] = MIX) -> Round:
        """Send so many interactions at once, of the kinds of `mix` in turn, and wait until each is answered."""
        asked: dict[str, float] = {}
        done = Round(count)
        began = time.monotonic()
        seen = len(self.discord.requests)

        async def ask(name: str, options: dict[str, Any]) -> None:
            sent = time.monotonic()
            asked[await self.discord.slash(name, **options)] = sent

        await asyncio.gather(*(ask(*mix[number % len(mix)]) for number in range(count)))
        acked: set[str] = set()
        answered: set[str] = set()

        def over() -> bool:
            nonlocal seen
            new, seen = self.discord.requests[seen:], len(self.discord.requests)
            for request in new:
                match request.path.strip("/").split("/"):
                    case ["interactions", _, token, "callback"] if token in asked and token not in acked:
                        acked.add(token)
                        done.acks.append(1e3 * (request.at - asked[token]))
                        if request.json["type"] == ANSWERED:
                            answered.add(token)
                    case ["webhooks", _, token, *_] if token in asked:
                        answered.add(token)
            return len(answered) == count

        try:
            await self.discord.until(over, LONGEST)
        except TimeoutError:
            print(f"{count - len(answered)} of {count} got no answer at all", file=sys.stderr)
        done.seconds = time.monotonic() - began
        return done

    def status(self, job: int) -> str:
        """Return how a job stands."""
        with closing(sqlite3.connect(f"file:{self.folder / 'data' / 'mynah.db'}?mode=ro", uri=True)) as db:
            (found,) = db.execute("SELECT status FROM jobs WHERE id = ?", [job]).fetchone()
            return str(found)


def _command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "bot", *words, "--config", str(folder / "config.toml")]


@asynccontextmanager
async def running(arguments: argparse.Namespace, folder: Path) -> AsyncIterator[Service]:
    """Start the service in a folder, with one voice that can speak and another's posts."""
    most = 4000 if arguments.small else 1000  # the tiny model learns quickly, and its training is to last longer than the rounds
    # Quotas are not what is measured, and one line of few words is as much an answer as five.
    (folder / "config.toml").write_text(
        f'data_dir = "data"\ncache_dir = "{arguments.cache.resolve()}"\n[trainer]\nbase = "{arguments.base}"\ndevice = "cpu"\n'
        f"max_posts = {most}\n"
        '[speaker]\ndevice = "cpu"\ncandidates = 1\nmax_tokens = 40\n[quotas]\nlines_a_minute = 100000\n'
    )
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MYNAH_", "DISCORD_", "X_A"))}
    ours |= {"PYTHONPATH": str(ROOT)}
    async with LoopbackDiscord() as discord:
        environment = ours | {"DISCORD_TOKEN": discord.token, "MYNAH_DISCORD__API_URL": discord.url}
        service = Service(discord, folder, ours)
        await _import(service, arguments)
        with (folder / "run.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(*_command(folder, "run"), cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            await discord.until(lambda: discord.online and discord.commands, LONGEST)
            await service.command("train", VOICE, MYNAH_TRAINER__MAX_POSTS=str(VOICE_POSTS), MYNAH_TRAINER__EPOCHS="1")
            yield service
        finally:
            process.terminate()
            try:
                async with asyncio.timeout(30):
                    await process.wait()
            except TimeoutError:
                process.kill()


async def _import(service: Service, arguments: argparse.Namespace) -> None:
    found = _posts(arguments)
    for handle, some in ((VOICE, found[:VOICE_POSTS]), (PUPIL, found[VOICE_POSTS:])):
        file = service.folder / f"{handle}.jsonl"
        rows = ({"id": tweet.id, "created_at": tweet.created_at and tweet.created_at.isoformat(), "text": tweet.text} for tweet in some)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        await service.command("import", str(file), "--as", handle)


def _posts(arguments: argparse.Namespace) -> list[Tweet]:
    if arguments.small:
        return tweets(VOICE_POSTS + 4000, random.Random(0))
    return [tweet for tweet in posts.read(posts.default()) if not tweet.is_retweet]


async def measure(arguments: argparse.Namespace, folder: Path, tell: Tell) -> None:
    """Measure the rounds without and with a training."""
    async with running(arguments, folder) as service:
        await service.together(len(MIX))  # the speaker loads its base once
        tell(**await _rounds(service, arguments, "alone"))
        job = await _begin_to_learn(service.discord)
        tell(**await _rounds(service, arguments, "training"), still_training=int(service.status(job) == "running"))


async def _begin_to_learn(discord: LoopbackDiscord) -> int:
    """Have a member ask for the pupil's training, wait until it makes steps, and return its job."""
    await discord.say(f"!train {PUPIL}")
    asked = await discord.message(lambda message: message["components"] and PUPIL in message["content"], LONGEST)
    await discord.press(asked, "Train")
    shown = await discord.message(lambda message: message["id"] == asked["id"] and "learning" in message["content"], LONGEST)
    return int(shown["content"].split("job ")[1].split()[0])


async def _rounds(service: Service, arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """Return the figures of some rounds."""
    rounds = [await service.together(arguments.interactions) for _ in range(arguments.rounds)]
    questions = [(await service.together(1, QUESTION)).seconds for _ in range(arguments.questions)]
    acks = [ack for one in rounds for ack in one.acks]
    figures = {"p50": quantile(acks, 0.5), "p99": quantile(acks, 0.99), "max": max(acks)}
    return {
        **{f"{name}_ms_{what}": value for what, value in figures.items()},
        f"{name}_ms_all": [round(ack, 1) for ack in acks],
        f"{name}_lost": sum(one.lost for one in rounds),
        f"{name}_sent": sum(one.sent for one in rounds),
        f"{name}_answer_s": [round(one.seconds, 1) for one in rounds],
        f"{name}_question_s_p50": quantile(questions, 0.5),
        f"{name}_question_s_max": max(questions),
    }


def table(figures: Mapping[str, Any]) -> str:
    """Return what is known so far, in Markdown."""
    whole = "{:,.0f}".format
    rows = []
    for name, title, goal in (("alone", "alone", None), ("training", "beside a training", Goal(GOAL_MS))):
        rows += [
            Row(f"acknowledged, {title}, ms: max, p50, p99", (f"{name}_ms_max", f"{name}_ms_p50", f"{name}_ms_p99"), whole, goal),
            Row(f"sent, and of these lost, {title}", (f"{name}_sent", f"{name}_lost"), whole, Goal(0)),
            Row(f"five lines for one who asks alone, {title}, s: max, p50", (f"{name}_question_s_max", f"{name}_question_s_p50"), seconds),
        ]
    return command.table(rows, figures, "cpu")


def main(words: list[str] | None = None) -> None:
    """Measure what the command line asks for."""
    parser = command.parser("ack", __doc__, "the tiny random base, ten interactions", "base", "cache", "work")
    parser.add_argument("--interactions", type=int, help="at once")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--questions", type=int, help="of one person, one after another")
    arguments = command.parse(parser, words, SMALL, FULL)
    if min(arguments.interactions, arguments.rounds, arguments.questions) < 1:
        parser.error("--interactions, --rounds and --questions are numbers from 1 on")
    told = {"command": command.line(parser, words), "base": arguments.base}
    report = Report(arguments.json, told | {"cores": psutil.cpu_count(), "load": round(psutil.getloadavg()[0], 1)}, table)
    with tempfile.TemporaryDirectory(prefix="mynah-bench-", dir=arguments.work) as name:
        asyncio.run(measure(arguments, Path(name), report.tell))
    late = "The training ended before the last round did: the figures beside it are too good."
    report.end("" if report.figures["still_training"] else late)


if __name__ == "__main__":
    main()
