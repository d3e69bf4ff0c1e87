"""Posts for channels of Discord: sent as lines of their voice are, once, and looked for where nobody knows whether they are there."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
import discord
from discord.ext import commands

from bot.errors import MynahError
from bot.faces.discord import render
from bot.faces.discord.admitting import arrive, knows
from bot.faces.discord.text import safe
from bot.faces.discord.webhooks import OVER, Webhooks
from bot.services.sending import Retry, SendError
from data import talk
from data.outbox import Post
from data.talk import Binding

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

LOOKS_AFTER = timedelta(seconds=10)
SKEW = timedelta(minutes=2)  # by which this machine's clock may be ahead of Discord's
LOOKED_AT = 500  # messages
AWAY = "Discord is not there at the moment."
ASKED = "Discord could not be asked for the channel's messages."
OUTAGE = "Discord did not answer clearly, so the line may be in the channel or not."


class Delivering(commands.Cog):
    """Sends them, for as long as this connection to Discord lasts (it is a `bot.services.sending.Sender`)."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot
        self.app = bot.app

    async def cog_load(self) -> None:
        """Take posts from now on."""
        self.app.posting.channels = self

    async def cog_unload(self) -> None:
        """Take none any more: they wait in the outbox for the next connection."""
        if self.app.posting.channels is self:
            self.app.posting.channels = None

    @property
    def looks_after(self) -> timedelta | None:
        """How long after a try a look that finds nothing can be trusted."""
        return LOOKS_AFTER

    async def send(self, post: Post) -> str:
        """Put a post up in its channel, through the webhook of its voice if it is bound so, and return the message's id.

        Raises:
            SendError: it was not sent, or nobody knows.
        """
        channel = await self._channel(post)
        try:
            return str((await self._say(channel, post)).id)
        except discord.DiscordServerError as error:
            raise SendError(OUTAGE, Retry.UNSURE) from error
        except discord.HTTPException as error:
            raise SendError(f"Discord refused the line for the channel ({error.text or error.status}).", _retry(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise SendError(OUTAGE, Retry.UNSURE) from error

    async def find(self, post: Post) -> str | None:
        """Look whether a post is in its channel, and return the message's id; None: it is not.

        Raises:
            SendError: it could not be looked for.
        """
        channel = await self._channel(post)
        binding = await self._binding(channel, post)
        begun = datetime.fromisoformat(post.unsure_since or post.created_at) - SKEW
        seen = 0
        try:
            async for message in channel.history(limit=LOOKED_AT, after=begun):
                seen += 1
                if await self._shows(channel, binding, message, post):
                    return str(message.id)
        except discord.HTTPException as error:
            if _retry(error) is Retry.LATER:
                raise SendError(ASKED, Retry.LATER) from error
            raise SendError("I may not read the messages of the channel.", Retry.NEVER) from error
        except (aiohttp.ClientError, OSError, MynahError) as error:
            raise SendError(ASKED, Retry.LATER) from error
        if seen == LOOKED_AT:
            raise SendError("The channel has too many messages since to look through.", Retry.NEVER)
        return None

    async def close(self) -> None:
        """Give up what is open, which is nothing."""

    async def _channel(self, post: Post) -> Any:
        """Return the channel of a post, and speak in this task as in its server."""
        number = post.channel or 0
        if not knows(self.bot, number):
            raise SendError(AWAY, Retry.LATER)
        channel: Any = self.bot.get_channel(number) or await self._fetched(number)
        if not isinstance(channel, discord.abc.Messageable):
            raise SendError("The channel is gone, or I cannot see it any more.", Retry.NEVER)
        await arrive(self.bot, getattr(channel, "guild", None))
        return channel

    async def _fetched(self, number: int) -> Any:
        """Return a channel that the library does not hold, as none of the threads that nobody wrote in for long; None: it is gone."""
        try:
            return await self.bot.fetch_channel(number)
        except discord.HTTPException as error:
            if _retry(error) is Retry.LATER:
                raise SendError(AWAY, Retry.LATER) from error
            return None
        except discord.InvalidData:
            return None
        except (aiohttp.ClientError, OSError) as error:
            raise SendError(AWAY, Retry.LATER) from error

    async def _say(self, channel: Any, post: Post) -> discord.Message:
        binding = await self._binding(channel, post)
        if binding is not None:
            try:
                # The library asks a webhook up to five times where Discord fails, and each time may make a message.
                async with aiohttp.ClientSession(raise_for_status=_no_second_time) as session:
                    return await self._webhooks.send_once(channel, binding, safe(post.text), session)
            except discord.DiscordServerError:
                raise
            except (discord.HTTPException, MynahError):  # the webhook cannot be used, and nothing was sent: the bot itself speaks
                pass
        # Discord answers a second sending within minutes with the first.
        message: discord.Message = await channel.send(render.lines(post.voice, [post.text]), nonce=f"post-{post.id}")
        return message

    async def _binding(self, channel: Any, post: Post) -> Binding | None:
        """Return the binding of a channel by whose webhook the voice of a post speaks there; None: the bot itself speaks."""
        binding = await self.app.store.read(talk.bound, channel.id)
        return binding if binding and binding.webhook and binding.voice == post.voice else None

    async def _shows(self, channel: Any, binding: Binding | None, message: discord.Message, post: Post) -> bool:
        if self.bot.user is not None and message.author.id == self.bot.user.id:
            return OVER.sub("", message.content) == safe(post.text)  # the voice may be called otherwise by now
        if binding is None or message.webhook_id != binding.webhook:
            return False
        return (message.content or await self._webhooks.read(channel, binding, message.id)) == safe(post.text)

    @property
    def _webhooks(self) -> Webhooks:
        conversing: Any = self.bot.get_cog("Conversing")
        webhooks: Webhooks = conversing.webhooks
        return webhooks


def _retry(error: discord.HTTPException) -> Retry:
    """Return what may be done after Discord refused something of which it did nothing: a limit and an outage pass."""
    return Retry.LATER if error.status == HTTPStatus.TOO_MANY_REQUESTS or error.status >= 500 else Retry.NEVER


async def _no_second_time(response: aiohttp.ClientResponse) -> None:
    if response.status >= 500:
        raise aiohttp.ClientResponseError(response.request_info, response.history, status=response.status)
