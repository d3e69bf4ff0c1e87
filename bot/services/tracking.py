"""Tracking: what a tracker is told of trainings, if the operator wants one; the rule of what may leave the machine is here.

As the ancestor did, a training is two runs: one that makes a data set of posts, and one that makes a model of it.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import structlog

from bot.files import double
from bot.services.model_card import hub_name
from bot.settings import Secrets, Settings
from bot.trackers.port import Artifact, Begin, End, Message, Metrics, Tracker
from data import jobs, models
from data.corpus import Corpus, CorpusPost
from data.store import Store
from trainer import protocol

CUT_OFF = "cut off"
NAME_LENGTH = 100  # of a voice in the name of a run, before its kind: trackers take 128 in all
#: Of what a trainer says of a training, that which says nothing of the machine but its processor and its libraries.
_DETAILS = ("posts", "targets", "steps", "best_step", "stop_loss", "learning_rate", "tokens_per_second", "versions", "device")
log = structlog.get_logger()


def lacks(settings: Settings, secrets: Secrets) -> str | None:
    """Return what the tracker that the settings name cannot be used without, in a sentence; None: it can, or there is none."""
    wanted = settings.tracking
    if wanted.tracker == "none":
        return None
    try:
        version(wanted.tracker)
    except PackageNotFoundError:
        return (
            f"`[tracking] tracker` is {wanted.tracker}, which is not installed: `pip install -e '.[{wanted.tracker}]'`, or set it to none."
        )
    if wanted.mode == "online" and secrets.wandb_api_key is None:
        return "`[tracking] mode` is online, which needs a key: set WANDB_API_KEY, or the mode to offline."
    return None


def folder(settings: Settings) -> Path:
    """Return where each job has a folder, named as its number, for what a tracker writes of it."""
    return settings.data_dir / "tracking"


async def tidy(store: Store, settings: Settings) -> None:
    """Remove what trackers wrote of jobs that were forgotten."""
    there = [path for path in folder(settings).glob("*") if path.name.isdecimal()]
    kept = {str(number) for number in await store.read(jobs.numbers)} if there else set()
    for path in there:
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _harmless() -> Iterator[None]:
    """Keep whatever is raised here from the training."""
    try:
        yield
    except Exception:
        log.exception("tracking fails, and the training goes on")


class Tracking:
    """Tells a tracker what becomes of jobs; none of its methods waits or raises, and without a tracker none does anything."""

    def __init__(self, settings: Settings, tracker: Tracker | None = None) -> None:
        self.tracker = tracker
        self._settings = settings
        self._uploads = settings.tracking.uploads if tracker else frozenset()
        self._under_way: dict[int, str] = {}
        """By their numbers, the runs of jobs."""

    def began(self, job: jobs.Job, corpus: Corpus, sources_sha256: str | None) -> None:
        """Tell of a job that begins, or begins again, and of what it learns from; the data set's run ends with that.

        `sources_sha256`: of what the corpus was built from.
        """
        with _harmless():
            if self.tracker is None:
                return
            self.stopped(job, CUT_OFF)  # where a full disk kept the end of the last attempt from being told
            # Here alone, and not by the tracker, which hears of it late: a folder that is gone means that the job was forgotten.
            self._folder(job).mkdir(parents=True, exist_ok=True)
            run, name = _run(job, "preprocess"), _short(job.voice)
            seed = job.recipe["seed"]
            self._begin(job, "preprocess", {"handles": corpus.handles, "seed": seed})
            counts = {handle: asdict(count) for handle, count in corpus.counts.items()}
            self._tell(Artifact(run, f"tweets-{name}", "raw-dataset", {"sha256": sources_sha256, "counts": counts}, used=True))
            splits = {"train": corpus.train, "stop": corpus.stop, "report": corpus.report}
            # Without what they answer: others wrote that.
            texts = {f"{split}.jsonl": _lines(posts) for split, posts in splits.items()} if "posts" in self._uploads else {}
            self._tell(Artifact(run, f"dataset-{name}", "train-dataset", _data_set(corpus, seed), texts=texts))
            self._tell(End(run, ok=True))
            recipe = {key: value for key, value in job.recipe.items() if value is not None} | {"base": _base(job.recipe["base"])}
            self._begin(job, "train", {"handles": corpus.handles, "recipe": recipe})
            run = self._under_way[job.id] = _run(job, "train")
            self._tell(Artifact(run, f"dataset-{name}", "train-dataset", _data_set(corpus, seed), used=True, texts=texts))
            self._tell(Artifact(run, recipe["base"], "pretrained-model", {"name": recipe["base"]}, used=True))
            if start := recipe.get("start"):
                self._tell(Artifact(run, f"{name}-start", "finetuned-model", {"sha256": start}, used=True))

    def heard(self, job: jobs.Job, event: protocol.Event) -> None:
        """Tell what a trainer said of a job, if it is a measure."""
        with _harmless():
            if isinstance(event, protocol.Step):
                measured = {"loss": event.loss, "tokens_per_second": event.tokens_per_second}
                self._tell(Metrics(_run(job, "train"), event.step, measured))
            elif isinstance(event, protocol.Evaluation):
                self._tell(Metrics(_run(job, "train"), event.step, {"stop_loss": event.loss}))

    def done(self, job: jobs.Job, model: models.Model, weights: Path) -> None:
        """Tell of a job's model, which is stored; the file of its weights is about to go."""
        with _harmless():
            run, result = _run(job, "train"), model.result
            details = result["details"]
            losses = {"loss_before": result["loss_before"], "loss_after": result["loss_after"]}
            facts = losses | {"seconds": result["seconds"]} | {key: details[key] for key in _DETAILS if key in details}
            if resolved := details.get("recipe"):
                facts["recipe"] = {**resolved, "base": _base(resolved["base"])}
            made = {"version": model.version, "sha256": model.sha256, "bytes": model.bytes, "corpus": model.corpus, **losses}
            texts = {"samples.txt": "\n".join(result["samples"])} if "samples" in self._uploads else {}
            try:
                files = {"adapter.safetensors": str(self._keep(job, model, weights))} if "weights" in self._uploads else {}
                self._tell(Artifact(run, _short(job.voice), "finetuned-model", made, texts=texts, files=files))
            finally:
                self._under_way.pop(job.id, None)
                self._tell(End(run, ok=True, facts=facts))

    def stopped(self, job: jobs.Job, why: str) -> None:
        """Tell that a job, if it is under way, ended without a model, or was cut off and will begin again; `why` is a code."""
        with _harmless():
            if run := self._under_way.pop(job.id, None):
                self._tell(End(run, ok=False, facts={"ended": why}))

    async def close(self) -> None:
        """Let go of the tracker."""
        if self.tracker is not None:
            await self.tracker.close()

    def _folder(self, job: jobs.Job) -> Path:
        return folder(self._settings) / str(job.id)

    def _keep(self, job: jobs.Job, model: models.Model, weights: Path) -> Path:
        """Give a file of weights a second name in the job's folder, and return it."""
        kept = self._folder(job) / f"{model.sha256}.safetensors"
        kept.unlink(missing_ok=True)
        double(weights, kept)
        return kept

    def _begin(self, job: jobs.Job, kind: str, config: dict[str, Any]) -> None:
        name, group = f"@{_short(job.voice)}-{kind}", f"{_short(job.voice)}-{job.id}"
        self._tell(Begin(_run(job, kind), name, kind, group, {"mynah": version("mynah"), **config}, str(self._folder(job))))

    def _tell(self, message: Message) -> None:
        if self.tracker is not None:
            self.tracker.tell(message)


def _run(job: jobs.Job, kind: str) -> str:
    return f"{job.id}.{job.attempt}-{kind}"


def _short(voice: str) -> str:
    """Return a voice's name, of a long one the beginning and a hash."""
    return voice if len(voice) <= NAME_LENGTH else f"{voice[: NAME_LENGTH - 9]}-{hashlib.sha256(voice.encode()).hexdigest()[:8]}"


def _base(name: str) -> str:
    """Return what a base is called in public; of a folder its last part: where it lies is nobody's business."""
    return hub_name(name) or Path(name).name or name


def _data_set(corpus: Corpus, seed: int) -> dict[str, Any]:
    posts = {"train": len(corpus.train), "stop": len(corpus.stop), "report": len(corpus.report)}
    return {"sha256": corpus.sha256, "posts": posts, "languages": corpus.languages, "seed": seed}


def _lines(posts: Sequence[CorpusPost]) -> str:
    return "".join(json.dumps({"author": post.author, "text": post.text}, ensure_ascii=False) + "\n" for post in posts)
