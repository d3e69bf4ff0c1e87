"""Taking a voice away: its adapter as an attached file, for moderators and for whoever the posts belong to."""

import asyncio
import io
from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands
from discord.utils import DEFAULT_FILE_SIZE_LIMIT_BYTES
from sqlite_utils import Database

from bot.errors import BadRequestError
from bot.faces.discord.admitting import need_voice
from bot.faces.discord.context import Context, hybrid
from bot.faces.discord.language import tr
from bot.faces.discord.naming import called
from bot.faces.discord.speaking import offered_voices
from bot.faces.discord.text import safe
from bot.services.exporting import export_zip
from data import consents, models
from data.consents import Ground
from data.handles import voice_name

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

REFUSAL = "Exporting is for members with the permission Manage Server, and for whoever brought the archive of each account of the voice."
IN_PRIVATE = "What is exported is for you alone to see: use `/export`, or write to me in private."
NO_FILES = "I may not attach files here: ask a moderator to give me the permission Attach Files."


class Exporting(commands.Cog):
    """Giving voices away."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot
        self.app = bot.app
        self._one_at_a_time = asyncio.Lock()  # each takes the memory of a base

    @hybrid(usage="voice")
    @app_commands.describe(voice="Whose adapter")
    async def export(self, ctx: Context, *, voice: str) -> None:
        """Get a voice's adapter as a file, which peft and other Mynahs read."""
        if ctx.interaction is None and ctx.guild is not None:
            raise BadRequestError(IN_PRIVATE)
        await ctx.begin(f"Packing **{safe(called(voice), 200)}** …", private=True)
        name = voice_name(voice.replace(",", " ").replace("-", " ").split())
        if not ctx.moderates and not await self.app.store.read(_owns, name, ctx.author.id):
            raise BadRequestError(REFUSAL)
        await need_voice(self.bot, ctx.author, ctx.guild, name)
        if not ctx.bot_permissions.attach_files:
            raise BadRequestError(NO_FILES)
        async with self._one_at_a_time:
            model, content = await export_zip(self.app.store, self.app.settings, self.app.speaking, name)
        most = ctx.interaction.filesize_limit if ctx.interaction else DEFAULT_FILE_SIZE_LIMIT_BYTES
        if len(content) > most:
            raise BadRequestError(
                f"The file has {len(content) / 1e6:.1f} MB, and Discord takes {most / 1e6:.1f} here:"
                f" `mynah export {model.voice} DIR --adapter` writes it on Mynah's machine."
            )
        file = discord.File(io.BytesIO(content), f"{model.voice}-v{model.version}.zip"[-100:])
        await ctx.answer(
            tr(f"Version {model.version} of **{safe(called(model.voice))}**; its README says what to do with it."), files=[file]
        )

    @export.autocomplete("voice")
    async def complete_voice(self, interaction: discord.Interaction["MynahBot"], current: str) -> list[app_commands.Choice[str]]:
        """Offer the voices whose name holds what was typed."""
        del interaction
        return await offered_voices(self.app, current)


def _owns(db: Database, voice: str, member: int) -> bool:
    """Say whether a member brought the archive, which is the account's own, of each account of a voice.

    Raises:
        NotStoredError: there is no such voice.
    """
    return all(
        any(claim.ground is Ground.ARCHIVE and claim.claimed_by.endswith(f"(Discord {member})") for claim in consents.claims(db, handle))
        for handle in models.current(db, voice).handles
    )
