"""Talk in Discord: which messages are lines of a voice, and which channels have one that answers there."""

from dataclasses import dataclass

from sqlite_utils import Database

from data.store import now


def remember(db: Database, message: int, channel: int, request: int) -> None:
    """Remember that a message shows the lines of a request; it goes with its voice."""
    db.table("said").upsert({"message": message, "channel": channel, "request": request}, pk="message")


def request_of(db: Database, message: int) -> int | None:
    """Return the request whose lines a message shows; None if it shows none."""
    for row in db.query("SELECT request FROM said WHERE message = ?", [message]):
        return int(row["request"])
    return None


@dataclass(frozen=True)
class Binding:
    """A channel, and the voice that answers there."""

    channel: int
    voice: str
    bound_by: str
    webhook: int | None
    """Id of the webhook through which it speaks there under its own name; None: as the bot."""


def bind(db: Database, channel: int, voice: str, by: str, webhook: int | None = None) -> Binding | None:
    """Have a voice, which must exist, answer in a channel, and no other; return what was there before."""
    before = bound(db, channel)
    row = {"channel": channel, "voice": voice, "bound_by": by, "webhook": webhook, "created_at": now()}
    db.table("bindings").upsert(row, pk="channel")
    return before


def speak_through(db: Database, binding: Binding, webhook: int) -> bool:
    """Have a voice speak through another webhook from now on; return False, and change nothing, if the binding is another by now."""
    now_bound = [binding.channel, binding.voice, binding.webhook]
    changed = db.conn.execute("UPDATE bindings SET webhook = ? WHERE channel = ? AND voice = ? AND webhook IS ?", [webhook, *now_bound])
    return bool(changed.rowcount)


def unbind(db: Database, channel: int) -> Binding | None:
    """Have no voice answer in a channel; return what was there before."""
    before = bound(db, channel)
    db.conn.execute("DELETE FROM bindings WHERE channel = ?", [channel])
    return before


def bound(db: Database, channel: int) -> Binding | None:
    """Return which voice answers in a channel; None: none."""
    for row in db.query("SELECT channel, voice, bound_by, webhook FROM bindings WHERE channel = ?", [channel]):
        return Binding(**row)
    return None
