"""Holds what the bot sends to Discord against Discord's own description of its REST API, where that lies beside the repository."""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from openapi_core import Config, OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing.requests import MockRequest

DESCRIPTION = Path(__file__).parents[1] / ".." / "shared" / "discord-api" / "openapi.json"
HOST = "https://discord.com"
ROOT = "/api/v10"


def available() -> bool:
    """Say whether there is a description to check against."""
    return DESCRIPTION.is_file()


@functools.cache
def _description() -> OpenAPI:
    # Loading takes seconds, so it is done once for all tests; the document itself is Discord's affair, and not checked.
    return OpenAPI.from_dict(json.loads(DESCRIPTION.read_text("utf-8")), config=Config(spec_validator_cls=None))


def breaches(requests: Iterable[Any]) -> list[str]:
    """Return one line for each request (with `method`, `path`, `params` and `json`) that Discord's description does not allow."""
    found = []
    for number, request in enumerate(requests, 1):
        body = "" if request.json is None else json.dumps(_snowflakes(request.json))
        params = tuple((name, str(value)) for name, value in request.params.items())
        if breach := _breach(request.method, request.path, params, body):
            found.append(f"{number}. {request.method} {request.path} {request.json}: {breach}")
    return found


@functools.cache  # every bot of every test begins with the same registration of its commands, which takes a tenth of a second
def _breach(method: str, path: str, params: tuple[tuple[str, str], ...], body: str) -> str:
    request = MockRequest(HOST, method, ROOT + path, args=dict(params), headers={"Authorization": "Bot token"}, data=body.encode())
    try:
        _description().validate_request(request)
    except OpenAPIError as error:
        causes = [str(cause).splitlines()[0] for cause in getattr(error.__cause__, "schema_errors", ())] or [repr(error.__cause__)]
        return f"{error!r} {'; '.join(causes)}"
    return ""


def _snowflakes(value: Any, key: str = "") -> Any:
    """Write ids as the description has them: discord.py sends some as numbers, which Discord takes as well."""
    if isinstance(value, dict):
        return {name: _snowflakes(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_snowflakes(inner, key) for inner in value]
    return str(value) if type(value) is int and (key.endswith("id") or key == "users") else value


def left_open(requests: Iterable[Any]) -> list[Any]:
    """Return the requests with words in them in which Discord may look for mentions: only members who are named by id are called."""
    bodies = ((request, request.json.get("data") or request.json) for request in requests if isinstance(request.json, dict))
    return [
        request
        for request, body in bodies
        if isinstance(body, dict) and "content" in body and not request.path.endswith("/commands")
        if (body.get("allowed_mentions") or {"parse": ["all"]}).get("parse") != []
    ]
