"""Help, made from the commands themselves."""

from typing import TYPE_CHECKING, Any

from discord import app_commands
from discord.ext import commands

from bot.errors import BadRequestError
from bot.faces.discord.admitting import settings_here
from bot.faces.discord.context import Context, hybrid
from bot.faces.discord.installs import portable
from bot.faces.discord.language import tr
from bot.faces.discord.text import MESSAGE, cut

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot


class Help(commands.Cog):
    """Saying what there is."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot

    @hybrid(usage="[command]")
    @portable
    @app_commands.describe(command="The command to explain")
    async def help(self, ctx: Context, *, command: str = "") -> None:
        """List the commands, or explain one."""
        if not command:
            settings = await settings_here(self.bot, ctx.guild)
            await ctx.send(self._everything(typed=settings.prefix_commands), ephemeral=True)
            return
        found = self.bot.get_command(command.removeprefix("/").removeprefix(self._prefix))
        if found is None:
            raise BadRequestError(f"There is no command {command[:40]!r}: `/help` lists them.")
        await ctx.send(cut(_explain(found), MESSAGE), ephemeral=True)

    def _everything(self, *, typed: bool) -> str:
        lines = [
            f"`/{command.qualified_name}` — {tr(command.short_doc)}"
            for command in sorted(self.bot.commands, key=lambda command: command.name)
        ]
        if not typed:
            lines.append(tr(f"Typed with `{self._prefix}` they are off in this server: begin with `/`."))
        elif self.bot.prefix_commands:
            lines.append(tr(f"Each is typed with `{self._prefix}` too, as in `{self._prefix}train keeper_ottoline`."))
        return cut("\n".join(lines), MESSAGE)

    @property
    def _prefix(self) -> str:
        return self.bot.app.settings.discord.prefix


def _explain(command: commands.Command[Any, ..., Any]) -> str:
    lines = [f"`/{command.qualified_name} {command.signature}".rstrip() + f"` — {tr(command.short_doc)}"]
    if isinstance(command, commands.Group):
        lines += [f"• `/{one.qualified_name} {one.signature}".rstrip() + f"` — {tr(one.short_doc)}" for one in command.commands]
    if isinstance(command, commands.HybridCommand) and command.app_command is not None:
        lines += [f"• `{parameter.display_name}`: {tr(str(parameter.description))}" for parameter in command.app_command.parameters]
    return "\n".join(lines)
