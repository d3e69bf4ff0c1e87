"""Cards of posts: one loop over their rows puts one up for each post that waits for a person, and follows it to its end."""

import time
from typing import TYPE_CHECKING

import discord
import structlog
from discord.ext import commands, tasks
from sqlite_utils import Database

from bot.faces.discord import render_posts
from bot.faces.discord.admitting import arrive, guild_of, knows
from bot.faces.discord.approving import buttons
from bot.faces.discord.failures import lost
from bot.faces.discord.language import tr
from bot.services.deciding import Shown, shown_of
from data import post_cards
from data.outbox import Post, State
from data.post_cards import PostCard

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

LOOK_SECONDS = 1.0
AT_ONCE = 5  # messages in a look, which is what Discord takes in five seconds: however many wait, a decision shows soon
PAUSE_SECONDS = 5.0  # after an outage
CLOSED_SECONDS = 60.0  # after Discord refused a card, as where the bot may not write: somebody has to mend that
log = structlog.get_logger()


class Carding(commands.Cog):
    """Shows posts to whoever decides about them. All stand in one channel, so one that Discord holds up may hold up the others."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot
        self.app = bot.app
        self._messages: dict[int, tuple[str, Shown | None]] = {}
        """By card what its message shows, with the card's state; made anew after a restart, by an edit of each."""
        self._sent: dict[int, int] = {}
        """By card the message that was put up and could not be written down yet, as on a full disk."""
        self._due: dict[int, float] = {}
        """By card when it may be tried again."""

    async def cog_load(self) -> None:
        """Take up the cards that an earlier process left."""
        self.app.posting.tell = self._tell
        self._look.start()

    async def cog_unload(self) -> None:
        """Stop looking; the rows stay."""
        if self.app.posting.tell == self._tell:
            self.app.posting.tell = None
        self._look.cancel()

    async def _tell(self, post: Post, why: str) -> None:
        """Put up the card of a post that waits for a person anew, because nobody sees an edit of one far above."""
        del why  # the card says it
        if channel := self.app.settings.x.approval_channel:
            await self.app.store.write(post_cards.owe, post.id, channel)

    @tasks.loop(seconds=LOOK_SECONDS)
    async def _look(self) -> None:
        """Bring every message up to date, one after another."""
        channel = self.app.settings.x.approval_channel
        try:
            # Looked at before it is written, so that an empty outbox costs no transaction.
            if await self.app.store.read(_unsettled, channel):
                await self.app.store.write(post_cards.settle, channel)
            followed = await self.app.store.read(_followed)
            behind = [(card, shown) for card, shown in followed if self._free(card) and self._messages.get(card.id) != (card.state, shown)]
            for card, shown in sorted(behind, key=self._turn)[:AT_ONCE]:
                await self._bring_up_to_date(card, shown)
        except Exception:
            log.exception("the cards of posts cannot be followed")
            return
        there = {card.id for card, _ in followed}
        self._messages = {number: shows for number, shows in self._messages.items() if number in there}
        self._sent = {number: message for number, message in self._sent.items() if number in there}
        self._due = {number: due for number, due in self._due.items() if number in there}

    def _free(self, card: PostCard) -> bool:
        return self._due.get(card.id, 0.0) <= time.monotonic() and knows(self.bot, card.channel)

    def _turn(self, found: tuple[PostCard, Shown | None]) -> int:
        """Return when a card's turn is: first what was decided just now, then what nobody sees yet, and what a restart left last."""
        card, _ = found
        return 0 if card.id in self._messages else 1 if card.message is None else 2

    async def _bring_up_to_date(self, card: PostCard, shown: Shown | None) -> None:
        """Put up or edit one message. What is gone or shows its end is followed no more; an outage is waited for."""
        over = shown is None or shown.post.status in (State.POSTED, State.REJECTED)
        try:
            await self._show(card, shown)
        except Exception as error:
            gone = lost(error, card=card.id, channel=card.channel)
            # A moderator who closes a channel may open it again; a server that the bot has left stays closed.
            closed = isinstance(error, discord.Forbidden) and self.bot.get_channel(card.channel) is not None
            if not gone or closed or (card.message is None and shown is not None):
                self._due[card.id] = time.monotonic() + (CLOSED_SECONDS if gone else PAUSE_SECONDS)
                return
            over = True
        self._messages[card.id] = (card.state, shown)
        if over:
            await self.app.store.write(post_cards.drop if shown is None else post_cards.close, card.id)

    async def _show(self, card: PostCard, shown: Shown | None) -> None:
        guild = guild_of(self.bot, card.channel)
        await arrive(self.bot, guild)
        server = guild.id if guild else 0
        channel = self.bot.get_partial_messageable(card.channel)
        message = card.message or self._sent.get(card.id)
        if shown is None:
            if message is not None:
                await channel.get_partial_message(message).edit(content=self._last_words(card), view=None)
            return
        if message is not None:
            await channel.get_partial_message(message).edit(content=render_posts.card(shown, server), view=buttons(shown))
        else:
            # Discord answers a second sending within minutes with the first, should this process die before the row holds the message.
            nonce = f"card-{card.id}-{card.post}"[:25]
            sent = await channel.send(render_posts.card(shown, server), view=buttons(shown) or discord.utils.MISSING, nonce=nonce)
            message = self._sent[card.id] = sent.id
        if card.message is None:
            await self.app.store.write(post_cards.put_up, card.id, message)

    def _last_words(self, card: PostCard) -> str:
        if card.post is None:
            return tr("This post was forgotten, with everything of its voice.")
        here = card.channel == self.app.settings.x.approval_channel
        return tr(f"Post {card.post} has a newer card below." if here else f"Post {card.post} is not decided here any more.")


def _unsettled(db: Database, channel: int) -> bool:
    return bool(post_cards.owed(db, channel) or post_cards.elsewhere(db, channel))


def _followed(db: Database) -> list[tuple[PostCard, Shown | None]]:
    """Return the cards, each with what it is to show; None: nothing of a post any more."""
    cards = post_cards.followed(db)
    return [(card, None if card.post is None or card.state == "replaced" else shown_of(db, card.post)) for card in cards]
