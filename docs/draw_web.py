"""Draws the pictures of the operator's page in docs/pictures: fiction in a database, the page itself, and headless Chromium before it.

    PYTHONPATH=. python docs/draw_web.py

The fiction is that of tests/bot/web, which walks through the same pages.
"""

import asyncio
import io
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from bot.app import Mynah
from bot.faces.web.entry import SIGN_IN, token_of
from bot.faces.web.face import WebFace
from bot.settings import Secrets, Settings
from tests.bot.conftest import ScriptedExecutor
from tests.bot.web.browser import browser
from tests.bot.web.harbour import furnish

PICTURES = Path(__file__).parent / "pictures"
COLOURS = 256
SHOWN = {
    "web-overview-light": ("/", {"width": 1100}),
    "web-voice-dark": ("/voices/keeper_ottoline", {"width": 1100, "dark": True}),
    "web-outbox-phone": ("/outbox", {"width": 375, "height": 812, "scale": 1.5}),
    "web-queue-light": ("/queue", {"width": 1100}),
    "web-schedules-dark": ("/schedules", {"width": 1100, "dark": True}),
    "web-health-phone": ("/health", {"width": 375, "height": 812, "scale": 1.5}),
}


async def main() -> None:
    """Draw them all."""
    with TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        async with Mynah(settings, Secrets(), ScriptedExecutor()) as app:
            await furnish(app)
            app.lead.take()  # as the service does
            face = WebFace(app, 0)
            serving = asyncio.create_task(face.run())
            await face.door.open.wait()
            here = f"http://127.0.0.1:{face.door.port}"
            async with browser() as one:
                await one.go(f"{here}{SIGN_IN}")
                await one.run(f"location.hash = '{token_of(settings.data_dir)}'")
                await one.until("location.pathname === '/' && document.readyState === 'complete'")
                for name, (path, look) in SHOWN.items():
                    await one.look(**look)
                    await one.go(here + path)
                    _save(name, await one.picture(whole=True))
            serving.cancel()
            await asyncio.wait([serving])


def _save(name: str, picture: bytes) -> None:
    with Image.open(io.BytesIO(picture)) as full:
        full.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    asyncio.run(main())
