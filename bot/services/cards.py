"""A model's card in figures, and its curve as a picture."""

import asyncio
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data import jobs
from data.models import Model
from data.store import Store


def card(model: Model) -> dict[str, Any]:
    """Return what is said of a model: names, counts per account, losses, time, size and what it was made with."""
    result = model.result
    return {
        "name": model.voice,
        "version": model.version,
        "accounts": list(model.handles),
        "counts": {handle: asdict(counts) for handle, counts in model.counts.items()},
        "loss": {"before": result["loss_before"], "after": result["loss_after"]},
        "seconds": result["seconds"],
        "bytes": model.bytes,
        "base": model.base,
        "method": model.method,
        "created_at": model.created_at,
        "sha256": model.sha256,
        "corpus_sha256": model.corpus,
        "samples": result["samples"],
        "details": result["details"],
    }


async def save_curve(store: Store, model: Model, folder: Path) -> Path:
    """Draw the curve of a model's training into a PNG file, unless it lies there already, and return its path."""
    path = folder / model.voice / f"curve-v{model.version}.png"
    if not path.is_file():
        events = [event for _, event in await store.read(jobs.events_after, model.job)]
        picture = await asyncio.to_thread(draw_curve, model.voice, events, model.result)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    return path


def draw_curve(voice: str, events: list[dict[str, Any]], result: dict[str, Any]) -> bytes:
    """Draw the curve, 1120 by 640 pixels; the reported losses stand in its title."""
    from matplotlib.figure import Figure  # half a second, which only those who want a picture wait for

    steps = [(e["step"], e["loss"]) for e in events if e["type"] == "step"]
    evaluations = [(e["step"], e["loss"]) for e in events if e["type"] == "evaluation"]
    figure = Figure(figsize=(7, 4), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    if steps:
        axes.plot(*zip(*steps, strict=True), color="#9db4c0", linewidth=1.2, label="training, each step")
    if evaluations:
        axes.plot(*zip(*evaluations, strict=True), color="#1d4e89", marker="o", linewidth=2, label="held out (stop split)")
    if axes.lines:
        axes.legend(frameon=False)
    axes.set_title(f"{voice}: {result['loss_before']:.2f} before, {result['loss_after']:.2f} after, on posts it never saw", fontsize=11)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss, nats a token")
    axes.grid(visible=True, color="#e6e6e6", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()
