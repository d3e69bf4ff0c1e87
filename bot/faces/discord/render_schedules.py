"""Schedules as Discord shows them, with their next times in each reader's own."""

from collections.abc import Sequence

from bot.faces.discord.language import tr
from bot.faces.discord.naming import called
from bot.faces.discord.render_posts import NAME, REASON, at, place
from bot.faces.discord.text import MESSAGE, cut, moment, safe, sentence, who
from bot.services.scheduling import Planned
from bot.services.times import span
from data.outbox import Destination
from data.schedules import Outcome, Run

MARKS = {Outcome.DUE: "⏳", Outcome.DRAFTED: "✅", Outcome.SKIPPED: "⏭", Outcome.MISSED: "⏭", Outcome.FAILED: "❌"}


def listed(schedules: Sequence[Planned]) -> str:
    """Render all schedules."""
    return cut("\n".join(map(row, schedules)), MESSAGE) or tr("There is no schedule yet: `/schedule add` makes one.")


def row(planned: Planned) -> str:
    """Render a schedule in two lines: what it does, and when it does it next."""
    schedule = planned.schedule
    times = tr(f"every {span(int(schedule.expression))}") if schedule.kind == "every" else f"{safe(schedule.expression, NAME)}"
    to = place(Destination(schedule.account, schedule.channel))
    what = f"{safe(called(schedule.voice), NAME)} · {times} ({safe(schedule.timezone)}) → {to}"
    if schedule.paused_at:
        then = tr(f"paused {at(schedule.paused_at, 'R')} by {who(schedule.paused_by or '')}")
    else:
        then = " · ".join(f"{at(time.isoformat(), 'f')} ({at(time.isoformat(), 'R')})" for time in planned.times) or tr("never again")
    return f"• **{safe(schedule.name)}** · {what}\n  {then}"


def whole(planned: Planned) -> str:
    """Render a schedule with all that was set of it, and what became of its last times."""
    schedule = planned.schedule
    facts = [tr(f"made by {who(schedule.created_by)} on {moment(schedule.created_at)} UTC")]
    facts += [tr(f"up to {span(schedule.jitter)} later")] if schedule.jitter else []
    facts += [tr(f"nothing from {schedule.quiet.replace('-', ' to ')}")] if schedule.quiet else []
    facts += [tr(f"{schedule.max_a_day} a day at most")] if schedule.max_a_day else []
    facts.append(tr("posted without approval, as the operator set it" if planned.unattended else "each post is approved first"))
    runs = [_run(run) for run in planned.runs]
    return cut("\n".join([row(planned), *(f"-# {fact}" for fact in facts), *runs]), MESSAGE)


def _run(run: Run) -> str:
    post = tr(f", post {run.post}") if run.post else ""
    return f"{MARKS[run.outcome]} {at(run.at, 'f')}{post} · {sentence(run.why, REASON)}"
