"""Quotas: how much a member and a server may ask for, counted from the rows of what was asked, so that no restart resets them."""

from datetime import UTC, datetime, timedelta

from sqlite_utils import Database

from bot.errors import QuotaError
from bot.settings import Quotas
from data import jobs, servers, speech
from data.counting import LOOK_BACK
from data.origin import Origin
from data.store import stamp

DAY, MINUTE = LOOK_BACK["training"], LOOK_BACK["lines"]


def quotas_of(db: Database, server: int | None, quotas: Quotas) -> Quotas:
    """Return the quotas that hold in a server: the operator's, but where its moderators set a lower one."""
    there = servers.get(db, server)
    wanted = {name: getattr(there, name) for name in Quotas.model_fields}
    lower = {name: min(number, getattr(quotas, name)) for name, number in wanted.items() if number is not None}
    return quotas.model_copy(update=lower)


def check_trainings(db: Database, origin: Origin, quotas: Quotas, *, more: int = 0) -> None:
    """Make sure that a training that was just written down is not one too many; call it in the same transaction.

    With `more`, that so many more would not be too many, before they are.

    Raises:
        QuotaError: it is; the text says when to ask again.
    """
    since = _since(DAY)
    asked = [
        ("You", quotas.trainings_a_day, jobs.asked_since(db, since, member=origin.member)),
        (
            "The members here together",
            quotas.trainings_a_day_server,
            jobs.asked_since(db, since, server=origin.server) if origin.server else [],
        ),
    ]
    for who, most, moments in asked:
        if len(moments) + more > most:
            when = f": the next is possible in {_wait(moments[more - 1 - most], DAY)}" if most else ""
            raise QuotaError(f"{who} may ask for {most} trainings within a day{when}.")


def check_lines(db: Database, origin: Origin, quotas: Quotas) -> None:
    """Make sure that lines that were just asked for are not too many; call it in the same transaction.

    Raises:
        QuotaError: they are; the text says when to ask again.
    """
    *earlier, (_, wanted) = speech.lines_since(db, _since(MINUTE), origin.member)
    if wanted > quotas.lines_a_minute:
        raise QuotaError(f"You may ask for {quotas.lines_a_minute} lines within a minute: ask for fewer.")
    used = sum(count for _, count in earlier)
    for moment, count in earlier:
        if used + wanted <= quotas.lines_a_minute:
            return
        used -= count
        if used + wanted <= quotas.lines_a_minute:
            raise QuotaError(f"You may ask for {quotas.lines_a_minute} lines within a minute: ask again in {_wait(moment, MINUTE)}.")


def _since(span: timedelta) -> str:
    return stamp(datetime.now(UTC) - span)


def _wait(moment: str, span: timedelta) -> str:
    """Return how long it is until a moment is longer ago than `span`, in words."""
    seconds = max(1, round((datetime.fromisoformat(moment) + span - datetime.now(UTC)).total_seconds()))
    if seconds < 90:
        return f"{seconds} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{round(seconds / 3600)} h"
