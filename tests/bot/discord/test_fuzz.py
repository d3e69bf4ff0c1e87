"""Whatever members type or choose is answered or ignored; none of it is a defect, whose sentence would have a number."""

import random

import discord
import pytest
from discord import app_commands
from structlog.testing import capture_logs

from bot.faces.discord.bot import MynahBot
from tests.bot.discord.conftest import Stage
from tests.hostile import PIECES, hostile

#: What an option could also mean, so that more than the first check is reached.
WORDS = ["keeper", "gull", "nobody", "keeper gull", "9:00", "every 6h", "*/5 * * * *", "UTC", "1", "-1", "9" * 30, "last", "x" * 1500]
GO_ON = {"quiz", "duel"}  # by themselves


def slashes(bot: MynahBot) -> dict[str, list[str]]:
    """Return the slash commands that words can be put into, with the options that take any."""
    found = {}
    for command in bot.tree.walk_commands():
        if isinstance(command, app_commands.Command) and command.qualified_name not in GO_ON:
            parameters = command.parameters  # new ones at each call
            takes = [one for one in parameters if one.type is discord.AppCommandOptionType.string and not one.choices]
            if all(one in takes for one in parameters if one.required):
                found[command.qualified_name] = [one.display_name for one in takes]
    return found


def words(draw: random.Random) -> str:
    if draw.random() < 0.1:
        return draw.choice(PIECES) * draw.choice([20, 400])
    return draw.choice([draw.choice(WORDS), hostile(draw, 3), f"{draw.choice(WORDS)} {hostile(draw, 2)}"])


async def said(stage: Stage, draw: random.Random, count: int) -> None:
    """Have two members type and choose so many things, of which none may be a defect."""
    await stage.train()
    commands = sorted({command.qualified_name for command in stage.env.bot.walk_commands()} - GO_ON)
    slash = slashes(stage.env.bot)
    assert slash.keys() >= {"train", "generate", "ask", "show", "bind", "forget", "schedule add"}, slash
    with capture_logs() as logged:
        for number in range(count):
            if number % 3:
                member = draw.choice([stage.bob, stage.boss])
                line = f"!{draw.choice([*commands, hostile(draw, 1)])} {' '.join(words(draw) for _ in range(draw.randint(0, 4)))}"
                await member.send(stage.channel, line.encode("utf-8", "replace").decode().replace("\0", "")[:2000])
            else:
                name = draw.choice(sorted(slash))
                options = {option: words(draw).encode("utf-8", "replace").decode()[:1000] or "x" for option in slash[name]}
                await stage.boss.slash(stage.channel, name, **options)
    assert len(stage.env.errors) <= count  # refusals, which simcord wants to be looked at
    assert [event for event in logged if event["log_level"] in ("error", "critical")] == []
    assert not [message.content for message in stage.history if "Something went wrong" in message.content]
    await stage.bob.send(stage.channel, "!help")
    assert "train" in stage.history[-1].content


async def test_a_few_things_that_members_say(stage: Stage):
    await said(stage, random.Random(1), 24)


@pytest.mark.long
async def test_fifteen_hundred_things_that_members_say(stage: Stage):
    await said(stage, random.Random(), 1_500)
