"""What the terminal shows: cards, tables and lines, as rich renderables; whatever came from outside is shown as plain text."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bot.services.doctor import Finding
from bot.services.importing import Imported
from bot.services.scheduling import Planned
from data.jobs import Job
from data.outbox import Post
from data.speech import Generation


def card(document: dict[str, Any]) -> RenderableType:
    """Render a model's card: who, the table of counts, losses, time and size."""
    counts = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    counts.add_column("")
    for handle in document["accounts"]:
        counts.add_column(Text(f"@{handle}"), justify="right")
    for name in ("downloaded", "retweets", "short", "kept", "duplicates"):
        counts.add_row(name, *(f"{document['counts'][handle][name]:,}" for handle in document["accounts"]))
    loss = document["loss"]
    facts = Table.grid(padding=(0, 2))
    facts.add_row("loss on posts it never saw", f"{loss['before']:.3f} before, [bold]{loss['after']:.3f}[/] after (nats a token)")
    facts.add_row("time", f"{document['seconds']:.0f} s")
    facts.add_row("size", f"{document['bytes'] / 1e6:.1f} MB")
    facts.add_row("base", Text(f"{document['base']} ({document['method']})"))
    facts.add_row("version", str(document["version"]))
    who = "AI CYBORG" if len(document["accounts"]) > 1 else "AI BOT"
    title = Text(f"{document['name']} · {who}", style="bold")
    return Panel(Group(counts, facts), title=title, title_align="left", box=box.ROUNDED, expand=False, padding=(0, 2))


def lines(generations: Sequence[Generation]) -> RenderableType:
    """Render what a voice said, a line each."""
    return Group(*(Text(f"• {line.text}") for line in generations))


def imported(result: Imported) -> RenderableType:
    """Render what an import brought."""
    c = result.counts
    return Text(
        f"@{result.handle}: {result.new:,} new. Stored: {c.downloaded:,} downloaded = {c.retweets:,} retweets + {c.short:,} short"
        f" + {c.kept:,} kept ({c.duplicates:,} of them duplicates). Next: mynah train {result.handle}"
    )


def models(documents: Sequence[dict[str, Any]]) -> RenderableType:
    """Render the list of voices."""
    if not documents:
        return Text("No voice is trained yet: mynah import FILE --as HANDLE, then mynah train HANDLE.")
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("voice", "version", "posts kept", "loss before", "after", "MB", "made"):
        table.add_column(name, justify="left" if name in ("voice", "made") else "right", no_wrap=name != "voice", overflow="fold")
    for d in documents:
        kept = sum(counts["kept"] for counts in d["counts"].values())
        loss = d["loss"]
        size = f"{d['bytes'] / 1e6:.1f}"
        table.add_row(
            Text(d["name"]), str(d["version"]), f"{kept:,}", f"{loss['before']:.3f}", f"{loss['after']:.3f}", size, d["created_at"][:10]
        )
    return table


def jobs(rows: Sequence[Job]) -> RenderableType:
    """Render the list of trainings, newest first."""
    if not rows:
        return Text("No training was asked for yet: mynah train HANDLE.")
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("job", "voice", "status", "asked by", "asked at", "why"):
        table.add_column(name)
    for job in rows:
        table.add_row(str(job.id), Text(job.voice), job.status, Text(job.requested_by), job.created_at[:16], Text(job.error or ""))
    return table


def posts(rows: Sequence[Post]) -> RenderableType:
    """Render the outbox, newest first."""
    if not rows:
        return Text("The outbox is empty: a schedule writes drafts into it (mynah schedule add).")
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("post", "voice", "status", "text"):
        table.add_column(name)
    for post in rows:
        table.add_row(str(post.id), Text(post.voice), post.status, Text(post.text))
    return table


def findings(rows: Sequence[Finding]) -> RenderableType:
    """Render what the doctor found: what works, what does not, and what to do."""
    grid = Table.grid(padding=(0, 2))
    for finding in rows:
        mark = Text("✓", style="green") if finding.ok else Text("✗", style="red")
        grid.add_row(mark, finding.name, Text(finding.found), Text(finding.advice, style="yellow"))
    return grid


def schedules(rows: Sequence[Planned]) -> RenderableType:
    """Render the schedules, each with its next times."""
    if not rows:
        return Text("There is no schedule: mynah schedule add NAME VOICE --every 6h.")
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("schedule", "voice", "when", "zone", "next"):
        table.add_column(name)
    for planned in rows:
        s = planned.schedule
        when = f"every {_span(int(s.expression))}" if s.kind == "every" else s.expression
        times = ", ".join(f"{moment:%Y-%m-%d %H:%M}" for moment in planned.times)
        table.add_row(Text(s.name), Text(s.voice), Text(when), Text(s.timezone), times)
    return table


def _span(seconds: int) -> str:
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    return next(f"{seconds // size}{unit}" for unit, size in units if seconds % size == 0)
