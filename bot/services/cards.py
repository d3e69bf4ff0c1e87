"""A model's card in figures, short or with all that a repetition needs, and its curve as a picture."""

import asyncio
import io
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from bot.files import write_whole
from bot.settings import PREFIX, Trainer
from bot.threads import drawn
from data import jobs, models, quizzes
from data.models import Model
from data.store import Store

ENOUGH_GUESSES = 10  # below that a fool rate says more about who happened to guess
LIGHT = ("white", "black", "#e6e6e6", "#8aa3b1", "#1d4e89")
DARK = ("#15202b", "#e8edf2", "#33424f", "#6f8797", "#8ec1f5")
"""Of a curve: ground, letters, grid, the loss of what is learned from, and that of what is held out."""


def kind(accounts: Sequence[object]) -> str:
    """Return what a voice is called that was made of so many accounts."""
    return "AI CYBORG" if len(accounts) > 1 else "AI BOT"


def card(model: Model) -> dict[str, Any]:
    """Return what is said of a model: names, counts per account, losses, time, size and what it was made with."""
    result = model.result
    return {
        "name": model.voice,
        "version": model.version,
        "current": model.current,
        "pinned": model.pinned,
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


def told_card(db: Database, model: Model) -> dict[str, Any]:
    """Return the card with what members made of the voice: its fool rate (data/quizzes.py), None before `ENOUGH_GUESSES`."""
    found = quizzes.fool_rate(db, model.voice)
    rate = {"share": found.share, "guesses": found.guesses, "chance": quizzes.CHANCE} if found.guesses >= ENOUGH_GUESSES else None
    return card(model) | {"fool_rate": rate}


def full_card(db: Database, model: Model) -> dict[str, Any]:
    """Return the card with all that is needed to make the model again.

    That is its job, the whole recipe, the corpus' splits (in posts), the version it started from (None: the base), and the command.
    """
    job = jobs.get(db, model.job)
    corpus = jobs.corpus_of(db, model.corpus)
    # What was left open when the job was asked for, the trainer chose; the device and the start are the job's alone.
    recipe = {name: value for name, value in job.recipe.items() if value is not None} | model.result["details"].get("recipe", {})
    start = next((v.version for v in models.versions(db, model.voice) if v.sha256 == recipe.get("start")), None)
    return told_card(db, model) | {
        "job": asdict(job),
        "recipe": recipe,
        "started_from": start,
        "splits": {name: len(posts) for name, posts in (("train", corpus.train), ("stop", corpus.stop), ("report", corpus.report))},
        "command": _command(model, recipe, start),
    }


def _command(model: Model, recipe: dict[str, Any], start: int | None) -> str:
    """Return the command line that makes a model again; it names what was chosen, lest a later Mynah choose otherwise."""
    if "imported" in recipe:
        return f"mynah import-model FOLDER --as {model.voice}"
    settings = {name: recipe[name] for name in Trainer.model_fields if recipe.get(name) is not None}
    words = [f"{PREFIX}TRAINER__{name.upper()}={shlex.quote(str(value))}" for name, value in settings.items()]
    words += ["mynah train", *model.handles, "--from", "base" if start is None else "last"]
    return " ".join([f"mynah pin {model.voice} {start} &&"] * (start is not None) + words)


async def save_curve(store: Store, model: Model, folder: Path, *, dark: bool = False) -> Path:
    """Draw the curve of a model's training into a PNG file, unless it lies there already, and return its path."""
    path = folder / model.voice / f"curve-v{model.version}{'-dark' * dark}.png"
    if not path.is_file():
        events = [event for _, event in await store.read(jobs.events_after, model.job)]
        picture = await drawn(draw_curve, events, model.result, dark=dark)
        await asyncio.to_thread(write_whole, path.parent, {path.name: picture})
    return path


def draw_curve(events: list[dict[str, Any]], result: dict[str, Any], *, dark: bool = False) -> bytes:
    """Draw the curve, about 1160 by 740 pixels; the reported losses stand in its title.

    Its letters are large, because Discord shows a picture in a card at a third of that.
    """
    from matplotlib.figure import Figure  # half a second, which only those who want a picture wait for

    steps = [(e["step"], e["loss"]) for e in events if e["type"] == "step"]
    evaluations = [(e["step"], e["loss"]) for e in events if e["type"] == "evaluation"]
    ground, ink, grid, learned, held_out = DARK if dark else LIGHT
    figure = Figure(figsize=(4.48, 2.8), dpi=250, layout="constrained", facecolor=ground)
    axes = figure.add_subplot(facecolor=ground)
    if steps:
        axes.plot(*zip(*steps, strict=True), color=learned, linewidth=1.0, label="posts it learns from")
    if evaluations:
        axes.plot(*zip(*evaluations, strict=True), color=held_out, marker="o", markersize=4, linewidth=1.8, label="posts held out")
    if axes.lines:
        axes.legend(frameon=False, labelcolor=ink)
    title = f"{result['loss_before']:.2f} before, {result['loss_after']:.2f} after, on posts it never saw"
    axes.set_title(title, fontsize=10, color=ink)
    axes.set_xlabel("step", color=ink)
    axes.set_ylabel("loss, nats a token", color=ink)
    axes.tick_params(colors=ink)
    axes.grid(visible=True, color=grid, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(ink)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight", pad_inches=0.12)
    return picture.getvalue()
