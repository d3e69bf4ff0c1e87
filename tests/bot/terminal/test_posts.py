"""The outbox at the command line: where posts go, what became of them, what waits for whom, and what the doctor says of it."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from bot.app import Mynah
from bot.errors import BadRequestError
from bot.faces.terminal import actions
from bot.faces.terminal.cli import cli
from bot.services.doctor import examine, healthy
from bot.services.sending import Retry, SendError
from bot.settings import Secrets, Settings, X
from bot.x.profiles import examine_profiles
from data import schedules
from data.outbox import Destination, State
from data.schedules import Schedule
from data.store import now
from tests.bot.terminal.test_consent import shown
from tests.bot.x.rows import VOICE, add_voice
from tests.loopback_x import SECRETS, LoopbackX


class Refusing:
    """A sender that X says no to."""

    looks_after = None

    async def send(self, post):
        raise SendError("Buy credits.", Retry.NEVER)


@pytest.fixture
def posts_settings(tmp_path):
    return Settings(data_dir=tmp_path, x=X(accounts={"news": {"handle": "harbour"}}, unattended={"tides"}))


@pytest.fixture
async def app(posts_settings, executor):
    async with Mynah(posts_settings, Secrets(), executor) as running:
        await running.store.write(add_voice)
        yield running


async def test_the_list_says_where_a_post_goes_and_what_it_waits_for(app):
    for account in (None, "news"):
        post = await app.posting.draft(VOICE, None, f"For {account}.", "a test", account=account)
        await app.posting.approve(post.id, "ann")
    await app.posting.draft(VOICE, None, "For a channel.", "a test", channel=7)
    app.posting.accounts["news"] = Refusing()
    await app.posting.send_next()
    listed = await actions.posts(app)
    assert [(post["account"], post["channel"], post["status"], post["why"]) for post in listed.document["posts"]] == [
        (None, 7, State.DRAFT, "written"),
        ("news", None, State.FAILED, "Buy credits."),
        ("default", None, State.APPROVED, "approved"),
    ]
    said = shown(listed)
    assert "Post 2 waits for you (mynah posts approve, edit, confirm or reject 2). Nothing else goes to X account news meanwhile." in said
    for words in ("X default", "X news", "Discord 7", "Buy credits."):
        assert words in said


async def test_a_post_is_edited_and_its_history_says_so(app):
    post = await app.posting.draft(VOICE, None, "Low water.", "a test")
    seen = []
    left = await actions.edit_post(app, post.id, "paula", seen.append, approve=False)
    assert (seen, shown(left).strip()) == (["Low water."], "Post 1 is left as it was.")
    edited = await actions.edit_post(app, post.id, "paula", lambda _: "High water.", approve=True)
    assert "Post 1 is approved. It is sent while `mynah run` runs." in shown(edited)
    with pytest.raises(BadRequestError, match="link"):
        await actions.edit_post(app, post.id, "paula", lambda _: "See x.ai", approve=True)
    told = await actions.post(app, post.id)
    assert [(change["who"], change["was"]) for change in told.document["history"]] == [("a test", None), ("paula", "Low water.")]
    assert "it said: Low water." in shown(told)


async def test_the_doctor_names_what_waits_for_a_person(app, posts_settings):
    def outbox():
        return [finding for finding in examine(posts_settings, Secrets()) if finding.name == "outbox"]

    assert outbox() == []
    post = await app.posting.approve((await app.posting.draft(VOICE, None, "Low water.", "a test")).id, "ann")
    app.posting.accounts["default"] = Refusing()
    await app.posting.send_next()
    (finding,) = outbox()
    assert (finding.found, finding.advice) == ("post 1 to X account default waits for you", "Buy credits.")
    assert not healthy([finding])
    await app.posting.reject(post.id, "ann", "")
    assert outbox() == []


def test_the_doctor_names_the_keys_of_each_account(posts_settings):
    found = {finding.name: finding.found for finding in examine(posts_settings, SECRETS)}
    assert found["X"] == found["X news"] == "its keys are set"
    found = {finding.name: finding.found for finding in examine(posts_settings, Secrets())}
    assert found["X news"] == "missing X_NEWS_API_KEY, X_NEWS_API_SECRET, X_NEWS_ACCESS_TOKEN, X_NEWS_ACCESS_SECRET"


@pytest.mark.parametrize(
    ("bio", "says"),
    [
        ("", ["Say in the bio that it is a bot", "Say in the bio who runs it"]),
        ("Tides, hourly. A bot.", ["Say in the bio who runs it"]),
        ("An AI writes this; run by @paula.", []),
        ("運営 paula、自動投稿", []),
    ],
)
async def test_the_doctor_reads_profiles_for_a_price(app, posts_settings, bio, says):
    async with LoopbackX(bio=bio) as server:
        settings = posts_settings.model_copy(update={"x": posts_settings.x.model_copy(update={"api_url": server.url})})
        default, news = await examine_profiles(settings, SECRETS, app.budget)
    assert (default.ok, default.found.startswith("@loopback: ")) == (not says, True)
    assert all(sentence in default.advice for sentence in [*says, "Automated label"])
    assert "Its keys are those of @loopback, and config.toml says @harbour." in news.advice
    assert (await app.budget.overview()).today[0].cost == 20_000


async def test_a_profile_that_is_not_read_is_said(app, posts_settings):
    settings = posts_settings.model_copy(update={"x": X(daily_cap=0)})
    async with Mynah(settings, SECRETS) as poor:
        (finding,) = await examine_profiles(settings, SECRETS, poor.budget)
    assert (finding.ok, finding.found) == (False, "its profile was not read")
    assert "x.daily_cap" in finding.advice


@pytest.mark.parametrize(("operator", "becomes"), [(True, State.APPROVED), (False, State.DRAFT)])
async def test_a_duplicate_is_written_anew_for_the_same_place_and_needs_the_same_yes(app, monkeypatch, operator, becomes):
    async def said(voice, by, prompt="", temperature=None):
        return f"{voice} {prompt}"

    monkeypatch.setattr(app, "_said", said)
    schedule = Schedule("tides", VOICE, "every", "3600", "UTC", "ann", now(), account="news", prompt="Tonight", operator=operator)
    await app.store.write(schedules.add, schedule)
    post = await app.posting.draft(VOICE, "tides", "Low water.", "schedule tides", account="news")
    assert await app.store.write(app.posting.again, post)
    await app.scheduling._write_due()
    await asyncio.gather(*app.scheduling._writing.values())
    new = (await app.posting.listed())[0]
    assert (new.text, new.destination, new.schedule, new.status) == (f"{VOICE} Tonight", Destination("news"), "tides", becomes)
    assert (await app.scheduling.get("tides")).runs[0].why == "the text of post 1 was there already"


async def test_a_duplicate_that_no_schedule_wrote_is_written_anew_by_its_voice(app, monkeypatch):
    async def said(voice, by):
        return f"{voice}, {by}."

    monkeypatch.setattr(app, "_said", said)
    await app._another(await app.posting.draft(VOICE, None, "Low water.", "ann", channel=7))
    new = (await app.posting.listed())[0]
    assert (new.text, new.destination, new.status) == (f"{VOICE}, in the place of post 1.", Destination(None, 7), State.DRAFT)


def test_the_command_line_lists_edits_and_shows(tmp_path, monkeypatch):
    monkeypatch.setattr("bot.faces.terminal.cli.configure_logging", lambda *_, **__: None)
    config = tmp_path / "config.toml"
    config.write_text("")
    run = CliRunner().invoke
    listed = run(cli, ["posts", "--json", "--config", str(config)])
    assert json.loads(listed.stdout) == {"posts": [], "paused": None}
    for words in (["edit", "1", "High water."], ["show", "1"]):
        refused = run(cli, ["posts", *words, "--config", str(config)])
        assert "There is no post 1" in str(refused.exception)
