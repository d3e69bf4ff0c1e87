"""What Mynah asks of X, and the ways in which X can refuse, so that nothing else knows which library talks to it."""

from typing import Protocol

from bot.services.sending import Retry, SendError

__all__ = ["Retry", "XClient", "XError"]


class XError(SendError):
    """X refused, or cannot be reached."""


class XClient(Protocol):
    """One account on X."""

    async def create_post(self, text: str) -> str:
        """Post a text and return X's id of it.

        Raises:
            XError: it was not posted, or nobody knows; `retry` says which.
        """

    async def close(self) -> None:
        """Give up what is open; a request on its way is not waited for."""
