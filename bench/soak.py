"""Does a service that is never stopped stay as it was? (`make soak`)

    python -m bench.soak [--minutes 60] [--factor 24] [--children light|real] [--json FILE] [--plot FILE] [--small]

`mynah run` on the loopback Discord and X of the tests, under a steady load: members ask for lines and look at lists; accounts are imported,
trained, asked and forgotten in turn; two schedules write for X, the drafts of one are approved by a person, and `mynah gc` runs every few
minutes. Time passes so many times quicker for schedules and posts, so that an hour is a day; everything else takes as long as ever.

Once in so many seconds it is looked at from outside: memory (RSS, and PSS, in which shared pages are parted), threads, open files, how late
the event loop was since the last look (p99 of a look each 20 ms), and, after each gc, the database with its log. Children are counted by
their memory, and are those of the chaos unless `--children real`: those learn and speak on the tiny base.

Flat is what grows by no more an hour than LIMITS has, by the straight line that is nearest to the second half; the first is for caches to
fill, and a run of less than half an hour is not judged. An hour has more trainings than most services see in months, and drawing their
cards moves memory up and down by some fifteen MB, so a tenth of the service's memory is what it may seem to grow by. The database is
granted some growth, for what was posted is kept for good.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench import command, watched
from bench.command import Goal, Report, Row
from bench.common import quantile
from bench.watched import Sample, Watched
from bot.app import Mynah
from bot.errors import MynahError
from bot.log import configure_logging
from bot.services import forgetting, garbage
from bot.services.scheduling import Spec
from bot.settings import Secrets, load_settings
from data import outbox
from data.outbox import State
from tests.chaos.ledger import Ledger
from tests.chaos.people import OPERATOR, Member, Operator, World
from tests.chaos.service import Service
from tests.loopback_discord import LoopbackDiscord
from tests.loopback_x import LoopbackX

FULL = {"minutes": 60.0, "every": 10.0, "gc": 120.0, "pace": 1.0}
SMALL = {"minutes": 0.1, "every": 0.5, "gc": 2.0, "pace": 0.2}
CONFIG = 'unattended = ["tides"]\n[gc]\nversions = 2\nlines = "5m"\n'
"""Beside the chaos' own; it goes on in its [x]."""
RESIDENT, GUESTS = "ann", 5
SCHEDULES = {"tides": "5m", "weather": "20m"}
"""Virtual time between two posts."""
LOOKS: tuple[tuple[str, dict[str, Any]], ...] = (("models", {}), ("queue", {}), ("help", {}), ("about", {}), ("show", {"voice": RESIDENT}))
START_SECONDS = 120.0
SHORTEST = 30.0
"""Minutes of a run that is judged."""
LIMITS = {"rss_mb": 30.0, "pss_mb": 30.0, "children_mb": 20.0, "threads": 2.0, "files": 4.0, "late_ms": 10.0, "database_mb": 5.0}
"""Growth in an hour that still counts as flat."""
TITLES = {
    "rss_mb": "memory of the service, MB (RSS)",
    "pss_mb": "memory of the service, MB (PSS)",
    "children_mb": "memory of its children, MB (RSS)",
    "threads": "threads",
    "files": "open files",
    "late_ms": "event loop late, ms (p99)",
    "database_mb": "database after gc, MB",
}
PANELS = (("rss_mb", "pss_mb"), ("children_mb",), ("threads",), ("files",), ("late_ms",), ("database_mb",))


@dataclass
class Series:
    """Values of one kind, with the minutes at which they were found."""

    minutes: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, minute: float, value: float) -> None:
        """Take one more."""
        self.minutes.append(round(minute, 3))
        self.values.append(round(value, 3))

    @property
    def growth(self) -> float:
        """Return by how much it grows in an hour."""
        return watched.growth([60 * minute for minute in self.minutes], self.values)


class Soak:
    """A service under a steady load, and what was seen of it."""

    def __init__(self, world: World, service: Watched, arguments: argparse.Namespace) -> None:
        self._world, self._service, self._arguments = world, service, arguments
        self._began = time.monotonic()
        self.series = {name: Series() for name in LIMITS}
        self.done: Counter[str] = Counter()

    @property
    def _minute(self) -> float:
        return (time.monotonic() - self._began) / 60

    async def run(self) -> None:
        """Put the load on it for as long as was asked."""
        load = [self._ask, self._look, self._approve, self._come_and_go, self._collect]
        tasks = [asyncio.create_task(self._again(one)) for one in load] + [asyncio.create_task(self._watch())]
        try:
            ended, _ = await asyncio.wait(tasks, timeout=60 * self._arguments.minutes, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _again(self, deed: Any) -> None:
        while True:
            await deed()
            await asyncio.sleep(self._arguments.pace)

    async def _ask(self) -> None:
        await Member(self._world, random.Random(self.done["asked"])).ask()
        self.done["asked"] += 1

    async def _look(self) -> None:
        discord = self._world.service.discord
        name, options = LOOKS[self.done["looked"] % len(LOOKS)]
        token = await discord.slash(name, **options)
        await discord.until(lambda: discord.shown(token), self._world.patience)
        self.done["looked"] += 1

    async def _approve(self) -> None:
        app = self._world.app
        for post in await app.store.read(outbox.in_state, State.DRAFT):
            with suppress(MynahError):  # it became too late just now
                await app.posting.approve(post.id, OPERATOR)
        self.done["posted"] = len(self._world.service.x.posts)

    async def _come_and_go(self) -> None:
        """Have an account imported, trained, asked and forgotten."""
        world, number = self._world, self.done["trained and forgotten"]
        handle = f"guest{number % GUESTS}"
        await Operator(world, random.Random(number)).bring(handle)
        job = await Member(world, random.Random(number)).train(handle)
        if job is not None:
            await world.app.training.ended(job)
            await Member(world, random.Random(number)).ask()
        await forgetting.forget(world.app.store, world.app.training, world.app.settings, handle, by=OPERATOR)
        self.done["trained and forgotten"] += 1

    async def _collect(self) -> None:
        await asyncio.sleep(self._arguments.gc)
        app = self._world.app
        await garbage.collect(app.store, app.settings)
        files = (app.settings.database, app.settings.database.with_name("mynah.db-wal"))
        self.series["database_mb"].add(self._minute, sum(file.stat().st_size for file in files if file.exists()) / 1e6)
        self.done["collected"] += 1

    async def _watch(self) -> None:
        before = time.monotonic()
        async for sample in self._service.samples(self._arguments.every):
            self._note(sample)
            late = [1e3 * lag for _, lag in watched.looks(self._service.late, before, sample.at)]
            if late:
                self.series["late_ms"].add(self._minute, quantile(late, 0.99))
            before = sample.at

    def _note(self, sample: Sample) -> None:
        found = {"rss_mb": sample.rss / 1e6, "pss_mb": sample.pss / 1e6, "children_mb": sample.children / 1e6}
        for name, value in (found | {"threads": sample.threads, "files": sample.files}).items():
            self.series[name].add(self._minute, value)


async def soak(arguments: argparse.Namespace, folder: Path) -> Soak:
    """Run it in an empty folder."""
    async with AsyncExitStack() as stack:
        discord, x = await stack.enter_async_context(LoopbackDiscord()), await stack.enter_async_context(LoopbackX())
        service = Service(folder, discord, x, "bot")
        with service.config.open("a") as config:
            config.write(CONFIG)
        configure_logging(folder / "bench.log")
        app = await stack.enter_async_context(Mynah(load_settings(service.config), Secrets()))
        ledger = Ledger(folder / "ledger.db")
        stack.callback(ledger.close)
        world = World(service, app, ledger, posts=150, patience=60.0)
        running = watched.service(folder, service.environment, factor=arguments.factor, children=arguments.children)
        process = await stack.enter_async_context(running)
        await discord.until(lambda: discord.online and discord.commands, START_SECONDS)
        await Operator(world, random.Random(0)).bring(RESIDENT)
        job = await Member(world, random.Random(0)).train(RESIDENT)
        if job is None:
            raise SystemExit("The first training did not begin: see run.log.")
        await app.training.result(job)
        for name, every in SCHEDULES.items():
            await app.scheduling.add(name, RESIDENT, Spec(every=every), by=OPERATOR, operator=True)
        soaked = Soak(world, process, arguments)
        await soaked.run()
        return soaked


def table(figures: Mapping[str, Any]) -> str:
    """Return what was found, in Markdown."""
    tenth = "{:,.1f}".format
    rows = [
        Row(f"{title}: at the end, growth in an hour", (f"{name}_last", f"{name}_growth"), tenth, Goal(LIMITS[name]))
        for name, title in TITLES.items()
    ]
    return command.table(rows, figures, "cpu")


def draw(series: Mapping[str, Series], path: Path, heading: str) -> None:
    """Draw what was seen, a panel for each kind, with the line that its verdict goes by."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.1 * len(PANELS)), dpi=110, layout="constrained", facecolor="white")
    figure.suptitle(heading, fontsize=11)
    for axes, names in zip(figure.subplots(len(PANELS), 1, sharex=True), PANELS, strict=True):
        for name, colour in zip(names, ("#1d4e89", "#8aa3b1"), strict=False):
            found = series[name]
            axes.plot(found.minutes, found.values, color=colour, linewidth=1.2, label=TITLES[name])
            half = found.minutes[len(found.minutes) // 2 :]
            if len(half) >= 2:
                middle = sum(found.values[-len(half) :]) / len(half), sum(half) / len(half)
                line = [middle[0] + found.growth / 60 * (minute - middle[1]) for minute in (half[0], half[-1])]
                axes.plot([half[0], half[-1]], line, color="#c0392b", linewidth=1.0, linestyle="--")
        kinds = "; ".join(f"{series[name].growth:+,.1f} an hour (flat: at most {LIMITS[name]:+g})" for name in names)
        axes.set_title(f"{TITLES[names[0]]}: {kinds}", fontsize=9, loc="left")
        if len(names) > 1:
            axes.legend(frameon=False, fontsize=8)
        axes.set_ylim(0, 1.15 * max((max(series[name].values, default=0) for name in names), default=0) or 1)
        axes.grid(visible=True, color="#e6e6e6", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("minutes; dashed: the line nearest to the second half")
    figure.savefig(path, format="png")


def main(words: list[str] | None = None) -> None:
    """Run it, and print the verdict."""
    parser = command.parser("soak", __doc__, "some seconds", "work")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--factor", type=float, default=24.0, help="how much quicker time passes for schedules and posts")
    parser.add_argument("--children", choices=("light", "real"), default="light")
    parser.add_argument("--plot", type=Path, help="draw what was seen into this PNG file")
    parser.add_argument("--every", type=float, help="seconds between two looks from outside")
    parser.add_argument("--gc", type=float, help="seconds between two collections of garbage")
    parser.add_argument("--pace", type=float, help="seconds between two deeds of whoever uses it")
    arguments = command.parse(parser, words, SMALL, FULL)
    if min(arguments.minutes, arguments.factor, arguments.every, arguments.gc, arguments.pace) <= 0:
        parser.error("everything is more than nothing")
    told = {"command": command.line(parser, words), "minutes": arguments.minutes, "factor": arguments.factor}
    report = Report(arguments.json, told | {"cores": psutil.cpu_count(), "load": round(psutil.getloadavg()[0], 1)}, table)
    with tempfile.TemporaryDirectory(prefix="mynah-bench-", dir=arguments.work) as name:
        found = asyncio.run(soak(arguments, Path(name).resolve()))
    _tell(report, found)
    if arguments.plot:
        heading = f"mynah run for {arguments.minutes:g} minutes, {arguments.factor:g} times as quick for schedules"
        draw(found.series, arguments.plot, heading)
    if arguments.minutes < SHORTEST:
        report.end("Too short to be judged: caches still fill.")
        return
    grown = [title for key, title in TITLES.items() if report.figures[f"{key}_growth"] > LIMITS[key]]
    report.end(f"Not flat: {', '.join(grown)}." if grown else "Flat.")


def _tell(report: Report, found: Soak) -> None:
    done = {f"times_{what.replace(' ', '_')}": number for what, number in found.done.items()}
    ends = {f"{name}_last": series.values[-1] for name, series in found.series.items() if series.values}
    grows = {f"{name}_growth": series.growth for name, series in found.series.items()}
    report.tell(**done, **ends, **grows)
    report.figures.update({f"{name}_all": [series.minutes, series.values] for name, series in found.series.items()})
    report.write()


if __name__ == "__main__":
    main()
