"""A harbour's Mynah, all of it fiction: voices, trainings, posts, schedules and spending, for every page to show."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from sqlite_utils import Database

from bot.app import Mynah
from bot.services.scheduling import Spec
from data import jobs
from data.corpus import Counts, build_corpus
from data.models import Model
from data.outbox import State
from data.store import stamp
from tests.conftest import made_up_tweets, store_account
from tests.voices import RECIPE, add_version
from trainer.protocol import Evaluation, Sample, Stage, Step

#: By voice: loss before and after, posts kept, samples.
VOICES = {
    "keeper_ottoline": (
        (4.12, 3.04),
        1_846,
        (
            "The fog came in at four and asked after the lamp. I said the lamp is fine, thank you, and so am I, mostly.",
            "A gull has taken the second step of the stairs. Negotiations continue.",
            "Nobody tells you how loud a kettle is when the sea is quiet.",
        ),
    ),
    "harbour_office": (
        (3.87, 2.91),
        912,
        (
            "Berth 4 is free from Tuesday. Berth 5 is free from the seal, as soon as the seal says so.",
            "High water 06:12. Low expectations 06:30.",
        ),
    ),
    "mara_the_cook": (
        (4.40, 3.55),
        455,
        ("Soup of the day is yesterday's, which had a good night.", "If you can smell it from the pier, it is done."),
    ),
    "tide_tables": ((3.10, 2.20), 2_300, ("Springs on Thursday. Bring boots.",)),
}
POSTS = (
    (
        "keeper_ottoline",
        "The fog came in at four and asked after the lamp. I said the lamp is fine, thank you, and so am I, mostly.",
        "mornings",
    ),
    ("harbour_office", "Berth 4 is free from Tuesday. Berth 5 is free from the seal, as soon as the seal says so.", None),
    ("mara_the_cook", "Soup of the day is yesterday's, which had a good night.", None),
    ("keeper_ottoline", "A gull has taken the second step of the stairs. Negotiations continue.", "mornings"),
    ("tide_tables", "Springs on Thursday. Bring boots.", None),
)
SEVERAL = ("harbour_office", "keeper_ottoline")


async def furnish(app: Mynah) -> None:
    """Put everything into an app's database."""
    store = app.store
    for seed, (voice, (losses, kept, samples)) in enumerate(VOICES.items(), 1):
        await store.write(store_account, voice, made_up_tweets(150, seed))
        for drop in (0.6, 1.0) if voice == "keeper_ottoline" else (1.0,):
            model = await store.write(add_version, (voice,))
            await store.write(_learned, model, losses[0], losses[0] - drop * (losses[0] - losses[1]), kept, samples)
    joint = await store.write(add_version, SEVERAL)
    await store.write(_learned, joint, 4.02, 3.10, 1_380, ("The seal has been told about the lamp.",))
    await _queue(app)
    await app.scheduling.add("mornings", "keeper_ottoline", _times("9:00, sat 11:00", "Europe/Madrid"), by="ottoline", operator=True)
    await app.scheduling.add("tides", "tide_tables", Spec(every="6h", quiet="22:00-07:00"), by="ottoline", operator=True)
    await app.scheduling.add("suppers", "mara_the_cook", _times("17:30", "Europe/Lisbon"), by="mara", operator=True)
    await app.scheduling.pause("suppers", "mara")
    for voice, text, schedule in POSTS:
        await app.posting.draft(voice, schedule, text, f"schedule {schedule}" if schedule else "ottoline")
    await app.posting.reject(3, "ottoline", "the soup is not yesterday's")
    await app.posting.approve(4, "ottoline")
    await store.write(_sent)
    await store.write(_paid, app)


def _times(times: str, timezone: str) -> Spec:
    return Spec(times=times, timezone=timezone, jitter="20m")


def _learned(db: Database, model: Model, before: float, after: float, kept: int, samples: Sequence[str]) -> None:
    """Have a version have learned in so many steps."""
    result = model.result | {"loss_before": before, "loss_after": after, "seconds": 214.0, "samples": [*samples]}
    db.table("models").update(model.id, {"result": json.dumps(result), "base": "smollm2-135m-instruct", "bytes": 2_481_664})
    counts = {handle: asdict(Counts(kept + 340, 290, 50, kept, 12)) for handle in model.handles}
    db.conn.execute("UPDATE corpora SET counts = ? WHERE sha256 = ?", [json.dumps(counts), model.corpus])
    job = jobs.get(db, model.job)
    for step in range(1, 121):
        loss = after - 0.1 + (before - after) * 0.965**step + 0.09 * ((step * 37) % 11 - 5) / 5
        jobs.record_event(db, job, Step(step, 120, loss, 812.5, (120 - step) * 1.7).to_json())
        if step % 20 == 0:
            jobs.record_event(db, job, Evaluation(step, after + (before - after) * 0.96**step).to_json())


async def _queue(app: Mynah) -> None:
    """Have one training under way, two that wait, and one that failed."""
    for seed, voice in enumerate(("lamp_room", "ferry_bell", "net_mender", "old_pilot"), 11):
        await app.store.write(store_account, voice, made_up_tweets(150, seed))
        await app.store.write(_ask, voice)
    await app.store.write(_under_way)


def _ask(db: Database, voice: str) -> None:
    corpus = build_corpus({voice: made_up_tweets(150, len(voice))}, max_posts=1000, seed=0)
    jobs.enqueue(db, voice, corpus, RECIPE | {"base": "smollm2-135m-instruct"}, "mara (Discord 1187)")


def _under_way(db: Database) -> None:
    (broken,) = jobs.start_next(db)
    jobs.end(db, broken.id, jobs.Status.FAILED, code="out_of_memory", sentence="The GPU's memory was full: lower trainer.at_once.")
    (job,) = jobs.start_next(db)
    for event in (
        Stage("base"),
        Stage("train"),
        Step(74, 120, 3.42, 812.5, 95.0),
        Sample(60, "The bell rang twice and nobody had asked it to."),
    ):
        jobs.record_event(db, job, event.to_json())


def _sent(db: Database) -> None:
    """Have the fifth post be out, and one wait because nobody knows whether it is."""
    row = {"status": State.POSTED, "x_id": "1992000000000000001"}
    db.table("posts").update(5, row)
    db.table("posts").update(2, {"status": State.FAILED, "awaits_person": True})
    for post, status, why in ((5, State.POSTED, "posted"), (2, State.FAILED, "X says that the account's credits are used up.")):
        change = {"post": post, "status": status, "at": stamp(_now(db)), "who": "mynah", "why": why, "was": None}
        db.table("post_changes").insert(change)


def _now(db: Database) -> datetime:
    return datetime.fromisoformat(next(db.query("SELECT max(at) AS at FROM post_changes"))["at"])


def _paid(db: Database, app: Mynah) -> None:
    now = app.clock()
    for kind, price, most, ago in (
        ("posts_written", 15_000, 9, 0),
        ("posts_read", 5_000, 60, 0),
        ("users_read", 10_000, 3, 0),
        ("posts_read", 5_000, 700, 3),
    ):
        at = max(now - timedelta(days=ago), now.replace(day=1))
        row = {"at": stamp(at), "account": "", "kind": kind, "why": "fiction", "price": price, "most": most, "count": most}
        db.table("spending").insert(row | {"settled_at": stamp(at)})
