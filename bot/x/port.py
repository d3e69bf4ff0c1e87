"""What Mynah asks of X, and the ways in which X can refuse, so that nothing else knows which library talks to it."""

from datetime import datetime
from enum import Enum, auto
from typing import Protocol

from bot.errors import MynahError


class Retry(Enum):
    """What may be done after X refused a post, or did not answer."""

    #: X will not take it until a person has changed something: stop and tell.
    NEVER = auto()
    #: X has this very text already: a new one must be written.
    REGENERATE = auto()
    #: A limit is exhausted: nothing may be sent until `XError.until`.
    WAIT = auto()
    #: Nothing left this machine: it may be sent again, a little later.
    LATER = auto()
    #: The request went out and no clear answer came back: the post may be on X, and only a look can tell.
    UNSURE = auto()


class XError(MynahError):
    """X refused, or cannot be reached.

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


class XClient(Protocol):
    """One account on X."""

    async def create_post(self, text: str) -> str:
        """Post a text and return X's id of it.

        Raises:
            XError: it was not posted, or nobody knows; `retry` says which.
        """

    async def close(self) -> None:
        """Give up what is open; a request on its way is not waited for."""
