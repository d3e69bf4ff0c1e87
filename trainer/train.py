"""Trainings, top to bottom: base, measure, train, sample, save; several jobs in one batch, each on LoRA weights of its own."""

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import torch

from trainer import bases, decoding, packing, protocol, recipe, weights
from trainer.bases import Base
from trainer.errors import CANCELLED, BadJob, Cancelled, failure, tell_log
from trainer.learner import Learner, insist_finite
from trainer.loss import losses
from trainer.packing import IGNORED, Row
from trainer.process import Check, Emit, Tell
from trainer.protocol import Done, Evaluation, Job, Note, Sample, Sampling
from trainer.trainable import refuse_too_large, wearing

LINES = 5
"""Samples in Done."""
GLANCE = Sampling(max_tokens=24)
"""The line shown after an evaluation: short, because training waits for it."""
EVALUATED_AT_ONCE = {"cpu": 2, "cuda": 64}
"""Rows of 256; a CPU's caches hold two."""
Watch = Callable[[int, torch.nn.Module], None]


class Bases:
    """The base that stays in memory from one order to the next; one, because another needs its room."""

    def __init__(self) -> None:
        self._key: tuple[str, str, str] | None = None
        self._base: Base | None = None

    def get(self, job: Job, tell: Tell, check: Check) -> Base:
        """Return the base of a job; one that is trained in full is loaded for it alone.

        Raises:
            TrainerError: it cannot be had.
        """
        device = bases.device_of(job.recipe.device)
        key = job.recipe.base, job.cache, device.type
        if job.recipe.method == "full":
            self._key = self._base = None
            return bases.load(job.recipe.base, Path(job.cache), device, tell, check, trainable=True)
        if self._base is None or self._key != key:
            self._key = self._base = None  # before the next one comes: both would not fit
            self._base = bases.load(job.recipe.base, Path(job.cache), device, tell, check)
            self._key = key
        return self._base


def train(
    jobs: Sequence[Job],
    kept: Bases,
    emit: Emit,
    check: Check,
    *,
    cancelled: Callable[[str], bool] = lambda _: False,
    started: float | None = None,
    watch: Watch | None = None,
) -> int:
    """Fine-tune a base on the posts of each job; one Done or Failed is emitted for each. Return how many were done.

    What is made is a function of the job: on a CPU a job alone gives the same bytes each time (with the same versions and
    number of threads), whatever was trained before it, and cut off and resumed or not; beside others, the same up to rounding.

    `check` raises Cancelled when all are to end; `cancelled` says of one job that it is. `started` is time.monotonic() of the
    order. `watch` is called with 0 before the first step and with the step's number after each, and with the model as it stands.
    """
    order = _Order(kept, emit, check, cancelled, time.monotonic() if started is None else started, watch)
    return order.run(jobs)


class _Order:
    """The jobs that are trained together."""

    def __init__(
        self, kept: Bases, emit: Emit, check: Check, cancelled: Callable[[str], bool], started: float, watch: Watch | None
    ) -> None:
        self._kept = kept
        self._emit = emit
        self._check = check
        self._cancelled = cancelled
        self._started = started
        self._watch = watch
        self._ended: set[str] = set()
        self._done = 0
        self._room: int | None = None
        """Rows that fit at once; None: as many as there are."""

    def run(self, jobs: Sequence[Job]) -> int:
        with self._telling(*jobs):
            self._check_together(jobs)
            began = time.monotonic()
            for job in jobs:
                self._emit(protocol.Stage("base", job=job.id))

            def tell(sentence: str) -> None:
                for job in jobs:
                    self._emit(protocol.Note(sentence, job=job.id))

            base = self._kept.get(jobs[0], tell, self._check)
            if base.device.type == "cuda":
                torch.use_deterministic_algorithms(True, warn_only=True)
                torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            if jobs[0].recipe.method == "full":
                refuse_too_large(base)
            seconds = round(time.monotonic() - began, 3)
            learners = []
            for job in jobs:
                with self._telling(job):
                    learner = Learner(job, base, self._emit)
                    learner.seconds["base"] = seconds
                    learners.append(learner)
            for learner in learners:
                with self._telling(learner.job):
                    self._measure(base, learner)
            self._learn(base, [learner for learner in learners if learner.job.id not in self._ended])
        return self._done

    def _check_together(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if job.protocol != protocol.VERSION:
                raise BadJob(f"The job speaks protocol {job.protocol} and this trainer {protocol.VERSION}: update whichever is older.")
            recipe.check(job.recipe)
            if _shape(job) != _shape(jobs[0]):
                raise BadJob("Jobs that are trained together must have the same base, method, rank and tokens a step: train them apart.")
        if len({job.id for job in jobs}) < len(jobs):
            raise BadJob("Two jobs of one order have the same id: give each its own.")
        if len(jobs) > 1 and jobs[0].recipe.method == "full":
            raise BadJob("Full trainings need the base for themselves: train them apart.")

    @contextmanager
    def _telling(self, *jobs: Job) -> Iterator[None]:
        """Say of whatever goes wrong inside that it ended these jobs, those that have not ended before."""
        try:
            yield
        except BrokenPipeError:
            raise  # nobody listens any more
        except Exception as error:
            tell_log(error)
            for job in jobs:
                if job.id not in self._ended:
                    self._ended.add(job.id)
                    self._emit(replace(failure(error), job=job.id))

    # --------------------------------------------------------------- measure

    def _measure(self, base: Base, learner: Learner) -> None:
        """Take the losses of the model as it is before the first step; a run that was cut off has them already."""
        learner.stage("measure")
        found = learner.found
        if not found.resumed_at:
            found.loss_before = self._evaluate(base, learner.report)  # of the base, whatever the weights to start from are
            with wearing(base, [learner.weights]):
                found.stop_before = found.best_loss = self._evaluate(base, learner.stop)
        learner.tell(Evaluation(0, found.stop_before))
        self._show(base, learner)

    def _show(self, base: Base, learner: Learner) -> None:
        """Let whoever measures look at the model as it stands, on nobody's time."""
        if self._watch:
            began = time.monotonic()
            with wearing(base, [learner.weights]):
                self._watch(learner.found.step, base.model)
            learner.pause(time.monotonic() - began)

    @torch.no_grad()
    def _evaluate(self, base: Base, rows: Sequence[Row]) -> float:
        """Return the mean cross-entropy over all targets of `rows`, nats a token, of the base with what it wears."""
        total, count = 0.0, 0
        size = min(EVALUATED_AT_ONCE[base.device.type], self._room or len(rows))
        for batch in packing.batches(rows, size, base):
            self._check()
            total += losses(base, batch).sum().item()
            count += batch.count
        insist_finite(total, "held-out loss", None)
        return total / count

    # ----------------------------------------------------------------- train

    def _learn(self, base: Base, live: list[Learner]) -> None:
        for learner in live:
            learner.stage("train")
        while live:
            self._check()
            for learner in live:
                if self._cancelled(learner.job.id):
                    with self._telling(learner.job):
                        raise Cancelled(CANCELLED)
            live = [learner for learner in live if learner.job.id not in self._ended]
            self._step(base, [learner for learner in live if not learner.over])
            for learner in live:
                if learner.job.id not in self._ended:
                    with self._telling(learner.job):
                        self._after_step(base, learner)
            live = [learner for learner in live if learner.job.id not in self._ended]

    def _step(self, base: Base, live: Sequence[Learner]) -> None:
        """Take one step of each; where memory runs out, in smaller parts, which gives the same gradients."""
        rows = [learner.next_rows() for learner in live]
        while live:
            try:
                sums = self._gradients(base, live, rows)
                break
            except torch.OutOfMemoryError:
                for learner in live:
                    learner.weights.forget_gradients()
                at_once = self._room or sum(map(len, rows))
                if at_once == 1:
                    raise
                self._room = at_once // 2
                torch.cuda.empty_cache()
                for learner in live:
                    learner.tell(Note(f"The GPU's memory ran out: going on with {self._room} rows at once instead of {at_once}."))
        else:
            return
        for learner, (total, count) in zip(live, sums, strict=True):
            with self._telling(learner.job):
                learner.advance(total, count)

    def _gradients(self, base: Base, live: Sequence[Learner], rows: Sequence[list[Row]]) -> list[tuple[float, int]]:
        """Add up the gradients of one step of each, and return the sum of its losses and its targets."""
        sums = [(0.0, 0) for _ in live]
        for who, parts in self._parts(rows):
            height = max(map(len, parts))
            # Every voice of a batch has the same number of rows: what lacks is padding.
            padded = [row for part in parts for row in [*part, *[[]] * (height - len(part))]]
            batch = packing.collate(padded, base.separator, base.device)
            with wearing(base, [live[i].weights for i in who]):
                each = losses(base, batch)  # (N,)
                # By what a full step holds, not by what this one does: the last step of an epoch may hold one short row.
                (each.sum() / live[who[0]].full_step).backward()  # type: ignore[no-untyped-call]
            counts = (batch.targets != IGNORED).view(len(who), -1).sum(1).tolist()
            for i, own in zip(who, torch.split(each.detach(), counts), strict=True):
                sums[i] = sums[i][0] + own.sum().item(), sums[i][1] + len(own)
        return sums

    def _parts(self, rows: Sequence[list[Row]]) -> Iterator[tuple[list[int], list[list[Row]]]]:
        """Yield what fits at once: the places of some learners, and of each the same number of rows, about."""
        height = max(map(len, rows))
        room = self._room or height * len(rows)
        if room < height:
            for i, own in enumerate(rows):
                for start in range(0, len(own), room):
                    yield [i], [own[start : start + room]]
            return
        at_once = room // height
        for start in range(0, len(rows), at_once):
            who = list(range(start, min(start + at_once, len(rows))))
            yield who, [rows[i] for i in who]

    def _after_step(self, base: Base, learner: Learner) -> None:
        self._show(base, learner)
        if learner.due:
            with wearing(base, [learner.weights]):
                loss = self._evaluate(base, learner.stop)
                for line in decoding.draw(base, "", 1, learner.plan.seed + learner.found.step, GLANCE, self._check):
                    learner.tell(Sample(learner.found.step, line.text))
            learner.look(loss)
        if learner.over:
            self._finish(base, learner)
        else:
            learner.checkpoint()

    # ---------------------------------------------------------- sample, save

    def _finish(self, base: Base, learner: Learner) -> None:
        learner.stage("sample")
        tensors = learner.keep_best()
        with wearing(base, [learner.weights]):
            loss_after = self._evaluate(base, learner.report)
            lines = sorted(decoding.draw(base, "", LINES, learner.plan.seed, Sampling(), self._check), key=lambda line: line.index)
        learner.stage("save")
        path, sha256, size = weights.save(tensors, learner.output)
        learner.end_stage()
        learner.forget_checkpoint()
        seconds = time.monotonic() - self._started
        samples = [line.text for line in lines]
        learner.tell(Done(str(path), sha256, size, learner.found.loss_before, loss_after, seconds, samples, _details(base, learner)))
        self._ended.add(learner.job.id)
        self._done += 1


def _shape(job: Job) -> tuple[object, ...]:
    """Return what the jobs of one batch must have in common."""
    recipe = job.recipe
    return recipe.base, recipe.method, recipe.device, recipe.rank, recipe.tokens_per_step, job.cache


def _details(base: Base, learner: Learner) -> dict[str, object]:
    """Return what is needed to repeat a training, and to speak with what it made."""
    found, plan = learner.found, learner.plan
    return {
        "recipe": asdict(plan),
        "adapter": {"rank": plan.stored_rank, "scale": plan.scale} if plan.method == "lora" else None,
        "base": {"name": base.name, "revision": base.revision, "licence": base.licence},
        "authors": learner.authors,
        "answers": plan.answers > 0,
        "targets": {
            "train": learner.targets,
            "stop": sum(map(packing.targets_in, learner.stop)),
            "report": sum(map(packing.targets_in, learner.report)),
            "learned": found.targets,
        },
        "posts": {"train": len(learner.job.train), "stop": len(learner.job.stop), "report": len(learner.job.report)},
        "start": learner.job.start_sha256 if learner.job.start else None,
        "steps": found.step,
        "steps_planned": learner.steps,
        "resumed_at": found.resumed_at,
        "best_step": found.best_step,
        "learning_rate": learner.learning_rate,
        "stop_loss": {"before": found.stop_before, "best": found.best_loss},
        "tokens_per_second": found.targets / found.seconds if found.seconds else 0.0,
        "seconds": learner.seconds,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in ("torch", "transformers")},
        "device": _name_of(base.device),
        "memory_gpu": torch.cuda.max_memory_allocated() if base.device.type == "cuda" else 0,
        "threads": torch.get_num_threads(),
        "protocol": protocol.VERSION,
    }


def _name_of(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
