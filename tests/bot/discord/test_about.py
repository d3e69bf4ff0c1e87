"""What is stored of a member, and that it goes when he says so, from the file too."""

from bot.faces.discord.bot import MynahBot
from bot.settings import Quotas
from data import consents, counting, jobs, members, speech
from tests.bot.discord.conftest import Stage


async def test_of_who_did_nothing_nothing_is_stored(stage: Stage):
    result = await stage.alice.slash(stage.channel, "about")
    assert result.ephemeral
    assert "learns to write like an account" in result.response.content
    assert result.response.content.endswith("Of you nothing is stored.")
    assert result.response.components == []


async def test_what_is_stored_is_counted_and_erased_and_voices_stay(stage: Stage):
    await stage.asks(stage.alice, "keeper")
    (await stage.run()).done()
    await stage.app.training.ended(1)
    await stage.env.advance_time(6)
    await stage.alice.send(stage.channel, "!ask keeper my secret is soup")
    await stage.bob.send(stage.channel, "!ask keeper and mine is bread")
    await stage.app.store.write(consents.claim, "keeper", consents.Ground.PARODY, f"alice (Discord {stage.alice.id})")
    shown = await stage.alice.slash(stage.channel, "about")
    for row in ("questions and prompts: 1", "trainings asked for: 1", "consents claimed: 1", "messages followed: 1"):
        assert f"• {row}" in shown.response.content
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    await stage.alice.send(stage.channel, "!about")  # for all to see
    refused = await stage.bob.click(stage.history[-1], label="Erase what is mine")
    assert refused.response.content == "Those are somebody else's rows: `/about` shows yours."
    await stage.alice.click(shown.response, label="Erase what is mine")
    assert shown.response.content.startswith("Erased: ")
    assert not any((await stage.app.store.read(members.stored, stage.alice.id)).values())
    assert (await stage.app.store.read(jobs.get, 1)).requested_by == members.ANONYMOUS
    assert {one.claimed_by for one in await stage.app.store.read(consents.claims, "keeper")} == {"the tests", members.ANONYMOUS}
    assert sum((await stage.app.store.read(members.stored, stage.bob.id)).values()) == 1
    assert "alice" not in repr(
        [row for table in ("jobs", "requests", "consents") for row in await stage.app.store.read(lambda db, t=table: list(db[t].rows))]
    )
    everything = b"".join(path.read_bytes() for path in stage.app.settings.data_dir.glob("mynah.db*"))
    assert b"my secret is soup" not in everything
    assert b"and mine is bread" in everything


async def test_erasing_begins_no_new_day_of_quotas_and_what_they_count_goes_in_the_end(stage: Stage):
    stage.app.settings = stage.app.training._settings = stage.app.settings.model_copy(update={"quotas": Quotas(trainings_a_day=1)})
    await stage.asks(stage.alice, "keeper")
    (await stage.run()).done()
    await stage.app.training.ended(1)
    since = "2000-01-01"
    await stage.alice.send(stage.channel, "!generate keeper")
    lines = await stage.app.store.read(speech.lines_since, since, stage.alice.id)
    assert [count for _, count in lines] == [5]
    await stage.app.store.write(members.erase, stage.alice.id)
    assert await stage.app.store.read(speech.lines_since, since, stage.alice.id) == lines
    shown = (await stage.alice.slash(stage.channel, "about")).response
    assert shown.content.endswith("Stored of you:\n• requests that quotas still count: 2")
    assert shown.components == []
    await stage.alice.send(stage.channel, "!train gull")
    refused = await stage.alice.click(stage.history[-1], label="Train")
    assert "You may ask for 1 trainings within a day" in refused.followups[0].content
    await stage.app.store.write(counting.let_go)
    assert await stage.app.store.read(counting.of_member, stage.alice.id) == 2
    await stage.app.store.write(lambda db: db.conn.execute("UPDATE counted SET at = '2001-01-01'"))
    await stage.app.store.write(counting.let_go)
    assert await stage.app.store.read(lambda db: db["counted"].count) == 0


async def test_who_cancelled_is_erased_with_the_sentence_that_names_him(stage: Stage):
    await stage.asks(stage.bob, "keeper")
    await stage.run()
    await stage.boss.slash(stage.channel, "cancel", job=1)
    await stage.app.training.ended(1)
    await stage.app.store.write(members.erase, stage.boss.id)
    job = await stage.app.store.read(jobs.get, 1)
    assert job.error == f"Cancelled by {members.ANONYMOUS}."
    assert job.cancel_requested_by == members.ANONYMOUS
    assert job.requested_by.startswith("bob")
