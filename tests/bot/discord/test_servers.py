"""Settings of a server: each menu, what each setting does, and users whom the operator blocked."""

from typing import Any

import discord
import pytest

from bot.errors import StoreError
from bot.faces.discord.bot import MynahBot
from data import accounts, jobs, models, servers, talk
from data.servers import ServerSettings
from tests.bot.discord.conftest import Stage, block, unlike
from tests.bot.discord.test_conversing import me
from tests.voices import add_version

REFUSAL = "Settings are for members with the permission Manage Server."
NO_CHOICE = "Choosing who speaks, and for whom, is for members with the permission Manage Server."
BLOCKED = "The operator does not let you use me."


async def here(stage: Stage) -> ServerSettings:
    """What is set in the server."""
    return await stage.app.store.read(servers.get, stage.channel.guild.id)


async def put(stage: Stage, **wanted: Any) -> None:
    """Set something without a menu."""
    await stage.app.store.write(servers.change, stage.channel.guild.id, "boss", **wanted)


async def opened(stage: Stage, name: str, who: Any = None):
    """Choose in the menu of what to change; return the message, and what came of the choice."""
    who = who or stage.boss
    page = (await who.slash(stage.channel, "settings")).response
    return page, await who.select(page, [name], custom_id="mynah:setting")


def restarted(stage: Stage):
    return stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))


def default_values(message: Any, custom_id: str) -> list[str]:
    """What is chosen in a menu that is shown."""
    (menu,) = [part for row in message.components for part in row["components"] if part["custom_id"] == custom_id]
    shown = menu.get("default_values", []) if "options" not in menu else []
    return [str(value["id"]) for value in shown] + [option["value"] for option in menu.get("options", []) if option.get("default")]


# ------------------------------------------------------------------- the menus


async def test_the_page_says_what_holds_and_is_private(stage: Stage):
    result = await stage.boss.slash(stage.channel, "settings")
    assert result.ephemeral
    assert result.response.content.split("\n") == [
        "**Channels**: all",
        "**Who may train**: everybody",
        "**Who may send to X**: members with the permission Manage Server",
        "**Trainings a day, a member**: 3, the operator's",
        "**Trainings a day, all members together**: 20, the operator's",
        "**Lines a minute, a member**: 40, the operator's",
        "**Answer chance**: I speak only when asked",
        "**Typed commands**: `!` is obeyed",
        "**Language of what all can see**: As Discord has it for this server",
        "**Profanity**: As the operator set it: No slurs",
    ]


async def test_the_fullest_page_has_room_in_a_message(stage: Stage):
    many = tuple(range(10**18, 10**18 + 25))
    await put(stage, profanity="none")
    for roles in (many, many[:24], many):
        await put(stage, channels=roles, train_roles=roles, post_roles=roles)
    page = (await stage.boss.slash(stage.channel, "settings")).response
    assert f"**Channels**: <#{10**18}>, " in page.content
    assert " and 17 more\n" in page.content
    assert "**Profanity**: No swearing at all" in page.content.split("\n")


async def test_settings_are_for_moderators(stage: Stage):
    """Asked in the command, and again by each menu: a page that was put up by `!settings` is for all to see."""
    assert "settings" not in stage.alice.available_commands(stage.channel)
    await stage.alice.send(stage.channel, "!settings")
    assert stage.history[-1].content == REFUSAL
    await stage.alice.send_dm("!settings")
    await stage.boss.send(stage.channel, "!settings")
    page = stage.history[-1]
    first = await stage.alice.select(page, ["language"], custom_id="mynah:setting")
    assert (first.ephemeral, first.response.content) == (True, REFUSAL)
    form = await stage.boss.select(page, ["numbers"], custom_id="mynah:setting")
    assert form.modal
    await stage.boss.select(page, ["language"], custom_id="mynah:setting")
    second = await stage.alice.select(page, ["ja"], custom_id="mynah:set:language")
    assert (second.ephemeral, second.response.content) == (True, REFUSAL)
    assert await here(stage) == ServerSettings()
    assert len(stage.env.errors) == 2


@pytest.mark.parametrize(
    ("name", "chosen", "value", "shown"),
    [
        ("prefix_commands", "off", False, "**Typed commands**: off, slash commands alone"),
        ("language", "ja", "ja", "**Language of what all can see**: 日本語"),
        ("profanity", "none", "none", "**Profanity**: No swearing at all"),
    ],
)
async def test_a_menu_of_words_also_after_a_restart(stage: Stage, name, chosen, value, shown):
    page, _ = await opened(stage, name)
    await restarted(stage)
    await stage.boss.select(page, [chosen], custom_id=f"mynah:set:{name}")
    assert getattr(await here(stage), name) == value
    assert shown in page.content.split("\n")
    assert "-# @\u200bboss set " in page.content
    again = await stage.boss.select(page, [name], custom_id="mynah:setting")
    assert default_values(again.response or page, f"mynah:set:{name}") == [chosen]
    (change,) = await stage.app.store.read(servers.changes, stage.channel.guild.id, 9)
    assert (change.name, change.value, change.changed_by) == (name, value, f"boss (Discord {stage.boss.id})")


async def test_a_level_goes_back_to_the_operators(stage: Stage):
    await put(stage, profanity="none")
    page, _ = await opened(stage, "profanity")
    await stage.boss.select(page, ["operator"], custom_id="mynah:set:profanity")
    assert (await here(stage)).profanity is None


async def test_no_level_laxer_than_the_operators_is_offered(stage: Stage):
    page, _ = await opened(stage, "profanity")
    (menu,) = [part for row in page.components for part in row["components"] if part["custom_id"] == "mynah:set:profanity"]
    assert [option["value"] for option in menu["options"]] == ["operator", "mild", "none"]


async def test_a_level_that_the_operator_forbade_meanwhile_is_refused(stage: Stage):
    page, _ = await opened(stage, "profanity")
    safety = stage.app.settings.safety.model_copy(update={"profanity": "none"})
    stage.app.settings = stage.app.settings.model_copy(update={"safety": safety})
    refused = await stage.boss.select(page, ["mild"], custom_id="mynah:set:profanity")
    assert refused.response.content == "The operator does not allow that much: choose a stricter level."
    assert (await here(stage)).profanity is None


@pytest.mark.parametrize("name", ["train_roles", "post_roles"])
async def test_a_menu_of_roles(stage: Stage, name):
    keepers, gulls = (stage.channel.guild.create_role(role) for role in ("Keepers", "Gulls"))
    page, _ = await opened(stage, name)
    await restarted(stage)
    await stage.boss.select(page, [gulls, keepers], custom_id=f"mynah:set:{name}")
    assert getattr(await here(stage), name) == tuple(sorted((keepers.id, gulls.id)))
    assert f"<@&{keepers.id}>, <@&{gulls.id}>" in page.content
    await put(stage, **{name: (5, gulls.id)})  # 5 was deleted since
    page, _ = await opened(stage, name)
    assert default_values(page, f"mynah:set:{name}") == [str(gulls.id)]
    await stage.boss.select(page, [], custom_id=f"mynah:set:{name}")
    assert getattr(await here(stage), name) == ()


async def test_a_menu_of_channels(stage: Stage):
    stairs = stage.channel.guild.create_text_channel("stairs")
    page, _ = await opened(stage, "channels")
    await restarted(stage)
    await stage.boss.select(page, [stairs], custom_id="mynah:set:channels")
    assert (await here(stage)).channels == (stairs.id,)
    await stage.boss.select(page, ["channels"], custom_id="mynah:setting")  # the page works where Mynah may not be used any more
    assert default_values(page, "mynah:set:channels") == [str(stairs.id)]
    await stage.boss.select(page, [], custom_id="mynah:set:channels")
    assert "**Channels**: all" in page.content


async def test_the_form_of_numbers_also_after_a_restart(stage: Stage):
    page, form = await opened(stage, "numbers")
    await restarted(stage)
    typed = {"trainings_a_day": "2", "trainings_a_day_server": "0", "lines_a_minute": "40", "answer_chance": "25 %"}
    await stage.boss.submit_modal(form, typed)
    assert await here(stage) == ServerSettings(trainings_a_day=2, trainings_a_day_server=0, lines_a_minute=40, answer_chance=0.25)
    assert "**Trainings a day, a member**: 2\n" in page.content
    assert "\n**Answer chance**: 25% of all messages in channels that have a voice\n" in page.content
    form = await stage.boss.select(page, ["numbers"], custom_id="mynah:setting")
    values = [row["component"].get("value") for row in form.modal["components"]]
    assert values == ["2", "0", "40", "0.25"]
    await stage.boss.submit_modal(form, dict.fromkeys(typed, ""))
    assert await here(stage) == ServerSettings()


async def test_two_forms_that_are_open_at_once_both_count(stage: Stage):
    _, first = await opened(stage, "numbers")
    _, second = await opened(stage, "numbers")
    await stage.boss.submit_modal(first, {"lines_a_minute": "7"})
    await stage.boss.submit_modal(second, {"lines_a_minute": "9"})
    assert (await here(stage)).lines_a_minute == 9


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"trainings_a_day": "4"}, "Trainings a day, a member: type a whole number from 0 to 3, which is the operator's, or nothing."),
        ({"lines_a_minute": "0"}, "Lines a minute, a member: type a whole number from 1 to 40, which is the operator's, or nothing."),
        ({"trainings_a_day": "-1"}, "Trainings a day, a member: type a whole number from 0 to 3, which is the operator's, or nothing."),
        ({"trainings_a_day": "two"}, "Trainings a day, a member: type a whole number from 0 to 3, which is the operator's, or nothing."),
        ({"answer_chance": "1.5"}, "Answer chance: type a number from 0 to 1, as in 0.25, or nothing."),
        ({"answer_chance": "often"}, "Answer chance: type a number from 0 to 1, as in 0.25, or nothing."),
    ],
)
async def test_a_number_that_cannot_be_is_refused_and_nothing_changes(stage: Stage, typed, words):
    _, form = await opened(stage, "numbers")
    refused = await stage.boss.submit_modal(form, {"trainings_a_day_server": "1"} | typed)
    assert (refused.ephemeral, refused.response.content) == (True, words)
    assert await here(stage) == ServerSettings()


async def test_the_form_of_who_moderates_no_more_changes_nothing(stage: Stage):
    _, form = await opened(stage, "numbers")
    for role in [role for role in stage.env.bot.get_guild(stage.channel.guild.id).roles if role.name == "Boss"]:
        await role.edit(permissions=discord.Permissions())
    refused = await stage.boss.submit_modal(form, {"lines_a_minute": "7"})
    assert refused.response.content == REFUSAL
    assert await here(stage) == ServerSettings()


# ---------------------------------------------------------------- the channels


async def test_elsewhere_mynah_is_not_used(stage: Stage):
    """Commands, typed ones, the message's menu and buttons say where; mentions get no word."""
    await stage.train()
    stairs = stage.channel.guild.create_text_channel("stairs")
    lines = (await stage.alice.slash(stage.channel, "generate", voice="keeper", count=1)).response
    message = await stage.alice.send(stage.channel, "The ferry is late again.")
    await stage.app.store.write(talk.bind, stage.channel.id, "keeper", "boss")
    await put(stage, channels=(stairs.id,), answer_chance=1.0)
    words = f"In this server I am used in <#{stairs.id}> alone."
    for result in (
        await stage.alice.slash(stage.channel, "generate", voice="keeper", count=1),
        await stage.alice.context_menu(stage.channel, "Answer as…", message),
        await stage.alice.click(lines, label="Again"),
    ):
        assert (result.ephemeral, result.response.content) == (True, words)
    await stage.alice.send(stage.channel, "!models")
    assert stage.history[-1].content == words
    before = len(stage.history)
    await stage.alice.send(stage.channel, f"{me(stage)} who are you?")
    await stage.alice.send(stage.channel, "go on", reply_to=stage.history[0])
    assert len(stage.history) == before
    there = await stage.alice.slash(stairs, "generate", voice="keeper", count=1)
    assert there.response.content.startswith("**keeper**")
    await stage.alice.send(stairs, "!models")
    assert "**keeper**" in stairs.history()[-1].content


async def test_the_button_that_forgets_is_closed_too(stage: Stage):
    await stage.train()
    question = (await stage.boss.slash(stage.channel, "forget", handle="keeper")).response
    await put(stage, channels=(5,))
    refused = await stage.boss.click(question, label="Forget it all")
    assert refused.response.content == "In this server I am used in <#5> alone."
    assert await stage.app.store.read(models.names, "", 9) == ["keeper"]


async def test_a_database_that_cannot_be_read_is_told_to_who_pressed_a_button(stage: Stage, monkeypatch):
    await stage.train()
    lines = (await stage.alice.slash(stage.channel, "generate", voice="keeper", count=1)).response

    def broken(db: Any, server: Any) -> ServerSettings:
        raise StoreError("The disk is full, so nothing was stored: free some space and try again.")

    monkeypatch.setattr(servers, "get", broken)
    for result in (await stage.alice.click(lines, label="Again"), await stage.alice.slash(stage.channel, "models")):
        assert result.ephemeral
        assert result.response.content.startswith("The disk is full")


async def test_moderators_are_not_locked_out(stage: Stage):
    await put(stage, channels=(5,))
    assert (await stage.boss.slash(stage.channel, "settings")).response.content.startswith("**Channels**: <#5>")
    await stage.boss.send(stage.channel, "!settings")
    assert stage.history[-1].content.startswith("**Channels**: <#5>")


async def test_threads_and_posts_in_forums_count_as_their_channel(stage: Stage):
    guild = stage.channel.guild
    forum, other = guild.create_forum_channel("logbook"), guild.create_text_channel("stairs")
    for parent in (stage.channel, other, forum):
        options = {"content": "A post."} if parent is forum else {"type": discord.ChannelType.public_thread}
        await stage.env.bot.get_channel(parent.id).create_thread(name="talk", **options)
    await put(stage, channels=(stage.channel.id, forum.id))
    for parent in (stage.channel, forum):
        (thread,) = parent.threads
        assert (await stage.alice.slash(thread, "models")).response.content.startswith("No voice is trained yet")
        await stage.alice.send(thread, "!models")
        assert thread.history()[-1].content.startswith("No voice is trained yet")
    (thread,) = other.threads
    refused = await stage.alice.slash(thread, "models")
    assert refused.response.content == f"In this server I am used in <#{stage.channel.id}>, <#{forum.id}> alone."
    await stage.alice.send(thread, "!models")
    assert thread.history()[-1].content == refused.response.content


# ------------------------------------------------------------------- the roles


async def test_who_may_train(stage: Stage):
    keepers = stage.channel.guild.create_role("Kee*pers")
    carol = stage.channel.guild.add_member(stage.env.create_user("carol"), roles=[keepers])
    await put(stage, train_roles=(keepers.id,))
    words = r"Training is for members with the role Kee\*pers in this server."
    refused = await stage.alice.slash(stage.channel, "train", handles="keeper")
    assert (refused.ephemeral, refused.response.content) == (True, words)
    await stage.alice.send(stage.channel, "!train keeper")
    assert stage.history[-1].content == words
    assert await stage.app.store.read(jobs.recent) == []
    for member, handle in ((carol, "keeper"), (stage.boss, "gull")):
        assert "is queued" in (await stage.asks(member, handle, slash=True)).response.content
    await put(stage, train_roles=(5,))
    gone = await stage.alice.slash(stage.channel, "train", handles="keeper gull")
    assert gone.response.content == "Training is for members with a role that is no more in this server."
    assert len(stage.env.errors) == 3


# ------------------------------------------------------------------ the quotas


async def test_a_server_has_less_and_the_others_what_the_operator_grants(stage: Stage):
    await stage.train()
    await put(stage, lines_a_minute=2, trainings_a_day=0)
    refused = await stage.alice.slash(stage.channel, "generate", voice="keeper", count=3)
    assert refused.followups[0].content == "You may ask for 2 lines within a minute: ask for fewer."
    asked = await stage.alice.slash(stage.channel, "train", handles="gull")
    refused = await stage.alice.click(asked.response, label="Train")
    assert refused.followups[0].content == "You may ask for 0 trainings within a day."
    island = stage.env.create_guild("Island")
    beach = island.create_text_channel("beach")
    again = island.add_member(stage.alice.user)
    assert (await again.slash(beach, "generate", voice="keeper", count=3)).response.content.count("•") == 3
    assert len(stage.env.errors) == 1


async def test_quotas_that_the_operator_lowered_meanwhile_hold(stage: Stage):
    await put(stage, trainings_a_day=3)
    quotas = stage.app.settings.quotas.model_copy(update={"trainings_a_day": 1})
    stage.app.settings = stage.app.settings.model_copy(update={"quotas": quotas})
    page, form = await opened(stage, "numbers")
    assert "**Trainings a day, a member**: 1\n" in page.content
    assert form.modal["components"][0]["component"]["value"] == "1"


# ------------------------------------------------------------------ the prefix


async def test_typed_commands_are_ignored_where_they_are_off(stage: Stage):
    """But help, which says so: silence alone would look like a defect."""
    on = await stage.alice.slash(stage.channel, "help")
    assert "Each is typed with `!` too" in on.response.content
    await put(stage, prefix_commands=False)
    await stage.alice.send(stage.channel, "!models")
    await stage.boss.send(stage.channel, "!settings")
    assert stage.history == []
    await stage.alice.send(stage.channel, "!help")
    assert stage.history[-1].content.endswith("Typed with `!` they are off in this server: begin with `/`.")
    assert (await stage.alice.slash(stage.channel, "models")).response.content.startswith("No voice is trained yet")
    await stage.alice.send_dm("!models")
    said = [message.content for message in stage.alice.user.dm_channel.history() if message.author.id == stage.env.bot.user.id]
    assert said[-1].startswith("No voice is trained yet")


# --------------------------------------------------------------- the profanity


async def test_profanity_is_stricter_in_one_server(stage: Stage):
    await stage.train()
    stage.speaker.lines = ["well damn it all", *(unlike(number, 2) for number in range(40))]
    before = await stage.alice.slash(stage.channel, "generate", voice="keeper", count=1)
    assert before.response.content == "**keeper**: well damn it all"
    await put(stage, profanity="none")
    after = await stage.alice.slash(stage.channel, "generate", voice="keeper", count=1)
    assert after.response.content == f"**keeper**: {unlike(0, 2)}"
    refused = await stage.alice.slash(stage.channel, "generate", voice="keeper", prompt="damn")
    assert "That prompt holds a swear word" in refused.followups[0].content
    assert len(stage.env.errors) == 1


async def test_a_card_shows_no_sample_that_may_not_be_said_here(stage: Stage):
    wanted = await stage.app.training.request(["keeper"], by="operator")
    (await stage.run()).done(samples=["well damn it all", "the lamp is lit"])
    await stage.app.training.result(wanted.job.id)
    shown = await stage.alice.slash(stage.channel, "show", voice="keeper")
    assert "damn" in shown.response.embeds[0].description
    await put(stage, profanity="none")
    shown = await stage.alice.slash(stage.channel, "show", voice="keeper")
    assert shown.response.embeds[0].description == "• the lamp is lit"


async def test_a_training_shows_no_sample_that_may_not_be_said_here(stage: Stage):
    await put(stage, profanity="none")
    await stage.asks(stage.alice, "keeper", slash=True)
    (await stage.run()).done(samples=["well damn it all", "the lamp is lit"])
    await stage.app.training.ended(1)
    await stage.env.advance_time(6)
    (card,) = [message.embeds[0] for message in stage.history if message.embeds]
    assert card.description == "• the lamp is lit"


# ------------------------------------------------------------ the answer chance


@pytest.mark.parametrize(("chance", "drawn", "answers"), [(0.0, 0.0, 0), (1.0, 0.999, 1), (0.5, 0.49, 1), (0.5, 0.51, 0)])
async def test_a_bound_voice_answers_now_and_then(stage: Stage, monkeypatch, chance, drawn, answers):
    monkeypatch.setattr("bot.faces.discord.conversing.random.random", lambda: drawn)
    await stage.train()
    await put(stage, answer_chance=chance)
    await stage.alice.send(stage.channel, "good evening")
    assert stage.history == []  # no voice is bound here
    await stage.app.store.write(talk.bind, stage.channel.id, "keeper", "boss")
    await stage.alice.send(stage.channel, "good evening")
    await stage.alice.send(stage.channel, "!somebody elses command")
    assert len(stage.history) == answers
    assert all(message.content.startswith("**keeper**: ") for message in stage.history)


async def test_nobody_is_told_why_an_answer_that_he_did_not_ask_for_does_not_come(stage: Stage):
    await stage.train()
    await stage.app.store.write(talk.bind, stage.channel.id, "keeper", "boss")
    await put(stage, answer_chance=1.0, lines_a_minute=1)
    await stage.alice.send(stage.channel, "good evening")
    await stage.alice.send(stage.channel, "good evening again")
    assert len(stage.history) == 1
    await stage.alice.send(stage.channel, f"{me(stage)} and now?")
    assert stage.history[-1].content.startswith("You may ask for 1 lines within a minute: ask again in ")


# ------------------------------------------------------------------ the blocked


async def test_a_blocked_user_is_refused_in_private_and_his_messages_are_ignored(stage: Stage):
    """Whoever is blocked cannot have the bot write where others read it: a command or a button is told, a message is not."""
    await stage.train()
    await stage.app.store.write(talk.bind, stage.channel.id, "keeper", "boss")
    await put(stage, answer_chance=1.0)
    lines = (await stage.bob.slash(stage.channel, "generate", voice="keeper", count=1)).response
    page, form = await opened(stage, "numbers")
    block(stage, stage.alice, stage.boss)
    message = await stage.bob.send(stage.channel, "!models")
    before = len(stage.history)
    for result in (
        await stage.alice.slash(stage.channel, "models"),
        await stage.alice.user.slash("models"),
        await stage.alice.click(lines, label="Again"),
        await stage.alice.context_menu(stage.channel, "Answer as…", message),
        await stage.boss.slash(stage.channel, "settings"),
        await stage.boss.submit_modal(form, {"lines_a_minute": "7"}),
        await stage.boss.select(page, ["language"], custom_id="mynah:setting"),
    ):
        assert (result.ephemeral or result.response.content == BLOCKED, result.response.content) == (True, BLOCKED)
    assert await stage.alice.autocomplete(stage.channel, "show", "voice", "kee") == []
    for words in ("!models", f"{me(stage)} who are you?", "good evening"):
        await stage.alice.send(stage.channel, words)
    await stage.alice.send_dm("hello")
    assert len(stage.history) == before
    assert (await here(stage)).lines_a_minute is None
    await stage.bob.send(stage.channel, "!models")
    assert len(stage.history) == before + 1


@pytest.mark.parametrize("served", [True, False])
async def test_the_operator_may_name_the_servers_that_are_served(stage: Stage, served):
    await stage.train()
    chosen = {stage.channel.guild.id} if served else {1}
    discord_ = stage.app.settings.discord.model_copy(update={"servers": frozenset(chosen)})
    stage.app.settings = stage.app.settings.model_copy(update={"discord": discord_})
    before = len(stage.history)
    shown = await stage.boss.slash(stage.channel, "forget", handle="keeper")
    typed = await stage.alice.send(stage.channel, "!models")
    asked = await stage.alice.send(stage.channel, f"{me(stage)} who are you?")
    assert typed
    assert asked
    if served:
        assert shown.response.content.startswith("Forget **keeper**")
        assert len(stage.history) == before + 2
        return
    assert shown.ephemeral
    assert shown.response.content == "The operator does not let me serve this server."
    assert await stage.alice.autocomplete(stage.channel, "show", "voice", "kee") == []
    assert len(stage.history) == before
    assert "keeper" in (await stage.alice.user.slash("models")).response.content  # a private talk is in no server


async def test_a_voice_of_a_blocked_handle_speaks_no_more(stage: Stage):
    await stage.train()
    consent = stage.app.settings.consent.model_copy(update={"blocked_handles": frozenset({"keeper"})})
    stage.app.speaking._settings = stage.app.settings.model_copy(update={"consent": consent})
    refused = await stage.alice.slash(stage.channel, "generate", voice="keeper")
    assert refused.followups[-1].content == "@\u200bkeeper is blocked by the operator: no voice made of it speaks."
    assert len(stage.env.errors) == 1


async def test_a_blocked_handle_is_not_trained(stage: Stage):
    consent = stage.app.settings.consent.model_copy(update={"blocked_handles": frozenset({"gull"})})
    stage.app.settings = stage.app.training._settings = stage.app.settings.model_copy(update={"consent": consent})
    refused = await stage.alice.slash(stage.channel, "train", handles="keeper @Gull")
    assert refused.ephemeral
    assert refused.response.content == "@\u200bgull is blocked by the operator: nothing of it may be imported or trained."
    assert "is queued" in (await stage.asks(stage.alice, "keeper", slash=True)).response.content
    assert len(stage.env.errors) == 1


# ----------------------------------------------------------------- the versions


async def test_moderators_choose_the_version_that_speaks(stage: Stage):
    """By a menu under the card, also after a restart; nobody else, and not where a voice has one version."""
    await stage.app.store.write(add_version, ("ann",))
    assert (
        len((await stage.boss.slash(stage.channel, "show", voice="ann")).response.components) == 2
    )  # who may use it, and the form; not the versions
    await stage.app.store.write(add_version, ("ann",))
    assert (await stage.alice.slash(stage.channel, "show", voice="ann")).response.components == []
    card = (await stage.boss.slash(stage.channel, "show", voice="ann")).response
    (menu,) = card.components[0]["components"]
    assert [(option["value"], option.get("default", False)) for option in menu["options"]] == [("newest", True), ("2", False), ("1", False)]
    await restarted(stage)
    refused = await stage.alice.select(card, ["1"], custom_id=menu["custom_id"])
    assert (refused.ephemeral, refused.response.content) == (True, NO_CHOICE)
    await stage.boss.select(card, ["1"], custom_id=menu["custom_id"])
    assert card.content == "**ann** speaks with version 1 from now on, as boss chose."
    assert (await stage.app.store.read(models.current, "ann")).version == 1
    assert default_values(card, menu["custom_id"]) == ["1"]
    await stage.boss.select(card, ["newest"], custom_id=menu["custom_id"])
    assert card.content == "**ann** speaks with its newest version from now on, as boss chose."
    assert (await stage.app.store.read(models.current, "ann")).version == 2
    await stage.app.store.write(accounts.forget, "ann")
    gone = await stage.boss.select(card, ["1"], custom_id=menu["custom_id"])
    assert gone.response.content == "That voice was forgotten."


async def test_moderators_choose_who_may_use_a_voice(stage: Stage):
    """In every way of having it speak, in their server alone; they may themselves."""
    keepers = stage.channel.guild.create_role("Keepers")
    carol = stage.channel.guild.add_member(stage.env.create_user("carol"), roles=[keepers])
    await stage.train()
    lines = (await stage.alice.slash(stage.channel, "generate", voice="keeper", count=1)).response
    message = await stage.bob.send(stage.channel, "The ferry is late again.")
    card = (await stage.boss.slash(stage.channel, "show", voice="keeper")).response
    await restarted(stage)
    menu = await stage.alice.context_menu(stage.channel, "Answer as…", message)
    refused = await stage.alice.select(card, [keepers], custom_id="mynah:users:1")
    assert (refused.ephemeral, refused.response.content) == (True, NO_CHOICE)
    await stage.boss.select(card, [keepers], custom_id="mynah:users:1")
    assert card.content == f"**keeper** is for members with <@&{keepers.id}> in this server from now on, as boss chose."
    assert default_values(card, "mynah:users:1") == [str(keepers.id)]
    words = "The voice keeper is for members with the role Keepers in this server."
    for result in (
        await stage.alice.slash(stage.channel, "generate", voice="@Keeper", count=1),
        await stage.alice.slash(stage.channel, "ask", voice="keeper", message="Is it dark?"),
        await stage.alice.click(lines, label="Again"),
    ):
        assert [(told.ephemeral, told.content) for told in result.followups] == [(True, words)]
    assert (await stage.alice.select(menu.response, ["keeper"])).response.content == words
    await stage.alice.send(stage.channel, "go on", reply_to=lines)
    assert stage.history[-1].content == words
    for who in (carol, stage.boss):
        assert (await who.slash(stage.channel, "generate", voice="keeper", count=1)).response.content.startswith("**keeper**: ")
    assert await stage.app.store.read(servers.voice_roles, 5, "keeper") == ()
    await stage.boss.select(card, [], custom_id="mynah:users:1")
    assert card.content == "**keeper** is for everybody in this server from now on, as boss chose."
    assert (await stage.alice.slash(stage.channel, "generate", voice="keeper", count=1)).response.content.startswith("**keeper**: ")
    assert len(stage.env.errors) == 2
