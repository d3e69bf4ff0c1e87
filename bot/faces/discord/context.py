"""One conversation with one command, slash or prefix: acknowledged at once, answered once, refused in one sentence."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import discord
import structlog
from discord.ext import commands

from bot.errors import BadRequestError
from bot.faces.discord.installs import is_member
from bot.faces.discord.language import aloud, aside, tr
from data.jobs import Job
from data.origin import Origin

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot  # noqa: F401 - the base class names it in a string

log = structlog.get_logger()

_Callback = Callable[..., Coroutine[Any, Any, None]]


def hybrid(**attributes: Any) -> Callable[[_Callback], commands.HybridCommand[Any, ..., None]]:
    """Like the library's `hybrid_command`, whose types mypy cannot solve."""
    return cast("Callable[[_Callback], commands.HybridCommand[Any, ..., None]]", commands.hybrid_command(**attributes))


def hybrid_group(**attributes: Any) -> Callable[[_Callback], commands.HybridGroup[Any, ..., None]]:
    """Like the library's decorator of that name."""
    return cast("Callable[[_Callback], commands.HybridGroup[Any, ..., None]]", commands.hybrid_group(**attributes))


def within(group: commands.HybridGroup[Any, ..., None], **attributes: Any) -> Callable[[_Callback], commands.HybridCommand[Any, ..., None]]:
    """Like the group's own decorator `command`."""
    return cast("Callable[[_Callback], commands.HybridCommand[Any, ..., None]]", group.command(**attributes))


class Context(commands.Context["MynahBot"]):
    """What a command gets. `begin` comes before anything that may take time; then `answer`, or an error that is told by `refuse`."""

    _placeholder: discord.Message | None = None  # of a prefix command: what the answer replaces
    _private = False
    _answered = False

    async def begin(self, waiting: str, *, private: bool = False) -> None:
        """Acknowledge: a slash command is deferred, a prefix command gets a message that says what it waits for."""
        self._private = private
        if not private:
            aloud()
        if self.interaction is not None:
            await self.defer(ephemeral=private)
        else:
            self._placeholder = await self.reply(tr(waiting), mention_author=False)

    async def answer(
        self,
        content: str,
        *,
        embed: discord.Embed | None = None,
        files: list[discord.File] | None = None,
        view: discord.ui.View | None = None,
    ) -> discord.Message:
        """Answer where `begin` acknowledged."""
        self._answered = True
        extra: dict[str, Any] = {name: value for name, value in (("embed", embed), ("view", view)) if value}
        if self._placeholder is not None:
            return await self._placeholder.edit(content=content, attachments=files or [], **extra)
        if files:
            extra["files"] = files
        return await self.send(content, **extra)

    async def publish(self, content: str) -> discord.Message:
        """Put up a message of the bot's own, which can be edited for good: an answer to an interaction is out of reach after 15 minutes."""
        aloud()
        message = self._placeholder or await self.channel.send(tr(content))
        aside()
        return message

    async def ask(self, content: str, view: discord.ui.View) -> None:
        """Ask something that buttons answer, in private where Discord can."""
        self._answered = True
        if self._placeholder is not None:
            await self._placeholder.edit(content=content, view=view)
        else:
            await self.send(content, view=view, ephemeral=True)

    async def refuse(self, words: str) -> None:
        """Say in one sentence why not: in private to a slash command, as a reply to a prefix command."""
        if self.interaction is not None:
            await refuse(self.interaction, words, begun_in_public=not self._private and not self._answered)
            return
        with _told():
            if self._placeholder is not None and not self._answered:
                await self._placeholder.edit(content=words)
            else:
                await self.reply(words, mention_author=False)

    def need_to_speak(self) -> None:
        """Make sure that a message of the bot's own can be put up here.

        Raises:
            BadRequestError: a permission lacks; the text names it.
        """
        # Not `bot_permissions`: those of an interaction hold for answers to it alone.
        if self.guild is None or self.guild.me is None or isinstance(self.channel, discord.DMChannel | discord.PartialMessageable):
            return
        if lacks := lacking(self.channel):
            raise BadRequestError(f"I may not write in this channel: ask a moderator to give me the permission {lacks}.")

    @property
    def moderates(self) -> bool:
        """Whether whoever asks may act on what others asked for; outside servers nobody may."""
        return moderates(self)


def lacking(channel: Any, member: discord.Member | None = None) -> str:
    """Return the permission without which a member (None: the bot) cannot write in a channel of a server; empty: he can."""
    may = channel.permissions_for(member or channel.guild.me)
    if not may.view_channel:
        return "View Channel"
    if isinstance(channel, discord.Thread):
        return "" if may.send_messages_in_threads else "Send Messages in Threads"
    return "" if may.send_messages else "Send Messages"


def moderates(asked: commands.Context[Any] | discord.Interaction[Any]) -> bool:
    """Whether who used a command, a button or a menu moderates the server where he did; outside those that Mynah is in nobody does."""
    client = asked.client if isinstance(asked, discord.Interaction) else asked.bot
    return is_member(client, asked.guild) and asked.permissions.manage_guild


def moderated(asked: commands.Context[Any] | discord.Interaction[Any], refusal: str) -> discord.Guild:
    """Return the server where a moderator used a command, a button or a menu.

    Raises:
        BadRequestError: whoever did is none; `refusal` is its text.
    """
    if asked.guild is None or not moderates(asked):
        raise BadRequestError(refusal)
    return asked.guild


async def refuse(interaction: discord.Interaction[Any], words: str, *, begun_in_public: bool) -> None:
    """Say in one sentence why not, to whoever used a command or a button and to nobody else.

    `begun_in_public`: if it was deferred, "is thinking…" still stands there for all to see.
    """
    response = interaction.response
    with _told():
        if not response.is_done():
            await response.send_message(words, ephemeral=True)
        elif begun_in_public and response.type is discord.InteractionResponseType.deferred_channel_message:
            # The first message after a public "is thinking…" is public whatever it asks for: that one goes, the second stays.
            await interaction.edit_original_response(content="…")
            await interaction.followup.send(words, ephemeral=True)
            await interaction.delete_original_response()
        else:
            await interaction.followup.send(words, ephemeral=True)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except discord.HTTPException as error:
        log.warning("a refusal could not be told", error=str(error))


def origin(user: discord.abc.User, guild: discord.Guild | None) -> Origin:
    """Return what quotas count a member's wish by."""
    return Origin(user.id, guild.id if guild else None)


def signature(user: discord.abc.User) -> str:
    """Return how a member is written down as who asked for something: readable, and unmistakable by its end (text.py: who)."""
    return f"{user.name} (Discord {user.id})"


def asked_by(job: Job, user: discord.abc.User) -> bool:
    """Say whether this member asked for a job."""
    return job.requested_by.endswith(f"(Discord {user.id})")
