"""The store: transactions, contention, migrations, and what is left when something is deleted or breaks."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from data import accounts, jobs, models
from data.corpus import build_corpus
from data.errors import NotStoredError, StoreError
from data.store import Store, connect, transact
from tests.conftest import made_up_tweets
from tests.voices import stored_weights

RECIPE = {"base": "tiny-random", "method": "lora"}


async def a_model(store, settings, handles=("ann",), weights=b"x" * 9_000_000):
    """Store a trained model of accounts that are made up here, and return it."""
    import hashlib

    for seed, handle in enumerate(handles):
        await store.write(accounts.add_tweets, handle, made_up_tweets(150, seed))
    corpus = build_corpus({handle: await store.read(accounts.read_tweets, handle) for handle in handles}, max_posts=1000, seed=0)
    job, _ = await store.write(jobs.enqueue, "-".join(handles), corpus, RECIPE, "me")
    await store.write(jobs.start_next)
    file = settings.data_dir / "adapter.safetensors"
    file.write_bytes(weights)
    result = {"sha256": hashlib.sha256(weights).hexdigest(), "loss_before": 5.0, "loss_after": 4.0}
    return await store.write(models.add_from_job, job, file, result)


async def test_the_pragmas_are_on(store):
    for name, value in (("journal_mode", "wal"), ("foreign_keys", 1), ("secure_delete", 1), ("synchronous", 2)):
        assert await store.write(lambda db, name=name: db.conn.execute(f"PRAGMA {name}").fetchone()[0]) == value
    assert await store.read(lambda db: db.conn.execute("PRAGMA foreign_keys").fetchone()[0]) == 1


async def test_the_file_is_its_owners_alone(settings):
    old = os.umask(0)
    try:
        async with Store(settings.database) as store:
            await store.write(accounts.ensure_account, "ann")
            assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
            assert {stat.S_IMODE(path.stat().st_mode) for path in settings.data_dir.glob("mynah.db*")} == {0o600}
    finally:
        os.umask(old)


async def test_a_file_of_before_is_taken_from_the_others_and_left_to_the_group(settings):
    async with Store(settings.database):
        pass
    settings.database.chmod(0o664)
    async with Store(settings.database) as store:
        await store.write(accounts.ensure_account, "ann")
        assert {stat.S_IMODE(path.stat().st_mode) for path in settings.data_dir.glob("mynah.db*")} == {0o660}


async def test_a_write_that_fails_leaves_nothing(store):
    def half(db):
        db.table("accounts").insert({"handle": "ann", "created_at": "now"})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.write(half)
    assert await store.read(accounts.known_handles) == []


async def test_a_read_sees_one_state_whoever_writes_meanwhile(store):
    def twice(db):
        before = db["accounts"].count
        transact(connect(store.path), lambda other: other.table("accounts").insert({"handle": "ann", "created_at": ""}))
        return before, db["accounts"].count

    assert await store.read(twice) == (0, 0)
    assert await store.read(accounts.known_handles) == ["ann"]


async def test_work_that_finds_nothing_where_something_must_be_is_an_error_and_no_wait_without_end(store):
    async with asyncio.timeout(20):
        for ask in (store.read, store.write):
            with pytest.raises(RuntimeError, match="StopIteration"):
                await ask(lambda db: next(db.query("SELECT 1 WHERE 0")))
        for what in (jobs.corpus_of, jobs.sources_sha256_of):
            with pytest.raises(NotStoredError, match="forgotten meanwhile"):
                await store.read(what, "0" * 64)


async def test_a_second_process_waits_for_the_first_and_neither_loses_a_row(store):
    script = (
        "import sys; from data.store import connect, transact; from pathlib import Path\n"
        "db = connect(Path(sys.argv[1]))\n"
        "for n in range(200):\n"
        "    transact(db, lambda db: (db['accounts'].count, db['accounts'].insert({'handle': f'other{n}', 'created_at': ''})))\n"
    )
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(store.path))
    for n in range(200):
        await store.write(lambda db, n=n: (db["accounts"].count, db.table("accounts").insert({"handle": f"own{n}", "created_at": ""})))
    assert await other.wait() == 0
    assert len(await store.read(accounts.known_handles)) == 400


async def test_opening_twice_changes_nothing_and_a_newer_database_is_refused(store, settings):
    async with Store(settings.database) as again:
        before = await again.read(lambda db: list(db["_sqlite_migrations"].rows))
    await store.write(lambda db: db.table("_sqlite_migrations").insert({"migration_set": "mynah", "name": "m999_future", "applied_at": ""}))
    with pytest.raises(StoreError, match="newer Mynah"):
        async with Store(settings.database):
            pass
    assert len(before) == len({row["name"] for row in before})


async def test_a_file_that_is_no_database_is_refused_and_untouched(tmp_path):
    path = tmp_path / "mynah.db"
    path.write_bytes(b"this is a letter to my aunt\n" * 300)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a database"):
        async with Store(path):
            pass
    assert path.read_bytes() == before


async def test_a_full_database_is_a_sentence_and_nothing_is_stored(store, settings):
    await store.write(lambda db: db.conn.execute("PRAGMA max_page_count = 400").fetchall())
    with pytest.raises(StoreError, match="disk is full"):
        await a_model(store, settings)
    assert (await store.read(models.page)).models == []
    assert await store.read(lambda db: db.conn.execute("PRAGMA integrity_check").fetchone()[0]) == "ok"
    (job,) = await store.read(jobs.recent)
    assert job.status is jobs.Status.RUNNING  # its owner says what became of it, when there is room again


async def test_weights_are_stored_in_pieces(store, settings):
    weights = bytes(range(256)) * 40_000
    model = await a_model(store, settings, weights=weights)
    assert await store.read(stored_weights, model.id) == weights
    assert await store.read(lambda db: db["model_weights"].count) == 3


async def test_a_finished_job_is_not_stored_a_second_time(store, settings):
    model = await a_model(store, settings)
    job = await store.read(jobs.get, model.job)
    with pytest.raises(sqlite3.IntegrityError):
        await store.write(
            models.add_from_job, job, settings.data_dir / "adapter.safetensors", {"sha256": model.sha256, "loss_before": 1, "loss_after": 1}
        )
    assert len((await store.read(models.page)).models) == 1


async def test_importing_again_adds_only_what_is_new(store):
    posts = made_up_tweets(20)
    assert await store.write(accounts.add_tweets, "ann", posts[:15]) == 15
    assert await store.write(accounts.add_tweets, "ann", posts) == 5
    assert await store.read(accounts.read_tweets, "ann") == posts


async def test_forgetting_takes_every_row_of_an_account_and_leaves_the_others(store, settings):
    await a_model(store, settings, ("ann",), b"a" * 100)
    await a_model(store, settings, ("ann", "bob"), b"b" * 100)
    kept = await a_model(store, settings, ("bob",), b"c" * 100)
    gone = await store.write(accounts.forget, "ann")
    assert (gone["tweets"], gone["models"], gone["jobs"], gone["voices"]) == (150, 2, 2, 2)
    assert await store.read(accounts.known_handles) == ["bob"]
    assert [model.id for model in (await store.read(models.page)).models] == [kept.id]
    for table in ("voices", "jobs", "corpora", "models", "model_weights"):
        assert await store.read(lambda db, table=table: db[table].count) == 1, table
    assert await store.read(lambda db: db.conn.execute("PRAGMA foreign_key_check").fetchall()) == []
    with pytest.raises(NotStoredError):
        await store.write(accounts.forget, "ann")


async def test_what_is_forgotten_is_no_longer_in_the_files(store, settings):
    post = made_up_tweets(150, 0)[7].text
    await a_model(store, settings, ("ann",), b"SECRETWEIGHTS" * 1000)

    def found() -> list[bool]:
        content = b"".join(path.read_bytes() for path in settings.data_dir.glob("mynah.db*"))
        return [needle in content for needle in (post.encode(), b"SECRETWEIGHTS")]

    assert found() == [True, True]
    await store.write(accounts.forget, "ann")
    await store.wipe()
    assert found() == [False, False]


def test_a_commit_survives_kill_9_right_after_it(settings):
    script = (
        "import asyncio, os, signal, sys; from pathlib import Path; from data import accounts; from data.store import Store\n"
        "async def main():\n"
        "    async with Store(Path(sys.argv[1])) as store:\n"
        "        await store.write(lambda db: db['accounts'].insert({'handle': 'ann', 'created_at': ''}))\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(settings.database)], check=False).returncode == -9

    async def handles():
        async with Store(settings.database) as store:
            return await store.read(accounts.known_handles)

    assert asyncio.run(handles()) == ["ann"]


async def test_a_write_that_changed_nothing_wakes_nobody(store):
    """Two queues that look for work by writing woke each other without end before."""
    waiting = asyncio.create_task(store.changed(30))
    await asyncio.sleep(0)  # lets it begin to wait
    assert not await store.write(jobs.start_next)
    assert not waiting.done()
    await store.write(accounts.add_tweets, "ann", made_up_tweets(1))
    await asyncio.wait_for(waiting, 5)


@pytest.mark.parametrize(("why", "said"), [("database or disk is full", "The disk is full"), ("database is locked", "busy for too long")])
async def test_room_that_cannot_be_handed_back_now_is_one_sentence(store, monkeypatch, why, said):
    def refuse(_):
        raise sqlite3.OperationalError(why)

    monkeypatch.setattr("data.store._hand_back", refuse)
    with pytest.raises(StoreError, match=said):
        await store.wipe()


@pytest.mark.parametrize(("why", "said"), [("disk I/O error", "cannot be used"), ("database is locked", "busy for too long")])
async def test_a_file_that_cannot_be_read_is_one_sentence(store, why, said):
    def refuse(db):
        db.conn.execute("ROLLBACK")  # as SQLite does by itself
        raise sqlite3.OperationalError(why)

    with pytest.raises(StoreError, match=said):
        await store.read(refuse)
    assert await store.read(lambda db: db.table_names())


@pytest.mark.parametrize("number", [2**63, -(10**30)])
async def test_a_number_that_no_row_can_have_is_one_sentence(store, number):
    def look(db):
        return list(db.query("SELECT 1 FROM jobs WHERE id = ?", [number]))

    for ask in (store.read, store.write):
        with pytest.raises(NotStoredError, match="so large a number"):
            await ask(look)

    def other(_):
        raise OverflowError("cannot convert float infinity to integer")

    with pytest.raises(OverflowError):
        await store.read(other)


async def test_who_looked_before_a_change_does_not_sleep_through_it(store):
    change = store.change
    await store.write(accounts.add_tweets, "ann", made_up_tweets(20))
    async with asyncio.timeout(20):
        await store.changed(60, since=change)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await store.changed(60, since=store.change)
