"""Training from Discord: asked for, followed in one message, told once to whoever asked."""

import itertools

import discord
import pytest

from bot.errors import StoreError
from bot.faces.discord import asking, watching
from bot.faces.discord.bot import MynahBot
from bot.services import pictures
from data import jobs
from tests.bot.discord.conftest import Stage
from trainer import protocol
from trainer.protocol import Failed, Note, Sample, Step
from trainer.protocol import Stage as Part


def step(number: int, steps: int = 100) -> Step:
    return Step(number, steps, 3.5 - number / 100, 1234.0, 95.0)


async def test_prefix_training_is_acknowledged_followed_and_told(stage: Stage):
    """`!train` answers at once, its one message follows the training and becomes the card, and the end mentions whoever asked."""
    await stage.alice.send(stage.channel, "!train Keeper")
    assert stage.sent("POST", "/messages")[0].json["content"].startswith("Looking at the posts of Keeper")
    await stage.alice.click(stage.history[0], label="Train")
    run = await stage.run()
    await stage.env.advance_time(1)
    message = stage.channel.history()[1]
    assert "**keeper** · job 1 · starting" in message.content

    run.say(Part("train"), step(50), Sample(50, "the *lamp* says so"), Sample(60, "ask @everyone"), Note("Little text."))
    await stage.recorded(1, 4)
    await stage.env.advance_time(5)
    shown = stage.channel.history()[1].content
    for expected in (
        "learning",
        "50% · about 1:35 min left",
        "step 50/100",
        "loss 3.00",
        "1,234 tokens/s",
        r"the \*lamp\* says",
        "⚠ Little text.",
    ):
        assert expected in shown, shown
    assert "everyone" not in shown  # it may not be said

    run.done()
    await stage.app.training.ended(1)
    await stage.env.advance_time(6)
    card, told = stage.history
    assert card.id == message.id
    assert "is trained" in card.content
    assert card.embeds[0].title == "keeper · AI BOT"
    fields = {field.name: field.value for field in card.embeds[0].fields}
    assert fields["Loss on unseen posts"].startswith("4.250 → **3.125**\n")
    assert fields["Time"] == "1:23 min"
    assert "150 downloaded = 0 retweets + 0 short + 150 kept" in fields["Posts"]
    assert [attachment.filename for attachment in card.attachments] == ["voice.png", "curve.png"]
    assert told.content.startswith(f"<@{stage.alice.id}>")
    assert [user.id for user in told.mentions] == [stage.alice.id]
    assert stage.sent("POST", "/messages")[-1].json["allowed_mentions"] == {"parse": [], "users": [stage.alice.id]}
    assert await stage.app.store.read(jobs.untold_watches) == []

    before = len(stage.env.http_requests)
    await stage.env.advance_time(30)
    assert len(stage.env.http_requests) == before  # told once, and left alone


async def test_slash_training_publishes_one_message(stage: Stage):
    """`/train` is deferred in private; the message that follows is the bot's own, and is edited with the bot's token."""
    result = await stage.asks(stage.alice, "keeper", slash=True)
    assert result.ephemeral
    assert "is queued" in result.response.content
    (public,) = [message for message in stage.history if not message.flags.ephemeral]
    assert public.jump_url in result.response.content
    run = await stage.run()
    with stage.env._bot_scope():  # a thousand looks take a while even in virtual time
        stage.env.bot.get_cog("Watching")._look.change_interval(seconds=60)
    await stage.env.advance_time(2)
    await stage.env.advance_time(16 * 60)  # past the life of the interaction's token
    run.done()
    await stage.app.training.ended(1)
    await stage.env.advance_time(60)
    assert public.id == stage.history[0].id
    assert "is trained" in stage.history[0].content
    assert stage.history[1].mentions[0].id == stage.alice.id
    assert {request.path for request in stage.sent("PATCH")} <= {
        f"/channels/{stage.channel.id}/messages/{public.id}",
        *(request.path for request in stage.sent("PATCH", "@original")),
    }


async def test_warnings_are_told_to_who_asks_and_stand_in_the_message(stage: Stage, monkeypatch):
    """A slash command is answered with them in private; the public message has them too, from the rows."""
    monkeypatch.setitem(protocol.LANGUAGES, stage.app.settings.trainer.base, ("mt",))
    result = await stage.alice.slash(stage.channel, "train", handles="keeper")
    asked = result.response.content
    await stage.alice.click(result.response, label="Train")
    await stage.run()
    await stage.env.advance_time(6)
    for shown in (asked, stage.history[0].content):
        assert "⚠ @\u200bkeeper has" in shown
        assert "⚠ The posts of @\u200bkeeper are mostly English, which tiny hardly writes: set `[trainer] base` to google" in shown


async def test_acknowledged_before_anything_slow(stage: Stage, monkeypatch):
    """Whatever the services do, Discord has its answer first."""
    requests_at_call = []

    def slow(work):
        async def called(*words, **options):
            requests_at_call.append(stage.env.http_requests[-1].path.rsplit("/", 1)[-1])
            return await work(*words, **options)

        return called

    monkeypatch.setattr(asking, "prepare", slow(asking.prepare))
    monkeypatch.setattr(stage.app.training, "request", slow(stage.app.training.request))
    await stage.asks(stage.alice, "keeper", slash=True)
    await stage.bob.send(stage.channel, "!train keeper")
    assert requests_at_call == ["callback", "callback", "messages"]


async def test_edits_are_at_least_five_seconds_apart(stage: Stage):
    """However fast the trainer talks, one message is edited at most every 5 seconds, the end included."""
    await stage.asks(stage.alice, "keeper")
    run = await stage.run()
    edits, before = [], len(stage.sent("PATCH"))
    for second in range(1, 31):
        if second < 28:
            run.say(step(second))
            await stage.recorded(1, second)
        elif second == 28:
            run.done()
            await stage.app.training.ended(1)
        await stage.env.advance_time(1)
        edits += [second] * (len(stage.sent("PATCH")) - before - len(edits))
    assert len(edits) >= 6
    assert all(later - earlier >= 5 for earlier, later in itertools.pairwise(edits)), edits


async def test_nothing_new_is_no_edit(stage: Stage):
    """A message that would stay the same is left alone."""
    await stage.asks(stage.alice, "keeper")
    await stage.run()
    await stage.env.advance_time(2)
    before = len(stage.sent("PATCH"))
    await stage.env.advance_time(60)
    assert len(stage.sent("PATCH")) == before


async def test_position_in_the_queue(stage: Stage):
    """Who waits sees how many come first."""
    await stage.asks(stage.alice, "keeper")
    await stage.run()
    await stage.asks(stage.bob, "gull")
    await stage.env.advance_time(1)
    assert "waits for 1 training before it" in stage.history[-1].content


async def test_of_many_messages_a_few_are_edited_at_once_and_what_runs_goes_first(stage: Stage, monkeypatch):
    """A thousand that wait and move up together would take all that Discord grants, and the database from whoever asks something."""
    monkeypatch.setattr(watching, "AT_ONCE", 1)
    refresh, under_way, most = watching.Watching._refresh, 0, 0

    async def counted(*args, **more):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await refresh(*args, **more)
        under_way -= 1

    monkeypatch.setattr(watching.Watching, "_refresh", counted)
    for handles in ("keeper gull", "gull", "keeper"):
        await stage.asks(stage.alice, handles)
    await stage.run()
    ran, second, third = stage.history
    before = len(stage.sent("PATCH"))
    await stage.env.advance_time(4.5)
    edited = [request.path.rpartition("/")[2] for request in stage.sent("PATCH")[before:]]
    assert edited == [str(message.id) for message in (ran, second, third)]
    assert most == 1
    waits = [message.content.splitlines()[0].rpartition(" · ")[2] for message in stage.history[1:]]
    assert waits == ["waits for 1 training before it", "waits for 2 trainings before it"]


async def test_who_waits_is_told_his_place_however_many_messages_follow_what_runs(stage: Stage, monkeypatch):
    monkeypatch.setattr(watching, "AT_ONCE", 2)
    for member, handles in ((stage.alice, "keeper gull"), (stage.bob, "keeper gull"), (stage.bob, "gull"), (stage.bob, "keeper")):
        await stage.asks(member, handles)
    await stage.run()
    await stage.env.advance_time(12)
    assert "waits for 2 trainings before it" in stage.history[-1].content
    await stage.app.training.cancel(2, by="bob")
    await stage.env.advance_time(12)
    assert "waits for 1 training before it" in stage.history[3].content


async def test_two_members_join_one_job_and_both_are_told(stage: Stage):
    """The same wish twice is one training, followed in two messages and told to each of the two alone."""
    await stage.asks(stage.alice, "keeper")
    joined = await stage.asks(stage.bob, "keeper", slash=True)
    assert "was asked for already" in joined.response.content
    run = await stage.run()
    run.done()
    await stage.app.training.ended(1)
    await stage.env.advance_time(6)
    assert len(stage.executor.runs) == 1
    told = [message for message in stage.history if message.mentions]
    assert sorted([user.id for user in message.mentions] for message in told) == [[stage.alice.id], [stage.bob.id]]
    assert sum(bool(message.embeds) for message in stage.history) == 2


async def test_done_already_says_where_the_card_is(stage: Stage):
    """What is trained on exactly these posts is not trained again."""
    await stage.train()
    result = await stage.asks(stage.alice, "keeper", slash=True)
    assert result.response.content == "**keeper** is trained on exactly these posts already: `/show keeper` shows its card."
    assert await stage.app.store.read(jobs.untold_watches) == []


async def test_restart_goes_on_with_the_same_message(stage: Stage):
    """A new bot finds the message in the rows, goes on editing it, and tells the end once; the commands are not sent again."""
    await stage.asks(stage.alice, "keeper")
    run = await stage.run()
    await stage.env.advance_time(1)
    message = stage.history[0].id
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    run.say(step(20))
    await stage.recorded(1, 1)
    await stage.env.advance_time(6)
    assert "step 20/100" in stage.history[0].content
    run.done()
    await stage.app.training.ended(1)
    await stage.env.advance_time(6)
    assert next(m.id for m in stage.history) == message
    assert len(stage.history) == 2
    assert stage.history[1].mentions[0].id == stage.alice.id
    assert len(stage.sent("PUT", "/commands")) == 1


async def test_ended_while_away_is_told_at_the_start(stage: Stage):
    """The end of a job that came while no bot was connected is told by the next one."""
    await stage.asks(stage.alice, "keeper")
    run = await stage.run()
    stage.env.bot.get_cog("Watching")._look.cancel()
    run.say(Failed("out_of_memory", "The trainer ran out of memory: close something."))
    await stage.app.training.ended(1)
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    await stage.env.advance_time(1)
    assert "over without a voice: The trainer ran out of memory: close something." in stage.history[0].content
    assert stage.history[1].mentions[0].id == stage.alice.id


async def test_outage_of_edits_is_survived(stage: Stage):
    """5xx, 429 and a token refused for a while are tried again; the end is still told once."""
    await stage.asks(stage.alice, "keeper")
    run = await stage.run()
    stage.env.inject_error("PATCH", "/channels/*/messages/*", status=503)
    await stage.env.advance_time(1)
    stage.env.inject_error("PATCH", "/channels/*/messages/*", status=429)
    await stage.env.advance_time(5)
    stage.env.inject_error("PATCH", "/channels/*/messages/*", status=401)
    await stage.env.advance_time(5)
    run.done()
    await stage.app.training.ended(1)
    stage.env.inject_error("POST", "/channels/*/messages", status=500)
    await stage.env.advance_time(12)
    assert sum(bool(message.mentions) for message in stage.history) == 1
    assert await stage.app.store.read(jobs.untold_watches) == []


async def test_told_once_even_if_it_cannot_be_written_down(stage: Stage, monkeypatch):
    """A full disk after the mention is no reason to mention again and again."""
    await stage.asks(stage.alice, "keeper")
    run = await stage.run()
    write = stage.app.store.write

    async def full(work, *args, **kwargs):
        if work is jobs.mark_told:
            raise StoreError("The disk is full, so nothing was stored: free some space and try again.")
        return await write(work, *args, **kwargs)

    monkeypatch.setattr(stage.app.store, "write", full)
    run.done()
    await stage.app.training.ended(1)
    await stage.env.advance_time(30)
    assert sum(bool(message.mentions) for message in stage.history) == 1


async def test_deleted_message_ends_its_watch_quietly(stage: Stage):
    """Somebody deleted the message: the training goes on, and nothing more is said."""
    await stage.asks(stage.alice, "keeper")
    run = await stage.run()
    message = stage.history[0]
    stage.env.backend.delete_message(stage.channel.id, message.id)
    await stage.env.advance_time(1)
    assert await stage.app.store.read(jobs.untold_watches) == []
    run.done()
    await stage.app.training.ended(1)
    await stage.env.advance_time(10)
    assert stage.history == []


@pytest.mark.parametrize("samples", [[], ["ask @everyone"]])
async def test_card_of_a_voice_whose_samples_may_not_be_shown_has_the_curve_alone(stage: Stage, samples: list[str]):
    """What may not be said is in no picture, either."""
    await stage.asks(stage.alice, "keeper")
    run = await stage.run()
    run.done(samples=samples)
    await stage.app.training.ended(1)
    await stage.env.advance_time(6)
    card, _ = stage.history
    assert [attachment.filename for attachment in card.attachments] == ["curve.png"]


async def test_card_whose_picture_cannot_be_drawn_is_still_a_card(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """A picture is an ornament."""
    monkeypatch.setattr(pictures, "predictions", lambda *_: 1 / 0)
    await stage.asks(stage.alice, "keeper")
    run = await stage.run()
    run.done()
    await stage.app.training.ended(1)
    await stage.env.advance_time(6)
    card, _ = stage.history
    assert card.embeds[0].title == "keeper · AI BOT"
    assert [attachment.filename for attachment in card.attachments] == ["curve.png"]


async def test_card_without_permission_to_attach(stage: Stage):
    """Where the bot may not attach files, the words are shown all the same."""
    await stage.asks(stage.alice, "keeper")
    run = await stage.run()
    await stage.env.advance_time(1)
    run.done()
    await stage.app.training.ended(1)
    stage.env.inject_error("PATCH", "/channels/*/messages/*", status=403, code=50013, message="Missing Permissions")
    await stage.env.advance_time(6)
    assert "is trained" in stage.history[0].content
    assert stage.history[1].mentions[0].id == stage.alice.id


async def test_unknown_handle_is_one_sentence(stage: Stage):
    """An account without posts is refused in a sentence that says what to do."""
    result = await stage.alice.slash(stage.channel, "train", handles="nobody")
    assert result.ephemeral
    assert result.response.content.startswith("No posts of @\u200bnobody are stored")
    await stage.alice.send(stage.channel, "!train nobody")
    (reply,) = stage.history
    assert reply.content.startswith("No posts of @")
    assert reply.reference is not None
    assert len(stage.env.errors) == 2


async def test_bad_handle_and_missing_argument(stage: Stage):
    """A handle that cannot be, and a command without its words."""
    await stage.alice.send(stage.channel, "!train https://evil.example/x")
    await stage.alice.send(stage.channel, "!train")
    first, second = stage.history
    assert "is not a handle" in first.content
    assert "https://" not in first.content
    assert second.content == "Type it as: `!train handle [handle ...]`."
    assert len(stage.env.errors) == 2


async def test_other_bots_commands_are_ignored(stage: Stage):
    """The prefix is not ours alone, and bots do not talk to bots."""
    robot = stage.boss.guild.add_member(stage.env.create_user("robot", bot=True))
    await stage.alice.send(stage.channel, "!play something")
    await robot.send(stage.channel, "!models")
    assert stage.history == []


async def test_no_permission_to_write_is_said_in_private(stage: Stage):
    """A public message that cannot be put up is refused before anything is queued."""
    locked = stage.boss.guild.create_text_channel(
        "locked", overwrites={stage.boss.guild.default_role: discord.PermissionOverwrite(send_messages=False)}
    )
    result = await stage.alice.slash(locked, "train", handles="keeper")
    assert "Send Messages" in result.response.content
    assert result.ephemeral
    assert await stage.app.store.read(jobs.recent) == []
    assert len(stage.env.errors) == 1


async def test_cancel_by_the_requester(stage: Stage):
    """Whoever asked may cancel; the message says so."""
    await stage.asks(stage.alice, "keeper")
    await stage.run()
    await stage.alice.send(stage.channel, "!cancel 1")
    assert stage.history[-1].content == "Job 1, **keeper**, is being stopped."
    await stage.app.training.ended(1)
    await stage.env.advance_time(6)
    assert "over without a voice: Cancelled by alice" in stage.history[0].content


async def test_cancel_by_others(stage: Stage):
    """Somebody else may not; a moderator may; an unknown job is a sentence."""
    await stage.asks(stage.alice, "keeper")
    await stage.run()
    refused = await stage.bob.slash(stage.channel, "cancel", job=1)
    (private,) = refused.followups
    assert private.ephemeral
    assert "Only who asked for job 1" in private.content
    assert refused.response is None
    allowed = await stage.boss.slash(stage.channel, "cancel", job=1)
    assert "is being stopped" in allowed.response.content
    unknown = await stage.boss.slash(stage.channel, "cancel", job=77)
    assert unknown.followups[0].content == "There is no job 77: `/queue` lists them."
    await stage.app.training.ended(1)
    over = await stage.boss.slash(stage.channel, "cancel", job=1)
    assert "has ended already" in over.followups[0].content
    assert len(stage.env.errors) == 3


async def test_jobs(stage: Stage):
    """The list of trainings, empty and full."""
    empty = await stage.alice.slash(stage.channel, "queue")
    assert empty.response.content == "No training was asked for yet: `/train` begins one."
    await stage.asks(stage.alice, "keeper")
    await stage.run()
    await stage.alice.send(stage.channel, "!queue")
    assert "**1** · keeper · running · @\u200balice" in stage.history[-1].content


async def test_a_defect_gives_a_short_id(stage: Stage, monkeypatch):
    """What nobody foresaw is one sentence with a number that the log has too."""

    async def broken(*_, **__):
        raise RuntimeError("secret detail")

    asked = await stage.alice.slash(stage.channel, "train", handles="keeper")
    monkeypatch.setattr(stage.app.training, "request", broken)
    pressed = await stage.alice.click(asked.response, label="Train")
    monkeypatch.setattr(asking, "prepare", broken)
    result = await stage.alice.slash(stage.channel, "train", handles="keeper")
    await stage.alice.send(stage.channel, "!train keeper")
    for message in (pressed.followups[0], result.response, stage.history[-1]):
        assert "Something went wrong on my side" in message.content
        assert "secret" not in message.content
    assert result.ephemeral
    assert pressed.followups[0].ephemeral
    assert len(stage.env.errors) == 2  # of commands; a button tells its own
