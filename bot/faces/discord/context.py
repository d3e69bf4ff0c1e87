"""One conversation with one command, slash or prefix: acknowledged at once, answered once, refused in one sentence."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, cast

import discord
import structlog
from discord.ext import commands

from bot.errors import BadRequestError
from data.jobs import Job

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot  # noqa: F401 - the base class names it in a string

log = structlog.get_logger()

_Callback = Callable[..., Coroutine[Any, Any, None]]


def hybrid(**attributes: Any) -> Callable[[_Callback], commands.HybridCommand[Any, ..., None]]:
    """Like the library's `hybrid_command`, whose types mypy cannot solve."""
    return cast("Callable[[_Callback], commands.HybridCommand[Any, ..., None]]", commands.hybrid_command(**attributes))


class Context(commands.Context["MynahBot"]):
    """What a command gets. `begin` comes before anything that may take time; then `answer`, or an error that is told by `refuse`."""

    _placeholder: discord.Message | None = None  # of a prefix command: what the answer replaces
    _private = False
    _answered = False

    async def begin(self, waiting: str, *, private: bool = False) -> None:
        """Acknowledge: a slash command is deferred, a prefix command gets a message that says what it waits for."""
        self._private = private
        if self.interaction is not None:
            await self.defer(ephemeral=private)
        else:
            self._placeholder = await self.reply(waiting, mention_author=False)

    async def answer(self, content: str, *, embed: discord.Embed | None = None, files: list[discord.File] | None = None) -> discord.Message:
        """Answer where `begin` acknowledged."""
        self._answered = True
        extra: dict[str, Any] = {"embed": embed} if embed else {}
        if self._placeholder is not None:
            return await self._placeholder.edit(content=content, attachments=files or [], **extra)
        if files:
            extra["files"] = files
        return await self.send(content, **extra)

    async def publish(self, content: str) -> discord.Message:
        """Put up a message of the bot's own, which can be edited for good: an answer to an interaction is out of reach after 15 minutes."""
        return self._placeholder or await self.channel.send(content)

    async def ask(self, content: str, view: discord.ui.View) -> None:
        """Ask something that buttons answer, in private where Discord can."""
        self._answered = True
        if self._placeholder is not None:
            await self._placeholder.edit(content=content, view=view)
        else:
            await self.send(content, view=view, ephemeral=True)

    async def refuse(self, words: str) -> None:
        """Say in one sentence why not: in private to a slash command, as a reply to a prefix command."""
        try:
            if self.interaction is None:
                if self._placeholder is not None and not self._answered:
                    await self._placeholder.edit(content=words)
                else:
                    await self.reply(words, mention_author=False)
                return
            thinking = self.interaction.response.type is discord.InteractionResponseType.deferred_channel_message
            if thinking and not self._private and not self._answered:
                # The first message after a public "is thinking…" is public whatever it asks for: that one goes, the second stays.
                await self.interaction.edit_original_response(content="…")
                await self.interaction.followup.send(words, ephemeral=True)
                await self.interaction.delete_original_response()
            else:
                await self.send(words, ephemeral=True)
        except discord.HTTPException as error:
            log.warning("a refusal could not be told", error=str(error))

    def need_to_speak(self) -> None:
        """Make sure that a message of the bot's own can be put up here.

        Raises:
            BadRequestError: a permission lacks; the text names it.
        """
        # Not `bot_permissions`: those of an interaction hold for answers to it alone.
        if self.guild is None or self.guild.me is None or isinstance(self.channel, discord.DMChannel | discord.PartialMessageable):
            return
        may = self.channel.permissions_for(self.guild.me)
        thread = isinstance(self.channel, discord.Thread)
        wanted = {"View Channel": may.view_channel, "Send Messages": may.send_messages_in_threads if thread else may.send_messages}
        for name, granted in wanted.items():
            if not granted:
                within = f"{name} in Threads" if thread and name == "Send Messages" else name
                raise BadRequestError(f"I may not write in this channel: ask a moderator to give me the permission {within}.")

    @property
    def moderates(self) -> bool:
        """Whether whoever asks may act on what others asked for; outside servers nobody may."""
        return self.guild is not None and self.permissions.manage_guild


def signature(user: discord.abc.User) -> str:
    """Return how a member is written down as who asked for something: readable, and unmistakable by its end."""
    return f"{user.name} (Discord {user.id})"


def asked_by(job: Job, user: discord.abc.User) -> bool:
    """Say whether this member asked for a job."""
    return job.requested_by.endswith(f"(Discord {user.id})")
