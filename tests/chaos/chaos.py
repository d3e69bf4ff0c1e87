"""Everything at once, while the service, its trainer and its speaker are killed; then rest, and the question what was lost."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from bot.app import Mynah
from bot.services import verifying
from bot.services.scheduling import Spec
from bot.settings import Secrets, load_settings
from data.store import stamp
from tests.chaos.invariants import invariants, violations
from tests.chaos.ledger import Ledger
from tests.chaos.people import OPERATOR, Member, Operator, Owner, World
from tests.chaos.service import Service
from tests.loopback_discord import LoopbackDiscord
from tests.loopback_x import Answer, LoopbackX

VICTIMS = ("service", "trainer", "speaker")
#: How often X gives other answers than the right one; after these, somebody has to look whether the post is there.
X_FAILS = {Answer.CUT: 0.03, Answer.CUT_AFTER_MAKING: 0.06, Answer.FAILED_AFTER_MAKING: 0.03}
POSTS = 2000  # by whose end X always behaves
VICTIM_SECONDS = 20.0  # for which a killer waits until there is one to kill
FIRST = ("ann", "bob", "guest")
SCHEDULES = ("tides", "weather")
REST = """
SELECT (SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')) AS trainings,
       (SELECT count(*) FROM requests WHERE status IN ('queued', 'running')) AS lines,
       (SELECT count(*) FROM posts WHERE status IN ('approved', 'sending') OR awaits_person) AS posts,
       (SELECT count(*) FROM schedule_runs WHERE outcome = 'due') AS times,
       (SELECT count(*) FROM watches WHERE NOT told) AS messages
"""


@dataclass(frozen=True)
class Plan:
    """What is done, and how much of it."""

    seed: int
    module: str
    """`bot`, or another that is the command `mynah`."""
    kills: int = 0
    """After so many it ends; 0: after `seconds`."""
    seconds: float = 0.0
    pause: tuple[float, float] = (0.3, 1.2)
    """Seconds between two kills."""
    pace: float = 1.0
    """Seconds that each of the people waits at most before his next deed."""
    posts: int = 130
    """Of an import."""
    patience: float = 10.0
    rest: float = 90.0
    """Seconds within which, while everything comes to rest in the end, something more has ended."""


@dataclass
class Outcome:
    """What was done, and what was lost."""

    plan: Plan
    seconds: float = 0.0
    tally: list[tuple[str, int, int]] = field(default_factory=list)
    """What, how often it was tried, how often it was acknowledged or done."""
    kills: dict[str, int] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    """A sentence each."""

    def __str__(self) -> str:
        kills = ", ".join(f"{victim} {number}" for victim, number in self.kills.items())
        rows = [f"| {what} | {tried:,} | {done:,} |" for what, tried, done in self.tally]
        ends = ", ".join(f"{number} {status}" for status, number in sorted(self.ends.items()))
        heads = ["| what | tried | acknowledged |", "| --- | ---: | ---: |"]
        return "\n".join([
            f"seed {self.plan.seed}, {self.seconds:.0f} s, killed: {kills}",
            *heads,
            *rows,
            f"trainings ended: {ends}",
            f"{len(invariants())} invariants asked; violated, or lost: {len(self.lost)}",
            *self.lost,
        ])  # fmt: skip


async def chaos(folder: Path, plan: Plan) -> Outcome:
    """Do all that the plan says, in an empty folder, and say what became of it."""
    began = time.monotonic()
    outcome = Outcome(plan, kills=dict.fromkeys(VICTIMS, 0))
    async with _world(folder, plan) as world:
        await _begin(world, plan)
        people = [asyncio.create_task(person) for person in _people(world, plan)]
        killer = asyncio.create_task(_kill(world.service, plan, outcome.kills))
        done, _ = await asyncio.wait([killer, *people], return_when=asyncio.FIRST_COMPLETED)
        for task in (killer, *people):
            task.cancel()
        await asyncio.gather(killer, *people, return_exceptions=True)
        for task in done:
            task.result()  # raises what ended it too soon
        outcome.lost += await _come_to_rest(world, plan.rest)
        outcome.ends = await world.app.store.read(
            lambda db: {row["status"]: row["n"] for row in db.query("SELECT status, count(*) AS n FROM jobs GROUP BY status")}
        )
        status = await world.service.end()
        outcome.lost += [f"The service ended with {status}."] if status else []
        outcome.lost += [f"An orphan: {one}." for one in (*world.service.orphans, *world.service.family())]
        outcome.lost += (await verifying.verify(world.app.store)).differences
        _write_down(world)
        outcome.lost += [str(found) for found in violations(world.service.database, world.ledger.path)]
        outcome.lost += [f"A traceback in the log: {_traceback(world.service.log)}"] if "Traceback" in world.service.log else []
        outcome.lost += [f"{name} is in the log." for name, value in world.service.secrets.items() if value in world.service.log]
        outcome.tally = _tally(world)
    outcome.seconds = time.monotonic() - began
    return outcome


@asynccontextmanager
async def _world(folder: Path, plan: Plan) -> AsyncIterator[World]:
    chance = random.Random(f"{plan.seed} X")
    script = chance.choices([*X_FAILS, Answer.CREATED], [*X_FAILS.values(), 1 - sum(X_FAILS.values())], k=POSTS)
    ledger = Ledger(folder / "ledger.db")
    async with LoopbackDiscord() as discord, LoopbackX(refuses_duplicates=False) as x:  # so that a double would be seen
        x.script.extend(script)
        service = Service(folder, discord, x, plan.module)
        try:
            async with Mynah(load_settings(service.config), Secrets()) as app:
                yield World(service, app, ledger, plan.posts, plan.patience)
        finally:
            await service.close()
            ledger.close()


async def _begin(world: World, plan: Plan) -> None:
    """Have three accounts, one voice and two schedules before anything is killed."""
    operator, app = Operator(world, random.Random(f"{plan.seed} begin")), world.app
    for handle in FIRST:
        await operator.bring(handle)
    await world.service.start()
    job = await Member(world, random.Random(0)).train(FIRST[0])
    assert job is not None, world.service.log
    await app.training.result(job)
    for name in SCHEDULES:
        await app.scheduling.add(name, FIRST[0], Spec(every="60s"), by=OPERATOR, operator=True)
        world.ledger.note("schedules", name)
    a_minute_ago = stamp(datetime.now(UTC) - timedelta(seconds=55))  # so that the first times come at once
    await app.store.write(lambda db: db.conn.execute("UPDATE schedules SET created_at = ?", [a_minute_ago]) and None)


def _people(world: World, plan: Plan) -> list[Coroutine[Any, Any, None]]:
    def chance(who: str) -> random.Random:
        return random.Random(f"{plan.seed} {who}")

    return [
        Member(world, chance("trainer")).train_for_ever(plan.pace),
        Member(world, chance("trainer 2")).train_for_ever(2 * plan.pace),
        Member(world, chance("asker")).ask_for_ever(plan.pace / 2),
        Member(world, chance("asker 2")).ask_for_ever(plan.pace),
        Operator(world, chance("poster")).post_for_ever(plan.pace),
        Operator(world, chance("importer")).import_for_ever(6 * plan.pace),
        Owner(world, chance("owner")).withdraw_for_ever(4 * plan.pace),
    ]


async def _kill(service: Service, plan: Plan, kills: dict[str, int]) -> None:
    """Kill one after the other at random moments, the service so that another begins."""
    chance = random.Random(f"{plan.seed} killer")
    until = time.monotonic() + plan.seconds
    while (sum(kills.values()) < plan.kills) if plan.kills else (time.monotonic() < until):
        turn = sum(kills.values()) % len(VICTIMS)
        if not turn:
            order = chance.sample(VICTIMS, len(VICTIMS))
        victim = order[turn]
        await asyncio.sleep(chance.uniform(*plan.pause))  # the random moment itself
        if victim == "service":
            await service.kill()
            await asyncio.sleep(chance.uniform(0, plan.pause[0]))
            await service.start()
        elif (child := await _there(service, victim)) is None:
            continue
        else:
            await asyncio.sleep(chance.uniform(0, plan.pause[0]))
            try:
                child.kill()
            except psutil.NoSuchProcess:  # it has just ended with its service, or by itself
                continue
        kills[victim] += 1


async def _there(service: Service, kind: str) -> psutil.Process | None:
    """Wait for a child of a kind; None: there is none for long."""
    until = time.monotonic() + VICTIM_SECONDS
    while time.monotonic() < until:
        if found := service.children(kind):
            return found[0]
        await asyncio.sleep(0.05)  # the process table tells no one when it changes
    return None


async def _come_to_rest(world: World, seconds: float) -> list[str]:
    """Let nothing new begin, and wait until all that was begun has ended; a person settles what waits for one. Return what did not end."""
    if not world.service.lives:
        await world.service.start()
    app, operator = world.app, Operator(world, random.Random(0))

    async def look() -> dict[str, int]:
        await operator.settle()
        return await app.store.read(lambda db: next(iter(db.query(REST))))

    for name in SCHEDULES:
        await app.scheduling.pause(name, OPERATOR)
    await operator.decide()
    left = await look()
    while least := sum(left.values()):
        try:
            async with asyncio.timeout(seconds):
                while sum(left.values()) >= least:
                    await app.store.changed()
                    left = await look()
        except TimeoutError:
            still = ", ".join(f"{number} {what}" for what, number in left.items() if number)
            return [f"For {seconds:g} s nothing came to its end, and there were still {still} to be done."]
    return []


def _write_down(world: World) -> None:
    """Write into the ledger what Discord and X hold."""
    for request in world.service.discord.requests:
        body = request.json if isinstance(request.json, dict) else {}
        if request.method == "POST" and (reference := body.get("message_reference")) and body.get("nonce"):
            world.ledger.note("told", int(reference["message_id"]), str(body["nonce"]))
    for number, text in world.service.x.posts.items():
        world.ledger.note("x", number, text)


def _tally(world: World) -> list[tuple[str, int, int]]:
    ledger, x = world.ledger, world.service.x
    count, tried = ledger.count, ledger.tally
    return [
        ("trainings, in Discord", tried["trainings asked for"], count("trainings")),
        ("their ends told", count("kept"), count("kept", "message IN (SELECT message FROM told)")),
        ("trainings cancelled", count("cancels", "NOT told"), count("cancels", "told")),
        ("lines, in Discord", tried["lines asked for"], count("answers")),
        ("imports", tried["imports begun"], count("imports")),
        (
            "accounts forgotten, by command",
            count("withdrawn", "NOT told AND how = 'forget'"),
            count("withdrawn", "told AND how = 'forget'"),
        ),
        ("opted out, by command", count("withdrawn", "NOT told AND how = 'opt-out'"), count("withdrawn", "told AND how = 'opt-out'")),
        ("schedules asked for a draft", count("runs"), count("runs")),
        ("drafts approved", count("decisions", "decision = 'approved'"), count("decisions", "decision = 'approved'")),
        ("drafts rejected", count("decisions", "decision = 'rejected'"), count("decisions", "decision = 'rejected'")),
        ("posts on X, of requests to post", len(x.requests), len(x.posts)),
    ]


def _traceback(log: str) -> str:
    return log[log.index("Traceback") :][:1500]
