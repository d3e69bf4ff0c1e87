"""Is Mynah's the quickest way to a voice? Three recipes side by side: the same posts, base, split and machine, one after another.

    python -m bench.train [--json FILE] [--small]        or: make bench-train

(a) bench/ancestor.py, (b) bench/strong.py, (c) bench/mynah.py. Each runs cold, as a process of its own; what each measure means is
said in bench/figures.py. A seed chooses the split, the order and the first LoRA weights. The report split chooses nothing: (b)'s
rate and every early stop are the stop split's. --json is written after every run, so that a run cut short keeps what it has.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from bench import figures, mynah, peak, posts
from bench.common import Result, Task
from bench.figures import Run
from data.corpus import Corpus
from trainer import bases
from trainer.protocol import Job, Post, Recipe
from trainer.recipe import ROW

BLOCK = 1024
FULL = {"base": "smollm2-135m-instruct", "max_posts": 1000, "seeds": 3, "rates": (5e-4, 1e-3, 2e-3), "epochs_a": 4, "epochs_b": 3}
SMALL = {"base": "tiny-random", "max_posts": 120, "seeds": 1, "rates": (2e-3,), "epochs_a": 1, "epochs_b": 1}


class Report:
    """What is known so far, on the terminal and in a file."""

    def __init__(self, path: Path | None, about: dict[str, Any], parameters: int) -> None:
        self._path = path
        self._about = about
        self._parameters = parameters
        self.runs: list[Run] = []

    def add(self, run: Run) -> None:
        self.runs.append(run)
        result = run.result
        print(
            f"seed {run.seed} ({run.contender}){f' rate {run.rate:g}' if run.rate else ''}: wait {run.wait:.1f} s, loss "
            f"{result.before:.3f} to {result.final:.3f}, best {figures.best(run)[0]:.3f}, {result.steps} steps in {result.seconds:.1f} s, "
            f"{result.memory / 1e9:.2f} GB, peak {run.peak / 1e9:.0f} GFLOP/s",
            file=sys.stderr,
            flush=True,
        )
        self.write()

    def write(self) -> str:
        """Write the file and return the table."""
        found = figures.figures(self.runs, self._parameters)
        table = figures.table(found, self._parameters)
        if self._path:
            document = {**self._about, "figures": found, "table": table, "runs": [asdict(run) for run in self.runs]}
            part = self._path.with_name(f".{self._path.name}.part")
            part.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
            part.replace(self._path)
        return table


class Bench:
    """One seed's contenders, one after another."""

    def __init__(self, arguments: argparse.Namespace, base: bases.Base, report: Report) -> None:
        self._arguments = arguments
        self._base = base
        self._report = report
        self._cache = str(arguments.cache.resolve())
        self._device = bases.device_of(arguments.device).type

    def run(self, seed: int) -> None:
        corpus = posts.corpus(self._arguments.posts, self._arguments.max_posts, seed)
        task = self._task(corpus, seed)
        for contender in self._arguments.contenders:
            match contender:
                case "a":
                    self._cold("a", "bench.ancestor", replace(task, epochs=self._arguments.epochs_a))
                case "b":
                    for rate in self._arguments.rates:
                        self._cold("b", "bench.strong", replace(task, epochs=self._arguments.epochs_b, rate=rate))
                case _:
                    self._mynah(task, corpus)

    def _task(self, corpus: Corpus, seed: int) -> Task:
        row = min(ROW, self._base.context)
        separator = self._base.separator
        report = self._base.encode([post.text for post in corpus.report])
        return Task(
            source=str(self._base.model.name_or_path),
            cache=self._cache,
            device=self._device,
            separator=separator,
            row=row,
            block=min(BLOCK, self._base.context),
            train=[post.text for post in corpus.train],
            stop=[post.text for post in corpus.stop],
            report=[[separator, *ids, separator][: row + 1] for ids in report if ids],
            seed=seed,
            look_every=self._arguments.look_every,
            output="",
        )

    def _cold(self, contender: str, module: str, task: Task) -> None:
        with self._peak() as peaks, _folder(task) as (folder, placed):
            began = time.monotonic()
            _child(module, folder)
            result = Result.read(placed.result)
        self._report.add(Run(contender, task.seed, task.rate, result.ready - began - result.aside, max(peaks), result))

    def _mynah(self, task: Task, corpus: Corpus) -> None:
        recipe = Recipe(base=self._arguments.base, device=self._device, seed=task.seed)
        train, stop, report = ([Post(post.author, post.text) for post in split] for split in (corpus.train, corpus.stop, corpus.report))
        job = Job(id="bench", recipe=recipe, train=train, stop=stop, report=report, output="", cache=self._cache)
        with self._peak() as peaks, _folder(task) as (folder, placed):
            _write(replace(job, output=placed.output), folder)
            began = time.monotonic()
            result = mynah.run(folder / "job.json", folder / "log", posts.ROOT)
        with _folder(task) as (folder, placed):
            _write(replace(job, output=placed.output), folder)
            _child("bench.mynah", folder, "job.json")
            result.curve = json.loads(placed.result.read_text())
        self._report.add(Run("c", task.seed, 0.0, result.ready - began, max(peaks), result))

    @contextmanager
    def _peak(self) -> Iterator[list[float]]:
        """Measure the machine before and after the block; both are in the list then."""
        peaks = [peak.best_product(self._device, small=self._arguments.small)]
        yield peaks
        peaks.append(peak.best_product(self._device, small=self._arguments.small))


@contextmanager
def _folder(task: Task) -> Iterator[tuple[Path, Task]]:
    """Make a folder for one run, with the task in it, and remove it afterwards: half a gigabyte each of (a)'s."""
    with tempfile.TemporaryDirectory(prefix="mynah-bench-") as name:
        task = replace(task, output=str(Path(name, "model")))
        Path(task.output).mkdir()
        task.write(Path(name, "task.json"))
        yield Path(name), task


def _write(job: Job, folder: Path) -> None:
    (folder / "job.json").write_text(job.to_json(), encoding="utf-8")


def _child(module: str, folder: Path, *more: str) -> None:
    """Run a module over the task in a folder; what it prints is kept for the case that it fails."""
    # Offline, or peft would ask the hub about the base when it saves: nobody's clock shall count that.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", module, str(folder / "task.json"), *(str(folder / name) for name in more)]
    with (folder / "log").open("wb") as log:
        status = subprocess.run(command, stdout=log, stderr=log, cwd=posts.ROOT, env=environment, check=False).returncode
    if status:
        sys.exit(f"{module} ended with {status}; the end of what it said:\n{(folder / 'log').read_text(errors='replace')[-3000:]}")


def main() -> None:
    arguments = _arguments()
    # Not process.quiet_libraries: it says how threads wait, and (a) and (b) would inherit that.
    disable_progress_bar()
    device = bases.device_of(arguments.device)
    base = bases.load(arguments.base, arguments.cache, torch.device("cpu"), lambda _: None, lambda: None)
    parameters = peak.matrix_parameters(base.model)
    about = {
        "command": " ".join(["python -m bench.train", *sys.argv[1:]]),
        "posts": str(arguments.posts),
        "max_posts": arguments.max_posts,
        "base": arguments.base,
        "parameters": parameters,
        "hardware": _hardware(device),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in ("torch", "transformers", "peft")},
    }
    report = Report(arguments.json, about, parameters)
    bench = Bench(arguments, base, report)
    for seed in range(arguments.seeds):
        bench.run(seed)
    print(report.write())
    print("\n" + "; ".join(f"{name} {value}" for name, value in about.items()))


def _hardware(device: torch.device) -> str:
    """Return the name of the GPU, or of the processor with the number of its cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} x {name}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--posts", type=Path, help="a .jsonl file or an archive (else ../shared's dril, else the bundled sample)")
    parser.add_argument("--account", help="an account of ../shared/corpora in place of --posts")
    parser.add_argument("--max-posts", type=int, help="the newest usable posts, all splits together")
    parser.add_argument("--base")
    parser.add_argument("--cache", type=Path, default=posts.ROOT / "var" / "cache")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=int, help="how many")
    parser.add_argument("--contenders", type=lambda text: text.split(","), default=["a", "b", "c"], help="which of a,b,c, in this order")
    parser.add_argument("--rates", type=lambda text: tuple(map(float, text.split(","))), help="learning rates that (b) tries")
    parser.add_argument("--epochs-a", type=int)
    parser.add_argument("--epochs-b", type=int)
    parser.add_argument("--look-every", type=int, default=2048, help="tokens learned from between two looks at the report split")
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--small", action="store_true", help="the tiny random base, a hundred posts, one seed: shows that it runs, not how fast"
    )
    known, _ = parser.parse_known_args()
    parser.set_defaults(**(SMALL if known.small else FULL))
    arguments = parser.parse_args()
    if unknown := set(arguments.contenders) - set(figures.NAMES):
        parser.error(f"there is no contender {', '.join(sorted(unknown))}: choose of a,b,c")
    if arguments.posts is None:
        arguments.posts = posts.CORPORA / f"{arguments.account}.jsonl" if arguments.account else posts.default()
    return arguments


if __name__ == "__main__":
    main()
