"""Bad input by the command line: one sentence each, and nothing stored."""

import io
import json
import os
import sqlite3
import subprocess
import zipfile
from contextlib import closing

import pytest

from tests.acceptance.conftest import write_posts


def a_zip(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/") + ".js", data)
    return content.getvalue()


def tweets(*objects: object) -> bytes:
    return b"window.YTD.tweets.part0 = " + json.dumps(objects).encode()


GOOD = a_zip(
    data__tweets=tweets({"tweet": {"id_str": "1", "full_text": "hello there you", "created_at": "Sat Feb 18 12:33:11 +0000 2023"}})
)
BAD_FILES = {
    "letter.zip": (b"this is a letter", "zip"),
    "photos.zip": (a_zip(photos__one=b"x"), "archive"),
    "cut.zip": (GOOD[: len(GOOD) // 2], "cut.zip"),
    "bomb.zip": (a_zip(data__tweets=b"window.YTD.tweets.part0 = [" + b" " * 300_000_000 + b"]"), "bomb.zip"),
    "shape.zip": (a_zip(data__tweets=tweets([1, 2], "x")), "shape.zip"),
    "json.zip": (a_zip(data__tweets=b'window.YTD.tweets.part0 = [{"tweet": '), "json.zip"),
    "shape.jsonl": (b'[1, 2]\n"text"\n', "line 1"),
    "broken.jsonl": (b'{"text": "one two three"}\n{"text": \n', "line 2"),
    "empty.jsonl": (b"", "empty"),
    "empty.zip": (b"", "empty"),
    "columns.csv": (b"a,b\n1,2\n", "column"),
    "latin.txt": ("añejo".encode("latin-1"), "UTF-8"),
    "picture.png": (b"\x89PNG\r\n\x1a\n", "picture.png"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_sentence_and_nothing_is_stored(mynah, refused, tmp_path, name):
    content, said = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    assert said in refused("import", str(tmp_path / name), "--as", "ann")
    with closing(sqlite3.connect(mynah.database)) as db:
        assert db.execute("SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM tweets)").fetchone() == (0, 0)


def test_a_bad_blocklist_is_one_sentence(mynah, tmp_path):
    with (tmp_path / "config.toml").open("a") as config:
        config.write('[safety]\nblocklist = "words.txt"\n')
    assert f"The blocklist {tmp_path}/words.txt cannot be read (No such file" in mynah.refused("models")
    (tmp_path / "words.txt").write_text("fine\n/(unclosed/\n")
    assert "line 2 is no regular expression" in mynah.refused("models")
    assert any("line 2" in check["advice"] for check in json.loads(mynah("doctor", "--json").stdout)["checks"])
    (tmp_path / "words.txt").write_text("fine\n")
    assert mynah.json("models")["models"] == []


@pytest.mark.parametrize("handle", ["a/b", "../etc", "x" * 400, "🐦", "", " ", "a b", "a-b", "ann'; DROP TABLE tweets", "%s", "\uff41nn"])
def test_a_bad_handle_is_one_sentence_and_nothing_is_stored(mynah, refused, tmp_path, handle):
    assert "is not a handle" in refused("import", str(write_posts(tmp_path / "posts.jsonl")), "--as", handle)
    assert not mynah.database.exists() or sqlite3.connect(mynah.database).execute("SELECT count(*) FROM accounts").fetchone() == (0,)


@pytest.mark.parametrize(
    ("text", "environment", "said"),
    [
        ("[trainer]\nmax_post = 5\n", {}, "trainer.max_post in config.toml"),
        ("", {"MYNAH_TRANER__SEED": "1"}, "MYNAH_TRANER__SEED"),
    ],
)
def test_a_mistyped_setting_is_named(mynah, text, environment, said):
    (mynah.folder / "config.toml").write_text(text)
    process = mynah.start("models", env=mynah.environment | environment)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_too_little_text_is_one_sentence_and_queues_nothing(mynah, tmp_path):
    mynah.json("import", str(write_posts(tmp_path / "few.jsonl", 12)), "--as", "few")
    assert "training needs 6,000" in mynah.refused("train", "few")
    assert mynah.json("jobs") == {"jobs": []}


def test_a_base_that_cannot_be_had_is_one_sentence_and_the_job_has_failed(mynah, tmp_path):
    mynah.json("import", str(write_posts(tmp_path / "ann.jsonl")), "--as", "ann")
    config = mynah.folder / "config.toml"
    config.write_text(config.read_text().replace('"tiny-random"', f'"{tmp_path}/no-such-base"'))
    done = mynah("train", "ann")
    assert done.returncode == 1
    assert "no-such-base" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    (job,) = mynah.json("jobs")["jobs"]
    assert (job["status"], job["error_code"]) == ("failed", "base_unavailable")


def test_a_disk_that_fills_up_while_a_model_is_stored_is_one_sentence_and_the_database_stays_sound(mynah, tmp_path):
    """A tmpfs of 4 MB holds the data; the weights of this tiny base, at a high rank, do not fit."""
    config = mynah.folder / "config.toml"
    config.write_text(config.read_text().replace("epochs = 1\n", "epochs = 1\nspare_mib = 0\n"))  # else it would be refused beforehand
    data = tmp_path / "data"
    data.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(data)], check=False).returncode != 0:
        pytest.skip("a small tmpfs cannot be mounted here")
    try:
        mynah.json("import", str(write_posts(tmp_path / "ann.jsonl")), "--as", "ann")
        room = os.statvfs(data)
        (data / "filler").write_bytes(b"x" * (room.f_bavail * room.f_bsize - 60_000))
        done = mynah("train", "ann")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "full" in done.stderr.strip().splitlines()[-1] or "space" in done.stderr.strip().splitlines()[-1]
        (data / "filler").unlink()
        with closing(sqlite3.connect(mynah.database)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert db.execute("SELECT (SELECT count(*) FROM models), (SELECT count(*) FROM model_weights)").fetchone() == (0, 0)
        assert mynah.json("train", "ann")["version"] == 1
    finally:
        subprocess.run(["umount", "-l", str(data)], check=True)
