"""Logging: structlog and the standard library's loggers through one formatter, to stderr of the service or to a file.

What is bound to a task (`structlog.contextvars`), such as a job, a voice or a server, stands in each of its lines. Tokens and what people
wrote are no part of a line at info or above; should a token get into one all the same, it is struck out.
"""

import logging
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import structlog

from bot.printable import spelt

FILE_BYTES = 4 * 1024 * 1024
STRUCK_OUT = "[secret]"


def configure_logging(
    file: Path | None = None, *, style: Literal["auto", "console", "json"] = "auto", secrets: Collection[str] = ()
) -> None:
    """Log to a file (for a command, whose terminal is for the person), or to stderr (for the service).

    Args:
        file: None: to stderr. What was logged long before is in `.1` beside it.
        style: "auto": JSON into a file, and for people to stderr.
        secrets: what no line may hold.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        if file.exists() and file.stat().st_size > FILE_BYTES:
            file.replace(file.with_name(f"{file.name}.1"))
        handler = logging.FileHandler(file, encoding="utf-8", delay=True)
    last: structlog.typing.Processor
    if style == "json" or (style == "auto" and file is not None):
        last = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        last = structlog.dev.ConsoleRenderer(colors=file is None and sys.stderr.isatty())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _harmless, last, _Without(secrets)],
        )
    )
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, logging.FileHandler)]:
        old.close()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for chatty in ("apscheduler", "matplotlib", "asyncio", "discord.http", "discord.client"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _harmless(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Keep what came from outside from forging a line of the log, and from steering the terminal on which somebody reads it."""
    for name, value in event.items():
        event[name] = _spelt(value, "\n    " if name == "exception" else "\\n")
    return event


def _spelt(value: Any, line: str) -> Any:
    match value:
        case str():
            return spelt(value).replace("\n", line)
        case dict():
            return {_spelt(key, line): _spelt(inner, line) for key, inner in value.items()}
        case list() | tuple():
            return [_spelt(inner, line) for inner in value]
    return value


class _Without:
    """Strikes out what no line may hold, whatever it came in: a sentence, an address, a traceback."""

    def __init__(self, secrets: Collection[str]) -> None:
        self._secrets = sorted((secret for secret in secrets if secret), key=len, reverse=True)

    def __call__(self, logger: object, method: str, line: structlog.typing.EventDict | str) -> str:
        del logger, method
        text = str(line)
        for secret in self._secrets:
            text = text.replace(secret, STRUCK_OUT)
        return text
