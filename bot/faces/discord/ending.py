"""The buttons under a training that made a voice: have it speak, train it again, delete it."""

from typing import TYPE_CHECKING, Any

import discord

from bot.errors import BadRequestError
from bot.faces.discord.admitting import need_role, need_voice, settings_here
from bot.faces.discord.asking import question
from bot.faces.discord.buttons import Pressed
from bot.faces.discord.context import moderates
from bot.faces.discord.forgetting import question as forget_question
from bot.faces.discord.language import tr
from bot.faces.discord.naming import default_prompt
from bot.faces.discord.saying import answer_with, lines_for, say
from data import askings, jobs
from data.askings import Asking

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

LABELS = {"generate": "Generate", "retrain": "Retrain", "delete": "Delete"}
STYLES = {"generate": discord.ButtonStyle.primary, "retrain": discord.ButtonStyle.secondary, "delete": discord.ButtonStyle.danger}


def buttons(job: int) -> discord.ui.View:
    """Return the buttons under the end of a job."""
    view = discord.ui.View(timeout=None)
    for choice in LABELS:
        view.add_item(VoiceButton(choice, job))
    return view


class VoiceButton(
    Pressed, discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"mynah:voice:(?P<choice>generate|retrain|delete):(?P<job>\d{1,18})"
):
    """One of them."""

    def __init__(self, choice: str, job: int) -> None:
        super().__init__(discord.ui.Button(label=tr(LABELS[choice]), style=STYLES[choice], custom_id=f"mynah:voice:{choice}:{job}"))
        self.choice = choice
        self.job = job

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Do what it says; what is asked back is asked in private."""
        app = bot.app
        if self.choice == "generate":
            await interaction.response.defer(thinking=True)
            voice = (await app.store.read(jobs.get, self.job)).voice
            await need_voice(bot, interaction.user, interaction.guild, voice)
            prompt = await default_prompt(app, interaction.guild, voice)
            spoken = await lines_for(app, voice, interaction.user, interaction.guild, prompt=prompt)
            await say(bot, interaction.guild, answer_with(interaction), spoken, attach=interaction.app_permissions.attach_files)
            return
        await interaction.response.defer(ephemeral=True, thinking=True)
        interaction.extras["answered"] = True  # what is private is refused in private
        handles = (await app.store.read(jobs.get, self.job)).voice.split("-")
        if self.choice == "retrain":
            roles = (await settings_here(bot, interaction.guild)).train_roles
            need_role(interaction.user, roles, "Training", moderates=moderates(interaction))
            asking = Asking(interaction.user.id, " ".join(handles))
            content, view = await question(app, await app.store.write(askings.ask, asking), asking, interaction.user)
        elif len(handles) > 1:
            raise BadRequestError("A joint voice goes with one of its accounts: `/forget` deletes an account with all that was made of it.")
        else:
            content, view = await forget_question(app, handles[0], interaction.user, moderates=moderates(interaction))
        await interaction.edit_original_response(content=content, view=view)
