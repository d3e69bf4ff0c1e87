"""What the terminal shows: cards, tables and lines, as rich renderables; whatever came from outside is shown as plain text."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bot.faces.words import GROUNDS
from bot.services.cards import kind
from bot.services.choosing import STYLE
from bot.services.doctor import Finding
from bot.services.importing import Imported
from bot.services.scheduling import Planned
from data.jobs import Job
from data.outbox import Pause, Post
from data.speech import PASSED, Generation

#: Of the trainer's details: what the card has of the job, the corpus and the version that was begun with.
SAID_BY_THE_CARD = ("recipe", "posts", "start")


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
    if loss["after"] is None:
        facts.add_row("made", "elsewhere, and imported")
    else:
        facts.add_row("loss on posts it never saw", f"{loss['before']:.3f} before, [bold]{loss['after']:.3f}[/] after (nats a token)")
        facts.add_row("time", f"{document['seconds']:.0f} s")
    facts.add_row("size", f"{document['bytes'] / 1e6:.1f} MB")
    facts.add_row("base", Text(f"{document['base']} ({document['method']})"))
    facts.add_row("version", str(document["version"]))
    if rate := document.get("fool_rate"):
        facts.add_row(
            "fool rate", f"[bold]{rate['share']:.0%}[/] of {rate['guesses']:,} guesses were wrong (by chance: {rate['chance']:.0%})"
        )
    title = Text(f"{document['name']} · {kind(document['accounts'])}", style="bold")
    return Panel(Group(counts, facts), title=title, title_align="left", box=box.ROUNDED, expand=False, padding=(0, 2))


def particulars(document: dict[str, Any]) -> RenderableType:
    """Render what a full card holds beyond the short one, a row for each group; the trainer's details stand there as it names them."""
    details = {name: value for name, value in document["details"].items() if name not in SAID_BY_THE_CARD}
    groups = {name: value for name, value in details.items() if isinstance(value, dict)}
    start = document["started_from"]
    rows: dict[str, Any] = {
        "sha256": document["sha256"],
        "corpus": document["corpus_sha256"],
        "splits": document["splits"],
        "job": {name: document["job"][name] for name in ("id", "requested_by", "created_at", "ended_at", "attempt")},
        "model": {"bytes": document["bytes"], "seconds": document["seconds"], "from": f"version {start}" if start else "base"},
        "recipe": document["recipe"],
        "run": {name: value for name, value in details.items() if name not in groups},
        **groups,
    }
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows.items():
        grid.add_row(Text(name.replace("_", " ")), Text(_pairs(value) if isinstance(value, dict) else _value(value)))
    corpus = document["corpus_sha256"][:12]
    again = f"To make it again, where the stored posts, max_posts and short_rule make the corpus {corpus}…:"
    return Group(Text(), grid, Text(), Text(again), Text(document["command"]))


def _pairs(values: dict[str, Any]) -> str:
    return "  ".join(f"{name}={_value(value)}" for name, value in values.items())


def _value(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case list() | tuple():
            return ",".join(map(_value, value))
        case dict():
            return f"({_pairs(value)})"
    return str(value)


def lines(generations: Sequence[Generation]) -> RenderableType:
    """Render what a voice said, a line each."""
    return Group(*(Text(f"• {line.text}") for line in generations))


def explained(document: dict[str, Any]) -> RenderableType:
    """Render every candidate, the best first: its score and the parts of it, in nats, and what became of it."""
    if not document["candidates"]:
        return Text("No candidate came.")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("score", "likelihood", "style", "relevance"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("line, and what became of it", overflow="fold")
    for line in sorted(document["candidates"], key=lambda line: (not line["chosen"], line["verdict"] != PASSED, -line["score"])):
        passed = "said" if line["chosen"] else "passed: others were better"
        verdict = passed if line["verdict"] == PASSED else f"{line['verdict']}: {line['reason']}"
        figures = (f"{line['parts'][name]:+.2f}" for name in ("likelihood", "style", "relevance"))
        table.add_row(f"{line['score']:.2f}", *figures, Text(line["text"], style="bold" if line["chosen"] else ""))
        table.add_row("", "", "", "", Text(f"→ {verdict}", style="green" if line["chosen"] else "dim"))
    typical = document["typical_log_likelihood"]
    how = f"score = likelihood + style + relevance. likelihood: nats a token below what is typical of the voice ({typical:.2f}); style:"
    return Group(
        Text(), table, Text(), Text(f"{how} {STYLE:g} times the share of trigrams that are the account's; relevance: to the message.")
    )


def imported(result: Imported, by: str) -> RenderableType:
    """Render what an import brought, and who answers for it."""
    c = result.counts
    return Text(
        f"@{result.handle}: {result.new:,} new. Stored: {c.downloaded:,} downloaded = {c.retweets:,} retweets + {c.short:,} short"
        f" + {c.kept:,} kept ({c.duplicates:,} of them duplicates). Consent: {GROUNDS[result.ground]}, says {by}."
        f" Next: mynah train {result.handle}"
    )


def models(documents: Sequence[dict[str, Any]]) -> RenderableType:
    """Render the list of voices."""
    if not documents:
        return Text("No voice is trained yet: mynah import FILE --as HANDLE, then mynah train HANDLE.")
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("voice", "version", "posts kept", "loss before", "after", "MB", "made"):
        table.add_column(name, justify="left" if name in ("voice", "made") else "right", no_wrap=name != "voice", overflow="fold")
    for d in documents:
        version = f"{d['version']}, pinned" if d["pinned"] else str(d["version"])
        kept, before, after, size = _figures(d, 3)
        table.add_row(Text(d["name"]), version, kept, before, after, size, d["created_at"][:10])
    return table


def versions(documents: Sequence[dict[str, Any]]) -> RenderableType:
    """Render the versions of one voice or more, a table each, with a mark at those that speak."""
    tables: list[RenderableType] = []
    for voice, group in groupby(documents, key=lambda d: str(d["name"])):
        table = Table(box=None, padding=(0, 2, 0, 0), title=Text(voice, style="bold"), title_justify="left")
        for name in ("v", "speaks", "made", "posts", "loss", "MB", "method", "base"):
            fold = name == "base"
            table.add_column(name, justify="right" if name in ("v", "posts", "MB") else "left", no_wrap=not fold, overflow="fold")
        for d in group:
            mark = "pinned" if d["pinned"] else "newest" if d["current"] else ""
            kept, before, after, size = _figures(d, 2)
            figures = (d["created_at"][:10], kept, f"{before} → {after}", size, d["method"], Text(d["base"]))
            table.add_row(str(d["version"]), mark, *figures, style="bold" if d["current"] else "")
        tables += [table, Text()]
    return Group(*tables[:-1])


def _figures(document: dict[str, Any], digits: int) -> tuple[str, str, str, str]:
    """Return the posts kept, the loss before and after, and the megabytes; of an imported voice nobody measured the loss."""
    kept = sum(counts["kept"] for counts in document["counts"].values())
    loss = document["loss"]
    before, after = ("-" if loss[when] is None else f"{loss[when]:.{digits}f}" for when in ("before", "after"))
    return f"{kept:,}", before, after, f"{document['bytes'] / 1e6:.1f}"


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


def paused(pause: Pause) -> str:
    """Return the sentence that says that posting stands still, since when and by whom."""
    why = f": {pause.why}" if pause.why else ""
    return f"Posting is paused since {pause.paused_at[:16].replace('T', ' ')} UTC, by {pause.paused_by}{why}."


def posts(rows: Sequence[Post], pause: Pause | None) -> RenderableType:
    """Render the outbox, newest first, below the pause that lasts."""
    above = [Text(f"{paused(pause)} `mynah resume` lets it go on.", style="yellow")] if pause else []
    if not rows:
        return Group(*above, Text("The outbox is empty: a schedule writes drafts into it (mynah schedule add)."))
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("post", "voice", "status", "text"):
        table.add_column(name)
    for post in rows:
        table.add_row(str(post.id), Text(post.voice), post.status, Text(post.text))
    return Group(*above, table)


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
