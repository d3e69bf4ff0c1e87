"""Forms that outlive the process: all that one needs is in its id, since the library forgets each when the process ends.

It also forgets the first of two that were opened at once; so none is left to it.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import discord

from bot.faces.discord.admitting import admit
from bot.faces.discord.context import refuse
from bot.faces.discord.failures import explain
from bot.faces.discord.language import aside

Take = Callable[[discord.Interaction[Any], re.Match[str], dict[str, str]], Awaitable[None]]
"""Takes the interaction, the form's id as it was matched, and what was typed by the fields' ids; may raise as a command may."""


async def take_in(interaction: discord.Interaction[Any], form: re.Pattern[str], take: Take, *, anywhere: bool = False) -> None:
    """Take a form in if the interaction sends one with such an id, and tell what went wrong; `anywhere`: in closed channels, too."""
    data: Any = interaction.data
    if interaction.type is not discord.InteractionType.modal_submit or not (found := form.fullmatch(data["custom_id"])):
        return
    if not await admit(interaction, anywhere=anywhere):
        return
    fields = [row.get("component") or row["components"][0] for row in data["components"]]
    try:
        await take(interaction, found, {field["custom_id"]: field["value"] for field in fields})
    except Exception as error:
        aside()
        await refuse(interaction, explain(error, form=found[0], user=interaction.user.id), begun_in_public=False)
