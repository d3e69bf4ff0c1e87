"""What real flows leave in the log: who and where, no token, and nothing that anybody wrote or a voice said."""

import json

import pytest

from bot.log import configure_logging
from bot.services.speaking import Speaking
from tests.bot.discord.conftest import Stage

TOKEN = "MTIzNDU2Nzg5.loopback.token-of-the-test"
PRIVATE = ("aubergine", "wheelbarrow", "xylophone", "number 3: the", "aaaaaaaaa")
"""A prompt, a message, an answer's message, a stored post and a line."""


@pytest.fixture
def logged(tmp_path):
    """The file that is logged to, in JSON, from info on."""
    configure_logging(tmp_path / "mynah.log", secrets=[TOKEN])
    return tmp_path / "mynah.log"


async def test_prompts_lines_and_posts_stay_out_of_the_log(stage: Stage, logged, monkeypatch):
    await stage.train()
    await stage.asks(stage.alice, "gull")
    (await stage.run(2)).done()
    await stage.app.training.result(2)
    await stage.alice.slash(stage.channel, "generate", voice="keeper", prompt="aubergine", count=1)
    await stage.alice.slash(stage.channel, "ask", voice="keeper", message="a wheelbarrow, perhaps?")
    await stage.alice.send(stage.channel, "!generate keeper xylophone")
    await stage.alice.slash(stage.channel, "generate", voice="nobody-aubergine", prompt="aubergine")

    async def broken(*_):
        raise RuntimeError("its sockets")

    monkeypatch.setattr(Speaking, "_drawn", broken)
    await stage.alice.slash(stage.channel, "generate", voice="keeper", prompt="aubergine", count=1)
    said = logged.read_text()
    lines = [json.loads(line) for line in said.splitlines()]
    assert [word for word in (*PRIVATE, TOKEN) if word in said] == []
    stored = next(line for line in lines if line["event"] == "model stored")
    assert (stored["voice"], stored["job"], stored["server"]) == ("keeper", 1, None)  # which nobody asked for in a server
    asked = next(line for line in lines if line["event"] == "training requested" and line["voice"] == "gull")
    trained = next(line for line in lines if line["event"] == "model stored" and line["voice"] == "gull")
    assert asked["server"] == trained["server"] == stage.channel.guild.id
    failed = next(line for line in lines if line["event"] == "speaking failed")
    assert (failed["voice"], "RuntimeError" in failed["exception"]) == ("keeper", True)
    assert failed["request"]
    assert len(stage.env.errors) == 2  # the refusals, which are told and not logged
