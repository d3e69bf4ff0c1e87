"""A source of the operator's own: a command that prints an account's posts, and whatever it may do instead."""

import asyncio
import json
import os
import sys

import psutil
import pytest

from bot.errors import ConsentError, SourceError
from bot.services.reading import Reading
from bot.services.spending import Budget
from bot.settings import Settings
from data import accounts, consents
from data.consents import Ground


@pytest.fixture
def source(store, settings, tmp_path):
    """What makes the service over a script; the account's name is its first argument."""

    def make(script, **more) -> Reading:
        path = tmp_path / "source.py"
        path.write_text(script)
        source = {"command": [sys.executable, str(path), "{handle}"], **more}
        wanted = Settings.model_validate(settings.model_dump() | {"source": source, "x": {"read_timelines": True}})
        wanted.data_dir.mkdir(parents=True, exist_ok=True)
        return Reading(store, wanted, Budget(store, wanted.x), no_reader)

    return make


def no_reader():
    raise AssertionError("X is not asked where there is a source")


def read(reading):
    return reading.read("Ann", by="a test", ground=Ground.PERMISSION)


async def refusal(reading):
    with pytest.raises(SourceError) as caught:
        await read(reading)
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_what_it_prints_is_stored_and_again_adds_only_what_is_new(source, store):
    script = """
import json, sys
for n in range(7):
    print(json.dumps({"text": f"Line {n} of {sys.argv[1]}", "id": str(n), "created_at": "2026-01-01T00:00:00Z", "in_reply_to": "5"}))
"""
    first = await read(source(script))
    assert (first.handle, first.posts, first.new, first.cost) == ("ann", 7, 7, 0)
    second = await read(source(script.replace("range(7)", "range(9)")))
    assert (second.posts, second.new) == (9, 2)
    tweets = await store.read(accounts.read_tweets, "ann")
    assert (tweets[3].text, tweets[3].in_reply_to) == ("Line 3 of ann", "5")
    assert [one.ground for one in await store.read(consents.claims, "ann")] == [Ground.PERMISSION]
    assert source("").estimate().cost == 0


async def test_it_knows_no_token_and_is_given_no_input(source, store, monkeypatch):
    for name in ("DISCORD_TOKEN", "X_API_KEY", "X_PARODY_ACCESS_SECRET", "MYNAH_CONFIG", "DISCORD_TOKEN_FILE", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, "secret")
    await read(source("import json, os, sys\nprint(json.dumps({'text': json.dumps([dict(os.environ), sys.stdin.read()])}))"))
    environ, typed = json.loads((await store.read(accounts.read_tweets, "ann"))[0].text)
    assert "secret" not in environ.values()
    assert environ["PATH"] == os.environ["PATH"]
    assert typed == ""


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("", "The command of [source] printed no posts of @ann."),
        ("print()", "The command of [source] printed no posts of @ann."),
        ("print('Sorry, no.')", "The output of source.command line 1 is not JSON: write one"),
        ("print('{\"text\": \"a\"}'); print('[]')", "line 2 is not a JSON object"),
        ("import os; os.write(1, b'\\xff\\xfe{')", "line 1 is not text in UTF-8"),
        (
            "import sys; print('{\"text\": \"a\"}'); sys.exit('First.\\nThe password is wrong.')",
            "ended with status 1: The password is wrong.",
        ),
        ("import os; os.kill(os.getpid(), 9)", "ended with status -9."),
        ("import sys; sys.stderr.write('a' * 9999999); sys.exit(3)", "ended with status 3: aaa"),
    ],
)
async def test_bad_output_is_one_sentence_and_nothing_is_stored(source, store, script, says):
    said = await refusal(source(script))
    assert says in said
    assert len(said) < 400
    assert await store.read(accounts.known_handles) == []
    assert list(source("")._settings.data_dir.glob("source-*")) == []


async def test_what_never_ends_is_killed_with_all_that_it_started(source, tmp_path):
    """Whatever lives holds the pipe open."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    script = f"""
import os, subprocess, time
end = os.open({str(pipe)!r}, os.O_WRONLY)
subprocess.Popen(["sleep", "600"], pass_fds=[end])
time.sleep(600)
"""
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as end:
        assert "took more than 2 s: see source.timeout_seconds." in await refusal(source(script, timeout_seconds=2))
        os.set_blocking(end.fileno(), True)
        assert await asyncio.to_thread(end.read) == b""


async def test_too_much_is_cut_off(source):
    script = 'import os\nwhile True: os.write(1, b\'{"text": "again and again"}\\n\' * 9999)'
    assert "printed more than 1 MiB: see source.max_mib." in await refusal(source(script, max_mib=1))


async def test_a_command_that_is_not_there_is_one_sentence(source):
    reading = source("")
    for command in (("/nowhere/posts", "{handle}"), ("a\0b",)):
        reading._settings = reading._settings.model_copy(
            update={"source": reading._settings.source.model_copy(update={"command": command})}
        )
        assert "cannot be started" in await refusal(reading)


async def test_no_shell_sees_the_command(source, store):
    reading = source("import json, sys; print(json.dumps({'text': ' '.join(sys.argv[1:])}))")
    command = (*reading._settings.source.command[:2], "$(id); rm {handle} > x", "*")
    reading._settings = reading._settings.model_copy(update={"source": reading._settings.source.model_copy(update={"command": command})})
    await read(reading)
    assert (await store.read(accounts.read_tweets, "ann"))[0].text == "$(id); rm ann > x *"


async def test_an_account_that_wants_none_of_it_is_not_asked_for(source, store, tmp_path):
    await store.write(consents.opt_out, "ann", "ann")
    with pytest.raises(ConsentError):
        await read(source(f"open({str(tmp_path / 'asked')!r}, 'w')"))
    assert not (tmp_path / "asked").exists()


async def test_cancelling_kills_it(source, tmp_path):
    started = tmp_path / "started"
    os.mkfifo(started)
    reading = asyncio.create_task(read(source(f"import os, time\nopen({str(started)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)")))
    pid = int(await asyncio.to_thread(started.read_text))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not psutil.pid_exists(pid)
