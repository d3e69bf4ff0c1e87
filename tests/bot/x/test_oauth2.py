"""OAuth 2.0: each pair of tokens is stored before it is used, and no refresh token is spent twice."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from pydantic import SecretStr

from bot.errors import SettingsError
from bot.services.posting import Posting
from bot.services.spending import Budget
from bot.settings import Secrets, Settings, X, XKeys, load_secrets, load_settings
from bot.x import oauth2
from bot.x.accounts import accounts_of
from bot.x.port import Retry, XError
from bot.x.tweepy_client import TweepyClient
from data.outbox import State
from data.store import Store
from tests.bot.x.rows import VOICE, add_voice
from tests.loopback_x import SECRETS, Answer

NEWS = XKeys(client_id=SecretStr("client"), refresh_token=SecretStr("refresh-0"))


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "x-tokens" / "news.json"


@pytest.fixture
async def open_x(server, file) -> AsyncIterator[Callable[..., TweepyClient]]:
    clients = []

    def open_(keys: XKeys = NEWS) -> TweepyClient:
        clients.append(TweepyClient(Secrets(x={"news": keys}), "news", tokens=file, api_url=server.url))
        return clients[-1]

    yield open_
    for client in clients:
        await client.close()


def stored(file: Path) -> tuple[str, str]:
    pair = json.loads(file.read_text())
    return pair["access_token"], pair["refresh_token"]


async def refusal(x: TweepyClient) -> XError:
    with pytest.raises(XError) as caught:
        await x.create_post("Hello.")
    return caught.value


async def test_the_first_post_buys_a_pair_and_those_after_it_use_it_in_other_processes_too(server, file, open_x):
    x = open_x()
    await x.create_post("One.")
    await x.create_post("Two.")
    await open_x().create_post("Three.")
    assert server.spent == ["refresh-0"]
    assert [post.account for post in server.made] == ["3"] * 3
    assert stored(file) == ("access-1", "refresh-1")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


async def test_a_pair_is_on_the_disk_before_it_is_used(server, file, open_x, monkeypatch):
    seen = []
    monkeypatch.setattr(server.arrived, "put_nowait", lambda _: seen.append((stored(file)[0], server.headers["Authorization"])))
    await open_x().create_post("One.")
    assert seen == [("access-1", "Bearer access-1")]


async def test_one_that_ends_soon_is_renewed_first_and_one_that_x_refuses_at_once(server, file, open_x):
    await open_x().create_post("One.")
    pair = json.loads(file.read_text())
    file.write_text(json.dumps(pair | {"expires_at": (datetime.now(UTC) + timedelta(seconds=30)).isoformat()}))
    await open_x().create_post("Two.")
    assert (server.spent, stored(file)) == (["refresh-0", "refresh-1"], ("access-2", "refresh-2"))
    server.access_token = "revoked"
    await open_x().create_post("Three.")
    assert (server.spent[-1], stored(file)) == ("refresh-2", ("access-3", "refresh-3"))
    assert [post.text for post in server.made] == ["One.", "Two.", "Three."]
    assert len(server.requests) == 4


async def test_two_at_once_spend_one_refresh_token(server, open_x):
    one, two = open_x(), open_x()
    await asyncio.gather(one.create_post("One."), two.create_post("Two."), one.create_post("Three."))
    assert server.spent == ["refresh-0"]


async def test_a_refresh_token_that_x_takes_no_more_is_for_a_person_and_a_new_one_begins_anew(server, file, open_x):
    server.refresh_token = "refresh-7"
    error = await refusal(open_x())
    assert error.retry is Retry.NEVER
    assert "give the app leave anew and X_NEWS_REFRESH_TOKEN the new token" in str(error)
    await open_x(NEWS.model_copy(update={"refresh_token": SecretStr("refresh-7")})).create_post("One.")
    assert (stored(file)[1], server.requests) == ("refresh-8", ["One."])


@pytest.mark.parametrize("answer", [Answer.FAILED, Answer.CUT_AFTER_MAKING])
async def test_where_no_token_comes_nothing_was_sent_and_it_is_tried_later(server, open_x, answer):
    server.tokens.append(answer)
    x = open_x()
    assert (await refusal(x)).retry is Retry.LATER
    assert server.requests == []
    if answer is Answer.FAILED:
        await x.create_post("One.")
    else:  # X has turned the page, and its answer was lost: the old token is worth nothing
        assert (await refusal(x)).retry is Retry.NEVER


async def test_a_pair_that_cannot_be_stored_is_not_used_and_not_lost(server, file, open_x, monkeypatch):
    def full(_number: int) -> None:
        raise OSError(28, "No space left on device")

    x = open_x()
    with monkeypatch.context() as patch:
        patch.setattr(oauth2.os, "fsync", full)
        error = await refusal(x)
    assert (error.retry, server.requests) == (Retry.LATER, [])
    assert "No space left" in str(error)
    await x.create_post("One.")
    assert (server.spent, stored(file)) == (["refresh-0"], ("access-1", "refresh-1"))


@pytest.mark.parametrize(
    "damaged",
    [
        "{",
        "[" * 100_000,
        '{"seed": "s", "refresh_token": 5}',
        '{"seed": "s", "refresh_token": "a\\r\\nHost: evil.example"}',
        '{"seed": "s", "refresh_token": "r", "expires_at": "soon"}',
    ],
)
async def test_a_damaged_file_is_said(file, open_x, damaged):
    file.parent.mkdir()
    file.write_text(damaged)
    assert "is damaged" in str(await refusal(open_x()))


@pytest.mark.parametrize(
    "given", [{"expires_in": 1e300}, {"expires_in": 10**30}, {"access_token": {}}, {"refresh_token": None}, {"access_token": "a\nb"}]
)
async def test_an_answer_that_is_no_pair_is_not_stored(file, open_x, monkeypatch, given):
    answer = requests.Response()
    answer.status_code, answer._content = 200, json.dumps({"access_token": "a", "refresh_token": "r"} | given).encode()
    monkeypatch.setattr(oauth2.requests, "post", lambda *_, **__: answer)
    assert "gave no new token" in str(await refusal(open_x()))
    assert not file.exists()


def test_what_is_missing_is_named(file):
    with pytest.raises(SettingsError, match="X_NEWS_CLIENT_ID in the environment"):
        TweepyClient(Secrets(x={"news": XKeys(refresh_token=SecretStr("r"))}), "news", tokens=file)


async def test_accounts_of_both_kinds_post_and_look_beside_each_other(tmp_path, server):
    x = X(api_url=server.url, accounts={"news": {"auth": "oauth2"}, "silent": {}}, look_at_own_posts=True, look_after_seconds=0)
    settings = Settings(data_dir=tmp_path, x=x)
    secrets = Secrets(x={**SECRETS.x, "news": NEWS})
    async with Store(settings.database) as store:
        await store.write(add_voice)
        posting = Posting(store, accounts_of(settings, secrets, store, Budget(store, x)), settings=x)
        assert posting.accounts.keys() == {"default", "news"}
        for account in ("default", "news", "silent"):
            await posting.approve((await posting.draft(VOICE, None, "Low water.", "a test", account=account)).id, "ann")
        server.script.extend([Answer.CREATED, Answer.CUT_AFTER_MAKING])
        await posting.send_next()
        await posting.send_next()
        posting._lanes.clear()  # its wait
        await posting.send_next()
        assert {post.account: post.status for post in await posting.listed()} == {
            "default": State.POSTED,
            "news": State.POSTED,
            "silent": State.APPROVED,
        }
        assert [post.account for post in server.made] == ["1", "3"]
        assert server.looked == [server.looked[0]]
        costs = await store.read(lambda db: list(db.query("SELECT account, kind, cost FROM spending ORDER BY id")))
        assert [tuple(row.values()) for row in costs] == [
            ("default", "posts_written", 15_000),
            ("news", "posts_written", 15_000),
            ("news", "users_read", 10_000),
            ("news", "own_posts_read", 5000),
        ]
        for sender in posting.accounts.values():
            await sender.close()


# ------------------------------------------------------------------ names and keys


def test_each_account_has_its_own_keys_and_the_apps_may_be_shared(monkeypatch, tmp_path):
    file = tmp_path / "token"
    file.write_text("from a file\n")
    for name, value in {"X_API_KEY": "app", "X_ACCESS_TOKEN": "1-a", "X_NEWS_ACCESS_TOKEN_FILE": str(file), "X_OWN_API_KEY": "own"}.items():
        monkeypatch.setenv(name, value)
    secrets = load_secrets(["news", "own"])
    assert secrets.of_x("news").access_token.get_secret_value() == "from a file"
    assert [secrets.of_x(name).api_key.get_secret_value() for name in ("default", "news", "own")] == ["app", "app", "own"]
    assert secrets.of_x("own").access_token is None
    assert secrets.missing("own", ("api_key", "access_token")) == ["X_OWN_ACCESS_TOKEN"]


def test_accounts_are_tables_of_the_file(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[x.accounts.news]\nauth = "oauth2"\nhandle = "@Harbour_News"\n')
    accounts = load_settings(file).x.every_account
    assert [*accounts] == ["default", "news"]
    assert (accounts["news"].auth, accounts["news"].handle, accounts["default"].auth) == ("oauth2", "harbour_news", "oauth1")


@pytest.mark.parametrize("text", ["[x.accounts.News]", "[x.accounts.'a-b']", "[x.accounts.a]\nauth = 'basic'", "[x.accounts.a]\nkey = '1'"])
def test_a_wrong_account_is_one_sentence(tmp_path, text):
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"x\.accounts"):
        load_settings(file)
