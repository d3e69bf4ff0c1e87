"""One training, top to bottom: base, measure, train, sample, save."""

import math
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch.nn import functional

from trainer import adapters, bases, decoding, packing, protocol, recipe
from trainer.bases import Base
from trainer.errors import BadJob, NotFinite, TooLittleText
from trainer.packing import Batch, Row, Sequence_
from trainer.process import Check, Emit
from trainer.protocol import Done, Evaluation, Job, Post, Sample, Sampling, Stage, Step

LINES = 5
"""Samples in Done."""
GLANCE = Sampling(max_tokens=24)
"""The line shown after an evaluation: short, because training waits for it (13 tokens/s on two cores)."""


def train(job: Job, emit: Emit, check: Check, started: float) -> Done:
    """Fine-tune a base on the job's posts and return what was made; `started` is time.monotonic() of the process's start.

    A function of the job: on a CPU the same job gives the same bytes (with the same versions and number of threads).

    Raises:
        TrainerError: of each kind, with its sentence.
    """
    if job.protocol != protocol.VERSION:
        raise BadJob(f"The job speaks protocol {job.protocol} and this trainer {protocol.VERSION}: update whichever is older.")
    recipe.check(job.recipe)
    device = bases.device_of(job.recipe.device)
    output, cache = _folder(job.output), _folder(job.cache)
    if device.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    clock = _Clock(emit)

    # ------------------------------------------------------------------ base
    clock.stage("base")
    base = bases.load(job.recipe.base, cache, device, emit, check)
    row = min(recipe.ROW, base.context)
    train_split, stop_split, report_split = (
        _split(base, name, posts, row) for name, posts in (("train", job.train), ("stop", job.stop), ("report", job.report))
    )
    targets = packing.targets_in(train_split)
    plan = recipe.resolve(job.recipe, targets, base.context)
    settings = adapters.settings_for(base, plan.rank, plan.alpha)
    wrapped = adapters.attach(base, settings, plan.seed)

    # --------------------------------------------------------------- measure
    clock.stage("measure")
    stop_rows, report_rows = packing.pack(stop_split, row), packing.pack(report_split, row)
    loss_before = evaluate(base, report_rows, plan, check)
    best_loss = evaluate(base, stop_rows, plan, check)
    emit(Evaluation(0, best_loss))

    # ----------------------------------------------------------------- train
    clock.stage("train")
    learned = optimise(base, wrapped, train_split, stop_rows, best_loss, plan, emit, check)

    # ---------------------------------------------------------------- sample
    clock.stage("sample")
    # The stored weights are bf16: round first, so that the loss and the samples are of what is stored.
    stored = {name: tensor.bfloat16() for name, tensor in learned.weights.items()}
    adapters.put_back(wrapped, {name: tensor.float() for name, tensor in stored.items()})
    loss_after = evaluate(base, report_rows, plan, check)
    lines = sorted(decoding.draw(base, "", LINES, plan.seed, Sampling(), check), key=lambda line: line.index)

    # ------------------------------------------------------------------ save
    clock.stage("save")
    path, sha256, size = adapters.save(stored, output)
    clock.stop()
    details = {
        "recipe": asdict(plan),
        "adapter": settings,
        "base": {"name": base.name, "revision": base.revision, "licence": base.licence},
        "targets": {"train": targets, "stop": packing.targets_in(stop_split), "report": packing.targets_in(report_split)},
        "posts": {"train": len(train_split), "stop": len(stop_split), "report": len(report_split)},
        "steps": learned.steps,
        "steps_planned": learned.steps_planned,
        "best_step": learned.best_step,
        "stop_loss": {"before": best_loss, "best": learned.best_loss},
        "tokens_per_second": learned.targets / clock.seconds["train"],
        "seconds": clock.seconds,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in ("torch", "transformers", "peft")},
        "device": _name_of(device),
        "threads": torch.get_num_threads(),
    }
    seconds = time.monotonic() - started
    return Done(str(path), sha256, size, loss_before, loss_after, seconds, [line.text for line in lines], details)


class _Learned:
    """What the loop found: the weights with the lowest loss on the stop split, and how it got there."""

    def __init__(self, weights: adapters.Weights, loss: float, steps_planned: int) -> None:
        self.weights = weights
        self.best_loss = loss
        self.best_step = 0
        self.steps = 0
        self.steps_planned = steps_planned
        self.targets = 0
        self.worse = 0

    def look(self, loss: float, wrapped: PeftModel) -> None:
        """Keep the weights if `loss` is the lowest yet; else count."""
        if loss < self.best_loss:
            self.best_loss, self.best_step, self.worse = loss, self.steps, 0
            self.weights = adapters.weights_of(wrapped)
        else:
            self.worse += 1


def optimise(
    base: Base,
    wrapped: PeftModel,
    split: Sequence[Sequence_],
    stop_rows: Sequence[Row],
    first_loss: float,
    plan: recipe.Resolved,
    emit: Emit,
    check: Check,
) -> _Learned:
    """Train the LoRA in `wrapped` and return the weights that were best on the stop split; before the first step counts, too.

    Raises:
        NotFinite: a loss or a gradient is NaN or infinite.
        Cancelled: `check` said so, between two steps.
    """
    epochs = [packing.epoch(split, plan.row, plan.seed, number) for number in range(plan.epochs)]
    steps = sum(math.ceil(len(rows) / plan.rows_per_step) for rows in epochs)
    looks = recipe.evaluation_steps(steps, plan.evaluations)
    parameters = adapters.trainable(wrapped)
    optimizer = torch.optim.AdamW(parameters, lr=plan.learning_rate, weight_decay=0.0)
    learned = _Learned(adapters.weights_of(wrapped), first_loss, steps)

    began = time.monotonic()
    for batch in (batch for rows in epochs for batch in packing.batches(rows, plan.rows_per_step, base)):
        check()
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * recipe.learning_rate_factor(learned.steps, steps, plan.warm_up)
        total = total_loss(base, batch)
        # Divided by what a full step holds, not by batch.count: the last step of an epoch may hold one short row, and a token
        # is to weigh the same wherever it falls.
        (total / (plan.rows_per_step * plan.row)).backward()  # type: ignore[no-untyped-call]
        loss = total.item() / batch.count
        norm = torch.nn.utils.clip_grad_norm_(parameters, plan.clip)
        _insist_finite(loss, "loss", learned.steps + 1)
        _insist_finite(norm.item(), "gradient", learned.steps + 1)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

        learned.steps += 1
        learned.targets += batch.count
        passed = time.monotonic() - began
        eta = passed / learned.steps * (steps - learned.steps)
        emit(Step(learned.steps, steps, loss, learned.targets / passed, eta))

        if learned.steps in looks:
            stop_loss = evaluate(base, stop_rows, plan, check)
            emit(Evaluation(learned.steps, stop_loss))
            for line in decoding.draw(base, "", 1, plan.seed + learned.steps, GLANCE, check):
                emit(Sample(learned.steps, line.text))
            learned.look(stop_loss, wrapped)
            if learned.worse == plan.patience:
                break
    return learned


def total_loss(base: Base, batch: Batch) -> torch.Tensor:
    """Return the cross-entropy of a batch's targets, summed, nats, ()."""
    logits = base.model(
        input_ids=batch.tokens, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False
    ).logits  # (B, T, V)
    return functional.cross_entropy(logits.float().flatten(0, 1), batch.targets.flatten(), ignore_index=packing.IGNORED, reduction="sum")


@torch.no_grad()
def evaluate(base: Base, rows: Sequence[Row], plan: recipe.Resolved, check: Check) -> float:
    """Return the mean cross-entropy over all targets of `rows`, nats a token.

    Raises:
        NotFinite: it is NaN or infinite.
        Cancelled: `check` said so, between two batches.
    """
    total, count = 0.0, 0
    for batch in packing.batches(rows, plan.rows_per_step, base):
        check()
        total += total_loss(base, batch).item()
        count += batch.count
    _insist_finite(total, "held-out loss", None)
    return total / count


def _insist_finite(value: float, what: str, step: int | None) -> None:
    if not math.isfinite(value):
        where = f" at step {step}" if step else ""
        raise NotFinite(f"The {what} is no finite number any more{where}: train again with a lower learning rate.")


def _split(base: Base, name: str, posts: Sequence[Post], row: int) -> list[Sequence_]:
    sequences = packing.sequences_of(base, [post.text for post in posts], row)
    if not sequences:
        raise TooLittleText(f"The {name} split holds no text: bring more posts, some dozens at least.")
    return sequences


def _folder(path: str) -> Path:
    """Return a folder of the job, made if missing: better to fail now than when the weights are to be written."""
    folder = Path(path).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadJob(f"The folder {folder} cannot be made ({error.strerror}): name another.") from error
    return folder


def _name_of(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = [line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _cpu_lines() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


class _Clock:
    """Tells of each stage and keeps its seconds."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._running: tuple[str, float] | None = None
        self.seconds: dict[str, Any] = {}

    def stage(self, name: str) -> None:
        self.stop()
        self._emit(Stage(name))
        self._running = (name, time.monotonic())

    def stop(self) -> None:
        if self._running:
            name, since = self._running
            self.seconds[name] = round(time.monotonic() - since, 3)
            self._running = None
