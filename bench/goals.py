"""A table of figures, each beside the goal that it has, as docs/benchmarks.md holds it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


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
    """Return the rows of which there are figures; several in a row are parted by a comma."""
    lines = ["| | | goal |", "| --- | --- | --- |"]
    for row in rows:
        values = [figures[name] for name in row.names if figures.get(name) is not None]
        if len(values) == len(row.names):
            goal = row.goal.judge(values[-1]) if row.goal and row.goal.device == device else ""
            lines.append(f"| {row.title} | {', '.join(map(row.shown, values))} | {goal} |")
    return "\n".join(lines)
