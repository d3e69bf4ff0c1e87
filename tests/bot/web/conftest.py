"""The operator's page over a furnished database, and somebody in a browser before it."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import httpx2 as httpx
import pytest

from bot.app import Mynah
from bot.faces.web.entry import token_of
from bot.faces.web.face import WebFace
from bot.settings import Secrets, Settings
from tests.bot.conftest import ScriptedExecutor
from tests.bot.test_publishing import PromptedSpeaker
from tests.bot.web.harbour import furnish

HERE = "http://127.0.0.1:8023"


class Visitor:
    """A browser without a script, as far as a server can tell."""

    def __init__(self, app: Mynah) -> None:
        self.app = app
        self.face = WebFace(app, 8023)
        transport = httpx.ASGITransport(app=self.face.answers, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url=HERE)
        self.headers = {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def post(self, path: str, headers: dict[str, str] | None = None, **fields: object) -> httpx.Response:
        return await self.client.post(path, data=fields, headers=self.headers if headers is None else headers)

    async def told(self, path: str, **fields: object) -> str:
        """Send a form, and return the page that it leads to."""
        answer = await self.post(path, **fields)
        assert answer.status_code == 303, answer.text
        page = await self.get(answer.headers["location"])
        assert page.status_code == 200
        return page.text

    async def sign_in(self) -> None:
        answer = await self.post("/sign-in", token=token_of(self.app.settings.data_dir))
        assert (answer.status_code, answer.headers["location"]) == (303, "/")

    async def rows(self) -> list[str]:
        """Return all that is stored."""
        return await self.app.store.read(lambda db: list(db.conn.iterdump()))


def noon() -> datetime:
    """Return the moment of all that is seen: what was paid three days ago was paid this month, and not today."""
    return datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A furnished database, made once."""
    folder = tmp_path_factory.mktemp("harbour")

    async def make() -> None:
        async with Mynah(Settings(data_dir=folder), Secrets(), ScriptedExecutor(), clock=noon) as app:
            await furnish(app)
            await app.store.wipe()

    asyncio.run(make())
    return (folder / "mynah.db").read_bytes()


@pytest.fixture
async def empty(settings: Settings, executor: ScriptedExecutor):
    """A visitor who has signed in where nothing is stored."""
    async with Mynah(settings, Secrets(), executor) as app:
        visitor = Visitor(app)
        async with visitor.client:
            await visitor.sign_in()
            yield visitor


@pytest.fixture
async def stranger(settings: Settings, executor: ScriptedExecutor, harbour: bytes):
    """Somebody who has not signed in, before the furnished page."""
    Path(settings.data_dir).mkdir(parents=True)
    settings.database.write_bytes(harbour)
    async with Mynah(settings, Secrets(), executor, PromptedSpeaker(), clock=noon) as app:
        visitor = Visitor(app)
        async with visitor.client:
            yield visitor


@pytest.fixture
async def operator(stranger: Visitor) -> Visitor:
    """The operator, before the furnished page."""
    await stranger.sign_in()
    return stranger
