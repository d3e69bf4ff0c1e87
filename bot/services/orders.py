"""Running an order: some jobs in one batch of a trainer, each followed to its stored model or to the sentence that says why not."""

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic
from typing import Any

import structlog
from sqlite_utils import Database

from bot.errors import MynahError, NotStoredError, StoreError
from bot.executors.port import CutOffError, Executor, LostError, Run
from bot.executors.processes import started_at
from bot.services.disk import lacks_room
from bot.services.learned import Learned
from bot.services.safety import Safety, Said
from bot.services.tracking import CUT_OFF, Tracking
from bot.services.weights import lay_down
from bot.settings import Settings
from data import jobs, models
from data.corpus import CorpusPost
from data.speech import PASSED
from data.store import Store
from trainer import protocol

STEP_SECONDS = 0.5  # a job's steps are recorded at most this often: each is a commit
JOBS_A_STEP = 8  # beyond so many at once, each job's steps are recorded the more seldom: a disk takes some 16 commits a second with ease
DISK_SECONDS = 5.0  # between two looks at how full the disk is
MOST_ATTEMPTS = 5
"""So often a job is begun at most, in all, where the machine that trained it went away: it may be what takes the machine down."""
OUR_FAULT = "Training failed for a reason of Mynah's own, which is in its log: train again."
log = structlog.get_logger()


def work_folder(settings: Settings) -> Path:
    """Return where each job has a folder, named as its number, from its start to its end."""
    return settings.data_dir / "work"


async def tidy(store: Store, settings: Settings) -> None:
    """Remove the folders of jobs that have ended, or were forgotten: posts lie in them."""
    for folder in await abandoned(store, settings):
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def abandoned(store: Store, settings: Settings) -> list[Path]:
    """Return the folders of jobs that have ended, or were forgotten."""
    work = work_folder(settings)
    folders = list(work.iterdir()) if work.is_dir() else []  # before the jobs are read: that of a job that began later is not here
    kept = {str(job.id) for job in await store.read(jobs.unfinished)} if folders else set()
    return [folder for folder in folders if folder.name not in kept]


async def forget_gone(store: Store) -> None:
    """Forget the recorded trainers that have ended."""
    gone = [(group, started) for group, started in await store.read(jobs.processes) if started_at(group) != started]
    if gone:
        await store.write(jobs.forget_processes, gone)


async def run(batch: Sequence[jobs.Job], store: Store, settings: Settings, executor: Executor, safety: Safety, tracking: Tracking) -> None:
    """Train these running jobs at once, and return when each has ended, or is queued again because its trainer was ended.

    When this is cancelled, the trainer is killed and what it worked at is queued again.

    Raises:
        StoreError: how a job ended cannot be written.
    """
    order = _Order(batch, store, settings, executor, safety, tracking)
    try:
        await order.run()
    except asyncio.CancelledError:
        for job in batch:
            tracking.stopped(job, CUT_OFF)
        await executor.close()
        with suppress(StoreError):  # then the next owner finds them running, and does it
            for job in batch:
                await store.write(jobs.requeue, job.id)
        raise
    except Exception as error:
        await executor.close()
        first: BaseException = error
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        if isinstance(first, StoreError):
            raise first from None
        log.exception("an order failed", jobs=[job.id for job in batch])
        for job in batch:
            tracking.stopped(job, protocol.INTERNAL)
            await store.write(jobs.end, job.id, jobs.Status.FAILED, code=protocol.INTERNAL, sentence=OUR_FAULT)


class _Order:
    """Some jobs under way."""

    def __init__(
        self, batch: Sequence[jobs.Job], store: Store, settings: Settings, executor: Executor, safety: Safety, tracking: Tracking
    ) -> None:
        self._batch = batch
        self._store = store
        self._settings = settings
        self._executor = executor
        self._safety = safety
        self._tracking = tracking
        self._learned = Learned(store)
        self._lack: str | None = None
        """Why its trainer was ended, if it was for want of room."""
        self._step_seconds = STEP_SECONDS * max(1.0, len(batch) / JOBS_A_STEP)

    async def run(self) -> None:
        ready = [(job, wanted) for job in self._batch if (wanted := await self._prepare(job))]
        if not ready:
            return
        try:
            runs = await self._executor.start([wanted for _, wanted in ready])
        except LostError as error:
            for job, _ in ready:
                await self._lose(job, str(error))
            return
        under_way = {job.id: run for (job, _), run in zip(ready, runs, strict=True)}
        await forget_gone(self._store)
        await self._store.write(jobs.record_process, under_way, runs[0].process_group, runs[0].process_started)
        async with asyncio.TaskGroup() as tasks:
            watchers = [tasks.create_task(self._cancel_when_asked(under_way)), tasks.create_task(self._stop_when_the_disk_fills_up())]
            await asyncio.wait([tasks.create_task(self._follow(job, under_way[job.id])) for job, _ in ready])
            for watcher in watchers:
                watcher.cancel()

    async def _prepare(self, job: jobs.Job) -> protocol.Job | None:
        """Return what the trainer is told of a job; None if it failed already, for a reason that is its own."""
        try:
            corpus = await self._store.read(jobs.corpus_of, job.corpus)
            sources_sha256 = await self._store.read(jobs.sources_sha256_of, job.corpus)
            recipe = dict(job.recipe)
            sha256 = recipe.pop("start", None)
            start = await self._start(job, sha256) if sha256 else {}
        except MynahError as error:
            await self._fail(job, protocol.INTERNAL, str(error))
            return None
        self._tracking.began(job, corpus, sources_sha256)
        return protocol.Job(
            id=str(job.id),
            recipe=protocol.Recipe(**recipe),
            train=_posts(corpus.train),
            stop=_posts(corpus.stop),
            report=_posts(corpus.report),
            output=str(work_folder(self._settings) / str(job.id)),
            cache=str(self._settings.cache),
            **start,
        )

    async def _start(self, job: jobs.Job, sha256: str) -> dict[str, Any]:
        for model in await self._store.read(models.versions, job.voice):
            if model.sha256 == sha256:
                laid = await lay_down(self._store, self._settings, model, anew=True)  # a damaged file would fail each training
                return {"start": str(laid), "start_sha256": sha256, "start_adapter": model.result["details"]["adapter"]}
        raise NotStoredError(f"The version of {job.voice} that this training was to start from is gone: train again.")

    async def _follow(self, job: jobs.Job, run: Run) -> None:
        """Bring one job to its end."""
        with structlog.contextvars.bound_contextvars(job=job.id, voice=job.voice, server=job.server):
            try:
                last = await self._record(job, run)
                if isinstance(last, protocol.Done):
                    last = replace(last, samples=await self._sayable(job, last.samples))
                    model = await self._store.write(_store_model, job, Path(last.weights), last)
                    self._tracking.done(job, model, Path(last.weights))
                    log.info("model stored", version=model.version, loss=last.loss_after, seconds=last.seconds)
                else:
                    await self._fail(job, last.code, last.sentence)
            except LostError as error:
                await self._lose(job, str(error))
            except CutOffError:
                self._tracking.stopped(job, CUT_OFF)
                if self._lack:
                    await self._store.write(_requeue_lost, job, self._lack)
                else:
                    await self._store.write(jobs.requeue, job.id)
                log.warning("training was cut off and is queued again", why=self._lack or "for the sake of another")
            except MynahError as error:
                await self._fail(job, protocol.INTERNAL, str(error))
                await run.cancel()
            except Exception:
                log.exception("training failed")
                await self._fail(job, protocol.INTERNAL, OUR_FAULT)
                await run.cancel()
        await tidy(self._store, self._settings)

    async def _record(self, job: jobs.Job, run: Run) -> protocol.Done | protocol.Failed:
        recorded = 0.0
        async for event in run.events():
            if isinstance(event, protocol.Done | protocol.Failed):
                return event
            self._tracking.heard(job, event)
            if isinstance(event, protocol.Step) and event.step < event.steps:
                if monotonic() - recorded < self._step_seconds:
                    continue
                recorded = monotonic()
            if isinstance(event, protocol.Sample) and not await self._sayable(job, [event.text]):
                continue
            await self._store.write(jobs.record_event, job, event.to_json())
        raise AssertionError("an executor ends its events with Done or Failed")

    async def _sayable(self, job: jobs.Job, lines: Sequence[str]) -> list[str]:
        """Return the lines that may be said: samples are seen by others, and nobody chose them."""
        learned = await self._learned.of(job.id)
        verdicts = [await asyncio.to_thread(self._safety.judge, line, learned.copies, Said()) for line in lines]
        return [line for line, verdict in zip(lines, verdicts, strict=True) if verdict.name == PASSED]

    async def _cancel_when_asked(self, runs: Mapping[int, Run]) -> None:
        asked: set[int] = set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                for job in await self._store.read(jobs.interrupted):
                    if job.cancel_requested_by and job.id in runs and job.id not in asked:
                        asked.add(job.id)
                        tasks.create_task(runs[job.id].cancel())
                await self._store.changed()

    async def _stop_when_the_disk_fills_up(self) -> None:
        """End the trainer before there is no room for what is said; its checkpoints stay, and the queue waits until there is some."""
        while not (lack := lacks_room(self._settings)):  # noqa: ASYNC110 - nobody rings when a disk fills up
            await asyncio.sleep(DISK_SECONDS)
        self._lack = lack
        await self._executor.close()

    async def _lose(self, job: jobs.Job, sentence: str) -> None:
        """Queue a job again whose machine went away, unless that happened too often."""
        if job.attempt >= MOST_ATTEMPTS:
            await self._fail(job, protocol.DIED, f"{sentence} This was the end of attempt {job.attempt}, and of the last: train again.")
            return
        self._tracking.stopped(job, CUT_OFF)
        await self._store.write(_requeue_lost, job, sentence)
        log.warning("training was lost with where it ran and is queued again", why=sentence)

    async def _fail(self, job: jobs.Job, code: str, sentence: str) -> None:
        self._tracking.stopped(job, code)
        await self._store.write(jobs.end, job.id, jobs.Status.FAILED, code=code, sentence=sentence)
        log.warning("training ended without a model", code=code, sentence=sentence)


def _requeue_lost(db: Database, job: jobs.Job, sentence: str) -> None:
    """Queue a job again, and say why to whoever follows it."""
    jobs.record_event(db, job, protocol.Note(sentence, job=str(job.id)).to_json())
    jobs.requeue(db, job.id)


def _posts(split: Sequence[CorpusPost]) -> list[protocol.Post]:
    return [protocol.Post(post.author, post.text, post.parent) for post in split]


def _store_model(db: Database, job: jobs.Job, weights: Path, done: protocol.Done) -> models.Model:
    # asdict, less the path: it names a folder that is about to go.
    result = {name: value for name, value in asdict(done).items() if name != "weights"}
    return models.add_from_job(db, job, weights, result)
