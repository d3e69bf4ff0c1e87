"""The commands around training: ask for one, list them, cancel one."""

from typing import TYPE_CHECKING

import structlog
from discord import app_commands
from discord.ext import commands

from bot.errors import BadRequestError
from bot.faces.discord import render
from bot.faces.discord.admitting import need_role, settings_here
from bot.faces.discord.context import Context, asked_by, hybrid, origin, signature
from bot.faces.discord.speaking import show_card
from bot.faces.discord.text import safe, sentence
from data import jobs, models

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

LISTED = 15
log = structlog.get_logger()


class Training(commands.Cog):
    """Training a voice."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot
        self.app = bot.app

    @hybrid(usage="handle [handle ...]")
    @app_commands.describe(handles="The account; several make a joint voice")
    async def train(self, ctx: Context, *, handles: str) -> None:
        """Train a voice on an account's posts."""
        names = handles.replace(",", " ").split()
        await ctx.begin(f"Looking at the posts of {safe(', '.join(names), 200)} …", private=True)
        settings = await settings_here(self.bot, ctx.guild)
        need_role(ctx.author, settings.train_roles, "Training", moderates=ctx.moderates)
        ctx.need_to_speak()
        wanted = await self.app.training.request(names, by=signature(ctx.author), origin=origin(ctx.author, ctx.guild))
        if wanted.job.model is not None:
            model = await self.app.store.read(models.get, wanted.job.model)
            await show_card(ctx, self.app, model, f"**{safe(model.voice)}** is trained on exactly these posts already.")
            return
        voice = safe(wanted.job.voice)
        message = await ctx.publish(f"**{voice}** · job {wanted.job.id} · is queued")
        # From here on the message is the watchers': the row is what they find, also after a restart.
        await self.app.store.write(jobs.add_watch, wanted.job.id, message.channel.id, message.id, ctx.author.id)
        if ctx.interaction is not None:
            begun = "is queued" if wanted.new else "was asked for already"
            warnings = "".join(f"\n⚠ {sentence(warning)}" for warning in wanted.warnings)
            await ctx.answer(f"The training of **{voice}** {begun}: {message.jump_url} shows how it goes.{warnings}")

    @hybrid()
    @app_commands.describe(job="The training's number, as /jobs lists it")
    async def cancel(self, ctx: Context, job: int) -> None:
        """Cancel a training that you asked for."""
        await ctx.begin(f"Cancelling job {job} …")
        found = await self.app.store.read(jobs.get, job)
        if not asked_by(found, ctx.author) and not ctx.moderates:
            raise BadRequestError(f"Only who asked for job {job} may cancel it, or a member with the permission Manage Server.")
        stopped = await self.app.training.cancel(job, by=signature(ctx.author))
        state = f"is {stopped.status}" if stopped.status.ended else "is being stopped"
        await ctx.answer(f"Job {job}, **{safe(stopped.voice)}**, {state}.")

    @hybrid(name="jobs")
    async def list_jobs(self, ctx: Context) -> None:
        """List the trainings, newest first."""
        await ctx.begin("Looking at the trainings …")
        await ctx.answer(render.jobs(await self.app.store.read(jobs.recent, LISTED)))
