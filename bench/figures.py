"""From the runs of bench/train.py to its figures and its table.

wait            exec of the process to a usable model on disk, looks taken off
time to equal   seconds of training until the report split's loss is the lowest that (a) ever had there, looks taken off; between
                two looks the loss is taken to fall in a line
share of peak   useful FLOP/s (bench/peak.py) while stepping, over the best plain matrix product just before or after
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median

from bench.common import TIE, Result
from bench.peak import useful

NAMES = {"a": "(a) ancestor", "b": "(b) strong", "c": "(c) Mynah"}
Values = list[float | None]
"""One a seed; None: not reached, or not known."""


@dataclass
class Run:
    """One training by one contender."""

    contender: str
    seed: int
    rate: float
    """Learning rate where several were tried, else 0."""
    wait: float
    peak: float
    """FLOP/s of the best product before and after."""
    result: Result


def counted(runs: Sequence[Run]) -> dict[int, dict[str, Run]]:
    """Return the runs that count, by seed and contender: of several rates the one that was best on the stop split."""
    chosen: dict[int, dict[str, Run]] = {}
    for run in runs:
        by_contender = chosen.setdefault(run.seed, {})
        rival = by_contender.get(run.contender)
        if rival is None or (run.result.stop_loss or 0.0) < (rival.result.stop_loss or 0.0):
            by_contender[run.contender] = run
    return chosen


def best(run: Run) -> tuple[float, float]:
    """Return the lowest loss of the report split, at a look or at the end, and the seconds of training by then."""
    looks = [(loss, seconds) for _, seconds, loss in run.result.curve]
    return min([*looks, (run.result.final, run.result.seconds)])


def reached(curve: Sequence[tuple[int, float, float]], level: float) -> float | None:
    """Return the seconds of training after which the loss was `level` for the first time."""
    before: tuple[float, float] | None = None
    for _, seconds, loss in curve:
        if loss <= level:
            if before is None:
                return seconds
            then, higher = before
            return then + (seconds - then) * (higher - level) / (higher - loss)
        before = seconds, loss
    return None


@dataclass
class Measure:
    """A row of the table."""

    name: str
    title: str
    shown: Callable[[float], str]
    value: Callable[[Run, dict[str, Run]], float | None]
    """Of a run, and of all that count with its seed."""
    ratio: bool = False


def measures(parameters: int) -> list[Measure]:
    """Return the rows; `parameters` is the base's N."""

    def level(runs: dict[str, Run]) -> float | None:
        return best(runs["a"])[0] if "a" in runs else None

    def equal(run: Run, runs: dict[str, Run], more: float) -> float | None:
        wanted = level(runs)
        return None if wanted is None else reached(run.result.curve, wanted + more)

    def share(run: Run, _: dict[str, Run]) -> float:
        return useful(parameters, run.result.tokens, full=run.contender == "a") / run.result.stepping / run.peak

    return [
        Measure("wait_s", "wait, s", "{:.1f}".format, lambda run, _: run.wait, ratio=True),
        Measure("final_loss", "final held-out loss", "{:.3f}".format, lambda run, _: run.result.final),
        Measure("best_loss", "best held-out loss", "{:.3f}".format, lambda run, _: best(run)[0]),
        Measure("best_at_s", "reached after, s of training", "{:.1f}".format, lambda run, _: best(run)[1]),
        Measure("equal_s", "time to (a)'s best loss, s", "{:.1f}".format, lambda run, runs: equal(run, runs, 0.0), ratio=True),
        Measure("tie_s", f"time to within {TIE} of it, s", "{:.1f}".format, lambda run, runs: equal(run, runs, TIE), ratio=True),
        Measure("tokens_per_s", "tokens/s while stepping", "{:.0f}".format, lambda run, _: run.result.tokens / run.result.stepping),
        Measure("share_of_peak", "share of peak", "{:.0%}".format, share),
        Measure("memory_gb", "peak memory, GB", "{:.2f}".format, lambda run, _: run.result.memory / 1e9),
        Measure("memory_gpu_gb", "of the GPU, GB", "{:.2f}".format, lambda run, _: run.result.memory_gpu / 1e9 or None),
        Measure("stored_mb", "stored, MB", "{:.1f}".format, lambda run, _: run.result.stored / 1e6, ratio=True),
        Measure("epochs", "epochs run", "{:.1f}".format, lambda run, _: run.result.epochs),
        Measure("rate", "rate chosen on the stop split", "{:g}".format, lambda run, _: run.rate or None),
    ]


def figures(runs: Sequence[Run], parameters: int) -> dict[str, Values]:
    """Return each measure of each contender (`wait_s_a`), and (a)'s and (b)'s over (c)'s where a ratio is asked (`wait_s_a_to_c`)."""
    chosen = list(counted(runs).values())
    result: dict[str, Values] = {}
    for measure in measures(parameters):
        for contender in NAMES:
            if any(contender in by for by in chosen):
                result[f"{measure.name}_{contender}"] = [measure.value(by[contender], by) if contender in by else None for by in chosen]
        for contender in "ab" if measure.ratio else "":
            pairs = zip(result.get(f"{measure.name}_{contender}", []), result.get(f"{measure.name}_c", []), strict=False)
            if ratios := [one / other if one is not None and other else None for one, other in pairs]:
                result[f"{measure.name}_{contender}_to_c"] = ratios
    for name, others in (("final", _finals), ("best", _bests)):
        differences = [by["c"].result.final - min(others(by)) if "c" in by and len(by) > 1 else None for by in chosen]
        if any(difference is not None for difference in differences):
            result[f"final_loss_c_less_{name}_of_others"] = differences
    return result


def _finals(runs: dict[str, Run]) -> list[float]:
    return [run.result.final for contender, run in runs.items() if contender != "c"]


def _bests(runs: dict[str, Run]) -> list[float]:
    return [best(run)[0] for contender, run in runs.items() if contender != "c"]


def table(found: Mapping[str, Values], parameters: int) -> str:
    """Return the figures in Markdown: medians over the seeds, and from least to most."""
    lines = [f"| median (least to most) | {' | '.join(NAMES.values())} | (a) / (c) | (b) / (c) |", "| --- |" + " --- |" * 5]
    for measure in measures(parameters):
        cells = [_cell(found.get(f"{measure.name}_{contender}", []), measure.shown) for contender in NAMES]
        cells += [_cell(found.get(f"{measure.name}_{contender}_to_c", []), "{:.2f}".format) for contender in "ab"]
        if any(cells):
            lines.append(f"| {measure.title} | {' | '.join(cells)} |")
    sentences = [
        _verdict(found.get(f"final_loss_c_less_{name}_of_others", []), words)
        for name, words in (("final", "the better of the others' final losses"), ("best", "the lowest that either ever had there"))
    ]
    return "\n".join([*lines, "", *filter(None, sentences)])


def _cell(values: Values, shown: Callable[[float], str]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    words = shown(median(known))
    if shown(min(known)) != shown(max(known)):
        words += f" ({shown(min(known))} to {shown(max(known))})"
    return words if len(known) == len(values) else f"{words}, {len(known)} of {len(values)} seeds"


def _verdict(values: Values, words: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    difference = mean(known)
    verdict = "a tie" if abs(difference) < TIE else "better" if difference < 0 else "worse"
    return f"Mynah's final loss less {words}: {', '.join(f'{value:+.3f}' for value in known)}; mean {difference:+.3f}: {verdict}."
