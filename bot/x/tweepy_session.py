"""What both adapters to X stand on: tweepy's client as it comes, with another host and time limits, and what X's refusals mean."""

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import requests
import tweepy  # type: ignore[import-untyped]
from requests.adapters import HTTPAdapter
from requests_oauthlib import OAuth1  # type: ignore[import-untyped]
from urllib3.exceptions import NewConnectionError

from bot.errors import SettingsError
from bot.settings import Secrets, XAccount
from bot.vitals import VITALS
from bot.x.oauth2 import Tokens
from bot.x.port import Retry, XError
from data.outbox import DEFAULT_ACCOUNT

TWEEPY_HOST = "https://api.twitter.com"  # fixed in the code of tweepy 4.17
CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0  # an answer that comes late costs less than a post that a person must look for
WINDOW = timedelta(minutes=15)  # X's, for a 429 that names no reset
DETAIL_LENGTH = 200
UNKNOWN_FORM = "X's answer is not of the form that Mynah knows: see its log, and look for a newer Mynah."
Signs = Callable[[requests.PreparedRequest], requests.PreparedRequest]
LIMITS = ("x-rate-limit", "x-app-limit-24hour", "x-user-limit-24hour")


def keys_of(secrets: Secrets, what: str, account: str = DEFAULT_ACCOUNT, needs: Sequence[str] = XAccount().needs) -> tuple[str, ...]:
    """Return the secrets of an account, the four of OAuth 1.0a unless others are named, for `what` needs them.

    Raises:
        SettingsError: one is missing.
    """
    if missing := secrets.missing(account, needs):
        raise SettingsError(f"{what} needs {', '.join(missing)} in the environment (or {missing[0]}_FILE): see docs/x.md.")
    return tuple(getattr(secrets.of_x(account), name).get_secret_value() for name in needs)


def open_client(
    keys: Sequence[str],
    *,
    api_url: str = TWEEPY_HOST,
    timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
    return_type: type = tweepy.Response,
) -> tweepy.Client:
    """Return a client of tweepy's for one account, by OAuth 1.0a; nothing is sent.

    Args:
        keys: the app's key and secret, the account's token and secret.
        api_url: where X's API is.
        timeout: seconds to connect, and to wait for an answer.
        return_type: what its calls give.

    Raises:
        SettingsError: the address is none.
    """
    return open_signed(OAuth1(*keys), keys, api_url=api_url, timeout=timeout, return_type=return_type)


def open_signed(
    auth: Signs,
    keys: Sequence[str] = (),
    *,
    api_url: str,
    timeout: tuple[float, float],
    return_type: type = tweepy.Response,
) -> tweepy.Client:
    """Return a client of tweepy's whose requests `auth` signs, whatever tweepy thinks of it; nothing is sent. Else as above."""
    parts = urlsplit(api_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"x.api_url must be an address such as {TWEEPY_HOST}, not {api_url!r}.")
    client = tweepy.Client(
        None,
        *keys,
        return_type=return_type,
        wait_on_rate_limit=False,  # it would sleep a quarter of an hour in a thread; whoever calls waits instead
    )
    # Only in a session's adapter can a host be changed and a time limit be set without touching tweepy.
    client.session.mount(TWEEPY_HOST, _Adapter(api_url.rstrip("/"), auth, timeout))
    return client


class _Adapter(HTTPAdapter):
    """Sends tweepy's requests to the address of the settings, signed, and within time limits."""

    def __init__(self, base: str, auth: Signs, timeout: tuple[float, float]) -> None:
        super().__init__()  # no retries of its own: a POST is never repeated down here, but where X did not so much as let it in
        self._base = base
        self._auth = auth
        self._timeout = timeout

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request; tweepy gives no time limit, so ours stands in its place."""
        kwargs["timeout"] = self._timeout
        # Posts are hours apart. A connection kept that long is often dead without a sign, and a post that dies with it
        # would have to be looked for.
        request.headers["Connection"] = "close"
        if self._base != TWEEPY_HOST:
            request.url = self._base + (request.url or "").removeprefix(TWEEPY_HOST)
            kwargs["proxies"] = requests.utils.get_environ_proxies(request.url or "")
        # tweepy knows no token that changes, and OAuth 1.0a signs the address too, so what tweepy signed does not fit another.
        answer = super().send(self._signed(request), *args, **kwargs)
        if answer.status_code == 429:
            VITALS.rate_limited["x"] += 1
        if answer.status_code == 401 and isinstance(self._auth, Tokens):
            answer.close()
            self._auth.refused(request)
            answer = super().send(self._signed(request), *args, **kwargs)
        return answer

    def _signed(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.pop("Authorization", None)
        return self._auth(request)


def common_refusal(error: tweepy.HTTPException) -> XError | None:
    """Return what an answer means that means the same whatever was asked; None for the others."""
    status = error.response.status_code
    if status == 429:
        until = _reset(error.response.headers, datetime.now(UTC))
        return XError(f"X's limit is exhausted until {until:%Y-%m-%d %H:%M:%S} UTC: nothing is asked of X before.", Retry.WAIT, until)
    if status == 401:
        return XError("X does not accept the keys (401): check X_API_KEY, X_API_SECRET, X_ACCESS_TOKEN and X_ACCESS_SECRET.", Retry.NEVER)
    return None


def never_sent(error: Exception) -> XError | None:
    """Return what the lack of an answer means where the request never left this machine; None where it may have."""
    chain = list(_chain(error))
    if isinstance(error, XError):  # of the tokens, without which no request is made
        return error
    if any(isinstance(e, ssl.SSLCertVerificationError) for e in chain):
        return XError("X's certificate cannot be trusted: check this machine's clock, its proxy and x.api_url.", Retry.NEVER)
    # Refused, no such host, no route, no connection in time, no proxy: the request was never written to a connection, so the
    # post cannot be on X and sending it again cannot double it. Everything else may have happened after the last byte.
    if any(isinstance(e, NewConnectionError | requests.ConnectTimeout | requests.exceptions.ProxyError) for e in chain):
        return XError("X cannot be reached, and nothing was sent: check this machine's network, and try again.", Retry.LATER)
    return None


def silence(error: Exception) -> str:
    """Say how X gave no answer to a request that may have reached it."""
    return "did not answer in time" if isinstance(error, requests.Timeout) else f"gave no clear answer ({type(error).__name__})"


def detail(error: tweepy.HTTPException) -> str:
    """Return X's own words, on one line and cut; they go into a sentence for a person."""
    return cut_detail(" ".join(str(message) for message in error.api_messages)) or str(error.response.reason)


def cut_detail(words: str) -> str:
    """Return words of X's on one line, and no more of them than a sentence bears."""
    words = " ".join(words.split())
    return words if len(words) <= DETAIL_LENGTH else words[: DETAIL_LENGTH - 1] + "…"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all that it wraps: requests hides urllib3's, which says what was sent, in args and `reason`."""
    while error is not None:
        yield error
        inner = error.args[0] if error.args and isinstance(error.args[0], BaseException) else None
        error = getattr(error, "reason", None) if isinstance(getattr(error, "reason", None), BaseException) else inner


def _reset(headers: Mapping[str, str], now: datetime) -> datetime:
    """Return when the exhausted limit resets: of the short one and the daily ones, those that have nothing left."""
    resets = [
        datetime.fromtimestamp(int(headers[f"{limit}-reset"]), UTC)
        for limit in LIMITS
        if headers.get(f"{limit}-remaining", "").strip() == "0" and headers.get(f"{limit}-reset", "").isdecimal()
    ]
    return max(resets, default=now + WINDOW)
