"""Requests and the lines that came: what is kept of them, what was said before, and rows of an older Mynah."""

import json
import sqlite3

import pytest
from sqlite_utils import Database

import data.migrations as schema
from data import accounts, speech
from data.errors import NotStoredError
from data.speech import Generation, Purpose
from data.store import Store
from tests.voices import add_version


def line(number, text, *, chosen=True, verdict="passed", reason=""):
    return Generation(number, text, verdict != "cut_off", -2.5, 0.75, 0.125, 3.5, verdict, reason, chosen)


def ask(db, model, **wanted):
    wish = {"author": "", "message": "", "prompt": "", "count": 2, "seed": 1, "repeatable": False, "sampling": {}, "purpose": Purpose.TALK}
    return speech.add(db, voice=model.voice, model=model.id, requested_by="me", **wish | wanted)


@pytest.fixture
async def voice(store):
    return await store.write(add_version)


async def test_everything_of_a_line_is_kept(voice, store):
    request = await store.write(ask, voice, repeatable=True)
    lines = [line(0, "said"), line(1, "cut", chosen=False, verdict="cut_off", reason="was cut off before its end")]
    await store.write(speech.finish, request.id, lines)
    assert await store.read(speech.generations, request.id) == lines
    assert (await store.read(speech.get, request.id)).repeatable is True


async def test_rejected_lines_outlive_a_failure(voice, store):
    request = await store.write(ask, voice)
    rejected = [line(0, "…", chosen=False, verdict="empty", reason="has no letter and no digit")]
    await store.write(speech.record, request.id, rejected)
    await store.write(speech.fail, request.id, "None may be said.")
    assert await store.read(speech.generations, request.id) == rejected


async def test_what_was_said_before_is_the_newest_of_the_voice_alone_with_its_prompt(voice, store):
    other = await store.write(add_version, ("bob",))
    for model, prompt, texts in ((voice, "one", ["a", "b"]), (other, "", ["c"]), (voice, "", ["d", "e"])):
        request = await store.write(ask, model, prompt=prompt)
        rejected = line(9, "never said", chosen=False)
        await store.write(speech.finish, request.id, [*(line(number, text) for number, text in enumerate(texts)), rejected])
    assert await store.read(speech.said_before, "ann", 3) == [("d", ""), ("e", ""), ("a", "one")]
    assert await store.read(speech.said_before, "bob", 3) == [("c", "")]


async def test_lines_of_a_voice_that_was_forgotten_are_not_kept(voice, store):
    request = await store.write(ask, voice)
    await store.write(lambda db: db.conn.execute("DELETE FROM voices"))
    with pytest.raises(NotStoredError):
        await store.write(speech.record, request.id, [line(0, "late")])


async def test_a_database_from_before(settings):
    """Its lines are kept, and count as said before; of their scores nothing is known."""
    settings.database.parent.mkdir(parents=True)
    connection = sqlite3.connect(settings.database)
    db = Database(connection)
    schema.migrations.apply(db, stop_before="m010_why_a_line_was_said")
    connection.execute("INSERT INTO accounts VALUES ('ann', '')")
    accounts.ensure_voice(db, "ann", ["ann"])
    connection.execute("INSERT INTO corpora VALUES ('c', 'ann', '{}', '{}', '')")
    job = {"voice": "ann", "corpus": "c", "recipe": "{}", "fingerprint": "f", "status": "done", "requested_by": "me", "created_at": ""}
    db["jobs"].insert(job)
    connection.execute("INSERT INTO models VALUES (1, 'ann', 1, 1, 'c', 'tiny', 'lora', '{}', 's', 0, '')")
    row = {"voice": "ann", "model": 1, "prompt": "", "count": 1, "seed": 1, "sampling": json.dumps({}), "purpose": "talk", "status": "done"}
    db["requests"].insert(row | {"requested_by": "me", "created_at": ""})
    db["generations"].insert({"request": 1, "number": 0, "text": "an old line", "log_likelihood": -2.0, "verdict": "passed", "chosen": 1})
    connection.commit()
    connection.close()
    async with Store(settings.database) as store:
        assert await store.read(speech.generations, 1) == [Generation(0, "an old line", True, -2.0, 0.0, 0.0, 0.0, "passed", "", True)]
        assert await store.read(speech.said_before, "ann", 9) == [("an old line", "")]
        assert (await store.read(speech.get, 1)).repeatable is False


async def test_who_waits_goes_first_and_a_post_waits_half_a_minute_at_most(voice, store):
    def asked(db, purpose, seconds_ago):
        request = ask(db, voice, purpose=purpose)
        db.conn.execute(
            "UPDATE requests SET created_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?) WHERE id = ?",
            [f"-{seconds_ago} seconds", request.id],
        )
        return request.id

    asks = [(Purpose.POST, 50), (Purpose.POST, 20), (Purpose.TALK, 30), (Purpose.TALK, 10)]
    old_post, post, first, second = [await store.write(asked, *one) for one in asks]
    order = [(await store.write(speech.start_next)).id for _ in range(4)]
    assert order == [first, old_post, second, post]
    assert await store.write(speech.start_next) is None


async def test_looking_for_work_reads_the_open_requests_alone(store):
    def plan(db):
        return " ".join(
            row["detail"]
            for row in db.query("EXPLAIN QUERY PLAN SELECT id FROM requests WHERE status IN ('queued', 'running') AND status = 'queued'")
        )

    assert "requests_open" in await store.read(plan)


async def test_what_a_model_drew_is_told_with_its_verdicts_the_newest_first(voice, store):
    def draw(db, *verdicts):
        request = ask(db, voice)
        speech.finish(db, request.id, [line(number, f"{request.id}.{number}", verdict=verdict) for number, verdict in enumerate(verdicts)])

    await store.write(draw, "passed", "copy")
    await store.write(draw, "profane")
    model = (await store.read(speech.get, 1)).model
    assert await store.read(speech.judged, model, 9) == [("2.0", "profane"), ("1.0", "passed"), ("1.1", "copy")]
    assert await store.read(speech.judged, model, 2) == [("2.0", "profane"), ("1.0", "passed")]
    assert await store.read(speech.judged, model + 1, 9) == []
