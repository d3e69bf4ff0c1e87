"""What a voice is shown as: the name that moderators gave it in the server where something is said, else its own."""

from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING

import discord

from data import called as stored
from data.handles import voice_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bot.app import Mynah

_names: ContextVar["Mapping[str, str]"] = ContextVar("names", default=MappingProxyType({}))


def call_them(names: dict[str, str]) -> None:
    """Show voices by these names in what follows in this task; `names`: by voice."""
    _names.set(MappingProxyType(names))


def called(voice: str) -> str:
    """Return what a voice is shown as."""
    return _names.get().get(voice, voice)


def both(voice: str) -> str:
    """Return what a voice is shown as and, if that is another, the name that it is asked for by: for lists to choose from."""
    shown = called(voice)
    return voice if shown == voice else f"{shown} ({voice})"


def voices_called(typed: str) -> list[str]:
    """Return the voices whose name in this server holds a text."""
    return [voice for voice, name in _names.get().items() if typed.casefold() in name.casefold()]


async def default_prompt(app: "Mynah", guild: discord.Guild | None, voice: str) -> str:
    """Return what a voice's lines begin with in a server where no prompt was given; empty: with nothing.

    Raises:
        BadHandleError: no voice can have that name.
    """
    return (await app.store.read(stored.get, guild.id if guild else None, voice_name(voice.split("-")))).prompt
