"""Deciding about posts: what a person is shown of one, what he can decide, and another line in its place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from bot.services.posting import Posting
from bot.services.speaking import Speaking
from bot.x.text import without_leading_names
from data import mentions, outbox, schedules, speech
from data.origin import Origin
from data.outbox import Pause, Post, State
from data.speech import Purpose
from data.store import Store

OFFERED: Mapping[State, tuple[str, ...]] = {
    State.DRAFT: ("approve", "edit", "another", "reject"),
    State.APPROVED: ("edit", "reject"),
    State.FAILED: ("retry", "edit", "another", "reject"),
    State.SENDING: ("again", "confirm", "leave"),
}
"""What can be decided about a post, by where it stands; one that is being sent must wait for a person first."""
_YES = ("approve", "retry", "again")


@dataclass(frozen=True)
class Shown:
    """All that is told of a post, so that it is told anew where some of it changed."""

    post: Post
    history: tuple[dict[str, Any], ...]
    """status, at, who, why, was, oldest first."""
    pause: Pause | None

    @property
    def waits(self) -> bool:
        """Whether a person may decide about it now."""
        return self.post.status in (State.DRAFT, State.FAILED) or self.post.awaits_person

    @property
    def offered(self) -> tuple[str, ...]:
        """What can be decided about it now."""
        on_its_way = self.post.status is State.SENDING and not self.post.awaits_person
        return () if on_its_way else OFFERED.get(self.post.status, ())

    @property
    def seen(self) -> int:
        """How many changes it had: who decides says so, lest he decide about something else than he saw."""
        return len(self.history)


def shown_of(db: Database, number: int) -> Shown:
    """Return all that is told of a post.

    Raises:
        NotStoredError: there is no such post.
    """
    post = outbox.get(db, number)
    return Shown(post, tuple(outbox.changes(db, number)), outbox.paused(db))


def as_seen(db: Database, number: int, seen: int) -> Shown:
    """Return all that is told of a post, of which nothing changed since somebody saw it.

    Raises:
        NotStoredError: there is no such post.
        WrongStateError: something did.
    """
    outbox.need_unchanged(db, number, seen)
    return shown_of(db, number)


async def decide(posting: Posting, choice: str, number: int, who: str, *, seen: int) -> Post:
    """Say yes or no to a post, or that it is there; `edit` and `another` are no decisions.

    Raises:
        NotStoredError, WrongStateError, BadRequestError: as `Posting` says; nothing was decided.
    """
    if choice in _YES:
        return await posting.approve(number, who, seen=seen)
    if choice == "confirm":
        return await posting.confirm(number, who, seen=seen)
    return await posting.reject(number, who, "", seen=seen)


async def another(store: Store, speaking: Speaking, posting: Posting, number: int, who: str, *, seen: int, origin: Origin | None) -> Post:
    """Have the voice of a post write a new line in the place of its text; it is a draft again.

    Raises:
        NotStoredError, WrongStateError, BadRequestError: as `Posting.edit` says; nothing was changed.
        SpeechFailedError, QuotaError: as `Speaking` says; likewise.
    """
    post = (await store.read(as_seen, number, seen)).post
    schedule = await store.read(schedules.get, post.schedule) if post.schedule else None
    message = without_leading_names(await store.read(mentions.asked, post))
    request = await speaking.request(
        post.voice,
        by=who,
        message=message,
        origin=origin,
        prompt=schedule.prompt if schedule else "",
        temperature=schedule.creativity if schedule else None,
        count=1,
        purpose=Purpose.POST,
    )
    try:
        (line,) = (await speaking.answer(request.id)).lines
    finally:
        if message:
            await store.write(speech.forget_messages)
    return await posting.edit(number, line.text, who, seen=seen)
