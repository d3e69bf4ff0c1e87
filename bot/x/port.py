"""What Mynah asks of X, and the ways in which X can refuse, so that nothing else knows which library talks to it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot.services.sending import Retry, SendError

__all__ = ["OwnPost", "OwnPosts", "Retry", "XClient", "XError"]


class XError(SendError):
    """X refused, or cannot be reached."""


@dataclass(frozen=True)
class OwnPost:
    """A post as X shows it: its text is escaped, and links in it are shortened."""

    id: str
    text: str
    created_at: datetime


@dataclass(frozen=True)
class OwnPosts:
    """Some of an account's own posts, the newest first."""

    posts: tuple[OwnPost, ...]
    next_token: str | None
    """What the next page is asked for with; None: this is the last."""


class XClient(Protocol):
    """One account on X.

    Attributes:
        id: X's number of it; None: it must be learnt before own posts are asked for.
    """

    id: str | None

    async def learn_id(self) -> None:
        """Ask X which account this is, and keep its number as `id`.

        Raises:
            XError: X refused, or did not answer.
        """

    async def create_post(self, text: str) -> str:
        """Post a text and return X's id of it.

        Raises:
            XError: it was not posted, or nobody knows; `retry` says which.
        """

    async def own_posts(self, most: int, *, since_id: str | None, since: datetime, token: str | None = None) -> OwnPosts:
        """Return the newest posts of the account itself.

        Args:
            most: how many at most, 5 to 100.
            since_id: only later ones than this.
            since: where there is no `since_id`, only such as are not older than this.
            token: of the page before.

        Raises:
            XError: X refused, or did not answer; `retry` says whether it may be asked again.
        """

    async def close(self) -> None:
        """Give up what is open; a request on its way is not waited for."""
