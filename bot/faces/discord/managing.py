"""What stands under a voice's card for moderators: menus of its versions and of who may use it, and the form's button."""

from typing import TYPE_CHECKING, Any

import discord
from sqlite_utils import Database

from bot.app import Mynah
from bot.faces.discord.buttons import Pressed
from bot.faces.discord.context import moderated, signature
from bot.faces.discord.editing import EditButton
from bot.faces.discord.language import aloud, tr
from bot.faces.discord.naming import called
from bot.faces.discord.text import CHOICES, moment, safe
from data import models, servers
from data.models import Model

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

REFUSAL = "Choosing who speaks, and for whom, is for members with the permission Manage Server."
NEWEST = "newest"
ROLES = 25  # as many as a menu takes


async def card_menus(app: Mynah, voice: str, guild: discord.Guild) -> discord.ui.View:
    """Return the menus for a voice's card in a server; that of versions is left out where there is but one.

    Raises:
        NotStoredError: there is no such voice.
    """
    versions = await app.store.read(models.versions, voice)
    roles = await app.store.read(servers.voice_roles, guild.id, voice)
    view = discord.ui.View(timeout=None)
    if len(versions) > 1:
        view.add_item(VersionMenu(versions[0].id, versions))
    # Discord refuses a menu in which a role is chosen that is gone.
    view.add_item(VoiceRolesMenu(versions[0].id, [role for number in roles if (role := guild.get_role(number))]))
    view.add_item(EditButton(versions[0].id))
    return view


class VersionMenu(Pressed, discord.ui.DynamicItem[discord.ui.Select[Any]], template=r"mynah:version:(?P<model>\d{1,18})"):
    """The choice of a version; its id holds a model of the voice, whose name may be too long for it."""

    def __init__(self, model: int, versions: list[Model] | None = None) -> None:
        options = [discord.SelectOption(label=tr("Always the newest version"), value=NEWEST)]
        for version in (versions or [])[: CHOICES - 1]:
            loss, made = version.result["loss_after"], moment(version.created_at)
            about = tr(f"{made} UTC, imported" if loss is None else f"{made} UTC, loss {loss:.3f}")
            label = tr(f"Version {version.version}")
            options.append(discord.SelectOption(label=label, value=str(version.version), description=about, default=version.pinned))
        options[0].default = not any(option.default for option in options)
        super().__init__(discord.ui.Select(options=options, custom_id=f"mynah:version:{model}"))
        self.model = model

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Pin the version, or none, and say so over the card."""
        guild = moderated(interaction, REFUSAL)
        (chosen,) = self.item.values
        voice = await bot.app.store.write(_pin, self.model, chosen)
        aloud()
        what = "its newest version" if chosen == NEWEST else f"version {chosen}"
        words = tr(f"**{safe(called(voice))}** speaks with {what} from now on, as {safe(interaction.user.display_name, 60)} chose.")
        await interaction.response.edit_message(content=words, view=await card_menus(bot.app, voice, guild))


class VoiceRolesMenu(Pressed, discord.ui.DynamicItem[discord.ui.RoleSelect[Any]], template=r"mynah:users:(?P<model>\d{1,18})"):
    """The choice of the roles whose members alone may use a voice in a server; its id is as that of the versions."""

    def __init__(self, model: int, roles: list[discord.Role] | None = None) -> None:
        chosen = [discord.SelectDefaultValue.from_role(role) for role in roles or []]
        super().__init__(
            discord.ui.RoleSelect(
                placeholder=tr("Who may use it here: everybody"),
                min_values=0,
                max_values=ROLES,
                default_values=chosen,
                custom_id=f"mynah:users:{model}",
            )
        )
        self.model = model

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Set the roles, and say so over the card."""
        guild = moderated(interaction, REFUSAL)
        roles = sorted(role.id for role in self.item.values)
        voice = await bot.app.store.write(_set_roles, self.model, guild.id, roles, signature(interaction.user))
        aloud()
        who = f"members with {' or '.join(f'<@&{number}>' for number in roles)}" if roles else "everybody"
        words = tr(
            f"**{safe(called(voice))}** is for {who} in this server from now on, as {safe(interaction.user.display_name, 60)} chose."
        )
        await interaction.response.edit_message(content=words, view=await card_menus(bot.app, voice, guild))


def _pin(db: Database, model_id: int, chosen: str) -> str:
    """Pin a version of the voice that a model is of, or unpin it; return the voice's name.

    Raises:
        NotStoredError: the voice, or the version, was forgotten meanwhile.
    """
    voice = models.get(db, model_id).voice
    if chosen == NEWEST:
        models.unpin(db, voice)
    else:
        models.pin(db, voice, int(chosen))
    return voice


def _set_roles(db: Database, model_id: int, server: int, roles: list[int], by: str) -> str:
    """Set who may use the voice that a model is of in a server; return the voice's name.

    Raises:
        NotStoredError: the voice was forgotten meanwhile.
    """
    voice = models.get(db, model_id).voice
    servers.set_voice_roles(db, server, voice, roles, by)
    return voice
