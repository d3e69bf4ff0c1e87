"""Schedules in the terminal: what its options mean, and what is shown at 80 columns."""

import io
import json
from datetime import UTC, datetime

import pytest
from rich.console import Console
from typer.testing import CliRunner

from bot.app import Mynah
from bot.errors import NotStoredError
from bot.faces.terminal import actions, cli
from bot.services.scheduling import Spec
from bot.settings import Secrets
from data import outbox
from data.outbox import Destination
from tests.bot.x.rows import VOICE, add_model


@pytest.fixture
async def app(settings, executor):
    """Mynah with one voice that is trained."""
    async with Mynah(settings, Secrets(), executor) as running:
        await running.store.write(add_model)
        yield running


def shown(answer: actions.Answer) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(answer.text)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def test_a_schedule_is_listed_with_all_of_its_next_times_at_80_columns(app):
    spec = Spec(times="mon-fri 9am 6pm, sat 10", timezone="Europe/Madrid")
    text = shown(await actions.add_schedule(app, "mornings", VOICE, "ann", spec))
    assert "mon-fri 09:00 18:00" in text
    assert "…" not in text
    await actions.add_schedule(app, "tides", VOICE, "ann", Spec(every="90m", channel=1234567890123456789))
    answer = await actions.schedules(app)
    assert "every 1h30m" in shown(answer)
    assert [len(row["next"]) for row in answer.document["schedules"]] == [3, 3]
    assert (await actions.pause_schedule(app, "tides", "bea")).document["schedules"][0]["next"] == []
    assert "paused since" in shown(await actions.schedules(app))
    assert "paused since" not in shown(await actions.resume_schedule(app, "tides", "bea"))


async def test_show_says_all_that_was_told_and_what_became_of_it(app):
    spec = Spec(every="6h", jitter="20m", quiet="22-7", max_a_day=3, prompt="[bold]The tide", creativity=0.5, ahead="30m", missed="skip")
    await actions.add_schedule(app, "tides", VOICE, "ann", spec)
    await actions.run_schedule(app, "tides", "bea")
    answer = await actions.show_schedule(app, "tides")
    text = shown(answer)
    for said in (
        "up to 20m later",
        "22:00-07:00",
        "[bold]The tide",
        "0.5",
        "30m before their time",
        "none is made up",
        "waits for a person",
    ):
        assert said in text
    assert "bea asked for it" in text
    assert [run["outcome"] for run in answer.document["runs"]] == ["due"]


async def test_what_is_gone_is_gone(app):
    await actions.add_schedule(app, "tides", VOICE, "ann", Spec(every="6h"))
    assert "its posts stay" in shown(await actions.remove_schedule(app, "tides"))
    assert "mynah schedule add" in shown(await actions.schedules(app))
    with pytest.raises(NotStoredError):
        await actions.show_schedule(app, "tides")


async def test_who_approves_ahead_hears_when_it_goes(app):
    def draft(db):
        at = datetime(2999, 1, 1, tzinfo=UTC)
        return outbox.add_draft(
            db, voice=VOICE, schedule=None, text="Low water.", who="a test", to=Destination("default", None), not_before=at
        )

    post = await app.store.write(draft)
    assert ", not before 2999-" in shown(await actions.decide(app, "approve", post.id, "ann"))


def test_every_option_reaches_the_schedule(settings, monkeypatch):
    told = []

    async def add(_app, name, voice, _by, spec):
        told.append((name, voice, spec))
        return actions.Answer({"ok": True}, "")

    monkeypatch.setattr(actions, "add_schedule", add)
    monkeypatch.setattr(cli, "_settings", lambda _config: settings)
    line = "--times 9:00 --timezone Asia/Tokyo --jitter 5m --quiet 1-2 --max-a-day 2 --account news --channel 7 --prompt x --creativity 0.5"
    line += " --missed skip --grace 2h --ahead 3h --json"
    ran = CliRunner().invoke(cli.cli, ["schedule", "add", "tides", VOICE, *line.split()])
    assert json.loads(ran.output) == {"ok": True}
    spec = Spec(None, None, "9:00", "Asia/Tokyo", "5m", "1-2", 2, "news", 7, "x", 0.5, "skip", "2h", "3h")
    assert told == [("tides", VOICE, spec)]
