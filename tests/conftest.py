"""Fixtures of all tests: settings in an empty folder, an open store, posts to learn from, and the folder of shared material."""

import logging
import os
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from hypothesis import settings as hypothesis_settings
from sqlite_utils import Database

from bot.settings import Settings
from data import accounts, consents
from data.store import Store
from data.tweets import Tweet

# For us and for all children, before torch is imported: tiny models gain nothing from a second thread, and OpenMP's threads wait by
# spinning, which beside the other half of the tests costs a tenfold.
os.environ["OMP_NUM_THREADS"] = "1"

# The same examples in each run, so that what is red is what was changed; `make test-long` explores others. How long one takes is the
# machine's business, and it may be busy: what must be quick is timed by tests of its own.
hypothesis_settings.register_profile("exploring", deadline=None)
hypothesis_settings.register_profile("repeated", deadline=None, derandomize=True)
hypothesis_settings.load_profile("repeated")

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"

SUBJECTS = ["the lamp", "a gull", "my neighbour", "the kettle", "our boat", "the fog", "one boot", "the tide", "a letter", "the cat"]
VERBS = ["came back", "went missing", "refused to move", "sang all night", "asked for tea", "fell asleep", "turned blue", "won a prize"]
PLACES = ["on the stairs", "under the bed", "behind the harbour", "in the soup", "near the old mill", "at the third bell"]


@pytest.fixture
def shared() -> Path:
    """The folder of shared material; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared here")
    return SHARED


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Put logging back, which is the whole process', and which each command configures."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if structlog.is_configured():
        for handler in set(root.handlers) - set(handlers):
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stands between a test and its servers on the loopback, whatever this machine's environment says."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a data folder of their own, the tiny model, and the cache that all tests share."""
    return Settings.model_validate(
        {"data_dir": tmp_path / "var", "cache_dir": ROOT / "var" / "cache", "trainer": {"base": "tiny-random", "epochs": 1}}
    )


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    """An open, empty database."""
    async with Store(settings.database) as opened:
        yield opened


def made_up_tweets(count: int, seed: int = 0) -> list[Tweet]:
    """Return distinct posts, a minute apart."""
    draw = random.Random(seed)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    texts = (
        f"{draw.choice(SUBJECTS)} {draw.choice(VERBS)} {draw.choice(PLACES)}, and {draw.choice(SUBJECTS)} {draw.choice(VERBS)} ({n})"
        for n in range(count)
    )
    return [Tweet(str(1_000 + n), start + timedelta(minutes=n), text) for n, text in enumerate(texts)]


def store_account(db: Database, handle: str, tweets: Iterable[Tweet]) -> None:
    """Store posts of an account that may be trained on."""
    accounts.add_tweets(db, handle, tweets)
    consents.claim(db, handle, consents.Ground.PERMISSION, "the tests")


@pytest.fixture
def tweets() -> Callable[..., list[Tweet]]:
    """`made_up_tweets`: enough text to train on from about 120 posts."""
    return made_up_tweets
