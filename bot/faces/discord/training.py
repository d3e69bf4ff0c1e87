"""The commands around training: ask for one, list them, cancel one."""

from typing import TYPE_CHECKING

import discord
import structlog
from discord import app_commands
from discord.ext import commands, tasks

from bot.errors import BadRequestError
from bot.faces.discord import render
from bot.faces.discord.admitting import need_role, settings_here
from bot.faces.discord.asking import expire, question, settle
from bot.faces.discord.context import Context, hybrid, origin
from bot.faces.discord.following import cancel
from bot.faces.discord.text import CHOICE, CHOICES, safe
from bot.faces.discord.uploads import check_upload
from bot.services.training import accounts_of
from data import accounts, askings, jobs
from data.askings import Asking
from trainer import protocol

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

LISTED = 15
log = structlog.get_logger()


class Training(commands.Cog):
    """Training a voice."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot
        self.app = bot.app

    async def cog_load(self) -> None:
        """Let go of questions that nobody answers, and of the files that were brought for them."""
        self._expire.start()

    async def cog_unload(self) -> None:
        """Stop that."""
        self._expire.cancel()

    @tasks.loop(hours=1)
    async def _expire(self) -> None:
        try:
            await expire(self.app)
        except Exception:
            log.exception("questions that nobody answered cannot be let go of")

    @hybrid(usage="handle [handle ...]")
    @app_commands.describe(
        handles="The account; several make a joint voice",
        file="Its posts: X's archive, or a .jsonl, .csv or .txt file",
        base="The model it is made from",
        posts="Learn from so many of the newest posts at most",
    )
    async def train(
        self,
        ctx: Context,
        *,
        handles: str,
        file: discord.Attachment | None = None,
        base: str | None = None,
        posts: app_commands.Range[int, 10, 100_000] | None = None,
    ) -> None:
        """Train a voice on an account's posts."""
        names = handles.replace(",", " ").split()
        attached = file or next(iter(ctx.message.attachments), None)
        if attached:
            check_upload(attached.filename, attached.size, self.app.settings.discord.upload_mib)
        await ctx.begin(f"Looking at the posts of {safe(', '.join(names), 200)} …", private=True)
        settings = await settings_here(self.bot, ctx.guild)
        need_role(ctx.author, settings.train_roles, "Training", moderates=ctx.moderates)
        ctx.need_to_speak()
        if base is not None and base not in protocol.LANGUAGES and base != self.app.settings.trainer.base:
            raise BadRequestError(f"{base[:60]!r} is no base that is offered here: choose one of the list, or leave it out.")
        if posts is not None and posts > (most := self.app.settings.trainer.max_posts):
            raise BadRequestError(f"Here voices learn from {most} posts of an account at most: ask for fewer, or leave that out.")
        path = None
        if attached:
            await accounts_of(self.app.store, self.app.settings, names)
            await self.app.training.need_room(origin(ctx.author, ctx.guild))
            path = await self.bot.fetch(attached)
        asking = Asking(ctx.author.id, " ".join(names), str(path) if path else None, None, base, posts)
        number = await self.app.store.write(askings.ask, asking)
        try:
            await ctx.ask(*await question(self.app, number, asking, ctx.author))
        except BaseException:
            await settle(self.app, number)
            raise

    @train.autocomplete("handles")
    async def complete_handles(self, interaction: discord.Interaction["MynahBot"], current: str) -> list[app_commands.Choice[str]]:
        """Complete the last of the handles with known accounts."""
        del interaction
        *before, last = current.replace(",", " ").split(" ")
        found = await self.app.store.read(accounts.handles_with, last.removeprefix("@").lower(), CHOICES)
        words = [" ".join([*before, name]).strip() for name in found if name not in before]
        return [app_commands.Choice(name=one, value=one) for one in words if len(one) <= CHOICE]

    @train.autocomplete("base")
    async def complete_base(self, interaction: discord.Interaction["MynahBot"], current: str) -> list[app_commands.Choice[str]]:
        """Offer the bases whose languages are known, the one of the settings first."""
        del interaction
        known = dict.fromkeys([self.app.settings.trainer.base, *protocol.LANGUAGES])
        return [app_commands.Choice(name=name, value=name) for name in known if current.lower() in name.lower()][:CHOICES]

    @hybrid()
    @app_commands.describe(job="The training's number, as /queue shows it")
    async def cancel(self, ctx: Context, job: int) -> None:
        """Cancel a training that you asked for."""
        await ctx.begin(f"Cancelling job {job} …")
        await ctx.answer(await cancel(self.app, job, ctx.author, moderates=ctx.moderates))

    @hybrid()
    async def queue(self, ctx: Context) -> None:
        """Show what is trained now, what waits in the order in which it begins, and what ended lately."""
        await ctx.begin("Looking at the trainings …")
        unfinished = await self.app.store.read(jobs.in_order, LISTED)
        ended = await self.app.store.read(jobs.ended, LISTED)
        await ctx.answer(render.jobs([*unfinished, *ended][:LISTED]))
