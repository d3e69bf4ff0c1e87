"""Where commands are offered: in servers alone, there to moderators alone, or wherever a member is who installed Mynah for himself."""

from typing import TypeVar

import discord
from discord import app_commands
from discord.ext import commands

Callback = TypeVar("Callback")


def portable(callback: Callback) -> Callback:
    """Offer a command wherever a member is who installed Mynah for himself.

    It may answer its interaction and do nothing else: where Mynah is no member, it can neither read nor write a channel.
    """
    everywhere = app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    return app_commands.allowed_installs(guilds=True, users=True)(everywhere(callback))


def in_servers(callback: Callback) -> Callback:
    """Offer a command in servers alone."""
    contexts = app_commands.allowed_contexts(guilds=True, dms=False, private_channels=False)
    return commands.guild_only()(contexts(callback))


def for_moderators(callback: Callback) -> Callback:
    """Offer a command to moderators of servers alone: Discord's menus go by that; a server can override it, so code asks again."""
    return app_commands.default_permissions(manage_guild=True)(in_servers(callback))


def is_member(bot: discord.Client, guild: discord.Guild | None) -> bool:
    """Whether Mynah is in a server; where it is not, a server's moderators, who may be anybody, moderate nothing of it."""
    return guild is not None and bot.get_guild(guild.id) is not None  # the library adds a `me` to servers that it only heard of
