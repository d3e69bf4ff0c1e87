"""The figures of bench/speak.py as Markdown: the contenders, then Mynah's speaker alone beside its goals."""

from collections.abc import Mapping
from typing import Any

from bench import command
from bench.command import Goal, Row, seconds

NAMES = {
    "m": "(m) Mynah, eight requests at once",
    "s": "(s) Mynah, one after another",
    "p": "(p) peft, adapters switched",
    "h": "(h) pipelines, voices merged",
    "l": "(l) llama.cpp, Q4_1, no LoRA",
}
LOGITS = 1e-3
"""By which a rival's logits may differ from Mynah's, both fp32 on the CPU."""

_FEW, _MORE = "{:.2f}".format, "{:,.0f}".format
_ROWS = [
    Row("exec to the first line, base on disk, s", ("start_s",), seconds, Goal(15.0)),
    Row("message to the last of eight candidates, warm, s: p95, p50", ("question_s_p95", "question_s_p50"), seconds, Goal(3.0)),
    Row("first line of a voice, ms: warm, cold, later by", ("warm_first_ms", "cold_first_ms", "cold_ms"), "{:.1f}".format, Goal(100.0)),
    Row("one line, s: alone, beside a request for many", ("even_alone_s", "even_beside_s"), seconds),
    Row("tokens a line; lines a minute, all voices mixed", ("line_tokens", "lines_per_minute"), _MORE, Goal(10_000.0, True, "cuda")),
]


def table(figures: Mapping[str, Any], device: str, tokens: int) -> str:
    """Return what is known so far."""
    shown = [_contenders(figures, tokens), command.table([*_ROWS, *_first_lines(figures), *_memory()], figures, device)]
    if "logits_moved" in figures:
        differ = " and ".join(
            f"({name})'s by {figures[f'logits_differ_{name}']:.1e}" for name in "ph" if f"logits_differ_{name}" in figures
        )
        shown.append(f"Logits differ from Mynah's, fp32, {differ} at most; these voices move them by up to {figures['logits_moved']:.2f}.")
    return "\n\n".join(shown)


def _contenders(figures: Mapping[str, Any], tokens: int) -> str:
    bounds = {"p": Goal(4.0, least=True), "l": Goal(1.0, least=True)}
    lines = [f"| eight lines of {tokens} tokens | s, median (least to most) | tokens/s | over (m) | peak memory, GB |", "|" + " --- |" * 5]
    for name, title in NAMES.items():
        if (middle := figures.get(f"eight_s_{name}")) is None:
            continue
        rounds, ratio, memory = figures[f"eight_s_{name}_rounds"], figures.get(f"eight_{name}_to_m"), figures.get(f"memory_gb_{name}")
        over = "" if ratio is None else f"{ratio:.2f}" + (f" ({bounds[name].judge(ratio)})" if name in bounds else "")
        cells = [title, f"{middle:.2f} ({min(rounds):.2f} to {max(rounds):.2f})", f"{figures[f'eight_tokens_per_s_{name}']:.0f}", over]
        lines.append(f"| {' | '.join(cells)} | {'' if memory is None else f'{memory:.2f}'} |")
    return "\n".join(lines)


def _first_lines(figures: Mapping[str, Any]) -> list[Row]:
    found = []
    for name in figures:
        if name.startswith("first_s_") and name.endswith("_p50"):
            clients, _, count = name.removeprefix("first_s_").removesuffix("_p50").partition("x")
            each = "one line" if count == "1" else f"{count} lines"
            goal = Goal(0.15, device="cuda") if clients == "32" else None
            title = f"first line, {clients} at once, {each} a request, s: p95, p50"
            found.append(Row(title, (name.replace("_p50", "_p95"), name), seconds, goal))
    return found


def _memory() -> list[Row]:
    return [
        Row("peak memory of the speaker at the end, GB", ("memory_gb",), _FEW),
        Row("of the GPU, GB", ("memory_gpu_gb",), _FEW),
    ]
