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


def bind(db: Database, channel: int, voice: str, by: str, webhook: int | None = None) -> None:
    """Have a voice, which must exist, answer in a channel, and no other."""
    row = {"channel": channel, "voice": voice, "bound_by": by, "webhook": webhook, "created_at": now()}
    db.table("bindings").upsert(row, pk="channel")


def speak_through(db: Database, channel: int, voice: str, webhook: int) -> None:
    """Have a voice speak through another webhook from now on, if it is still the channel's."""
    db.conn.execute("UPDATE bindings SET webhook = ? WHERE channel = ? AND voice = ?", [webhook, channel, voice])


def unbind(db: Database, channel: int) -> bool:
    """Have no voice answer in a channel; return whether one did."""
    return bool(db.conn.execute("DELETE FROM bindings WHERE channel = ?", [channel]).rowcount)


def bound(db: Database, channel: int) -> Binding | None:
    """Return which voice answers in a channel; None: none."""
    for row in db.query("SELECT channel, voice, bound_by, webhook FROM bindings WHERE channel = ?", [channel]):
        return Binding(**row)
    return None
