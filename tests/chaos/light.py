"""`mynah`, whole, but for trainers and speakers that need no model and begin at once: `python -m tests.chaos.light COMMAND …`."""

import sys
from pathlib import Path
from typing import Any

import bot.app
from bot.__main__ import main
from bot.executors.local import LocalExecutor
from bot.executors.speaker import Speaker

CHILDREN = (sys.executable, str(Path(__file__).with_name("children.py")))


def lighten(*options: str) -> None:
    """Have Mynah take these from now on; `options` are theirs."""

    def executor(log: Path, **_: Any) -> LocalExecutor:
        return LocalExecutor(log, *CHILDREN, *options)

    def speaker(log: Path, *, timeout: float, **_: Any) -> Speaker:
        return Speaker(log, *CHILDREN, *options, "--speak", timeout=timeout)

    bot.app.LocalExecutor = executor  # type: ignore[assignment,misc]
    bot.app.Speaker = speaker  # type: ignore[assignment,misc]


if __name__ == "__main__":
    lighten()
    main()
