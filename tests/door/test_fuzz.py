"""Whatever comes in at a door is taken, or refused in one sentence, within a second: 20,000 inputs by `make test-long`, a few hundred here.

Texts are drawn as they are, of pieces that mean something somewhere (tests/hostile.py), and of one piece many times over, which is what
makes an expression take long. Members' own door is tests/bot/discord/test_fuzz.py, that of strangers' models tests/trainer/test_fuzz.py.
"""

import asyncio
import json
import unicodedata
import zipfile
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import AsyncMock
from urllib.parse import quote

import pytest
import requests
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from rich.console import Console
from sqlite_utils import Database

from bot.app import Mynah
from bot.errors import MynahError
from bot.faces.discord.language import catalogue
from bot.faces.discord.planning import when
from bot.faces.discord.text import safe, sentence, units
from bot.faces.terminal import cli
from bot.faces.terminal.actions import Answer
from bot.faces.terminal.console import COMMANDS, obey
from bot.services import backups, bringing, publishing, safety, scheduling, times
from bot.settings import PREFIX, Secrets, Settings, XKeys, _paths, load_secrets, load_settings
from bot.x.port import XError
from bot.x.text import parser
from bot.x.tweepy_client import TweepyClient
from bot.x.tweepy_reader import TweepyReader
from data import accounts, called, models
from data.copies import TrainingPosts
from data.outbox import Destination
from data.readers import read_owner, read_posts
from data.readers.modelcard import read_model_card
from data.store import Store
from tests.bot.conftest import ScriptedExecutor
from tests.bot.web.conftest import Visitor, noon
from tests.bot.web.harbour import furnish
from tests.hostile import PIECES, soon
from tests.voices import add_version
from trainer import protocol

SECONDS = 1.0  # of the processor's, for one input: a busy machine makes nothing hang
NOW = datetime(2026, 11, 22, tzinfo=UTC)

# --------------------------------------------------------------------- what comes

TEXT = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    st.builds(
        lambda piece, times, end: (piece * times)[:20_000] + end,
        st.sampled_from([*PIECES, "0 ", "9:", "1,", "a-"]),
        st.sampled_from([9, 300, 5_000]),
        st.text(max_size=3),
    ),
)
SHORT = TEXT.map(lambda text: text[:4_000])  # what a message may hold
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from(["1", "2026-11-22T00:00:00Z", 10**30, "9" * 5_000]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
DEEP = st.builds(
    lambda opening, depth: opening * depth, st.sampled_from(["[", '{"a":', '[{"data":']), st.sampled_from([50, 2_000, 100_000])
)


def keyed(*names: str) -> st.SearchStrategy[Any]:
    """Objects that have some of these keys, with anything for values; their values have them too."""
    inner = JSON | st.dictionaries(st.sampled_from(names), JSON, max_size=5)
    return st.dictionaries(st.sampled_from(names), inner | st.lists(inner, max_size=3), max_size=len(names))


def written(value: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    return value.map(json.dumps) | DEEP


TWEETS = keyed(
    "tweet", "id", "id_str", "full_text", "created_at", "entities", "edit_info", "noteTweet", "core", "text", "account", "username"
)
ASSIGNED = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "window.YTD.tweets.part0 = "]),
    written(st.lists(TWEETS, max_size=4)),
    st.sampled_from(["", ";", "]", "x"]),
)
CONTENT = st.one_of(
    ASSIGNED.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(written(TWEETS), max_size=4).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")),
    st.builds(
        lambda head, rows: "\n".join([head, *rows]).encode("utf-8", "surrogatepass"),
        st.sampled_from(["text,id", "tweet;x", "id\ttext"]),
        st.lists(TEXT, max_size=4),
    ),
    TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=200),
)
MEMBERS = st.sampled_from(
    [
        "data/tweets.js",
        "../../data/tweets.js",
        "/data/tweets.js",
        "x/tweet.js",
        "data/note-tweet.js",
        "data/manifest.js",
        "data/account.js",
        "data\\tweets.js",
        "tweets.js",
    ]
)
WORDS = st.lists(
    st.one_of(
        TEXT, st.sampled_from(["ann", "-n", "--count", "3", "--version", "--as", "--from", "last", "--search", "--page", "--all", "--"])
    ),
    max_size=6,
)
WHEN = st.lists(
    st.one_of(TEXT, st.sampled_from(["mon-fri", "9am", "*/5", "0", "*", "9:00", "1-5", "6h", "every", "-", "and", "L", "31", "feb"])),
    max_size=6,
).map(" ".join)
KEYS = [".".join(path) for path in _paths(Settings)]
VALUE = st.one_of(TEXT, st.integers(), st.floats(), st.booleans(), st.lists(TEXT, max_size=3), st.dictionaries(TEXT, TEXT, max_size=2))


def _toml(pairs: list[tuple[str, Any]], rest: str) -> str:
    lines = []
    for key, value in pairs:
        with suppress(ValueError):
            lines.append(f"{key} = {json.dumps(value, allow_nan=False)}")
    return "\n".join([*lines, rest])


TOML = st.builds(
    _toml,
    st.lists(st.tuples(st.sampled_from(KEYS), VALUE), max_size=3),
    TEXT | st.sampled_from(["", "a = " + "[" * 5_000, "[" * 5_000, "a." * 5_000]),
)

# ---------------------------------------------------------------------- the doors


class Door(NamedTuple):
    """One way in."""

    inputs: st.SearchStrategy[Any]
    open: Callable[[ExitStack, Path], Callable[[Any], object]]
    """Makes what takes an input; it may raise a sentence, and nothing else."""
    count: int
    """Of the 20,000."""


def _posts(_: ExitStack, folder: Path) -> Callable[[tuple[str, bytes]], object]:
    def take(given: tuple[str, bytes]) -> None:
        path = folder / given[0]
        path.write_bytes(given[1])
        for tweet in read_posts(path):
            tweet.text.encode()
            tweet.id.encode()

    return take


def _archives(_: ExitStack, folder: Path) -> Callable[[tuple[dict[str, bytes], int, bytes]], object]:
    def take(given: tuple[dict[str, bytes], int, bytes]) -> None:
        members, place, damage = given
        path = folder / "a.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in members.items():
                file.writestr(name, content)
        whole = path.read_bytes()
        place %= len(whole)
        path.write_bytes(whole[:place] + damage + whole[place + len(damage) :])
        with suppress(MynahError):
            read_owner(path)
        list(read_posts(path))
        assert [file.name for file in folder.iterdir()] == ["a.zip"]

    return take


def _console(stack: ExitStack, folder: Path) -> Callable[[tuple[str, list[str]]], object]:
    runner = stack.enter_context(asyncio.Runner())
    app = Mynah(Settings(data_dir=folder), Secrets(), ScriptedExecutor())
    runner.run(app.__aenter__())
    stack.callback(lambda: runner.run(app.__aexit__(None, None, None)))
    console = stack.enter_context(_silent())
    return lambda given: runner.run(obey(app, f"!{given[0]} {' '.join(given[1])}", "me", console))


@contextmanager
def _silent():
    with Path("/dev/null").open("w") as nowhere:
        yield Console(file=nowhere)


def _names_of(command: Any, *before: str) -> list[tuple[str, ...]]:
    """Return how each command of a group is called, but those that work for themselves."""
    own = [] if before in {("run",), ("console",), ("doctor",)} else [before]
    return [*own, *(name for part, one in getattr(command, "commands", {}).items() for name in _names_of(one, *before, part))]


ARGUMENTS = typer.main.get_command(cli.cli)


def _arguments(stack: ExitStack, _: Path) -> Callable[[list[str]], object]:
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    for effect in ("_run", "_upkeep"):
        patch.setattr(cli, effect, lambda *_, **__: Answer({"ok": True}, ""))

    def take(given: list[str]) -> None:
        with suppress(typer.TyperException, typer.Abort, typer.Exit):  # which bot/__main__.py makes a sentence of
            ARGUMENTS.main(given, prog_name="mynah", standalone_mode=False)

    return take


def _schedule(_: ExitStack, __: Path) -> Callable[[tuple[str, str, str, str, str]], object]:
    def take(given: tuple[str, str, str, str, str]) -> None:
        text, zone, jitter, quiet, grace = given
        spec = scheduling.Spec(**when(text), timezone=zone, jitter=jitter, quiet=quiet, grace=grace)
        schedule = scheduling._read("x", "ann", spec, Destination(None, 1), NOW)
        times.next_times(schedule, NOW)

    return take


def _config(_: ExitStack, folder: Path) -> Callable[[str], object]:
    def take(text: str) -> None:
        file = folder / "config.toml"
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        load_settings(file)

    return take


def _environment(_: ExitStack, folder: Path) -> Callable[[tuple[str, str, bytes]], object]:
    def take(given: tuple[str, str, bytes]) -> None:
        name, value, secret = given
        (folder / "config.toml").touch()
        (folder / "token").write_bytes(secret)
        with pytest.MonkeyPatch.context() as patch:
            with suppress(ValueError):  # a NUL, which no environment holds
                patch.setenv(PREFIX + name.replace(".", "__").upper(), value)
            patch.setenv("DISCORD_TOKEN_FILE", str(folder / "token"))
            load_secrets()
            load_settings(folder / "config.toml")

    return take


def _x(stack: ExitStack, folder: Path) -> Callable[[tuple[int, str, dict[str, str], str]], object]:
    """Everything that asks X, with an answer of anybody's; the door is where requests hands an answer over."""
    answer = requests.Response()
    patch = stack.enter_context(pytest.MonkeyPatch.context())

    def send(_: object, request: requests.PreparedRequest, **__: object) -> requests.Response:
        answer.request, answer.url = request, request.url
        return answer

    patch.setattr("requests.adapters.HTTPAdapter.send", send)
    runner = stack.enter_context(asyncio.Runner())
    key = SecretStr("1-key")
    secrets = Secrets(
        x={"default": XKeys(api_key=key, api_secret=key, access_token=key, access_secret=key, client_id=key, refresh_token=key)}
    )
    reader, client = TweepyReader(secrets), TweepyClient(secrets)
    stack.callback(lambda: (runner.run(reader.close()), runner.run(client.close())))

    def take(given: tuple[int, str, dict[str, str], str]) -> None:
        nonlocal answer
        status, body, headers, call = given
        answer = requests.Response()
        answer.status_code, answer._content = status, body.encode("utf-8", "replace")
        answer.headers.update(headers)
        answer.raw = None
        tokens = TweepyClient(secrets, tokens=folder / "pair.json")
        tokens.id = "1"
        (folder / "pair.json").unlink(missing_ok=True)
        calls = {
            "user": lambda: reader.user("ann"),
            "page": lambda: reader.page("1"),
            "post": lambda: client.create_post("hello"),
            "own": lambda: client.own_posts(5, since_id=None, since=NOW),
            "mentions": lambda: client.mentions(5, since_id=None, since=NOW),
            "me": client.profile,
            "token": lambda: tokens.create_post("hello"),
        }
        try:
            runner.run(calls[call]())
        finally:
            runner.run(tokens.close())

    return take


def _pair(_: ExitStack, folder: Path) -> Callable[[str], object]:
    key = SecretStr("key")
    secrets = Secrets(x={"default": XKeys(client_id=key, refresh_token=key)})

    def take(text: str) -> None:
        (folder / "pair.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        client = TweepyClient(secrets, tokens=folder / "pair.json", api_url="http://127.0.0.1:1")  # where nobody listens
        try:
            with asyncio.Runner() as runner:
                runner.run(client.create_post("hello"))
        finally:
            client._client.session.close()
            client._raw.session.close()

    return take


def _lines(_: ExitStack, folder: Path) -> Callable[[tuple[str, str, str]], object]:
    learned = TrainingPosts(["the lamp is lit and the tide is out"])

    def take(given: tuple[str, str, str]) -> None:
        rules, line, prompt = given
        (folder / "list.txt").write_bytes(rules.encode("utf-8", "surrogatepass"))
        judge = safety.Safety(Settings.model_validate({"safety": {"blocklist": folder / "list.txt"}}).safety)
        judge.judge(line, learned, safety.Said(), prompt=prompt)
        judge.refusal(prompt)

    return take


def _discord(_: ExitStack, __: Path) -> Callable[[str], object]:
    japanese = catalogue("ja")

    def take(text: str) -> None:
        for limit in (1, 100, 2000):
            assert units(safe(text, limit)) <= limit
        safe(text).encode()
        assert units(sentence(text)) <= 2000
        japanese.find(text)

    return take


def _cards(_: ExitStack, folder: Path) -> Callable[[tuple[str, Any]], object]:
    def take(given: tuple[str, Any]) -> None:
        text, note = given
        read_model_card(text)
        bringing._counts(protocol.Imported("w", "0", 1, "base", "lora", {}, [], text, note), ["ann"])
        (folder / "README.md").write_bytes(text.encode("utf-8", "surrogatepass"))
        publishing._refuse_other_card(folder)

    return take


def _names(stack: ExitStack, folder: Path) -> Callable[[str], object]:
    """What is looked for by a name that anybody gives, beside a voice of another name; SQL sees a value."""
    runner = stack.enter_context(asyncio.Runner())
    store = Store(folder / "mynah.db")
    runner.run(store.__aenter__())
    stack.callback(lambda: runner.run(store.__aexit__(None, None, None)))
    runner.run(store.write(lambda db: called.put(db, 1, add_version(db, ("ann", "bob")).voice, called.Called("Anna"), "me")))

    def work(db: Database, text: str) -> None:
        rows = {table: db[table].count for table in db.table_names()}
        assert accounts.handles_with(db, text, 25) == [handle for handle in ("ann", "bob") if text in handle]
        assert models.names(db, text, 25) == (["ann-bob"] if text in "ann-bob" else [])
        if unicodedata.normalize("NFKC", text).casefold() not in {"anna", "ann-bob", "ann", "bob"}:
            assert called.bearer(db, 1, text) is None
            assert accounts.read_tweets(db, text) == []
            with pytest.raises(MynahError):
                models.current(db, text)
        assert {table: db[table].count for table in db.table_names()} == rows

    return lambda text: runner.run(store.write(work, text.encode("utf-8", "replace").decode()))


def _page(stack: ExitStack, folder: Path) -> Callable[[tuple[bool, str, list[str], str, Any]], object]:
    """The operator's page, before somebody who has signed in."""
    runner = stack.enter_context(asyncio.Runner())
    app = Mynah(Settings(data_dir=folder), Secrets(), ScriptedExecutor(), clock=noon)
    runner.run(app.__aenter__())
    stack.callback(lambda: runner.run(app.__aexit__(None, None, None)))
    runner.run(furnish(app))
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(publishing, "say", AsyncMock(return_value=publishing.Said("", ())))  # nobody is here to answer
    visitor = Visitor(app)
    stack.callback(lambda: runner.run(visitor.client.aclose()))
    runner.run(visitor.sign_in())
    for path in ("/", "/voices/keeper_ottoline", "/outbox/1", "/schedules/mornings"):
        assert runner.run(visitor.get(path)).status_code == 200

    def take(given: tuple[bool, str, list[str], str, Any]) -> None:
        shows, form, parts, query, content = given
        path = form.format(*(quote(part, safe="", errors="replace") for part in parts)) + "?" + quote(query, safe="=&", errors="replace")
        path = path[:60_000]  # which is what a client sends at most
        if shows:
            answer = runner.run(visitor.client.get(path))
        else:
            kind = "content" if isinstance(content, bytes) else "data"
            answer = runner.run(visitor.client.post(path, headers=visitor.headers, **{kind: content}))
        assert answer.status_code < 500

    return take


def _backups(_: ExitStack, folder: Path) -> Callable[[tuple[int, bytes, int]], object]:
    settings, file, damaged = Settings(data_dir=folder / "var"), folder / "sound", folder / "damaged"
    settings.data_dir.mkdir()
    with asyncio.Runner() as runner:
        runner.run(_begin(settings.database))
    backups.back_up(settings, file)
    whole = file.read_bytes()

    def take(given: tuple[int, bytes, int]) -> None:
        place, damage, end = given
        place %= len(whole)
        damaged.write_bytes((whole[:place] + damage + whole[place + len(damage) :])[: len(whole) - end])
        try:
            if kept := backups.restore(settings, damaged).kept:
                kept.unlink()
        finally:
            assert {path.name for path in folder.iterdir()} == {"var", "sound", "damaged"}
            assert not [path for path in settings.data_dir.iterdir() if path.name.endswith(".part")]

    return take


async def _begin(database: Path) -> None:
    async with Store(database) as store:
        await store.write(add_version)


def _sound(text: str) -> str:
    """Return a text as a form can hold it."""
    return text.encode("utf-8", "replace").decode()


PATHS = [
    "/", "/sign-in", "/voices", "/voices/{}", "/voices/{}/{}", "/voices/{}/{}/card", "/voices/{}/pin", "/queue", "/queue/{}/cancel",
    "/outbox", "/outbox/{}", "/schedules", "/schedules/{}", "/spend", "/health", "/posting", "/{}", "/static/{}", "/{}/{}",
]  # fmt: skip
FRONT = st.builds("---\n{}\n---\n{}".format, TEXT, TEXT)
CARD = st.lists(
    st.one_of(
        TEXT,
        st.sampled_from(["> @ann", "| Data | Ann |", "| Tweets kept | 1 |", "| Retweets |", "\n" * 30_000, "\n@", ">" * 9_000, "- mynah"]),
    ),
    max_size=9,
).map("\n".join)
ANSWER = keyed(
    "data",
    "id",
    "text",
    "username",
    "public_metrics",
    "tweet_count",
    "meta",
    "next_token",
    "includes",
    "users",
    "tweets",
    "errors",
    "detail",
    "title",
    "type",
    "author_id",
    "created_at",
    "entities",
    "mentions",
    "note_tweet",
    "referenced_tweets",
    "access_token",
    "refresh_token",
    "expires_in",
    "edit_history_tweet_ids",
)
FILLED = st.builds(
    lambda row, user, meta: {"data": [row], "includes": {"users": [user], "tweets": [row]}, "meta": meta},
    st.fixed_dictionaries(
        {"id": JSON, "text": JSON, "author_id": st.just("7"), "created_at": JSON},
        optional={"entities": JSON, "note_tweet": JSON, "referenced_tweets": JSON},
    ),
    st.fixed_dictionaries({"id": st.just("7"), "username": JSON}, optional={"description": JSON, "affiliation": JSON}),
    st.fixed_dictionaries({}, optional={"next_token": JSON}),
)
TOKEN = st.fixed_dictionaries({"access_token": JSON}, optional={"refresh_token": JSON, "expires_in": JSON})
HEADERS = st.dictionaries(
    st.sampled_from(["x-rate-limit-reset", "x-rate-limit-remaining", "x-app-limit-24hour-reset"]),
    TEXT | st.sampled_from(["9" * 400, "-1", "1e9", "nan"]),
    max_size=2,
)

DOORS = {
    "posts": Door(st.tuples(st.sampled_from(["a.jsonl", "a.csv", "a.txt", "tweets.js", "a.zip", "noext"]), CONTENT), _posts, 3_000),
    "archives": Door(
        st.tuples(st.dictionaries(MEMBERS, CONTENT, min_size=1, max_size=4), st.integers(0), st.binary(max_size=3)), _archives, 2_500
    ),
    "cards": Door(st.tuples(CARD | FRONT, keyed("handles", "counts", "ann", "downloaded", "kept") | st.just({})), _cards, 1_500),
    "console": Door(st.tuples(st.sampled_from(sorted(COMMANDS)) | TEXT, WORDS), _console, 1_500),
    "arguments": Door(
        st.builds(lambda name, rest: [*name, *rest], st.sampled_from(_names_of(ARGUMENTS)), WORDS),
        _arguments,
        2_000,
    ),
    "schedules": Door(
        st.tuples(
            WHEN,
            TEXT | st.sampled_from(["UTC", "Asia/Tokyo", "../../etc/passwd"]),
            WHEN | st.just(""),
            WHEN | st.just(""),
            WHEN | st.just("1h"),
        ),
        _schedule,
        2_000,
    ),
    "settings": Door(TOML, _config, 1_500),
    "environment": Door(st.tuples(st.sampled_from(KEYS) | TEXT, TEXT | written(VALUE), st.binary(max_size=40)), _environment, 500),
    "X": Door(
        st.tuples(
            st.sampled_from([200, 201, 400, 401, 402, 403, 404, 429, 500, 503, 799]),
            written(ANSWER | FILLED | TOKEN | JSON),
            HEADERS,
            st.sampled_from(["user", "page", "post", "own", "mentions", "me", "token"]),
        ),
        _x,
        2_500,
    ),
    "token file": Door(written(keyed("seed", "refresh_token", "access_token", "expires_at")) | TEXT, _pair, 500),
    "lines and blocklists": Door(st.tuples(SHORT | st.sampled_from(["/(a+)+$/", "/(.*)*x/"]), SHORT, SHORT), _lines, 1_000),
    "Discord's text": Door(SHORT, _discord, 1_000),
    "names": Door(TEXT | st.sampled_from(["' OR 1=1 --", "%", "_", "x'; DROP TABLE accounts; --", "ann", "B"]), _names, 500),
    "the operator's page": Door(
        st.tuples(
            st.booleans(),
            st.sampled_from(PATHS),
            st.lists(SHORT | st.sampled_from(["keeper_ottoline", "mornings", "1", "2", "0", "-1", "9" * 5_000]), min_size=2, max_size=2),
            SHORT | st.sampled_from(["page=", "page=0", "page=2", "search=a&search=b"]),
            st.binary(max_size=40)
            | st.dictionaries(
                st.sampled_from(["choice", "seen", "text", "version", "token", "back"]) | SHORT.map(_sound),
                SHORT.map(_sound) | st.sampled_from(["approve", "edit", "reject", "again", "pause", "remove", "1", "2"]),
                max_size=5,
            ),
        ),
        _page,
        700,
    ),
    "backups": Door(st.tuples(st.integers(0), st.binary(max_size=60), st.sampled_from([0, 0, 0, 1, 4_096, 90_000])), _backups, 300),
    "the trainer's words": Door(
        written(keyed("type", "job", "request", "text", "index", "recipe", "train", "loss", "step")) | TEXT, lambda *_: protocol.parse, 500
    ),
}


def _through(door: Door, folder: Path, most: int, *, same: bool) -> None:
    with ExitStack() as stack:
        take = door.open(stack, folder)
        parser()  # whose import is nobody's input

        @settings(max_examples=most, database=None, derandomize=same, suppress_health_check=list(HealthCheck))
        @given(door.inputs)
        def taken(given: object) -> None:
            with soon(SECONDS):
                try:
                    take(given)
                except (MynahError, XError, protocol.ProtocolError) as error:
                    assert str(error)  # noqa: PT017

        taken()


@pytest.mark.parametrize("name", DOORS)
def test_a_few_inputs_at_each_door(tmp_path, name):
    _through(DOORS[name], tmp_path, 15, same=True)


@pytest.mark.long
@pytest.mark.parametrize("name", DOORS)
def test_twenty_thousand_inputs(tmp_path, name):
    _through(DOORS[name], tmp_path, DOORS[name].count, same=False)


def test_that_there_are_twenty_thousand():
    assert sum(door.count for door in DOORS.values()) >= 20_000
