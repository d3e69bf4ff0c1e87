"""The outbox's rows: what an older Mynah left in them, and what tells one post from another."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlite_utils import Database

from data import migrations, outbox
from data.outbox import Destination, State
from data.store import insert
from tests.bot.x.rows import VOICE, add_voice

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def db():
    db = Database(memory=True)
    yield db
    db.close()


def test_what_an_older_mynah_was_sending_still_waits_for_whom_it_waited(db):
    migrations.migrations.apply(db, stop_before="m019_spending")
    add_voice(db)
    histories = {"given up": ["approved", "sending", "sending"], "killed": ["approved", "sending"], "failed": ["sending", "failed"]}
    for text, statuses in histories.items():
        row = {"voice": VOICE, "text": text, "status": statuses[-1], "created_at": "2026-11-21"}
        number = insert(db, "posts", row)
        for minute, status in enumerate(statuses):
            insert(db, "post_changes", {"post": number, "status": status, "at": f"2026-11-21T12:0{minute}", "who": "mynah", "why": ""})
    migrations.migrations.apply(db)
    given_up, killed, failed = (outbox.get(db, number) for number in (1, 2, 3))
    assert (given_up.awaits_person, killed.awaits_person, failed.awaits_person) == (True, False, False)
    assert (killed.tried_at, killed.unsure_since, failed.unsure_since) == ("2026-11-21T12:01", "2026-11-21T12:01", None)
    assert {post.destination for post in (given_up, killed, failed)} == {Destination("default")}


@pytest.mark.parametrize("to", [Destination(), Destination("news", 7)])
def test_a_post_goes_to_one_place(db, to):
    migrations.migrations.apply(db)
    add_voice(db)
    with pytest.raises(Exception, match="CHECK"):
        outbox.add_draft(db, voice=VOICE, schedule=None, text="Low water.", who="a test", to=to)


def test_the_newest_known_post_is_by_number_and_by_account(db):
    migrations.migrations.apply(db)
    add_voice(db)
    for account, x_id, minutes in (("default", "99", 1), ("default", "100", 2), ("default", "101", 9), ("news", "500", 1)):
        post = outbox.add_draft(db, voice=VOICE, schedule=None, text="Low water.", who="a test", to=Destination(account))
        outbox.change(db, post.id, State.APPROVED, who="ann", why="")
        outbox.mark_try(db, post.id, NOON + timedelta(minutes=minutes))
        outbox.change(db, post.id, State.SENDING, who="mynah", why="")
        outbox.change(db, post.id, State.POSTED, who="mynah", why="", x_id=x_id)
    assert outbox.last_before(db, "default", NOON + timedelta(minutes=5)) == "100"
    assert outbox.last_before(db, "default", NOON) is None
    assert outbox.known_on_x(db, "news") == {"500"}


def test_a_try_that_came_to_nothing_is_forgotten_and_one_before_it_is_not(db):
    migrations.migrations.apply(db)
    add_voice(db)
    post = outbox.add_draft(db, voice=VOICE, schedule=None, text="Low water.", who="a test", to=Destination("default"))
    outbox.mark_try(db, post.id, NOON)
    outbox.undo_try(db, post.id)
    assert outbox.get(db, post.id).unsure_since is None
    outbox.mark_try(db, post.id, NOON)
    outbox.mark_try(db, post.id, NOON + timedelta(minutes=5))
    outbox.undo_try(db, post.id)
    assert outbox.get(db, post.id).unsure_since == NOON.isoformat(timespec="microseconds")
