"""The commands of games and the buttons under them: a guess and a vote are private until the end, and may be changed until then."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.ext import commands

from bot.errors import BadRequestError, NotStoredError
from bot.faces.discord import render_games
from bot.faces.discord.admitting import need_voice
from bot.faces.discord.buttons import Pressed
from bot.faces.discord.context import Context, hybrid, origin, signature
from bot.faces.discord.installs import in_servers
from bot.faces.discord.language import aloud, tr
from bot.faces.discord.naming import called
from bot.faces.discord.speaking import offered_voices
from bot.faces.discord.text import safe
from bot.services.quizzing import Quizzing
from data import duels, models, quizzes
from data.cleaning import training_text
from data.handles import voice_name

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

QUIZ_SECONDS = 60
VOTE_MINUTES = 5
MAX_TOPIC = 200
LISTED = 15
LABEL = 80  # characters that Discord takes on a button
Seconds = commands.Range[int, 10, 600]
Minutes = commands.Range[int, 1, 60]


class Playing(commands.Cog):
    """Games with voices."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot
        self.app = bot.app
        self.quizzing = Quizzing(bot.app.store, bot.app.speaking)

    @hybrid(usage="voice [seconds]")
    @in_servers
    @app_commands.describe(voice="Whose posts and lines are mixed", seconds="How long members may guess; empty: 60")
    async def quiz(self, ctx: Context, voice: str, seconds: Seconds = QUIZ_SECONDS) -> None:
        """Have members guess which post is real and which is Mynah's."""
        await ctx.begin(f"Looking for posts like those of **{safe(called(voice), 200)}** …", private=True)
        ctx.need_to_speak()
        await need_voice(self.bot, ctx.author, ctx.guild, voice)
        await self.app.store.read(quizzes.refuse_second, ctx.channel.id, discord.utils.utcnow())
        by, where = signature(ctx.author), origin(ctx.author, ctx.guild)
        question = await self.quizzing.question(voice, by=by, origin=where)
        row = await self.app.store.write(
            quizzes.add,
            **vars(question),
            server=where.server or 0,
            channel=ctx.channel.id,
            by=by,
            at=discord.utils.utcnow(),
            seconds=seconds,
        )
        message = await ctx.publish("A quiz begins …")
        # From here on the message is the referee's: the row is what it finds, also after a restart.
        await self.app.store.write(quizzes.put_up, row.id, message.id)
        if ctx.interaction is not None:
            await ctx.answer(tr(f"The quiz is open: {message.jump_url}"))

    @hybrid(usage="voice voice topic")
    @in_servers
    @app_commands.describe(
        voice_one="Who begins", voice_two="Who answers", topic="What they talk about", minutes="How long members may vote; empty: 5"
    )
    async def duel(self, ctx: Context, voice_one: str, voice_two: str, *, topic: str, minutes: Minutes = VOTE_MINUTES) -> None:
        """Have two voices talk by turns, and members vote for one."""
        await ctx.begin("Looking for the voices …", private=True)
        ctx.need_to_speak()
        one, two = [(await self.app.store.read(models.current, voice_name(name.split("-")))).voice for name in (voice_one, voice_two)]
        for voice in (one, two):
            await need_voice(self.bot, ctx.author, ctx.guild, voice)
        if one == two:
            raise BadRequestError("A duel is between two voices: name another one.")
        topic = " ".join(topic.split())
        await self._check(topic, ctx.guild.id if ctx.guild else None)
        row = await self.app.store.write(
            duels.add,
            server=ctx.guild.id if ctx.guild else 0,
            channel=ctx.channel.id,
            one=one,
            two=two,
            topic=topic,
            member=ctx.author.id,
            by=signature(ctx.author),
            at=discord.utils.utcnow(),
            seconds=minutes * 60,
        )
        message = await ctx.publish("A duel begins …")
        await self.app.store.write(duels.put_up, row.id, message.id)
        if ctx.interaction is not None:
            await ctx.answer(tr(f"The duel has begun: {message.jump_url}"))

    async def _check(self, topic: str, server: int | None) -> None:
        """Make sure that a topic may stand in a message of Mynah's.

        Raises:
            BadRequestError: it is too long, breaks a rule, or has nothing to talk about.
        """
        if len(topic) > MAX_TOPIC:
            raise BadRequestError(f"A topic has at most {MAX_TOPIC} characters; this one has {len(topic)}.")
        if refused := await self.app.speaking.refusal(topic, server):
            raise BadRequestError(f"That topic {refused.reason}: give another.")
        if not training_text(topic):
            raise BadRequestError("That topic holds nothing to talk about: give one with words.")

    @hybrid()
    @in_servers
    async def leaderboard(self, ctx: Context) -> None:
        """List the members here with the most points in quizzes."""
        await ctx.begin("Counting the points …")
        scores = await self.app.store.read(quizzes.scores, ctx.guild.id if ctx.guild else 0, LISTED)
        await ctx.answer(render_games.leaderboard(scores))

    @quiz.autocomplete("voice")
    @duel.autocomplete("voice_one")
    @duel.autocomplete("voice_two")
    async def complete_voice(self, interaction: discord.Interaction["MynahBot"], current: str) -> list[app_commands.Choice[str]]:
        """Offer the voices whose name holds what was typed."""
        del interaction
        return await offered_voices(self.app, current)


def guess_buttons(quiz: quizzes.Quiz) -> discord.ui.View:
    """Return the buttons under an open quiz."""
    view = discord.ui.View(timeout=None)
    for option in range(len(quiz.options)):
        view.add_item(GuessButton(quiz.id, option))
    return view


def vote_buttons(duel: duels.Duel) -> discord.ui.View:
    """Return the buttons under a duel that is voted on."""
    view = discord.ui.View(timeout=None)
    for side, voice in enumerate((duel.one, duel.two), 1):
        view.add_item(VoteButton(duel.id, side, voice))
    return view


class GuessButton(Pressed, discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"mynah:guess:(?P<quiz>\d{1,18}):(?P<option>[0-3])"):
    """One of the four buttons under a quiz."""

    def __init__(self, quiz: int, option: int) -> None:
        super().__init__(discord.ui.Button(label=render_games.LETTERS[option], custom_id=f"mynah:guess:{quiz}:{option}"))
        self.quiz = quiz
        self.option = option

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Write the guess down, and tell nobody else."""
        who = interaction.user
        async with _move(interaction):
            quiz = await bot.app.store.write(quizzes.guess, self.quiz, who.id, who.display_name, self.option, discord.utils.utcnow())
        letter = render_games.LETTERS[self.option]
        await interaction.edit_original_response(
            content=tr(f"You guessed **{letter}**; you can change it until {render_games.until(quiz.ends_at)}.")
        )


class VoteButton(Pressed, discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"mynah:vote:(?P<duel>\d{1,18}):(?P<side>[12])"):
    """One of the two buttons under a duel."""

    def __init__(self, duel: int, side: int, voice: str = "…") -> None:
        super().__init__(discord.ui.Button(label=called(voice)[:LABEL], custom_id=f"mynah:vote:{duel}:{side}"))
        self.duel = duel
        self.side = side

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Write the vote down, and tell nobody else."""
        async with _move(interaction):
            duel = await bot.app.store.write(duels.vote, self.duel, interaction.user.id, self.side, discord.utils.utcnow())
        voice, end = (duel.one, duel.two)[self.side - 1], duel.ends_at
        until = f"; you can change it until {render_games.until(end)}" if end else ""
        await interaction.edit_original_response(content=tr(f"You voted for **{safe(called(voice), render_games.NAME)}**{until}."))


@asynccontextmanager
async def _move(interaction: discord.Interaction[Any]) -> AsyncIterator[None]:
    """Acknowledge a guess or a vote in private, to be written down within.

    A message shows no more of a game whose voice was forgotten while nobody was there to take it down.
    """
    await interaction.response.defer(ephemeral=True, thinking=True)
    interaction.extras["answered"] = True  # what is private is told in private
    try:
        yield
    except NotStoredError as error:
        if interaction.message is not None:
            aloud()
            await interaction.message.edit(content=tr(str(error)), view=None)
        raise
