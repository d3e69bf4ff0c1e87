"""The doctor: each part that can be amiss is named, with what to do about it."""

import socket
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.lock import Lead
from bot.services import doctor
from bot.services.doctor import examine, healthy
from bot.settings import Monitor, Secrets, Settings, Source, Web
from data import backups, models, outbox
from data.store import Store, stamp
from tests.voices import add_version

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GaBcDe.abcdefghijklmnopqrstuvwxyz0123456789AB"


def found(settings, name, token=None, **options):
    secrets = Secrets(discord_token=SecretStr(token) if token else None)
    return [finding for finding in examine(settings, secrets, **options) if finding.name == name]


@pytest.fixture
async def voice(store):
    return await store.write(add_version, ("ann",))


def schedule(db, name="mornings", voice="ann", account="default"):
    row = {"name": name, "voice": voice, "kind": "every", "expression": "60", "timezone": "UTC", "created_by": "me", "created_at": ""}
    db.table("voices").insert({"name": voice, "created_at": ""}, ignore=True)
    db.table("schedules").insert(row | {"account": account})


async def test_a_sound_installation_is_healthy(voice, settings, monkeypatch):
    monkeypatch.setattr(doctor, "lacks_room", lambda _: None)
    findings = examine(settings, Secrets())
    assert [finding for finding in findings if not finding.ok and finding.name.split()[0] not in ("Discord", "X")] == []
    assert healthy(findings)
    assert {"clock", "backup", "fonts", "data folder"} <= {finding.name for finding in findings}
    assert "trainer" not in {finding.name for finding in findings}  # starting one takes too long for a short look


@pytest.mark.parametrize(("gpus", "speaks_on", "ok"), [([], "", True), ([0, 1], "1", True), ([0, 2], "", False), (["GPU-8a1"], "3", False)])
def test_a_gpu_that_is_named_and_not_there_is_told(settings, tmp_path, monkeypatch, gpus, speaks_on, ok):
    monkeypatch.setattr(doctor, "DEVICES", tmp_path)
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()
    settings = Settings(data_dir=settings.data_dir, trainer={"gpus": gpus}, speaker={"gpu": speaks_on})
    (finding,) = found(settings, "GPU")
    assert finding.ok is ok
    assert finding.found.startswith("NVIDIA devices: 2")
    assert ok or finding.found.endswith(("names GPU 2", "names GPU 3"))


async def test_a_newer_database_and_a_damaged_one_are_told(voice, store, settings):
    row = {"migration_set": "mynah", "name": "m999_future", "applied_at": ""}
    await store.write(lambda db: db.table("_sqlite_migrations").insert(row))
    (finding,) = found(settings, "database")
    assert (finding.ok, "m999_future" in finding.found) == (False, True)
    assert "Upgrade" in finding.advice


async def test_damage_inside_is_found_by_a_deep_look(settings, monkeypatch):
    monkeypatch.setattr(doctor, "_child", lambda: doctor.Finding("trainer", ok=True, found=""))
    async with Store(settings.database) as store:
        await store.write(add_version, ("ann",), weights=b"w" * 400_000)
    with closing(sqlite3.connect(settings.database)) as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    with settings.database.open("r+b") as file:
        file.seek((pages // 2) * 4096)
        file.write(b"\xff" * 4096 * 8)
    (finding,) = found(settings, "database", deep=True)
    assert not finding.ok
    assert "restore" in finding.advice


def test_bases_are_found_that_were_made_and_that_came_from_the_hub(settings):
    settings = settings.model_copy(update={"cache_dir": settings.data_dir / "cache"})
    (finding,) = found(settings, "base model")
    assert finding.found.endswith("in the cache: nothing yet")
    for name in ("bases/tiny-random-1", "hub/models--unsloth--gemma-3-270m-it"):
        (settings.cache / name).mkdir(parents=True)
    (finding,) = found(settings, "base model")
    assert finding.found.endswith("in the cache: tiny-random-1, unsloth/gemma-3-270m-it")
    assert finding.advice == ""


@pytest.mark.parametrize(("free", "ok"), [(513 << 20, True), (511 << 20, False)])
async def test_a_disk_that_trainings_would_fill_is_told(voice, settings, monkeypatch, free, ok):
    monkeypatch.setattr("bot.services.disk.free_bytes", lambda _: free)
    monkeypatch.setattr(doctor, "free_bytes", lambda _: free)
    monkeypatch.setattr(doctor, "_bases", lambda _: ["smollm2-135m-instruct-1"])
    (finding,) = found(settings, "disk")
    assert finding.ok is ok
    assert ok or "mynah gc" in finding.advice


@pytest.mark.parametrize(
    ("token", "ok", "said"), [(None, False, "no token"), (TOKEN, True, "is set"), ("1234567890", False, "has not the form")]
)
def test_a_token_is_told_by_its_form_and_never_shown(settings, token, ok, said):
    (finding,) = found(settings, "Discord", token)
    assert finding.ok is ok
    assert said in finding.found
    assert token is None or token not in finding.found + finding.advice


async def test_schedules_whose_voice_or_account_is_gone_are_told(store, settings):
    await store.write(schedule, "mornings", "nobody", "news")
    (voice,) = found(settings, "voices")
    assert (voice.ok, voice.advice) == (False, "`mynah train nobody`, or have another voice speak.")
    assert "schedule mornings" in voice.found
    assert any("news" in finding.found and not finding.ok for finding in found(settings, "X schedules"))


async def test_a_voice_that_is_to_answer_mentions_and_is_not_there_is_told(voice, settings):
    mentions = settings.x.mentions.model_copy(update={"on": True, "voice": "bob"})
    (finding,) = found(settings.model_copy(update={"x": settings.x.model_copy(update={"mentions": mentions})}), "voices")
    assert "x.mentions wants bob" in finding.found


async def test_a_pause_is_told(voice, store, settings):
    assert found(settings, "posting") == []
    await store.write(outbox.pause, "ann", "the lamp is out")
    (finding,) = found(settings, "posting")
    assert "the lamp is out" in finding.found
    assert finding.advice.startswith("`mynah resume`")


async def test_a_folder_whose_name_means_something_in_an_address_is_looked_into(settings):
    settings = settings.model_copy(
        update={"data_dir": settings.data_dir / "50%25 #1?", "x": settings.x.model_copy(update={"unattended": frozenset({"mornings"})})}
    )
    async with Store(settings.database) as store:
        await store.write(schedule)
        post = await store.write(outbox.add_draft, voice="ann", schedule=None, text="hello", who="me", to=outbox.Destination("default"))
        await store.write(outbox.ask_person, post.id, who="me", why="look at it")
    assert found(settings, "outbox")[0].advice == "look at it"
    assert any(finding.found == "mornings without approval" for finding in found(settings, "X schedules"))


async def test_an_unattended_voice_that_anybody_may_train_anew_is_told_until_it_is_pinned(voice, store, settings):
    settings = settings.model_copy(update={"x": settings.x.model_copy(update={"unattended": frozenset({"mornings"})})})
    await store.write(schedule)
    (finding,) = found(settings, "X voices")
    assert (finding.ok, finding.found) == (True, "ann: unattended, and not pinned")
    assert finding.advice.startswith("`mynah pin ann VERSION`")
    await store.write(models.pin, "ann", 1)
    assert found(settings, "X voices") == []


def test_doors_that_are_set_must_be_free_and_two(settings):
    assert found(settings, "ports") == []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = settings.model_copy(update={"web": Web(port=port)})
        both = one.model_copy(update={"monitor": Monitor(port=port)})
        assert [finding.found for finding in found(one, "ports")] == [f"something else is at web ({port})"]
        assert [finding.found for finding in found(both, "ports")] == [f"monitor and web are both at {port}"]
        assert not any(finding.ok for doors in (one, both) for finding in found(doors, "ports"))
        with Lead(settings.data_dir / "mynah.lock") as lead:
            assert lead.take()
            assert [finding.ok for finding in found(one, "ports")] == [True]  # the service itself is there
    assert [finding.ok for finding in found(one, "ports")] == [True]


def test_a_command_for_posts_that_cannot_be_run_is_told(settings):
    assert found(settings, "source") == []
    for command, ok in ((sys.executable, True), ("nowhere-to-be-found", False)):
        (finding,) = found(settings.model_copy(update={"source": Source(command=(command,))}), "source")
        assert (finding.ok, bool(finding.advice)) == (ok, not ok)


async def test_a_clock_that_was_set_back_is_told(voice, store, settings):
    assert found(settings, "clock")[0].ok
    later = stamp(datetime.now(UTC) + timedelta(hours=1))
    await store.write(lambda db: db.conn.execute("UPDATE jobs SET created_at = ?", [later]))
    (finding,) = found(settings, "clock")
    assert (finding.ok, later[:16] in finding.found) == (False, True)


async def test_the_age_of_the_last_backup_is_told(voice, store, settings, tmp_path):
    (finding,) = found(settings, "backup")
    assert (finding.ok, finding.found) == (True, "none was made")
    assert "mynah backup" in finding.advice
    file = tmp_path / "b.db"
    file.touch()
    backups.record(settings.database, file, 1)
    assert found(settings, "backup")[0].advice == ""
    await store.write(lambda db: db.conn.execute("UPDATE backups SET at = ?", [stamp(datetime.now(UTC) - timedelta(days=8))]))
    (finding,) = found(settings, "backup")
    assert finding.found == f"{file}, 8 days ago"
    assert "new one" in finding.advice
    file.unlink()
    assert "not there any more" in found(settings, "backup")[0].found


def test_a_trainer_that_does_not_start_is_told(monkeypatch, tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'ImportError: no torch here' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(broken))
    finding = doctor._child()
    assert (finding.ok, finding.found) == (False, "it does not start: ImportError: no torch here")
    broken.write_text('#!/bin/sh\necho "2.13.0 CPU"\n')
    assert doctor._child().found == "starts, with torch 2.13.0 CPU"


def test_fonts_that_are_missing_are_told(monkeypatch, settings):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if "cjk" in name else object())
    assert doctor._fonts().found.startswith("missing manimgx_fonts_cjk")


def test_a_folder_that_cannot_be_written_is_told(monkeypatch, settings):
    monkeypatch.setattr("os.access", lambda *_: False)
    assert not doctor._folder(Path("/var/mynah")).ok
