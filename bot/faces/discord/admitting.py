"""Who may use Mynah where: the operator's blocked users, and what the moderators of a server set."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import discord
import structlog
from sqlite_utils import Database

from bot.errors import BadRequestError
from bot.faces.discord.context import Context, moderated, moderates, refuse
from bot.faces.discord.failures import explain
from bot.faces.discord.installs import is_member
from bot.faces.discord.language import answer_in, tr
from bot.faces.discord.naming import call_them, called
from data import called as stored
from data import servers
from data.handles import voice_name

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

NAMED = 5  # channels, in a refusal


def blocked(bot: "MynahBot", user: discord.abc.User) -> bool:
    """Whether the operator wants a user not to be listened to."""
    return user.id in bot.app.settings.discord.blocked_users


def serves(bot: "MynahBot", guild: discord.Guild | None) -> bool:
    """Whether the operator wants Mynah to serve a server; a private talk, and a server that it is not in, are none."""
    chosen = bot.app.settings.discord.servers
    return not chosen or not is_member(bot, guild) or (guild is not None and guild.id in chosen)


def heeds(bot: "MynahBot", message: discord.Message) -> bool:
    """Whether a message is listened to: a person's whom, and in a server that, the operator wants to be."""
    return not message.author.bot and not blocked(bot, message.author) and serves(bot, message.guild)


def open_here(settings: servers.ServerSettings, channel: Any) -> bool:
    """Whether Mynah may be used in a channel; a thread, as a post in a forum is one, counts as the channel that it is in."""
    return not settings.channels or (channel is not None and (getattr(channel, "parent_id", None) or channel.id) in settings.channels)


def closed(settings: servers.ServerSettings) -> str:
    """Return the sentence that says where else Mynah may be used."""
    there = ", ".join(f"<#{number}>" for number in settings.channels[:NAMED]) + (", …" if len(settings.channels) > NAMED else "")
    return tr(f"In this server I am used in {there} alone.")


async def settings_here(bot: "MynahBot", guild: discord.Guild | None) -> servers.ServerSettings:
    """Return what is set in a server; the defaults in a private talk."""
    return await bot.app.store.read(servers.get, guild.id if guild else None)


def guild_of(bot: "MynahBot", channel: int) -> discord.Guild | None:
    """Return the server that a channel is in; None: it is in none, or is gone, or is not known yet (`knows`)."""
    return getattr(bot.get_channel(channel), "guild", None)


def knows(bot: "MynahBot", channel: int) -> bool:
    """Whether it is known which server a channel is in, if any; not while Discord still tells what is in its servers, or one is out."""
    return bot.is_ready() and (bot.get_channel(channel) is not None or not any(guild.unavailable for guild in bot.guilds))


async def arrive(
    bot: "MynahBot", guild: discord.Guild | None, locale: discord.Locale | None = None, *, there: discord.Locale | None = None
) -> servers.ServerSettings:
    """Say what follows in this task as it is said in a server: in its language, with its names of voices; return its settings.

    `locale`: of whoever is answered; `there`: of the server; None: nothing tells it.
    """
    if guild is not None:
        structlog.contextvars.bind_contextvars(server=guild.id)
    settings, names = await bot.app.store.read(_here, guild.id if guild else None)
    answer_in(guild, settings, locale, there=there)
    call_them(names)
    return settings


def _here(db: Database, server: int | None) -> tuple[servers.ServerSettings, dict[str, str]]:
    """Return what is set in a server and what voices are called there, in one read: everything that members do begins with it."""
    return servers.get(db, server), stored.names(db, server)


async def admit(interaction: discord.Interaction[Any], *, anywhere: bool = False) -> bool:
    """Say whether somebody may use a command, a button or a menu where he did; if not, he is told in private.

    `anywhere`: in closed channels, too, so that moderators cannot lock themselves out.
    """
    bot: MynahBot = interaction.client
    bot.hold_end()
    try:
        words = await _refusal(bot, interaction, anywhere=anywhere)
    except Exception as error:  # as of a database that cannot be read: the library would say nothing at all
        words = explain(error, user=interaction.user.id)
    if words and interaction.type is not discord.InteractionType.autocomplete:
        await refuse(interaction, words, begun_in_public=False)
    return not words


async def _refusal(bot: "MynahBot", interaction: discord.Interaction[Any], *, anywhere: bool) -> str:
    """Let the answer be in his language, and return why somebody may not use Mynah where he did; empty: he may."""
    settings = await arrive(bot, interaction.guild, interaction.locale, there=interaction.guild_locale)
    if blocked(bot, interaction.user):
        return tr("The operator does not let you use me.")
    if not serves(bot, interaction.guild):
        return tr("The operator does not let me serve this server.")
    return "" if anywhere or open_here(settings, interaction.channel) else closed(settings)


def need_role(user: discord.abc.User, roles: Collection[int], what: str, *, moderates: bool) -> None:
    """Make sure that a member has one of the roles that may do something, if any are named; moderators could name their own.

    Raises:
        BadRequestError: he has none; the text begins with `what`, which names what it is that he may not do.
    """
    if not roles or moderates or (isinstance(user, discord.Member) and any(role.id in roles for role in user.roles)):
        return
    guild = user.guild if isinstance(user, discord.Member) else None
    names = [role.name for number in roles if guild and (role := guild.get_role(number))]
    whose = f"the role {' or '.join(names)}" if names else "a role that is no more"
    raise BadRequestError(f"{what} is for members with {whose} in this server.")


async def need_voice(bot: "MynahBot", user: discord.abc.User, guild: discord.Guild | None, voice: str) -> None:
    """Make sure that a member may use a voice in a server.

    Raises:
        BadHandleError: no voice can have that name.
        BadRequestError: he may not; the text says who may.
    """
    if guild is None:
        return
    name = voice_name(voice.split("-"))
    roles = await bot.app.store.read(servers.voice_roles, guild.id, name)
    moderates = isinstance(user, discord.Member) and user.guild_permissions.manage_guild
    need_role(user, roles, f"The voice {called(name)}", moderates=moderates)


def decides(bot: "MynahBot", guild: discord.Guild | None) -> bool:
    """Whether a server is the one whose members decide what is posted."""
    channel = bot.app.settings.x.approval_channel
    return bool(channel) and guild is not None and guild == guild_of(bot, channel)


async def need_approver(bot: "MynahBot", asked: Context | discord.Interaction[Any]) -> discord.Guild:
    """Make sure that who asked decides what is posted, which members of one server alone do; return that server.

    Raises:
        BadRequestError: he does not; the text says who does.
    """
    if not bot.app.settings.x.approval_channel:
        raise BadRequestError("What is posted is decided by the operator alone: `[x] approval_channel` in config.toml is not set.")
    if asked.guild is None or not decides(bot, asked.guild):
        raise BadRequestError("What is posted is decided in one server alone, which the operator chose, and it is not this one.")
    roles = (await settings_here(bot, asked.guild)).post_roles
    if not roles:
        return moderated(asked, "Deciding what is posted is for members with the permission Manage Server.")
    user = asked.user if isinstance(asked, discord.Interaction) else asked.author
    need_role(user, roles, "Deciding what is posted", moderates=moderates(asked))
    return asked.guild
