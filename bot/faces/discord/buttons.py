"""Buttons that outlive the process: all that one needs is in its id, and what goes wrong is told to whoever pressed it."""

import inspect
import re
from typing import TYPE_CHECKING, Any, Self

import discord

from bot.faces.discord.admitting import admit
from bot.faces.discord.context import refuse
from bot.faces.discord.failures import explain
from bot.faces.discord.language import aloud, aside

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot


def as_seen(interaction: discord.Interaction[Any]) -> None:
    """Say what follows in this task to whoever sees the message whose button was pressed: to all, unless it is for one member alone."""
    if interaction.message is not None and not interaction.message.flags.ephemeral:
        aloud()


class Admitted:
    """Stands before discord.ui.DynamicItem among the bases of whatever can be pressed or chosen from: who may not use Mynah may not."""

    anywhere = False
    """Whether it works in channels that the server's settings close."""

    @classmethod
    async def from_custom_id(cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /) -> Self:
        """Make it anew from its id: each group of the template is the argument of that name, a word or a number as that one is."""
        del interaction, item
        make: Any = cls
        kinds = inspect.get_annotations(cls.__init__)
        made: Self = make(**{name: kinds[name](value) for name, value in match.groupdict().items()})
        return made

    async def interaction_check(self, interaction: discord.Interaction[Any], /) -> bool:
        """Let through who may use Mynah here, and tell the others; the library asks this first."""
        return await admit(interaction, anywhere=self.anywhere)


class Pressed(Admitted):
    """Stands before discord.ui.DynamicItem among a button's bases; its `pressed` does the work, and may raise as a command may."""

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Do what the button says."""
        raise NotImplementedError

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Do it, have the end of the process wait for it, and tell what went wrong."""
        bot: MynahBot = interaction.client
        bot.hold_end()
        try:
            await self.pressed(bot, interaction)
        except Exception as error:
            aside()
            words = explain(error, button=type(self).__name__, user=interaction.user.id)
            await refuse(interaction, words, begun_in_public=not interaction.extras.get("answered"))


class Anywhere(Pressed):
    """Works in every channel."""

    anywhere = True
