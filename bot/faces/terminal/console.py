"""The console: the Discord commands, typed with their prefix in a terminal."""

import shlex
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from bot.app import Mynah
from bot.errors import BadRequestError, MynahError
from bot.faces.terminal import actions
from bot.settings import Secrets, Settings
from bot.threads import in_daemon_thread

Action = Callable[[Mynah, list[str], str, Console], Awaitable[actions.Answer]]


@dataclass(frozen=True)
class Command:
    """One command of the console."""

    usage: str
    help: str
    words: range
    """How many words it takes."""
    action: Action


def _generate(app: Mynah, words: list[str], by: str, _: Console) -> Awaitable[actions.Answer]:
    return actions.generate(app, words[:1], by, prompt=" ".join(words[1:]))


def _cancel(app: Mynah, words: list[str], by: str, _: Console) -> Awaitable[actions.Answer]:
    if not words[0].isdecimal():
        raise BadRequestError(f"{words[0]!r} is not a job's number: jobs lists them.")
    return actions.cancel(app, int(words[0]), by)


MANY = range(1, 11)
COMMANDS = {
    "train": Command("HANDLE …", "train a voice on stored posts", MANY, actions.train),
    "generate": Command("VOICE [PROMPT]", "have a voice write posts", range(1, 200), _generate),
    "models": Command("", "list the voices", range(1), lambda app, *_: actions.models(app)),
    "show": Command("VOICE", "show a voice's card", MANY, lambda app, words, *_: actions.show(app, words)),
    "jobs": Command("", "list the trainings", range(1), lambda app, *_: actions.jobs(app)),
    "cancel": Command("JOB", "cancel a training", range(1, 2), _cancel),
    "forget": Command(
        "HANDLE", "delete everything of an account", range(1, 2), lambda app, words, by, _: actions.forget(app, words[0], by)
    ),
}


async def converse(settings: Settings, secrets: Secrets, by: str) -> None:
    """Read commands from the terminal until its end, or `quit`."""
    out = Console()
    prefix = settings.discord.prefix
    async with Mynah(settings, secrets) as app:
        out.print(Text(f"Mynah. {prefix}help lists the commands, {prefix}quit ends."))
        while True:
            try:
                line = await in_daemon_thread(lambda: _next_line(out))
            except EOFError:
                return
            if line.strip().removeprefix(prefix).strip() in ("quit", "exit"):
                return
            if line.strip():
                try:
                    out.print((await obey(app, line, by, out)).text, soft_wrap=True)
                except MynahError as error:
                    out.print(Text(str(error), style="red"))


def _next_line(out: Console) -> str:
    if sys.stdin.isatty():
        return out.input("[bold]> [/]")
    # Unbuffered: a thread that still waits in sys.stdin when the interpreter ends makes it abort.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stdin:
        line = stdin.readline()
    if not line:
        raise EOFError
    return line.decode("utf-8", "replace")


async def obey(app: Mynah, line: str, by: str, out: Console) -> actions.Answer:
    """Do what a line says, with the prefix or without it.

    Raises:
        BadRequestError: it is no command, or has too few or too many words.
        MynahError: whatever the command itself raises.
    """
    prefix = app.settings.discord.prefix
    try:
        name, *words = shlex.split(line.strip().removeprefix(prefix)) or [""]
    except ValueError:  # a lone quote, as in `generate keeper don't`
        name, *words = line.strip().removeprefix(prefix).split()
    if name == "help":
        listing = "\n".join(f"{prefix}{name} {command.usage}".ljust(28) + command.help for name, command in COMMANDS.items())
        return actions.Answer({"commands": sorted(COMMANDS)}, Text(listing))
    command = COMMANDS.get(name)
    if command is None:
        raise BadRequestError(f"{name[:40]!r} is not a command: {prefix}help lists them.")
    if len(words) not in command.words:
        raise BadRequestError(f"Type it as: {prefix}{name} {command.usage}".rstrip() + ".")
    return await command.action(app, words, by, out)
