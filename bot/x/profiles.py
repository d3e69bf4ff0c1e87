"""Looks at the accounts' own profiles on X, where readers must find that a bot posts, and who runs it."""

import re

from bot.errors import BudgetError
from bot.services.doctor import Finding
from bot.services.spending import Budget
from bot.settings import Secrets, Settings
from bot.x.accounts import clients_of
from bot.x.port import Profile, XError
from data.spending import Kind

_BOT = re.compile(r"\b(?:bots?|automated|a\.?i\.?|generated|machine)\b|ボット|自動|\U0001f916", re.IGNORECASE)
_OPERATOR = re.compile(r"[@\uff20]\w+|\b(?:by|operator)\b|運営|管理", re.IGNORECASE)
LABEL = "X's Automated label is for you to switch on: Settings, Your account, Automation."


async def examine_profiles(settings: Settings, secrets: Secrets, budget: Budget) -> list[Finding]:
    """Ask X for the profile of each account that has keys, through the budget.

    Raises:
        SettingsError: of an account's keys some are there and some are missing.
    """
    findings = []
    for name, client in clients_of(settings, secrets).items():
        try:
            async with budget.reserve(Kind.USERS_READ, 1, "a look at own profiles", name) as charge:
                profile = await client.profile()
                charge.count = 1
            advice = _advice(profile, settings.x.every_account[name].handle)
            findings.append(Finding(f"X {name}", not advice, f"@{profile.handle}: {profile.bio or 'no bio'}", " ".join([*advice, LABEL])))
        except (BudgetError, XError) as error:
            findings.append(Finding(f"X {name}", ok=False, found="its profile was not read", advice=str(error)))
        finally:
            await client.close()
    return findings


def _advice(profile: Profile, handle: str | None) -> list[str]:
    """Return what is to be mended of a profile, a sentence each."""
    advice = []
    if handle is not None and handle != profile.handle:
        advice.append(f"Its keys are those of @{profile.handle}, and config.toml says @{handle}.")
    if not _BOT.search(profile.bio):
        advice.append("Say in the bio that it is a bot whose posts an AI writes.")
    if not _OPERATOR.search(profile.bio):
        advice.append("Say in the bio who runs it.")
    return advice
