"""The question before a training: files, consent, who may answer, and that it outlives the process."""

import json
import os
from pathlib import Path

import discord
import pytest

from bot.faces.discord.bot import MynahBot
from bot.settings import Consent, Quotas, X
from data import accounts, askings, consents, jobs
from tests.bot.discord.conftest import Stage, posts
from tests.loopback_x import SECRETS, Account, Answer, LoopbackX

LINES = "".join(json.dumps({"id": f"n{n}", "text": f"{tweet.text} again"}) + "\n" for n, tweet in enumerate(posts("crab"))).encode()


def uploads(stage: Stage) -> list[Path]:
    return list((stage.app.settings.data_dir / "uploads").glob("*/*"))


async def bring(stage: Stage, handle: str = "crab", name: str = "crab.jsonl", content: bytes = LINES, who=None):
    """Have a member attach a file to the prefix command; return the question."""
    await (who or stage.alice).send(stage.channel, f"!train {handle}", attachments=[(name, content)])
    return stage.history[-1]


async def test_the_question_says_what_it_learns_from_on_whose_word_and_how_long(stage: Stage):
    await stage.train("gull")
    result = await stage.alice.slash(stage.channel, "train", handles="keeper", posts=100)
    assert result.ephemeral
    assert result.response.content.splitlines()[:5] == [
        "Train **keeper** on tiny?",
        "• @\u200bkeeper: 150 usable posts, of which the newest 100 are learned from",
        "• Source: what is stored. Nothing is read from X, so it costs nothing.",
        "• Time: about 1:23 min, as the last ones took here.",
        "• Consent of @\u200bkeeper: a permission, says the tests.",
    ]
    await stage.alice.click(result.response, label="Train")
    run = await stage.run(2)
    assert sum(map(len, (run.job.train, run.job.stop, run.job.report))) == 100


@pytest.fixture
async def x(stage):
    """A loopback X that Mynah may read, with 150 posts of crab."""
    async with LoopbackX(accounts=[Account("7", "crab")]) as server:
        for post in posts("crab"):
            server.accounts[0].write(1, text=post.text)
        settings = stage.app.settings.model_copy(update={"x": X(api_url=server.url, read_timelines=True, daily_cap=9)})
        stage.app.settings = stage.app.reading._settings = settings
        stage.app.budget._x = settings.x
        stage.app.secrets = SECRETS
        yield server


async def test_where_x_may_be_read_the_question_names_the_price_and_yes_reads_and_trains(stage: Stage, x):
    await stage.alice.send(stage.channel, "!train crab")
    stored, source = stage.history[-1].content.splitlines()[1:3]
    assert stored == "• @\u200bcrab: 0 usable posts"
    assert source.startswith("• Source: what is stored. What is new on X is read first: at most 1,000 posts, for at most $5.01; $9.00 may")
    assert x.reads == []
    await stage.alice.select(stage.history[-1], ["permission"])
    asked = stage.history[-1]
    result = await stage.alice.click(asked, label="Train")
    assert [one.content for one in result.followups] == ["@\u200bcrab: 150 posts read, 150 of them new, for $0.76."]
    (await stage.run()).done()
    (claim,) = await stage.app.store.read(consents.claims, "crab")
    assert (claim.ground, claim.claimed_by) == ("permission", f"alice (Discord {stage.alice.id})")


async def test_what_x_refuses_is_told_and_yes_can_be_said_again(stage: Stage, x):
    await stage.alice.send(stage.channel, "!train crab")
    await stage.alice.select(stage.history[-1], ["permission"])
    asked = stage.history[-1]
    x.reading.append(Answer.LIMITED)
    refused = await stage.alice.click(asked, label="Train")
    assert "X's limit is exhausted until" in refused.followups[0].content
    await stage.alice.click(asked, label="Train")
    assert (await stage.run()).job.train


async def test_who_may_ask_for_no_more_trainings_has_nothing_read(stage: Stage, x):
    stage.app.settings = stage.app.training._settings = stage.app.settings.model_copy(update={"quotas": Quotas(trainings_a_day=0)})
    await stage.alice.send(stage.channel, "!train keeper")
    refused = await stage.alice.click(stage.history[-1], label="Train")
    assert "You may ask for 0 trainings" in refused.followups[0].content
    assert x.reads == []


async def test_who_may_ask_for_no_more_trainings_has_no_file_fetched(stage: Stage):
    stage.app.settings = stage.app.training._settings = stage.app.settings.model_copy(update={"quotas": Quotas(trainings_a_day=0)})
    refused = await bring(stage)
    assert "You may ask for 0 trainings" in refused.content
    assert uploads(stage) == []
    assert len(stage.env.errors) == 1


async def test_more_posts_than_the_operator_allows_are_not_to_be_asked_for(stage: Stage):
    refused = await stage.alice.slash(stage.channel, "train", handles="keeper", posts=1001)
    assert refused.response.content == "Here voices learn from 1000 posts of an account at most: ask for fewer, or leave that out."
    assert len(stage.env.errors) == 1


async def test_to_an_accounts_own_archive_nobody_adds_but_who_brought_it(stage: Stage):
    brought = f"bob (Discord {stage.bob.id})"
    asked = await bring(stage, "keeper")  # before there is an archive
    await stage.alice.select(asked, ["permission"])
    await stage.app.store.write(consents.claim, "keeper", consents.Ground.ARCHIVE, brought)
    late = await stage.alice.click(stage.history[-1], label="Train")
    refused = await bring(stage, "keeper")
    for words in (late.followups[0].content, refused.content):
        assert words.startswith("@\u200bkeeper brought an archive of its own: attach one, too")
    assert len(await stage.app.store.read(accounts.read_tweets, "keeper")) == 150
    assert len(stage.env.errors) == 1
    again = await bring(stage, "keeper", who=stage.bob)
    assert "Source: `crab.jsonl`, 150 posts of it new." in again.content


async def test_an_account_that_is_known_by_a_voice_alone_is_trained_with_the_file_that_is_brought(stage: Stage):
    await stage.app.store.write(accounts.ensure_account, "crab")
    asked = await bring(stage)
    assert "• @\u200bcrab: 150 usable posts" in asked.content


async def test_what_is_stored_is_learned_from_where_x_is_of_no_use(stage: Stage, x):
    await stage.alice.send(stage.channel, "!train keeper")
    result = await stage.alice.click(stage.history[-1], label="Train")
    (told,) = [one.content for one in result.followups]
    assert "There is no @\u200bkeeper on X" in told
    assert told.endswith("What is stored of @\u200bkeeper is learned from.")
    assert (await stage.run()).job.train


async def test_without_any_training_before_no_time_is_named(stage: Stage):
    result = await stage.alice.slash(stage.channel, "train", handles="keeper")
    assert "• Time: not known before the first training here." in result.response.content


async def test_never_mind(stage: Stage):
    result = await stage.alice.slash(stage.channel, "train", handles="keeper")
    await stage.alice.click(result.response, label="Never mind")
    assert result.response.content == "Nothing was trained."
    assert result.response.components == []
    assert await stage.app.store.read(jobs.recent) == []


async def test_a_file_is_learned_from_when_its_bringer_has_said_why_he_may(stage: Stage):
    asked = await bring(stage)
    assert "• @\u200bcrab: 150 usable posts" in asked.content
    assert "Source: `crab.jsonl`, 150 posts of it new." in asked.content
    assert "choose on what ground" in asked.content
    assert await stage.app.store.read(accounts.known_handles) == ["gull", "keeper"]
    assert len(uploads(stage)) == 1
    await stage.alice.select(asked, ["parody"])
    assert "• Consent: you claim it; the ground is a parody." in stage.history[-1].content
    await stage.alice.click(stage.history[-1], label="Train")
    (await stage.run()).done()
    await stage.app.training.ended(1)
    (claim,) = await stage.app.store.read(consents.claims, "crab")
    assert (claim.ground, claim.claimed_by) == ("parody", f"alice (Discord {stage.alice.id})")
    assert uploads(stage) == []


async def test_nobody_can_train_before_a_ground_is_chosen(stage: Stage):
    asked = await bring(stage)
    train = next(item for row in asked.components for item in row.children if getattr(item, "label", "") == "Train")
    assert train.disabled


async def test_an_archive_is_the_ground_only_where_it_is_this_accounts(stage: Stage):
    asked = await bring(stage)
    select = next(item for row in asked.components for item in row.children if hasattr(item, "options"))
    assert [option.value for option in select.options] == ["permission", "parody"]


async def test_where_the_operator_wants_archives_alone_a_file_is_refused(stage: Stage, monkeypatch):
    monkeypatch.setattr(stage.app, "settings", stage.app.settings.model_copy(update={"consent": Consent(policy="own")}))
    await bring(stage)
    assert "takes archives alone whose account.js names the account" in stage.history[-1].content
    assert uploads(stage) == []
    assert len(stage.env.errors) == 1


async def test_somebody_else_may_not_answer(stage: Stage):
    asked = await bring(stage)
    for press in (stage.bob.click(asked, label="Never mind"), stage.bob.select(asked, ["parody"])):
        refused = await press
        assert refused.ephemeral
        assert refused.response.content == "That question was not asked of you."
    assert len(uploads(stage)) == 1


async def test_the_question_outlives_the_process(stage: Stage):
    asked = await bring(stage)
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    await stage.alice.select(asked, ["permission"])
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    await stage.alice.click(stage.history[-1], label="Train")
    assert (await stage.run()).job.train
    again = await stage.app.store.read(lambda db: db["askings"].count)
    assert again == 0


async def test_a_question_stays_until_the_training_is_followed(stage: Stage):
    """Else one that Discord, or the process' end, cut off before its message was put up would go on with nobody to tell."""
    result = await stage.alice.slash(stage.channel, "train", handles="keeper")
    stage.env.inject_error("POST", "/channels/*/messages", status=403)
    await stage.alice.click(result.response, label="Train")
    (job,) = await stage.app.store.read(jobs.recent)
    assert await stage.app.store.read(jobs.untold_watches) == []
    await stage.alice.click(result.response, label="Train")
    (watch,) = await stage.app.store.read(jobs.untold_watches)
    assert watch.job == job.id
    assert [job.id for job in await stage.app.store.read(jobs.recent)] == [job.id]


@pytest.mark.parametrize("slash", [True, False])
async def test_who_is_told_that_a_training_is_queued_is_told_its_end(stage: Stage, monkeypatch, slash):
    """The row that promises it is there before the words are: so the process may die between the two."""
    if slash:
        asked = (await stage.alice.slash(stage.channel, "train", handles="keeper")).response
    else:
        await stage.alice.send(stage.channel, "!train keeper")
        asked = stage.history[-1]
    edit, watched = discord.Interaction.edit_original_response, []

    async def looked_at(self, **more):
        if "is queued" in more.get("content", ""):
            watched.append(await stage.app.store.read(jobs.untold_watches))
        return await edit(self, **more)

    monkeypatch.setattr(discord.Interaction, "edit_original_response", looked_at)
    await stage.alice.click(asked, label="Train")
    assert [[watch.job for watch in watches] for watches in watched] == [[1]]
    again = watched[0][0]
    assert await stage.app.store.write(jobs.add_watch, again.job, again.channel, again.message, again.member) == again
    assert await stage.app.store.read(jobs.untold_watches) == [again]


async def test_a_question_is_settled_once(stage: Stage):
    result = await stage.alice.slash(stage.channel, "train", handles="keeper")
    await stage.app.store.write(askings.settle, 1)
    pressed = await stage.alice.click(result.response, label="Train")
    assert (pressed.followups or [pressed.response])[0].content == "That question was settled already, or is too long ago: ask again."
    assert await stage.app.store.read(jobs.recent) == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("posts.exe", b"MZ", "I cannot read 'posts.exe': attach X's archive"),
        ("posts.txt", b"x" * (2**20 + 1), "That file has 1.0 MiB, and I take 1"),
        ("posts.zip", b"PK no zip", "posts.zip"),
        ("posts.txt", b"too little", "needs 6,000"),
    ],
)
async def test_a_file_that_is_no_good_is_one_sentence_and_leaves_nothing(stage: Stage, name, content, said, monkeypatch):
    discord = stage.app.settings.discord.model_copy(update={"upload_mib": 1})
    monkeypatch.setattr(stage.app, "settings", stage.app.settings.model_copy(update={"discord": discord}))
    await bring(stage, name=name, content=content)
    assert said in stage.history[-1].content.replace("\\", "")
    assert uploads(stage) == []
    assert await stage.app.store.read(lambda db: db["askings"].count) == 0
    assert len(stage.env.errors) == 1


async def test_a_base_that_is_not_offered_is_refused_and_the_others_are_listed(stage: Stage):
    refused = await stage.alice.slash(stage.channel, "train", handles="keeper", base="/etc/passwd")
    assert "is no base that is offered here" in refused.response.content
    offered = await stage.alice.autocomplete(stage.channel, "train", "base", "gpt")
    assert [choice["value"] for choice in offered] == ["gpt2", "distilgpt2"]
    assert len(stage.env.errors) == 1


async def test_handles_are_completed_one_after_another(stage: Stage):
    some = await stage.alice.autocomplete(stage.channel, "train", "handles", "@Ke")
    assert [choice["value"] for choice in some] == ["keeper"]
    second = await stage.alice.autocomplete(stage.channel, "train", "handles", "keeper g")
    assert [choice["value"] for choice in second] == ["keeper gull"]


async def test_the_buttons_at_the_end(stage: Stage):
    await stage.asks(stage.alice, "keeper")
    (await stage.run()).done()
    await stage.app.training.ended(1)
    await stage.env.advance_time(6)
    card = stage.history[0]
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    said = await stage.bob.click(card, label="Generate")
    assert said.response.content.startswith("**keeper**")
    retrain = await stage.bob.click(card, label="Retrain")
    assert retrain.ephemeral
    assert retrain.response.content.startswith("Train **keeper** on tiny?")
    refused = await stage.bob.click(card, label="Delete")
    assert refused.response.content == "Forgetting is for members with the permission Manage Server."
    asked = await stage.boss.click(card, label="Delete")
    assert asked.response.content.startswith("Forget **keeper**")
    await stage.boss.click(asked.response, label="Forget it all")
    assert "keeper" not in await stage.app.store.read(accounts.known_handles)


async def test_the_cancel_button(stage: Stage):
    await stage.asks(stage.alice, "keeper")
    await stage.run()
    message = stage.history[0]
    refused = await stage.bob.click(message, label="Cancel")
    assert "Only who asked for job 1 may cancel it" in refused.response.content
    stopped = await stage.alice.click(message, label="Cancel")
    assert stopped.response.content == "Job 1, **keeper**, is being stopped."
    await stage.app.training.ended(1)
    await stage.env.advance_time(6)
    assert "over without a voice: Cancelled by alice" in stage.history[0].content
    assert stage.history[0].components == []


async def test_what_nobody_answered_for_a_day_is_gone_with_its_file(stage: Stage):
    await bring(stage)
    (file,) = uploads(stage)
    os.utime(file.parent, (0, 0))
    await stage.app.store.write(lambda db: db.conn.execute("UPDATE askings SET created_at = '2020-01-01T00:00:00.000000+00:00'"))
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    await stage.env.advance_time(1)
    assert uploads(stage) == []
    assert await stage.app.store.read(lambda db: db["askings"].count) == 0
