"""Several connections to one gateway, where the operator wants them: a bot in thousands of servers may not have a single one."""

from discord.ext import commands

from bot.app import Mynah
from bot.faces.discord.bot import MynahBot


class ShardedBot(MynahBot, commands.AutoShardedBot):
    """One client with several connections, each for its share of the servers.

    The library opens one in five seconds, which every `max_concurrency` allows.
    """


def new_bot(app: Mynah, *, prefix_commands: bool) -> MynahBot:
    """Return a client of the kind that the settings ask for, not connected yet."""
    kind = MynahBot if app.settings.discord.shards == 1 else ShardedBot
    return kind(app, prefix_commands=prefix_commands)
