"""The form under a voice's card in which moderators give it a name in their server, and a prompt for when nobody gives one."""

import re
from typing import TYPE_CHECKING, Any

import discord
from discord.ext import commands
from sqlite_utils import Database

from bot.errors import BadRequestError
from bot.faces.discord.buttons import Pressed
from bot.faces.discord.context import moderated, signature
from bot.faces.discord.forms import take_in
from bot.faces.discord.language import aloud, tr
from bot.faces.discord.text import safe
from bot.services.folding import without_marks
from bot.services.speaking import MAX_PROMPT
from data import called as stored
from data import models
from data.called import Called
from data.cleaning import without_controls

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

REFUSAL = "Editing a voice is for members with the permission Manage Server."
MAX_NAME = 60
ABOUT = 100  # characters that Discord takes below a field's label
_FORM = re.compile(r"mynah:edited:(?P<model>\d{1,18})")


class EditButton(Pressed, discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"mynah:edit:(?P<model>\d{1,18})"):
    """The button that opens the form; its id holds a model of the voice, whose name may be too long for it."""

    def __init__(self, model: int) -> None:
        super().__init__(discord.ui.Button(label=tr("Edit"), custom_id=f"mynah:edit:{model}"))
        self.model = model

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Open the form, filled in with what is set."""
        guild = moderated(interaction, REFUSAL)
        voice, now = await bot.app.store.read(_set, guild.id, self.model)
        await interaction.response.send_modal(_form(self.model, voice, now))


class Editing(commands.Cog):
    """Takes the form in."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot

    @commands.Cog.listener()
    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Set what was typed, and say so over the card."""
        await take_in(interaction, _FORM, self._take)

    async def _take(self, interaction: discord.Interaction[Any], form: re.Match[str], typed: dict[str, str]) -> None:
        guild = moderated(interaction, REFUSAL)
        wanted = _wanted(typed)
        voice, before = await self.bot.app.store.write(_edit, guild.id, int(form["model"]), wanted, signature(interaction.user))
        aloud()
        await interaction.response.edit_message(content=_said(voice, before, wanted, safe(interaction.user.display_name, 60)))


def _form(model: int, voice: str, now: Called) -> discord.ui.Modal:
    form = discord.ui.Modal(title=tr("Edit a voice"), custom_id=f"mynah:edited:{model}")
    name: discord.ui.TextInput[Any] = discord.ui.TextInput(custom_id="name", required=False, max_length=MAX_NAME, default=now.name or None)
    about = tr(f"Empty: {voice}")[:ABOUT]
    form.add_item(discord.ui.Label(text=tr("What it is called here"), description=about, component=name))
    prompt: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id="prompt", required=False, max_length=MAX_PROMPT, default=now.prompt or None, style=discord.TextStyle.long
    )
    about = tr("What its lines begin with where no prompt is given")
    form.add_item(discord.ui.Label(text=tr("Default prompt"), description=about, component=prompt))
    return form


def _wanted(typed: dict[str, str]) -> Called:
    """Return what was typed into the form.

    Raises:
        BadRequestError: it is too long.
    """
    # Such marks would turn what is shown after the name, and part it from what it looks like.
    typed = typed | {"name": without_marks(typed.get("name", ""))}
    name, prompt = (without_controls(" ".join(typed.get(field, "").split())) for field in ("name", "prompt"))
    if len(name) > MAX_NAME:
        raise BadRequestError(f"A voice's name in a server has at most {MAX_NAME} characters; this one has {len(name)}.")
    if len(prompt) > MAX_PROMPT:
        raise BadRequestError(f"A prompt has at most {MAX_PROMPT} characters; this one has {len(prompt)}.")
    return Called(name, prompt)


def _set(db: Database, server: int, model: int) -> tuple[str, Called]:
    voice = models.get(db, model).voice
    return voice, stored.get(db, server, voice)


def _edit(db: Database, server: int, model: int, wanted: Called, by: str) -> tuple[str, Called]:
    """Set what is set of a voice in a server; return its name, and what was set before.

    Raises:
        BadRequestError: another voice has this name there.
        NotStoredError: the voice was forgotten meanwhile.
    """
    voice, before = _set(db, server, model)
    if wanted.name and (other := stored.bearer(db, server, wanted.name)) not in (None, voice):
        raise BadRequestError(f"That is the name of the voice {other}: choose another.")
    stored.put(db, server, voice, wanted, by)
    return voice, before


def _said(voice: str, before: Called, now: Called, who: str) -> str:
    """Return what was changed; not the prompt itself, which is judged only where it is used."""
    lines = []
    if now.name != before.name:
        lines.append(tr(f"**{safe(voice)}** is called **{safe(now.name or voice)}** in this server from now on, as {who} chose."))
    if now.prompt != before.prompt:
        what = "another prompt" if now.prompt else "nothing"
        lines.append(tr(f"Where no prompt is given, **{safe(now.name or voice)}** begins with {what} from now on, as {who} chose."))
    return "\n".join(lines) or tr("Nothing was changed.")
