"""The service: leads, works, speaks in Discord and posts on X until it is told to stop."""

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from pydantic import SecretStr

from bot.app import LOCK_SECONDS, Mynah
from bot.errors import SettingsError
from bot.faces.discord.face import DiscordFace
from bot.faces.web.face import WebFace
from bot.monitor import Monitor
from bot.services.sending import Sender
from bot.settings import Secrets, Settings
from bot.vitals import VITALS
from bot.x.accounts import accounts_of
from bot.x.text import parser
from data import schedules

log = structlog.get_logger()


async def serve(settings: Settings, secrets: Secrets, make: Callable[[Settings, Secrets], Mynah] = Mynah) -> None:
    """Run until SIGTERM or SIGINT, then stop every part within seconds; what was under way goes on at the next start.

    Args:
        settings: the operator's.
        secrets: likewise.
        make: makes the parts.

    Raises:
        SettingsError: there is nothing to do (neither a Discord token, a schedule for X, mentions to read nor a page to serve), the token
            is wrong, or a port is taken.
    """
    parser()  # now, and not while somebody waits for the first line
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with make(settings, secrets) as app:
        x = app.posting.accounts
        x |= accounts_of(settings, secrets, app.store, app.budget, clock=app.clock)
        token = secrets.discord_token
        if token is None and not app.mentions.on and not settings.web.port and not await app.store.read(schedules.listed):
            raise SettingsError("DISCORD_TOKEN is not set, and there is no schedule for X: set the one, or `mynah schedule add` the other.")
        if token is None:
            log.info("no DISCORD_TOKEN: only what is for X runs, and the queues")
        for account in settings.x.every_account.keys() - x.keys():
            log.info("no keys for this account on X: drafts are written, and nothing is posted", account=account)
        stopped = asyncio.create_task(stop.wait())
        doors: list[Monitor | WebFace] = [Monitor(app, settings.monitor.port)] if settings.monitor.port else []
        doors += [WebFace(app, settings.web.port)] if settings.web.port else []
        beside = [asyncio.create_task(run) for run in (VITALS.watch_the_loop(), *(door.run() for door in doors))]
        try:
            if not await _leads(app, stop):
                return
            await _work(app, x, token, [stopped, *beside])
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)


async def _work(app: Mynah, x: Mapping[str, Sender], token: SecretStr | None, ends: Sequence[asyncio.Future[Any]]) -> None:
    """Work until one of `ends` has ended, or something fails."""
    async with app.working(posting=True) as work:
        parts: list[asyncio.Future[Any]] = [*ends, work]
        if token is not None:
            parts.append(asyncio.create_task(DiscordFace(app, token).run()))
        try:
            log.info("Mynah runs", data=str(app.settings.data_dir))
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in parts:
                if part.done():
                    part.result()  # raises what ended it, if it was not the signal
            log.info("stopping")
        finally:
            for part in parts[len(ends) + 1 :]:
                part.cancel()
                with suppress(asyncio.CancelledError):
                    await part
            for sender in x.values():
                await sender.close()


async def _leads(app: Mynah, stop: asyncio.Event) -> bool:
    """Become the one process that works, once a command that is at it now has ended; False if told to stop meanwhile."""
    if not app.lead.take():
        log.info("another process of Mynah's is at work on this database; waiting for it to end")
    while not stop.is_set() and not app.lead.take():
        with suppress(TimeoutError):
            async with asyncio.timeout(LOCK_SECONDS):
                await stop.wait()
    return app.lead.held
