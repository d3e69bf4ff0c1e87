"""`mynah mentions`, and how Mynah's parts answer together: what is said of it, and that texts are not kept."""

import asyncio
import io

import pytest
from rich.console import Console

from bot.app import Mynah
from bot.errors import SettingsError, SpeechFailedError
from bot.faces.terminal import actions
from bot.settings import Secrets, Settings
from bot.x.accounts import accounts_of
from data import mentions, outbox, speech
from data.outbox import State
from tests.bot.x.accelerated import Voice
from tests.bot.x.rows import VOICE, add_model
from tests.loopback_x import SECRETS, Account, LoopbackX
from tests.voices import add_version

ASKED = "is it dark out there?"


def answering(settings: Settings, url: str, **more: object) -> Settings:
    x = settings.x.model_validate({"api_url": url, "mentions": {"on": True, "voice": VOICE} | more})
    return settings.model_copy(update={"x": x})


def shown(answer: actions.Answer) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(answer.text)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def test_off_nothing_is_read_and_the_list_says_so(settings, executor):
    async with Mynah(settings, Secrets(), executor) as app:
        answer = await actions.mentions(app)
    assert answer.document == {"on": False, "poll": None, "mentions": [], "stops": []}
    assert "Mentions are not read" in shown(answer)


async def test_what_came_and_what_became_of_it_is_listed(settings, executor, monkeypatch):
    async def speak(_text: str) -> str:
        return "Dark, and [bold]wet."

    async with LoopbackX() as server, Mynah(answering(settings, server.url, interval=60), SECRETS, executor) as app:
        monkeypatch.setattr(app.mentions, "_speak", speak)
        await app.store.write(add_model)
        await app.mentions.step()
        assert "Nobody" in shown(await actions.mentions(app))
        await app.store.write(mentions.postpone, "default", app.clock(), "")
        server.mention(Account("7", "ann"), f"@keeper_ottoline {ASKED}")
        server.mention(Account("8", "bob"), "@keeper_ottoline stop")
        server.mention(Account("9", "bot_of_bob"), f"@keeper_ottoline {ASKED}")
        await app.mentions.step()
        answer = await actions.mentions(app)
        await app.store.write(mentions.postpone, "default", app.clock(), "X failed with 503.")
        failing = shown(await actions.mentions(app))
    text = " ".join(shown(answer).split())
    for said in (ASKED, "draft, post 1: Dark, and [bold]wet.", "ignored: its author has said stop", "seems to be a bot", "@bob (8)"):
        assert said in text
    assert text.count(ASKED) == 1  # of what is ignored nothing is kept
    assert "X failed with 503. Mentions are read again at" in failing
    (first,) = [row for row in answer.document["mentions"] if row["author"] == "7"]
    assert (first["state"], first["answer"]["status"], first["answer"]["in_reply_to"]) == ("answered", "draft", first["id"])
    assert [row["author"] for row in answer.document["stops"]] == ["8"]


async def test_all_parts_together_answer_a_summons_and_keep_nothing_of_it(settings, executor, capsys):
    async with LoopbackX() as server:
        settings = answering(settings, server.url, unattended=True)
        app = Mynah(settings, SECRETS, executor, Voice())  # type: ignore[arg-type]
        async with app:
            await app.store.write(add_version, (VOICE,))
            app.posting.accounts |= accounts_of(settings, SECRETS, app.store, app.budget)
            app.lead.take()
            await app.mentions.step()
            server.mention(Account("7", "ann"), f"@keeper_ottoline {ASKED}", created_at="2099-01-01T00:00:00.000Z")
            await app.store.write(mentions.postpone, "default", app.clock(), "")
            async with app.working(posting=True), asyncio.timeout(20):
                while not (await app.store.read(outbox.in_state, State.POSTED)):
                    await app.store.changed()
                while (await app.mentions.overview()).mentions[0].text is not None:
                    await app.store.changed()
            (made,) = server.made
            assert made.text.startswith("@ann The ")
            assert [row["message"] for row in await app.store.read(lambda db: list(db.query("SELECT message FROM requests")))] == [""]
            for sender in app.posting.accounts.values():
                await sender.close()
    assert ASKED not in capsys.readouterr().out


async def test_without_keys_the_service_says_so(settings, executor):
    async with Mynah(answering(settings, "http://127.0.0.1:1"), Secrets(), executor) as app:
        app.lead.take()
        async with app.working(posting=True) as work:
            with pytest.raises(SettingsError, match="X_ACCESS_TOKEN"):
                await work


async def test_what_was_to_be_answered_is_not_kept_where_the_voice_fails(settings, executor):
    async with Mynah(answering(settings, "http://127.0.0.1:1"), SECRETS, executor) as app:
        await app.store.write(add_version, (VOICE,))
        asking = asyncio.create_task(app._answer(ASKED))
        while not await app.store.read(speech.waiting):
            await app.store.changed()
        assert (await app.store.read(speech.get, 1)).message == ASKED
        await app.store.write(speech.fail, 1, "None may be said.")
        with pytest.raises(SpeechFailedError):
            await asking
        assert (await app.store.read(speech.get, 1)).message == ""
