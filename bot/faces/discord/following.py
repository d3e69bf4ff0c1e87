"""The message that follows a training: put up where it was asked for, with a button that cancels it."""

from typing import TYPE_CHECKING, Any, cast

import discord

from bot.app import Mynah
from bot.errors import BadRequestError
from bot.faces.discord.buttons import Pressed, as_seen
from bot.faces.discord.context import asked_by, moderates, signature
from bot.faces.discord.language import aloud, aside, tr
from bot.faces.discord.naming import called
from bot.faces.discord.text import safe
from bot.services.training import Requested
from data import jobs

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot


async def follow(app: Mynah, wanted: Requested, interaction: discord.Interaction[Any]) -> None:
    """Put it up in the place of a public question, or beside a private one."""
    voice, job = safe(called(wanted.job.voice)), wanted.job
    if job.model is not None:
        as_seen(interaction)
        content = tr(f"**{voice}** is trained on exactly these posts already: `/show {job.voice}` shows its card.")
        await interaction.edit_original_response(content=content, view=None)
        return
    aloud()
    words = tr(f"**{voice}** · job {job.id} · is queued")
    view = discord.ui.View(timeout=None)
    view.add_item(CancelButton(job.id))
    aside()
    # The row comes before the words that promise it: from it on the message is the watchers', also after a restart.
    if interaction.message is not None and not interaction.message.flags.ephemeral:
        asked = interaction.message
        await app.store.write(jobs.add_watch, job.id, asked.channel.id, asked.id, interaction.user.id)
        await interaction.edit_original_response(content=words, view=view)
    else:
        # The bot's own, which can be edited for good: an answer to an interaction is out of reach after 15 minutes.
        message = await cast("discord.abc.Messageable", interaction.channel).send(words, view=view)
        await app.store.write(jobs.add_watch, job.id, message.channel.id, message.id, interaction.user.id)
        begun = "is queued" if wanted.new else "was asked for already"
        content = tr(f"The training of **{voice}** {begun}: {message.jump_url} shows how it goes.")
        await interaction.edit_original_response(content=content, view=None)


async def cancel(app: Mynah, number: int, user: discord.abc.User, *, moderates: bool) -> str:
    """Cancel a training for a member, and return what to say.

    Raises:
        NotStoredError: there is no such job.
        BadRequestError: it has ended, or somebody else asked for it.
    """
    found = await app.store.read(jobs.get, number)
    if not asked_by(found, user) and not moderates:
        raise BadRequestError(f"Only who asked for job {number} may cancel it, or a member with the permission Manage Server.")
    stopped = await app.training.cancel(number, by=signature(user))
    what = f"is {stopped.status}" if stopped.status.ended else "is being stopped"
    return tr(f"Job {number}, **{safe(called(stopped.voice))}**, {what}.")


class CancelButton(Pressed, discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"mynah:cancel:(?P<job>\d{1,18})"):
    """The button under a training that goes on."""

    def __init__(self, job: int) -> None:
        super().__init__(discord.ui.Button(label=tr("Cancel"), style=discord.ButtonStyle.danger, custom_id=f"mynah:cancel:{job}"))
        self.job = job

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Cancel the training, for whoever asked for it and for moderators; the message's own edits tell the rest."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        interaction.extras["answered"] = True  # what is private is refused in private
        await interaction.edit_original_response(
            content=await cancel(bot.app, self.job, interaction.user, moderates=moderates(interaction))
        )
