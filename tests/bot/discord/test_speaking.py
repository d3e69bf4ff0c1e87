"""Having voices speak in Discord, their list and their cards."""

import discord
import pytest

from bot.faces.discord.bot import MynahBot
from bot.faces.discord.context import Context
from bot.services.safety import Safety, Verdict
from tests.bot.discord.conftest import Stage, unlike

NASTY = "@everyone <@1> <@&22> <#3> [free](https://evil.example) ||spoiler|| # big discord.gg/abc"


def pings(stage: Stage) -> list[object]:
    """Every mention that any request of the bot allowed."""
    found = []
    for request in stage.env.http_requests:
        if request.path.endswith("/commands") or not request.json:
            continue
        body = request.json.get("data") or request.json
        allowed = body.get("allowed_mentions")
        if "content" in body:
            assert allowed is not None, f"{request} leaves mentions to Discord's default"
        found += [value for name, value in (allowed or {}).items() if value]
    return found


async def test_generate_slash(stage: Stage):
    """`/generate` is acknowledged, then filled with the lines."""
    await stage.train()
    result = await stage.alice.slash(stage.channel, "generate", voice="keeper", prompt="Tonight", count=2)
    assert result.acknowledged
    assert not result.ephemeral
    assert result.response.content == "**keeper**\n• Tonight line 0 of aaaaaaaaa aaaaaaaaa\n• Tonight line 1 of bbbbbbbbb fffffffff"


async def test_generate_prefix_takes_everything_as_the_prompt(stage: Stage):
    """`!generate voice` answers by editing its own acknowledgement; what follows the voice is the prompt, numbers too."""
    await stage.train()
    await stage.alice.send(stage.channel, "!generate keeper 3 little lamps")
    (reply,) = stage.history
    assert reply.content.startswith("**keeper**\n• 3 little lamps line 0")
    assert reply.content.count("•") == stage.app.settings.speaker.count
    posted = stage.sent("POST", "/messages")
    assert [request.json["content"] for request in posted] == ["**keeper** is thinking …"]


async def test_the_worst_line_is_not_said(stage: Stage):
    """The filter refuses it, by the first rule that it breaks."""
    await stage.train()
    stage.speaker.lines = [NASTY]
    result = await stage.alice.slash(stage.channel, "generate", voice="keeper", count=1)
    assert "mention 24" in result.followups[0].content
    assert len(stage.env.errors) == 1


async def test_generated_text_pings_nobody_and_forges_nothing(stage: Stage, monkeypatch):
    """Should the filter let the worst line through that a model can write, it is shown as its characters."""
    await stage.train()
    stage.speaker.lines = [NASTY]
    monkeypatch.setattr(Safety, "judge", lambda *_, **__: Verdict("passed"))
    result = await stage.alice.slash(stage.channel, "generate", voice="keeper", count=1)
    await stage.alice.send(stage.channel, "!generate keeper")
    for message in (result.response.message, stage.history[-1]):
        assert message.mentions == []
        assert message.role_mentions == []
        assert not message.mention_everyone
        assert message.embeds == []
        for forbidden in ("@everyone", "<@1>", "](https", "https://", "discord.gg/abc"):
            assert forbidden not in message.content
        assert "\\|\\|spoiler\\|\\|" in message.content
    assert pings(stage) == []


async def test_a_long_answer_is_attached(stage: Stage):
    """What a message cannot hold comes whole in a file, and its beginning in the message."""
    await stage.train()
    stage.speaker.lines = [unlike(number, 24) for number in range(23)]
    result = await stage.alice.slash(stage.channel, "generate", voice="keeper", count=20)
    assert len(result.response.content) <= 2000
    (file,) = result.response.attachments
    assert file.filename == "keeper.txt"
    assert (await file.read()).decode().split("\n\n") == stage.speaker.lines[:20]
    stage.speaker.lines = [unlike(number, 24) for number in range(26, 40)]
    await stage.alice.send(stage.channel, "!generate keeper x")
    assert len(stage.history[-1].content) <= 2000


async def test_unknown_voice(stage: Stage):
    """A voice that is not there is one sentence, private to a slash command, with the commands as Discord has them."""
    result = await stage.alice.slash(stage.channel, "generate", voice="nobody")
    (private,) = result.followups
    assert private.ephemeral
    assert private.content == "No voice named nobody is trained: `/train nobody` makes it, `/models` lists those there are."
    assert result.response is None
    await stage.alice.send(stage.channel, "!show nobody")
    assert stage.history[-1].content == private.content
    assert len(stage.env.errors) == 2


async def test_nothing_that_may_be_said(stage: Stage):
    """A voice that only copies its posts is refused in a sentence."""
    await stage.train()
    stage.speaker.lines = ["keeper number 3: the rope and the lamp keep the night"]
    result = await stage.alice.slash(stage.channel, "generate", voice="keeper", count=1)
    assert "may be said" in result.followups[0].content
    assert len(stage.env.errors) == 1


@pytest.mark.parametrize("text", ["!generate", "!generate keeper " + "x" * 1500])
async def test_bad_requests(stage: Stage, text: str):
    """Too little and too much."""
    await stage.train()
    await stage.alice.send(stage.channel, text)
    (reply,) = stage.history
    assert reply.content in ("Type it as: `!generate voice [prompt]`.", "A prompt has at most 1000 characters; this one has 1500.")
    assert len(stage.env.errors) == 1


async def test_autocomplete_offers_voices(stage: Stage):
    """Voices are offered as they are typed, those that begin with it first."""
    await stage.train("keeper")
    await stage.train("gull")
    everything = await stage.alice.autocomplete(stage.channel, "generate", "voice", "")
    assert [choice["value"] for choice in everything] == ["gull", "keeper"]
    some = await stage.alice.autocomplete(stage.channel, "show", "voice", "@Kee")
    assert [choice["value"] for choice in some] == ["keeper"]


async def test_models(stage: Stage):
    """The list of voices, empty and full."""
    empty = await stage.alice.slash(stage.channel, "models")
    assert empty.response.content.startswith("No voice is trained yet")
    await stage.train()
    await stage.alice.send(stage.channel, "!models")
    assert "**keeper** · version 1 · 150 posts · loss 4.25 → 3.12" in stage.history[-1].content


async def test_models_in_pages(stage: Stage, monkeypatch):
    """Buttons turn them, also after a restart; a part of a name is looked for."""
    monkeypatch.setattr("bot.faces.discord.render.LISTED", 1)
    for handle in ("keeper", "gull"):
        await stage.train(handle)
    first = await stage.alice.slash(stage.channel, "models")
    assert first.response.content.startswith("• **gull**")
    assert first.response.content.endswith("Page 1 of 2, 2 voices in all")
    assert [button["disabled"] for row in first.response.components for button in row["components"]] == [True, False]
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    await stage.bob.click(first.response, label="Next")
    assert first.response.content.startswith("• **keeper**")
    some = await stage.alice.slash(stage.channel, "models", search="@Kee")
    assert some.response.content.startswith("• **keeper**")
    assert some.response.components == []
    none = await stage.alice.slash(stage.channel, "models", search="nobody")
    assert none.response.content == "No voice has a name that holds nobody."
    await stage.alice.send(stage.channel, "!models nobody/")
    assert "letters, digits, underscores and hyphens alone" in stage.history[-1].content
    await stage.alice.send(stage.channel, "!models keeper 3")
    assert stage.history[-1].content == "There is no page 3: the last is 1."
    assert len(stage.env.errors) == 2


async def test_show(stage: Stage):
    """A voice's card, with its picture and its curve, and those samples that may be said made safe, both ways."""
    await stage.train()
    result = await stage.alice.slash(stage.channel, "show", voice="@Keeper")
    (embed,) = result.response.embeds
    assert embed.title == "keeper · AI BOT"
    assert embed.description == r"• the \*lamp\* is lit \|\|tonight\|\|"
    assert embed.image.url == "attachment://curve.png" or "curve.png" in embed.image.url
    assert [file.filename for file in result.response.attachments] == ["voice.png", "curve.png"]
    await stage.alice.send(stage.channel, "!show keeper")
    assert stage.history[-1].embeds[0].title == embed.title
    assert [file.filename for file in stage.history[-1].attachments] == ["voice.png", "curve.png"]


async def test_a_card_whose_samples_may_not_be_said_is_shown_without_the_picture(stage: Stage, monkeypatch):
    await stage.train()
    pictured = []

    async def allowed(lines: list[str], server: int | None) -> list[str]:
        pictured.append(server)
        return []

    monkeypatch.setattr(stage.app.speaking, "allowed", allowed)
    result = await stage.alice.slash(stage.channel, "show", voice="keeper")
    assert [file.filename for file in result.response.attachments] == ["curve.png"]
    assert pictured == [stage.channel.guild.id]


async def test_where_mynah_may_not_attach_files_a_card_is_its_words(stage: Stage, monkeypatch):
    await stage.train()
    monkeypatch.setattr(Context, "bot_permissions", discord.Permissions(send_messages=True, embed_links=True))
    result = await stage.alice.slash(stage.channel, "show", voice="keeper")
    assert result.response.attachments == []
    (embed,) = result.response.embeds
    assert (embed.title, embed.image.url) == ("keeper · AI BOT", None)


async def test_a_typed_command_whose_card_may_not_be_shown_says_which_permission_lacks(stage: Stage):
    """An answer to a slash command needs none."""
    await stage.train()
    server = stage.env.backend.get_guild(stage.channel.guild.id)
    (role,) = [role for role in server.roles.values() if role.name == stage.env.bot.user.name]
    role.permissions &= ~discord.Permissions(embed_links=True, administrator=True).value
    server.roles[server.id].permissions &= ~discord.Permissions(embed_links=True).value
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    await stage.alice.send(stage.channel, "!show keeper")
    assert stage.history[-1].content == "I lack the permission Embed Links here: ask a moderator to give it to me."
    assert (await stage.alice.slash(stage.channel, "show", voice="keeper")).response.embeds
    assert len(stage.env.errors) == 1


async def test_commands_in_private(stage: Stage):
    """In a direct message the commands work as in a server; forgetting says why it does not."""
    await stage.train()
    result = await stage.alice.user.slash("generate", voice="keeper", count=1)
    assert result.response.content == "**keeper**: line 0 of aaaaaaaaa aaaaaaaaa"
    await stage.alice.send_dm("!models")
    asked = await stage.alice.user.slash("train", handles="gull")
    await stage.alice.user.click(asked.response, label="Train")
    assert "is queued" in asked.response.content
    (await stage.run(2)).done()
    await stage.app.training.ended(2)
    await stage.env.advance_time(6)
    await stage.alice.send_dm("!forget keeper")
    said = [message.content for message in stage.alice.user.dm_channel.history() if message.author.id == stage.env.bot.user.id]
    assert any("gull" in words and "is trained" in words for words in said)
    assert said[-1] == "That works in a server alone, not in private."
    assert len(stage.env.errors) == 1


async def test_help_comes_from_the_commands(stage: Stage):
    """Every command is in the help with its first line; one command is explained with its parameters."""
    result = await stage.alice.slash(stage.channel, "help")
    assert result.ephemeral
    for command in stage.env.bot.commands:
        assert f"`/{command.name}` — {command.short_doc}" in result.response.content
        assert command.short_doc
    await stage.alice.send(stage.channel, "!help generate")
    assert "`/generate voice [prompt]`" in stage.history[-1].content
    assert "• `count`: How many lines" in stage.history[-1].content
    await stage.alice.send(stage.channel, "!help schedule")
    assert "• `/schedule pause name` — Stop a schedule until it is resumed" in stage.history[-1].content
    await stage.alice.send(stage.channel, "!help schedule add")
    assert "• `times`: Such as 9:00, 18:30" in stage.history[-1].content
    await stage.alice.send(stage.channel, "!help nothing")
    assert "There is no command" in stage.history[-1].content
    assert len(stage.env.errors) == 1


async def test_declared_limits(stage: Stage):
    """What Discord's menus go by: contexts, permissions, and no more characters than it takes."""
    (registration,) = stage.sent("PUT", "/commands")
    commands = {command["name"]: command for command in registration.json}
    (menu,) = [command for command in commands.values() if command["type"] == 3]
    assert commands.pop(menu["name"])["name"] == "Answer as…"
    talking = {"generate", "ask", "bind", "models", "show"}
    games = {"quiz", "duel", "leaderboard"}
    posts = {"approve", "schedule", "pause", "resume"}
    assert (
        set(commands) == {"train", "import", "cancel", "queue", "export", "forget", "settings", "about", "help"} | talking | games | posts
    )
    for name in ("forget", "bind", "settings", "import"):
        assert commands[name]["contexts"] == [0]
        assert int(commands[name]["default_member_permissions"]) == 1 << 5
    for command in commands.values():
        assert 1 <= len(command["description"]) <= 100
        assert command["name"] == command["name"].lower()
        assert len(command["name"]) <= 32
        brought = command["name"] in {"generate", "ask", "models", "show", "about", "help"}
        if command["name"] not in ("forget", "bind", "settings", "import"):
            assert command["contexts"] == ([0] if command["name"] in games | posts else [0, 1, 2] if brought else [0, 1])
            assert command["default_member_permissions"] is None
        assert command["integration_types"] == ([0, 1] if brought else [0])
