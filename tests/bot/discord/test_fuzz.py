"""Whatever members type or choose is answered or ignored; none of it is a defect, whose sentence would have a number."""

import random

import pytest
from structlog.testing import capture_logs

from tests.bot.discord.conftest import Stage
from tests.hostile import PIECES, hostile

#: What an option could also mean, so that more than the first check is reached.
WORDS = ["keeper", "gull", "nobody", "keeper gull", "9:00", "every 6h", "*/5 * * * *", "UTC", "1", "-1", "9" * 30, "last", "x" * 1500]
SLASH = {
    "train": ("handles",),
    "generate": ("voice", "prompt"),
    "ask": ("voice", "message"),
    "show": ("voice",),
    "bind": ("voice",),
    "forget": ("handle",),
    "schedule add": ("name", "voice", "times", "timezone", "jitter", "quiet"),
    "schedule show": ("name",),
}


def words(draw: random.Random) -> str:
    if draw.random() < 0.1:
        return draw.choice(PIECES) * draw.choice([20, 400])
    return draw.choice([draw.choice(WORDS), hostile(draw, 3), f"{draw.choice(WORDS)} {hostile(draw, 2)}"])


async def said(stage: Stage, draw: random.Random, count: int) -> None:
    """Have two members type and choose so many things, of which none may be a defect."""
    await stage.train()
    commands = sorted({command.qualified_name for command in stage.env.bot.walk_commands()} - {"quiz", "duel"})  # which go on by themselves
    with capture_logs() as logged:
        for number in range(count):
            if number % 3:
                member = draw.choice([stage.bob, stage.boss])
                line = f"!{draw.choice([*commands, hostile(draw, 1)])} {' '.join(words(draw) for _ in range(draw.randint(0, 4)))}"
                await member.send(stage.channel, line.encode("utf-8", "replace").decode().replace("\0", "")[:2000])
            else:
                name = draw.choice(sorted(SLASH))
                options = {option: words(draw).encode("utf-8", "replace").decode()[:1000] or "x" for option in SLASH[name]}
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
