"""Cards and lists as Discord shows them: embeds and lines within the platform's limits."""

from collections.abc import Sequence
from typing import Any

import discord

from bot.faces.discord.language import tr
from bot.faces.discord.naming import both, called
from bot.faces.discord.text import EMBED_DESCRIPTION, EMBED_FIELD, EMBED_TITLE, MESSAGE, cut, moment, plural, safe, sentence, who
from bot.services.cards import kind
from data.jobs import Job, Status

COLOUR = discord.Colour(0x1D4E89)
CURVE = "curve.png"
SAID = "voice.png"
SAMPLES = 3
SAMPLE = 280
ACCOUNTS_SHOWN = 10
REASON = 200
LISTED = 15
MARKS = {Status.QUEUED: "⏳", Status.RUNNING: "🐦", Status.DONE: "✅", Status.FAILED: "❌", Status.CANCELLED: "⏹"}


def card(document: dict[str, Any], *, curve: bool) -> discord.Embed:
    """Render a model's card, with what quizzes say if it holds that; with `curve`, its picture is attached as curve.png."""
    samples = "\n".join(f"• {safe(line, SAMPLE)}" for line in document["samples"][:SAMPLES])
    embed = discord.Embed(
        title=safe(f"{called(document['name'])} · {kind(document['accounts'])}", EMBED_TITLE),
        description=cut(samples, EMBED_DESCRIPTION),
        colour=COLOUR,
    )
    loss = document["loss"]
    if loss["after"] is None:
        embed.add_field(name=tr("Made"), value=tr("elsewhere, and imported"), inline=True)
    else:
        value = tr(f"{loss['before']:.3f} → **{loss['after']:.3f}**\nnats a token,\nless is better")
        embed.add_field(name=tr("Loss on unseen posts"), value=value, inline=True)
        embed.add_field(name=tr("Time"), value=duration(document["seconds"]), inline=True)
    embed.add_field(name=tr("Size"), value=f"{document['bytes'] / 1e6:.1f} MB", inline=True)
    if rate := document.get("fool_rate"):
        value = tr(f"**{rate['share']:.0%}** of {rate['guesses']:,} guesses were wrong\n(by chance: {rate['chance']:.0%})")
        embed.add_field(name=tr("Fool rate"), value=value, inline=True)
    counts = "\n".join(_counts(handle, document["counts"][handle]) for handle in document["accounts"][:ACCOUNTS_SHOWN])
    embed.add_field(name=tr("Posts"), value=cut(counts, EMBED_FIELD), inline=False)
    made = f"version {document['version']} · {document['base']} ({document['method']}) · {moment(document['created_at'])} UTC"
    embed.set_footer(text=tr(made))
    if curve:
        embed.set_image(url=f"attachment://{CURVE}")
    return embed


def _counts(handle: str, counts: dict[str, int]) -> str:
    if not counts["downloaded"]:  # of an imported voice whose card does not tell
        return tr(f"**{safe(handle)}**: nobody counted them")
    return tr(
        f"**{safe(handle)}**: {counts['downloaded']:,} downloaded = {counts['retweets']:,} retweets + {counts['short']:,} short"
        f" + {counts['kept']:,} kept ({counts['duplicates']:,} of them duplicates)"
    )


def models(documents: Sequence[dict[str, Any]], search: str, page: int, pages: int, total: int) -> str:
    """Render a page of the `total` voices whose name holds a text."""
    if not documents:
        nobody = "No voice is trained yet: `/train` makes one of an account whose posts were imported."
        return tr(f"No voice has a name that holds {safe(search)}." if search else nobody)
    rows = [_row(document) for document in documents]
    if pages > 1:
        rows.append(tr(f"Page {page} of {pages}, {plural(total, 'voice')} in all"))
    return cut("\n".join(rows), MESSAGE)


def _row(document: dict[str, Any]) -> str:
    kept = sum(counts["kept"] for counts in document["counts"].values())
    loss = document["loss"]
    if loss["after"] is None:
        made = document["created_at"][:10]
        return tr(f"• **{safe(both(document['name']))}** · version {document['version']} · {plural(kept, 'post')} · imported · {made}")
    return tr(
        f"• **{safe(both(document['name']))}** · version {document['version']} · {plural(kept, 'post')} · "
        f"loss {loss['before']:.2f} → {loss['after']:.2f} · {document['created_at'][:10]}"
    )


def jobs(rows: Sequence[Job]) -> str:
    """Render a list of trainings."""
    if not rows:
        return tr("No training was asked for yet: `/train` begins one.")
    lines = (
        f"{MARKS[job.status]} **{job.id}** · {safe(called(job.voice))} · {tr(job.status.value)} · {who(job.requested_by)}"
        + (f" · {sentence(job.error, REASON)}" if job.error else "")
        for job in rows
    )
    return cut("\n".join(lines), MESSAGE)


def lines(voice: str, texts: Sequence[str]) -> str:
    """Render what a voice said; longer than a message may be if there is much of it."""
    voice, said = called(voice), [safe(text) for text in texts]
    return "\n".join([f"**{safe(voice)}**", *(f"• {line}" for line in said)]) if len(said) > 1 else f"**{safe(voice)}**: {said[0]}"


def duration(seconds: float) -> str:
    """Return a time as `45 s` or `3:20 min`."""
    minutes, rest = divmod(round(seconds), 60)
    return tr(f"{minutes}:{rest:02d} min" if minutes else f"{rest} s")
