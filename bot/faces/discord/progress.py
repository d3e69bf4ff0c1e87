"""A training as one message shows it: the events of its trainer, folded into a few lines."""

from dataclasses import dataclass, field
from typing import Any

from bot.faces.discord.language import tr
from bot.faces.discord.naming import called
from bot.faces.discord.render import duration
from bot.faces.discord.text import MESSAGE, cut, plural, safe, sentence
from bot.faces.words import STAGES
from data.jobs import Job, Status

BAR = 20
SAMPLE = 280
NOTES = 3


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

    def render(self, job: Job, before: int) -> str:
        """Return the message's text; `before` counts the trainings that come first."""
        lines = [tr(f"**{safe(called(job.voice))}** · job {job.id} · {self._state(job, before)}")]
        if job.status is Status.RUNNING and self.step:
            lines += [_bar(self.step), _facts(self.step)]
        if self.sample:
            lines.append(f"> *“{safe(' '.join(self.sample.split()), SAMPLE)}”*")
        lines += [f"⚠ {sentence(note)}" for note in self.notes[-NOTES:]]
        return cut("\n".join(lines), MESSAGE)

    def _state(self, job: Job, before: int) -> str:
        if job.cancel_requested_by:
            return "is being stopped"
        if job.status is Status.QUEUED:
            return f"waits for {plural(before, 'training')} before it" if before else "is next"
        return STAGES.get(self.stage, safe(self.stage)) or "starting"


def _bar(step: dict[str, Any]) -> str:
    done = step["step"] / step["steps"] if step["steps"] else 1.0
    filled = min(BAR, int(done * BAR))
    left = tr(f"about {duration(step['eta_seconds'])} left")
    return f"`{'█' * filled}{'░' * (BAR - filled)}` {done:.0%} · {left}"


def _facts(step: dict[str, Any]) -> str:
    return tr(f"step {step['step']}/{step['steps']} · loss {step['loss']:.2f} · {step['tokens_per_second']:,.0f} tokens/s")
