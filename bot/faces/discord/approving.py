"""Deciding what is posted: the list of what waits, the buttons and the form of its cards, and the switch that stops all posting."""

import re
from typing import TYPE_CHECKING, Any

import aiohttp
import discord
import structlog
from discord import app_commands
from discord.ext import commands
from sqlite_utils import Database

from bot.errors import MynahError
from bot.faces.discord import render_posts
from bot.faces.discord.admitting import need_approver
from bot.faces.discord.buttons import Anywhere
from bot.faces.discord.context import Context, hybrid, origin, signature
from bot.faces.discord.forms import take_in
from bot.faces.discord.installs import in_servers
from bot.faces.discord.language import aloud, aside, tr
from bot.faces.discord.naming import called
from bot.faces.discord.text import CHOICE, CHOICES
from bot.services.deciding import OFFERED, Shown, another, as_seen, decide, shown_of
from data import outbox, post_cards
from data.outbox import Pause, Post
from data.post_cards import PostCard

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

MAX_TEXT = 4000  # characters that a form's field takes
LABELS = {
    "approve": "Approve",
    "retry": "Try again",
    "again": "Send again",
    "edit": "Edit",
    "another": "Another",
    "confirm": "It is there",
    "reject": "Reject",
    "leave": "Leave it",
}
log = structlog.get_logger()
Number = app_commands.Range[int, 1, 2**53 - 1]  # as a slash command takes them
_FORM = re.compile(r"mynah:outboxed:(?P<post>\d{1,18}):(?P<seen>\d{1,6})")


def buttons(shown: Shown) -> discord.ui.View | None:
    """Return what decides about a post; None: nothing is to be decided."""
    if not shown.waits:
        return None
    view = discord.ui.View(timeout=None)
    for choice in OFFERED[shown.post.status]:
        view.add_item(PostButton(choice, shown.post.id, shown.seen))
    return view


class Approving(commands.Cog):
    """Deciding what is posted."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot
        self.app = bot.app

    @hybrid(usage="[post]")
    @in_servers
    @app_commands.describe(post="Whose card is to be put up anew; empty: list them")
    async def approve(self, ctx: Context, post: Number | None = None) -> None:
        """List the posts that wait for a yes, or put up the card of one anew."""
        await ctx.begin("Looking at the posts …", private=True)
        guild = await need_approver(self.bot, ctx)
        channel = self.app.settings.x.approval_channel
        if post is None:
            waiting, pause = await self.app.store.read(_waiting)
            await ctx.answer(render_posts.waiting(waiting, pause, guild.id))
        else:
            await self.app.store.write(post_cards.owe, post, channel)
            await ctx.answer(tr(f"The card of post {post} comes anew in <#{channel}>."))

    @approve.autocomplete("post")
    async def complete_post(self, interaction: discord.Interaction["MynahBot"], current: str) -> list[app_commands.Choice[int]]:
        """Offer the posts that wait, and hold what was typed, to whoever may decide about them."""
        try:
            await need_approver(self.bot, interaction)
        except MynahError:
            return []
        waiting, _ = await self.app.store.read(_waiting)
        named = {post.id: f"{post.id} · {called(post.voice)}: {' '.join(post.text.split())}"[:CHOICE] for post, _ in waiting}
        typed = current.strip().casefold()
        return [app_commands.Choice(name=name, value=number) for number, name in named.items() if typed in name.casefold()][:CHOICES]

    @hybrid(usage="[why]")
    @in_servers
    @app_commands.describe(why="Why; everybody who decides about posts can read it")
    async def pause(self, ctx: Context, *, why: str = "") -> None:
        """Stop all posting at once, until it is resumed."""
        await ctx.begin("Stopping …", private=True)
        await need_approver(self.bot, ctx)
        lasting = await self.app.posting.pause(signature(ctx.author), why)
        await ctx.answer(f"{render_posts.paused(lasting)} {tr('Nothing is posted and no schedule fires until `/resume`.')}")

    @hybrid()
    @in_servers
    async def resume(self, ctx: Context) -> None:
        """Let posting go on."""
        await ctx.begin("Going on …", private=True)
        await need_approver(self.bot, ctx)
        await self.app.posting.resume(signature(ctx.author))
        await ctx.answer(tr("Posting goes on: what is approved is sent, and schedules fire again."))

    @commands.Cog.listener()
    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Take the form with a post's text in."""
        await take_in(interaction, _FORM, self._take, anywhere=True)

    async def _take(self, interaction: discord.Interaction[Any], form: re.Match[str], typed: dict[str, str]) -> None:
        await interaction.response.defer()
        guild = await need_approver(self.bot, interaction)
        number = int(form["post"])
        await self.app.posting.edit(number, typed.get("text", ""), signature(interaction.user), seen=int(form["seen"]))
        await _answer_with_card(self.bot, interaction, number, guild)


class PostButton(
    Anywhere,
    discord.ui.DynamicItem[discord.ui.Button[Any]],
    template=r"mynah:outbox:(?P<choice>[a-z]{1,10}):(?P<post>\d{1,18}):(?P<seen>\d{1,6})",
):
    """One of the buttons under a card. Its id holds how often the post had changed by then: who presses decides about what he sees."""

    def __init__(self, choice: str, post: int, seen: int) -> None:
        style = {"reject": discord.ButtonStyle.danger} | dict.fromkeys(("approve", "retry"), discord.ButtonStyle.success)
        custom_id = f"mynah:outbox:{choice}:{post}:{seen}"
        super().__init__(
            discord.ui.Button(label=tr(LABELS[choice]), style=style.get(choice, discord.ButtonStyle.secondary), custom_id=custom_id)
        )
        self.choice = choice
        self.post = post
        self.seen = seen

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Decide."""
        if self.choice == "edit":
            await need_approver(bot, interaction)
            shown = await bot.app.store.read(as_seen, self.post, self.seen)
            await interaction.response.send_modal(_form(shown))
            return
        if self.choice == "another":
            await self._another(bot, interaction)
            return
        await interaction.response.defer()
        guild = await need_approver(bot, interaction)
        await decide(bot.app.posting, self.choice, self.post, signature(interaction.user), seen=self.seen)
        await _answer_with_card(bot, interaction, self.post, guild)

    async def _another(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Have the voice write a new line in the place of this one; the card shows it as soon as it is there."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        interaction.extras["answered"] = True  # what is private is told in private
        await need_approver(bot, interaction)
        app, by, where = bot.app, signature(interaction.user), origin(interaction.user, interaction.guild)
        await another(app.store, app.speaking, app.posting, self.post, by, seen=self.seen, origin=where)
        await interaction.edit_original_response(content=tr(f"Post {self.post} has another line."))


async def _answer_with_card(bot: "MynahBot", interaction: discord.Interaction[Any], number: int, guild: discord.Guild) -> None:
    """Show what was decided in the card at once, where all can see it.

    Whatever becomes of the post meanwhile, as that it is posted, may be shown before this edit arrives; so it is looked at once more.
    """
    shown = None
    while shown != (now := await bot.app.store.read(shown_of, number)):
        shown = now
        aloud()
        content, view = render_posts.card(shown, guild.id), buttons(shown)
        aside()
        try:
            await interaction.edit_original_response(content=content, view=view)
        except (discord.HTTPException, aiohttp.ClientError, OSError) as error:  # it is decided: `Carding` brings the card up to date
            log.info("a decision is shown later", post=number, error=str(error))
            return


def _form(shown: Shown) -> discord.ui.Modal:
    form = discord.ui.Modal(title=tr(f"Edit post {shown.post.id}"), custom_id=f"mynah:outboxed:{shown.post.id}:{shown.seen}")
    text: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id="text", max_length=MAX_TEXT, default=shown.post.text[:MAX_TEXT], style=discord.TextStyle.long
    )
    form.add_item(discord.ui.Label(text=tr("What is posted"), component=text))
    return form


def _waiting(db: Database) -> tuple[list[tuple[Post, PostCard | None]], Pause | None]:
    """Return the posts that wait for a person, each with its card, and the pause that lasts."""
    return [(post, post_cards.of_post(db, post.id)) for post in post_cards.waiting(db)], outbox.paused(db)
