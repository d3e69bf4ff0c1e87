"""The one place where an error becomes words for a member of a server: a sentence, or a short id that the log knows."""

import secrets

import discord
import structlog
from discord import app_commands
from discord.ext import commands

from bot.errors import MynahError
from bot.faces.discord.language import tr
from bot.faces.discord.text import sentence

log = structlog.get_logger()


def explain(error: BaseException, usage: str = "", **circumstances: object) -> str:
    """Return what to say to whoever ran into an error; a defect is logged, under the id that is said.

    In this order: Mynah's own errors, arguments, permissions, what Discord refused, and everything else, which is a defect.
    """
    cause = _cause(error)
    match cause:
        case MynahError():
            return sentence(str(cause))
        case commands.NoPrivateMessage() | app_commands.NoPrivateMessage():
            return tr("That works in a server alone, not in private.")
        case commands.MissingPermissions() | app_commands.MissingPermissions():
            return tr(f"That is for members with the permission {_named(cause.missing_permissions)}.")
        case commands.BotMissingPermissions() | app_commands.BotMissingPermissions():
            return tr(f"I lack the permission {_named(cause.missing_permissions)} here: ask a moderator to give it to me.")
        case commands.UserInputError() | app_commands.TransformerError():
            return tr(f"Type it as: {usage}." if usage else "I cannot read that: `/help` says how it is typed.")
        case commands.CheckFailure() | app_commands.CheckFailure():
            return tr("You may not do that here.")
        case app_commands.CommandNotFound() | app_commands.CommandSignatureMismatch():
            return tr("That command changed meanwhile: reload Discord, and try again.")
        case discord.NotFound(code=10062):  # an interaction must be acknowledged within 3 seconds
            log.warning("an interaction came too late", **circumstances)
            return tr("That took too long to reach me: try again.")
        case discord.Forbidden():
            log.warning("discord refused", error=str(cause), **circumstances)
            return tr("Discord does not let me do that here: I need View Channel, Send Messages, Embed Links and Attach Files.")
    mark = secrets.token_hex(3)
    log.error("a command failed", id=mark, exc_info=cause, **circumstances)
    return tr(f"Something went wrong on my side: try again, and if it stays so tell the operator the number {mark}.")


def _cause(error: BaseException) -> BaseException:
    """Return what a library's wrappers hold."""
    wrappers = (commands.HybridCommandError, commands.CommandInvokeError, app_commands.CommandInvokeError, commands.ConversionError)
    while isinstance(error, wrappers):
        error = error.original
    return error


def _named(permissions: list[str]) -> str:
    return " and ".join(name.replace("guild", "server").replace("_", " ").title() for name in permissions)
