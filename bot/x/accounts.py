"""The accounts on X that there are keys for, ready to be posted to."""

from collections.abc import Callable
from datetime import UTC, datetime

from bot.services.sending import Sender
from bot.services.spending import Budget
from bot.settings import Secrets, Settings
from bot.x.sender import XSender
from bot.x.tweepy_client import TweepyClient
from data.store import Store


def clients_of(settings: Settings, secrets: Secrets) -> dict[str, TweepyClient]:
    """Return a client for each account that has keys, by its name.

    Raises:
        SettingsError: of an account's keys some are there and some are missing.
    """
    found = {}
    for name in settings.x.every_account:
        keys = secrets.of_x(name)
        if keys.access_token or keys.access_secret or keys.refresh_token:
            found[name] = client_of(settings, secrets, name)
    return found


def client_of(settings: Settings, secrets: Secrets, name: str) -> TweepyClient:
    """Return a client for one account.

    Raises:
        SettingsError: some of its keys are missing.
    """
    tokens = settings.data_dir / "x-tokens" / f"{name}.json" if settings.x.every_account[name].auth == "oauth2" else None
    return TweepyClient(secrets, name, tokens=tokens, api_url=settings.x.api_url)


def accounts_of(
    settings: Settings, secrets: Secrets, store: Store, budget: Budget, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dict[str, Sender]:
    """Return a sender for each account that has keys, by its name.

    Raises:
        SettingsError: of an account's keys some are there and some are missing.
    """
    return {
        name: XSender(client, name, store=store, budget=budget, settings=settings.x, clock=clock)
        for name, client in clients_of(settings, secrets).items()
    }
