"""The one adapter to X: tweepy's client as it comes, with another host, time limits and our errors around it."""

import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import requests
import tweepy  # type: ignore[import-untyped]
from requests.adapters import HTTPAdapter
from requests_oauthlib import OAuth1  # type: ignore[import-untyped]
from urllib3.exceptions import NewConnectionError

from bot.errors import SettingsError
from bot.settings import XKeys, x_variable
from bot.threads import in_daemon_thread
from bot.x.port import Retry, XError
from data.outbox import DEFAULT_ACCOUNT

TWEEPY_HOST = "https://api.twitter.com"  # fixed in the code of tweepy 4.17
CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0  # an answer that comes late costs less than a post that a person must look for
WINDOW = timedelta(minutes=15)  # X's, for a 429 that names no reset
DUPLICATE_CODE = 187
DETAIL_LENGTH = 200
LIMITS = ("x-rate-limit", "x-app-limit-24hour", "x-user-limit-24hour")


class TweepyClient:
    """One account on X, by OAuth 1.0a with the four secrets of its owner.

    tweepy 4.17's `create_tweet` has no `made_with_ai`, and X's own description restricts that field to AI-generated *media*;
    the disclosure for text is the profile's label and bio. Should X ask for the field, tweepy must learn it first.
    """

    def __init__(
        self,
        keys: XKeys,
        account: str = DEFAULT_ACCOUNT,
        *,
        api_url: str = TWEEPY_HOST,
        connect_timeout: float = CONNECT_SECONDS,
        read_timeout: float = READ_SECONDS,
    ) -> None:
        """Make a client; nothing is sent.

        Raises:
            SettingsError: a secret is missing, or the address is none.
        """
        secrets = _keys(keys, account)
        parts = urlsplit(api_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"x.api_url must be an address such as {TWEEPY_HOST}, not {api_url!r}.")
        self._client = tweepy.Client(
            consumer_key=secrets["api_key"],
            consumer_secret=secrets["api_secret"],
            access_token=secrets["access_token"],
            access_token_secret=secrets["access_secret"],
            wait_on_rate_limit=False,  # it would sleep a quarter of an hour in a thread; the outbox waits instead
        )
        # Only in a session's adapter can a host be changed and a time limit be set without touching tweepy.
        self._client.session.mount(TWEEPY_HOST, _Adapter(api_url.rstrip("/"), OAuth1(*secrets.values()), (connect_timeout, read_timeout)))

    async def create_post(self, text: str) -> str:
        """Post a text and return X's id of it.

        Raises:
            XError: it was not posted, or nobody knows; `retry` says which.
        """
        return await in_daemon_thread(lambda: self._create(text))

    async def close(self) -> None:
        """Give up what is open; a request on its way is not waited for."""
        self._client.session.close()

    def _create(self, text: str) -> str:
        try:
            answer = self._client.create_tweet(text=text, user_auth=True)
        except tweepy.HTTPException as error:
            raise _refused(error) from error
        except Exception as error:
            raise _unanswered(error) from error
        if not (answer.data and answer.data.get("id")):
            raise XError("X took the post and named no id: look whether it is there.", Retry.UNSURE)
        return str(answer.data["id"])


class _Adapter(HTTPAdapter):
    """Sends tweepy's requests to the address of the settings, within time limits."""

    def __init__(
        self, base: str, auth: Callable[[requests.PreparedRequest], requests.PreparedRequest], timeout: tuple[float, float]
    ) -> None:
        super().__init__()  # no retries of its own: a POST is never repeated down here
        self._base = base
        self._auth = auth
        self._timeout = timeout

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request; tweepy gives no time limit, so ours stands in its place."""
        kwargs["timeout"] = self._timeout
        # Posts are hours apart. A connection kept that long is often dead without a sign, and a post that dies with it
        # would have to wait for a person.
        request.headers["Connection"] = "close"
        if self._base != TWEEPY_HOST:
            request.url = self._base + (request.url or "").removeprefix(TWEEPY_HOST)
            # OAuth 1.0a signs the address too, so what tweepy signed does not fit the new one.
            request.headers.pop("Authorization", None)
            request = self._auth(request)
            kwargs["proxies"] = requests.utils.get_environ_proxies(request.url or "")
        return super().send(request, *args, **kwargs)


def _keys(keys: XKeys, account: str) -> dict[str, str]:
    """Return the four secrets in the order in which OAuth1 takes them."""
    found = {name: getattr(keys, name) for name in ("api_key", "api_secret", "access_token", "access_secret")}
    missing = [x_variable(account, name) for name, secret in found.items() if secret is None]
    if missing:
        raise SettingsError(f"Posting on X needs {', '.join(missing)} in the environment (or {missing[0]}_FILE): see docs/x.md.")
    return {name: secret.get_secret_value() for name, secret in found.items()}


def _refused(error: tweepy.HTTPException) -> XError:
    """Say what X's answer means."""
    status = error.response.status_code
    detail = _detail(error)
    if status >= 500:
        return XError(f"X failed with {status} while it had the post, which may be there: look before it is sent again.", Retry.UNSURE)
    if status == 429:
        until = _reset(error.response.headers, datetime.now(UTC))
        return XError(f"X's limit is exhausted: nothing is sent until {until:%Y-%m-%d %H:%M:%S} UTC.", Retry.WAIT, until)
    if status == 401:
        return XError("X does not accept the keys (401): check X_API_KEY, X_API_SECRET, X_ACCESS_TOKEN and X_ACCESS_SECRET.", Retry.NEVER)
    if status == 402:
        return XError("The credits on X are used up (402): buy some in the developer console, then approve the post again.", Retry.NEVER)
    if status == 403 and (DUPLICATE_CODE in error.api_codes or "duplicate content" in str(error).lower()):
        return XError("X has this very text from this account already: regenerate it and approve another.", Retry.REGENERATE)
    if status == 403:
        return XError(f"X does not permit this post (403: {detail}): mend that in the developer console or the text.", Retry.NEVER)
    return XError(f"X does not take this post ({status}: {detail}): change the text, or check x.api_url.", Retry.NEVER)


def _unanswered(error: Exception) -> XError:
    """Say what the lack of an answer means."""
    chain = list(_chain(error))
    if any(isinstance(e, ssl.SSLCertVerificationError) for e in chain):
        return XError("X's certificate cannot be trusted: check this machine's clock, its proxy and x.api_url.", Retry.NEVER)
    # Refused, no such host, no route, no connection in time, no proxy: the request was never written to a connection, so the
    # post cannot be on X and sending it again cannot double it. Everything else may have happened after the last byte.
    if any(isinstance(e, NewConnectionError | requests.ConnectTimeout | requests.exceptions.ProxyError) for e in chain):
        return XError("X cannot be reached, and nothing was sent: check this machine's network; it is tried again.", Retry.LATER)
    kind = "did not answer in time" if isinstance(error, requests.Timeout) else f"gave no clear answer ({type(error).__name__})"
    return XError(f"X {kind}, so the post may be there: look before it is sent again.", Retry.UNSURE)


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


def _detail(error: tweepy.HTTPException) -> str:
    """Return X's own words, on one line and cut; they go into a sentence for a person."""
    words = " ".join(" ".join(str(message) for message in error.api_messages).split()) or str(error.response.reason)
    return words if len(words) <= DETAIL_LENGTH else words[: DETAIL_LENGTH - 1] + "…"
