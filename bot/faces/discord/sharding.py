"""Several connections to one gateway, where the operator wants them: a bot in thousands of servers may not have a single one."""

from discord.ext import commands

from bot.app import Mynah
from bot.faces.discord.bot import MynahBot
from bot.vitals import VITALS


class ShardedBot(MynahBot, commands.AutoShardedBot):
    """One client with several connections, each for its share of the servers.

    The library opens one in five seconds, which every `max_concurrency` allows.
    """

    def session(self, *, up: bool) -> None:
        """Take no note of what the library does not say of which connection it is."""

    async def on_shard_ready(self, shard: int) -> None:
        """Take note that one of them is there."""
        VITALS.gateway(up=True, shard=shard)

    async def on_shard_resumed(self, shard: int) -> None:
        """Take note that the session of one of them goes on."""
        VITALS.gateway(up=True, shard=shard)

    async def on_shard_disconnect(self, shard: int) -> None:
        """Take note that one of them is gone."""
        VITALS.gateway(up=False, shard=shard)


def new_bot(app: Mynah, *, prefix_commands: bool) -> MynahBot:
    """Return a client of the kind that the settings ask for, not connected yet."""
    kind = MynahBot if app.settings.discord.shards == 1 else ShardedBot
    return kind(app, prefix_commands=prefix_commands)
