"""`mynah run` as a process of its own, against a Discord and an X on the loopback."""

import asyncio
import contextlib
import gc
import signal
import sqlite3
import subprocess
import time
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from tests.acceptance.conftest import write_posts
from tests.loopback_discord import LoopbackDiscord, loopback_discord
from tests.loopback_x import SECRETS, LoopbackX

__all__ = ["loopback_discord"]
# The server's side of a connection whose client is killed in this very moment may be collected open, with the loop, in a later test.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SECONDS = 90  # by which a training of the tiny model has ended on a busy machine


@pytest.fixture(autouse=True)
def _collected_here():
    """Collect what is left open where that is ignored, not in somebody else's test."""
    gc.collect()
    yield
    gc.collect()


@pytest.fixture
def service(mynah):
    """Starts `mynah run` with an environment; whatever is left at the end is killed."""
    started = []

    def start(**environment):
        log = (mynah.folder / "run.log").open("ab")
        started.append(mynah.start("run", env=mynah.environment | environment, stdout=log, stderr=log))
        log.close()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def discord_environment(server: LoopbackDiscord) -> dict[str, str]:
    return {"DISCORD_TOKEN": server.token, "MYNAH_DISCORD__API_URL": server.url}


async def ended(process, seconds=10.0):
    """End a service by SIGTERM; return its status and that of nobody left behind."""
    family = psutil.Process(process.pid).children(recursive=True)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    status = await asyncio.to_thread(process.wait, SECONDS)
    took = time.monotonic() - began
    assert took < seconds
    assert not psutil.wait_procs(family, timeout=5)[1]
    return status


async def test_a_member_trains_a_voice_and_hears_it_and_the_service_ends_cleanly(mynah, service, loopback_discord, tmp_path):
    mynah.json("import", str(write_posts(tmp_path / "ann.jsonl")), "--as", "ann")
    process = service(**discord_environment(loopback_discord))
    await loopback_discord.connected()
    await loopback_discord.say("!train ann")
    await loopback_discord.press(await loopback_discord.message(lambda m: m["components"], SECONDS), "Train")
    member = loopback_discord.member["id"]
    end = await loopback_discord.message(
        lambda m: f"<@{member}>" in m["content"] and m["author"]["id"] == loopback_discord.bot["id"], SECONDS
    )
    assert [user["id"] for user in end.get("mentions", [])] in ([], [member])
    answer = await loopback_discord.answer(await loopback_discord.slash("generate", voice="ann", prompt="the lamp", count=1))
    assert "the lamp" in answer["content"]
    assert await ended(process) == 0
    log = (tmp_path / "run.log").read_text()
    assert loopback_discord.token not in log
    assert loopback_discord.token.encode() not in b"".join(path.read_bytes() for path in mynah.database.parent.glob("mynah.db*"))
    assert "Traceback" not in log


async def test_stopped_in_mid_training_it_goes_on_at_the_next_start_in_the_same_message(mynah, service, loopback_discord, tmp_path):
    mynah.json("import", str(write_posts(tmp_path / "ann.jsonl", 4000)), "--as", "ann")
    long = {"MYNAH_TRAINER__MAX_POSTS": "4000"}  # so long that an edit, one in five seconds, falls into it
    process = service(**discord_environment(loopback_discord), **long)
    await loopback_discord.connected()
    await loopback_discord.say("!train ann")
    shown = await loopback_discord.message(lambda m: m["components"], SECONDS)
    await loopback_discord.press(shown, "Train")
    await loopback_discord.message(lambda m: m["id"] == shown["id"] and "learning" in m["content"], SECONDS)
    assert await ended(process) == 0
    with contextlib.closing(sqlite3.connect(mynah.database)) as db:
        assert db.execute("SELECT status FROM jobs").fetchall() == [("queued",)]
    service(**discord_environment(loopback_discord), **long)
    final = await loopback_discord.message(lambda m: m["id"] == shown["id"] and m["embeds"], SECONDS)
    assert final["id"] == shown["id"]


async def test_a_socket_dropped_in_mid_training_is_taken_up_again_in_the_same_message(mynah, service, loopback_discord, tmp_path):
    server = loopback_discord
    mynah.json("import", str(write_posts(tmp_path / "ann.jsonl", 2000)), "--as", "ann")
    long = {"MYNAH_TRAINER__MAX_POSTS": "2000", "MYNAH_TRAINER__EPOCHS": "2"}  # so long that edits fall before the drop and after it
    process = service(**discord_environment(server), **long)
    await server.connected()
    await server.say("!train ann")
    shown = await server.message(lambda m: m["components"], SECONDS)
    await server.press(shown, "Train")

    def progress():
        """Return the edits of the message in which the training was at work."""
        edits = (one for one in server.requests if one.method == "PATCH" and one.path.endswith(f"/messages/{shown['id']}"))
        return [one for one in edits if "learning" in (one.json.get("content") or "")]

    await server.until(progress, SECONDS)
    await server.drop()
    await server.until(lambda: server.resumes or len(server.identifies) > 1, SECONDS)
    seen = len(progress())
    await server.until(lambda: len(progress()) > seen, SECONDS)
    final = await server.message(lambda m: m["embeds"], 2 * SECONDS)
    assert final["id"] == shown["id"]
    member = server.member["id"]
    await server.message(lambda m: f"<@{member}>" in m["content"] and m["author"]["id"] == server.bot["id"], SECONDS)
    assert await ended(process) == 0
    assert [m["id"] for m in server.messages.values() if m["embeds"]] == [shown["id"]]
    assert len([m for m in server.messages.values() if f"<@{member}>" in m["content"]]) == 1
    with contextlib.closing(sqlite3.connect(mynah.database)) as db:
        assert db.execute("SELECT status FROM jobs").fetchall() == [("done",)]
    assert "Traceback" not in (tmp_path / "run.log").read_text()


async def test_a_gateway_that_is_down_at_the_start_is_tried_again(service, loopback_discord):
    loopback_discord.gateway_down = True
    process = service(**discord_environment(loopback_discord))
    await loopback_discord.until(lambda: any("gateway" in request.path for request in loopback_discord.requests), 30)
    assert process.poll() is None
    loopback_discord.gateway_down = False
    async with asyncio.timeout(SECONDS):
        await loopback_discord.connected()
    assert await ended(process) == 0


async def test_a_wrong_token_is_one_sentence_and_ends_it(mynah, loopback_discord):
    environment = discord_environment(loopback_discord) | {"DISCORD_TOKEN": "wrong"}
    process = mynah.start("run", env=mynah.environment | environment)
    out, err = await asyncio.to_thread(process.communicate, timeout=SECONDS)
    assert process.returncode == 1
    assert out == ""
    assert "DISCORD_TOKEN" in err.strip().splitlines()[-1]
    assert "Traceback" not in err


async def test_a_schedule_without_discord_drafts_and_a_yes_in_the_terminal_posts_it_once(mynah, service, tmp_path):
    mynah.json("import", str(write_posts(tmp_path / "ann.jsonl")), "--as", "ann")
    mynah.json("train", "ann")
    planned = mynah.json("schedule", "add", "hourly", "ann", "--every", "1h")["schedules"][0]
    assert len(planned["next"]) == 3
    assert mynah.json("schedule", "list")["schedules"][0]["name"] == "hourly"
    with contextlib.closing(sqlite3.connect(mynah.database)) as db, db:
        an_hour_ago = datetime.now(UTC) - timedelta(hours=1) + timedelta(seconds=3)
        db.execute("UPDATE schedules SET created_at = ?", [an_hour_ago.isoformat(timespec="microseconds")])
    async with LoopbackX() as server:
        keys = {f"X_{name.upper()}": secret.get_secret_value() for name, secret in SECRETS.of_x() if secret}
        process = service(MYNAH_X__API_URL=server.url, **keys)

        async def posts():
            return (await asyncio.to_thread(mynah.json, "posts"))["posts"]

        async with asyncio.timeout(SECONDS):
            while not (found := await posts()):
                assert process.poll() is None
        draft = found[-1]  # the one of the next hour may have been written ahead
        assert (draft["status"], draft["schedule"], server.posts) == ("draft", "hourly", {})
        approved = await asyncio.to_thread(mynah.json, "posts", "approve", str(draft["id"]))
        assert approved["post"]["status"] == "approved"
        assert await asyncio.wait_for(server.arrived.get(), SECONDS) == draft["text"]
        async with asyncio.timeout(SECONDS):
            while (post := (await posts())[-1])["status"] != "posted":
                assert process.poll() is None
        assert server.posts == {post["x_id"]: draft["text"]}
        assert await ended(process) == 0
    log = (tmp_path / "run.log").read_text()
    assert [secret for secret in (draft["text"], *keys.values()) if secret in log] == []
    stored = b"".join(path.read_bytes() for path in mynah.database.parent.glob("mynah.db*"))
    assert [secret for secret in keys.values() if secret.encode() in stored] == []
    assert "Traceback" not in log
    assert "cannot become" in mynah.refused("posts", "reject", str(post["id"]))


async def test_a_command_beside_the_service_is_picked_up_within_a_second(mynah, service, loopback_discord, tmp_path):
    for name in ("ann", "bob"):
        mynah.json("import", str(write_posts(tmp_path / f"{name}.jsonl")), "--as", name)
    process = service(**discord_environment(loopback_discord))
    await loopback_discord.connected()
    for name in ("ann", "bob"):
        trained = await asyncio.to_thread(mynah.json, "train", name)
        assert trained["name"] == name
    with contextlib.closing(sqlite3.connect(mynah.database)) as db:
        stamps = [map(datetime.fromisoformat, row) for row in db.execute("SELECT created_at, started_at FROM jobs")]
    waits = [started - created for created, started in stamps]
    assert len(waits) == 2
    assert min(waits) < timedelta(seconds=1)  # the other may have met a busy machine
    assert process.poll() is None
    second = mynah.start("run", env=mynah.environment | discord_environment(loopback_discord), stderr=subprocess.PIPE)
    for line in second.stderr:
        if "another process" in line:
            break
    second.send_signal(signal.SIGTERM)
    second.communicate(timeout=10)
    assert second.returncode == 0


async def test_the_trainer_stays_for_the_next_training_and_dies_with_the_service(mynah, service, loopback_discord, tmp_path):
    for handle, seed in (("ann", 1), ("bob", 2)):
        mynah.json("import", str(write_posts(tmp_path / f"{handle}.jsonl", seed=seed)), "--as", handle)
    process = service(**discord_environment(loopback_discord))
    await loopback_discord.connected()
    trainers = []
    for handle in ("ann", "bob"):
        await asyncio.to_thread(mynah.json, "train", handle)
        family = psutil.Process(process.pid).children(recursive=True)
        trainers += [child for child in family if "--stay" in child.cmdline()]
    assert trainers == [trainers[0]] * 2
    process.kill()
    process.wait()
    assert not psutil.wait_procs(trainers[:1], timeout=15)[1]


async def test_an_idle_service_is_idle(service, loopback_discord):
    process = service(**discord_environment(loopback_discord))
    await loopback_discord.connected()
    watched = psutil.Process(process.pid)
    before = sum(watched.cpu_times()[:2])
    await asyncio.sleep(3)  # the span that is measured
    assert sum(watched.cpu_times()[:2]) - before < 1.0
    assert await ended(process) == 0
