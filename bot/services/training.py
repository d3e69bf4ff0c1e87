"""Training: settling a request, the queue of jobs, and running the next one to its stored model."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import structlog
from sqlite_utils import Database

from bot.errors import BadRequestError, MynahError, StoreError, TrainingFailedError
from bot.executors.port import Executor, Run
from bot.executors.processes import sweep
from bot.settings import Settings
from data import accounts, jobs, models
from data.corpus import Corpus, build_corpus
from data.handles import normalise_handles, voice_name
from data.store import Store
from trainer import protocol

MAX_ACCOUNTS = 10
RETRY_SECONDS = 30.0
STEP_SECONDS = 0.5  # steps are recorded at most this often: each is a commit
log = structlog.get_logger()


@dataclass(frozen=True)
class Requested:
    """What became of a request to train."""

    job: jobs.Job
    new: bool
    """False: the same training was queued, running or done already."""
    corpus: Corpus


class Training:
    """Takes requests to train from any process, and runs them in the one that leads."""

    def __init__(self, store: Store, settings: Settings, executor: Executor) -> None:
        self._store = store
        self._settings = settings
        self._executor = executor

    async def request(self, handles: Sequence[str], *, by: str) -> Requested:
        """Build the corpus of these accounts and queue a training on it, or join the one that is the same.

        Raises:
            BadHandleError, NotStoredError, TooLittleTextError: nothing was queued.
        """
        names = normalise_handles(handles)
        if not 1 <= len(names) <= MAX_ACCOUNTS:
            raise BadRequestError(f"Name 1 to {MAX_ACCOUNTS} accounts to train on.")
        corpus = await self._store.read(_build, names, self._settings)
        job, new = await self._store.write(jobs.enqueue, voice_name(names), corpus, self._recipe(), by)
        log.info("training requested", job=job.id, voice=job.voice, new=new)
        return Requested(job, new, corpus)

    def _recipe(self) -> dict[str, Any]:
        wanted = self._settings.trainer
        return asdict(
            protocol.Recipe(
                base=wanted.base, device=wanted.device, seed=wanted.seed, learning_rate=wanted.learning_rate, epochs=wanted.epochs
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
        """Put right what a dead owner left: its trainers are killed, its jobs queued again."""
        for job, group, started in await self._store.read(jobs.interrupted):
            if group is not None:
                sweep(group, started or 0)
            await self._store.write(jobs.requeue, job.id)
            log.warning("training was cut off and is queued again", job=job.id, voice=job.voice)
        shutil.rmtree(self._work, ignore_errors=True)

    async def run_forever(self) -> None:
        """Run the queue, one job after another, until cancelled."""
        while True:
            try:
                if not await self.run_next():
                    await self._store.changed()
            except StoreError:  # a full disk, most likely: it must not end the service that could tell of it
                log.exception("the queue cannot be written")
                await asyncio.sleep(RETRY_SECONDS)
                await self.recover()

    async def run_next(self) -> bool:
        """Run the oldest queued job to its end; say whether there was one."""
        job = await self._store.write(jobs.start_next)
        if job is None:
            return False
        with structlog.contextvars.bound_contextvars(job=job.id, voice=job.voice):
            try:
                await self._run(job)
            except asyncio.CancelledError:
                await self._store.write(jobs.requeue, job.id)
                raise
            except MynahError as error:
                await self._fail(job, protocol.INTERNAL, str(error))
            except Exception:
                log.exception("training failed")
                await self._fail(job, protocol.INTERNAL, "Training failed for a reason of Mynah's own, which is in its log: train again.")
            finally:
                shutil.rmtree(self._work / str(job.id), ignore_errors=True)
        return True

    @property
    def _work(self) -> Path:
        return self._settings.data_dir / "work"

    async def _run(self, job: jobs.Job) -> None:
        corpus = await self._store.read(jobs.corpus_of, job.corpus)
        folder = self._work / str(job.id)
        run = await self._executor.start(_trainer_job(job, corpus, folder / "artifact", self._settings.cache), folder)
        watcher = None
        try:
            await self._store.write(jobs.record_process, job.id, run.process_group, run.process_started)
            watcher = asyncio.create_task(self._cancel_when_asked(job.id, run))
            last = await self._record(job, run)
            if isinstance(last, protocol.Done):
                model = await self._store.write(_store_model, job, Path(last.weights), last)
                log.info("model stored", version=model.version, loss=last.loss_after, seconds=last.seconds)
            else:
                await self._fail(job, last.code, last.sentence)
        finally:
            if watcher:
                watcher.cancel()
                with suppress(asyncio.CancelledError):
                    await watcher
            await run.close()

    async def _record(self, job: jobs.Job, run: Run) -> protocol.Done | protocol.Failed:
        recorded = 0.0
        async for event in run.events():
            if isinstance(event, protocol.Done | protocol.Failed):
                return event
            if isinstance(event, protocol.Step) and event.step < event.steps:
                if monotonic() - recorded < STEP_SECONDS:
                    continue
                recorded = monotonic()
            await self._store.write(jobs.record_event, job, event.to_json())
        raise AssertionError("an executor ends its events with Done or Failed")

    async def _cancel_when_asked(self, job_id: int, run: Run) -> None:
        while not (await self._store.read(jobs.get, job_id)).cancel_requested_by:
            await self._store.changed()
        await run.cancel()

    async def _fail(self, job: jobs.Job, code: str, sentence: str) -> None:
        await self._store.write(jobs.end, job.id, jobs.Status.FAILED, code=code, sentence=sentence)
        log.warning("training ended without a model", code=code, sentence=sentence)


def _build(db: Database, handles: Sequence[str], settings: Settings) -> Corpus:
    tweets = {handle: accounts.read_tweets(db, handle) for handle in handles}
    wanted = settings.trainer
    return build_corpus(tweets, short_rule=wanted.short_rule, max_posts=wanted.max_posts, seed=wanted.seed)


def _trainer_job(job: jobs.Job, corpus: Corpus, output: Path, cache: Path) -> protocol.Job:
    splits = ([protocol.Post(post.author, post.text) for post in split] for split in (corpus.train, corpus.stop, corpus.report))
    train, stop, report = splits
    return protocol.Job(protocol.Recipe(**job.recipe), train, stop, report, str(output), str(cache))


def _store_model(db: Database, job: jobs.Job, weights: Path, done: protocol.Done) -> models.Model:
    # asdict, less the path: it names a folder that is about to go.
    result = {name: value for name, value in asdict(done).items() if name != "weights"}
    return models.add_from_job(db, job, weights, result)
