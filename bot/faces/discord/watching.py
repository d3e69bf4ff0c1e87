"""Messages that follow a training: one loop over their rows edits each as its job goes on, and tells the end once."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING

import discord
import structlog
from discord.ext import commands, tasks
from sqlite_utils import Database

from bot.errors import NotStoredError
from bot.faces.discord import progress, render
from bot.faces.discord.admitting import arrive, guild_of, knows
from bot.faces.discord.ending import buttons
from bot.faces.discord.failures import lost
from bot.faces.discord.language import tr
from bot.faces.discord.naming import called
from bot.faces.discord.speaking import curve_file, said_file
from bot.faces.discord.text import MESSAGE, cut, safe, sentence
from bot.services import cards
from bot.services.progress import Progress, caught_up
from data import jobs, models

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

LOOK_SECONDS = 1.0
EDIT_SECONDS = 5.0  # between edits of one message: Discord grants about one a second in a channel, for all who watch there
#: Messages that are looked after at once. Each training that ends moves up all that wait, which may be a thousand; Discord grants a bot
#: fifty requests a second, and whoever asks something waits behind what is read here.
AT_ONCE = 20
log = structlog.get_logger()


@dataclass
class View:
    """What one message shows, and when it may be edited next. It is all made anew from rows after a restart."""

    watch: jobs.Watch
    progress: Progress = field(default_factory=lambda: Progress(attempt=-1))
    shown: str = ""
    place: int | None = None
    """How many come before its job, as the message shows it; None: it shows something else."""
    due: float = 0.0
    seen: float = 0.0
    """When it was last looked after."""
    task: asyncio.Task[None] | None = None
    over: bool = False

    @property
    def busy(self) -> bool:
        """It is looked after at this moment."""
        return self.task is not None and not self.task.done()


class Watching(commands.Cog):
    """Follows trainings in messages."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot
        self.app = bot.app
        self._views: dict[int, View] = {}

    async def cog_load(self) -> None:
        """Take up what an earlier process left untold; there is no difference between that and what is asked for later."""
        self._look.start()

    async def cog_unload(self) -> None:
        """Stop looking; the rows stay."""
        self._look.cancel()
        running = [view.task for view in self._views.values() if view.task and not view.task.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    @tasks.loop(seconds=LOOK_SECONDS)
    async def _look(self) -> None:
        """Start an edit of every message that is due for one; one that Discord holds up does not hold up the others."""
        try:
            watches, places = await self.app.store.read(_watched)
        except Exception:
            log.exception("the messages that follow trainings cannot be read")
            return
        ready = [view for watch in watches.values() if self._is_due(view := self._views.setdefault(watch.id, View(watch)), places)]
        room = AT_ONCE - sum(view.busy for view in self._views.values())
        for view in _in_turn(ready, places)[: max(0, room)]:
            view.seen = time.monotonic()
            view.task = asyncio.create_task(self._refresh(view, before=places.get(view.watch.job, 0)))
        for number, view in list(self._views.items()):
            if number in watches or view.busy:
                continue
            if view.over:
                del self._views[number]
            elif knows(self.bot, view.watch.channel):  # the row went with its voice, or with all that is stored of whoever asked
                view.over = True
                view.task = asyncio.create_task(self._close(view))

    async def _close(self, view: View) -> None:
        """Say in a message that is followed no longer what became of its training."""
        try:
            await self.app.store.read(jobs.get, view.watch.job)
            words = "Whoever asked for this training had his data erased. It goes on: see `/queue`."
        except NotStoredError:
            words = "This training was forgotten, with everything of its account."
        except Exception:
            log.exception("what became of a training cannot be read", job=view.watch.job)
            view.over = False  # it is looked at again
            return
        await self._refresh(view, words)

    def _is_due(self, view: View, places: Mapping[int, int]) -> bool:
        """Whether a message may be edited now, and may have something new to show; `places`: the queue."""
        if view.over or view.busy or view.due > time.monotonic() or not knows(self.bot, view.watch.channel):
            return False
        place = places.get(view.watch.job)
        return place is None or place != view.place

    async def _refresh(self, view: View, last_words: str | None = None, before: int = 0) -> None:
        """Bring one message up to date. Only a message or a channel that is gone or closed ends this; an outage does not."""
        watch = view.watch
        try:
            await arrive(self.bot, guild_of(self.bot, watch.channel))
            if last_words is not None:
                await self._message(watch).edit(content=tr(last_words), view=None)
            else:
                await self._show(view, before)
        except NotStoredError:
            return  # forgotten between two looks: the next one sees it
        except Exception as error:
            view.due = time.monotonic() + EDIT_SECONDS
            if lost(error, job=watch.job, channel=watch.channel) and not view.over:
                await self._end(view)

    async def _show(self, view: View, before: int) -> None:
        job, now = await self.app.store.read(_state, view.watch.job, view.progress)
        if job.status.ended:
            await self._tell_end(view, job)
            return
        if now != view.progress and not await self._allowed(view.watch, [now.sample]):
            now.sample = ""
        view.progress = now
        text = progress.render(now, job, before)
        if text != view.shown:
            await self._message(view.watch).edit(content=text)
            view.shown = text
            view.due = time.monotonic() + EDIT_SECONDS
        view.place = before if job.status is jobs.Status.QUEUED else None

    async def _tell_end(self, view: View, job: jobs.Job) -> None:
        """Turn the message into the card, and tell whoever asked, and nobody else.

        The edit can be done twice without harm. The message cannot: its nonce makes Discord answer a second sending within
        minutes with the first, should this process die before the row says that it was told.
        """
        watch = view.watch
        if job.model is None:
            words = tr(
                f"The training of **{safe(called(job.voice))}** is over without a voice: {sentence(job.error or 'the log says why.')}"
            )
            await self._message(watch).edit(content=cut(words, MESSAGE), view=None)
        else:
            words = tr(f"**{safe(called(job.voice))}** is trained: `/generate` has it speak.")
            await self._show_model(watch, await self.app.store.read(models.get, job.model), words)
        await self.bot.get_partial_messageable(watch.channel).send(
            cut(f"<@{watch.member}> {words}", MESSAGE),
            reference=discord.MessageReference(message_id=watch.message, channel_id=watch.channel, fail_if_not_exists=False),
            allowed_mentions=discord.AllowedMentions(everyone=False, roles=False, users=[discord.Object(watch.member)], replied_user=False),
            nonce=f"told-{watch.id}-{watch.message}"[:25],
        )
        await self._end(view)

    async def _show_model(self, watch: jobs.Watch, model: models.Model, words: str) -> None:
        curve = await curve_file(self.app, model)
        document = await self.app.store.read(cards.told_card, model)
        document["samples"] = await self._allowed(watch, document["samples"])
        embed = render.card(document, curve=curve is not None)
        attachments = [file for file in (await said_file(model, document["samples"]), curve) if file]
        try:
            await self._message(watch).edit(content=words, embed=embed, attachments=attachments, view=buttons(watch.job))
        except discord.Forbidden:  # most likely no permission to attach files: the words alone may still be shown
            await self._message(watch).edit(content=words, view=buttons(watch.job))

    async def _end(self, view: View) -> None:
        view.over = True  # here at least, should the row not be written: better told twice after a restart than every five seconds
        try:
            await self.app.store.write(jobs.mark_told, view.watch.id)
        except Exception:
            log.exception("that an end was told could not be written down", job=view.watch.job)

    async def _allowed(self, watch: jobs.Watch, lines: list[str]) -> list[str]:
        """Return those lines that may be said in the server where a message stands."""
        guild = guild_of(self.bot, watch.channel)
        return await self.app.speaking.allowed(lines, guild.id if guild else None)

    def _message(self, watch: jobs.Watch) -> discord.PartialMessage:
        return self.bot.get_partial_messageable(watch.channel).get_partial_message(watch.message)


def _in_turn(views: Iterable[View], places: Mapping[int, int]) -> list[View]:
    """Return messages in the order in which they are looked after: by turns one whose job runs or has ended, and one whose job waits.

    Of each kind those first that nobody looked after for longest. So neither a thousand that wait nor a batch that runs is in the way.
    """
    longest = sorted(views, key=lambda view: view.seen)
    at_work, waiting = ([view for view in longest if (view.watch.job in places) is waits] for waits in (False, True))
    return [view for pair in zip_longest(at_work, waiting) for view in pair if view]


def _watched(db: Database) -> tuple[dict[int, jobs.Watch], dict[int, int]]:
    """Return the messages whose job's end was not shown yet, by their number, and the queue: its order costs as much for one as for all."""
    watches = {watch.id: watch for watch in jobs.untold_watches(db)}
    return watches, jobs.positions(db) if watches else {}


def _state(db: Database, job_id: int, known: Progress) -> tuple[jobs.Job, Progress]:
    """Return a job, and how its run stands."""
    job = jobs.get(db, job_id)
    return job, known if job.status.ended else caught_up(db, job, known)
