"""Schedules and runs as rows: what an older database brings along, and what the tables themselves refuse."""

import sqlite3
from datetime import UTC, datetime

import pytest
from sqlite_utils import Database

from data import migrations, schedules
from data.schedules import Outcome, Schedule
from data.store import transact
from tests.bot.x.rows import VOICE, add_voice

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def db(tmp_path):
    db = Database(tmp_path / "mynah.db")
    db.conn.execute("PRAGMA foreign_keys = ON")
    yield db
    db.close()


def test_a_schedule_of_before_is_the_operator_s_goes_on_where_it_was_and_keeps_its_posts(db):
    transact(db, lambda db: migrations.migrations.apply(db, stop_before="m020_destinations"))
    with db.conn:
        add_voice(db)
        old = {
            "voice": VOICE,
            "kind": "cron",
            "expression": "0 9 * * *",
            "timezone": "UTC",
            "created_by": "ann",
            "created_at": "2026-01-01",
        }
        db["schedules"].insert(old | {"name": "tides", "last_run_at": "2026-11-21T09:00:00.400000+00:00"})
        db["posts"].insert({"voice": VOICE, "schedule": "tides", "text": "Low water.", "status": "draft", "created_at": "2026-11-21"})
    transact(db, migrations.migrations.apply)
    (schedule,) = schedules.listed(db)
    assert (schedule.kind, schedule.expression, schedule.settled_until) == ("cron", "0 9 * * *", "2026-11-21T09:00:00.400000+00:00")
    assert (schedule.operator, schedule.account, schedule.channel, schedule.missed) == (True, "default", None, "once")
    assert [(post["schedule"], post["not_before"]) for post in db["posts"].rows] == [("tides", None)]
    assert db.conn.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.parametrize("wrong", [{"kind": "often"}, {"missed": "twice"}, {"max_a_day": 0}, {"channel": 7}, {"account": None}])
def test_what_no_schedule_can_be_is_no_row(db, wrong):
    migrations.migrations.apply(db)
    add_voice(db)
    good = Schedule("tides", VOICE, "every", "3600", "UTC", "ann", NOON.isoformat())
    with pytest.raises(sqlite3.IntegrityError), db.conn:
        db["schedules"].insert(vars(good) | wrong)
    schedules.add(db, good)
    assert schedules.get(db, "tides") == good


def test_a_time_is_taken_up_once_and_what_was_let_pass_can_be(db):
    migrations.migrations.apply(db)
    add_voice(db)
    schedules.add(db, Schedule("tides", VOICE, "every", "3600", "UTC", "ann", NOON.isoformat()))

    def take(outcome: Outcome) -> bool:
        return schedules.add_run(db, "tides", nominal=NOON, at=NOON, taken_at=NOON, outcome=outcome, why="a test") is not None

    assert [take(outcome) for outcome in (Outcome.MISSED, Outcome.SKIPPED, Outcome.DUE, Outcome.DUE, Outcome.MISSED)] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert [run.outcome for run in schedules.runs(db, "tides")] == [Outcome.DUE]
    schedules.remove(db, "tides")
    assert db["schedule_runs"].count == 0
