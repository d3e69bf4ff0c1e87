"""What a place where posts go is to Mynah, and the ways in which it can refuse, so that one service serves X and Discord."""

from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Protocol

from bot.errors import MynahError
from data.outbox import Post


class Retry(Enum):
    """What may be done after a post was refused, or nothing was heard of it."""

    #: It will not be taken until a person has changed something: stop and tell.
    NEVER = auto()
    #: This very text is there already: a new one must be written.
    REGENERATE = auto()
    #: What it answers is gone, or closed to answers: this one will never be taken, and others may.
    MOOT = auto()
    #: A limit is exhausted: nothing may be sent until `SendError.until`.
    WAIT = auto()
    #: Nothing left this machine: it may be sent again, a little later.
    LATER = auto()
    #: The request went out and no clear answer came back: the post may be there, and only a look can tell.
    UNSURE = auto()


class SendError(MynahError):
    """A post was refused, or its place cannot be reached.

    Attributes:
        retry: what may be done next.
        until: when the exhausted limit resets; set with `Retry.WAIT` and nowhere else.
    """

    def __init__(self, sentence: str, retry: Retry, until: datetime | None = None) -> None:
        if (retry is Retry.WAIT) != (until is not None):
            raise ValueError("a wait, and only a wait, has an end")
        super().__init__(sentence)
        self.retry = retry
        self.until = until


class Sender(Protocol):
    """One account on X, or all channels of Discord."""

    @property
    def looks_after(self) -> timedelta | None:
        """How long after a try a look that finds nothing can be trusted; None: nobody may look, so a person must."""

    async def send(self, post: Post) -> str:
        """Send a post and return its id there.

        Raises:
            SendError: it was not sent, or nobody knows; `retry` says which.
        """

    async def find(self, post: Post) -> str | None:
        """Look whether a post is there since `post.unsure_since`, and return its id; None: it is not.

        Raises:
            SendError: it could not be looked for; `retry` says whether it may be tried again.
        """

    async def close(self) -> None:
        """Give up what is open; a request on its way is not waited for."""
