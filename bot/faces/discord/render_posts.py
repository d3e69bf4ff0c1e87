"""Posts as Discord shows them: the card of one, and the list of those that wait."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bot.faces.discord.language import tr
from bot.faces.discord.naming import called
from bot.faces.discord.text import MESSAGE, cut, plural, safe, sentence, units, who
from bot.services.deciding import Shown
from bot.services.posting import SENDER, UNATTENDED_ANSWERS
from bot.x import text as rules
from data.outbox import DEFAULT_ACCOUNT, Destination, Pause, Post, State
from data.post_cards import PostCard

TEXT = 1200  # characters of a post, escaped, in its card
LINE = 80  # characters of a post in a list
LISTED = 15
NAME = 60
REASON = 300


def at(stamp: str, form: str) -> str:
    """Return a stored moment as each reader's Discord shows it, in his own time; `form`: f, a date and time, or R, from now."""
    return f"<t:{int(datetime.fromisoformat(stamp).timestamp())}:{form}>"


def place(to: Destination) -> str:
    """Return where posts go; without a name it is the default account."""
    if to.channel is not None:
        return f"<#{to.channel}>"
    return "X" if to.account in (None, DEFAULT_ACCOUNT) else f"X ({safe(to.account or '', NAME)})"


def card(shown: Shown, server: int) -> str:
    """Render the card of a post, in a server."""
    post = shown.post
    quoted = "\n".join(f"> {line}" for line in safe(post.text, TEXT).split("\n"))
    facts = [tr(f"schedule {safe(post.schedule, NAME)}" if post.schedule else "no schedule")]
    if post.in_reply_to:
        facts = [tr(f"answers <https://x.com/i/web/status/{post.in_reply_to}>")]
    due = post.not_before
    facts.append(tr(f"for {at(due, 'f')} ({at(due, 'R')})" if due else "as soon as it is approved"))
    facts += [] if post.account is None else [tr(f"{rules.weighted_length(post.text)} of {rules.MAX_LENGTH} characters")]
    head = f"**{safe(called(post.voice), NAME)}** → {place(post.destination)} · {tr(f'post {post.id}')}"
    return cut("\n".join([head, quoted, f"-# {' · '.join(facts)}", *_fate(shown, server)]), MESSAGE)


def _fate(shown: Shown, server: int) -> list[str]:
    """Return what became of a post so far, in a line or two."""
    post, last = shown.post, shown.history[-1]
    since, by, why = at(last["at"], "R"), who(last["who"]), sentence(last["why"], REASON)
    yes = next((change for change in reversed(shown.history) if change["status"] == State.APPROVED and change["who"] != SENDER), None)
    approved = [_yes(yes)] if yes else []
    match post.status:
        case State.DRAFT:
            edited = [tr(f"Edited by {by} {since}.")] if last["was"] is not None else []
            return [*edited, tr("It waits for a yes.")]
        case State.APPROVED:
            held = [tr(f"It was not taken yet: {why}")] if last["who"] == SENDER else []
            return [*approved, *held, *([tr("It goes out when posting is resumed: it is paused.")] if shown.pause else [])]
        case State.SENDING:
            return [*approved, why if shown.waits else tr("It is being sent.")]
        case State.POSTED:
            return [*approved, tr(f"Posted {since}: {_link(post, server)}" if post.x_id else f"{by} found it there {since}.")]
        case State.REJECTED:
            return [tr(f"Rejected by {by} {since}." if last["why"] == "rejected" else f"Rejected by {by} {since}: {why}")]
    return [*approved, tr(f"It failed {since}: {why}")]


def _yes(change: dict[str, Any]) -> str:
    if change["who"] == UNATTENDED_ANSWERS:
        return tr("Approved beforehand: `[x.mentions] unattended` in config.toml is on.")
    if change["who"].startswith("unattended: "):
        return tr("Approved beforehand: `[x] unattended` in config.toml names its schedule.")
    return tr(f"Approved by {who(change['who'])} {at(change['at'], 'R')}.")


def _link(post: Post, server: int) -> str:
    there = f"https://x.com/i/web/status/{post.x_id}"
    return f"<{there}>" if post.channel is None else f"https://discord.com/channels/{server}/{post.channel}/{post.x_id}"


def waiting(posts: Sequence[tuple[Post, PostCard | None]], pause: Pause | None, server: int) -> str:
    """Render the list of posts that wait for a person, each with a link to its card in a server."""
    head = [paused(pause)] if pause else []
    rows = [_row(post, card, server) for post, card in posts[:LISTED]]
    while True:
        left = len(posts) - len(rows)
        text = "\n".join([*head, *(rows or [tr("No post waits.")]), *([tr(f"{plural(left, 'post')} besides")] if left else [])])
        if units(text) <= MESSAGE:
            return text
        rows.pop()


def _row(post: Post, card: PostCard | None, server: int) -> str:
    there = card and card.message and f"https://discord.com/channels/{server}/{card.channel}/{card.message}"
    name = f"[{post.id}](<{there}>)" if there else str(post.id)
    return f"• **{name}** · {safe(called(post.voice), NAME)} · {tr(post.status.value)} · {safe(' '.join(post.text.split()), LINE)}"


def paused(pause: Pause) -> str:
    """Say since when posting is paused, by whom and why."""
    why = f": {safe(pause.why, REASON)}" if pause.why else ""
    return tr(f"Posting is paused since {at(pause.paused_at, 'f')}, by {who(pause.paused_by)}{why}.")
