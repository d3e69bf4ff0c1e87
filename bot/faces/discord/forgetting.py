"""Forgetting an account: asked for by a moderator, confirmed by a button that survives a restart, then done for good."""

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.ext import commands

from bot.app import Mynah
from bot.errors import BadRequestError
from bot.faces.discord.buttons import Admitted, as_seen
from bot.faces.discord.context import Context, hybrid, moderates, signature
from bot.faces.discord.failures import explain
from bot.faces.discord.installs import for_moderators
from bot.faces.discord.language import tr
from bot.faces.discord.text import plural, safe
from bot.faces.words import counted
from bot.services.forgetting import forget
from data import accounts
from data.errors import NotStoredError
from data.handles import normalise_handle

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

REFUSAL = "Forgetting is for members with the permission Manage Server."


class Forgetting(commands.Cog):
    """Deleting what is stored."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot
        self.app = bot.app

    @hybrid(usage="handle")
    @for_moderators
    @app_commands.describe(handle="Whose posts, voices and lines are to go")
    async def forget(self, ctx: Context, handle: str) -> None:
        """Delete everything of an account: its posts, and all voices and lines made of them."""
        await ctx.begin("Looking at what is stored …", private=True)
        await ctx.ask(*await question(self.app, handle, ctx.author, moderates=ctx.moderates))


async def question(app: Mynah, handle: str, user: discord.abc.User, *, moderates: bool) -> tuple[str, discord.ui.View]:
    """Return the question whether an account is to be forgotten, and what answers it.

    Raises:
        BadRequestError: whoever asks is no moderator.
        BadHandleError, NotStoredError: there is nothing to forget.
    """
    if not moderates:
        raise BadRequestError(REFUSAL)
    name = normalise_handle(handle)
    if name not in await app.store.read(accounts.known_handles):
        raise NotStoredError(f"Nothing of @{name} is stored.")
    voices = await app.store.read(accounts.voices_of, name)
    view = discord.ui.View(timeout=None)
    for choice in ("forget", "keep"):
        view.add_item(ForgetButton(choice, name, user.id))
    if not voices:
        return tr(f"Forget **{safe(name)}**: its posts? This cannot be undone."), view
    made = f"{plural(len(voices), 'voice')} ({safe(', '.join(voices), 500)})"
    return tr(f"Forget **{safe(name)}**: its posts and {made}, every version, every line? This cannot be undone."), view


class ForgetButton(
    Admitted,
    discord.ui.DynamicItem[discord.ui.Button[Any]],
    template=r"mynah:(?P<choice>forget|keep):(?P<handle>[a-z0-9_]{1,20}):(?P<member>\d{1,20})",
):
    """One of the two buttons under the question. All it needs is in its id, so that it works after a restart."""

    def __init__(self, choice: str, handle: str, member: int) -> None:
        forgets = choice == "forget"
        super().__init__(
            discord.ui.Button(
                label=tr("Forget it all" if forgets else "Keep it"),
                style=discord.ButtonStyle.danger if forgets else discord.ButtonStyle.secondary,
                custom_id=f"mynah:{choice}:{handle}:{member}",
            )
        )
        self.choice = choice
        self.handle = handle
        self.member = member

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Forget, or do not; the question goes at once, so that it is answered once."""
        bot: MynahBot = interaction.client
        bot.hold_end()
        if interaction.user.id != self.member:
            await interaction.response.send_message(tr("That question was not asked of you."), ephemeral=True)
            return
        as_seen(interaction)
        if self.choice == "keep":
            await interaction.response.edit_message(content=tr(f"**{safe(self.handle)}** stays."), view=None)
        elif not moderates(interaction):
            await interaction.response.edit_message(content=tr(REFUSAL), view=None)
        else:
            await interaction.response.edit_message(content=tr(f"Forgetting **{safe(self.handle)}** …"), view=None)
            await interaction.edit_original_response(content=await self._forget(bot, interaction.user))

    async def _forget(self, bot: "MynahBot", user: discord.abc.User) -> str:
        app = bot.app
        try:
            gone = await forget(app.store, app.training, app.settings, self.handle, by=signature(user))
        except Exception as error:
            return explain(error, command="forget", user=user.id)
        said = ", ".join(counted(number, name) for name, number in gone.items() if number) or "an empty account"
        return tr(f"**{safe(self.handle)}** is forgotten: {said}.")
