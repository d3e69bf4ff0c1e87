"""An aiohttp server on the loopback that leaves no connection behind, whatever became of its clients."""

import asyncio
from typing import Any

from aiohttp import web


class LoopbackServer:
    """Serves an app on 127.0.0.1 until it is closed."""

    def __init__(self, app: web.Application, port: int = 0) -> None:
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        self._port = port
        self._transports: list[Any] = []

    async def start(self) -> int:
        """Begin, and return the port."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        made = server.connection_made

        def remembered(handler: Any, transport: asyncio.Transport) -> None:
            self._transports.append(transport)  # the library lets go of some before they are closed
            made(handler, transport)

        server.connection_made = remembered
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """End, with every connection: what is still to be said to a client that was killed would keep one open."""
        await self._runner.cleanup()
        # A transport closes in a later turn of the loop, and one that was accepted just before the end is made in a later one.
        for _ in range(50):
            for transport in self._transports:
                transport.abort()
            await asyncio.sleep(0)
        assert all(transport._sock is None for transport in self._transports)
