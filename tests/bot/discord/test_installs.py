"""Commands that a member installed for himself, in places where the bot is no member; against a Discord on the loopback."""

import discord
import pytest
import pytest_asyncio

from data import outbox
from tests.bot.discord.conftest import mynah
from tests.bot.discord.test_approving import NOBODY
from tests.bot.discord.test_face import _discord_is_elsewhere, start, stop
from tests.loopback_discord import LoopbackDiscord, loopback_discord

__all__ = ["_discord_is_elsewhere", "loopback_discord"]
PORTABLE = {"about", "ask", "generate", "help", "models", "show", "Answer as…"}


@pytest_asyncio.fixture
async def app(tmp_path, loopback_discord):
    async with mynah(tmp_path, api_url=loopback_discord.url) as running:
        wanted = await running.training.request(["keeper"], by="operator")
        while not running.training._lanes[0].executor.runs:
            await running.store.changed()
        running.training._lanes[0].executor.runs[0].done()
        await running.training.result(wanted.job.id)
        yield running


@pytest_asyncio.fixture
async def server(app, loopback_discord: LoopbackDiscord):
    task = start(app, loopback_discord)
    await loopback_discord.until(lambda: loopback_discord.online and loopback_discord.commands)
    yield loopback_discord
    await stop(task)


async def test_what_answers_its_interaction_alone_can_be_installed_by_a_member(server):
    declared = {command["name"]: (command["integration_types"], command["contexts"]) for command in server.commands}
    assert {name for name, (installs, _) in declared.items() if 1 in installs} == PORTABLE
    for name, (installs, contexts) in declared.items():
        assert 0 in installs, name
        assert sorted(contexts) == [0, 1, 2] if name in PORTABLE else 2 not in contexts, name


@pytest.mark.parametrize("abroad", ["server", "talk"])
@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("generate", {"voice": "keeper", "count": 1}, "**keeper**: line "),
        ("ask", {"voice": "keeper", "message": "Is it dark?"}, "**keeper**: line "),
        ("models", {}, "keeper"),
        ("help", {}, "/generate"),
        ("about", {}, "learns to write like an account"),
    ],
)
async def test_each_answers_where_the_bot_is_no_member(server, abroad, name, options, words):
    server.abroad = abroad
    answer = await server.answer(await server.slash(name, **options))
    assert words in answer["content"]
    assert not [request for request in server.requests if server.foreign_channel_id in request.path]


@pytest.mark.parametrize(("abroad", "label"), [("server", "もう一度"), ("talk", "Again")])
async def test_what_all_can_see_is_in_the_language_of_a_server_that_the_bot_is_not_in(server, abroad, label):
    server.abroad, server.server_locale = abroad, "ja"
    answer = await server.answer(await server.slash("generate", voice="keeper", count=1))
    assert answer["components"][0]["components"][0]["label"] == label


@pytest.mark.parametrize("abroad", ["", "server", "talk"])
async def test_the_card_comes_with_menus_for_moderators_of_a_server_that_it_is_in_alone(server, abroad):
    server.abroad = abroad
    server.member_permissions = str(discord.Permissions.all().value)
    token = await server.slash("show", voice="keeper")
    card = await server.until(lambda: (found := server.messages.get(server._originals.get(token, ""))) and found["embeds"] and found)
    assert bool(card["components"]) is (abroad == "")


@pytest.mark.parametrize("abroad", ["server", "talk"])
async def test_buttons_work_there_too(server, abroad):
    server.abroad = abroad
    first = await server.answer(await server.slash("generate", voice="keeper", count=1))
    await server.press(first, "Again")
    again = await server.message(lambda m: m["content"].startswith("**keeper**: ") and m["id"] != first["id"])
    assert again["content"] != first["content"]


@pytest.mark.parametrize("abroad", ["server", "talk"])
async def test_nobody_sends_to_x_from_there(server, app, abroad):
    server.abroad = abroad
    first = await server.answer(await server.slash("generate", voice="keeper", count=1))
    button = first["components"][0]["components"][1]  # in its place, since without X there is none that sends
    button.update(label="Send to X", custom_id=button["custom_id"].replace("more", "post"))
    await server.press(first, "Send to X")
    await server.message(lambda m: m["content"] == NOBODY)
    assert await app.store.read(outbox.listed) == []
