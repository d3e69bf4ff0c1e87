"""Bringing an account's posts without training on them yet: an attached file, on a ground that whoever brings it names."""

import asyncio
import shutil
from typing import TYPE_CHECKING, Literal

import discord
from discord import app_commands
from discord.ext import commands

from bot.errors import ConsentError
from bot.faces.discord.asking import NO_GROUND
from bot.faces.discord.context import Context, hybrid, moderated, signature
from bot.faces.discord.installs import for_moderators
from bot.faces.discord.language import tr
from bot.faces.discord.text import plural, safe
from bot.faces.discord.uploads import check_upload
from bot.services.importing import Imported, import_file
from bot.services.training import accounts_of
from data.consents import Ground

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

REFUSAL = "Importing is for members with the permission Manage Server; with `/train` everybody may bring a file to learn from."


class Importing(commands.Cog):
    """Storing posts that members bring."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot
        self.app = bot.app

    @hybrid(name="import", usage="handle [permission|parody], with the file attached")
    @for_moderators
    @app_commands.describe(
        handle="Whose posts these are",
        file="Its posts: X's archive, or a .jsonl, .csv or .txt file",
        ground="Why they may be learned from, if the file is not the account's own archive",
    )
    async def import_posts(
        self, ctx: Context, handle: str, file: discord.Attachment, ground: Literal["archive", "permission", "parody"] = "archive"
    ) -> None:
        """Store an account's posts, to be trained on later."""
        moderated(ctx, REFUSAL)
        settings = self.app.settings
        check_upload(file.filename, file.size, settings.discord.upload_mib)
        await ctx.begin("Reading the posts …", private=True)
        claimed = Ground(ground)
        if claimed not in settings.consent.grounds:
            raise ConsentError(NO_GROUND)
        await accounts_of(self.app.store, settings, [handle])
        path = await self.bot.fetch(file)
        try:
            brought = await import_file(self.app.store, settings, path, handle, by=signature(ctx.author), ground=claimed, trusted=False)
        finally:
            await asyncio.to_thread(shutil.rmtree, path.parent, ignore_errors=True)
        await ctx.answer(_said(brought))


def _said(brought: Imported) -> str:
    new, usable = plural(brought.new, "new post"), brought.counts.kept - brought.counts.duplicates
    of = brought.counts.downloaded
    return tr(
        f"**{safe(brought.handle)}**: {new}; of {of:,} that are stored now {usable:,} can be learned from. `/train {brought.handle}` does."
    )
