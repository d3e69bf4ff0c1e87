"""What posting and scheduling stand on: a voice, a model of it, and a sender to a loopback X."""

from collections.abc import Callable
from datetime import UTC, datetime

from sqlite_utils import Database

from bot.services.spending import Budget
from bot.settings import X
from bot.x.sender import XSender
from bot.x.tweepy_client import TweepyClient
from data import accounts
from data.outbox import DEFAULT_ACCOUNT
from data.store import Store, now
from tests.loopback_x import SECRETS

VOICE = "keeper_ottoline"


def add_voice(db: Database, name: str = VOICE) -> None:
    """Make an account and its voice."""
    db["accounts"].insert({"handle": name, "created_at": now()}, ignore=True)
    accounts.ensure_voice(db, name, [name])


def add_model(db: Database, name: str = VOICE) -> None:
    """Make a voice that has a model, without weights."""
    add_voice(db, name)
    db["corpora"].insert({"sha256": name, "voice": name, "counts": "{}", "content": "{}", "created_at": now()})
    job = db["jobs"].insert(
        {
            "voice": name,
            "corpus": name,
            "recipe": "{}",
            "fingerprint": name,
            "status": "done",
            "requested_by": "a test",
            "created_at": now(),
        }
    )
    model = {"voice": name, "version": 1, "job": job.last_pk, "corpus": name, "base": "tiny", "method": "lora", "result": "{}"}
    db["models"].insert(model | {"sha256": "0", "bytes": 0, "created_at": now()})


def sender_to(
    store: Store,
    url: str,
    account: str = DEFAULT_ACCOUNT,
    *,
    settings: X | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    patience: float = 30,
) -> XSender:
    """Return a sender to an account of a loopback X; `patience` is in seconds."""
    settings = settings or X(daily_cap=1000, monthly_cap=1000)
    client = TweepyClient(SECRETS, account, api_url=url, connect_timeout=5, read_timeout=patience)
    return XSender(client, account, store=store, budget=Budget(store, settings, clock=clock), settings=settings, clock=clock)
