"""Voices under their own name and picture: through a webhook of the bot's own in a channel, each message marked as a bot's."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import discord
import structlog

from bot.errors import BadRequestError, MynahError
from bot.faces.discord.naming import called
from bot.faces.discord.saying import Send
from bot.faces.discord.text import units
from bot.services.portraits import portrait
from bot.threads import drawn
from data import talk
from data.talk import Binding

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

T = TypeVar("T")
NAME = 80  # characters of a webhook's name, as Discord counts them
MARK = " · AI BOT"
OVER = re.compile(r"\A\*\*.*?\*\*(?:: |\n)")  # a voice's name over its lines
FORBIDDEN = re.compile(r"(?<=dis)(?=cord)|(?<=cly)(?=de)", re.IGNORECASE)  # within words that Discord takes in no webhook's name
TOO_MANY = 30007
MISSING = "To have a voice speak under its own name I need the permission Manage Webhooks in this channel."
FULL = "This channel has as many webhooks as Discord allows: delete one, or bind the voice without."
NO_HOME = "There can be no webhook here: bind the voice without, or in a channel of a server."
log = structlog.get_logger()


class _BoundAnewError(MynahError):
    """A channel was given another voice, another webhook or none, while an answer was under way."""


class Webhooks:
    """The webhooks of channels. A row holds a webhook's id; its token is fetched once by each process, and is in memory alone."""

    def __init__(self, bot: "MynahBot") -> None:
        self._bot = bot
        self._known: dict[int, discord.Webhook] = {}
        self._making = asyncio.Lock()

    async def make(self, channel: Any, voice: str) -> discord.Webhook:
        """Make a channel's webhook, with a voice's picture; one that is left over from a killed process goes.

        Raises:
            BadRequestError: it cannot be made; the text says why.
        """
        async with self._making:
            return await self._make(channel, voice)

    async def _make(self, channel: Any, voice: str) -> discord.Webhook:
        home: Any = channel.parent if isinstance(channel, discord.Thread) else channel
        if not hasattr(home, "create_webhook"):
            raise BadRequestError(NO_HOME)
        name = f"Mynah {channel.id}"  # threads of one channel have their webhooks in the same place
        try:
            for left in await home.webhooks():
                if left.name == name and left.user == self._bot.user:
                    await left.delete()
            made: discord.Webhook = await home.create_webhook(name=name, avatar=await drawn(portrait, voice))
        except discord.Forbidden as error:
            raise BadRequestError(MISSING) from error
        except discord.HTTPException as error:
            if error.code == TOO_MANY:
                raise BadRequestError(FULL) from error
            raise
        self._known[channel.id] = made
        return made

    async def remove(self, binding: Binding | None) -> None:
        """Delete the webhook of a binding that is no more, if it had one and it is there."""
        if binding is None or binding.webhook is None:
            return
        self._known.pop(binding.channel, None)
        try:
            await (await self._bot.fetch_webhook(binding.webhook)).delete()
        except discord.NotFound:
            pass
        except discord.HTTPException as error:
            log.warning("a webhook could not be deleted", channel=binding.channel, status=error.status)

    def sender(self, channel: Any, binding: Binding, otherwise: Send) -> Send:
        """Return what sends lines through a channel's webhook; and as the bot, with `otherwise`, where that cannot be."""

        async def send(content: str, *, files: list[discord.File], view: discord.ui.View) -> discord.Message:
            try:
                return await self._send(channel, binding, OVER.sub("", content), view)
            except (discord.HTTPException, MynahError, aiohttp.ClientError, OSError) as error:
                # The error's words could hold the address, whose end is the token.
                log.warning("a voice speaks as the bot: its webhook cannot be used", channel=channel.id, why=type(error).__name__)
                return await otherwise(content, files=files, view=view)

        return send

    async def send_once(self, channel: Any, binding: Binding, content: str, session: aiohttp.ClientSession) -> discord.WebhookMessage:
        """Send a line through a channel's webhook by a session that repeats nothing, since Discord tells no repetition of it.

        Raises:
            MynahError, discord.HTTPException: it was not sent.
            aiohttp.ClientError, OSError: nobody knows.
        """

        async def say(webhook: discord.Webhook) -> discord.WebhookMessage:
            once = discord.Webhook.partial(webhook.id, webhook.token or "", session=session)
            said: discord.WebhookMessage = await once.send(content, **_manner(channel, binding))
            return said

        return await self._through(channel, binding, say)

    async def read(self, channel: Any, binding: Binding, message: int) -> str:
        """Return what a message of a channel's webhook says, which Discord does not tell those who read the channel without the intent."""

        async def fetch(webhook: discord.Webhook) -> str:
            thread = channel if isinstance(channel, discord.Thread) else discord.utils.MISSING
            return (await webhook.fetch_message(message, thread=thread)).content

        return await self._through(channel, binding, fetch)

    async def _send(self, channel: Any, binding: Binding, content: str, view: discord.ui.View) -> discord.Message:
        async def say(webhook: discord.Webhook) -> discord.Message:
            said: discord.Message = await webhook.send(content, view=view, **_manner(channel, binding))
            return said

        return await self._through(channel, binding, say)

    async def _through(self, channel: Any, binding: Binding, say: Callable[[discord.Webhook], Awaitable[T]]) -> T:
        """Do something through a channel's webhook, which is made anew where somebody deleted it."""
        webhook = self._known.get(channel.id) or await self._fetch(binding) or await self._renew(channel, binding)
        try:
            return await say(webhook)
        except discord.NotFound:  # somebody deleted it
            if self._known.get(channel.id) is webhook:
                del self._known[channel.id]
            return await say(await self._renew(channel, binding))

    async def _fetch(self, binding: Binding) -> discord.Webhook | None:
        try:
            found = await self._bot.fetch_webhook(binding.webhook or 0)
        except discord.NotFound:
            return None
        if found.token is None:  # another application's, from before the token was changed
            return None
        return self._known.setdefault(binding.channel, found)

    async def _renew(self, channel: Any, binding: Binding) -> discord.Webhook:
        async with self._making:
            if made := self._known.get(channel.id):  # for another answer, meanwhile
                return made
            made = await self._make(channel, binding.voice)
            if await self._bot.app.store.write(talk.speak_through, binding, made.id):
                return made
            self._known.pop(channel.id, None)
            await made.delete()
            raise _BoundAnewError


def _manner(channel: Any, binding: Binding) -> dict[str, Any]:
    """Return how a voice speaks through a webhook: under its name, in its thread, to nobody in particular."""
    return {
        "username": shown_name(called(binding.voice)),
        "allowed_mentions": discord.AllowedMentions.none(),
        "thread": channel if isinstance(channel, discord.Thread) else discord.utils.MISSING,
        "wait": True,
    }


def shown_name(voice: str) -> str:
    """Return the name under which a voice speaks: within Discord's limits, and with a mark."""
    name = FORBIDDEN.sub("·", voice)
    while units(name) > NAME - units(MARK):
        name = name[:-1]
    return name + MARK
