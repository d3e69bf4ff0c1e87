"""The referee of games: one loop over their rows shows each in its message, has duels talk, and tells the end when the time has come."""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import discord
import structlog
from discord.ext import commands, tasks
from sqlite_utils import Database

from bot.errors import MynahError, NotStoredError, SpeechFailedError
from bot.faces.discord import render_games
from bot.faces.discord.admitting import arrive, guild_of, knows
from bot.faces.discord.failures import explain, lost
from bot.faces.discord.language import tr
from bot.faces.discord.playing import guess_buttons, vote_buttons
from data import duels, quizzes
from data.duels import Duel
from data.origin import Origin
from data.quizzes import Guess, Quiz

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

LOOK_SECONDS = 1.0
PAUSE_SECONDS = 5.0  # after an edit that Discord did not take
FORGOTTEN = "This game was forgotten, with everything of its voice."
Game = Quiz | Duel
Key = tuple[type[Game], int]
log = structlog.get_logger()


@dataclass
class Board:
    """What the message of one game shows, and when it may be edited next. It is all made anew from rows after a restart."""

    channel: int
    message: int
    shown: str = ""
    due: float = 0.0
    task: asyncio.Task[None] | None = None
    lost: bool = False
    """The message, or the right to write it, is gone."""
    over: bool = False
    """The end was shown, or there is nowhere to show it."""


class Refereeing(commands.Cog):
    """Shows games, and ends them."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot
        self.app = bot.app
        self._boards: dict[Key, Board] = {}
        self._talks: dict[int, asyncio.Task[None]] = {}

    async def cog_load(self) -> None:
        """Take up the games that an earlier process left; those whose time came meanwhile end at once."""
        self._look.start()

    async def cog_unload(self) -> None:
        """Stop looking; the rows stay."""
        self._look.cancel()
        running = [task for task in (*self._talks.values(), *(board.task for board in self._boards.values())) if task and not task.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    @tasks.loop(seconds=LOOK_SECONDS)
    async def _look(self) -> None:
        """End what is due, and start whatever is to be done for each game; one that is held up does not hold up the others."""
        try:
            games = {(type(game), game.id): game for game in await self.app.store.read(_untold)}
            now = discord.utils.utcnow()
            if any(game.status in ("open", "voting") and game.ends_at and game.ends_at <= now for game in games.values()):
                await self.app.store.write(_close_due, now)
                games = {(type(game), game.id): game for game in await self.app.store.read(_untold)}
        except Exception:
            log.exception("the games cannot be read")
            return
        for key, game in games.items():
            if isinstance(game, Duel):
                self._have_talk(game)
            if game.message is not None:
                self._have_shown(key, game, game.message)
            elif game.status == "closed":  # it was cut off before it had a message
                await self._end(game)
        self._take_down({key for key in self._boards if key not in games})

    def _have_talk(self, duel: Duel) -> None:
        running = self._talks.get(duel.id)
        if running is not None and running.done():
            del self._talks[duel.id]
        if duel.status == "talking" and duel.id not in self._talks:
            self._talks[duel.id] = asyncio.create_task(self._talk(duel))

    def _have_shown(self, key: Key, game: Game, message: int) -> None:
        board = self._boards.setdefault(key, Board(game.channel, message))
        free = board.task is None or board.task.done()
        if not board.over and board.due <= time.monotonic() and free and knows(self.bot, board.channel):
            board.task = asyncio.create_task(self._refresh(board, game))

    def _take_down(self, gone: set[Key]) -> None:
        """Let go of games that were told; of those that went with a voice nothing is to be seen any more."""
        for key in gone:
            board = self._boards[key]
            if board.task is not None and not board.task.done():
                continue
            if board.over:
                del self._boards[key]
            elif board.due <= time.monotonic() and knows(self.bot, board.channel):
                board.task = asyncio.create_task(self._refresh(board, None))

    # -------------------------------------------------------------------- duels

    async def _talk(self, duel: Duel) -> None:
        """Have the voices of a duel talk from where they are; each line is a row before it is shown."""
        try:
            duel = await self.app.store.read(duels.get, duel.id)  # the look that began this may be older than the end of the last talk
            while duel.status == "talking":
                try:
                    line = await self._line(duel)
                except SpeechFailedError:  # another draw may pass, and another speaker live
                    line = await self._line(duel)
                duel = await self.app.store.write(duels.add_line, duel.id, line, discord.utils.utcnow())
        except MynahError as error:
            await self._break_off(duel, str(error))
        except Exception as error:
            await self._break_off(duel, explain(error, duel=duel.id))

    async def _line(self, duel: Duel) -> str:
        """Have the voice whose turn it is answer what was said last."""
        request = await self.app.speaking.request(
            duel.turn,
            by=duel.asked_by,
            origin=Origin(duel.member, duel.server),
            message=duel.lines[-1] if duel.lines else duel.topic,
            count=1,
        )
        return (await self.app.speaking.answer(request.id)).lines[0].text

    async def _break_off(self, duel: Duel, words: str) -> None:
        try:
            await self.app.store.write(duels.break_off, duel.id, words)
        except Exception:  # the next look has them talk again
            log.exception("that a duel was broken off could not be written down", duel=duel.id)

    # ------------------------------------------------------------------ messages

    async def _refresh(self, board: Board, game: Game | None) -> None:
        """Bring one message up to date, and end its game if it shows the end; `game`: None if the row is gone."""
        if not board.lost and not await self._show(board, game):
            return
        if game is None:
            board.over = True
        elif game.status == "closed":
            board.over = await self._end(game)
        elif board.lost and isinstance(game, Duel) and game.status == "talking":
            await self._break_off(game, "its message cannot be written any more.")

    async def _show(self, board: Board, game: Game | None) -> bool:
        """Edit a message if there is something new; return whether nothing is left to try. An outage is waited for."""
        try:
            await arrive(self.bot, guild_of(self.bot, board.channel))
            content, view = (tr(FORGOTTEN), None) if game is None else await self._content(game)
            if content != board.shown:
                await self.bot.get_partial_messageable(board.channel).get_partial_message(board.message).edit(content=content, view=view)
                board.shown = content
            return True
        except NotStoredError:
            return False  # forgotten between two looks: the next one sees it
        except Exception as error:
            board.lost = lost(error, channel=board.channel, message=board.message)
            if not board.lost:
                board.due = time.monotonic() + PAUSE_SECONDS
            return board.lost

    async def _content(self, game: Game) -> tuple[str, discord.ui.View | None]:
        """Return what the message of a game is to show; the end can be shown twice without harm, for what counts is fixed by then."""
        if isinstance(game, Quiz):
            if game.status == "open":
                return render_games.question(game), guess_buttons(game)
            # Rendered here, since the database's thread does not know whose language is spoken.
            guesses, points = await self.app.store.read(_outcome, game)
            return render_games.reveal(game, guesses, points), None
        if game.status == "closed":
            one, two = await self.app.store.read(duels.votes, game.id)
            return render_games.verdict(game, one, two), None
        return render_games.duel(game), vote_buttons(game) if game.status == "voting" else None

    async def _end(self, game: Game) -> bool:
        """Write down that an end was told; return False if the game was forgotten meanwhile, and its message is to be taken down."""
        mark = quizzes.mark_told if isinstance(game, Quiz) else duels.mark_told
        try:
            return await self.app.store.write(mark, game.id)
        except Exception:
            log.exception("that the end of a game was told could not be written down", channel=game.channel)
            return True  # better told twice after a restart than every second


def _untold(db: Database) -> list[Game]:
    return [*quizzes.untold(db), *duels.untold(db)]


def _close_due(db: Database, now: datetime) -> None:
    quizzes.close_due(db, now)
    duels.close_due(db, now)


def _outcome(db: Database, quiz: Quiz) -> tuple[list[Guess], dict[int, int]]:
    """Return the guesses of a quiz, and the points of each member in its server."""
    return quizzes.guesses(db, quiz.id), {score.member: score.points for score in quizzes.scores(db, quiz.server)}
