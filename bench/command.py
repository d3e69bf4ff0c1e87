"""What every bench has: its arguments, the machine that it runs on, figures beside their goals, and the file of --json.

Nothing heavy is imported at the top: bench/voices.py watches the memory of its own process.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CORPORA = ROOT.parent / "shared" / "corpora"
_SHARED: dict[str, dict[str, Any]] = {
    "base": {"help": "of the voices"},
    "cache": {"type": Path, "default": ROOT / "var" / "cache", "help": "bases are kept here"},
    "device": {"default": "auto"},
    "seed": {"type": int, "default": 0},
    "corpora": {"type": Path, "default": CORPORA, "help": "folder with NAME.jsonl of each account"},
    "work": {"type": Path, "help": "folder for what is made and removed again (the system's own for temporary files)"},
}
"""Arguments of several benches."""


def parser(bench: str, description: str | None, small: str, *shared: str) -> argparse.ArgumentParser:
    """Return a bench's parser, with --json, --small (of which `small` tells what it does), and those of several that it names."""
    made = argparse.ArgumentParser(
        f"python -m bench.{bench}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in shared:
        made.add_argument(f"--{name}", **_SHARED[name])
    made.add_argument("--json", type=Path, help="write the figures by name into this file")
    made.add_argument("--small", action="store_true", help=f"{small}: shows that it runs, says nothing of what it measures")
    return made


def parse(
    made: argparse.ArgumentParser, words: Sequence[str] | None, small: Mapping[str, Any], full: Mapping[str, Any] | None = None
) -> argparse.Namespace:
    """Return the arguments; what is not given is `full`'s, and `small`'s before that with --small."""
    known, _ = made.parse_known_args(words)
    made.set_defaults(**{**(full or {}), **(small if known.small else {})})
    return made.parse_args(words)


def line(made: argparse.ArgumentParser, words: Sequence[str] | None) -> str:
    """Return the command as it was typed."""
    return " ".join([made.prog, *(sys.argv[1:] if words is None else words)])


def machine(device: str) -> dict[str, Any]:
    """Return what the figures of models were measured on: the GPU or the processor with its cores, torch's threads, and the versions."""
    import torch

    if device == "cpu":
        file = Path("/proc/cpuinfo")
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
        hardware = f"{os.cpu_count()} x {name}"
    else:
        hardware = torch.cuda.get_device_name(device)
    versions = {"python": platform.python_version()} | {name: version(name) for name in ("torch", "transformers", "peft")}
    return {"hardware": hardware, "threads": torch.get_num_threads(), "versions": versions}


def gpu_memory() -> int:
    """Return the bytes that all processes together have on the first GPU now; 0 where there is none to be asked."""
    if not shutil.which("nvidia-smi"):
        return 0
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
    asked = subprocess.run(query, capture_output=True, text=True, check=False)
    words = asked.stdout.split()
    return int(words[0]) << 20 if words and words[0].isdecimal() else 0


@dataclass(frozen=True)
class Goal:
    """What a figure should be."""

    bound: float
    least: bool = False
    """It should be at least that, not at most."""
    device: str = "cpu"
    """On which it should be so."""

    def judge(self, value: float) -> str:
        """Say whether it is reached."""
        reached = value >= self.bound if self.least else value <= self.bound
        return f"{'at least' if self.least else 'at most'} {self.bound:,g}: {'met' if reached else '**missed**'}"


@dataclass(frozen=True)
class Row:
    """One figure, or several, in a row."""

    title: str
    names: tuple[str, ...]
    shown: Callable[[float], str]
    goal: Goal | None = None
    """Of the last of the figures."""


def seconds(value: float) -> str:
    """Say some seconds with three figures or so."""
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def table(rows: Sequence[Row], figures: Mapping[str, Any], device: str) -> str:
    """Return the rows of which there are figures, as docs/benchmarks.md holds them; several in a row are parted by a comma."""
    lines = ["| | | goal |", "| --- | --- | --- |"]
    for row in rows:
        values = [figures[name] for name in row.names if figures.get(name) is not None]
        if len(values) == len(row.names):
            goal = row.goal.judge(values[-1]) if row.goal and row.goal.device == device else ""
            lines.append(f"| {row.title} | {', '.join(map(row.shown, values))} | {goal} |")
    return "\n".join(lines)


class Report:
    """What a bench has found so far. It is written after every part, so that a run cut short keeps what it has."""

    def __init__(self, path: Path | None, told: Mapping[str, Any], table: Callable[[Mapping[str, Any]], str]) -> None:
        """`told` is what was measured, and on what; `table` makes Markdown of what figures there are."""
        self._path = path
        self._told = told
        self._table = table
        self.figures: dict[str, Any] = {}

    def tell(self, **found: Any) -> None:
        """Add some figures."""
        self.figures.update(found)
        say(", ".join(f"{name} {value}" for name, value in found.items() if not name.endswith("_all")))
        self.write()

    def write(self, **more: Any) -> None:
        """Write what there is, and `more` beside it."""
        write(self._path, {**self._told, "figures": self.figures, "table": self._table(self.figures), **more})

    def end(self, sentence: str = "") -> None:
        """Print the table, and a sentence below it."""
        told = "; ".join(f"{name} {value}" for name, value in self._told.items())
        print("\n\n".join(filter(None, [self._table(self.figures), sentence, told])))


def write(path: Path | None, document: Mapping[str, Any]) -> None:
    """Write the file of --json, whole or not at all; nothing where none was asked for."""
    if path:
        part = path.with_name(f".{path.name}.part")
        part.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
        part.replace(path)


def write_settings(arguments: argparse.Namespace, **figures: Any) -> None:
    """Write the file of --json: figures, and the arguments that they were measured with."""
    settings = {name: value if isinstance(value, int | float | None) else str(value) for name, value in vars(arguments).items()}
    write(arguments.json, {"settings": settings, **figures})


def say(sentence: str) -> None:
    """Tell whoever waits how it goes."""
    print(sentence, file=sys.stderr, flush=True)
