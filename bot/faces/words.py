"""What every face has the same words for: stages of a training (trainer/protocol.py), grounds of a consent, schedules, moments, numbers."""

from bot.services.scheduling import Planned
from bot.services.times import span
from data.consents import Ground
from data.outbox import Pause, State
from data.schedules import Schedule

STAGES = {
    "base": "loading the base model",
    "measure": "measuring the base model",
    "train": "learning",
    "sample": "writing samples",
    "save": "saving",
}
GROUNDS = {
    Ground.ARCHIVE: "the account's own archive",
    Ground.PERMISSION: "a permission",
    Ground.PARODY: "a parody",
}
#: Posts of which the reason says more than that things go their way.
TOLD = (State.APPROVED, State.SENDING, State.FAILED)


def moment(stamp: str) -> str:
    """Return a moment of the database's as people read it, in UTC."""
    return f"{stamp[:16].replace('T', ' ')} UTC"


def paused(pause: Pause) -> str:
    """Return the sentence that says that posting stands still, since when and by whom."""
    why = f": {pause.why}" if pause.why else ""
    return f"Posting is paused since {moment(pause.paused_at)}, by {pause.paused_by}{why}."


def when(schedule: Schedule, between: str = " ") -> str:
    """Return a schedule's times, and the zone they are of."""
    times = f"every {span(int(schedule.expression))}" if schedule.kind == "every" else schedule.expression
    return f"{times}{between}({schedule.timezone})"


def facts(planned: Planned) -> dict[str, str]:
    """Return all that a schedule was told, by what it is called."""
    one = planned.schedule
    rows = {
        "voice": one.voice,
        "when": when(one),
        "jitter": f"up to {span(one.jitter)} later" if one.jitter else "",
        "quiet hours": one.quiet,
        "most a day": str(one.max_a_day or ""),
        "to": destination(one.account, one.channel),
        "approval": "none: config.toml names it unattended" if planned.unattended else "each draft waits for a person",
        "prompt": one.prompt,
        "creativity": "" if one.creativity is None else f"{one.creativity:g}",
        "ahead": "" if one.ahead is None else f"drafts are written {span(one.ahead)} before their time",
        "missed": f"the newest is made up within {span(one.grace)}" if one.missed == "once" else "none is made up",
        "made": f"{moment(one.created_at)}, by {one.created_by}",
    }
    return {name: value for name, value in rows.items() if value}


def destination(account: str | None, channel: int | None) -> str:
    """Return where posts go."""
    return f"X: {account}" if channel is None else f"Discord: {channel}"


def counted(number: int, table: str) -> str:
    """Return `1 model`, `2 models`, `1 corpus`, `2 corpora`: so many rows of a table."""
    one = "corpus" if table == "corpora" else table.removesuffix("s")
    return f"{number:,} {one if number == 1 else table}"
