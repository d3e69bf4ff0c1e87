"""What Mynah asks of X, and the ways in which X can refuse, so that nothing else knows which library talks to it."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Protocol

from bot.errors import MynahError
from data.tweets import Tweet

PAGE = 100
"""Posts to a page, at most."""
SMALLEST_PAGE = 5
"""That can be asked for; fewer may come."""
REACH = 3200
"""An account's newest posts, beyond which X gives none."""


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


@dataclass(frozen=True)
class User:
    """An account on X, as a look-up tells of it."""

    id: str
    handle: str
    """Lower case."""
    posts: int
    """That it has, retweets included."""
    protected: bool


@dataclass(frozen=True)
class Page:
    """Some of an account's posts, the newest first."""

    tweets: tuple[Tweet, ...]
    newest_id: str | None
    """This and the next are None where there are no posts."""
    oldest_id: str | None
    next_token: str | None
    """What the next page is asked for with; None: this is the last. A page that has one may be empty, for X leaves out after it has cut."""
    problems: tuple[str, ...] = ()
    """X's words on posts that it did not give."""


class XReader(Protocol):
    """What is read from X. Each call is paid for by what it delivers; a refusal delivers nothing."""

    async def user(self, handle: str) -> User | None:
        """Look an account up; None: there is none of this name.

        Raises:
            XError: it is suspended, or X refused, or did not answer.
        """

    async def user_by_id(self, user_id: str) -> User | None:
        """Look up what an account is called now; None: there is none of this number any more.

        Raises:
            XError: as above.
        """

    async def page(
        self, user_id: str, *, most: int = PAGE, since_id: str | None = None, until_id: str | None = None, token: str | None = None
    ) -> Page:
        """Return posts of an account between two, both left out, without retweets, which nobody learns from.

        Args:
            user_id: whose.
            most: SMALLEST_PAGE to PAGE.
            since_id: only later ones.
            until_id: only earlier ones.
            token: of the page before this, which was asked for with the same ids.

        Raises:
            XError: they are protected, or X refused, or did not answer.
        """

    async def close(self) -> None:
        """Give up what is open; a request on its way is not waited for."""
