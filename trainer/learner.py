"""One job under way: its posts, its weights and optimizer, what it has found so far, and its checkpoint."""

import hashlib
import json
import logging
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as dump_safetensors

from trainer import frames, packing, recipe, weights
from trainer.bases import Base
from trainer.errors import BadJob, NotFinite, TooLittleText
from trainer.files import write_atomically
from trainer.packing import Row
from trainer.process import Emit
from trainer.protocol import Evaluation, FromTrainer, Job, Note, Stage, Step
from trainer.trainable import FullWeights, LoraWeights, Trainable

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_SECONDS = 12.0
CHECKPOINT_SHARE = 20
"""A checkpoint is written no sooner than this many times what the last one took: it costs a twentieth of the time at most."""
logger = logging.getLogger(__name__)


@dataclass
class Found:
    """What a training knows of itself; with the weights and the optimizer's state, all that a checkpoint holds."""

    step: int = 0
    targets: int = 0
    """Learned from so far."""
    loss_before: float = math.nan
    stop_before: float = math.nan
    best_loss: float = math.inf
    best_step: int = 0
    worse: int = 0
    """Looks running that were worse than the best."""
    seconds: float = 0.0
    """Spent in the stage train."""
    halvings: int = 0
    """How often the learning rate was halved because training had made the model worse."""
    resumed_at: int = 0
    """The step at which a run that was cut off went on; 0 if none was."""


class Learner:
    """A job and everything of its own. Several learn side by side on one base, which none of them changes."""

    def __init__(self, job: Job, base: Base, emit: Emit) -> None:
        """Encode the posts, make the weights, and go on from a checkpoint if there is one of this very job.

        Raises:
            BadJob, BadWeights, TooLittleText: with its sentence.
        """
        self.job = job
        self._emit = emit
        self.output = _folder(job.output)
        row = min(recipe.ROW, base.context)
        self.authors = sorted({post.author for post in job.train})
        self.stop, self.report = (self._held_out(base, name, row) for name in ("stop", "report"))
        framed = frames.Framer(base, job.train, answers=0, authors=False, seed=job.recipe.seed, row=row).epoch(0)
        if not framed:
            raise _too_little("train")
        self.targets = packing.targets_in(framed)
        self.plan = recipe.resolve(job.recipe, self.targets, base.context)
        framer = frames.Framer(base, job.train, answers=self.plan.answers, authors=len(self.authors) > 1, seed=self.plan.seed, row=row)
        self._epochs = [packing.shuffled(framer.epoch(number), row, self.plan.seed, number) for number in range(self.plan.epochs)]
        self.steps = sum(math.ceil(len(rows) / self.plan.rows_per_step) for rows in self._epochs)
        self._looks = recipe.evaluation_steps(self.steps, self.plan.evaluations)

        self.weights: Trainable = self._weights(base)
        self._optimizer = torch.optim.AdamW(self.weights.parameters, lr=self.plan.learning_rate, weight_decay=0.0)
        self._best = self.weights.snapshot()
        self.found = Found()
        self._resume()
        self._batches = self._rest()
        self._clock: tuple[str, float] | None = None
        self.seconds: dict[str, float] = {}
        self._began = 0.0
        self._saved = time.monotonic()
        self._save_took = 0.0

    # --------------------------------------------------------------- learning

    @property
    def over(self) -> bool:
        """There is no further step."""
        return self.found.step >= self.steps or self.found.worse >= self.plan.patience

    @property
    def due(self) -> bool:
        """It is time for a look at the stop split."""
        return self.found.step in self._looks

    @property
    def learning_rate(self) -> float:
        """The highest of the schedule."""
        return float(self.plan.learning_rate * 0.5**self.found.halvings)

    @property
    def full_step(self) -> int:
        """Targets of a whole step, by which each step's gradient is divided: a token weighs the same wherever it falls."""
        return self.plan.rows_per_step * self.plan.row

    def next_rows(self) -> list[Row]:
        """Return the rows of the next step."""
        rate = self.learning_rate * recipe.learning_rate_factor(self.found.step, self.steps, self.plan.warm_up, self.plan.cool_down)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        return next(self._batches)

    def advance(self, total: float, count: int) -> None:
        """Take the optimizer's step with the gradients that have been summed up; `total` is the loss of its `count` targets.

        Raises:
            NotFinite: the loss or the gradient is NaN or infinite.
        """
        norm = torch.nn.utils.clip_grad_norm_(self.weights.parameters, self.plan.clip)
        insist_finite(total, "loss", self.found.step + 1)
        insist_finite(norm.item(), "gradient", self.found.step + 1)
        self._optimizer.step()
        self.weights.forget_gradients()
        found = self.found
        found.step += 1
        found.targets += count
        found.seconds += time.monotonic() - self._began
        self._began = time.monotonic()
        eta = found.seconds / found.step * (self.steps - found.step)
        self.tell(Step(found.step, self.steps, total / count, found.targets / found.seconds, eta))

    def look(self, loss: float) -> None:
        """Take the loss on the stop split after the current step: keep the weights if it is the lowest yet, else count."""
        found = self.found
        self.tell(Evaluation(found.step, loss))
        if loss > found.stop_before and not found.best_step and found.halvings < recipe.MOST_HALVINGS:
            self._begin_again()
        elif loss < found.best_loss:
            found.best_loss, found.best_step, found.worse = loss, found.step, 0
            self._best = self.weights.snapshot()
        else:
            found.worse += 1

    def _begin_again(self) -> None:
        """Go back to the first step with half the learning rate: this one was too high for these posts."""
        self.weights.put_back(self._best)
        self._optimizer.state.clear()
        self.found = replace(self.found, step=0, targets=0, seconds=0.0, halvings=self.found.halvings + 1)
        self._batches = self._rest()
        self.tell(Note(f"The learning rate was too high for these posts: beginning again with half of it, {self.learning_rate:g}."))

    def keep_best(self) -> weights.Tensors:
        """Go back to the weights that were best on the stop split, as they will be stored, and return those."""
        self.weights.put_back(self._best)
        tensors = self.weights.stored()
        self.weights.wear_stored(tensors)
        return tensors

    # ---------------------------------------------------------------- telling

    def tell(self, message: FromTrainer) -> None:
        """Say something of this job."""
        self._emit(replace(message, job=self.job.id))

    def stage(self, name: str) -> None:
        """Say that a stage begins, and count its seconds."""
        self.end_stage()
        self.tell(Stage(name))
        self._clock = name, time.monotonic()
        self._began = time.monotonic()

    def pause(self, seconds: float) -> None:
        """Leave time that just passed out of the count."""
        self._began += seconds
        if self._clock:
            self._clock = self._clock[0], self._clock[1] + seconds

    def end_stage(self) -> None:
        """Count the seconds of the stage that runs."""
        if self._clock:
            name, since = self._clock
            self.seconds[name] = round(time.monotonic() - since, 3)
            self._clock = None

    # ------------------------------------------------------------- checkpoint

    def checkpoint(self) -> None:
        """Write down where it stands, if the last time is long enough ago."""
        if not self.found.step or time.monotonic() - self._saved < max(CHECKPOINT_SECONDS, CHECKPOINT_SHARE * self._save_took):
            return  # a training that has just begun again has no state yet; what was written before leads here again
        began = time.monotonic()
        self.found.seconds += began - self._began
        tensors = {f"best.{i}": tensor for i, tensor in enumerate(self._best)}
        for i, parameter in enumerate(self.weights.parameters):
            state = self._optimizer.state[parameter]
            tensors |= {f"weights.{i}": parameter.detach(), f"mean.{i}": state["exp_avg"], f"square.{i}": state["exp_avg_sq"]}
        head = {"job": self._digest, "found": json.dumps(asdict(self.found))}
        write_atomically(self.output / CHECKPOINT, dump_safetensors({n: t.cpu().contiguous() for n, t in tensors.items()}, head))
        self._saved = self._began = time.monotonic()
        self._save_took = self._saved - began

    def forget_checkpoint(self) -> None:
        """Remove it: the artifact is there."""
        (self.output / CHECKPOINT).unlink(missing_ok=True)

    @property
    def _digest(self) -> str:
        """What must be equal for a checkpoint to be of this job: everything but its name and its folders, and what was chosen for it."""
        same = replace(self.job, id="", output="", cache="", start=None)
        return hashlib.sha256(f"{torch.__version__} {self.plan} {same.to_json()}".encode("utf-8", "backslashreplace")).hexdigest()

    def _resume(self) -> None:
        path = self.output / CHECKPOINT
        try:
            with safe_open(path, "pt") as file:
                head = file.metadata() or {}
                if head.get("job") != self._digest:
                    return
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except FileNotFoundError:
            return
        except (OSError, SafetensorError):
            logger.warning("the checkpoint cannot be read: starting anew", exc_info=True)
            return
        self.found = Found(**json.loads(head["found"]))
        self.found.resumed_at = self.found.step
        self.weights.put_back([tensors[f"weights.{i}"] for i in range(len(self.weights.parameters))])
        self._best = [tensors[f"best.{i}"].to(p.device) for i, p in enumerate(self.weights.parameters)]
        for i, parameter in enumerate(self.weights.parameters):
            self._optimizer.state[parameter] = {
                "step": torch.tensor(float(self.found.step)),
                "exp_avg": tensors[f"mean.{i}"].to(parameter.device),
                "exp_avg_sq": tensors[f"square.{i}"].to(parameter.device),
            }

    # ----------------------------------------------------------------- making

    def _rest(self) -> Iterator[list[Row]]:
        """Yield the rows of the steps that are left."""
        size, done = self.plan.rows_per_step, self.found.step
        for rows in self._epochs:
            for start in range(0, len(rows), size):
                if done:
                    done -= 1
                else:
                    yield rows[start : start + size]

    def _weights(self, base: Base) -> Trainable:
        if self.plan.method == "full":
            return FullWeights(base)
        start = None
        if self.job.start is not None:
            stored = weights.read(Path(self.job.start), self.job.start_sha256)
            if stored.lora is None:
                raise BadJob("The weights to start from are a full model's: train from the base.")
            ratio = weights.scale(self.job.start_adapter) / self.plan.scale
            start = {name: (a, b * ratio) for name, (a, b) in weights.fit(stored.lora, base).items()}
        return LoraWeights(base, self.plan, start)

    def _held_out(self, base: Base, name: str, row: int) -> list[Row]:
        posts = getattr(self.job, name)
        ids = base.encode([post.text for post in posts])
        sequences = frames.framed(base, ids, [frames.frame(base)] * len(ids), row)
        if not sequences:
            raise _too_little(name)
        random.Random(f"{self.job.recipe.seed}/{name}").shuffle(sequences)  # noqa: S311 - an order, no secret
        totals = accumulate(sequence.targets for sequence in sequences)
        enough = next((place for place, total in enumerate(totals, start=1) if total >= recipe.HELD_OUT[name]), None)
        return packing.pack(sequences[:enough], row)


def insist_finite(value: float, what: str, step: int | None) -> None:
    """Refuse a number that is none.

    Raises:
        NotFinite: it is NaN or infinite.
    """
    if not math.isfinite(value):
        where = f" at step {step}" if step else ""
        raise NotFinite(f"The {what} is no finite number any more{where}: train again with a lower learning rate.")


def _too_little(name: str) -> TooLittleText:
    return TooLittleText(f"The {name} split holds no text: bring more posts, some dozens at least.")


def _folder(path: str) -> Path:
    """Return a folder of the job, made if missing: better to fail now than when the weights are to be written."""
    folder = Path(path).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadJob(f"The folder {folder} cannot be made ({error.strerror}): name another.") from error
    return folder
