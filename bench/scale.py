"""Does one Mynah carry ten thousand voices, a thousand queued accounts, two hundred servers and five thousand interactions a minute?
(`make bench-scale`)

    python -m bench.scale [--voices 10000] [--queued 1000] [--servers 200] [--rates 1000 2500 5000] [--seconds 120] [--json FILE] [--small]

Everything that Mynah does is done: rows, queues, judgements, messages. Models are simulated: trainer and speaker are processes that keep to
the protocol and draw words (tests/chaos/children.py), a training takes 0.6 s however many are in its batch, and lines come at once. The
database is bench/crowd.py's. Two parts:

queue       the queue alone, in this process: a fifth of all trainings is one server's. One trainer with 1, 4, 16 and 64 trainings in
            its batch (`[trainer] at_once`), and two and four trainers (`[trainer] gpus`) with one each: trainings a minute, and how
            far apart servers that still wait are in what was begun for them
service     `mynah run` on the loopback Discord of the tests, with that queue watched in as many messages. Members of all servers ask in
            turn what MIX holds, of five voices a server, at one rate after another: how late the event loop is (a look each 20 ms), how
            soon Discord hears of an interaction, how long an answer takes, processor time, and memory. The generator, Discord and the
            service share this machine's cores

An acknowledgement's time is from before the interaction is written to the gateway's socket until the callback was read.
"""

import argparse
import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from sqlite_utils import Database

from bench import command, crowd, watched
from bench.command import ROOT, Goal, Report, Row
from bench.common import quantile
from bench.watched import Sample, Watched
from bot.executors.local import LocalExecutor
from bot.log import configure_logging
from bot.services.training import Training
from bot.settings import Settings, load_settings
from data import jobs
from data.corpus import build_corpus
from data.origin import Origin
from data.store import Store
from tests.chaos.light import CHILDREN
from tests.loopback_discord import LoopbackDiscord

BATCHES = (1, 4, 16, 64)
WORKERS = (2, 4)
FORMS = (*((1, batch) for batch in BATCHES), *((workers, 1) for workers in WORKERS))
"""Trainers, and how many trainings each has in its batch."""
ORDERS = 40
"""Of a trainer, at most: with one at a time a thousand trainings would take ten minutes."""
ANOTHER_SEED = 99  # than those of the other part, and of bench/crowd.py: what was trained already is not queued
VOICES_A_SERVER = 5
MIX: tuple[tuple[str, dict[str, Any]], ...] = (
    ("generate", {"voice": "", "count": 1}),
    ("models", {}),
    ("queue", {}),
    ("help", {}),
    ("about", {}),
    ("ask", {"voice": "", "message": "is anybody else still awake?"}),
    ("models", {"search": "ka"}),
    ("queue", {}),
    ("help", {"command": "train"}),
    ("models", {"page": 3}),
)
"""Sent in turn; an empty voice is one of the server's."""
ANSWERED = 4
LOST_SECONDS = 3.0
LAG_GOAL_MS = 100.0
GROWN_GOAL_MB = 10.0
"""The last quarter's median of a rate less its second quarter's; in the first the caches fill."""
LAST_SECONDS = 60.0
"""By which what was asked last is answered."""
START_SECONDS = 120.0
FULL = {"voices": 10_000, "queued": 1000, "servers": 200, "rates": [1000, 2500, 5000], "seconds": 120.0}
SMALL = {"voices": 8, "queued": 4, "servers": 2, "rates": [300], "seconds": 3.0}
Tell = Callable[..., None]


class Servers(LoopbackDiscord):
    """A Discord in which the bot is in many servers; the one that is looked at is changed by `at`."""

    def spread(self, count: int) -> None:
        """Make so many servers, each with a channel."""
        self.places = [(self.guild_id, self.channel_id), *((self._id(), self._id()) for _ in range(count - 1))]

    def at(self, number: int) -> None:
        """Let what comes next happen in one of them."""
        self.guild_id, self.channel_id = self.places[number % len(self.places)]

    async def _welcome(self, socket: Any, shard: tuple[int, int]) -> None:
        self.at(0)
        await super()._welcome(socket, shard)
        for number in range(1, len(self.places)):
            self.at(number)
            self._sequence += 1
            await socket.send_json({"op": 0, "t": "GUILD_CREATE", "s": self._sequence, "d": self._guild()})


# -------------------------------------------------------------------- queue


def enqueue(db: Database, handles: Sequence[str], servers: Sequence[int], seed: int) -> dict[int, int]:
    """Queue a training of each account, a fifth of them for the first server; return each one's server."""
    template = build_corpus({"someone": crowd.tweets(150, random.Random(0))}, max_posts=150, seed=0)
    recipe = crowd.RECIPE | {"base": "tiny-random", "seed": seed}
    asked, others = {}, servers[1:] or servers
    for number, handle in enumerate(handles):
        server = servers[0] if number % 5 == 0 else others[number % len(others)]
        corpus = crowd.corpus_for(handle, template)
        job, _ = jobs.enqueue(db, handle, corpus, recipe, "a member", Origin(10**6 + number, server))
        asked[job.id] = server
    return asked


def unfairness(begun: Sequence[int], asked: Mapping[int, int]) -> int:
    """Return how far apart, at most, two servers were in what was begun for them while both still waited.

    Args:
        begun: the server of each training, in the order in which they began.
        asked: how many each server had asked for.
    """
    count = dict.fromkeys(asked, 0)
    worst = 0
    for server in begun:
        count[server] += 1
        waiting = [number for name, number in count.items() if number < asked[name]]
        worst = max(worst, count[server] - min(waiting, default=count[server]))
    return worst


async def queue(settings: Settings, handles: Sequence[str], servers: int, tell: Tell) -> None:
    """Measure how trainings get through the queue, so many at once."""
    async with Store(settings.database) as store:
        for seed, (workers, batch) in enumerate(FORMS, 1):
            name = f"{workers}x{batch}"
            asked = await store.write(enqueue, handles, range(1, servers + 1), seed)
            began = time.perf_counter()
            await store.read(jobs.positions)
            tell(**{f"order_ms_{name}": 1e3 * (time.perf_counter() - began)})
            rate = await _train(store, settings, workers, batch, asked)
            begun = await store.read(_begun, asked)
            tell(**{f"trainings_a_minute_{name}": rate, f"unfair_{name}": unfairness(begun, Counter(asked.values()))})
            await store.write(_clear)


async def _train(store: Store, settings: Settings, workers: int, batch: int, asked: Mapping[int, int]) -> float:
    """Run the queue with so many trainers until some of what was asked for has ended; return how many ended a minute."""
    chosen = settings.model_copy(update={"trainer": settings.trainer.model_copy(update={"at_once": batch})})
    trainers = [LocalExecutor(settings.data_dir / f"trainer-{number}.log", *CHILDREN) for number in range(workers)]
    training = Training(store, chosen, *trainers)
    running = asyncio.create_task(training.run_forever())
    try:
        while await store.read(_done, min(asked)) < min(len(asked), ORDERS * batch * workers):
            if running.done():
                running.result()
            await store.changed()
        return await store.read(_rate, min(asked))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _rate(db: Database, since: int) -> float:
    """Return how many trainings ended a minute, from when the first began to when the last ended."""
    (row,) = db.query(
        "SELECT count(*) AS ended, julianday(max(ended_at)) - julianday(min(started_at)) AS days FROM jobs"
        " WHERE id >= ? AND status = 'done'",
        [since],
    )
    return float(row["ended"] / (row["days"] * 24 * 60))


def _done(db: Database, since: int) -> int:
    return db["models"].count_where("job >= ?", [since])


def _begun(db: Database, asked: Mapping[int, int]) -> list[int]:
    """Return the servers of what has begun, in this order."""
    rows = db.query("SELECT id FROM jobs WHERE id >= ? AND started_at IS NOT NULL ORDER BY started_at, id", [min(asked)])
    return [asked[row["id"]] for row in rows]


def _clear(db: Database) -> None:
    for job in jobs.unfinished(db):
        jobs.end(db, job.id, jobs.Status.CANCELLED, sentence="The bench is over.")


# ------------------------------------------------------------------ service


async def serve(arguments: argparse.Namespace, folder: Path, handles: Sequence[str], tell: Tell) -> None:
    """Measure the service at one rate of interactions after another."""
    async with Servers() as discord:
        discord.spread(arguments.servers)
        async with Store(folder / "data" / "mynah.db") as store:
            await store.write(_watch, discord, handles[: arguments.queued])
        environment = {"DISCORD_TOKEN": discord.token, "MYNAH_DISCORD__API_URL": discord.url}
        async with watched.service(folder, environment) as service:
            await discord.until(lambda: discord.online and discord.commands, START_SECONDS)
            chance = random.Random(0)
            for rate in arguments.rates:
                load = Load(discord, handles, chance)
                found = await load.run(service, rate, arguments.seconds)
                sizes = found.pop("sizes")
                tell(**{f"{name}_{rate}": value for name, value in found.items()}, **{f"memory_mb_{rate}_all": sizes})
        async with Store(folder / "data" / "mynah.db") as store:
            tell(still_queued=await store.read(lambda db: db["jobs"].count_where("status = 'queued'")))


def _watch(db: Database, discord: Servers, handles: Sequence[str]) -> None:
    """Queue trainings in the servers that there are, each with a message that shows it."""
    places = [int(server) for server, _ in discord.places]
    for job, server in enqueue(db, handles, places, ANOTHER_SEED).items():
        discord.at(places.index(server))
        message = discord.put_up("is queued")
        jobs.add_watch(db, job, int(discord.channel_id), int(message["id"]), int(discord.member["id"]))


class Load:
    """Interactions at one rate, and what became of them."""

    def __init__(self, discord: Servers, handles: Sequence[str], chance: random.Random) -> None:
        self._discord = discord
        self._handles = handles
        self._chance = chance
        self._sent: dict[str, float] = {}
        self._samples: list[Sample] = []

    async def run(self, service: Watched, rate: int, seconds: float) -> dict[str, Any]:
        """Send so many a minute for so long, wait until they are answered, and return the figures."""
        seen, began = len(self._discord.requests), time.monotonic()
        sampling = asyncio.create_task(self._sample(service))
        for number in range(int(rate * seconds / 60)):
            await asyncio.sleep(max(0.0, began + 60 * number / rate - time.monotonic()))
            await self._send(number)
        ended = time.monotonic()
        acks, answers = await self._outcome(seen)
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
        late = [1e3 * lag for _, lag in watched.looks(service.late, began, ended)]
        during = [sample for sample in self._samples if sample.at <= ended]
        cpu = (during[-1].cpu - during[0].cpu) / (during[-1].at - during[0].at)
        sizes = [sample.rss / 1e6 for sample in during]
        quarter = max(1, len(sizes) // 4)
        return {
            "sent_a_minute": 60 * len(self._sent) / (ended - began),
            "lag_ms_p50": quantile(late, 0.5),
            "lag_ms_p99": quantile(late, 0.99),
            "lag_ms_max": max(late),
            "ack_ms_p50": quantile(acks, 0.5),
            "ack_ms_p99": quantile(acks, 0.99),
            "sent": len(self._sent),
            "lost": len(self._sent) - sum(ack <= 1e3 * LOST_SECONDS for ack in acks),
            "unanswered": len(self._sent) - len(answers),
            "answer_s_p50": quantile(answers, 0.5),
            "answer_s_p99": quantile(answers, 0.99),
            "cpu": cpu,
            "cpu_ms_each": 1e3 * cpu * (ended - began) / len(self._sent),
            "memory_mb": sizes[-1],
            "grown_mb": median(sizes[-quarter:]) - median(sizes[quarter : 2 * quarter]),
            "files": during[-1].files,
            "threads": during[-1].threads,
            "sizes": [round(size, 1) for size in sizes],
        }

    async def _send(self, number: int) -> None:
        discord, server = self._discord, self._chance.randrange(len(self._discord.places))
        discord.at(server)
        name, options = MIX[number % len(MIX)]
        if "voice" in options:
            voice = server * VOICES_A_SERVER + self._chance.randrange(VOICES_A_SERVER)
            options = options | {"voice": self._handles[voice % len(self._handles)]}
        sent = time.monotonic()
        self._sent[await discord.slash(name, **options)] = sent

    async def _sample(self, service: Watched) -> None:
        async for sample in service.samples(1.0):
            self._samples.append(sample)

    async def _outcome(self, seen: int) -> tuple[list[float], list[float]]:
        """Return milliseconds to each acknowledgement and seconds to each answer; what got none by now is left out."""
        acks: dict[str, float] = {}
        answers: dict[str, float] = {}

        def over() -> bool:
            nonlocal seen
            new, seen = self._discord.requests[seen:], len(self._discord.requests)
            for request in new:
                match request.path.strip("/").split("/"):
                    case ["interactions", _, token, "callback"] if token in self._sent:
                        acks.setdefault(token, request.at - self._sent[token])
                        if request.json["type"] == ANSWERED:
                            answers.setdefault(token, request.at - self._sent[token])
                    case ["webhooks", _, token, *_] if token in self._sent:
                        answers.setdefault(token, request.at - self._sent[token])
            return len(answers) == len(self._sent)

        with suppress(TimeoutError):
            await self._discord.until(over, LAST_SECONDS)
        return [1e3 * seconds for seconds in acks.values()], list(answers.values())


# -------------------------------------------------------------------- whole


async def measure(arguments: argparse.Namespace, folder: Path, tell: Tell) -> None:
    """Measure both parts over a database that is there."""
    (folder / "config.toml").write_text(
        f'data_dir = "data"\ncache_dir = "{arguments.cache.resolve()}"\n[trainer]\nbase = "tiny-random"\ndevice = "cpu"\n'
        '[speaker]\ndevice = "cpu"\n[quotas]\ntrainings_a_day = 1000000\ntrainings_a_day_server = 1000000\nlines_a_minute = 10000000\n'
    )
    settings = load_settings(folder / "config.toml")
    configure_logging(folder / "bench.log")
    async with Store(settings.database) as store:
        handles = await store.read(lambda db: [row["voice"] for row in db.query("SELECT voice FROM models ORDER BY id")])
    await queue(settings, handles[: arguments.queued], arguments.servers, tell)
    await serve(arguments, folder, handles, tell)


def table(rates: Sequence[int], figures: Mapping[str, Any]) -> str:
    """Return what is known so far, in Markdown."""
    whole, tenth = "{:,.0f}".format, "{:,.1f}".format
    rows = [Row("voices in the database, MB", ("database_mb",), whole)]
    for workers, batch in FORMS:
        form = f"{workers} trainer{'s' * (workers > 1)}, {batch} at once"
        rows += [
            Row(f"trainings a minute, {form}", (f"trainings_a_minute_{workers}x{batch}",), whole),
            Row(f"servers apart in what was begun, {form}", (f"unfair_{workers}x{batch}",), whole, Goal(workers * batch)),
        ]
    rows.append(Row(f"{BATCHES[-1]} at once, and {WORKERS[-1]} trainers, times one", ("speedup", "speedup_by_trainers"), tenth))
    for rate in rates:
        title = f"at {rate:,} a minute"
        names = {name: tuple(f"{part}_{rate}" for part in parts) for name, parts in PARTS.items()}
        rows += [
            Row(f"{title}: sent a minute", names["sent"], whole),
            Row(f"{title}: event loop late, ms: p50, max, p99", names["lag"], tenth, Goal(LAG_GOAL_MS)),
            Row(f"{title}: acknowledged, ms: p50, p99", names["ack"], whole),
            Row(f"{title}: not acknowledged within 3 s, of", names["lost"], whole, Goal(0)),
            Row(f"{title}: answered, s: p50, p99; how many not at all", names["answer"], tenth),
            Row(f"{title}: processor of the service, cores; ms an interaction", names["cpu"], "{:.2f}".format),
            Row(f"{title}: memory of the service, MB: late, grown by", names["memory"], tenth, Goal(GROWN_GOAL_MB)),
        ]
    return command.table(rows, figures, "cpu")


PARTS = {
    "sent": ("sent_a_minute",),
    "lag": ("lag_ms_p50", "lag_ms_max", "lag_ms_p99"),
    "ack": ("ack_ms_p50", "ack_ms_p99"),
    "lost": ("sent", "lost"),
    "answer": ("answer_s_p50", "answer_s_p99", "unanswered"),
    "cpu": ("cpu", "cpu_ms_each"),
    "memory": ("memory_mb", "grown_mb"),
}
"""Figures of one rate, as the table has them."""


def main(words: list[str] | None = None) -> None:
    """Make the database, and measure."""
    parser = command.parser("scale", __doc__, "eight voices, two servers, some seconds", "cache", "work")
    parser.add_argument("--voices", type=int, help="in the database")
    parser.add_argument("--queued", type=int, help="accounts whose trainings wait")
    parser.add_argument("--servers", type=int)
    parser.add_argument("--rates", type=int, nargs="+", help="interactions a minute, one rate after the other")
    parser.add_argument("--seconds", type=float, help="of each rate")
    parser.add_argument("--keep", type=Path, help="folder in which the database of voices is made, and found again the next time")
    arguments = command.parse(parser, words, SMALL, FULL)
    if not 1 <= arguments.queued <= arguments.voices or arguments.servers < 1 or min(*arguments.rates, arguments.seconds) <= 0:
        parser.error("--queued is at most --voices, and everything is more than nothing")
    shape = {name: getattr(arguments, name) for name in ("voices", "queued", "servers", "seconds")}
    told = {"command": command.line(parser, words), **shape, "cores": psutil.cpu_count(), "load": round(psutil.getloadavg()[0], 1)}
    report = Report(arguments.json, told, lambda found: table(arguments.rates, found))
    with tempfile.TemporaryDirectory(prefix="mynah-bench-", dir=arguments.work) as name:
        made = (arguments.keep or Path(name) / "made").resolve()
        if not (made / "mynah.db").exists():
            made.mkdir(parents=True, exist_ok=True)
            report.tell(**_crowd(arguments, made / "mynah.db"))
        shutil.copytree(made, Path(name) / "data")
        asyncio.run(measure(arguments, Path(name), report.tell))
    together, several, one = (report.figures[f"trainings_a_minute_{form}"] for form in (f"1x{BATCHES[-1]}", f"{WORKERS[-1]}x1", "1x1"))
    report.tell(speedup=together / one, speedup_by_trainers=several / one)
    report.end()


def _crowd(arguments: argparse.Namespace, database: Path) -> dict[str, float]:
    words = [str(database), str(arguments.cache.resolve()), "tiny-random", str(arguments.voices), "1", "0"]
    child = subprocess.run([sys.executable, "-m", "bench.crowd", *words], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(child.stdout)
    return found


if __name__ == "__main__":
    main()
