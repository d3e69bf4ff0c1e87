"""The door for whoever watches: /healthz and /metrics on loopback, where `[monitor] port` opens it."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import structlog
from aiohttp import web

from bot.app import Mynah
from bot.errors import SettingsError, StoreError
from bot.metrics import CONTENT_TYPE, Snapshot, rendered
from bot.vitals import VITALS, Vitals
from data.figures import Verdicts, figures

HOST = "127.0.0.1"
LOOK_SECONDS = 0.5  # between two looks at the loop
LATE_SECONDS = 5.0  # a loop that is later than this keeps Discord waiting beyond what it takes
WRITE_SECONDS = 5.0
DOWN_SECONDS = 300.0  # Discord's own outages end sooner, mostly; a restart would not help against them
NAMES = {"127.0.0.1", "localhost"}
log = structlog.get_logger()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Monitor:
    """Says how the service does, to whoever asks on this machine."""

    def __init__(self, app: Mynah, port: int, vitals: Vitals = VITALS) -> None:
        """Take the parts to look at and the port; 0: any that is free, which `port` names when it is open."""
        self._app = app
        self.port = port
        self._vitals = vitals
        self._verdicts = Verdicts()
        self._writing: asyncio.Task[None] | None = None
        self.open = asyncio.Event()

    async def run(self) -> None:
        """Answer until cancelled.

        Raises:
            SettingsError: the port is somebody else's.
        """
        door = web.Application(middlewares=[_for_this_machine])
        door.add_routes([web.get("/healthz", self._healthz), web.get("/metrics", self._metrics)])
        runner = web.AppRunner(door, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            while not await self._opened(runner):
                await self._watch_the_loop()
            self.port = runner.addresses[0][1]
            await self._app.store.read(self._verdicts.look)
            self.open.set()
            log.info("health and metrics are served", address=f"http://{HOST}:{self.port}")
            while True:
                await self._watch_the_loop()
        finally:
            await runner.cleanup()

    async def _opened(self, runner: web.AppRunner) -> bool:
        """Open the door; False: whoever leads while this process waits has it, and leaves it before this one leads."""
        try:
            await web.TCPSite(runner, HOST, self.port).start()
        except OSError as error:
            if not self._app.lead.held:
                return False
            raise SettingsError(f"Port {self.port} of {HOST} cannot be used ({error.strerror}): set monitor.port to another.") from error
        return True

    async def _watch_the_loop(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + LOOK_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
        self._vitals.late(loop.time() - due)

    async def health(self) -> dict[str, Any]:
        """Return what lives and what does not; `ok` is whether a person should come."""
        database = await self._trouble()
        down, lag = self._vitals.gateway_down_seconds, self._vitals.loop_lag
        gateway = "off" if not self._vitals.in_discord else f"down for {down:.0f} s" if down else "up"
        troubles = {
            "loop": lag > LATE_SECONDS and f"the loop was {lag:.1f} s late",
            "database": database,
            "gateway": down > DOWN_SECONDS and f"no connection to Discord for {down:.0f} s",
        }
        return {
            "ok": not any(troubles.values()),
            "leads": self._app.lead.held,
            "loop_lag_seconds": round(lag, 3),
            "database": database or "ok",
            "gateway": gateway,
            "troubles": [why for why in troubles.values() if why],
        }

    async def _trouble(self) -> str | None:
        """Return why the database cannot be written, or None."""
        if self._writing is None or self._writing.done():  # else looks would queue up behind whoever keeps it locked
            self._writing = asyncio.create_task(self._app.store.check())
            self._writing.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody may be waiting any more
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await asyncio.shield(self._writing)
        except TimeoutError:
            return f"the database could not be locked within {WRITE_SECONDS:g} s"
        except StoreError as error:
            return str(error)
        return None

    async def _healthz(self, _: web.Request) -> web.Response:
        found = await self.health()
        return web.json_response(found, status=200 if found["ok"] else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
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
        return web.Response(body=rendered(snapshot), headers={"Content-Type": CONTENT_TYPE})


@web.middleware
async def _for_this_machine(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a page in a browser that came to this address by another name."""
    name = None
    with suppress(ValueError):
        name = request.url.host
    if name not in NAMES:
        raise web.HTTPForbidden(text="Ask for 127.0.0.1.\n")
    return await handler(request)
