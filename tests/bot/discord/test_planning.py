"""/schedule: made, listed, shown, paused, resumed, run and removed by those who decide what is posted, and by nobody else."""

import re

import discord
import pytest

from bot.errors import BadRequestError
from bot.faces.discord.bot import MynahBot
from bot.faces.discord.planning import _need_reach, when
from bot.services.scheduling import Spec
from data import schedules, servers
from data.schedules import Schedule
from tests.bot.discord.conftest import Stage, approve_in
from tests.bot.discord.test_approving import ELSEWHERE, MODERATORS, NOBODY, at_desk, ready, said  # noqa: F401 - a fixture

MOMENT = re.compile(r"<t:\d+:f> \(<t:\d+:R>\)")


async def add(stage: Stage, member=None, **wanted):
    options = {"name": "mornings", "voice": "keeper", "times": "9:00, 18:30"} | wanted
    return await (member or stage.boss).slash(stage.channel, "schedule add", **options)


async def stored(stage: Stage) -> Schedule:
    return await stage.app.store.read(schedules.get, "mornings")


async def none_is_stored(stage: Stage) -> bool:
    return await stage.app.store.read(schedules.listed) == []


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("every 6h", {"every": "6h"}),
        (" Every  90 minutes", {"every": "90 minutes"}),
        ("every day", {"every": "1 day"}),
        ("0 9 * * 1-5", {"cron": "0 9 * * 1-5"}),
        ("*/15  8-20 * * mon,fri", {"cron": "*/15  8-20 * * mon,fri"}),
        ("9:00, 18:30", {"times": "9:00, 18:30"}),
        ("mon-fri 9am, sat 10:30", {"times": "mon-fri 9am, sat 10:30"}),
        ("every day at 9:00", {"times": "every day at 9:00"}),
        ("9 10 11 12 13:00", {"times": "9 10 11 12 13:00"}),
        ("9 10 11 noon 13", {"times": "9 10 11 noon 13"}),
        ("6h", {"times": "6h"}),
    ],
)
def test_one_option_takes_spans_cron_lines_and_times_of_the_day(typed, read):
    assert when(typed) == read


async def test_a_schedule_is_made_with_all_that_can_be_said_of_it(ready: Stage):  # noqa: F811
    made = await add(ready, timezone="Europe/Madrid", jitter="20m", quiet="22:00-07:00", max_a_day=2)
    assert made.ephemeral
    first, row, times = made.response.content.split("\n")
    assert first == "The schedule is made."
    assert row == "• **mornings** · keeper · 09:00, 18:30 (Europe\\/Madrid) → X"
    assert len(MOMENT.findall(times)) == 3
    kept = await stored(ready)
    assert (kept.kind, kept.expression, kept.timezone) == ("times", "09:00, 18:30", "Europe/Madrid")
    assert (kept.jitter, kept.quiet, kept.max_a_day, kept.operator) == (1200, "22:00-07:00", 2, False)
    assert (kept.server, kept.account, kept.channel) == (ready.channel.guild.id, "default", None)
    assert kept.created_by.startswith("boss (Discord ")


async def test_spans_and_cron_lines_and_the_prefix_will_do(ready: Stage):  # noqa: F811
    await ready.boss.send(ready.channel, '!schedule add often keeper "every 90m"')
    assert "· keeper · every 1h30m (UTC) → X" in ready.history[-1].content
    made = await add(ready, times="0 9 * * 1-5")
    assert r"· 0 9 \* \* 1\-5 (UTC)" in made.response.content
    await ready.boss.send(ready.channel, "!schedule")
    assert ready.history[-1].content.count("•") == 2
    await ready.boss.send(ready.channel, "!schedule list")
    assert ready.history[-1].content.count("•") == 2


async def test_a_schedule_can_post_in_a_channel_of_the_server(ready: Stage):  # noqa: F811
    fog = ready.channel.guild.create_text_channel("fog")
    made = await add(ready, channel=fog)
    assert f"→ <#{fog.id}>" in made.response.content
    kept = await stored(ready)
    assert (kept.account, kept.channel) == (None, fog.id)


async def test_a_channel_in_which_the_bot_may_not_write_is_refused(ready: Stage):  # noqa: F811
    guild = ready.channel.guild
    fog = guild.create_text_channel("fog")
    server = ready.env.backend.get_guild(guild.id)
    (role,) = [role for role in server.roles.values() if role.name == ready.env.bot.user.name]
    role.permissions &= ~discord.Permissions(send_messages=True, administrator=True).value
    server.roles[guild.id].permissions &= ~discord.Permissions(send_messages=True).value
    await ready.env.restart_bot(MynahBot(ready.app, prefix_commands=True))
    refused = await add(ready, channel=fog)
    assert said(refused) == "I may not write in that channel: ask a moderator to give me the permission Send Messages."
    assert await none_is_stored(ready)
    assert len(ready.env.errors) == 1


async def test_nobody_has_a_voice_write_where_he_may_not_write_himself(ready: Stage):  # noqa: F811
    guild = ready.channel.guild
    fog, keepers = guild.create_text_channel("fog"), guild.create_role("Keepers")
    ready.env.backend.get_guild(guild.id).roles[guild.id].permissions &= ~discord.Permissions(send_messages=True).value
    await ready.app.store.write(servers.change, guild.id, "boss", post_roles=(keepers.id,))
    await ready.env.restart_bot(MynahBot(ready.app, prefix_commands=True))
    carol = guild.add_member(ready.env.create_user("carol"), roles=[keepers])
    refused = await carol.slash(ready.channel, "schedule add", name="mornings", voice="keeper", times="9:00", channel=fog)
    assert said(refused) == "You may not write in that channel yourself: you lack the permission Send Messages."
    assert await none_is_stored(ready)
    assert len(ready.env.errors) == 1


async def test_a_channel_of_another_server_is_refused(ready: Stage):  # noqa: F811
    beach = ready.env.create_guild("Island").create_text_channel("beach")
    await ready.boss.send(ready.channel, f'!schedule add mornings keeper 9:00 UTC "" "" 2 "" {beach.id}')
    assert ready.history[-1].content.startswith("Type it as: `!schedule add name voice times ")
    assert await none_is_stored(ready)
    with pytest.raises(BadRequestError, match="That channel is not in this server"):
        _need_reach(ready.env.bot.get_channel(beach.id), ready.env.bot.get_guild(ready.channel.guild.id), None)
    assert len(ready.env.errors) == 1


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"times": "soon"}, "neither a day nor a time"),
        ({"times": "every 3 seconds"}, "is not a span of 60 seconds to 366 days"),
        ({"times": "61 9 * * *"}, "The cron line"),
        ({"timezone": "Mars"}, "There is no time zone 'Mars'"),
        ({"quiet": "never"}, "are no quiet hours"),
        ({"jitter": "much"}, "is not a span"),
        ({"voice": "nobody"}, "No voice named nobody is trained"),
        ({"name": "no name"}, "A schedule's name has 1 to 32 letters"),
        ({"account": "news"}, "There is no X account news"),
    ],
)
async def test_what_is_off_is_refused_in_a_sentence_and_nothing_is_stored(ready: Stage, wanted, why):  # noqa: F811
    refused = await add(ready, **wanted)
    assert refused.ephemeral
    assert why in said(refused).replace("\\", "")
    assert await none_is_stored(ready)
    assert len(ready.env.errors) == 1


async def test_an_account_and_a_channel_are_too_much(ready: Stage):  # noqa: F811
    refused = await add(ready, account="default", channel=ready.channel)
    assert said(refused) == "A post goes to an account on X or to a channel in Discord, not to both: name one of them."
    await add(ready)
    twice = await add(ready)
    assert said(twice).startswith("There is a schedule mornings already")
    assert len(ready.env.errors) == 2


async def test_a_name_that_posts_without_approval_is_the_operators(ready: Stage):  # noqa: F811
    ready.app.scheduling._settings = ready.app.settings.x.model_copy(update={"unattended": frozenset({"mornings"})})
    assert said(await add(ready)) == "The name mornings is kept for the operator: take another."
    assert await none_is_stored(ready)
    assert len(ready.env.errors) == 1


async def test_a_voice_that_is_for_some_roles_alone_is_for_them_here_too(ready: Stage):  # noqa: F811
    guild = ready.channel.guild
    keepers, bards = guild.create_role("Keepers"), guild.create_role("Bards")
    carol = guild.add_member(ready.env.create_user("carol"), roles=[keepers])
    await ready.app.store.write(servers.change, guild.id, "boss", post_roles=(keepers.id,))
    await ready.app.store.write(servers.set_voice_roles, guild.id, "keeper", [bards.id], "boss")
    assert said(await add(ready, carol)) == "The voice keeper is for members with the role Bards in this server."
    assert len(ready.env.errors) == 1


async def test_list_and_show(ready: Stage):  # noqa: F811
    empty = await ready.boss.slash(ready.channel, "schedule list")
    assert (empty.ephemeral, empty.response.content) == (True, "There is no schedule yet: `/schedule add` makes one.")
    await add(ready, jitter="20m", quiet="22:00-07:00", max_a_day=2)
    listed = (await ready.boss.slash(ready.channel, "schedule list")).response.content
    assert listed.startswith("• **mornings** · keeper · 09:00, 18:30 (UTC) → X\n")
    assert len(MOMENT.findall(listed)) == 3
    shown = (await ready.boss.slash(ready.channel, "schedule show", name="mornings")).response.content
    for fact in (
        "made by @\u200bboss on 20",
        "up to 20m later",
        "nothing from 22:00 to 07:00",
        "2 a day at most",
        "each post is approved first",
    ):
        assert f"-# {fact}" in shown
    refused = await ready.boss.slash(ready.channel, "schedule show", name="nights")
    assert said(refused) == "There is no schedule nights: `/schedule list` lists them."
    assert len(ready.env.errors) == 1


async def test_pause_resume_and_remove(ready: Stage):  # noqa: F811
    await add(ready)
    stopped = await ready.boss.slash(ready.channel, "schedule pause", name="mornings")
    assert stopped.response.content.endswith(":R> by @\u200bboss")
    assert (await stored(ready)).paused_at
    again = await ready.boss.slash(ready.channel, "schedule resume", name="mornings")
    assert len(MOMENT.findall(again.response.content)) == 3
    refused = await ready.boss.slash(ready.channel, "schedule resume", name="mornings")
    assert said(refused) == "The schedule mornings is not paused."
    gone = await ready.boss.slash(ready.channel, "schedule remove", name="Mornings")
    assert gone.response.content == "The schedule **mornings** is gone; its posts stay."
    assert await none_is_stored(ready)
    for name in ("pause", "resume", "run", "remove"):
        refused = await ready.boss.slash(ready.channel, f"schedule {name}", name="mornings")
        assert said(refused) == "There is no schedule mornings: `/schedule list` lists them."
    assert len(ready.env.errors) == 5


async def test_run_has_a_line_written_now_whose_card_comes(ready: Stage):  # noqa: F811
    await add(ready, times="every 6h")  # so far away, at whatever time of the day, that no draft is written ahead
    run = await ready.boss.slash(ready.channel, "schedule run", name="mornings")
    assert run.response.content == f"**mornings** writes a post now: its card comes in <#{ready.desk.id}>."
    await ready.app.scheduling.step()
    await ready.env.advance_time(1)
    (card,) = at_desk(ready)
    assert "> line 0 of" in card.content
    assert "-# schedule mornings · for <t:" in card.content
    shown = (await ready.boss.slash(ready.channel, "schedule show", name="mornings")).response.content
    assert "✅ <t:" in shown
    assert ", post 1 · " in shown
    await ready.app.posting.pause("operator", "a storm")
    refused = await ready.boss.slash(ready.channel, "schedule run", name="mornings")
    assert said(refused).startswith("The schedule mornings writes nothing now: ")
    assert len(ready.env.errors) == 1


async def test_run_says_that_a_line_goes_out_without_approval(ready: Stage):  # noqa: F811
    ready.app.scheduling._settings = ready.app.settings.x.model_copy(update={"unattended": frozenset({"mornings"})})
    await ready.app.scheduling.add("mornings", "keeper", Spec(times="9:00"), by="operator", operator=True)
    run = await ready.boss.slash(ready.channel, "schedule run", name="mornings")
    assert run.response.content == "**mornings** writes a post now, which goes out without approval, as the operator set it."


async def test_what_is_offered(ready: Stage):  # noqa: F811
    await add(ready)

    async def offered(option, typed, *, command="schedule add", member=None):
        choices = await (member or ready.boss).autocomplete(ready.channel, command, option, typed)
        return [choice["value"] for choice in choices]

    assert await offered("timezone", "new york") == ["America/New_York", "US/Eastern"][:1]
    assert len(await offered("timezone", "")) == 25
    assert await offered("voice", "kee") == ["keeper"]
    assert await offered("account", "") == ["default"]
    assert await offered("account", "", member=ready.alice) == []
    for name in ("show", "pause", "resume", "run", "remove"):
        assert await offered("name", "MORN", command=f"schedule {name}") == ["mornings"]
        assert await offered("name", "x", command=f"schedule {name}") == []
        assert await offered("name", "", command=f"schedule {name}", member=ready.alice) == []


async def test_nobody_else_makes_or_sees_schedules(ready: Stage):  # noqa: F811
    await add(ready)
    island = ready.env.create_guild("Island")
    chiefs = island.create_role("Chief", permissions=discord.Permissions(manage_guild=True))
    beach, chief = island.create_text_channel("beach"), island.add_member(ready.env.create_user("chief"), roles=[chiefs])
    told = set()
    for name in ("list", "add", "show", "pause", "resume", "run", "remove"):
        options = {"list": {}, "add": {"name": "x", "voice": "keeper", "times": "9:00"}}.get(name, {"name": "mornings"})
        for member, channel, why in ((ready.alice, ready.channel, MODERATORS), (chief, beach, ELSEWHERE)):
            refused = await member.slash(channel, f"schedule {name}", **options)
            assert refused.ephemeral
            assert said(refused) == why
            told.add(why)
    assert (await stored(ready)).paused_at is None
    approve_in(ready, 0)
    assert said(await ready.boss.slash(ready.channel, "schedule list")) == NOBODY
    assert len(ready.env.errors) == 15
