"""Each invariant can fail: what holds of a sound database is broken in one way, and the invariant says so."""

import re
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlite_utils import Database

from data import jobs, outbox, schedules, speech
from data.outbox import Destination, State
from data.schedules import Outcome
from data.speech import Generation, Purpose
from data.store import Store, now
from tests.chaos.invariants import SQL, invariants, violations
from tests.chaos.ledger import Ledger
from tests.conftest import made_up_tweets, store_account
from tests.voices import RECIPE, add_version

#: By the invariant: what breaks it, in Mynah's database or, as `seen`, in what people were told.
BREAKS = {
    "sound_file": "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'posts_voice'",
    "sound_references": "DELETE FROM requests",
    "job_without_owner": "UPDATE jobs SET status = 'running', process_group = 4000 WHERE status = 'failed'",
    "job_without_end": "UPDATE jobs SET error = NULL WHERE status = 'failed'",
    "job_without_model": "UPDATE jobs SET status = 'done' WHERE status = 'failed'",
    "job_failed_by_mynah": "UPDATE jobs SET error_code = 'internal' WHERE status = 'failed'",
    "job_cancelled_by_nobody": "DELETE FROM seen.cancels",
    "job_done_twice": "UPDATE jobs SET fingerprint = (SELECT fingerprint FROM jobs WHERE id = 1) WHERE id = 2",
    "job_without_consent": "DELETE FROM consents",
    "watch_without_end": "UPDATE watches SET told = 0",
    "model_without_weights": "DELETE FROM model_weights WHERE model = 1",
    "model_with_a_wrong_hash": "UPDATE model_weights SET chunk = zeroblob(length(chunk)) WHERE model = 2",
    "model_of_another_job": "UPDATE models SET voice = 'bob' WHERE id = 2",
    "version_missing": "UPDATE models SET version = 7 WHERE id = 2",
    "request_without_answer": "UPDATE requests SET status = 'running' WHERE id = 1",
    "request_without_line": "UPDATE generations SET chosen = 0",
    "line_said_twice": "UPDATE generations SET text = 'the same'",
    "line_that_may_not_be_said": "UPDATE generations SET verdict = 'mention' WHERE number = 0",
    "post_twice": "INSERT INTO seen.x SELECT '78', text FROM seen.x",
    "post_of_nobody": "INSERT INTO seen.x VALUES ('78', 'who wrote this?')",
    "post_that_is_not_there": "DELETE FROM seen.x",
    "post_under_way": "UPDATE posts SET status = 'sending' WHERE status = 'posted'",
    "post_without_a_yes": "DELETE FROM post_changes WHERE status = 'approved'",
    "post_without_history": "DELETE FROM post_changes WHERE status = 'posted'",
    "post_unpaid": "DELETE FROM spending",
    "time_without_end": "UPDATE schedule_runs SET outcome = 'due'",
    "time_without_draft": "UPDATE schedule_runs SET post = NULL",
    "draft_without_time": "DELETE FROM schedule_runs",
    "posts_of_no_source": "DELETE FROM sources",
    "source_without_posts": "DELETE FROM tweets WHERE handle = 'ann' AND id = '1003'",
    "opted_out_and_stored": "INSERT INTO opt_outs VALUES ('ann', 'ann', '2026')",
    "training_lost": "DELETE FROM jobs WHERE status = 'failed'",
    "end_untold": "DELETE FROM seen.told",
    "cancel_lost": "UPDATE jobs SET status = 'failed' WHERE status = 'cancelled'",
    "answer_lost": "DELETE FROM generations",
    "import_lost": "DELETE FROM tweets WHERE handle = 'ann' AND id = '1003'",
    "forgotten_and_stored": "INSERT INTO seen.withdrawn VALUES ('ann', 'forget', 1)",
    "opt_out_lost": "DELETE FROM opt_outs",
    "schedule_lost": "INSERT INTO seen.schedules VALUES ('another')",
    "run_lost": "INSERT INTO seen.runs VALUES (78)",
    "decision_lost": "UPDATE posts SET status = 'draft' WHERE status = 'rejected'",
}


def _line(number: int, text: str) -> Generation:
    scores = {"complete": True, "log_likelihood": -2.0, "style": 0.5, "relevance": 0.0, "score": 1.0}
    return Generation(number=number, text=text, verdict="passed", reason="", chosen=True, **scores)


def _fill(db: Database) -> None:
    """Do a little of everything, and bring it to its end."""
    for handle, seed in (("ann", 1), ("bob", 2)):
        store_account(db, handle, made_up_tweets(150, seed))
    for weights in (b"one" * 1000, b"two" * 1000):
        add_version(db, ("ann",), weights=weights)
    db.conn.execute("UPDATE jobs SET ended_at = ?", [now()])
    corpus = jobs.corpus_of(db, jobs.get(db, 1).corpus)
    for seed, status in ((8, jobs.Status.FAILED), (9, jobs.Status.CANCELLED)):
        job, _ = jobs.enqueue(db, "ann", corpus, RECIPE | {"seed": seed}, "alice")
        jobs.end(db, job.id, status, code="died" if status is jobs.Status.FAILED else None, sentence="It is over.")
    jobs.mark_told(db, jobs.add_watch(db, 1, 5, 55, 6).id)
    wish = {"author": "", "message": "", "count": 1, "seed": 0, "repeatable": False, "sampling": {}, "purpose": Purpose.TALK}
    for number in range(2):
        asked = speech.add(db, voice="ann", model=1, prompt=f"Lamp {number}", requested_by="alice", **wish)
        speech.finish(db, asked.id, [_line(0, f"Lamp {number} is lit")])
    speech.fail(db, speech.add(db, voice="ann", model=1, prompt="", requested_by="alice", **wish).id, "No line came.")
    moment = datetime.now(UTC)
    schedule = {"kind": "every", "expression": "3600", "timezone": "UTC", "created_by": "me", "created_at": now(), "voice": "ann"}
    db.table("schedules").insert(schedule | {"name": "tides"})
    for state in (State.POSTED, State.REJECTED):
        post = outbox.add_draft(db, voice="ann", schedule="tides", text=f"{state}!", who="tides", to=Destination("default"))
        times = {"nominal": moment, "at": moment, "taken_at": moment}
        run = schedules.add_run(db, "tides", **times, outcome=Outcome.DUE, why="", asked_by=None)
        assert run
        moment = datetime.now(UTC)
        db.table("schedule_runs").update(run.id, {"outcome": "drafted", "post": post.id, "tries": 1})
        if state is State.REJECTED:
            outbox.change(db, post.id, state, who="me", why="dull")
            continue
        outbox.change(db, post.id, State.APPROVED, who="me", why="")
        outbox.change(db, post.id, State.SENDING, who="mynah", why="sent")
        outbox.change(db, post.id, state, who="mynah", why="", x_id="77")
    row = {"at": now(), "account": "default", "kind": "posts_written", "why": "", "price": 1, "most": 1, "count": 1, "settled_at": now()}
    db.table("spending").insert(row)
    db.table("opt_outs").insert({"handle": "carol", "said_by": "carol", "created_at": now()})


def _tell(ledger: Ledger) -> None:
    """Write down what people were told of it."""
    for table, *row in (
        ("trainings", 1, "ann", 55),
        ("trainings", 3, "ann", 56),
        ("told", 55, "told-1-55"),
        ("told", 55, "told-1-55"),
        ("told", 56, "told-2-56"),
        ("cancels", 4, 1),
        ("answers", "ann", "Lamp 1"),
        ("imports", "ann", 150),
        ("imports", "carol", 9),
        ("withdrawn", "carol", "opt-out", 1),
        ("schedules", "tides"),
        ("runs", 1),
        ("decisions", 1, "approved"),
        ("decisions", 2, "rejected"),
        ("x", "77", "posted!"),
    ):
        ledger.note(table, *row)


@pytest.fixture
async def sound(tmp_path):
    """A sound database, and the ledger that belongs to it."""
    database = tmp_path / "mynah.db"
    async with Store(database) as store:
        await store.write(_fill)
    ledger = Ledger(tmp_path / "ledger.db")
    _tell(ledger)
    ledger.close()
    return database, ledger.path


async def test_a_sound_database_violates_nothing_and_each_break_of_it_is_found(sound, tmp_path):
    assert [str(found) for found in violations(*sound)] == []
    unseen = []
    for name, statements in BREAKS.items():
        database, ledger = (Path(shutil.copy(path, tmp_path / f"{name}-{path.name}")) for path in sound)
        with closing(sqlite3.connect(database, isolation_level=None)) as db:  # where references are not looked after
            db.execute("ATTACH ? AS seen", [str(ledger)])
            db.executescript(statements)
        if name not in {found.invariant.name for found in violations(database, ledger)}:
            unseen.append(name)
    assert unseen == []


def test_every_invariant_of_the_file_is_asked_and_can_be_broken():
    asked = [invariant.name for invariant in invariants()]
    assert asked == re.findall(r"^-- ([a-z_]+): ", SQL.read_text(), re.MULTILINE)
    assert len(set(asked)) == len(asked)
    assert set(BREAKS) == set(asked)
