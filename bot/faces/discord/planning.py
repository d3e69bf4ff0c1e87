"""When voices write posts: /schedule, in the one server whose members decide what is posted."""

import asyncio
import re
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

import discord
from discord import app_commands
from discord.ext import commands

from bot.errors import BadRequestError, MynahError
from bot.faces.discord import render_schedules
from bot.faces.discord.admitting import need_approver, need_voice
from bot.faces.discord.context import Context, hybrid_group, lacking, signature, within
from bot.faces.discord.installs import in_servers
from bot.faces.discord.language import tr
from bot.faces.discord.speaking import offered_voices
from bot.faces.discord.text import CHOICES, safe
from bot.services.scheduling import MAX_A_DAY, Spec

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

ADD = "name voice times [timezone] [jitter] [quiet] [max_a_day] [account] [channel]"
Most = app_commands.Range[int, 1, MAX_A_DAY]
Channel = discord.TextChannel | discord.Thread | discord.VoiceChannel | discord.StageChannel
CHANNEL: Any = commands.parameter(default=None)  # a typed one that is none is refused, where Optional would silently mean X
_EVERY = re.compile(r"every\s+(\d.*|minute|hour|day|week)", re.IGNORECASE)
_CRON = re.compile(r"(?=.*\*)[\d*/,-]+\s+[\d*/,-]+\s+\S+\s+\S+\s+\S+")  # of the two sorts of day it names one, and * for the other


class Planning(commands.Cog):
    """Schedules."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot
        self.app = bot.app

    @hybrid_group(fallback="list", usage="[add|show|pause|resume|run|remove]")
    @in_servers
    async def schedule(self, ctx: Context) -> None:
        """List the schedules by which voices write posts."""
        await self._begin(ctx)
        await ctx.answer(render_schedules.listed(await self.app.scheduling.listed()))

    @within(schedule, name="add", usage=ADD)
    @in_servers
    @app_commands.describe(
        name="What it is called",
        voice="Who writes",
        times="Such as 9:00, 18:30; mon-fri 9am; every 6h; or a cron line: 0 9 * * 1-5",
        timezone="Such as Europe/Madrid; empty: UTC",
        jitter="Up to how much later, by chance, as in 20m; empty: on the minute",
        quiet="Hours in which nothing is posted, as in 22:00-07:00",
        max_a_day="How many posts a day at most",
        account="The account on X that posts; empty: the default one",
        channel="The channel of this server in which it is posted, in the place of X",
    )
    async def add(
        self,
        ctx: Context,
        name: str,
        voice: str,
        times: str,
        timezone: str = "UTC",
        jitter: str = "",
        quiet: str = "",
        max_a_day: Most | None = None,
        account: str | None = None,
        channel: Channel = CHANNEL,
    ) -> None:
        """Have a voice write posts at certain times, each to be approved."""
        guild = await self._begin(ctx)
        await need_voice(self.bot, ctx.author, guild, voice)
        if channel is not None:
            _need_reach(channel, guild, ctx.author)
        spec = Spec(
            **when(times),
            timezone=timezone,
            jitter=jitter,
            quiet=quiet,
            max_a_day=max_a_day,
            account=account or None,
            channel=channel.id if channel else None,
        )
        added = await self.app.scheduling.add(name, voice, spec, by=signature(ctx.author), server=guild.id)
        await ctx.answer(f"{tr('The schedule is made.')}\n{render_schedules.row(added)}")

    @within(schedule, name="show", usage="name")
    @in_servers
    @app_commands.describe(name="Which schedule")
    async def show_schedule(self, ctx: Context, name: str) -> None:
        """Show a schedule, its next times, and what became of the last ones."""
        await self._begin(ctx)
        await ctx.answer(render_schedules.whole(await self.app.scheduling.get(name)))

    @within(schedule, name="pause", usage="name")
    @in_servers
    @app_commands.describe(name="Which schedule")
    async def pause_schedule(self, ctx: Context, name: str) -> None:
        """Stop a schedule until it is resumed; what it has written stays."""
        await self._begin(ctx)
        await ctx.answer(render_schedules.row(await self.app.scheduling.pause(name, signature(ctx.author))))

    @within(schedule, name="resume", usage="name")
    @in_servers
    @app_commands.describe(name="Which schedule")
    async def resume_schedule(self, ctx: Context, name: str) -> None:
        """Let a schedule go on; what fell into its pause is not made up."""
        await self._begin(ctx)
        await ctx.answer(render_schedules.row(await self.app.scheduling.resume(name, signature(ctx.author))))

    @within(schedule, name="run", usage="name")
    @in_servers
    @app_commands.describe(name="Which schedule")
    async def run_schedule(self, ctx: Context, name: str) -> None:
        """Have a schedule write a post now, besides its times."""
        await self._begin(ctx)
        planned = await self.app.scheduling.get(name)
        await self.app.scheduling.run_now(name, signature(ctx.author))
        what, channel = safe(planned.schedule.name), self.app.settings.x.approval_channel
        if planned.unattended:
            await ctx.answer(tr(f"**{what}** writes a post now, which goes out without approval, as the operator set it."))
        else:
            await ctx.answer(tr(f"**{what}** writes a post now: its card comes in <#{channel}>."))

    @within(schedule, name="remove", usage="name")
    @in_servers
    @app_commands.describe(name="Which schedule")
    async def remove_schedule(self, ctx: Context, name: str) -> None:
        """Remove a schedule; its posts stay."""
        await self._begin(ctx)
        await self.app.scheduling.remove(name)
        await ctx.answer(tr(f"The schedule **{safe(name.strip().lower())}** is gone; its posts stay."))

    async def _begin(self, ctx: Context) -> discord.Guild:
        """Acknowledge, and make sure that who asks decides what is posted; return the server."""
        await ctx.begin("Looking at the schedules …", private=True)
        return await need_approver(self.bot, ctx)

    # ---------------------------------------------------------------- what is offered

    @add.autocomplete("voice")
    async def complete_voice(self, interaction: discord.Interaction["MynahBot"], current: str) -> list[app_commands.Choice[str]]:
        """Offer the voices whose name holds what was typed."""
        del interaction
        return await offered_voices(self.app, current)

    @add.autocomplete("timezone")
    async def complete_timezone(self, interaction: discord.Interaction["MynahBot"], current: str) -> list[app_commands.Choice[str]]:
        """Offer the time zones whose name holds what was typed, as `new york` does America/New_York."""
        del interaction
        typed = current.strip().replace(" ", "_").casefold()
        return _choices(zone for zone in await asyncio.to_thread(_zones) if typed in zone.casefold())

    @add.autocomplete("account")
    async def complete_account(self, interaction: discord.Interaction["MynahBot"], current: str) -> list[app_commands.Choice[str]]:
        """Offer the operator's accounts, to whoever decides what they post."""
        if not await self._decides(interaction):
            return []
        return _choices(name for name in self.app.settings.x.every_account if current.strip().casefold() in name)

    @show_schedule.autocomplete("name")
    @pause_schedule.autocomplete("name")
    @resume_schedule.autocomplete("name")
    @run_schedule.autocomplete("name")
    @remove_schedule.autocomplete("name")
    async def complete_name(self, interaction: discord.Interaction["MynahBot"], current: str) -> list[app_commands.Choice[str]]:
        """Offer the schedules whose name holds what was typed, to whoever may see them."""
        if not await self._decides(interaction):
            return []
        listed = await self.app.scheduling.listed()
        return _choices(planned.schedule.name for planned in listed if current.strip().casefold() in planned.schedule.name)

    async def _decides(self, interaction: discord.Interaction["MynahBot"]) -> bool:
        try:
            await need_approver(self.bot, interaction)
        except MynahError:
            return False
        return True


def when(text: str) -> dict[str, Any]:
    """Return times as Spec takes them: `every 6h` is a span, five fields are a cron line, and all else are times of the day."""
    if every := _EVERY.fullmatch(text.strip()):
        return {"every": every[1] if every[1][0].isdigit() else f"1 {every[1]}"}
    return {"cron": text} if _CRON.fullmatch(text.strip()) else {"times": text}


def _need_reach(channel: Any, guild: discord.Guild, member: Any) -> None:
    """Make sure that lines can be posted in a channel of the server where it is asked for, by who could write there himself.

    Raises:
        BadRequestError: they cannot; the text says why.
    """
    if channel.guild != guild:
        raise BadRequestError("That channel is not in this server: name one that is.")
    if lacks := lacking(channel):
        raise BadRequestError(f"I may not write in that channel: ask a moderator to give me the permission {lacks}.")
    if lacks := lacking(channel, member):
        raise BadRequestError(f"You may not write in that channel yourself: you lack the permission {lacks}.")


def _choices(names: Any) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=name, value=name) for name in names][:CHOICES]


@cache
def _zones() -> list[str]:
    return sorted(available_timezones())
