"""Databases that an older Mynah made are taken over without a loss, and one of a newer Mynah is left as it is."""

import gzip
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
from sqlite_utils import Migrations

import data.migrations as schema
from bot.__main__ import main
from bot.app import Mynah
from bot.errors import StoreError
from bot.services.weights import lay_down
from bot.settings import Secrets
from data import jobs, models
from data.store import Store
from tests.conftest import ROOT
from tests.trainer.conftest import Asked
from trainer import bases, frames, lora, loss, packing, weights
from trainer.protocol import Sampling, SpeechRequest

DATABASES = sorted((ROOT / "tests/databases").glob("*.db.gz"))
RENAMED = {("schedules", "last_run_at"): "settled_until"}


@pytest.fixture(params=DATABASES, ids=lambda path: path.name.partition(".")[0])
def taken_over(request, settings):
    """Settings whose database is a copy of one that was made at another time (tests/databases/make.py)."""
    settings.data_dir.mkdir()
    settings.database.write_bytes(gzip.decompress(request.param.read_bytes()))
    return settings


def content(path: Path) -> dict[str, list[dict[str, object]]]:
    """Return every row of every table, the one of migrations included."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
        return {table: [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY rowid")] for (table,) in tables.fetchall()}


def form(path: Path) -> Iterator[tuple[object, ...]]:
    """Yield what a schema consists of, whatever the order in which it came about."""
    with closing(sqlite3.connect(path)) as connection:
        for kind, name, table in connection.execute("SELECT type, name, tbl_name FROM sqlite_master").fetchall():
            yield kind, name, table
            if kind == "table":
                yield from (("column", name, *column[1:]) for column in connection.execute(f"PRAGMA table_xinfo({name})"))
                yield from (("reference", name, *reference[2:]) for reference in connection.execute(f"PRAGMA foreign_key_list({name})"))


async def test_no_row_and_no_value_is_lost(taken_over):
    before = content(taken_over.database)
    async with Store(taken_over.database) as store:
        assert await store.read(lambda db: db.conn.execute("PRAGMA foreign_key_check").fetchall()) == []
        assert await store.read(lambda db: db.conn.execute("PRAGMA integrity_check").fetchone()[0]) == "ok"
    after = content(taken_over.database)
    applied = before.pop("_sqlite_migrations")
    assert after["_sqlite_migrations"][: len(applied)] == applied
    assert all(before[table] for table in ("accounts", "tweets", "jobs", "models", "model_weights", "generations", "posts", "schedules"))
    for table, rows in before.items():
        wanted = [{RENAMED.get((table, name), name): value for name, value in row.items()} for row in rows]
        assert [{name: row[name] for name in wanted[0]} for row in after[table]] == wanted if wanted else not after[table], table


async def test_its_schema_is_that_of_a_new_database(taken_over, tmp_path):
    for path in (taken_over.database, tmp_path / "new.db"):
        async with Store(path):
            pass
    assert sorted(map(repr, form(taken_over.database))) == sorted(map(repr, form(tmp_path / "new.db")))


def said(settings, capsys, *words: str) -> dict:
    """Return the document that a command answers with."""
    file = settings.data_dir / "config.toml"
    file.write_text(f'data_dir = "{settings.data_dir}"\n')
    with pytest.raises(SystemExit) as ended:
        main([*words, "--json", "--config", str(file)])
    printed = capsys.readouterr()
    assert not ended.value.code, printed.err
    return json.loads(printed.out)


def test_everything_in_it_is_listed(taken_over, capsys):
    (voice,) = said(taken_over, capsys, "models", "--versions")["models"]
    assert (voice["name"], voice["version"], voice["counts"]["ann"]["kept"]) == ("ann", 1, 120)
    assert [job["voice"] for job in said(taken_over, capsys, "jobs")["jobs"]] == ["bob", "ann"]
    posts = {post["id"]: (post["status"], post["x_id"], post["awaits_person"]) for post in said(taken_over, capsys, "posts")["posts"]}
    assert posts == {
        1: ("draft", None, False),
        2: ("rejected", None, False),
        3: ("approved", None, False),
        4: ("posted", "904", False),
        5: ("sending", None, False),
        6: ("sending", None, True),
    }
    assert [change["status"] for change in said(taken_over, capsys, "posts", "show", "4")["history"]] == [
        "draft",
        "approved",
        "sending",
        "posted",
    ]
    assert [(one["name"], one["kind"]) for one in said(taken_over, capsys, "schedule", "list")["schedules"]] == [
        ("mornings", "cron"),
        ("often", "every"),
    ]


async def test_the_training_that_was_cut_off_goes_on(taken_over, executor):
    async with Mynah(taken_over, Secrets(), executor) as app:
        job = await app.lead_until(app.training.ended(2))
        assert (job.voice, job.status, job.attempt) == ("bob", jobs.Status.DONE, 2)
        assert [model.voice for model in (await app.store.read(models.page)).models] == ["ann", "bob"]


async def test_its_voice_writes_as_well_as_it_was_trained_to(taken_over):
    async with Store(taken_over.database) as store:
        voice = await store.read(models.current, "ann")
        corpus = await store.read(jobs.corpus_of, voice.corpus)
        file = await lay_down(store, taken_over, voice)
    base = bases.load(voice.base, taken_over.cache, torch.device("cpu"), print, lambda: None)
    posts = base.encode([post.text for post in corpus.report])
    batch = packing.collate(
        packing.pack(frames.framed(base, posts, [frames.frame(base)] * len(posts), 256), 256), base.separator, base.device
    )
    details = voice.result["details"]
    stored = weights.fit(weights.read(file, voice.sha256).lora, base)
    with torch.no_grad():
        before = loss.losses(base, batch).mean().item()
        with lora.wearing(base.layers, [stored], weights.scale(details["adapter"])):
            after = loss.losses(base, batch).mean().item()
    assert (before, after) == pytest.approx((voice.result["loss_before"], voice.result["loss_after"]), abs=0.01)
    assert after < before - 0.1
    with Asked() as ask:
        lines, end = ask(
            SpeechRequest(
                "1", voice.base, str(file), voice.sha256, details, "my", 2, 7, Sampling(max_tokens=20), str(taken_over.cache), "cpu"
            )
        )
    assert end.type == "spoken"
    assert [line[:2] for line in lines] == ["my", "my"]


async def test_a_migration_that_fails_leaves_the_database_to_the_older_mynah(taken_over, monkeypatch):
    def fails(db):
        db.conn.execute("DELETE FROM model_weights")
        raise ZeroDivisionError

    before = content(taken_over.database)
    monkeypatch.setattr(schema.migrations, "_migrations", [*schema.migrations._migrations, Migrations._Migration("m999_fails", fails)])
    with pytest.raises(ZeroDivisionError):
        async with Store(taken_over.database):
            pass
    assert content(taken_over.database) == before


async def test_a_database_of_a_newer_mynah_is_refused_with_a_sentence_and_left_as_it_is(taken_over, capsys):
    async with Store(taken_over.database) as store:
        await store.write(
            lambda db: db.table("_sqlite_migrations").insert({"migration_set": "mynah", "name": "m999_future", "applied_at": ""})
        )
    before = content(taken_over.database)
    with pytest.raises(StoreError, match="newer Mynah"):
        async with Mynah(taken_over, Secrets()):
            pass
    assert content(taken_over.database) == before


@pytest.mark.parametrize("words", [["models"], ["generate", "ann"], ["posts"]])
def test_every_command_says_so_and_does_nothing(settings, capsys, words):
    settings.data_dir.mkdir()
    with closing(sqlite3.connect(settings.database)) as connection:
        connection.execute("CREATE TABLE _sqlite_migrations (id INTEGER PRIMARY KEY, migration_set TEXT, name TEXT, applied_at TEXT)")
        connection.execute("INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('mynah', 'm999_future', '')")
        connection.commit()
    before = content(settings.database)
    (settings.data_dir / "config.toml").write_text(f'data_dir = "{settings.data_dir}"\n')
    with pytest.raises(SystemExit) as ended:
        main([*words, "--config", str(settings.data_dir / "config.toml")])
    assert ended.value.code == 1
    sentence = "This database was written by a newer Mynah (m999_future): upgrade Mynah, or restore a backup.\n"
    assert capsys.readouterr() == ("", sentence)
    assert content(settings.database) == before
