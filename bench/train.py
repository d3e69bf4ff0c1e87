"""Is Mynah's the quickest way to a voice? Three recipes side by side: the same posts, base, split and machine, by turns.

    python -m bench.train [--json FILE] [--small]        or: make bench-train

(a) bench/ancestor.py, (b) bench/strong.py, (c) bench/mynah.py. Each starts cold, as a process of its own, and they run by turns of some
seconds (bench/turns.py), all of them in memory: about 10 GB and 3 for each further rate. What each measure means is said in
bench/figures.py. A seed chooses the split, the order and the first LoRA weights. The report split chooses nothing: (b)'s
rate and every early stop are the stop split's. --json is written after every seed, so that a run cut short keeps what it has.
"""

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from bench import command, figures, peak, posts, turns
from bench.common import Result, Task
from bench.figures import Run
from bench.turns import Taker
from data.corpus import Corpus
from trainer import bases
from trainer.protocol import Job, Post, Recipe
from trainer.recipe import ROW

BLOCK = 1024
FULL = {"base": "smollm2-135m-instruct", "max_posts": 1000, "seeds": (0, 1, 2), "rates": (5e-4, 1e-3, 2e-3), "epochs_a": 4, "epochs_b": 3}
SMALL = {"base": "tiny-random", "max_posts": 120, "seeds": (0,), "rates": (2e-3,), "epochs_a": 1, "epochs_b": 1}


class Report(command.Report):
    """The runs so far, and what they come to."""

    def __init__(self, path: Path | None, told: dict[str, Any], parameters: int) -> None:
        super().__init__(path, told, lambda found: figures.table(found, parameters))
        self._parameters = parameters
        self._runs: list[Run] = []

    def add(self, run: Run) -> None:
        self._runs.append(run)
        result = run.result
        command.say(
            f"seed {run.seed} ({run.contender}){f' rate {run.rate:g}' if run.rate else ''}: wait {run.wait:.1f} s, loss "
            f"{result.before:.3f} to {result.final:.3f}, best {figures.best(run)[0]:.3f}, {result.steps} steps in {result.seconds:.1f} s, "
            f"{result.memory / 1e9:.2f} GB, peak {run.peak / 1e9:.0f} GFLOP/s"
        )
        self.figures = figures.figures(self._runs, self._parameters)
        self.write(runs=[asdict(run) for run in self._runs])


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
        with tempfile.TemporaryDirectory(prefix="mynah-bench-") as name:  # half a gigabyte of (a)'s is removed with it
            runs = self._runs(task, corpus, Path(name))
            # Who begins differs from seed to seed.
            order = [runs[(place + seed) % len(runs)] for place in range(len(runs))]
            peaks = [self._peak()]
            # What is on a GPU stays there, and nobody else does anything with it.
            seconds = turns.SECONDS if self._device == "cpu" else 1e9
            turns.by_turns([one.child for one in order], seconds, lambda: peaks.append(self._peak()))
            curve = [json.loads(one.result.read_text()) for one in runs if one.looks]
            for one in runs:
                if not one.looks:
                    result = Result.read(one.result)
                    result.curve = result.curve or curve[0]
                    wait = result.ready - one.child.began - result.aside
                    self._report.add(Run(one.contender, seed, one.rate, wait, max(peaks), result))

    def _runs(self, task: Task, corpus: Corpus, folder: Path) -> "list[_Run]":
        """Lay down what each contender is told, in folders inside this one."""
        runs: list[_Run] = []

        def add(contender: str, module: str, task: Task, *more: str, job: Job | None = None) -> None:
            own = folder / str(len(runs))
            (own / "model").mkdir(parents=True)
            placed = replace(task, output=str(own / "model"))
            placed.write(own / "task.json")
            if job:
                (own / "job.json").write_text(replace(job, output=placed.output).to_json(), encoding="utf-8")
            words = [module, str(own / "task.json"), *([str(own / "job.json")] if job else []), *more]
            runs.append(_Run(contender, task.rate, placed.result, Taker(words, own), looks="looks" in more))

        for contender in self._arguments.contenders:
            match contender:
                case "a":
                    add("a", "bench.ancestor", replace(task, epochs=self._arguments.epochs_a))
                case "b":
                    for rate in self._arguments.rates:
                        add("b", "bench.strong", replace(task, epochs=self._arguments.epochs_b, rate=rate))
                case _:
                    job = self._job(task, corpus)
                    add("c", "bench.mynah", task, "wait", job=job)
                    add("c", "bench.mynah", task, "looks", job=job)
        return runs

    def _job(self, task: Task, corpus: Corpus) -> Job:
        recipe = Recipe(base=self._arguments.base, device=self._device, seed=task.seed)
        train, stop, report = ([Post(post.author, post.text) for post in split] for split in (corpus.train, corpus.stop, corpus.report))
        return Job(id="bench", recipe=recipe, train=train, stop=stop, report=report, output="", cache=self._cache)

    def _peak(self) -> float:
        return peak.best_product(self._device, small=self._arguments.small)

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


@dataclass
class _Run:
    """One contender under way."""

    contender: str
    rate: float
    result: Path
    child: Taker
    looks: bool
    """It looks at the report split in (c)'s place, and gives a curve alone."""


def main() -> None:
    parser = command.parser("train", __doc__, "the tiny random base, a hundred posts, one seed", "base", "cache", "device")
    parser.add_argument("--posts", type=Path, help="a .jsonl file or an archive (else ../shared's dril, else the bundled sample)")
    parser.add_argument("--account", help="an account of ../shared/corpora in place of --posts")
    parser.add_argument("--max-posts", type=int, help="the newest usable posts, all splits together")
    parser.add_argument("--seeds", type=lambda text: tuple(map(int, text.split(","))), help="which, with commas")
    parser.add_argument("--contenders", type=lambda text: text.split(","), default=["a", "b", "c"], help="which of a,b,c, in this order")
    parser.add_argument("--rates", type=lambda text: tuple(map(float, text.split(","))), help="learning rates that (b) tries")
    parser.add_argument("--epochs-a", type=int)
    parser.add_argument("--epochs-b", type=int)
    parser.add_argument("--look-every", type=int, default=2048, help="tokens learned from between two looks at the report split")
    arguments = command.parse(parser, None, SMALL, FULL)
    if unknown := set(arguments.contenders) - set(figures.NAMES):
        parser.error(f"there is no contender {', '.join(sorted(unknown))}: choose of a,b,c")
    if arguments.posts is None:
        arguments.posts = command.CORPORA / f"{arguments.account}.jsonl" if arguments.account else posts.default()
    # Not process.quiet_libraries: it says how threads wait, and (a) and (b) would inherit that.
    disable_progress_bar()  # type: ignore[no-untyped-call]
    base = bases.load(arguments.base, arguments.cache, torch.device("cpu"), lambda _: None, lambda: None)
    parameters = peak.matrix_parameters(base.model)
    told = {
        "command": command.line(parser, None),
        "posts": str(arguments.posts),
        "max_posts": arguments.max_posts,
        "base": arguments.base,
        "parameters": parameters,
        **command.machine(bases.device_of(arguments.device).type),
    }
    report = Report(arguments.json, told, parameters)
    bench = Bench(arguments, base, report)
    for seed in arguments.seeds:
        bench.run(seed)
    report.end()


if __name__ == "__main__":
    main()
