"""For whoever watches: /healthz and /metrics on loopback, where `[monitor] port` opens them."""

import asyncio
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.app import Mynah
from bot.door import NAMES, Door
from bot.errors import StoreError
from bot.metrics import CONTENT_TYPE, Snapshot, rendered
from bot.vitals import VITALS, Vitals
from data.figures import Verdicts, figures

LATE_SECONDS = 5.0  # a loop that is later than this keeps Discord waiting beyond what it takes
WRITE_SECONDS = 5.0
DOWN_SECONDS = 300.0  # Discord's own outages end sooner, mostly; a restart would not help against them


class Monitor:
    """Says how the service does, to whoever asks on this machine."""

    def __init__(self, app: Mynah, port: int, vitals: Vitals = VITALS) -> None:
        """Take the parts to look at and the port."""
        self._app = app
        self._vitals = vitals
        self._verdicts = Verdicts()
        answers = Starlette(
            routes=[Route("/healthz", self._healthz), Route("/metrics", self._metrics)],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=NAMES, www_redirect=False)],
        )
        self.door = Door("health and metrics", answers, port, app.lead, "monitor.port")

    async def run(self) -> None:
        """Answer until cancelled.

        Raises:
            SettingsError: the port is somebody else's.
        """
        await self._app.store.read(self._verdicts.look)
        await self.door.run()

    async def _healthz(self, _: Request) -> Response:
        found = await health(self._app, self._vitals)
        return JSONResponse(found, status_code=200 if found["ok"] else 503)

    async def _metrics(self, _: Request) -> Response:
        app = self._app
        now = datetime.now(UTC)
        await app.store.read(self._verdicts.look)
        found = await app.store.read(figures, now)
        folder = app.settings.data_dir
        snapshot = Snapshot(
            found,
            self._verdicts,
            self._vitals,
            leads=app.lead.held,
            now=now,
            disk_free_bytes=shutil.disk_usage(folder).free,
            database_bytes=app.settings.database.stat().st_size,
            caps=asdict(app.budget.caps),
        )
        return Response(rendered(snapshot), headers={"Content-Type": CONTENT_TYPE})


async def health(app: Mynah, vitals: Vitals = VITALS) -> dict[str, Any]:
    """Return what lives and what does not; `ok` is whether a person should come."""
    database = await _trouble(app)
    down, lag = vitals.gateway_down_seconds, vitals.loop_lag
    gateway = "off" if not vitals.in_discord else f"down for {down:.0f} s" if down else "up"
    troubles = {
        "loop": lag > LATE_SECONDS and f"the loop was {lag:.1f} s late",
        "database": database,
        "gateway": down > DOWN_SECONDS and f"no connection to Discord for {down:.0f} s",
    }
    return {
        "ok": not any(troubles.values()),
        "leads": app.lead.held,
        "loop_lag_seconds": round(lag, 3),
        "database": database or "ok",
        "gateway": gateway,
        "troubles": [why for why in troubles.values() if why],
    }


async def _trouble(app: Mynah) -> str | None:
    """Return why the database cannot be written, or None."""
    try:
        async with asyncio.timeout(WRITE_SECONDS):
            await app.store.check()
    except TimeoutError:
        return f"the database could not be locked within {WRITE_SECONDS:g} s"
    except StoreError as error:
        return str(error)
    return None
