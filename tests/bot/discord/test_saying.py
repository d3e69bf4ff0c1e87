"""The buttons under lines: again, more like this, and into the outbox; they outlive the process."""

from bot.faces.discord.bot import MynahBot
from data import speech, talk
from tests.bot.discord.conftest import Stage, approve_in, unlike


async def asked(stage: Stage, **wanted):
    result = await stage.alice.slash(stage.channel, "generate", voice="keeper", **wanted)
    return result.response


async def last_request(stage: Stage) -> speech.Request:
    number = await stage.app.store.read(lambda db: next(db.query("SELECT max(id) AS last FROM requests"))["last"])
    return await stage.app.store.read(speech.get, number)


async def test_again_asks_the_same_with_another_seed(stage: Stage):
    await stage.train()
    lines = await asked(stage, prompt="Tonight", count=2, creativity=1.5)
    first = await last_request(stage)
    again = await stage.bob.click(lines, label="Again")
    second = await last_request(stage)
    assert not again.ephemeral
    assert again.response.content.startswith("**keeper**\n• Tonight")
    assert (second.prompt, second.count, second.sampling) == (first.prompt, first.count, first.sampling)
    assert first.sampling["temperature"] == 1.5
    assert second.seed != first.seed
    assert second.requested_by.startswith("bob (Discord ")


async def test_more_like_this_begins_as_the_best_line_does(stage: Stage):
    await stage.train()
    lines = await asked(stage, count=1)
    assert lines.content == f"**keeper**: {unlike(0, 2)}"
    await stage.alice.click(lines, label="More like this")
    assert (await last_request(stage)).prompt == "line 0 of"


async def test_the_buttons_work_after_a_restart_and_under_their_own_answers(stage: Stage):
    await stage.train()
    lines = await asked(stage, count=1)
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    again = await stage.alice.click(lines, label="Again")
    once_more = await stage.alice.click(again.response, label="Again")
    assert once_more.response.content.startswith("**keeper**: ")
    assert await stage.app.store.read(talk.request_of, once_more.response.id) == 3


async def test_a_voice_that_was_forgotten_says_no_more(stage: Stage):
    await stage.train()
    lines = await asked(stage, count=1)
    asked_of = await stage.boss.slash(stage.channel, "forget", handle="keeper")
    await stage.boss.click(asked_of.response, label="Forget it all")
    pressed = await stage.alice.click(lines, label="Again")
    (private,) = pressed.followups
    assert private.ephemeral
    assert private.content == "Those lines are gone: forgotten, erased, or too long ago. Ask anew."
    assert pressed.response is None


async def test_nothing_is_sent_to_x_without_an_account_and_a_server_that_decides(stage: Stage, monkeypatch):
    await stage.train()
    monkeypatch.setattr("bot.services.posting.Posting.sends", True)
    for channel, offered in ((0, False), (5, False), (stage.channel.id, True)):
        approve_in(stage, channel)
        lines = await asked(stage, count=1)
        assert ("Send to X" in [button["label"] for row in lines.components for button in row["components"]]) is offered
    monkeypatch.setattr("bot.services.posting.Posting.sends", False)
    plain = await asked(stage, count=1)
    assert [button["label"] for row in plain.components for button in row["components"]] == ["Again", "More like this"]
