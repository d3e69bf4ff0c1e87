"""The one place that tells errors apart: what a member of a server is told, and whether a message can still be edited."""

import secrets

import aiohttp
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


def lost(error: Exception, **message: object) -> bool:
    """Say whether an error means that a message can never be edited again, being gone or closed; anything else, as an outage, may pass.

    It is logged, with what tells which message it is.
    """
    match error:
        case discord.HTTPException(status=400 | 403 | 404):
            level = log.error if error.status == 400 else log.info
            level("a message cannot be edited any more", error=str(error), **message)
            return True
        case discord.HTTPException():
            log.warning("discord did not take an edit: trying again", status=error.status, **message)
        case OSError() | aiohttp.ClientError():
            log.warning("discord could not be reached for an edit: trying again", error=str(error), **message)
        case _:
            log.error("a message cannot be brought up to date", exc_info=error, **message)
    return False


def _cause(error: BaseException) -> BaseException:
    """Return what a library's wrappers hold."""
    wrappers = (commands.HybridCommandError, commands.CommandInvokeError, app_commands.CommandInvokeError, commands.ConversionError)
    while isinstance(error, wrappers):
        error = error.original
    return error


def _named(permissions: list[str]) -> str:
    return " and ".join(name.replace("guild", "server").replace("_", " ").title() for name in permissions)
