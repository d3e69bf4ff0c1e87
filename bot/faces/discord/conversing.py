"""Answers without a command: to a message chosen in its menu, to replies and mentions, and in a channel that has a voice."""

import random
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import discord
import structlog
from discord import app_commands
from discord.ext import commands

from bot.errors import BadRequestError, MynahError, NotStoredError
from bot.faces.discord.admitting import arrive, blocked, heeds, need_voice, open_here
from bot.faces.discord.buttons import Pressed
from bot.faces.discord.context import Context, hybrid, signature
from bot.faces.discord.failures import explain
from bot.faces.discord.installs import for_moderators, portable
from bot.faces.discord.language import aside, tr
from bot.faces.discord.naming import both, called
from bot.faces.discord.saying import Send, lines_for, say
from bot.faces.discord.text import CHOICE, CHOICES, safe
from bot.faces.discord.webhooks import OVER, Webhooks
from bot.services.speaking import MAX_PROMPT
from data import models, outbox, speech, talk
from data.handles import voice_name

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

THREAD = 4  # messages before the one that is answered, which are context
KEPT = 1000  # messages whose menu was used; their text is known until so many others came
ONE_VOICE = "Reply to a line of the voice that is to answer, or have a moderator give this channel one: `/bind`."
log = structlog.get_logger()


class Conversing(commands.Cog):
    """Listens and answers."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot
        self.app = bot.app
        self.webhooks = Webhooks(bot)
        self._menu = app_commands.ContextMenu(name="Answer as…", callback=self.answer_as)
        self.texts: OrderedDict[int, str] = OrderedDict()
        """Of messages whose menu was used: without the message content intent they cannot be read again."""

    async def cog_load(self) -> None:
        """Add what stands in every message's menu."""
        self.bot.tree.add_command(self._menu)

    async def cog_unload(self) -> None:
        """Take it away again."""
        self.bot.tree.remove_command(self._menu.name, type=self._menu.type)

    @portable
    async def answer_as(self, interaction: discord.Interaction["MynahBot"], message: discord.Message) -> None:
        """Ask as whom a message is to be answered."""
        names = await self.app.store.read(models.names, "", CHOICES, longest=CHOICE)
        if not names:
            raise NotStoredError("No voice is trained yet: `mynah train` makes one.")
        self.texts[message.id] = message.clean_content
        while len(self.texts) > KEPT:
            self.texts.popitem(last=False)
        view = discord.ui.View(timeout=None)
        view.add_item(AnswerAs(message.id, names))
        await interaction.response.send_message(tr("Who is to answer that?"), view=view, ephemeral=True)

    @hybrid(usage="[voice] [webhook]")
    @for_moderators
    @app_commands.describe(
        voice="Who answers in this channel from now on; empty: nobody", webhook="Under its own name and picture, not as the bot"
    )
    async def bind(self, ctx: Context, voice: str = "", webhook: bool = False) -> None:
        """Have a voice answer in this channel, for good."""
        await ctx.begin("Looking for the voice …", private=True)
        if not ctx.moderates:
            raise BadRequestError("Giving a channel a voice is for members with the permission Manage Server.")
        if not voice:
            before = await self.app.store.write(talk.unbind, ctx.channel.id)
            await self.webhooks.remove(before)
            await ctx.answer(tr("Nobody answers here any more." if before else "Nobody answered here."))
            return
        ctx.need_to_speak()
        model = await self.app.store.read(models.current, voice_name(voice.split("-")))
        made = await self.webhooks.make(ctx.channel, model.voice) if webhook else None
        before = await self.app.store.write(talk.bind, ctx.channel.id, model.voice, signature(ctx.author), made.id if made else None)
        if made is None:
            await self.webhooks.remove(before)
        name = safe(called(model.voice))
        words = tr(f"**{name}** from now on answers whoever mentions me here or replies to it.")
        if made:
            words = tr(f"**{name}** from now on answers whoever mentions me here or replies to it, under its own name.")
        if made and not self.bot.prefix_commands:
            words += " " + tr("Without the Message Content intent Discord tells me nothing of a reply that does not mention me.")
        await ctx.answer(words)

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Answer a reply to a line, who mentions Mynah, and now and then anybody where a voice is bound; a command is none of this.

        Blocked users and closed channels get no word: a message cannot be answered in private.
        """
        if not heeds(self.bot, message) or (await self.bot.get_context(message)).command is not None:
            return
        self.bot.hold_end()
        settings = await arrive(self.bot, message.guild)
        if not open_here(settings, message.channel):
            return
        unasked = False
        try:
            # What does not mention Mynah has no words without the message content intent: a reply to a webhook's line mentions nobody.
            heard = self._addressed(message) or (message.reference and self.bot.prefix_commands)
            voice, author = await self._voice(message) if heard else ("", "")
            if not voice and not self._addressed(message):
                voice, unasked = await self._by_chance(message, settings.answer_chance), True
            await self._answer(message, voice, author)
        except MynahError as error:
            if unasked:  # as that a quota is used up: nobody waits for an answer
                log.info("a message is not answered by chance", error=str(error), user=message.author.id)
                return
            await message.reply(explain(error), mention_author=False)
        except Exception as error:
            words = explain(error, user=message.author.id)
            if not unasked:
                await message.reply(words, mention_author=False)

    async def _by_chance(self, message: discord.Message, chance: float) -> str:
        """Return the voice that is to answer a message which asked for none; mostly none.

        The answer counts against its writer's quota, so that a busy channel is no flood.
        """
        # Without the message content intent there are no words; what begins as a command is another bot's.
        words = message.content.strip()
        if not words or words.startswith(self.app.settings.discord.prefix) or random.random() >= chance:  # noqa: S311 - no secret
            return ""
        binding = await self.app.store.read(talk.bound, message.channel.id)
        return binding.voice if binding else ""

    def _addressed(self, message: discord.Message) -> bool:
        """Whether a message is private, or mentions Mynah, as a reply to it does unless its writer took that out."""
        return message.guild is None or self.bot.user in message.mentions

    async def _answer(self, message: discord.Message, voice: str, author: str) -> None:
        if not voice:
            if message.guild is not None and self._addressed(message):
                raise BadRequestError(ONE_VOICE)
            return
        await need_voice(self.bot, message.author, message.guild, voice)
        asked = await self._context(message)
        async with message.channel.typing():
            spoken = await lines_for(self.app, voice, message.author, message.guild, author=author, message=asked, count=1)
        await say(self.bot, message.guild, await self._sender(message, voice), spoken, attach=False)

    async def _sender(self, message: discord.Message, voice: str) -> Send:
        """Return what sends an answer to a message: the webhook that a bound voice speaks through, else a reply of the bot's."""
        binding = await self.app.store.read(talk.bound, message.channel.id)
        if binding is None or binding.webhook is None or binding.voice != voice:
            return _reply(message)
        return self.webhooks.sender(message.channel, binding, _reply(message))

    async def _voice(self, message: discord.Message) -> tuple[str, str]:
        """Return the voice that is meant, and as which of its accounts: that of the line replied to, else the channel's."""
        if (to := _replied_to(message)) and (line := await self._line(message.channel.id, to.message_id)):
            return line
        binding = await self.app.store.read(talk.bound, message.channel.id)
        return (binding.voice, "") if binding and self._addressed(message) else ("", "")

    async def _line(self, channel: int, message: int) -> tuple[str, str] | None:
        """Return the voice whose line or post a message shows, and as which of its accounts; None: it shows none."""
        request = await self.app.store.read(talk.request_of, message)
        if request is not None:
            line = await self.app.store.read(speech.get, request)
            return line.voice, line.author
        voice = await self.app.store.read(outbox.voice_of, channel, str(message))
        return (voice, "") if voice else None

    async def _context(self, message: discord.Message) -> str:
        """Return what is to be answered: the message, after what was said before it, as far back as there is room for."""
        lines = [_words(message, self.bot)]
        room = MAX_PROMPT - len(lines[0])
        async for before in self._before(message):
            words = _words(before, self.bot)
            room -= len(words) + 1
            if room < 0:
                break
            lines.insert(0, words)
        return "\n".join(line for line in lines if line)[-MAX_PROMPT:]

    async def _before(self, message: discord.Message) -> AsyncIterator[discord.Message]:
        """Yield what was said before a message, newest first: in its thread, else by what it replies to, one after another."""
        recent = await self._recent(message)
        for before in recent:
            if await self._is_talk(before):
                yield before
        if recent:
            return
        for _ in range(THREAD):
            if (to := _replied_to(message)) is None:
                break
            try:
                message = to.cached_message or await message.channel.fetch_message(to.message_id)
            except discord.HTTPException:  # deleted, or not to be read: what is there is context enough
                break
            if await self._is_command(message):
                break
            yield message

    async def _recent(self, message: discord.Message) -> list[discord.Message]:
        """Return the last messages of the thread that a message is in, newest first; none if it replies to an older one."""
        if not isinstance(message.channel, discord.Thread):
            return []
        try:
            recent = [before async for before in message.channel.history(limit=THREAD, before=message)]
        except discord.HTTPException:  # not to be read
            return []
        to = _replied_to(message)
        return recent if to is None or to.message_id in {before.id for before in recent} else []

    async def _is_talk(self, message: discord.Message) -> bool:
        """Whether a message of a thread is a line of a voice, or one that somebody who is listened to wrote, and no command."""
        if self.bot.user is not None and message.author.id == self.bot.user.id:
            return bool(await self._line(message.channel.id, message.id))
        return not (message.is_system() or blocked(self.bot, message.author) or await self._is_command(message))

    async def _is_command(self, message: discord.Message) -> bool:
        return not message.author.bot and (await self.bot.get_context(message)).command is not None


def _replied_to(message: discord.Message) -> Any:
    """Return the reference to the message that one replies to; None: it is no reply. What is forwarded or pinned is referred to as well."""
    return message.reference if message.type is discord.MessageType.reply else None


def _words(message: discord.Message, bot: "MynahBot") -> str:
    """Return what a message says, without the mention that summons and without the name over a line of a voice."""
    text = message.clean_content
    if bot.user is not None and message.author.id == bot.user.id:
        return OVER.sub("", text)
    me = message.guild.me if message.guild else bot.user
    return text.replace(f"@{me.display_name}", "").strip() if me else text


def _reply(message: discord.Message) -> Send:
    async def send(content: str, *, files: list[discord.File], view: discord.ui.View) -> discord.Message:
        del files
        return await message.reply(content, view=view, mention_author=False)

    return send


class AnswerAs(Pressed, discord.ui.DynamicItem[discord.ui.Select[Any]], template=r"mynah:as:(?P<message>\d{1,20})"):
    """The choice of who answers a message."""

    def __init__(self, message: int, names: list[str] | None = None) -> None:
        options = [discord.SelectOption(label=both(name)[:CHOICE], value=name) for name in names or ["…"]]
        super().__init__(discord.ui.Select(placeholder=tr("Choose a voice"), options=options, custom_id=f"mynah:as:{message}"))
        self.message = message

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Have the chosen voice answer, for all to see."""
        cog = bot.get_cog("Conversing")
        text = cog.texts.get(self.message, "") if isinstance(cog, Conversing) else ""
        if not text:
            raise BadRequestError("I have no words of that message: it has none, or I was restarted since. Choose it again.")
        (voice,) = self.item.values
        await need_voice(bot, interaction.user, interaction.guild, voice)
        await interaction.response.edit_message(content=tr(f"**{safe(called(voice))}** is thinking …"), view=None)
        interaction.extras["answered"] = True

        async def send(content: str, *, files: list[discord.File], view: discord.ui.View) -> discord.Message:
            del files
            return await interaction.followup.send(content, view=view, wait=True)

        try:
            spoken = await lines_for(bot.app, voice, interaction.user, interaction.guild, message=text[-MAX_PROMPT:], count=1)
            await say(bot, interaction.guild, send, spoken, attach=False)
        except Exception as error:
            aside()
            await interaction.edit_original_response(content=explain(error, button=type(self).__name__, user=interaction.user.id))
            return
        await interaction.delete_original_response()
