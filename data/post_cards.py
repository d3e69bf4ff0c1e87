"""Cards of posts: which message in Discord shows which post, and whether it is still followed."""

from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from data import outbox
from data.outbox import Post, State
from data.store import insert, now

_FOLLOWED = "(state <> 'closed' OR post IS NULL)"  # as in the index


@dataclass(frozen=True)
class PostCard:
    """A message that shows a post."""

    id: int
    post: int | None
    """None: it was forgotten, with its voice."""
    channel: int
    message: int | None
    """None: not put up yet."""
    state: str
    """open; replaced: it is to be taken down, for another shows the post; closed: it shows the end of the post, or is gone."""


def waiting(db: Database) -> list[Post]:
    """Return the posts that wait for a person, oldest first: drafts, and those of which Mynah does not know what is to become."""
    posts = [post for state in (State.DRAFT, State.FAILED, State.SENDING) for post in outbox.in_state(db, state)]
    return sorted((post for post in posts if post.status is State.DRAFT or post.awaits_person), key=lambda post: post.id)


def owed(db: Database, channel: int) -> list[int]:
    """Return the posts that wait for a person and have no card in a channel (0: in none); one that was deleted there was one."""
    if not channel:
        return []
    had = "post = ? AND channel = ? AND state <> 'replaced'"
    return [post.id for post in waiting(db) if not db["post_cards"].count_where(had, [post.id, channel])]


def elsewhere(db: Database, channel: int) -> list[PostCard]:
    """Return the open cards that stand in other channels."""
    return _cards(db, "state = 'open' AND channel <> ?", [channel])


def settle(db: Database, channel: int) -> None:
    """Write down that each post that waits gets a card in a channel (0: none does), and that cards elsewhere are taken down."""
    for card in elsewhere(db, channel):
        db.conn.execute("UPDATE post_cards SET state = 'replaced' WHERE id = ?", [card.id])
    for post in owed(db, channel):
        owe(db, post, channel)


def owe(db: Database, post: int, channel: int) -> PostCard:
    """Write down that a post gets a card in a channel; whatever showed it before is taken down.

    Raises:
        NotStoredError: there is no such post.
    """
    outbox.get(db, post)
    db.conn.execute("UPDATE post_cards SET state = 'replaced' WHERE post = ?", [post])
    number = insert(db, "post_cards", {"post": post, "channel": channel, "state": "open", "created_at": now()})
    return PostCard(number, post, channel, None, "open")


def put_up(db: Database, card: int, message: int) -> None:
    """Remember which message shows a card."""
    db.conn.execute("UPDATE post_cards SET message = ? WHERE id = ?", [message, card])


def close(db: Database, card: int) -> None:
    """Remember that a card shows the end of its post, or is gone."""
    db.conn.execute("UPDATE post_cards SET state = 'closed' WHERE id = ? AND state = 'open'", [card])


def drop(db: Database, card: int) -> None:
    """Let go of a card that shows nothing of a post any more."""
    db.conn.execute("DELETE FROM post_cards WHERE id = ?", [card])


def followed(db: Database) -> list[PostCard]:
    """Return the cards whose message is to be kept up to date or taken down, oldest first."""
    return _cards(db, _FOLLOWED)


def of_post(db: Database, post: int) -> PostCard | None:
    """Return the card that shows a post now, if it has one."""
    return next(iter(_cards(db, "post = ? AND state = 'open'", [post])), None)


def _cards(db: Database, where: str, values: list[Any] | None = None) -> list[PostCard]:
    rows = db.query(f"SELECT id, post, channel, message, state FROM post_cards WHERE {where} ORDER BY id", values)  # noqa: S608 - fixed words
    return [PostCard(**row) for row in rows]
