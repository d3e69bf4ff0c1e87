"""Who may come in: with the token and a session alone, from the page itself alone, and by this machine's own names."""

import asyncio
import signal
import socket
import stat
from contextlib import suppress
from itertools import product

import httpx2 as httpx
import pytest
from typer.testing import CliRunner

from bot.app import Mynah
from bot.door import HOST
from bot.errors import SettingsError
from bot.faces.terminal.cli import cli
from bot.faces.web.entry import HEADERS, IDLE_SECONDS, TRIES, TRIES_SECONDS, Sessions, token_of
from bot.faces.web.face import WebFace
from bot.lock import Lead
from bot.log import configure_logging
from bot.serve import serve
from bot.settings import Secrets, Settings, Web
from tests.bot.web.conftest import HERE

PAGES = (
    "/", "/voices", "/voices/keeper_ottoline", "/voices/keeper_ottoline/1", "/queue", "/outbox", "/outbox/1", "/schedules",
    "/schedules/mornings", "/spend", "/health",
)  # fmt: skip
HIDDEN = (*PAGES, "/voices/keeper_ottoline/1/curve-dark.png", "/voices/keeper_ottoline/1/card", "/nothing", "/static")
FORMS = {
    "/outbox/1": {"choice": "approve", "seen": 1},
    "/posting": {"choice": "pause"},
    "/queue/9/cancel": {},
    "/schedules/mornings": {"choice": "remove"},
    "/voices/keeper_ottoline/pin": {"version": 1},
    "/voices/keeper_ottoline/1/card": {},
    "/sign-out": {},
}
ELSEWHERE = (
    {},
    {"Origin": "null"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://127.0.0.1:9999"},
    {"Origin": "http://localhost:8023"},
    {"Origin": HERE, "Sec-Fetch-Site": "cross-site"},
    {"Origin": HERE, "Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-origin"},
)


def test_it_is_off_unless_a_port_is_set():
    assert Settings().web.port == 0


async def test_without_a_session_nothing_is_shown_and_nothing_done(stranger):
    before = await stranger.rows()
    for path in HIDDEN:
        answer = await stranger.get(path)
        assert (answer.status_code, answer.headers["location"], answer.text) == (303, "/sign-in", ""), path
    for path, fields in FORMS.items():
        answer = await stranger.post(path, **fields)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in"), path
    stranger.client.cookies.set("mynah-8023", "guessed", domain="127.0.0.1")
    assert (await stranger.get("/outbox")).status_code == 303
    assert await stranger.rows() == before
    assert (await stranger.get("/sign-in")).status_code == 200
    assert (await stranger.get("/static/style.css")).status_code == 200


async def test_a_wrong_token_is_refused_in_one_sentence(stranger):
    for token in ("", "x", "ü" * 43, token_of(stranger.app.settings.data_dir)[:-1]):
        answer = await stranger.post("/sign-in", token=token)
        assert answer.status_code == 403
        assert "That is not the token" in answer.text
        assert "set-cookie" not in answer.headers
    assert (await stranger.get("/")).status_code == 303


async def test_after_many_wrong_tokens_none_is_looked_at(stranger):
    for _ in range(TRIES):
        assert (await stranger.post("/sign-in", token="x")).status_code == 403
    answer = await stranger.post("/sign-in", token=token_of(stranger.app.settings.data_dir))
    assert answer.status_code == 429
    assert "wait a minute" in answer.text


def test_sessions_end_and_tries_are_forgotten():
    now = [0.0]
    sessions = Sessions("t" * 40, "mynah", clock=lambda: now[0])
    first, second = sessions.begin("t" * 40), sessions.begin("t" * 40)
    assert None not in (first, second)
    assert first != second
    for _ in range(TRIES):
        assert not sessions.tired()
        assert sessions.begin("wrong") is None
    assert sessions.tired()
    assert sessions.find(first)  # who is in, stays in
    now[0] += TRIES_SECONDS
    assert not sessions.tired()
    now[0] += IDLE_SECONDS - TRIES_SECONDS
    assert sessions.find(first)
    now[0] += 1
    assert sessions.find(first)
    assert sessions.find(second) is None
    now[0] += IDLE_SECONDS
    assert sessions.find(first, by_person=False)  # an open page looks again by itself, and keeps no session alive
    now[0] += 1
    assert sessions.find(first, by_person=False) is None
    first = sessions.begin("t" * 40)
    sessions.end(first)
    assert sessions.find(first) is None


async def test_the_cookie_is_for_no_script_and_no_other_site_and_signing_out_ends_it(operator):
    key = operator.client.cookies["mynah-8023"]
    assert (await operator.get("/")).status_code == 200
    answer = await operator.post("/sign-in", token=token_of(operator.app.settings.data_dir))
    said = answer.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert "path=/" in said
    assert (await operator.post("/sign-out")).headers["location"] == "/sign-in"
    operator.client.cookies.set("mynah-8023", key, domain="127.0.0.1")
    assert (await operator.get("/")).status_code == 200  # the other session is another
    assert (await operator.post("/sign-out")).status_code == 303
    operator.client.cookies.set("mynah-8023", key, domain="127.0.0.1")
    assert (await operator.get("/")).status_code == 303


async def test_what_another_page_sends_is_refused(operator):
    before = await operator.rows()
    for headers, (path, fields) in product(ELSEWHERE, FORMS.items()):
        answer = await operator.post(path, headers=headers, **fields)
        assert answer.status_code == 403, (path, headers)
        assert "another page" in answer.text
    assert await operator.rows() == before
    assert (await operator.get("/")).status_code == 200


async def test_another_site_cannot_sign_a_browser_in(stranger):
    token = token_of(stranger.app.settings.data_dir)
    assert (await stranger.post("/sign-in", headers={"Origin": "https://evil.example"}, token=token)).status_code == 403


async def test_another_name_of_this_address_is_refused(operator):
    before = await operator.rows()
    for host in (
        "evil.example",
        "evil.example:8023",
        "127.0.0.1.evil.example",
        "mynah.localhost",
        "10.0.0.1:8023",
        "localhost/sign-in?",
        "",
    ):
        assert (await operator.get("/outbox", Host=host)).status_code == 400, host
        answer = await operator.post("/posting", headers={"Host": host, "Origin": f"http://{host}"}, choice="pause")
        assert answer.status_code == 400, host
    assert await operator.rows() == before


async def test_each_answer_says_what_a_browser_must_not_do_with_it(operator):
    for path in (*HIDDEN, "/sign-in", "/static/live.js", "/outbox/999"):
        headers = (await operator.get(path)).headers
        assert {name: headers.get(name) for name in HEADERS} == HEADERS, path
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


async def test_a_defect_is_one_sentence_on_a_page_that_is_guarded_too(operator, monkeypatch):
    monkeypatch.setattr(operator.app.budget, "overview", None)
    answer = await operator.get("/spend")
    assert answer.status_code == 500
    assert "Something went wrong that should not (TypeError)" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_a_form_that_is_too_large_or_none_changes_nothing(operator):
    before = await operator.rows()
    assert (await operator.post("/outbox/1", choice="edit", seen=1, text="x" * 70_000)).status_code == 413
    for body in (b"\xff\xfe", b"&".join(b"a=%d" % number for number in range(50)), b"choice=approve&seen=%FF"):
        answer = await operator.client.post("/outbox/1", content=body, headers=operator.headers)
        assert answer.status_code == 400
        assert "That form cannot be read." in answer.text
    for seen in ("", "x", "-1", "²", "9" * 50):
        assert (await operator.post("/outbox/1", choice="approve", seen=seen)).status_code == 400
    assert (await operator.post("/outbox/1", choice="sell", seen=1)).status_code == 400
    for path in ("/schedules/mornings", "/posting"):
        assert (await operator.post(path, choice="sell")).status_code == 400
    for path in (f"/outbox/{'9' * 30}", "/outbox/0", "/outbox/-1", f"/queue/{'9' * 5000}/cancel", "/voices?page=0", "/voices?page=²"):
        assert (await operator.get(path)).status_code == 404, path
    assert await operator.rows() == before


def test_the_token_is_its_owners_alone_and_stays(tmp_path):
    token = token_of(tmp_path / "var")
    path = tmp_path / "var" / "web-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) >= 43
    assert token_of(tmp_path / "var") == token
    assert [file.name for file in path.parent.iterdir()] == ["web-token"]
    path.write_text("short\n")
    with pytest.raises(SettingsError, match="holds no token of at least 32"):
        token_of(tmp_path / "var")
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(SettingsError, match="holds no token"):
        token_of(tmp_path / "var")
    path.unlink()
    path.mkdir()
    with pytest.raises(SettingsError, match="cannot be used"):
        token_of(tmp_path / "var")


def test_a_command_prints_the_address_with_the_token_while_mynah_runs(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text("[web]\nport = 8023\n")
    asked = ["web", "--config", str(config)]
    assert "Mynah does not run" in str(CliRunner().invoke(cli, asked).exception)
    with Lead(tmp_path / "var" / "mynah.lock") as lead:
        assert lead.take()
        said = CliRunner().invoke(cli, asked)
        assert said.stdout == f"http://127.0.0.1:8023/sign-in#{token_of(tmp_path / 'var')}\n"
        config.write_text("")
        assert "The page is off" in str(CliRunner().invoke(cli, asked).exception)


async def test_it_answers_at_its_door_takes_no_signal_and_writes_its_token_into_no_log(settings, executor, tmp_path):
    configure_logging(tmp_path / "log")
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with Mynah(settings, Secrets(), executor) as app:
        face = WebFace(app, 0)
        task = asyncio.create_task(face.run())
        async with asyncio.timeout(60):
            await face.door.open.wait()
            assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
            token = token_of(app.settings.data_dir)
            here = f"http://{HOST}:{face.door.port}"
            async with httpx.AsyncClient(base_url=here, trust_env=False) as client:
                answer = await client.post("/sign-in", data={"token": token}, headers={"Origin": here})
                assert (answer.status_code, answer.headers["location"]) == (303, "/")
                assert "server" not in answer.headers
                assert "Overview" in (await client.get("/")).text
                assert (await client.get("/", headers={"Host": "evil.example"})).status_code == 400
            task.cancel()
            await asyncio.wait([task])
    assert task.cancelled()
    log = (tmp_path / "log").read_text()
    assert "served on loopback" in log
    assert token not in log


async def test_the_service_runs_for_the_page_alone_and_ends_at_a_signal(settings, executor):
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    served = settings.model_copy(update={"web": Web(port=port)})
    serving = asyncio.create_task(serve(served, Secrets(), lambda *given: Mynah(*given, executor)))
    async with asyncio.timeout(60), httpx.AsyncClient(base_url=f"http://{HOST}:{port}", trust_env=False) as client:
        while True:
            with suppress(httpx.ConnectError):
                assert (await client.get("/sign-in")).status_code == 200
                break
            await asyncio.sleep(0.01)
        signal.raise_signal(signal.SIGTERM)
        await serving
