"""Who may come in, and from where: the token once, then a session; and of pages in a browser this one alone."""

import os
import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.errors import SettingsError
from bot.files import sync

TOKEN = "web-token"  # noqa: S105 - a file's name
TOKEN_BYTES, SHORTEST = 32, 32  # of chance in one of ours; characters in any
IDLE_SECONDS = 12 * 3600.0  # after which a session that nobody used is over
MOST_SESSIONS = 100
TRIES, TRIES_SECONDS = 10, 60.0  # wrong tokens in so long; beyond, none is looked at
SIGN_IN = "/sign-in"
OPEN = (SIGN_IN, "/static/")
"""What is answered without a session; these paths, and those that begin with one that ends in a slash."""
SAFE = ("GET", "HEAD")
LOOK = "mynah-look"
"""A header of the page's own script, which looks again at what a person has open: he did not do that himself."""
HEADERS = {
    # No script nor style of a page's own text is obeyed, and nothing is fetched from elsewhere.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # "no-referrer" would have browsers keep the origin to themselves
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
log = structlog.get_logger()


def token_of(folder: Path) -> str:
    """Return the token of a data folder; the first call makes it, for the folder's owner alone.

    Raises:
        SettingsError: it cannot be read or made, or is too short.
    """
    path = folder / TOKEN
    try:
        if not path.exists():
            _make(path)
        token = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise SettingsError(f"{path} cannot be used ({error.strerror}): make it readable for the user that Mynah runs as.") from error
    except UnicodeDecodeError:
        token = ""
    if len(token) < SHORTEST:
        raise SettingsError(f"{path} holds no token of at least {SHORTEST} letters and digits: delete it, and Mynah makes another.")
    return token


def _make(path: Path) -> None:
    """Write a token for good before it has its name; who comes first makes it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{TOKEN}.{secrets.token_hex(4)}.part")  # `mynah gc` knows it by that
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(f"{secrets.token_urlsafe(TOKEN_BYTES)}\n")
    try:
        sync(fresh)
        with suppress(FileExistsError):
            os.link(fresh, path)
        sync(path.parent)
    finally:
        fresh.unlink()


@dataclass
class Session:
    """One browser that has shown the token."""

    used: float
    """When, by the clock."""
    notice: str = ""
    """What it is told with its next page."""
    refused: bool = False
    """It is told that something was refused."""


class Sessions:
    """The sessions of this process: they end with it."""

    def __init__(self, token: str, cookie: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = token
        self.cookie = cookie
        """Its name; browsers send cookies to every port of a host, so each port has a name of its own."""
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._wrong: deque[float] = deque(maxlen=TRIES)

    def tired(self) -> bool:
        """Say whether so many wrong tokens came that none is looked at for now."""
        return len(self._wrong) == TRIES and self._clock() - self._wrong[0] < TRIES_SECONDS

    def begin(self, token: str) -> str | None:
        """Return the key of a new session; None: the token is wrong."""
        if not secrets.compare_digest(token.encode("utf-8", "replace"), self._token.encode()):
            self._wrong.append(self._clock())
            log.warning("somebody tried a wrong token on the operator's page")
            return None
        key = secrets.token_urlsafe(TOKEN_BYTES)
        self._sessions[key] = Session(self._clock())
        while len(self._sessions) > MOST_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda one: self._sessions[one].used)]
        return key

    def find(self, key: str | None, *, by_person: bool = True) -> Session | None:
        """Return a session that goes on; it does so for as long as a person, and not only the page's own script, uses it."""
        now = self._clock()
        session = self._sessions.get(key or "")
        if session is None or now - session.used > IDLE_SECONDS:
            self._sessions.pop(key or "", None)
            return None
        if by_person:
            session.used = now
        return session

    def end(self, key: str | None) -> None:
        """End a session."""
        self._sessions.pop(key or "", None)


class Guard:
    """Stands before every answer."""

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        request = Request(scope)
        if request.method not in SAFE and not own(request.headers):
            log.warning("a request of another page to the operator's was refused", origin=request.headers.get("origin"))
            return PlainTextResponse("This was sent by another page than Mynah's own, so nothing was done.\n", 403)
        key = request.cookies.get(self._sessions.cookie)
        request.state.session = self._sessions.find(key, by_person=LOOK not in request.headers)
        path = scope["path"]  # not of the URL, which has the Host header in it
        if request.state.session or any(path.startswith(one) if one.endswith("/") else path == one for one in OPEN):
            return None
        return RedirectResponse(SIGN_IN, 303)


def own(headers: Headers) -> bool:
    """Say whether a browser sent something from a page of this very address, port included; every browser of today says where from."""
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    return headers.get("origin") == f"http://{headers.get('host')}"
