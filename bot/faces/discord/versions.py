"""The menu under a voice's card by which moderators choose the version that it speaks with."""

import re
from typing import TYPE_CHECKING, Any, Self

import discord
from sqlite_utils import Database

from bot.app import Mynah
from bot.errors import BadRequestError, NotStoredError
from bot.faces.discord.buttons import Pressed
from bot.faces.discord.text import CHOICES, safe
from data import models
from data.models import Model

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

NEWEST = "newest"


async def versions_menu(app: Mynah, voice: str) -> discord.ui.View | None:
    """Return the menu of a voice's newest versions; None where there is nothing to choose, because it has one.

    Raises:
        NotStoredError: it has none.
    """
    versions = await app.store.read(models.versions, voice)
    if len(versions) < 2:
        return None
    view = discord.ui.View(timeout=None)
    view.add_item(VersionMenu(versions[0].id, versions))
    return view


class VersionMenu(Pressed, discord.ui.DynamicItem[discord.ui.Select[Any]], template=r"mynah:version:(?P<model>\d{1,18})"):
    """The choice of a version; its id holds a model of the voice, whose name may be too long for it."""

    def __init__(self, model: int, versions: list[Model] | None = None) -> None:
        options = [discord.SelectOption(label="Always the newest version", value=NEWEST)]
        for version in (versions or [])[: CHOICES - 1]:
            about = f"{version.created_at[:16]} UTC, loss {version.result['loss_after']:.3f}"
            label = f"Version {version.version}"
            options.append(discord.SelectOption(label=label, value=str(version.version), description=about, default=version.pinned))
        options[0].default = not any(option.default for option in options)
        super().__init__(discord.ui.Select(options=options, custom_id=f"mynah:version:{model}"))
        self.model = model

    @classmethod
    async def from_custom_id(cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /) -> Self:
        """Make it anew from the id of a choice that was made."""
        del interaction, item
        return cls(int(match["model"]))

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Pin the version, or none, and say so over the card."""
        if interaction.guild is None or not interaction.permissions.manage_guild:
            raise BadRequestError("Choosing a voice's version is for members with the permission Manage Server.")
        (chosen,) = self.item.values
        model = await bot.app.store.write(_choose, self.model, chosen)
        what = "its newest version" if chosen == NEWEST else f"version {chosen}"
        words = f"**{safe(model.voice)}** speaks with {what} from now on, as {safe(interaction.user.display_name, 60)} chose."
        await interaction.response.edit_message(content=words, view=await versions_menu(bot.app, model.voice))


def _choose(db: Database, model_id: int, chosen: str) -> Model:
    """Pin a version of the voice that a model is of, or unpin it; return the version that speaks then.

    Raises:
        NotStoredError: the voice, or the version, was forgotten meanwhile.
    """
    if not models.exists(db, model_id):
        raise NotStoredError("That voice was forgotten.")
    voice = models.get(db, model_id).voice
    return models.unpin(db, voice) if chosen == NEWEST else models.pin(db, voice, int(chosen))
