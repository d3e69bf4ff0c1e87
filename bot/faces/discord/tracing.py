"""What the answers of Discord's API tell of how it goes: how soon an interaction is acknowledged, and who is asked to wait."""

import re
from http import HTTPStatus
from types import SimpleNamespace

import aiohttp

from bot.vitals import VITALS

ACKNOWLEDGEMENT = re.compile(r"/interactions/(\d+)/[^/]+/callback$")


def tracing() -> aiohttp.TraceConfig:
    """Return what the library's session is to tell of its requests."""
    config = aiohttp.TraceConfig()
    config.on_request_end.append(_ended)
    return config


async def _ended(_: aiohttp.ClientSession, context: SimpleNamespace, request: aiohttp.TraceRequestEndParams) -> None:
    del context
    if request.response.status == HTTPStatus.TOO_MANY_REQUESTS:
        VITALS.rate_limited["discord"] += 1
    elif found := ACKNOWLEDGEMENT.search(request.url.path):
        VITALS.interaction_acknowledged(found[1])
