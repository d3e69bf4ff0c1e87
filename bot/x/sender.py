"""Sends posts of the outbox to one account on X."""

from datetime import timedelta

from bot.x.port import XClient
from data.outbox import Post


class XSender:
    """One account on X, as the outbox sees it."""

    def __init__(self, client: XClient) -> None:
        self._client = client

    @property
    def looks_after(self) -> timedelta | None:
        """How long after a try a look that finds nothing can be trusted; None: nobody may look, so a person must."""
        return None

    async def send(self, post: Post) -> str:
        """Send a post and return its id there.

        Raises:
            XError: it was not sent, or nobody knows; `retry` says which.
        """
        return await self._client.create_post(post.text)

    async def find(self, post: Post) -> str | None:
        """Look whether a post is there."""
        raise NotImplementedError(post.id)

    async def close(self) -> None:
        """Give up what is open; a request on its way is not waited for."""
        await self._client.close()
