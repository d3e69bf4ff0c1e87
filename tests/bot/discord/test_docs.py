"""docs/discord.md and README.md say what the code asks Discord for."""

import re

import pytest

from bot.faces.discord.bot import COGS, PERMISSIONS, SCOPES, _intents
from tests.conftest import ROOT

GUIDE = (ROOT / "docs/discord.md").read_text()


@pytest.mark.parametrize("text", [GUIDE, (ROOT / "README.md").read_text()])
def test_the_link_asks_for_what_the_code_needs(text):
    (link,) = re.findall(r"oauth2/authorize\?client_id=APPLICATION_ID&scope=(\S+)&permissions=(\d+)", text)
    assert link == ("+".join(SCOPES), str(PERMISSIONS.value))


def test_each_permission_is_named_with_its_reason():
    named = {name for name, reason in re.findall(r"^\| ([A-Z][A-Za-z ]+) \| (\w.+) \|$", GUIDE, re.MULTILINE)}
    wanted = {
        name.replace("view_channel", "view_channels").replace("_", " ").title().replace(" In ", " in ")
        for name, granted in PERMISSIONS
        if granted
    }
    wanted = {"View Channels" if name == "Read Messages" else name for name in wanted}
    assert named == wanted


def test_the_only_privileged_intent_is_that_of_typed_commands():
    assert not any(getattr(_intents(prefix_commands=False), name) for name in ("message_content", "members", "presences"))
    granted = _intents(prefix_commands=True)
    assert (granted.message_content, granted.members, granted.presences) == (True, False, False)


def test_every_command_is_in_the_guide():
    """And none that is not there."""
    told = set(re.findall(r"`/([a-z]+)[` ]", GUIDE))
    assert told == {command.name for cog in COGS for command in cog.__cog_commands__ if command.parent is None}
