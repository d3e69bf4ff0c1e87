"""Does Mynah stay quick and small with ten thousand voices in one database? (`make bench-voices`)

    python -m bench.voices [--voices 10000] [--speaking 200] [--base NAME] [--json FILE] [--small]

The database is bench/crowd.py's. Then, in one process as the bot's, with its own services and a real speaker:

list, find      what /models, `mynah models` and the autocomplete of /generate do, each many times, without network or screen
question        from a message to the lines that were chosen, with the settings as they come, of voices that have just spoken
cold            the same question with the same seed, the first time that the voice speaks: its weights come out of the database, are
                hashed and read, and its posts are indexed for the search for copies; how much later than the second time
memory          of the bot and of the speaker, resident, while so many voices that never spoke say one line each; growth is the last
                quarter's median less the second quarter's, since in the first the caches fill: the speaker's is bound to 1 GiB here,
                which the base and some 45 voices take

What lies in the folder of adapters by then lies in the database, too.
"""

import argparse
import asyncio
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import psutil
from rich.console import Console

from bench import command
from bench.command import ROOT, Goal, Report, Row, seconds
from bench.common import forget_pages, quantile
from bot.app import Mynah
from bot.errors import SpeechFailedError
from bot.faces.discord.speaking import Speaking
from bot.faces.terminal import actions
from bot.settings import Secrets, Settings

MESSAGES = ("what do you think of the new harbour wall?", "is anybody else still awake?", "my cat has opinions about soup")
TURNS = 40
AT_ONCE = 8
MEMORY_MIB = 1024
LOOKUP_SECONDS = 4.0
"""For which one kind of look is repeated at most."""
FULL = {"base": "smollm2-135m-instruct", "voices": 10_000, "speaking": 200, "pairs": 24, "device": "cpu"}
SMALL = {"base": "tiny-random", "voices": 30, "speaking": 4, "pairs": 2}
LOOKS = {
    "list_discord": "/models",
    "list_terminal": "`mynah models`",
    "list_printed": "`mynah models`, printed",
    "show_one": "`mynah models NAME`",
    "complete_empty": "autocomplete, nothing typed",
    "complete_begun": "autocomplete, how a name begins",
    "search": "autocomplete, a middle part of a name",
    "search_none": "autocomplete, what no name holds",
}
Tell = Callable[..., None]


class Face:
    """What of Discord the commands need to be asked without it."""

    async def begin(self, *_: object) -> None:
        """Acknowledge nothing."""

    async def answer(self, *_: object, **__: object) -> None:
        """Show nothing."""


async def look(app: Mynah, names: Sequence[str], tell: Tell) -> None:
    """Time the lists and the searches."""
    cog: Any = Speaking(SimpleNamespace(app=app))  # type: ignore[arg-type]
    middle = names[len(names) // 2]

    async def printed() -> None:
        Console(file=io.StringIO(), width=120).print((await actions.models(app)).text)

    kinds: dict[str, Callable[[], Awaitable[object]]] = {
        "list_discord": lambda: cog.list_models.callback(cog, Face()),
        "list_terminal": lambda: actions.models(app),
        "list_printed": printed,
        "show_one": lambda: actions.models(app, [middle]),
        "complete_empty": lambda: cog.complete_voice(None, ""),
        "complete_begun": lambda: cog.complete_voice(None, middle[:2]),
        "search": lambda: cog.complete_voice(None, middle[3:6]),
        "search_none": lambda: cog.complete_voice(None, "no such name"),
    }
    for name, ask in kinds.items():
        times: list[float] = []
        began = time.perf_counter()
        while len(times) < TURNS and (len(times) < 3 or time.perf_counter() - began < LOOKUP_SECONDS):
            asked = time.perf_counter()
            await ask()
            times.append(1e3 * (time.perf_counter() - asked))
        tell(**{f"{name}_ms_p50": quantile(times, 0.5), f"{name}_ms_p95": quantile(times, 0.95)})


async def question(app: Mynah, voice: str, seed: int, count: int | None = None) -> float | None:
    """Ask a voice something, and return the seconds until its lines were chosen; None if none may be said."""
    began = time.perf_counter()
    request = await app.speaking.request(voice, by="bench", message=MESSAGES[seed % len(MESSAGES)], count=count, seed=seed)
    try:
        await app.speaking.answer(request.id)
    except SpeechFailedError as error:
        print(f"{voice}: {error}", file=sys.stderr)
        return None
    return time.perf_counter() - began


async def remember(app: Mynah, names: Sequence[str], tell: Tell) -> None:
    """Have voices that never spoke say a line each, some at a time, and watch how much memory that takes."""
    bot = psutil.Process()
    (speaker,) = (child for child in bot.children() if "--speak" in child.cmdline())
    sizes: dict[str, list[float]] = {"bot": [], "speaker": []}
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, voice: str) -> None:
        async with gate:
            await question(app, voice, number, count=1)
        for who, process in (("bot", bot), ("speaker", speaker)):
            sizes[who].append(process.memory_info().rss / 1e6)

    began = time.perf_counter()
    await asyncio.gather(*(one(number, voice) for number, voice in enumerate(names)))
    tell(questions_per_minute=60 * len(names) / (time.perf_counter() - began))
    quarter = max(1, len(names) // 4)
    for who, found in sizes.items():
        early, late = median(found[quarter : 2 * quarter]), median(found[-quarter:])
        tell(**{f"memory_mb_{who}": late, f"grown_mb_{who}": late - early, f"memory_mb_{who}_all": [round(size) for size in found]})


async def warm_and_cold(app: Mynah, names: Sequence[str], tell: Tell) -> None:
    """Ask voices that never spoke, each twice the same; the database is in no page cache before."""
    forget_pages(app.settings.database)
    pairs = [(await question(app, voice, number), await question(app, voice, number)) for number, voice in enumerate(names)]
    answered = [(cold, warm) for cold, warm in pairs if cold is not None and warm is not None]
    warm = [second for _, second in answered]
    tell(
        unanswered=len(pairs) - len(answered),
        question_s_p50=quantile(warm, 0.5),
        question_s_p95=quantile(warm, 0.95),
        cold_ms=1e3 * median(first - second for first, second in answered),
    )


async def measure(arguments: argparse.Namespace, folder: Path, tell: Tell) -> None:
    """Measure everything over a database that is there."""
    settings = Settings.model_validate(
        {
            "data_dir": folder,
            "cache_dir": arguments.cache.resolve(),
            "trainer": {"base": arguments.base},
            "speaker": {"device": arguments.device, "memory_mib": MEMORY_MIB},
        }
    )
    async with Mynah(settings, Secrets()) as app:
        names = await app.store.read(lambda db: [row["voice"] for row in db.query("SELECT voice FROM models ORDER BY id")])
        await look(app, names, tell)
        if not app.lead.take():
            raise SystemExit(f"Another process works on {folder}: let it end first.")
        async with app.working():
            tell(first_question_s=await question(app, names[0], 0))
            await warm_and_cold(app, names[1 : 1 + arguments.pairs], tell)
            await remember(app, names[1 + arguments.pairs : 1 + arguments.pairs + arguments.speaking], tell)
        files = list((folder / "adapters").iterdir())
        tell(adapters=len(files), adapters_mb=sum(file.stat().st_size for file in files) / 1e6)


def table(figures: Mapping[str, Any], device: str) -> str:
    """Return what is known so far, in Markdown."""
    whole = "{:,.0f}".format
    return command.table(
        [
            *(
                Row(
                    f"{title}, ms: p50, p95",
                    (f"{name}_ms_p50", f"{name}_ms_p95"),
                    "{:.1f}".format,
                    None if "printed" in name else Goal(50.0),
                )
                for name, title in LOOKS.items()
            ),
            Row("first question of all, speaker's start included, s", ("first_question_s",), seconds),
            Row("question to chosen lines, warm, s: p95, p50", ("question_s_p95", "question_s_p50"), seconds, Goal(3.0)),
            Row("of these questions, answered by no line that may be said", ("unanswered",), whole),
            Row("a voice that never spoke, later by, ms", ("cold_ms",), whole, Goal(100.0)),
            Row(f"questions a minute, {AT_ONCE} at a time, voices that never spoke", ("questions_per_minute",), whole),
            Row("memory of the bot, MB: late, grown by", ("memory_mb_bot", "grown_mb_bot"), whole, Goal(10.0)),
            Row("memory of the speaker, MB: late, grown by", ("memory_mb_speaker", "grown_mb_speaker"), whole, Goal(50.0)),
            Row("files of adapters, and MB", ("adapters", "adapters_mb"), whole),
            Row("database, MB", ("database_mb",), whole),
        ],
        figures,
        device,
    )


def main(words: list[str] | None = None) -> None:
    """Make the database, and measure."""
    parser = command.parser("voices", __doc__, "the tiny random base, thirty voices", "base", "cache", "device", "work")
    parser.add_argument("--voices", type=int, help="in the database")
    parser.add_argument("--speaking", type=int, help="that say one line each while memory is watched")
    parser.add_argument("--pairs", type=int, help="that are asked twice, cold and warm")
    parser.add_argument("--pattern", type=Path, help="adapter.safetensors of the voice after which those are made (else one is trained)")
    parser.add_argument("--keep", type=Path, help="folder in which the database is made, and found again the next time")
    arguments = command.parse(parser, words, SMALL, FULL)
    if arguments.voices <= arguments.pairs + arguments.speaking or min(arguments.pairs, arguments.speaking) < 1:
        parser.error("--voices must be more than --pairs and --speaking together, and each of these at least 1")
    told = {"command": command.line(parser, words), "base": arguments.base, "voices": arguments.voices, "cores": psutil.cpu_count()}
    report = Report(arguments.json, told, lambda found: table(found, arguments.device))
    with tempfile.TemporaryDirectory(prefix="mynah-bench-", dir=arguments.work) as name:
        folder = arguments.keep or Path(name)
        if not (folder / "mynah.db").exists():
            report.tell(**_crowd(arguments, folder / "mynah.db"))
        shutil.rmtree(folder / "adapters", ignore_errors=True)  # of an earlier run: what is read is to come out of the database
        asyncio.run(measure(arguments, folder, report.tell))
    report.end()


def _crowd(arguments: argparse.Namespace, database: Path) -> dict[str, float]:
    real = 1 + arguments.pairs + arguments.speaking
    words = [str(database), str(arguments.cache.resolve()), arguments.base, str(arguments.voices), str(real), "0"]
    words += [str(arguments.pattern)] if arguments.pattern else []
    child = subprocess.run([sys.executable, "-m", "bench.crowd", *words], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(child.stdout)
    return found


if __name__ == "__main__":
    main()
