"""The client: what it listens to, its commands and their registration, and the one handler of errors."""

import asyncio
import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import discord
import structlog
from discord import app_commands
from discord.ext import commands

from bot.app import Mynah
from bot.faces.discord.about import About, EraseButton
from bot.faces.discord.admitting import admit, arrive, closed, heeds, open_here
from bot.faces.discord.approving import Approving, PostButton
from bot.faces.discord.asking import GroundSelect, TrainButton
from bot.faces.discord.carding import Carding
from bot.faces.discord.configuring import Configuring, SettingMenu, ValueMenu
from bot.faces.discord.context import Context
from bot.faces.discord.conversing import AnswerAs, Conversing
from bot.faces.discord.delivering import Delivering
from bot.faces.discord.editing import EditButton, Editing
from bot.faces.discord.ending import VoiceButton
from bot.faces.discord.exporting import Exporting
from bot.faces.discord.failures import explain
from bot.faces.discord.following import CancelButton
from bot.faces.discord.forgetting import ForgetButton, Forgetting
from bot.faces.discord.help import Help
from bot.faces.discord.importing import Importing
from bot.faces.discord.language import Translator, aside
from bot.faces.discord.listing import PageButton
from bot.faces.discord.managing import VersionMenu, VoiceRolesMenu
from bot.faces.discord.planning import Planning
from bot.faces.discord.playing import GuessButton, Playing, VoteButton
from bot.faces.discord.refereeing import Refereeing
from bot.faces.discord.saying import SayButton
from bot.faces.discord.speaking import Speaking
from bot.faces.discord.tracing import tracing
from bot.faces.discord.training import Training
from bot.faces.discord.uploads import download
from bot.faces.discord.watching import Watching
from bot.vitals import VITALS

SCOPES = ("bot", "applications.commands")
PERMISSIONS = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    embed_links=True,
    attach_files=True,
    read_message_history=True,  # what a reply replies to is context
)
"""What a server is asked for; docs/discord.md names each."""
COGS = (
    Training,
    Importing,
    Watching,
    Speaking,
    Conversing,
    Playing,
    Refereeing,
    Approving,
    Carding,
    Delivering,
    Planning,
    Exporting,
    Forgetting,
    Configuring,
    Editing,
    About,
    Help,
)
BUTTONS = (
    AnswerAs,
    CancelButton,
    EditButton,
    EraseButton,
    ForgetButton,
    GroundSelect,
    GuessButton,
    PageButton,
    PostButton,
    SayButton,
    SettingMenu,
    TrainButton,
    ValueMenu,
    VersionMenu,
    VoiceButton,
    VoiceRolesMenu,
    VoteButton,
)
"""Buttons and menus that are known by their ids, whichever process put them up."""
CLOSE_SECONDS = 3.0  # a gateway that does not answer the farewell would hold the end up for half a minute
log = structlog.get_logger()


class MynahBot(commands.Bot):
    """One connection to Discord. A new one is made for each attempt to connect, because the library's cannot be used again."""

    def __init__(self, app: Mynah, *, prefix_commands: bool) -> None:
        super().__init__(
            command_prefix=app.settings.discord.prefix,
            intents=_intents(prefix_commands=prefix_commands),
            allowed_mentions=discord.AllowedMentions.none(),
            help_command=None,
            case_insensitive=True,
            tree_cls=Tree,
            # Contexts are declared for Discord's menus, and checked in code where a command is for servers alone.
            allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=False),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
            http_trace=tracing(),
        )
        self.app = app
        self.prefix_commands = prefix_commands
        self.download = download
        self.was_ready = False
        self._busy: set[asyncio.Task[Any]] = set()

    async def setup_hook(self) -> None:
        """Add the commands, and register them where they changed."""
        self.add_dynamic_items(*BUTTONS)
        await self.tree.set_translator(Translator())
        for cog in COGS:
            await self.add_cog(cog(self))
        try:
            await self._register_commands()
        except discord.HTTPException as error:  # prefix commands still work, and the next start tries again
            log.error("the slash commands could not be registered: the next start tries again", error=str(error))  # noqa: TRY400

    async def _register_commands(self) -> None:
        """Send the slash commands to Discord if they are not the ones sent last.

        Discord grants few registrations a day, and each may take the commands away for a while. What was sent is no part of
        what Mynah remembers, only of this folder and this application: so its hash lies in a file, not in the database, and
        removing that file does nothing worse than send them once more.
        """
        translator = Translator()
        ordered = sorted(self.tree.get_commands(), key=lambda command: command.name)
        payload = [await command.get_translated_payload(self.tree, translator) for command in ordered]
        digest = hashlib.sha256(json.dumps([self.application_id, payload], sort_keys=True).encode()).hexdigest()
        file = self.app.settings.data_dir / "discord-commands.sha256"
        known = await asyncio.to_thread(lambda: file.read_text("ascii").strip() if file.is_file() else "")
        if known != digest:
            await self.tree.sync()
            await asyncio.to_thread(file.write_text, digest + "\n", "ascii")
            log.info("slash commands registered", commands=len(payload))

    # ------------------------------------------------------------------ events

    async def on_ready(self) -> None:
        """Say so in the log; this comes again after each new session."""
        self.was_ready = True
        self.session(up=True)
        log.info("connected to Discord", user=str(self.user), servers=len(self.guilds))
        if not self.guilds:
            url = discord.utils.oauth_url(self.application_id or 0, permissions=PERMISSIONS, scopes=SCOPES)
            log.info("it is in no server yet: open this link and choose one", url=url)

    async def on_resumed(self) -> None:
        """Take note that a session goes on."""
        self.session(up=True)

    async def on_disconnect(self) -> None:
        """Take note that the connection is gone."""
        self.session(up=False)

    def session(self, *, up: bool) -> None:
        """Take note that the only connection is there, or gone."""
        VITALS.gateway(up=up)

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        """Begin to count the time until its acknowledgement."""
        VITALS.interaction_arrived(str(interaction.id))

    async def on_message(self, message: discord.Message) -> None:
        """Obey prefix commands of people, where a server's settings let them be."""
        if not heeds(self, message):
            return
        self.hold_end()
        context = await self.get_context(message)
        if context.command is None:  # the prefix is other bots' too
            return
        settings = await arrive(self, message.guild)
        name = context.command.name
        if not settings.prefix_commands and name != "help":  # somebody must say why nothing happens
            return
        if open_here(settings, message.channel) or name == "settings":
            await self.invoke(context)
        else:
            await context.refuse(closed(settings))

    async def get_context(self, origin: discord.Message | discord.Interaction, /, *, cls: Any = Context) -> Any:
        """Make contexts of Mynah's own kind, for both sorts of command."""
        return await super().get_context(origin, cls=cls)

    async def on_command_error(self, context: Any, error: commands.CommandError, /) -> None:
        """Tell the person, once: every error of a command, slash or prefix, arrives here."""
        aside()
        command = context.command
        usage = f"`{context.clean_prefix}{command.qualified_name} {command.signature}".rstrip() + "`"
        await context.refuse(explain(error, usage, command=command.qualified_name, user=context.author.id))

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        """Log a defect outside any command."""
        del args, kwargs
        log.error("an event failed", event_name=event_method, exc_info=True)  # noqa: LOG014 - called while it is handled

    # --------------------------------------------------------------------- end

    def hold_end(self) -> None:
        """Count the current task among those that the end waits for: the library forgets what it starts."""
        if task := asyncio.current_task():
            self._busy.add(task)
            task.add_done_callback(self._busy.discard)

    async def fetch(self, attached: discord.Attachment) -> Path:
        """Stream a file that a member attached into a folder of its own, and return its path.

        Raises:
            BadRequestError: it is larger than was announced, or cannot be fetched; nothing is left of it.
        """
        settings = self.app.settings
        return await self.download(attached.url, attached.filename, settings.data_dir / "uploads", settings.discord.upload_mib)

    async def close(self) -> None:
        """End: commands under way first, then the connection; within seconds, whatever the other side does."""
        busy = self._busy - {asyncio.current_task()}
        # The library waits some seconds for servers before it says that it is ready, and does not stop waiting when it is closed.
        for ready in (getattr(self._connection, "_ready_task", None), *getattr(self._connection, "_ready_tasks", {}).values()):
            if ready is not None:
                ready.cancel()
        for task in busy:
            task.cancel()
        if busy:
            await asyncio.wait(busy, timeout=CLOSE_SECONDS)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await super().close()
        except TimeoutError:
            with suppress(aiohttp.ClientError, OSError):
                await self.http.close()


class Tree(app_commands.CommandTree[MynahBot]):
    """The slash commands."""

    async def interaction_check(self, interaction: discord.Interaction[MynahBot], /) -> bool:
        """Let through who may use Mynah here, and make sure that the end waits for it."""
        settings = isinstance(interaction.command, app_commands.Command) and interaction.command.name == "settings"
        return await admit(interaction, anywhere=settings)

    async def on_error(self, interaction: discord.Interaction[MynahBot], error: app_commands.AppCommandError, /) -> None:
        """Tell what went wrong outside a command proper: an unknown one, or an autocompletion, which has no words."""
        name = interaction.command.qualified_name if interaction.command else "?"
        words = explain(error, command=name, user=interaction.user.id)
        if interaction.type is not discord.InteractionType.autocomplete and not interaction.response.is_done():
            with suppress(discord.HTTPException):
                await interaction.response.send_message(words, ephemeral=True)


def _intents(*, prefix_commands: bool) -> discord.Intents:
    """Ask for servers and messages; their words are told where they mention Mynah or are private, others only if the portal grants it."""
    return discord.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=prefix_commands)
