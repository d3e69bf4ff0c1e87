"""What the one adapter makes of each answer that X can give, and of none."""

import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from bot.errors import SettingsError
from bot.settings import Secrets, XKeys
from bot.x.port import Retry, XError
from bot.x.tweepy_client import TweepyClient
from data.outbox import DEFAULT_ACCOUNT
from tests.loopback_x import KEYS, SECRETS, Answer, LoopbackX


@pytest.fixture
async def x(server: LoopbackX) -> AsyncIterator[TweepyClient]:
    client = TweepyClient(SECRETS, api_url=server.url, connect_timeout=5, read_timeout=1)
    yield client
    await client.close()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is ours and on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def refusal(x: TweepyClient, text: str = "Hello.") -> XError:
    with pytest.raises(XError) as caught:
        await x.create_post(text)
    return caught.value


async def test_a_post_is_signed_for_the_address_it_goes_to_and_its_id_comes_back(server, x):
    first = await x.create_post("Low water, 06:12. 🌊 日本")
    second = await x.create_post("High water.")
    assert server.posts == {first: "Low water, 06:12. 🌊 日本", second: "High water."}


async def test_wrong_keys_do_not_fit_the_signature(server):
    x = TweepyClient(Secrets(x={DEFAULT_ACCOUNT: KEYS.model_copy(update={"access_secret": SecretStr("another")})}), api_url=server.url)
    error = await refusal(x)
    await x.close()
    assert (error.retry, server.posts) == (Retry.NEVER, {})
    assert "of default (401): check X_API_KEY, X_API_SECRET, X_ACCESS_TOKEN, X_ACCESS_SECRET" in str(error)


async def test_the_same_text_twice_is_to_be_regenerated(server, x):
    await x.create_post("Again.")
    error = await refusal(x, "Again.")
    assert error.retry is Retry.REGENERATE
    assert "regenerate" in str(error)
    assert len(server.posts) == 1


@pytest.mark.parametrize(
    ("answer", "retry", "says"),
    [
        (Answer.UNAUTHORIZED, Retry.NEVER, "401"),
        (Answer.NO_CREDITS, Retry.NEVER, "buy some"),
        (Answer.FORBIDDEN, Retry.NEVER, "You are not permitted"),
        (Answer.NOT_ENROLLED, Retry.NEVER, "attached to a Project"),
        (Answer.INVALID, Retry.NEVER, "400"),
        (Answer.FAILED, Retry.UNSURE, "503"),
        (Answer.FAILED_AFTER_MAKING, Retry.UNSURE, "may be there"),
        (Answer.CUT, Retry.UNSURE, "may be there"),
        (Answer.CUT_AFTER_MAKING, Retry.UNSURE, "may be there"),
        (Answer.SILENT_AFTER_MAKING, Retry.UNSURE, "in time"),
        (Answer.NO_ID, Retry.UNSURE, "no id"),
    ],
)
async def test_each_refusal_says_what_may_be_done(server, x, answer, retry, says):
    server.script.append(answer)
    error = await refusal(x)
    assert error.retry is retry
    assert says in str(error)
    assert "\n" not in str(error)
    assert len(server.requests) == 1, "nothing below the outbox sends twice"


async def test_a_limit_waits_for_its_own_reset(server, x):
    server.script.extend([Answer.LIMITED, Answer.LIMITED_FOR_THE_DAY])
    for limit in ("x-rate-limit", "x-user-limit-24hour"):
        error = await refusal(x)
        assert error.retry is Retry.WAIT
        assert error.until == datetime.fromtimestamp(server.resets[limit], UTC)


async def test_a_limit_without_headers_waits_for_a_window(server, x):
    server.script.append(Answer.LIMITED_WITHOUT_HEADERS)
    error = await refusal(x)
    assert error.until is not None
    assert abs(error.until - datetime.now(UTC) - timedelta(minutes=15)) < timedelta(seconds=30)


async def test_a_refused_connection_may_be_tried_again(closed_port):
    x = TweepyClient(SECRETS, api_url=f"http://127.0.0.1:{closed_port}")
    error = await refusal(x)
    await x.close()
    assert error.retry is Retry.LATER


async def test_a_name_that_nobody_has_may_be_tried_again(monkeypatch):
    def unknown(*_args: object, **_more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("urllib3.util.connection.socket.getaddrinfo", unknown)
    monkeypatch.setenv("NO_PROXY", "x.invalid")
    x = TweepyClient(SECRETS, api_url="https://x.invalid")
    error = await refusal(x)
    await x.close()
    assert error.retry is Retry.LATER


async def test_no_connection_is_kept_for_the_next_post(server, x):
    """One that died unseen meanwhile would leave a post that nobody is sure of."""
    await x.create_post("One.")
    assert server.headers["Connection"] == "close"


def test_missing_secrets_are_named():
    with pytest.raises(SettingsError, match="X_API_SECRET, X_ACCESS_TOKEN, X_ACCESS_SECRET"):
        TweepyClient(Secrets(x={DEFAULT_ACCOUNT: XKeys(api_key=SecretStr("key"))}))


def test_an_address_must_be_one():
    with pytest.raises(SettingsError, match=r"x\.api_url"):
        TweepyClient(SECRETS, api_url="api.x.com")


def test_only_a_wait_has_an_end():
    with pytest.raises(ValueError, match="wait"):
        XError("Wait.", Retry.WAIT)
