"""The console: the main Discord commands and some more, typed with Discord's prefix in a terminal."""

import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.text import Text

from bot.app import Mynah
from bot.errors import BadRequestError, MynahError
from bot.faces.terminal import actions
from bot.faces.terminal.screen import Screen
from bot.settings import Secrets, Settings
from bot.threads import in_daemon_thread

Action = Callable[..., Awaitable[actions.Answer]]
"""Takes the app, the words, who typed them and the console; and each option by its name."""


@dataclass(frozen=True)
class Option:
    """An option of a command, such as `--version 2`."""

    name: str
    """Of the action's argument."""
    read: Callable[[str], Any] | None = None
    """What makes a value of the word that follows; None: none follows, and its presence is True."""


@dataclass(frozen=True)
class Command:
    """One command of the console."""

    usage: str
    help: str
    words: range
    """How many words it takes."""
    action: Action
    options: Mapping[str, Option] = field(default_factory=dict)


def _generate(app: Mynah, words: list[str], by: str, console: Console, **options: Any) -> Awaitable[actions.Answer]:
    return actions.generate(app, words[:1], by, prompt=" ".join(words[1:]), console=console, **options)


def _cancel(app: Mynah, words: list[str], by: str, _: Console) -> Awaitable[actions.Answer]:
    return actions.cancel(app, _number(words[0], "a job's number: jobs lists them"), by)


def _read(app: Mynah, words: list[str], by: str, console: Console, **options: Any) -> Awaitable[actions.Answer]:
    return actions.read(app, words[0], by, console, **options)


def _posts(word: str) -> int:
    return _number(word, "how many posts")


def _version(word: str) -> int:
    return _number(word, "a version's number: models --versions lists them")


def _number(word: str, what: str) -> int:
    if not (word.isascii() and word.isdecimal()):
        raise BadRequestError(f"{word!r} is not {what}.")
    return int(word)


def _page(word: str) -> int:
    return _number(word, "a page's number, from 1")


def _start(word: str) -> bool | None:
    if word not in actions.START:
        raise BadRequestError(f"{word!r} is nothing to train from: type --from last, or --from base.")
    return actions.START[word]


MANY = range(1, 11)
VERSION = Option("version", _version)
COMMANDS = {
    "train": Command("HANDLE …", "train a voice on stored posts", MANY, actions.train, {"--from": Option("start", _start)}),
    "generate": Command(
        "VOICE [PROMPT]",
        "have a voice write posts",
        range(1, 200),
        _generate,
        {"--version": VERSION, "--as": Option("author", str), "--answer": Option("message", str), "--explain": Option("explain")},
    ),
    "models": Command(
        "[VOICE]",
        "list the voices",
        range(11),
        lambda app, words, *_, **options: actions.models(app, words, **options),
        {"--versions": Option("versions"), "--search": Option("search", str), "--page": Option("page", _page)},
    ),
    "show": Command(
        "VOICE",
        "show a voice's card",
        MANY,
        lambda app, words, *_, **options: actions.show(app, words, **options),
        {"--version": VERSION, "--all": Option("full")},
    ),
    "pin": Command(
        "VOICE VERSION",
        "have a voice speak with a version",
        range(2, 3),
        lambda app, words, *_: actions.pin(app, words[0], _version(words[1])),
    ),
    "unpin": Command("VOICE", "have it speak with its newest", range(1, 2), lambda app, words, *_: actions.unpin(app, words[0])),
    "jobs": Command("", "list the trainings", range(1), lambda app, *_: actions.jobs(app)),
    "cancel": Command("JOB", "cancel a training", range(1, 2), _cancel),
    "read": Command(
        "HANDLE",
        "read what is new of an account",
        range(1, 2),
        _read,
        {"--posts": Option("posts", _posts), "--estimate": Option("estimate")},
    ),
    "spend": Command("", "show what X has cost", range(1), lambda app, *_: actions.spend(app)),
    "forget": Command(
        "HANDLE", "delete everything of an account", range(1, 2), lambda app, words, by, _: actions.forget(app, words[0], by)
    ),
}


async def converse(settings: Settings, secrets: Secrets, by: str) -> None:
    """Read commands from the terminal until its end, or `quit`."""
    out = Screen()
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
        rows = [f"{prefix}{name} {command.usage}".ljust(28) + command.help for name, command in COMMANDS.items()]
        options = "; ".join(f"{name} {' '.join(command.options)}" for name, command in COMMANDS.items() if command.options)
        return actions.Answer({"commands": sorted(COMMANDS)}, Text("\n".join([*rows, f"Options, as in `mynah --help`: {options}."])))
    command = COMMANDS.get(name)
    if command is None:
        raise BadRequestError(f"{name[:40]!r} is not a command: {prefix}help lists them.")
    plain, chosen = _options(command, words)
    if len(plain) not in command.words:
        raise BadRequestError(f"Type it as: {prefix}{name} {command.usage}".rstrip() + ".")
    return await command.action(app, plain, by, out, **chosen)


def _options(command: Command, words: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Return the words that are no option, and the options by the names of the action's arguments."""
    plain: list[str] = []
    found: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        option = command.options.get(word)
        if option is None:
            plain.append(word)
        elif option.read is None:
            found[option.name] = True
        else:
            value = next(rest, None)
            if value is None:
                raise BadRequestError(f"Something must follow {word}, as in `mynah --help`.")
            found[option.name] = option.read(value)
    return plain, found
