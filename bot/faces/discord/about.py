"""What Mynah is, what it stores of whoever asks, and erasing that."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import discord
from discord.ext import commands

from bot.errors import BadRequestError
from bot.faces.discord.buttons import Pressed, as_seen
from bot.faces.discord.context import Context, hybrid
from bot.faces.discord.installs import portable
from bot.faces.discord.language import tr
from data import counting, members

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

WHAT = (
    "**Mynah {version}** learns to write like an account, from posts that somebody brought with consent, and then speaks. "
    "What it says is made by a machine, and is nobody's opinion."
)
ERASED = (
    "Erased: your questions and prompts with what was answered, and your name from trainings, consents and posts. "
    "What quotas count stays for a day: when you asked, and for how much. Voices that you had trained stay; moderators can `/forget` those."
)


class About(commands.Cog):
    """Saying what this is."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot
        self.app = bot.app

    @hybrid()
    @portable
    async def about(self, ctx: Context) -> None:
        """Say what Mynah is and what it stores of you, and erase that."""
        await ctx.begin("Looking …", private=True)
        found = await self.app.store.read(members.stored, ctx.author.id)
        view = discord.ui.View(timeout=None)
        if any(found.values()):
            view.add_item(EraseButton(ctx.author.id))
        rows = [f"• {tr(name)}: {number:,}" for name, number in found.items() if number]
        if kept := await self.app.store.read(counting.of_member, ctx.author.id):
            rows.append(f"• {tr('requests that quotas still count')}: {kept}")
        stored = "\n".join([tr("Stored of you:"), *rows]) if rows else tr("Of you nothing is stored.")
        await ctx.ask(f"{tr(WHAT).format(version=version('mynah'))}\n{stored}", view)


class EraseButton(Pressed, discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"mynah:erase:(?P<member>\d{1,20})"):
    """The button that erases what is stored of a member."""

    def __init__(self, member: int) -> None:
        super().__init__(
            discord.ui.Button(label=tr("Erase what is mine"), style=discord.ButtonStyle.danger, custom_id=f"mynah:erase:{member}")
        )
        self.member = member

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Erase it, for the member alone."""
        if interaction.user.id != self.member:
            raise BadRequestError("Those are somebody else's rows: `/about` shows yours.")
        await interaction.response.defer()
        await bot.app.store.write(members.erase, self.member)
        await bot.app.store.wipe()
        as_seen(interaction)
        await interaction.edit_original_response(content=tr(ERASED), view=None)
