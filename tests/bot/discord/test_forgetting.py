"""Forgetting an account from Discord: for moderators, after a question, for good."""

from bot.faces.discord.bot import MynahBot
from data import accounts, jobs, members, models
from tests.bot.discord.conftest import Stage


async def stored(stage: Stage) -> list[str]:
    return await stage.app.store.read(accounts.known_handles)


async def test_forget_after_confirmation(stage: Stage):
    """The question names what goes; the button does it."""
    await stage.train()
    asked = await stage.boss.slash(stage.channel, "forget", handle="@Keeper")
    assert asked.ephemeral
    assert asked.response.content.startswith("Forget **keeper**: its posts and 1 voice (keeper)")
    await stage.boss.click(asked.response, label="Forget it all")
    assert "**keeper** is forgotten: 150 tweets, 1 voice, 1 model" in asked.response.content
    assert asked.response.components == []
    assert await stored(stage) == ["gull"]
    assert (await stage.app.store.read(models.page)).models == []


async def test_forget_by_prefix_and_after_a_restart(stage: Stage):
    """The button under a public question works after a restart, for whoever asked, and for nobody else."""
    await stage.train()
    await stage.boss.send(stage.channel, "!forget keeper")
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    other = await stage.alice.click(stage.history[0], label="Forget it all")
    assert other.response.content == "That question was not asked of you."
    assert other.ephemeral
    await stage.boss.click(stage.history[0], label="Forget it all")
    assert "is forgotten" in stage.history[0].content
    assert await stored(stage) == ["gull"]


async def test_keep(stage: Stage):
    """No is no, and the question is gone."""
    asked = await stage.boss.slash(stage.channel, "forget", handle="keeper")
    await stage.boss.click(asked.response, label="Keep it")
    assert asked.response.content == "**keeper** stays."
    assert await stored(stage) == ["gull", "keeper"]


async def test_members_may_not(stage: Stage):
    """Without Manage Server there is no question; Discord hides the slash command, and code checks the other way."""
    assert "forget" not in stage.alice.available_commands(stage.channel)
    await stage.alice.send(stage.channel, "!forget keeper")
    assert stage.history[-1].content == "Forgetting is for members with the permission Manage Server."
    guild = stage.boss.guild
    commands = stage.env.backend.visible_commands(user_id=stage.boss.id, channel_id=stage.channel.id)
    (number,) = [int(command["id"]) for command in commands if command["name"] == "forget"]
    guild.set_command_permissions(number, {stage.alice: True})  # a server may override what was declared
    result = await stage.alice.slash(stage.channel, "forget", handle="keeper")
    assert result.ephemeral
    assert "Manage Server" in result.response.content
    assert await stored(stage) == ["gull", "keeper"]
    assert len(stage.env.errors) == 2


async def test_permission_lost_before_the_button(stage: Stage):
    """Whoever lost the permission meanwhile cannot press it through."""
    await stage.boss.send(stage.channel, "!forget keeper")
    stage.env.backend.get_guild(stage.boss.guild.id).members[stage.boss.id].role_ids.clear()
    await stage.boss.click(stage.history[0], label="Forget it all")
    assert "Manage Server" in stage.history[0].content
    assert await stored(stage) == ["gull", "keeper"]


async def test_unknown_account(stage: Stage):
    """Nothing stored: one sentence, no question."""
    result = await stage.boss.slash(stage.channel, "forget", handle="nobody")
    assert result.response.content == "Nothing of @\u200bnobody is stored."
    assert len(stage.env.errors) == 1


async def test_forgotten_twice(stage: Stage):
    """Two questions, two yeses: the second finds nothing, and says so."""
    first = await stage.boss.slash(stage.channel, "forget", handle="keeper")
    second = await stage.boss.slash(stage.channel, "forget", handle="keeper")
    await stage.boss.click(first.response, label="Forget it all")
    await stage.boss.click(second.response, label="Forget it all")
    assert second.response.content == "Nothing of @\u200bkeeper is stored."


async def test_a_question_about_it_that_waits_goes_with_its_file(stage: Stage):
    await stage.alice.send(stage.channel, "!train Keeper", attachments=[("keeper.jsonl", b'{"id": "x", "text": "another one entirely"}\n')])
    waits = stage.history[-1]
    (folder,) = (stage.app.settings.data_dir / "uploads").glob("*")
    asked = await stage.boss.slash(stage.channel, "forget", handle="keeper")
    await stage.boss.click(asked.response, label="Forget it all")
    assert not folder.exists()
    refused = await stage.alice.click(waits, label="Never mind")
    assert "settled already" in refused.response.content
    assert await stored(stage) == ["gull"]


async def test_forgetting_begins_no_new_day_of_quotas(stage: Stage):
    await stage.train()
    since, here = "2000-01-01", stage.channel.guild.id
    await stage.app.store.write(
        lambda db: db.conn.execute("UPDATE jobs SET member = ?, server = ?", [stage.alice.id, here]),
    )
    asked = [await stage.app.store.read(jobs.asked_since, since, member=stage.alice.id)]
    asked.append(await stage.app.store.read(jobs.asked_since, since, server=here))
    assert [len(moments) for moments in asked] == [1, 1]
    await stage.app.store.write(members.erase, stage.alice.id)  # which leaves the server's
    await stage.app.store.write(accounts.forget, "keeper")
    assert await stage.app.store.read(jobs.asked_since, since, member=stage.alice.id) == asked[0]
    assert await stage.app.store.read(jobs.asked_since, since, server=here) == asked[1]


async def test_whose_training_goes_on_is_not_told_that_it_was_forgotten(stage: Stage):
    await stage.asks(stage.alice, "keeper")
    await stage.run()
    await stage.env.advance_time(1)
    await stage.app.store.write(members.erase, stage.alice.id)
    await stage.env.advance_time(12)
    assert stage.history[0].content == "Whoever asked for this training had his data erased. It goes on: see `/queue`."


async def test_forgetting_stops_a_training_and_its_message(stage: Stage):
    """A training under way is cancelled; the message that followed it says what became of it."""
    await stage.asks(stage.alice, "keeper")
    await stage.run()
    await stage.env.advance_time(1)
    asked = await stage.boss.slash(stage.channel, "forget", handle="keeper")
    await stage.boss.click(asked.response, label="Forget it all")
    assert "is forgotten" in asked.response.content
    await stage.env.advance_time(12)
    assert stage.history[0].content == "This training was forgotten, with everything of its account."
    assert [message for message in stage.history if message.mentions] == []
