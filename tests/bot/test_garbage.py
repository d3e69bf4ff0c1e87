"""What `mynah gc` removes, what it never touches, and what a dry run says of it."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.errors import StoreError
from bot.executors.processes import started_at
from bot.faces.terminal.cli import cli
from bot.services import garbage, weights
from bot.services.weights import adapter_file
from data import askings, jobs, models, speech
from data.askings import Asking
from data.corpus import build_corpus
from data.speech import PASSED, Generation, Purpose
from data.store import _hand_back, stamp
from tests.conftest import made_up_tweets, store_account
from tests.voices import RECIPE, add_version

LONG_AGO = time.time() - 400 * 86400


@pytest.fixture(autouse=True)
def _temporary(monkeypatch, tmp_path):
    """Look for temporary trees in a folder of the test's, and nowhere else."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "tmp"))


def kept(settings, versions=2, lines=365 * 86400):
    return settings.model_copy(update={"gc": settings.gc.model_copy(update={"versions": versions, "lines": lines})})


async def several(store, number, voice="ann"):
    return [await store.write(add_version, (voice,), weights=bytes([n]) * 100_000) for n in range(number)]


async def versions(store, voice="ann"):
    return [model.version for model in reversed(await store.read(models.versions, voice))]


def put(path: Path, *, age: float = 400 * 86400, size: int = 10) -> Path:
    """Lay down a file, and have it and its folder be so old."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    for old in (path, path.parent):
        os.utime(old, (time.time() - age,) * 2)
    return path


def dead():
    """Return the number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        return child.pid


def kinds(found):
    return {waste.kind: waste.number for waste in found}


def ask(db, model, *, days=0, done=True):
    wish = {"author": "", "message": "", "prompt": "", "count": 1, "seed": 1, "repeatable": False, "sampling": {}, "purpose": Purpose.TALK}
    request = speech.add(db, voice=model.voice, model=model.id, requested_by="me", **wish)
    if done:
        speech.finish(db, request.id, [Generation(0, "it rains", True, -2.0, 0.5, 0.0, -1.0, PASSED, "", True)])
    db.table("requests").update(request.id, {"created_at": stamp(datetime.now(UTC) - timedelta(days=days))})
    return request.id


async def test_the_newest_and_the_pinned_versions_stay(store, settings):
    made = await several(store, 5)
    await store.write(models.pin, "ann", 2)
    file = await weights.lay_down(store, settings, made[0])
    found = await garbage.collect(store, kept(settings))
    assert await versions(store) == [2, 4, 5]
    assert kinds(found) == {"old versions": 2}
    assert found[0].names == ("ann v1", "ann v3")
    assert found[0].bytes == 200_000
    assert not file.exists()
    assert await store.read(lambda db: db["model_weights"].count) == 3
    assert (await store.read(models.current, "ann")).version == 2


async def test_what_somebody_needs_stays(store, settings):
    """A training begins with one, one is being heard, and one was played with, whose points would fall with it."""
    made = await several(store, 5)

    def need(db):
        corpus = build_corpus({"ann": made_up_tweets(150)}, max_posts=1000, seed=0)
        jobs.enqueue(db, "ann", corpus, RECIPE | {"start": made[0].sha256}, "me")
        ask(db, made[1], done=False)
        row = {"server": 1, "channel": 2, "voice": "ann", "model": made[2].id, "options": "[]", "odd": 0, "odd_is_voice": 1}
        db.table("quizzes").insert(row | {"asked_by": "me", "created_at": "", "ends_at": "", "status": "told"})

    await store.write(need)
    await garbage.collect(store, kept(settings, versions=1))
    assert await versions(store) == [1, 2, 3, 5]


async def test_a_version_that_somebody_came_to_need_meanwhile_is_not_dropped(store, settings):
    await several(store, 2)
    (old,) = await store.read(garbage.garbage.old_versions, 1)
    await store.write(models.pin, "ann", 1)
    assert not await store.write(garbage.garbage.drop_version, old, 1)
    assert await versions(store) == [1, 2]


async def test_lines_go_by_age_and_those_that_are_not_answered_stay(store, settings, monkeypatch):
    monkeypatch.setattr("data.garbage.REQUESTS_AT_ONCE", 2)
    (model,) = await several(store, 1)
    for _ in range(5):
        await store.write(ask, model, days=400)
    young = await store.write(ask, model, days=300)
    waits = await store.write(partial(ask, days=400, done=False), model)
    found = await garbage.collect(store, kept(settings))
    assert kinds(found) == {"old requests for lines": 5}
    assert await store.read(lambda db: [row["id"] for row in db["requests"].rows]) == [young, waits]
    assert await store.read(lambda db: db["generations"].count) == 1
    await garbage.collect(store, kept(settings, lines=0))
    assert await store.read(lambda db: db["requests"].count) == 2


async def test_a_dry_run_says_the_same_and_removes_nothing(store, settings):
    made = await several(store, 3)
    await store.write(ask, made[2], days=400)
    left = put(settings.data_dir / "source-abc" / "The output", size=5000)
    said = await garbage.collect(store, kept(settings), dry=True)
    assert await versions(store) == [1, 2, 3]
    assert left.exists()
    assert await garbage.collect(store, kept(settings)) == said
    assert kinds(said) == {"old versions": 1, "old requests for lines": 1, "left by processes that ended": 1}
    assert not left.parent.exists()
    assert await garbage.collect(store, kept(settings)) == []


async def test_caches_go_when_nobody_used_them_for_a_day(store, settings):
    settings = kept(settings).model_copy(update={"cache_dir": settings.data_dir / "cache"})
    used, idle = await several(store, 2)
    fresh = await weights.lay_down(store, settings, used)
    stale = await weights.lay_down(store, settings, idle)
    os.utime(stale, (LONG_AGO, LONG_AGO))
    nobodys = put(adapter_file(settings, "0" * 64), age=0)
    half = put(adapter_file(settings, "1" * 64).with_suffix(".12-abcd.part"))
    being_written = put(adapter_file(settings, "2" * 64).with_suffix(".13-abcd.part"), age=0)
    base, other = (put(settings.cache / "bases" / name / "model.safetensors") for name in ("tiny-random-1", "gone-model-99"))
    await garbage.collect(store, settings.model_copy(update={"cache_dir": settings.data_dir / "elsewhere" / ".." / "cache"}))
    assert other.exists()  # for another Mynah may share a cache that was set
    await garbage.collect(store, settings)
    there = {path for path in (fresh, stale, nobodys, half, being_written, base, other) if path.exists()}
    assert there == {fresh, being_written, base}
    assert (await weights.lay_down(store, settings, idle)).read_bytes() == bytes([1]) * 100_000


async def test_curves_and_cards_of_versions_that_are_gone_go(store, settings):
    await store.write(add_version, ("ann",))
    cards = settings.data_dir / "cards" / "ann"
    names = ("curve-v1.png", "curve-v2.png", "curve-v2-dark.png", "v1", "v2", "curve-vx.png", "v2.txt")
    for name in names:
        put(cards / name / "README.md" if name in ("v1", "v2") else cards / name)
        os.utime(cards / name, (LONG_AGO, LONG_AGO))
    await garbage.collect(store, settings)
    assert {path.name for path in cards.iterdir()} == {"curve-v1.png", "v1", "curve-vx.png", "v2.txt"}


async def test_what_dead_processes_left_goes_and_what_the_living_use_stays(store, settings, tmp_path):
    data = settings.data_dir
    await store.write(store_account, "ann", made_up_tweets(2))
    job, _ = await store.write(
        lambda db: jobs.enqueue(db, "ann", build_corpus({"ann": made_up_tweets(150)}, max_posts=1000, seed=0), RECIPE, "me")
    )
    ours = f"{os.getpid()}-{started_at(os.getpid())}-abcd"
    waits = put(data / "uploads" / "aaaa" / "posts.jsonl")
    await store.write(askings.ask, Asking(1, "ann", str(waits)))
    goes = [
        put(data / "work" / "99" / "job.json", age=0).parent,
        put(data / "travel" / f"{dead()}-12345-abcd" / "model", age=0).parent,
        put(data / "uploads" / "bbbb" / "posts.jsonl").parent,
        put(data / "source-old" / "The output").parent,
        put(data / ".mynah.db.0a1b2c3d.part"),
        put(data / ".mynah.db.0a1b2c3d.part-wal"),
        put(tmp_path / "tmp" / "mynah-old" / "order.json").parent,
        put(data / "cards" / "nobody" / "v1" / "README.md").parent,
    ]
    os.utime(data / "cards" / "nobody", (LONG_AGO, LONG_AGO))
    stays = [
        put(data / "work" / str(job.id) / "job.json"),
        put(data / "travel" / ours / "model"),
        waits,
        put(data / "source-new" / "The output", age=60),
        put(data / ".mynah.db.4e5f6071.part", age=60),
        put(data / ".hidden.part"),
        put(data / "mynah.db.before-20260101T000000Z-abcd"),
        put(data / "x-tokens" / "news.json"),
        put(tmp_path / "tmp" / "mynah-new" / "order.json", age=60),
        put(tmp_path / "tmp" / "others" / "order.json"),
        put(tmp_path / "tmp" / "mynah-bench-abcd" / "mynah.db"),
    ]
    found = await garbage.collect(store, settings)
    assert [path for path in goes if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []
    assert kinds(found)["left by processes that ended"] == 7


async def test_a_link_out_of_the_folder_is_not_followed(store, settings, tmp_path):
    precious = put(tmp_path / "precious" / "thesis.txt")
    settings.data_dir.joinpath("source-evil").symlink_to(precious.parent)
    os.utime(settings.data_dir / "source-evil", (LONG_AGO, LONG_AGO), follow_symlinks=False)
    await garbage.collect(store, settings)
    assert precious.exists()
    assert not settings.data_dir.joinpath("source-evil").is_symlink()


async def test_files_go_before_anything_is_written_on_a_disk_that_is_full(store, settings, monkeypatch):
    await several(store, 2)
    left = put(settings.data_dir / "source-abc" / "The output").parent

    async def full(*_):
        raise StoreError("The disk is full.")

    monkeypatch.setattr(store, "write", full)
    with pytest.raises(StoreError):
        await garbage.collect(store, kept(settings, versions=1))
    assert not left.exists()


async def test_the_file_of_the_database_becomes_smaller(store, settings):
    await several(store, 2)
    await store.write(lambda db: db.table("model_weights").insert({"model": 1, "number": 5, "chunk": b"x" * 9_000_000}))
    await store.wipe()
    before = settings.database.stat().st_size
    await garbage.collect(store, kept(settings, versions=1))
    assert settings.database.stat().st_size < before - 9_000_000
    assert await store.read(lambda db: db.conn.execute("PRAGMA freelist_count").fetchone()[0]) == 0


async def test_pages_are_handed_back_many_at_a_time(store, settings, monkeypatch):
    """Python's `execute` would have SQLite hand back one, and each is a commit."""
    monkeypatch.setattr("data.store.PAGES_A_STEP", 100)
    await several(store, 1)
    await store.write(lambda db: db.table("model_weights").insert({"model": 1, "number": 5, "chunk": b"x" * 900_000}))
    await store.write(lambda db: db.conn.execute("DELETE FROM model_weights WHERE number = 5"))
    free = await store.read(lambda db: db.conn.execute("PRAGMA freelist_count").fetchone()[0])
    assert await store._run(store._writer, _hand_back, store._write_db)
    assert free - await store.read(lambda db: db.conn.execute("PRAGMA freelist_count").fetchone()[0]) == 100


async def test_a_service_collects_daily_where_it_is_told_to(store, settings, monkeypatch):
    monkeypatch.setattr(garbage, "FIRST_SECONDS", 0.0)
    slept = []

    class EnoughError(Exception):
        pass

    async def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            raise EnoughError

    monkeypatch.setattr(garbage.asyncio, "sleep", sleep)
    await several(store, 3)
    with pytest.raises(EnoughError):
        await garbage.collect_daily(store, kept(settings, versions=1))
    assert slept == [0.0, garbage.DAY, garbage.DAY]
    assert await versions(store) == [3]
    assert not settings.gc.daily


def test_the_command_says_what_goes(settings, tmp_path):
    (tmp_path / "config.toml").write_text(f'data_dir = "{settings.data_dir}"\n')
    left = put(settings.data_dir / "source-abc" / "The output", size=2_000_000)

    def typed(*words):
        result = CliRunner().invoke(cli, ["gc", *words, "--config", str(tmp_path / "config.toml")])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert typed("--dry-run") == "1 left by processes that ended, 2.0 MB: source-abc\nThat would free about 2.0 MB.\n"
    document = json.loads(typed("--json"))
    assert (document["dry_run"], document["removed"][0]["names"]) == (False, ["source-abc"])
    assert not left.exists()
    assert typed() == "There is nothing to remove.\n"
