"""Health and metrics over HTTP: what they say, when they say 503, and who is not answered."""

import asyncio
import json
import re
import sqlite3
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import aiohttp
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from bot import door
from bot import monitor as monitor_module
from bot import vitals as vitals_module
from bot.app import Mynah
from bot.door import HOST
from bot.errors import SettingsError, StoreError
from bot.monitor import Monitor
from bot.settings import Secrets, Settings
from bot.vitals import Vitals
from bot.x.tweepy_session import _Adapter
from data import backups, jobs, speech
from data.corpus import build_corpus
from data.speech import PASSED, Generation, Purpose
from data.store import transact
from tests.conftest import made_up_tweets
from tests.voices import RECIPE, add_version
from trainer.protocol import Stage, Step

ROOT = Path(__file__).parents[2]


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
async def app(settings, executor):
    async with Mynah(settings, Secrets(), executor) as running:
        yield running


@asynccontextmanager
async def watched(app, vitals=None):
    """The door, open on a free port; `ask` returns the status and the body of a path."""
    monitor = Monitor(app, 0, vitals or Vitals())
    task = asyncio.create_task(monitor.run())
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            await monitor.door.open.wait()

            async def ask(path, host=f"{HOST}:1"):
                async with session.get(f"http://{HOST}:{monitor.door.port}{path}", headers={"Host": host}) as answer:
                    return answer.status, await answer.text()

            ask.port = monitor.door.port
            yield ask
    finally:
        task.cancel()
        await asyncio.wait([task])


async def measured(ask):
    """Return all samples of /metrics, by name and labels."""
    status, text = await ask("/metrics")
    assert status == 200
    return {
        (sample.name, *sample.labels.values()): sample.value for family in text_string_to_metric_families(text) for sample in family.samples
    }


async def test_a_service_that_lives_says_so(app):
    app.lead.take()
    async with watched(app) as ask:
        status, text = await ask("/healthz")
    found = json.loads(text)
    assert (status, found["ok"], found["leads"], found["database"], found["gateway"]) == (200, True, True, "ok", "off")


def a_line(number, verdict, *, chosen):
    return Generation(number, "it rains", True, -2.0, 0.5, 0.0, -1.0, verdict, "", chosen)


def spoken(db, model):
    wish = {"author": "", "message": "", "prompt": "", "count": 1, "seed": 1, "repeatable": False, "sampling": {}, "purpose": Purpose.TALK}
    request = speech.add(db, voice=model.voice, model=model.id, requested_by="me", **wish)
    speech.finish(db, request.id, [a_line(0, PASSED, chosen=True), a_line(1, PASSED, chosen=False), a_line(2, "copy", chosen=False)])


def trained(db):
    job, _ = jobs.enqueue(db, "ann", build_corpus({"ann": made_up_tweets(150)}, max_posts=1000, seed=0), RECIPE | {"seed": 9}, "me")
    jobs.enqueue(db, "ann", build_corpus({"ann": made_up_tweets(150)}, max_posts=1000, seed=0), RECIPE | {"seed": 10}, "me")
    (job,) = jobs.start_next(db)
    for event in (Stage("base"), Stage("train"), Step(1, 9, 5.0, 812.5, 9.0)):
        jobs.record_event(db, job, event.to_json())


async def test_the_metrics_count_what_is_stored_and_what_was_said_since(app):
    store = app.store
    model = await store.write(add_version, ("ann",))
    await store.write(spoken, model)  # before the first look
    vitals = Vitals()
    async with watched(app, vitals) as ask:
        await store.write(spoken, model)
        await store.write(trained)
        await store.write(
            lambda db: db.table("spending").insert(
                {"at": app.clock().isoformat(), "account": "", "kind": "posts_written", "why": "", "price": 15_000, "most": 2}
            )
        )
        await asyncio.to_thread(backups.record, store.path, store.path, 5)
        vitals.started["speaker"] += 2
        vitals.rate_limited["x"] += 3
        found = await measured(ask)
        assert found == found | {
            ("mynah_jobs", "running"): 1,
            ("mynah_jobs", "queued"): 1,
            ("mynah_jobs", "done"): 1,
            ("mynah_jobs", "failed"): 0,
            ("mynah_jobs_at_stage", "train"): 1,
            ("mynah_training_tokens_per_second",): 812.5,
            ("mynah_lines_total", PASSED): 2,
            ("mynah_lines_total", "copy"): 1,
            ("mynah_lines_said_total",): 1,
            ("mynah_spent_dollars", "posts_written", "day"): 0.03,
            ("mynah_spend_cap_dollars", "month"): 10.0,
            ("mynah_children_started_total", "speaker"): 2,
            ("mynah_rate_limited_total", "x"): 3,
            ("mynah_models",): 1,
            ("mynah_posting_paused",): 0,
        }
        assert found["mynah_queue_oldest_seconds",] >= 0
        assert found["mynah_last_backup_timestamp_seconds",] > 1.7e9
        assert found["mynah_disk_free_bytes",] > 0
        assert found["mynah_process_start_time_seconds",] > 1.7e9
        assert ("mynah_gateway_up",) not in found  # there is no Discord to be connected to
        assert (await measured(ask))["mynah_lines_total", PASSED] == 2  # and not counted again


async def test_every_metric_is_documented_and_what_is_documented_is_there(app):
    documented = set(re.findall(r"`(mynah_\w+)", (ROOT / "docs" / "operations.md").read_text()))
    store, vitals = app.store, Vitals()
    model = await store.write(add_version, ("ann",))
    await app.posting.draft(model.voice, None, "Low water.", "a test")
    await store.write(spoken, model)
    await store.write(trained)
    await asyncio.to_thread(backups.record, store.path, store.path, 5)
    vitals.gateway(up=True)
    vitals.late(0.25)
    async with watched(app, vitals) as ask:
        found = await measured(ask)
        _, text = await ask("/metrics")
    families = {family.name + "_total" * (family.type == "counter") for family in text_string_to_metric_families(text)}
    own = {name for name in families if not name.startswith("mynah_process_")}
    assert own == documented - {"mynah_process_"}
    assert found["mynah_loop_lag_seconds",] == 0.25
    assert found["mynah_posts", "draft"] == 1
    assert found["mynah_voices",] == 1
    assert found["mynah_requests", "queued"] == 0
    assert found["mynah_posts_awaiting_person",] == 0


async def test_acknowledgements_are_a_histogram(app):
    clock = Clock()
    vitals = Vitals(clock)
    for seconds in (0.004, 0.2, 7.0):
        vitals.interaction_arrived("1")
        clock.now += seconds
        vitals.interaction_acknowledged("1")
    vitals.interaction_acknowledged("of another process")
    async with watched(app, vitals) as ask:
        found = await measured(ask)
    buckets = {bound: found["mynah_ack_seconds_bucket", bound] for bound in ("0.01", "0.1", "0.25", "3.0", "+Inf")}
    assert buckets == {"0.01": 1, "0.1": 1, "0.25": 2, "3.0": 2, "+Inf": 3}
    assert found["mynah_ack_seconds_sum",] == pytest.approx(7.204)


async def test_a_gateway_that_is_down_for_long_is_a_503_and_one_that_comes_back_is_none(app):
    clock = Clock()
    vitals = Vitals(clock)
    async with watched(app, vitals) as ask:
        vitals.gateway(up=False)
        clock.now += monitor_module.DOWN_SECONDS - 1
        assert (await ask("/healthz"))[0] == 200
        clock.now += 2
        status, text = await ask("/healthz")
        assert status == 503
        assert json.loads(text)["troubles"] == ["no connection to Discord for 301 s"]
        assert (await measured(ask))["mynah_gateway_up",] == 0
        vitals.gateway(up=True)
        assert (await ask("/healthz"))[0] == 200
        assert (await measured(ask))["mynah_gateway_up",] == 1
        vitals.gateway(up=False, shard=2)
        vitals.gateway(up=False)
        clock.now += monitor_module.DOWN_SECONDS + 1
        vitals.gateway(up=True)
        assert (await ask("/healthz"))[0] == 503, "another of its connections is still missing"


async def test_a_loop_that_is_late_is_a_503(app):
    vitals = Vitals()
    async with watched(app, vitals) as ask:
        vitals.late(monitor_module.LATE_SECONDS + 1)
        status, text = await ask("/healthz")
    assert status == 503
    assert "late" in json.loads(text)["troubles"][0]


async def test_a_loop_that_is_held_up_is_noticed(monkeypatch):
    monkeypatch.setattr(vitals_module, "LOOK_SECONDS", 0.01)
    vitals = Vitals()
    watching = asyncio.create_task(vitals.watch_the_loop())
    await asyncio.sleep(0)
    until = asyncio.get_running_loop().time() + 0.3
    while asyncio.get_running_loop().time() < until:
        pass
    async with asyncio.timeout(20):
        while vitals.loop_lag < 0.1:  # noqa: ASYNC110 - the loop itself is what is looked at
            await asyncio.sleep(0)
    watching.cancel()


async def test_a_database_that_another_process_holds_is_a_503_in_time(app, monkeypatch):
    monkeypatch.setattr(monitor_module, "WRITE_SECONDS", 0.05)
    write, looks = app.store.write, []

    async def counted(work):
        looks.append(work)
        return await write(work)

    monkeypatch.setattr(app.store, "write", counted)
    async with watched(app) as ask:
        with closing(sqlite3.connect(app.settings.database)) as other:
            other.execute("BEGIN IMMEDIATE")
            answers = [await ask("/healthz") for _ in range(3)]
            other.execute("ROLLBACK")
        for status, text in answers:
            assert status == 503
            assert "locked" in json.loads(text)["database"]
        assert len(looks) == 1  # they do not pile up behind the lock
        while (await ask("/healthz"))[0] == 503:
            pass


async def test_a_write_that_failed_is_a_503_until_one_succeeds(app):
    filled = app.store.write
    async with watched(app) as ask:
        await filled(lambda db: db.conn.execute("PRAGMA max_page_count = 1").fetchall())
        with pytest.raises(StoreError, match="full"):
            await filled(add_version, ("ann",))
        assert app.store.trouble
        await filled(lambda db: db.conn.execute("PRAGMA max_page_count = 1000000").fetchall())
        assert (await ask("/healthz"))[0] == 200
        assert app.store.trouble is None


async def test_a_database_that_cannot_be_written_is_a_503(app, monkeypatch):
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    async with watched(app) as ask:
        with monkeypatch.context() as patched:
            patched.setattr("data.store.transact", lambda db, _: transact(db, full))
            status, text = await ask("/healthz")
        assert status == 503
        assert "disk is full" in json.loads(text)["database"]


async def test_a_page_that_came_by_another_name_is_refused(app):
    async with watched(app) as ask:
        assert (await ask("/metrics", host="evil.example"))[0] == 400
        assert (await ask("/healthz", host="localhost:9"))[0] == 200
        assert (await ask("/"))[0] == 404


async def test_who_takes_all_its_connections_keeps_others_out_and_nothing_else(app, monkeypatch):
    monkeypatch.setattr(door, "MOST_AT_ONCE", 3)
    async with watched(app) as ask:
        held = [await asyncio.open_connection(HOST, ask.port) for _ in range(3)]
        assert (await ask("/healthz"))[0] == 503
        await app.store.check()
        for _, writer in held:
            writer.close()
        async with asyncio.timeout(20):
            while (await ask("/healthz"))[0] != 200:
                pass


async def test_beyond_those_who_are_told_so_connections_are_hung_up_on(app, monkeypatch):
    monkeypatch.setattr(door, "MOST_AT_ONCE", 3)
    monkeypatch.setattr(door, "MOST_TOLD", 2)
    async with watched(app) as ask, asyncio.timeout(20):
        held = [await asyncio.open_connection(HOST, ask.port) for _ in range(12)]
        waiting = [asyncio.create_task(gone(reader)) for reader, _ in held]
        while sum(task.done() for task in waiting) < 7:
            await asyncio.wait([task for task in waiting if not task.done()], return_when=asyncio.FIRST_COMPLETED)
        await app.store.check()
        assert sum(task.done() for task in waiting) == 7
        for _, writer in held:
            writer.close()
        await asyncio.wait(waiting)


async def test_who_says_nothing_is_hung_up_on(app, monkeypatch):
    monkeypatch.setattr(door, "SILENT_SECONDS", 0)
    async with watched(app) as ask, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(HOST, ask.port)
        await gone(reader)
        writer.close()


async def gone(reader):
    """Wait until the other end is closed."""
    with suppress(ConnectionError):
        assert await reader.read() == b""


async def test_a_port_that_is_taken_is_one_sentence(app):
    assert app.lead.take()
    other = await asyncio.start_server(lambda *_: None, HOST, 0)
    async with other:
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(SettingsError, match=f"Port {port} .* monitor.port"):
            await Monitor(app, port, Vitals()).run()


async def test_who_waits_to_lead_opens_the_door_when_the_leader_has_left_it(app, monkeypatch):
    monkeypatch.setattr(door, "AGAIN_SECONDS", 0)
    other = await asyncio.start_server(lambda *_: None, HOST, 0)
    async with other:
        waiting = Monitor(app, other.sockets[0].getsockname()[1], Vitals())
        task = asyncio.create_task(waiting.run())
        for _ in range(5):
            await app.store.read(lambda _: None)
        assert not waiting.door.open.is_set()
        assert not task.done()
    async with asyncio.timeout(20):
        await waiting.door.open.wait()
    task.cancel()
    await asyncio.wait([task])


def test_it_is_off_unless_a_port_is_set():
    assert Settings().monitor.port == 0


def test_a_429_of_xs_is_counted(monkeypatch):
    vitals = Vitals()
    monkeypatch.setattr("bot.x.tweepy_session.VITALS", vitals)
    answer = requests.Response()
    answer.status_code = 429
    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", lambda *_, **__: answer)
    request = requests.Request("GET", "https://api.twitter.com/2/tweets").prepare()
    _Adapter("https://api.twitter.com", lambda prepared: prepared, (1.0, 1.0)).send(request)
    assert vitals.rate_limited == {"x": 1}
