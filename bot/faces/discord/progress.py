"""A training as one message shows it: how it stands, in a few lines."""

from typing import Any

from bot.faces.discord.language import tr
from bot.faces.discord.naming import called
from bot.faces.discord.render import duration
from bot.faces.discord.text import MESSAGE, cut, plural, safe, sentence
from bot.faces.words import STAGES
from bot.services.progress import Progress
from data.jobs import Job, Status

BAR = 20
SAMPLE = 280
NOTES = 3


def render(progress: Progress, job: Job, before: int) -> str:
    """Return the message's text; `before` counts the trainings that come first."""
    lines = [tr(f"**{safe(called(job.voice))}** · job {job.id} · {_state(progress, job, before)}")]
    if job.status is Status.RUNNING and progress.step:
        lines += [_bar(progress.step), _facts(progress.step)]
    if progress.sample:
        lines.append(f"> *“{safe(' '.join(progress.sample.split()), SAMPLE)}”*")
    lines += [f"⚠ {sentence(note)}" for note in progress.notes[-NOTES:]]
    return cut("\n".join(lines), MESSAGE)


def _state(progress: Progress, job: Job, before: int) -> str:
    if job.cancel_requested_by:
        return "is being stopped"
    if job.status is Status.QUEUED:
        return f"waits for {plural(before, 'training')} before it" if before else "is next"
    return STAGES.get(progress.stage, safe(progress.stage)) or "starting"


def _bar(step: dict[str, Any]) -> str:
    done = step["step"] / step["steps"] if step["steps"] else 1.0
    filled = min(BAR, int(done * BAR))
    left = tr(f"about {duration(step['eta_seconds'])} left")
    return f"`{'█' * filled}{'░' * (BAR - filled)}` {done:.0%} · {left}"


def _facts(step: dict[str, Any]) -> str:
    return tr(f"step {step['step']}/{step['steps']} · loss {step['loss']:.2f} · {step['tokens_per_second']:,.0f} tokens/s")
