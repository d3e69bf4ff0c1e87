"""Training: settling a request, following its job, and the queue that runs in the process that leads."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

import structlog
from sqlite_utils import Database

from bot.errors import BadRequestError, NotStoredError, QuotaError, StoreError, TrainingFailedError
from bot.executors.port import Executor
from bot.executors.processes import sweep
from bot.services import orders, tracking
from bot.services.disk import lacks_room
from bot.services.quotas import check_trainings, quotas_of
from bot.services.safety import Safety
from bot.services.tracking import Tracking
from bot.settings import Quotas, Settings
from data import accounts, consents, jobs, models
from data.corpus import Corpus, build_corpus
from data.handles import normalise_handles, voice_name
from data.language import NAMES, UNDETERMINED
from data.origin import Origin
from data.store import Store
from data.tweets import Tweet
from trainer import protocol

MAX_ACCOUNTS = 10
RETRY_SECONDS = 30.0
MOST_BEGUN = 50
"""So often a job is begun at most where Mynah itself went away with it; an ordinary restart is one of these."""
AWAY = "Where trainings run cannot be reached: this one begins when it can be (`mynah doctor` and the log say why)."
log = structlog.get_logger()


@dataclass(frozen=True)
class Requested:
    """What became of a request to train."""

    job: jobs.Job
    new: bool
    """False: the same training was queued, running or done already."""
    warnings: tuple[str, ...]
    """One sentence each, for the person who asked."""


class _Lane:
    """A place for one order at a time."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.busy = False
        self.warm = False
        """A trainer may have stayed."""


class Training:
    """Takes requests to train from any process, and runs them in the one that leads, as many orders at once as there are executors."""

    def __init__(self, store: Store, settings: Settings, *executors: Executor, tracking: Tracking | None = None) -> None:
        self._store = store
        self._settings = settings
        self._lanes = [_Lane(executor) for executor in executors]
        self._choosing = asyncio.Lock()
        self._safety = Safety(settings.safety)
        self._tracking = tracking or Tracking(settings)
        self._lack: str | None = None
        """Why the queue waits, once that was logged."""
        self._told: set[int] = set()
        """The jobs that were told that the place to train is not there."""

    async def request(
        self,
        handles: Sequence[str],
        *,
        by: str,
        origin: Origin | None = None,
        start: bool | None = None,
        base: str | None = None,
        posts: int | None = None,
    ) -> Requested:
        """Build the corpus of these accounts and queue a training on it, or join the one that is the same.

        With `start` it begins with the weights of the version that the voice speaks with, if there is one, and not with those of the
        base; None: as the settings say. What has an `origin` counts against quotas. `base` and `posts` (at most so
        many of each account's newest) stand in for what the settings say.

        Raises:
            BadHandleError, NotStoredError, ConsentError, QuotaError, TooLittleTextError: nothing was queued.
            BadRequestError: too many accounts, a `start` from a version that was made otherwise than the settings say now, or a full disk.
        """
        names = await accounts_of(self._store, self._settings, handles)
        tweets, parents = await self._store.read(_posts, names)
        corpus = await asyncio.to_thread(corpus_of, self._settings, tweets, parents, posts)  # not where all else is read
        await self._store.read(consents.require, names, self._settings.consent.grounds)
        last = self._settings.trainer.start_from == "last" if start is None else start
        recipe = self._recipe(base)
        named, quotas = voice_name(names), self._settings.quotas
        rules, insist, lack = _rules(self._settings, posts), start is not None, lacks_room(self._settings)
        job, new = await self._store.write(
            _enqueue, named, corpus, recipe, by, origin, quotas, rules=rules, last=last, insist=insist, lack=lack
        )
        log.info("training requested", job=job.id, voice=job.voice, new=new)
        return Requested(job, new, warnings_of(corpus, job.recipe["base"]))

    async def room(self, origin: Origin) -> bool:
        """Say whether one more training is within the quotas, and the disk has room for it."""
        try:
            await self.need_room(origin)
        except (QuotaError, BadRequestError):
            return False
        return True

    async def need_room(self, origin: Origin) -> None:
        """Make sure that one more training could be asked for; for one that could not, nothing needs to be fetched, read and paid.

        Raises:
            QuotaError: it would be one too many.
            BadRequestError: the disk is full.
        """

        def check(db: Database) -> None:
            check_trainings(db, origin, quotas_of(db, origin.server, self._settings.quotas), more=1)

        await self._store.read(check)
        if lack := lacks_room(self._settings):
            raise BadRequestError(lack)

    def _recipe(self, base: str | None) -> dict[str, Any]:
        wanted = self._settings.trainer
        return asdict(
            protocol.Recipe(
                base=base or wanted.base,
                method=wanted.method,
                device=wanted.device,
                seed=wanted.seed,
                rank=wanted.rank,
                learning_rate=wanted.learning_rate,
                epochs=wanted.epochs,
            )
        )

    async def cancel(self, job_id: int, *, by: str) -> jobs.Job:
        """Cancel a job: a queued one at once, a running one as soon as its trainer has stopped.

        Raises:
            NotStoredError: there is no such job.
            BadRequestError: it has ended already.
        """
        job = await self._store.read(jobs.get, job_id)
        if job.status.ended:
            raise BadRequestError(f"Job {job_id} has ended already: it is {job.status}.")
        return await self._store.write(jobs.request_cancel, job_id, by)

    async def events(self, job_id: int) -> AsyncIterator[dict[str, Any]]:
        """Yield the messages of a job's trainer as they are recorded, until the job has ended; a restart begins anew."""
        seen = 0
        while True:
            job = await self._store.read(jobs.get, job_id)
            for number, event in await self._store.read(jobs.events_after, job_id, seen):
                seen = number
                yield event
            if job.status.ended:
                return
            await self._store.changed()

    async def ended(self, job_id: int) -> jobs.Job:
        """Return a job once it has ended."""
        while not (job := await self._store.read(jobs.get, job_id)).status.ended:
            await self._store.changed()
        return job

    async def result(self, job_id: int) -> models.Model:
        """Return the model of a job once it is done.

        Raises:
            TrainingFailedError: it failed or was cancelled; the text says why.
        """
        job = await self.ended(job_id)
        if job.model is None:
            raise TrainingFailedError(job.error or f"Job {job.id} made no model.")
        return await self._store.read(models.get, job.model)

    # ---------------------------------------------------- in the process that leads

    async def recover(self) -> None:
        """Put right what a dead owner left: its trainer is killed, its jobs are queued again, and of their folders go those of no use."""
        left = await self._store.read(jobs.processes)
        for group, started in left:
            sweep(group, started)
        await self._store.write(jobs.forget_processes, left)
        for job in await self._store.read(jobs.interrupted):
            if job.attempt >= MOST_BEGUN:
                why = f"Mynah ended {job.attempt} times while this was trained, which may be why: see its log, then train again."
                await self._store.write(jobs.end, job.id, jobs.Status.FAILED, code=protocol.DIED, sentence=why)
                log.error("training is given up", job=job.id, voice=job.voice, why=why)
                continue
            await self._store.write(jobs.requeue, job.id)
            log.warning("training was cut off and is queued again", job=job.id, voice=job.voice)
        for job in await self._store.read(jobs.unfinished):
            if self._settings.consent.blocked_handles.intersection(job.voice.split("-")):
                await self._store.write(jobs.end, job.id, jobs.Status.CANCELLED, sentence="The operator blocked an account of this voice.")
        await orders.tidy(self._store, self._settings)

    async def run_forever(self) -> None:
        """Run the queue, one order after another in each lane, until cancelled; then leave no trainer behind."""
        failed = False
        try:
            while True:
                try:
                    if failed:
                        await self.recover()
                        failed = False
                    await self._work_in_lanes()
                except* StoreError:  # a full disk, most likely: it must not end the service that could tell of it
                    log.exception("the queue cannot be written")
                    failed = True
                if failed:
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            for lane in self._lanes:
                await self._let_go(lane)
            await orders.tidy(self._store, self._settings)

    async def _work_in_lanes(self) -> None:
        """Work in all lanes until one fails, and end the others by then.

        No task group: one that ends by an error forgets that it was cancelled meanwhile, and the service would not stop.
        """
        tasks = [asyncio.create_task(self._work(lane)) for lane in self._lanes]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _work(self, lane: _Lane) -> None:
        """Run one order after another, and let a trainer go that has had nothing to do for long."""
        stay = self._settings.trainer.stay_minutes * 60
        worked = monotonic()
        while True:
            if await self.run_next(lane):
                worked = monotonic()
            else:
                await self._store.changed()
            if monotonic() - worked >= stay:
                await self._let_go(lane)

    async def run_next(self, lane: _Lane | None = None) -> bool:
        """Run the oldest queued job, and those that can share its batch, to their ends; say whether there was one.

        While the disk is nearly full, or the place to train is not there, there is none.
        """
        lane = lane or self._lanes[0]
        async with self._choosing:  # else each lane would get its trainer ready for the one job that waits
            batch = await self._choose(lane)
            lane.busy = bool(batch)
        if not batch:
            return False
        try:
            await orders.run(batch, self._store, self._settings, lane.executor, self._safety, self._tracking)
        finally:
            lane.busy = False
        return True

    async def _choose(self, lane: _Lane) -> list[jobs.Job]:
        """Take a lane's next order out of the queue."""
        await orders.tidy(self._store, self._settings)
        await tracking.tidy(self._store, self._settings)
        # Looked at before it is written, so that an idle service writes nothing.
        if not await self._store.read(jobs.waiting):
            return []
        lack = lacks_room(self._settings)
        if not lack:
            lane.warm = True
            lack = await lane.executor.lacks()
            if lack and (untold := await self._store.read(jobs.queued) - self._told):
                await self._store.write(_tell_waiting, untold)
                self._told |= untold
        if lack:
            if lack != self._lack:
                log.warning("the queue waits", why=lack)
            self._lack = lack
            return []
        idle = sum(not one.busy for one in self._lanes)
        batch = await self._store.write(jobs.start_next, self._settings.trainer.at_once, idle)
        if batch:  # else it was cancelled in between
            self._lack = None
            self._told.clear()
        return batch

    async def _let_go(self, lane: _Lane) -> None:
        """End the trainer that stays, and forget it."""
        if lane.warm:
            await lane.executor.close()
            lane.warm = False
            with suppress(StoreError):  # a record that stays names a process that is gone, and is swept in vain
                await orders.forget_gone(self._store)


async def accounts_of(store: Store, settings: Settings, handles: Sequence[str]) -> tuple[str, ...]:
    """Return the names of accounts that may be asked for together; nothing is said of their posts or of anybody's consent.

    Raises:
        BadHandleError: no account can have that name.
        BadRequestError: too many accounts, or none.
        ConsentError: the operator blocked one, or one has opted out.
    """
    names = normalise_handles(handles)
    if not 1 <= len(names) <= MAX_ACCOUNTS:
        raise BadRequestError(f"Name 1 to {MAX_ACCOUNTS} accounts to train on.")
    consents.refuse_blocked(names, settings.consent.blocked_handles)
    await store.read(consents.refuse_opted_out, names)
    return names


def corpus_of(settings: Settings, tweets: Mapping[str, Sequence[Tweet]], parents: Mapping[str, str], posts: int | None) -> Corpus:
    """Return what a training on these tweets, by handle, learns from; `parents`: the raw texts, by id, that they answer.

    Raises:
        TooLittleTextError: an account has too little to learn from.
    """
    return build_corpus(tweets, **_rules(settings, posts), parents=parents)


def _rules(settings: Settings, posts: int | None) -> dict[str, Any]:
    """Return by what posts are chosen and split."""
    wanted = settings.trainer
    return {"short_rule": wanted.short_rule, "max_posts": posts or wanted.max_posts, "seed": wanted.seed}


def warnings_of(corpus: Corpus, base: str) -> tuple[str, ...]:
    """Return what a person should know of a training: its corpus' warnings, and whose language its base hardly writes."""
    writes = protocol.LANGUAGES.get(base)
    return *corpus.warnings, *(
        f"The posts of @{handle} are mostly {NAMES.get(code, code)}, which {base} hardly writes: "
        f"set `[trainer] base` to {protocol.MULTILINGUAL}."
        for handle, code in corpus.languages.items()
        if writes is not None and code not in (*writes, UNDETERMINED)
    )


def _tell_waiting(db: Database, numbers: Collection[int]) -> None:
    """Say to those who follow these jobs that they wait; the reason, in which machines may be named, is the operator's to know."""
    for job in jobs.unfinished(db):
        if job.id in numbers and job.status is jobs.Status.QUEUED:
            jobs.record_event(db, job, protocol.Note(AWAY, job=str(job.id)).to_json())


def _posts(db: Database, handles: Sequence[str]) -> tuple[dict[str, list[Tweet]], dict[str, str]]:
    """Return the tweets of each account, and what they answer."""
    return {handle: accounts.read_tweets(db, handle) for handle in handles}, accounts.read_parents(db, handles)


def _enqueue(
    db: Database,
    voice: str,
    corpus: Corpus,
    recipe: dict[str, Any],
    by: str,
    origin: Origin | None,
    quotas: Quotas,
    *,
    rules: dict[str, Any],
    last: bool,
    insist: bool,
    lack: str | None,
) -> tuple[jobs.Job, bool]:
    if last and (sha256 := _start_of(db, voice, corpus, recipe, insist=insist)):
        recipe |= {"start": sha256}
    job, new = jobs.enqueue(db, voice, corpus, recipe, by, origin, rules=rules)
    if job.status is jobs.Status.RUNNING and job.cancel_requested_by:
        raise BadRequestError(f"The same training, job {job.id}, is just being stopped: ask again in a moment.")
    if new and lack:
        raise BadRequestError(lack)
    if new and origin:
        check_trainings(db, origin, quotas_of(db, origin.server, quotas))
    return job, new


def _start_of(db: Database, voice: str, corpus: Corpus, recipe: dict[str, Any], *, insist: bool) -> str | None:
    """Return the hash of the weights that a new version of a voice starts from; None: those of the base."""
    try:
        model = models.current(db, voice)
    except NotStoredError:
        return None
    if (model.base, model.method) != (recipe["base"], recipe["method"]):
        if insist:
            was, now = f"{model.method} on {model.base}", f"{recipe['method']} on {recipe['base']}"
            raise BadRequestError(f"{voice} was trained as {was}, and the settings say {now}: train it from the base.")
        return None
    if model.corpus == corpus.sha256:
        # There is nothing new to learn: a start of what it itself started from makes this request the same as its own.
        return jobs.get(db, model.job).recipe.get("start")
    return model.sha256
