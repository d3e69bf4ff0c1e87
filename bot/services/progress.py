"""A training as it goes on: the messages of its trainer, folded into how it stands."""

from dataclasses import dataclass, field, replace
from typing import Any

from sqlite_utils import Database

from bot.services.training import warnings_of
from data import jobs
from data.jobs import Job


@dataclass
class Progress:
    """What is known of one run of a job; a run that was cut off and is done again is another one."""

    attempt: int
    notes: list[str] = field(default_factory=list)
    """Sentences the person should read: the corpus' warnings first, then the trainer's."""
    seen: int = 0
    """Id of the last event taken."""
    stage: str = ""
    step: dict[str, Any] = field(default_factory=dict)
    sample: str = ""

    def take(self, event_id: int, event: dict[str, Any]) -> None:
        """Fold one message of the trainer in."""
        self.seen = event_id
        match event["type"]:
            case "stage":
                self.stage = event["name"]
            case "step":
                self.step = event
            case "sample":
                self.sample = event["text"]
            case "note":
                self.notes.append(event["sentence"])


def caught_up(db: Database, job: Job, known: Progress | None) -> Progress:
    """Return how a job's run stands by now, by what was known of it, which stays as it is."""
    if known is None or known.attempt != job.attempt:
        now = Progress(job.attempt, list(warnings_of(jobs.corpus_of(db, job.corpus), job.recipe["base"])))
    else:
        now = replace(known, notes=[*known.notes])
    for number, event in jobs.events_after(db, job.id, now.seen):
        now.take(number, event)
    return now
