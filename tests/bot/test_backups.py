"""Backups: made beside a writer, proven, killed half-way; and what putting one back does and refuses."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest
from sqlite_utils import Database
from typer.testing import CliRunner

from bot.errors import BadRequestError, StoreError
from bot.faces.terminal.cli import cli
from bot.lock import Lead
from bot.services import backups
from bot.services.orders import work_folder
from data import accounts, consents, models, outbox, schedules
from data.backups import newest
from data.outbox import Destination
from data.store import Store, stamp
from tests.conftest import made_up_tweets, store_account
from tests.data.test_store import a_model
from tests.voices import stored_weights

BIG = bytes(range(256)) * 20_000


def rows(path, query):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def listed(folder):
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def running(script, *arguments):
    """A process that has printed its first line, and is killed in the end."""
    with subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout.readline()
            yield
        finally:
            child.kill()


async def approved(store):
    draft = {"voice": "ann", "schedule": None, "text": "the lamp is lit", "who": "me", "to": Destination("default")}
    post = await store.write(outbox.add_draft, **draft)
    return await store.write(outbox.change, post.id, outbox.State.APPROVED, who="me", why="")


@pytest.fixture
async def made(settings, tmp_path):
    """A database with one voice, closed, and a backup of it."""
    async with Store(settings.database) as store:
        await a_model(store, settings, weights=BIG)
    backups.back_up(settings, tmp_path / "backup.db")
    return tmp_path / "backup.db"


async def test_a_backup_is_made_while_another_process_writes_and_holds_a_whole_voice(store, settings, tmp_path):
    model = await a_model(store, settings, weights=BIG)
    script = (
        "import sys; from data.store import connect, transact; from pathlib import Path\n"
        "db = connect(Path(sys.argv[1]))\n"
        "for n in range(10_000):\n"
        "    transact(db, lambda db: [db['accounts'].insert({'handle': f'{half}{n}', 'created_at': ''}) for half in 'ab'])\n"
        "    print(n, flush=True)\n"
    )
    with running(script, store.path):
        done = backups.back_up(settings, tmp_path / "backup.db")
    assert (done.contents.voices, done.contents.versions, done.contents.posts) == (1, 1, 150)
    assert listed(tmp_path) == ["backup.db", "var"]
    handles = [handle for (handle,) in rows(done.file, "SELECT handle FROM accounts WHERE handle <> 'ann'")]
    assert sorted(name[1:] for name in handles if name[0] == "a") == sorted(name[1:] for name in handles if name[0] == "b")
    async with Store(done.file) as copy:
        assert await copy.read(stored_weights, model.id) == BIG
    assert (done.file.stat().st_mode & 0o777) == 0o600
    assert (await store.read(newest)).file == str(done.file)


def test_a_backup_that_is_killed_leaves_nothing_under_its_name(made, settings, tmp_path):
    script = (
        "import sys; from pathlib import Path; from bot.services import backups\n"
        "from bot.settings import Settings; from data import backups as copies\n"
        "whole = copies.prove\n"
        "def prove(*names): print('copied', flush=True); sys.stdin.read()\n"
        "copies.prove = prove\n"
        "backups.back_up(Settings(data_dir=Path(sys.argv[1])), Path(sys.argv[2]))\n"
    )
    with running(script, settings.data_dir, tmp_path / "second.db"):
        assert not (tmp_path / "second.db").exists()
    assert not (tmp_path / "second.db").exists()
    assert backups.back_up(settings, tmp_path / "second.db").contents.versions == 1


def test_a_name_that_is_taken_and_a_folder_that_is_not_there_are_refused(made, settings, tmp_path):
    before = made.read_bytes()
    with pytest.raises(BadRequestError, match="is there already"):
        backups.back_up(settings, made)
    assert made.read_bytes() == before
    with pytest.raises(BadRequestError, match="cannot be written to"):
        backups.back_up(settings, tmp_path / "nowhere" / "backup.db")
    with pytest.raises(BadRequestError, match="no database"):
        backups.back_up(settings.model_copy(update={"data_dir": tmp_path / "empty"}), tmp_path / "b.db")


def test_damaged_weights_are_not_called_a_backup(made, settings, tmp_path):
    with closing(sqlite3.connect(settings.database)) as db, db:
        db.execute("UPDATE model_weights SET chunk = zeroblob(10) WHERE number = 1")
    with pytest.raises(StoreError, match=r"weights of version 1 of ann"):
        backups.back_up(settings, tmp_path / "bad.db")
    assert listed(tmp_path) == ["backup.db", "var"]


async def test_what_was_lost_comes_back_and_what_was_there_stays_beside_it(made, settings):
    async with Store(settings.database) as store:
        await store.write(accounts.forget, "ann")
        await store.write(store_account, "bob", made_up_tweets(20))
    stale = work_folder(settings) / "7"
    stale.mkdir(parents=True)
    done = backups.restore(settings, made)
    assert done.known
    assert not done.paused
    assert rows(done.kept, "SELECT handle FROM accounts") == [("bob",)]
    async with Store(settings.database) as store:
        assert await store.read(accounts.known_handles) == ["ann"]
        assert await store.read(stored_weights, (await store.read(models.current, "ann")).id) == BIG
    assert not stale.exists()
    assert [name for name in listed(settings.data_dir) if name.endswith(".part")] == []


def test_nothing_is_shown_that_was_drawn_of_versions_whose_numbers_are_given_out_again(made, settings):
    curve = settings.data_dir / "cards" / "ann" / "curve-v2.png"
    curve.parent.mkdir(parents=True)
    curve.write_bytes(b"another's")
    backups.restore(settings, made)
    assert not curve.exists()


async def test_opt_outs_money_and_posts_since_the_backup_stay_true(settings, tmp_path):
    async with Store(settings.database) as store:
        await a_model(store, settings, weights=b"w")
        post = await approved(store)
        backups.back_up(settings, tmp_path / "b.db")
        await store.write(outbox.change, post.id, outbox.State.SENDING, who="Mynah", why="")
        await store.write(outbox.change, post.id, outbox.State.POSTED, who="Mynah", why="", x_id="99")
        await store.write(
            lambda db: db.table("spending").insert(
                {"at": datetime.now(UTC).isoformat(), "account": "", "kind": "posts_written", "why": "a post", "price": 15_000, "most": 1}
            )
        )
        await store.write(store_account, "bob", made_up_tweets(20))
        await store.write(consents.opt_out, "bob", "bob")
    done = backups.restore(settings, tmp_path / "b.db")
    assert done.known
    assert rows(settings.database, "SELECT status, x_id FROM posts") == [("posted", "99")]
    assert rows(settings.database, "SELECT who FROM post_changes ORDER BY id DESC LIMIT 1") == [("mynah restore",)]
    assert rows(settings.database, "SELECT sum(cost) FROM spending") == [(15_000,)]
    assert rows(settings.database, "SELECT handle FROM opt_outs") == [("bob",)]


@pytest.mark.parametrize(
    ("steps", "unsure"),
    [
        ([outbox.State.REJECTED], False),
        ([outbox.State.SENDING], True),
        ([outbox.State.SENDING, outbox.State.FAILED], True),
        ([outbox.State.SENDING, outbox.State.APPROVED], True),
    ],
)
async def test_what_became_of_a_post_since_the_backup_stays_true(settings, tmp_path, steps, unsure):
    async with Store(settings.database) as store:
        await a_model(store, settings, weights=b"w")
        post = await approved(store)
        backups.back_up(settings, tmp_path / "b.db")
        if unsure:
            await store.write(outbox.mark_try, post.id, datetime.now(UTC))
        for step in steps:
            await store.write(outbox.change, post.id, step, who="me", why="the lamp went out", awaits_person=step is outbox.State.FAILED)
        then = await store.read(outbox.get, post.id)
    backups.restore(settings, tmp_path / "b.db")
    async with Store(settings.database) as store:
        assert await store.read(outbox.get, post.id) == then
        last = (await store.read(outbox.changes, post.id))[-1]
    assert (last["status"], last["who"]) == (steps[-1], "mynah restore")
    assert last["why"].endswith("the lamp went out")


async def test_a_schedules_times_since_the_backup_are_not_taken_up_again(settings, tmp_path):
    noon, later = datetime(2026, 11, 1, 12, tzinfo=UTC), datetime(2026, 11, 2, 12, tzinfo=UTC)
    async with Store(settings.database) as store:
        await a_model(store, settings, weights=b"w")
        for name in ("noons", "evenings"):
            schedule = schedules.Schedule(name, "ann", "every", "60", "UTC", "me", stamp(noon))
            await store.write(schedules.add, schedule)
        times = {"nominal": noon, "at": noon, "taken_at": noon, "outcome": schedules.Outcome.DUE, "why": ""}
        run = await store.write(partial(schedules.add_run, schedule="noons", **times))
        await store.write(partial(schedules.add_run, schedule="evenings", **times))
        backups.back_up(settings, tmp_path / "b.db")
        await store.write(schedules.end, run.id, schedules.Outcome.DRAFTED, "it is there", (await approved(store)).id)
        await store.write(schedules.settle, "noons", later)
        await store.write(schedules.pause, "noons", "me", later)
        await store.write(schedules.remove, "evenings")
        await store.write(schedules.add, replace(schedule, created_at=stamp(later), settled_until=stamp(later)))
    backups.restore(settings, tmp_path / "b.db")
    async with Store(settings.database) as store:
        noons, evenings = await store.read(schedules.get, "noons"), await store.read(schedules.get, "evenings")
        assert (noons.settled_until, noons.paused_at) == (stamp(later), stamp(later))
        assert (evenings.settled_until, evenings.paused_at) == (None, None)  # another one had its name since
        assert [found.schedule for found in await store.read(schedules.due)] == ["evenings"]


async def test_a_pause_since_the_backup_lasts(made, settings):
    async with Store(settings.database) as store:
        await store.write(outbox.pause, "ann", "the lamp is out")
    assert backups.restore(settings, made).paused
    async with Store(settings.database) as store:
        assert (await store.read(outbox.paused)).why == "the lamp is out"


async def test_no_number_is_given_out_a_second_time(made, settings):
    """A button in Discord that approved a post of then would publish one that nobody saw."""
    async with Store(settings.database) as store:
        gone = await approved(store)
    assert backups.restore(settings, made).known
    async with Store(settings.database) as store:
        assert (await approved(store)).id > gone.id
    assert rows(settings.database, "SELECT count(*) FROM sqlite_sequence GROUP BY name HAVING count(*) > 1") == []


async def test_who_opted_out_since_is_not_brought_back(made, settings):
    async with Store(settings.database) as store:
        await store.write(consents.opt_out, "ann", "ann")
        await store.write(accounts.forget, "ann")
    backups.restore(settings, made)
    assert rows(settings.database, "SELECT (SELECT count(*) FROM tweets), (SELECT count(*) FROM model_weights)") == [(0, 0)]
    assert BIG[:4096] not in settings.database.read_bytes()


async def test_posting_is_paused_where_something_waits_to_be_posted(settings, tmp_path):
    async with Store(settings.database) as store:
        await a_model(store, settings, weights=b"w")
        await approved(store)
        backups.back_up(settings, tmp_path / "b.db")
    assert backups.restore(settings, tmp_path / "b.db").paused
    async with Store(settings.database) as store:
        assert "b.db" in (await store.read(outbox.paused)).why


async def test_nothing_is_restored_while_a_service_or_a_command_has_the_database(made, settings):
    before = rows(settings.database, "SELECT count(*) FROM tweets")
    with Lead(settings.data_dir / "mynah.lock") as lead:
        assert lead.take()
        with pytest.raises(BadRequestError, match="stop the service"):
            backups.restore(settings, made)
    async with Store(settings.database):
        with pytest.raises(StoreError, match="Another command"):
            backups.restore(settings, made)
    assert rows(settings.database, "SELECT count(*) FROM tweets") == before
    assert not [name for name in listed(settings.data_dir) if "before" in name or name.endswith(".part")]


async def test_no_command_opens_a_database_while_another_takes_its_place(made, settings, monkeypatch):
    async with Store(settings.database) as store:
        await store.write(store_account, "bob", made_up_tweets(20))
    refused = []

    def open_it(*_):
        with pytest.raises(StoreError, match="just being put in the place"):
            asyncio.run(Store(settings.database).__aenter__())
        refused.append(True)
        return True, False

    monkeypatch.setattr("data.backups.catch_up", open_it)
    await asyncio.to_thread(backups.restore, settings, made)
    assert refused
    async with Store(settings.database) as store:
        assert await store.read(accounts.known_handles) == ["ann"]


def test_a_process_that_opened_the_database_and_was_killed_or_began_another_is_in_nobodys_way(made, settings):
    script = (
        "import asyncio, subprocess, sys; from pathlib import Path; from data.store import Store\n"
        "asyncio.run(Store(Path(sys.argv[1])).__aenter__())\n"
        "child = subprocess.Popen(['sleep', '60'], close_fds=False)\n"
        "print(child.pid, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, settings.database], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as opened:
        child = int(opened.stdout.readline())
        try:
            with pytest.raises(StoreError, match="Another command"):
                backups.restore(settings, made)
            opened.kill()
            opened.wait()
            assert backups.restore(settings, made).known
        finally:
            os.kill(child, signal.SIGKILL)


async def test_what_cannot_be_brought_over_for_good_is_not_put_in_place(made, settings, monkeypatch):
    """SQLite says nothing where what its log holds cannot be written into the file on closing."""
    async with Store(settings.database) as store:
        await store.write(store_account, "bob", made_up_tweets(20))

    class Full(sqlite3.Connection):
        def execute(self, statement, *values):
            if "journal_mode = DELETE" in statement:
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(statement, *values)

    monkeypatch.setattr("data.backups.connect", lambda path: Database(sqlite3.connect(path, factory=Full)))
    with pytest.raises(StoreError, match="free some space"):
        backups.restore(settings, made)
    assert rows(settings.database, "SELECT handle FROM accounts ORDER BY handle") == [("ann",), ("bob",)]
    assert not [name for name in listed(settings.data_dir) if "before" in name or name.endswith(".part")]


@pytest.mark.parametrize("damage", ["cut", "scratched", "no text", "no database", "another's database", "newer", "weights", "itself"])
def test_a_file_that_is_no_sound_backup_is_refused_and_nothing_changes(made, settings, tmp_path, damage):
    match damage:
        case "cut":
            made.write_bytes(made.read_bytes()[:40_000])
        case "scratched":
            with made.open("r+b") as file:
                file.seek(8192)
                file.write(b"\xff" * 40_000)
        case "no text":  # which SQLite quotes
            made.write_bytes(made.read_bytes().replace(b"CREATE TABLE", b"CREATE \x80ABLE"))
        case "no database":
            made.write_bytes(b"this is a letter to my aunt\n" * 300)
        case "another's database":
            made.unlink()
            with closing(sqlite3.connect(made)) as db, db:
                db.execute("CREATE TABLE songs (name)")
        case "newer":
            with closing(sqlite3.connect(made)) as db, db:
                db.execute("INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('mynah', 'm999_future', '')")
        case "weights":
            with closing(sqlite3.connect(made)) as db, db:
                db.execute("UPDATE model_weights SET chunk = zeroblob(10) WHERE number = 0")
        case "itself":
            made = settings.database
    before = settings.database.read_bytes()
    with pytest.raises((StoreError, BadRequestError)) as refused:
        backups.restore(settings, made)
    assert str(refused.value).count("\n") == 0
    assert settings.database.read_bytes() == before
    assert not [name for name in listed(settings.data_dir) if "before" in name or name.endswith(".part")]


def test_an_older_backup_becomes_this_mynahs(made, settings):
    with closing(sqlite3.connect(made)) as db, db:
        db.execute("DROP TABLE backups")
        db.execute("DELETE FROM _sqlite_migrations WHERE name = 'm029_backups'")
    backups.restore(settings, made)
    assert rows(settings.database, "SELECT count(*) FROM backups") == [(0,)]


def test_a_damaged_database_is_replaced_and_kept_and_what_is_not_known_is_said(made, settings):
    settings.database.write_bytes(b"a bad sector" * 1000)
    beside = settings.database.with_name("mynah.db-wal")
    beside.write_bytes(b"of the old one")
    done = backups.restore(settings, made)
    assert not done.known
    assert done.kept.read_bytes().startswith(b"a bad sector")
    assert done.kept.with_name(done.kept.name + "-wal").read_bytes() == b"of the old one"
    assert rows(settings.database, "SELECT count(*) FROM models") == [(1,)]


def test_a_disk_that_is_full_is_no_damage_and_loses_nothing(made, settings, monkeypatch):
    script = (
        "import os, signal, sys; from data.store import connect; from pathlib import Path\n"
        "db = connect(Path(sys.argv[1])).conn\n"
        "db.execute('PRAGMA journal_mode = WAL')\n"
        "with db: db.execute('INSERT INTO accounts (handle, created_at) VALUES (?, ?)', ['bob', ''])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(settings.database)], check=False).returncode == -9
    log = settings.database.with_name("mynah.db-wal")
    assert b"bob" in log.read_bytes()
    connect = sqlite3.connect

    class Full(sqlite3.Connection):
        def execute(self, statement, *values):
            if "checkpoint" in statement:
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(statement, *values)

    monkeypatch.setattr("data.backups.sqlite3.connect", lambda *names, **options: connect(*names, factory=Full, **options))
    with pytest.raises(StoreError, match="free some space"):
        backups.restore(settings, made)
    monkeypatch.undo()
    assert rows(settings.database, "SELECT handle FROM accounts ORDER BY handle") == [("ann",), ("bob",)]
    assert not [name for name in listed(settings.data_dir) if "before" in name or name.endswith(".part")]


def test_what_lies_beside_a_damaged_database_stays_until_another_has_its_name(made, settings, monkeypatch):
    settings.database.write_bytes(b"a bad sector" * 1000)
    beside = settings.database.with_name("mynah.db-wal")
    beside.write_bytes(b"of the old one")

    def fail(*_):
        raise StoreError("The disk is full.")

    monkeypatch.setattr("data.backups.catch_up", fail)
    with pytest.raises(StoreError, match="full"):
        backups.restore(settings, made)
    assert beside.read_bytes() == b"of the old one"


def test_a_fresh_machine_begins_with_a_backup(made, settings, tmp_path):
    fresh = settings.model_copy(update={"data_dir": tmp_path / "fresh"})
    done = backups.restore(fresh, made)
    assert done.kept is None
    assert rows(fresh.database, "SELECT count(*) FROM models") == [(1,)]


def test_the_commands_say_what_they_did_and_that_tokens_stay(made, settings, tmp_path):
    (tmp_path / "config.toml").write_text(f'data_dir = "{settings.data_dir}"\n')
    (settings.data_dir / "x-tokens").mkdir()
    (settings.data_dir / "x-tokens" / "news.json").write_text("{}")

    def typed(*words):
        result = CliRunner().invoke(cli, [*words, "--config", str(tmp_path / "config.toml")])
        assert result.exit_code == 0, result.output
        return result.stdout

    said = typed("backup", str(tmp_path / "second.db"))
    assert "1 voice in 1 version and 150 posts" in said
    assert "news" in said
    assert "not in it" in said
    assert b"x-tokens" not in (tmp_path / "second.db").read_bytes()
    document = json.loads(typed("restore", str(tmp_path / "second.db"), "--json"))
    assert (document["versions"], document["known"], document["paused"]) == (1, True, False)
    assert "delete it once all is well" in typed("restore", str(made))
