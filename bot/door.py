"""A door on loopback: an application's answers over HTTP, in the service's own event loop and beside all else that it does."""

import asyncio
import socket

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from bot.errors import SettingsError
from bot.lock import Lead

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""What requests may call this machine: a page in a browser that came to this address by another name is refused."""
AGAIN_SECONDS = 0.5  # between two tries at a port that is taken
SILENT_SECONDS = 20  # for which a connection may say nothing before its first request
BYE_SECONDS = 1  # for answers that are under way when the door is shut
MOST_AT_ONCE = 100  # connections; whoever comes then is told that there are too many
MOST_TOLD = 10  # at once; others are hung up on, so that nobody takes all open files
log = structlog.get_logger()


class _Connection(H11Protocol):
    """One connection. uvicorn counts them when a request has come, and waits for the first one for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_AT_ONCE + MOST_TOLD:
            transport.abort()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(SILENT_SECONDS, self.timeout_keep_alive_handler)


class Door:
    """Serves one application on one port."""

    def __init__(self, what: str, answers: ASGIApp, port: int, lead: Lead, setting: str) -> None:
        """Take what is served, and where.

        Args:
            what: what a person calls it.
            answers: the application.
            port: 0: any that is free, which `port` names when it is open.
            lead: whoever leads has the port; who waits to lead waits for it, too.
            setting: where the port is set.
        """
        self._what = what
        self._answers = answers
        self.port = port
        self._lead = lead
        self._setting = setting
        self.open = asyncio.Event()

    async def run(self) -> None:
        """Answer until cancelled.

        Raises:
            SettingsError: the port is somebody else's.
        """
        listening = self._listening()
        while listening is None:
            await asyncio.sleep(AGAIN_SECONDS)
            listening = self._listening()
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(
            self._answers,
            http=_Connection,
            ws="none",
            lifespan="off",
            log_config=None,  # its loggers speak through the service's, and of warnings alone
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST_AT_ONCE,
            timeout_graceful_shutdown=BYE_SECONDS,
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        # Not `serve`, which would take the signals that are the service's, and look ten times a second whether it is to end.
        await server.startup([listening])
        try:
            self.open.set()
            log.info("served on loopback", what=self._what, address=f"http://{HOST}:{self.port}")
            await asyncio.get_running_loop().create_future()  # for ever
        finally:
            await server.shutdown([listening])

    def _listening(self) -> socket.socket | None:
        """Open the port; None: whoever leads while this process waits has it, and leaves it before this one leads."""
        try:
            return socket.create_server((HOST, self.port))
        except OSError as error:
            if not self._lead.held:
                return None
            raise SettingsError(f"Port {self.port} of {HOST} cannot be used ({error.strerror}): set {self._setting} to another.") from error
