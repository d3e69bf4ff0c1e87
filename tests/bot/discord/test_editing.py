"""What moderators call a voice in their server, and its default prompt: the form, what it refuses, and where both show."""

import pytest

from bot.faces.discord import editing
from bot.faces.discord.bot import MynahBot
from data import accounts, called, members
from data.called import Called
from tests.bot.discord.conftest import unlike

REFUSAL = "Editing a voice is for members with the permission Manage Server."


async def here(stage, voice="keeper"):
    return await stage.app.store.read(called.get, stage.channel.guild.id, voice)


async def put(stage, voice="keeper", **wanted):
    await stage.app.store.write(called.put, stage.channel.guild.id, voice, Called(**wanted), "boss (Discord 7)")


async def opened(stage):
    """Press the button under the card; return the card, and what came of it."""
    card = (await stage.boss.slash(stage.channel, "show", voice="keeper")).response
    return card, await stage.boss.click(card, label="Edit")


def values(form):
    return [row["component"].get("value") for row in form.modal["components"]]


async def test_a_moderator_gives_a_voice_a_name_and_a_prompt(stage):
    await stage.train()
    card, form = await opened(stage)
    assert values(form) == [None, None]
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    await stage.boss.submit_modal(form, {"name": "  Ottoline  of the *Lamp*", "prompt": "the fog"})
    assert await here(stage) == Called("Ottoline of the *Lamp*", "the fog")
    assert card.content == (
        r"**keeper** is called **Ottoline of the \*Lamp\*** in this server from now on, as boss chose." + "\n"
        r"Where no prompt is given, **Ottoline of the \*Lamp\*** begins with another prompt from now on, as boss chose."
    )
    card, form = await opened(stage)
    assert card.embeds[0].title == r"Ottoline of the \*Lamp\* · AI BOT"
    assert values(form) == ["Ottoline of the *Lamp*", "the fog"]
    await stage.boss.submit_modal(form, {"name": "Ottoline of the *Lamp*", "prompt": "the fog"})
    assert card.content == "Nothing was changed."
    card, form = await opened(stage)
    await stage.boss.submit_modal(form, {"name": " ", "prompt": ""})
    assert await here(stage) == Called()
    assert "is called **keeper** in this server" in card.content
    assert "begins with nothing from now on" in card.content
    assert await stage.app.store.read(lambda db: db["called"].count) == 0


async def test_members_see_no_button_and_one_who_is_moderator_no_more_is_refused(stage):
    await stage.train()
    shown = (await stage.alice.slash(stage.channel, "show", voice="keeper")).response
    assert not shown.components
    card, form = await opened(stage)
    pressed = await stage.alice.click(card, label="Edit")
    stage.env.backend.get_guild(stage.channel.guild.id).members[stage.boss.id].role_ids.clear()
    for refused in (pressed, await stage.boss.submit_modal(form, {"name": "Mine"})):
        assert refused.ephemeral
        assert refused.response.content == REFUSAL
    assert await here(stage) == Called()


@pytest.mark.parametrize(
    ("name", "prompt", "why"),
    [
        ("Ottoline", "", "A voice's name in a server has at most 5 characters; this one has 8."),
        ("Otto", "the fog", "A prompt has at most 6 characters; this one has 7."),
        ("Gull", "", "That is the name of the voice gull: choose another."),
        ("\uff33\uff21\uff2c\uff34", "", "That is the name of the voice gull: choose another."),
    ],
)
async def test_what_the_form_refuses(stage, monkeypatch, name, prompt, why):
    await stage.train()
    await stage.train("gull")
    await put(stage, "gull", name="Salt")
    _, form = await opened(stage)
    assert [row["component"]["max_length"] for row in form.modal["components"]] == [60, 1000]
    monkeypatch.setattr(editing, "MAX_NAME", 5)  # what Discord lets through is checked again
    monkeypatch.setattr(editing, "MAX_PROMPT", 6)
    refused = await stage.boss.submit_modal(form, {"name": name, "prompt": prompt})
    assert refused.ephemeral
    assert refused.response.content == why
    assert await here(stage) == Called()


async def test_what_nobody_sees_of_a_name_is_left_out(stage):
    await stage.train()
    await stage.train("gull")
    _, form = await opened(stage)
    await stage.boss.submit_modal(form, {"name": "\u202eOtto\u200d\u2066line\u200b"})
    assert await here(stage) == Called("Ottoline")
    _, form = await opened(stage)
    refused = await stage.boss.submit_modal(form, {"name": "g\u200bull"})
    assert refused.response.content == "That is the name of the voice gull: choose another."
    _, form = await opened(stage)
    await stage.boss.submit_modal(form, {"name": "\u200b \u2069"})
    assert await here(stage) == Called()


async def test_a_voice_may_be_called_by_its_own_name_and_as_another_is_elsewhere(stage):
    await stage.train()
    await stage.train("gull")
    await stage.app.store.write(called.put, 5, "gull", Called("Salt"), "boss")
    _, form = await opened(stage)
    await stage.boss.submit_modal(form, {"name": "Salt"})
    assert (await here(stage)).name == "Salt"
    _, form = await opened(stage)
    await stage.boss.submit_modal(form, {"name": "Keeper"})
    assert (await here(stage)).name == "Keeper"


async def test_the_name_is_shown_wherever_the_voice_is_named(stage):
    await stage.train()
    await stage.train("gull")
    await put(stage, name="Ottoline")
    stage.speaker.lines[:] = [unlike(number, 3) for number in range(40)]
    said = (await stage.alice.slash(stage.channel, "generate", voice="keeper", count=1)).response
    assert said.content.startswith("**Ottoline**: line ")
    assert "• **Ottoline (keeper)** · version 1" in (await stage.alice.slash(stage.channel, "models")).response.content.replace("\\", "")
    assert "· Ottoline · done" in (await stage.alice.slash(stage.channel, "queue")).response.content
    bound = await stage.boss.slash(stage.channel, "bind", voice="keeper")
    assert bound.response.content.startswith("**Ottoline** from now on answers whoever")
    await stage.alice.slash(stage.channel, "duel", voice_one="keeper", voice_two="gull", topic="fog")
    await stage.env.advance_time(5)
    assert stage.history[-1].content.startswith("**Ottoline** and **gull** on: fog\n**Ottoline**: ")


async def test_the_name_is_offered_and_its_voice_is_what_is_chosen(stage):
    await stage.train()
    await stage.train("gull")
    await put(stage, name="Ottoline")
    for typed, offered in (("otto", ["keeper"]), ("", ["gull", "keeper"]), ("keep", ["keeper"])):
        choices = await stage.alice.autocomplete(stage.channel, "generate", "voice", typed)
        assert sorted(choice["value"] for choice in choices) == offered
        assert "Ottoline (keeper)" in [choice["name"] for choice in choices]


async def test_the_default_prompt_begins_lines_where_none_was_given(stage):
    await stage.train()
    await put(stage, prompt="the fog")
    assert (await stage.alice.slash(stage.channel, "generate", voice="Keeper", count=1)).response.content.startswith(
        "**keeper**: the fog line"
    )
    own = await stage.alice.slash(stage.channel, "generate", voice="keeper", prompt="my lamp", count=1)
    assert own.response.content.startswith("**keeper**: my lamp line")
    answer = await stage.alice.slash(stage.channel, "ask", voice="keeper", message="is it dark")
    assert answer.response.content.startswith("**keeper**: line")


async def test_the_button_under_a_training_begins_with_the_default_prompt_too(stage):
    await stage.asks(stage.alice, "keeper")
    (await stage.run()).done()
    await stage.app.training.ended(1)
    await stage.env.advance_time(6)
    await put(stage, prompt="the fog")
    said = await stage.bob.click(stage.history[0], label="Generate")
    assert "the fog line" in said.response.content


async def test_a_default_prompt_is_judged_where_it_is_used(stage):
    await stage.train()
    await put(stage, prompt="call @everyone")
    refused = await stage.alice.slash(stage.channel, "generate", voice="keeper")
    assert refused.followups[-1].content.startswith("That prompt mentions somebody")
    assert len(stage.env.errors) == 1


async def test_forgetting_a_voice_and_whoever_named_it_forgets_that(stage):
    await stage.train()
    await put(stage, name="Ottoline", prompt="the fog")
    await stage.app.store.write(members.erase, 7)
    rows = await stage.app.store.read(lambda db: list(db["called"].rows))
    assert [row["set_by"] for row in rows] == [members.ANONYMOUS]
    card, form = await opened(stage)
    await stage.app.store.write(accounts.forget, "keeper")
    assert await stage.app.store.read(lambda db: db["called"].count) == 0
    for refused in (await stage.boss.click(card, label="Edit"), await stage.boss.submit_modal(form, {"name": "Ghost"})):
        assert refused.response.content == "That voice was forgotten."
    assert await stage.app.store.read(lambda db: db["called"].count) == 0
