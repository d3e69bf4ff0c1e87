"""The face as a service: connected to Discord until it is cancelled, whatever Discord does meanwhile."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import aiohttp
import discord
import structlog
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route
from pydantic import SecretStr

from bot.app import Mynah
from bot.errors import SettingsError
from bot.faces.discord.bot import MynahBot
from bot.faces.discord.sharding import new_bot
from bot.vitals import VITALS

LONGEST_PAUSE = 60.0
BAD_TOKEN = "Discord refused DISCORD_TOKEN: copy the token anew from the Bot page of the developer portal."  # noqa: S105 - no secret
NO_CONTENT = (
    "The developer portal has not granted the Message Content intent (Bot page), so there are slash commands only: "
    "grant it and restart for prefix commands."
)
AUTHENTICATION_FAILED = 4004  # the gateway's close code
UNREACHABLE = (OSError, aiohttp.ClientError, discord.HTTPException, discord.GatewayNotFound)
log = structlog.get_logger()


class DiscordFace:
    """Mynah in Discord."""

    def __init__(
        self,
        app: Mynah,
        token: SecretStr,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Take the services and the token; `pause` and `chance` are the waiting between attempts, and its jitter."""
        self._app = app
        self._token = token
        self._pause = pause
        self._chance = chance

    async def run(self) -> None:
        """Run until cancelled, and then close the connection and end every task.

        Raises:
            SettingsError: Discord refuses the token.
        """
        if self._app.settings.discord.api_url != Route.BASE:
            Route.BASE = self._app.settings.discord.api_url.rstrip("/")
        prefix_commands = True
        failures = 0
        VITALS.gateway(up=False)
        while True:
            bot = new_bot(self._app, prefix_commands=prefix_commands)
            # A task of its own: while it tries again, the library may take a cancellation for one more failure (asyncio.wait_for swallows
            # one that comes together with an error), and would go on for ever.
            connecting = asyncio.create_task(self._connect(bot))
            try:
                await asyncio.wait([connecting])
                connecting.result()
            except discord.PrivilegedIntentsRequired:
                log.warning(NO_CONTENT)
                prefix_commands = False
                continue
            except discord.LoginFailure as error:
                raise SettingsError(BAD_TOKEN) from error
            except discord.ConnectionClosed as error:
                if error.code == AUTHENTICATION_FAILED:
                    raise SettingsError(BAD_TOKEN) from error
                raise
            except UNREACHABLE as error:
                why: BaseException = error
            except AttributeError as error:
                if not _first_connection_failed(bot, error):
                    raise
                why = error.__context__ or error
            else:
                why = ConnectionError("the connection ended")
            finally:
                VITALS.gateway(up=False)
                connecting.cancel()
                try:
                    await bot.close()
                finally:
                    connecting.cancel()  # now it ends, whether it heeds this one or sees that all is closed
                    await asyncio.wait([connecting])
                    connecting.cancelled() or connecting.exception()  # else asyncio would log one that nobody asked for
            failures = 1 if bot.was_ready else failures + 1
            seconds = min(LONGEST_PAUSE, 2.0 ** min(failures, 10)) * (0.5 + self._chance() / 2)
            log.warning("Discord cannot be reached: trying again", seconds=round(seconds, 1), error=repr(why))
            await self._pause(seconds)

    async def _connect(self, bot: MynahBot) -> None:
        """Log in, and stay connected; reconnecting and resuming a session is the library's."""
        await bot.login(self._token.get_secret_value())
        recommended, url, limits = await bot.http.get_bot_gateway()
        # The library asks this only when it is to find out how many shards there should be, and otherwise goes by a constant.
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url)
        bot.shard_count = self._app.settings.discord.shards or recommended
        if limits["remaining"] < bot.shard_count:  # each is a session, and one too many would have Discord reset the token
            log.warning("Discord grants too few sessions for now: waiting", seconds=limits["reset_after"] / 1000)
            await self._pause(limits["reset_after"] / 1000)
        await bot.connect()


def _first_connection_failed(bot: MynahBot, error: AttributeError) -> bool:
    """Say whether discord.py 2.7.1 tripped over its own feet.

    When the very first connection to the gateway fails, `Client.connect` wants to resume and asks the websocket, which is
    still None, for its sequence: what went wrong is that error's context.
    """
    return bot.ws is None and error.obj is None and error.name == "sequence" and isinstance(error.__context__, (*UNREACHABLE, TimeoutError))
