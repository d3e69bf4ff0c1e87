"""`mynah`, whole, but for trainers and speakers that need no model and begin at once: `python -m tests.chaos.light COMMAND …`."""

import sys
from pathlib import Path
from typing import Any

import bot.app
from bot.__main__ import main
from bot.executors.local import LocalExecutor
from bot.executors.speaker import Speaker

CHILDREN = (sys.executable, str(Path(__file__).with_name("children.py")))


def _executor(log: Path) -> LocalExecutor:
    return LocalExecutor(log, *CHILDREN)


def _speaker(log: Path, *, timeout: float, options: Any) -> Speaker:
    return Speaker(log, *CHILDREN, "--speak", timeout=timeout)


if __name__ == "__main__":
    bot.app.LocalExecutor = _executor  # type: ignore[assignment,misc]
    bot.app.Speaker = _speaker  # type: ignore[assignment,misc]
    main()
