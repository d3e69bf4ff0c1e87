"""OAuth 2.0 for one account on X: a token for two hours, and another that buys the next pair and is worth nothing afterwards."""

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import requests
from requests.auth import AuthBase

from bot.files import sync
from bot.settings import XKeys, x_variable
from bot.x.port import Retry, XError

EARLY = timedelta(minutes=1)  # a token that ends sooner is renewed before it is used
LIFETIME = 7200  # seconds, where X names none


@dataclass(frozen=True)
class Pair:
    """What X gave last."""

    seed: str
    """Hash of the refresh token in the environment from which this pair descends: another one there begins anew."""
    refresh_token: str
    access_token: str = ""
    expires_at: str = ""


def _checked(pair: Pair) -> Pair:
    """Return a pair whose tokens can stand in a header, and whose time is one.

    Raises:
        ValueError, TypeError: it is not such a pair.
    """
    if not all(isinstance(value, str) and value.isascii() and value.isprintable() for value in asdict(pair).values()):
        raise ValueError("no tokens")
    if pair.expires_at and datetime.fromisoformat(pair.expires_at).tzinfo is None:
        raise ValueError("no time with a zone")
    return pair


class Tokens(AuthBase):
    """Signs requests with a token that is valid, and keeps the newest pair in a file that its owner alone can read.

    Calls come from threads. Processes that share the file take turns, so that no two spend the same refresh token.
    """

    def __init__(
        self,
        file: Path,
        keys: XKeys,
        account: str,
        *,
        api_url: str,
        timeout: tuple[float, float],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._file = file
        self._keys = keys
        self._account = account
        self._url = f"{api_url}/2/oauth2/token"
        self._timeout = timeout
        self._clock = clock
        self._unsaved: Pair | None = None
        self._turn = threading.Lock()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put a valid token on a request.

        Raises:
            XError: there is none, and none can be had.
        """
        request.headers["Authorization"] = f"Bearer {self._valid()}"
        return request

    def refused(self, request: requests.PreparedRequest) -> None:
        """Renew the token that a request bore and X did not accept, unless that was done meanwhile.

        Raises:
            XError: no other can be had.
        """
        self._valid(refused=str(request.headers["Authorization"]).removeprefix("Bearer "))

    def _valid(self, refused: str = "") -> str:
        with self._alone():
            pair = self._unsaved or self._stored()
            if self._unsaved is not None:
                self._save(pair)
            lasts = bool(pair.expires_at) and datetime.fromisoformat(pair.expires_at) - EARLY > self._clock()
            if not lasts or pair.access_token == refused:
                pair = self._renewed(pair)
                self._save(pair)
            return pair.access_token

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._turn, self._file.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise XError(f"The tokens in {self._file} cannot be kept ({error.strerror}), so none is used.", Retry.LATER) from error

    def _stored(self) -> Pair:
        given = self._keys.refresh_token.get_secret_value() if self._keys.refresh_token else ""
        seed = hashlib.sha256(given.encode()).hexdigest()
        try:
            pair = _checked(Pair(**json.loads(self._file.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            return Pair(seed, given)
        except (ValueError, TypeError, RecursionError) as error:
            raise XError(f"{self._file} is damaged: delete it, and give {self._again}.", Retry.NEVER) from error
        return pair if pair.seed == seed else Pair(seed, given)

    def _renewed(self, pair: Pair) -> Pair:
        """Spend a refresh token on the next pair. Should the answer be lost, so is the account's consent, and a person gives it again."""
        client, secret = (key.get_secret_value() if key else "" for key in (self._keys.client_id, self._keys.client_secret))
        try:
            answer = requests.post(
                self._url,
                data={"grant_type": "refresh_token", "refresh_token": pair.refresh_token, "client_id": client},
                auth=(client, secret) if secret else None,
                timeout=self._timeout,
            )
        except requests.RequestException as error:
            raise XError(f"X gave no new token ({type(error).__name__}): nothing was sent, and it is asked again.", Retry.LATER) from error
        if answer.status_code in (400, 401, 403):
            raise XError(f"X takes the refresh token of {self._account} no more ({answer.status_code}): give {self._again}.", Retry.NEVER)
        try:
            answer.raise_for_status()
            given = answer.json()
            lifetime = timedelta(seconds=int(given.get("expires_in", LIFETIME)))
            expires_at = (self._clock() + lifetime).isoformat()
            renewed = Pair(pair.seed, given.get("refresh_token", pair.refresh_token), given["access_token"], expires_at)
            return _checked(renewed)
        except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise XError(f"X gave no new token ({answer.status_code}): nothing was sent, and it is asked again.", Retry.LATER) from error

    def _save(self, pair: Pair) -> None:
        """Store a pair for good before it is used; one that cannot be stored is kept in memory until it can, for it is the only one."""
        self._unsaved = pair
        fresh = self._file.with_suffix(".fresh")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump(asdict(pair), file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._file)
        sync(self._file.parent)
        self._unsaved = None

    @property
    def _again(self) -> str:
        return f"the app leave anew and {x_variable(self._account, 'refresh_token')} the new token (docs/x.md)"
