"""Lines in a message: shown within Discord's limits, with buttons that have the voice say more."""

import io
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import discord

from bot.app import Mynah
from bot.faces.discord import render
from bot.faces.discord.admitting import decides, need_approver, need_voice
from bot.faces.discord.buttons import Pressed
from bot.faces.discord.context import origin, signature
from bot.faces.discord.language import aloud, tr
from bot.faces.discord.text import MESSAGE, cut, units
from bot.services.speaking import Spoken
from data import speech, talk

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

OPENING = 3  # words of a line that "More like this" begins with
LABELS = {"again": "Again", "more": "More like this", "post": "Send to X"}
Send = Callable[..., Awaitable[discord.Message]]
"""Takes content, files and view, and returns the message that shows them."""


async def lines_for(app: Mynah, voice: str, user: discord.abc.User, guild: discord.Guild | None, **wanted: Any) -> Spoken:
    """Have a voice say what a member wants, as `Speaking.request` takes it; whether he may use it is asked before (`need_voice`).

    Raises:
        MynahError: it says nothing; the text says why.
    """
    request = await app.speaking.request(voice, by=signature(user), origin=origin(user, guild), **wanted)
    return await app.speaking.answer(request.id)


async def say(bot: "MynahBot", guild: discord.Guild | None, send: Send, spoken: Spoken, *, attach: bool) -> None:
    """Send lines to where members of a server see them, and remember which message shows them.

    What a message cannot hold comes as a file; `attach`: files may be sent here, else it is left out.
    """
    request, texts = spoken.request, [line.text for line in spoken.lines]
    words = render.lines(request.voice, texts)
    files = []
    if units(words) > MESSAGE and attach:
        files = [discord.File(io.BytesIO("\n\n".join(texts).encode("utf-8", "replace")), f"{request.voice[:60]}.txt")]
    aloud()
    message = await send(cut(words, MESSAGE), files=files, view=_buttons(request, posts=bot.app.posting.sends and decides(bot, guild)))
    await bot.app.store.write(talk.remember, message.id, message.channel.id, request.id)


def answer_with(interaction: discord.Interaction[Any]) -> Send:
    """Return what sends lines as the answer to an interaction that was deferred."""

    async def send(content: str, *, files: Sequence[discord.File], view: discord.ui.View) -> discord.Message:
        interaction.extras["answered"] = True
        return await interaction.edit_original_response(content=content, attachments=files, view=view)

    return send


def _buttons(request: speech.Request, *, posts: bool) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for choice in ("again", "more", "post") if posts else ("again", "more"):
        view.add_item(SayButton(choice, request.id))
    return view


class SayButton(
    Pressed, discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"mynah:(?P<choice>again|more|post):(?P<request>\d{1,18})"
):
    """One of the buttons under lines."""

    def __init__(self, choice: str, request: int) -> None:
        style = discord.ButtonStyle.primary if choice == "again" else discord.ButtonStyle.secondary
        super().__init__(discord.ui.Button(label=tr(LABELS[choice]), style=style, custom_id=f"mynah:{choice}:{request}"))
        self.choice = choice
        self.request = request

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Have the voice say more, or lay its best line into the outbox."""
        app = bot.app
        if self.choice == "post":
            await self._post(bot, interaction)
            return
        await interaction.response.defer(thinking=True)
        asked = await app.store.read(speech.get, self.request)
        await need_voice(bot, interaction.user, interaction.guild, asked.voice)
        prompt = asked.prompt if self.choice == "again" else " ".join((await self._said(app))[0].text.split()[:OPENING])
        spoken = await lines_for(
            app,
            asked.voice,
            interaction.user,
            interaction.guild,
            author=asked.author,
            message=asked.message,
            prompt=prompt,
            count=asked.count,
            temperature=asked.sampling["temperature"],
        )
        await say(bot, interaction.guild, answer_with(interaction), spoken, attach=interaction.app_permissions.attach_files)

    async def _post(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        app = bot.app
        await interaction.response.defer(ephemeral=True, thinking=True)
        interaction.extras["answered"] = True  # what is private is told in private
        await need_approver(bot, interaction)
        asked = await app.store.read(speech.get, self.request)
        post = await app.posting.draft(asked.voice, None, (await self._said(app))[0].text, signature(interaction.user))
        await interaction.edit_original_response(content=tr(f"Post {post.id} waits for a yes in <#{app.settings.x.approval_channel}>."))

    async def _said(self, app: Mynah) -> list[speech.Generation]:
        """Return the lines that were shown, the best first."""
        lines = [line for line in await app.store.read(speech.generations, self.request) if line.chosen]
        return sorted(lines, key=lambda line: -line.score)
