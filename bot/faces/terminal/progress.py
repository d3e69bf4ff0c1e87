"""A training as it goes on, on stderr: a live bar in a terminal, a line now and then elsewhere."""

from collections.abc import AsyncIterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from bot.faces.words import STAGES

PLAIN_STEPS = 10  # lines of progress, about, where there is no terminal


async def show(voice: str, events: AsyncIterator[dict[str, Any]], console: Console) -> None:
    """Show a job's events until they end."""
    if console.is_terminal:
        await _live(voice, events, console)
    else:
        await _plain(voice, events, console)


async def _live(voice: str, events: AsyncIterator[dict[str, Any]], console: Console) -> None:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[facts]}", markup=False))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"{voice}: waiting for its turn", total=None, facts="")
        async for event in events:
            match event["type"]:
                case "stage":
                    progress.update(task, description=f"{voice}: {STAGES.get(event['name'], event['name'])}")
                case "step":
                    progress.update(task, total=event["steps"], completed=event["step"], facts=_facts(event))
                case "sample":
                    progress.console.print(Text(f"  step {event['step']}: {event['text']}", style="dim italic"))
                case "note":
                    progress.console.print(Text(f"  {event['sentence']}", style="yellow"))


async def _plain(voice: str, events: AsyncIterator[dict[str, Any]], console: Console) -> None:
    shown = -1
    async for event in events:
        match event["type"]:
            case "stage":
                _say(console, f"{voice}: {STAGES.get(event['name'], event['name'])}")
            case "step":
                tenth = event["step"] * PLAIN_STEPS // event["steps"]
                if tenth != shown:
                    shown = tenth
                    _say(console, f"{voice}: {_facts(event)}")
            case "sample":
                _say(console, f"  step {event['step']}: {event['text']}")
            case "note":
                _say(console, f"  {event['sentence']}")


def _say(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)


def _facts(event: dict[str, Any]) -> str:
    minutes, seconds = divmod(round(event["eta_seconds"]), 60)
    speed = f"{event['tokens_per_second']:.0f} tokens/s"
    return f"step {event['step']}/{event['steps']} · loss {event['loss']:.2f} · {speed} · {minutes}:{seconds:02d} left"
