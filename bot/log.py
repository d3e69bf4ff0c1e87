"""Logging: structlog and the standard library's loggers through one formatter, to stderr of the service or to a file."""

import logging
import sys
from pathlib import Path
from typing import Any

import structlog

from bot.printable import spelt


def configure_logging(file: Path | None = None) -> None:
    """Log to a file (for a command, whose terminal is for the person), or to stderr (for the service)."""
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
        last: structlog.typing.Processor = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    else:
        handler = logging.FileHandler(file, encoding="utf-8", delay=True)
        last = structlog.processors.JSONRenderer(ensure_ascii=False)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _harmless, last]
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
