"""The commands around voices: have one speak, list them, show one's card."""

import asyncio
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import discord
import structlog
from discord import app_commands
from discord.ext import commands

from bot.app import Mynah
from bot.faces.discord import render
from bot.faces.discord.admitting import need_voice
from bot.faces.discord.context import Context, hybrid
from bot.faces.discord.installs import portable
from bot.faces.discord.listing import listing
from bot.faces.discord.managing import card_menus
from bot.faces.discord.naming import both, called, default_prompt, voices_called
from bot.faces.discord.saying import lines_for, say
from bot.faces.discord.text import CHOICE, CHOICES, safe
from bot.services import cards, pictures
from bot.services.speaking import MAX_LINES
from bot.threads import drawn
from data import models
from data.handles import voice_name

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

log = structlog.get_logger()
Count = app_commands.Range[int, 1, MAX_LINES]
Creativity = app_commands.Range[float, 0.0, 2.0]


class Speaking(commands.Cog):
    """Having voices speak."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot
        self.app = bot.app

    @hybrid(usage="voice [prompt]")
    @portable
    @app_commands.describe(
        voice="Who speaks", prompt="What the lines are to begin with", count="How many lines", creativity="0 is careful, 1 usual, 2 wild"
    )
    async def generate(
        self, ctx: Context, voice: str, *, prompt: str = "", count: Count | None = None, creativity: Creativity | None = None
    ) -> None:
        """Have a voice write posts."""
        await self._speak(ctx, voice, prompt=prompt, count=count, temperature=creativity)

    @hybrid(usage="voice message")
    @portable
    @app_commands.describe(voice="Who answers", message="What to answer")
    async def ask(self, ctx: Context, voice: str, *, message: str) -> None:
        """Have a voice answer you."""
        await self._speak(ctx, voice, message=message, count=1)

    async def _speak(self, ctx: Context, voice: str, **wanted: Any) -> None:
        await ctx.begin(f"**{safe(called(voice), 200)}** is thinking …")
        await need_voice(self.bot, ctx.author, ctx.guild, voice)
        if wanted.get("prompt") == "":
            wanted["prompt"] = await default_prompt(self.app, ctx.guild, voice)
        spoken = await lines_for(self.app, voice, ctx.author, ctx.guild, **wanted)
        await say(self.bot, ctx.guild, ctx.answer, spoken, attach=ctx.bot_permissions.attach_files)

    @hybrid(name="models")
    @portable
    @app_commands.describe(search="A part of their names", page="Which page")
    async def list_models(self, ctx: Context, search: str = "", page: int = 1) -> None:
        """List the voices that are trained."""
        await ctx.begin("Looking at the voices …")
        content, view = await listing(self.app, search, page)
        await ctx.answer(content, view=view)

    @hybrid()
    @portable
    @commands.bot_has_permissions(embed_links=True)
    @app_commands.describe(voice="Whose card")
    async def show(self, ctx: Context, *, voice: str) -> None:
        """Show a voice's card."""
        await ctx.begin(f"Looking for the card of {safe(voice, 200)} …")
        name = voice_name(voice.replace(",", " ").replace("-", " ").split())
        menu = await card_menus(self.app, name, ctx.guild) if ctx.moderates and ctx.guild else None
        await show_card(ctx, self.app, await self.app.store.read(models.current, name), "", menu)

    @generate.autocomplete("voice")
    @ask.autocomplete("voice")
    @show.autocomplete("voice")
    async def complete_voice(self, interaction: discord.Interaction["MynahBot"], current: str) -> list[app_commands.Choice[str]]:
        """Offer the voices whose name holds what was typed."""
        del interaction
        return await offered_voices(self.app, current)


async def offered_voices(app: Mynah, current: str) -> list[app_commands.Choice[str]]:
    """Return as choices the voices whose name holds what was typed, those that begin with it first, then those called so here."""
    typed = current.strip().removeprefix("@").lower()
    # A joint voice's name may be longer than a choice; it can still be typed.
    names = await app.store.read(models.names, typed, CHOICES, longest=CHOICE)
    named = [voice for voice in voices_called(typed) if len(voice) <= CHOICE]
    return [app_commands.Choice(name=both(name)[:CHOICE], value=name) for name in dict.fromkeys([*names, *named])][:CHOICES]


async def show_card(ctx: Context, app: Mynah, model: models.Model, words: str, view: discord.ui.View | None = None) -> None:
    """Answer with a model's card, its picture and its curve; of its samples, with those that may be said in this server."""
    document = await app.store.read(cards.told_card, model)
    document["samples"] = await app.speaking.allowed(document["samples"], ctx.guild.id if ctx.guild else None)
    may = ctx.bot_permissions.attach_files
    curve = await curve_file(app, model) if may else None
    files = [file for file in (await said_file(model, document["samples"]) if may else None, curve) if file]
    await ctx.answer(words, embed=render.card(document, curve=curve is not None), files=files, view=view)


async def curve_file(app: Mynah, model: models.Model) -> discord.File | None:
    """Return the curve as a file to attach; None if it cannot be drawn, because a card without it is still a card.

    Of an imported voice there is none.
    """
    if model.result["loss_after"] is None:
        return None
    try:
        path = await cards.save_curve(app.store, model, app.settings.data_dir / "cards")
        return discord.File(io.BytesIO(await asyncio.to_thread(path.read_bytes)), render.CURVE)
    except Exception:
        log.exception("a curve could not be drawn", voice=model.voice, version=model.version)
        return None


async def said_file(model: models.Model, lines: Sequence[str]) -> discord.File | None:
    """Return the picture of lines that may be shown as a file to attach; None where there are none, or it cannot be drawn."""
    if not lines:
        return None
    accounts, said = [pictures.Account(handle) for handle in model.handles], pictures.Said("", tuple(lines))
    try:
        return discord.File(io.BytesIO(await drawn(pictures.predictions, accounts, said, "dark")), render.SAID)
    except Exception:
        log.exception("what a voice said could not be drawn", voice=model.voice, version=model.version)
        return None
