"""Templates into pages: whatever stands in one is escaped, and has a form that people read."""

import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from bot.faces import words
from bot.faces.web.entry import LOOK
from bot.services.times import span
from data.outbox import Post
from data.spending import dollars

TEMPLATES = Path(__file__).parent / "templates"
_CODE = re.compile(r"`([^`\n]+)`")
LABELS = {
    "approve": "Approve",
    "retry": "Try again",
    "again": "Send it again",
    "edit": "Edit",
    "another": "Write another",
    "confirm": "It is there",
    "reject": "Reject",
    "leave": "Leave it",
}


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """Return a page, with the notice that its session is still to be told."""
    session = getattr(request.state, "session", None)
    notice, refused = ("", False) if session is None else (session.notice, session.refused)
    if session is not None and LOOK not in request.headers:  # to a person it is told once
        session.notice = ""
    values |= {"session": session, "notice": notice, "refused": refused, "path": request.scope["path"]}
    return HTMLResponse(environment().get_template(template).render(values), status)


@cache
def environment() -> Environment:
    """Return what templates are rendered by."""
    made = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {
        "coded": coded,
        "dollars": dollars,
        "megabytes": lambda size: f"{size / 1e6:,.1f} MB",
        "moment": words.moment,
        "part": lambda text: quote(text, safe=""),
        "place": lambda post: words.destination(post.account, post.channel),
        "span": lambda seconds: span(round(seconds)),
        "thousands": "{:,}".format,
    }
    made.globals |= {
        "LABELS": LABELS,
        "STAGES": words.STAGES,
        "facts": words.facts,
        "paused": words.paused,
        "plural": plural,
        "told": told,
        "when": words.when,
    }
    return made


def coded(text: str) -> Markup:
    """Return a sentence whose commands, between backticks, look like such; all else of it is text."""
    parts = _CODE.split(text)
    return Markup().join(Markup("<code>%s</code>") % part if place % 2 else part for place, part in enumerate(parts))


def plural(number: int, name: str) -> str:
    """Return `1 line`, `2 lines`."""
    return f"{number:,} {name}{'s' * (number != 1)}"


def told(post: Post, reason: str) -> str:
    """Return why a post stands where it stands, where that says more than its state."""
    return reason if post.status in words.TOLD and reason != post.status else ""
