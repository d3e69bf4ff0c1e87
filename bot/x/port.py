"""What Mynah asks of X, and the ways in which X can refuse, so that nothing else knows which library talks to it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot.services.sending import Retry, SendError
from data.tweets import Tweet

__all__ = [
    "PAGE",
    "REACH",
    "SMALLEST_PAGE",
    "Author",
    "Mention",
    "Mentions",
    "OwnPost",
    "OwnPosts",
    "Page",
    "Profile",
    "Retry",
    "User",
    "XClient",
    "XError",
    "XReader",
]

PAGE = 100
"""Posts to a page, at most."""
SMALLEST_PAGE = 5
"""That can be asked for; fewer may come."""
REACH = 3200
"""An account's newest posts, beyond which X gives none."""


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


@dataclass(frozen=True)
class Author:
    """Who mentioned an account, as far as X tells."""

    id: str
    handle: str
    """As its owner writes it."""
    bio: str
    label: str
    """What X says below the name, such as whom the account belongs to."""
    protected: bool


@dataclass(frozen=True)
class Mention:
    """A post that mentions the account."""

    id: str
    author: Author
    text: str
    """As a reader sees it."""
    at: datetime
    summons: bool
    """Its author wrote the account's name; X adds the name by itself to whatever answers a post that has it."""
    edits: tuple[str, ...]
    """X's ids of what it was before it was edited."""


@dataclass(frozen=True)
class Mentions:
    """Some of the posts that mention the account, the newest first, and what X delivered with them, which is what it takes money for."""

    mentions: tuple[Mention, ...]
    newest_id: str | None
    """This and the next are None where there are none."""
    oldest_id: str | None
    next_token: str | None
    """What the next page is asked for with; None: this is the last."""
    posts: int
    users: int


@dataclass(frozen=True)
class Profile:
    """What everybody can read of an account."""

    id: str
    handle: str
    """Lower case."""
    name: str
    bio: str


class XClient(Protocol):
    """One account on X.

    Attributes:
        id: X's number of it; None: it must be learnt before own posts are asked for.
    """

    id: str | None

    async def profile(self) -> Profile:
        """Ask X for the account's own profile, and keep its number as `id`.

        Raises:
            XError: X refused, or did not answer.
        """

    async def create_post(self, text: str, in_reply_to: str | None = None) -> str:
        """Post a text, in answer to another post if one is named, and return X's id of it.

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

    async def mentions(
        self, most: int, *, since_id: str | None, since: datetime, until_id: str | None = None, token: str | None = None
    ) -> Mentions:
        """Return the newest posts that mention the account.

        Args:
            most: how many at most, 5 to 100; as many authors come with them, and as many posts that they answer.
            since_id: only later ones than this.
            since: where there is no `since_id`, only such as are not older than this.
            until_id: only earlier ones than this.
            token: of the page before, which was asked for with the same ids.

        Raises:
            XError: X refused, or did not answer; `retry` says whether it may be asked again.
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
