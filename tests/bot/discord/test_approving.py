"""Cards of posts: put up, followed to their end, and what their buttons decide; /approve, /pause and /resume."""

import asyncio

import discord
import pytest
import pytest_asyncio

from bot.errors import StoreError
from bot.faces.discord.bot import MynahBot
from bot.services.posting import UNATTENDED_ANSWERS, Posting
from bot.services.scheduling import Spec
from bot.services.sending import Retry, SendError
from bot.services.speaking import Speaking
from data import accounts, members, mentions, outbox, post_cards, servers
from data.outbox import State
from data.store import now
from tests.bot.discord.conftest import Stage, approve_in
from tests.bot.discord.test_games import labels
from tests.bot.discord.test_saying import last_request
from tests.bot.discord.test_speaking import NASTY, pings

NOBODY = "What is posted is decided by the operator alone: `[x] approval_channel` in config.toml is not set."
ELSEWHERE = "What is posted is decided in one server alone, which the operator chose, and it is not this one."
MODERATORS = "Deciding what is posted is for members with the permission Manage Server."
CHANGED = "Post 1 was changed meanwhile: look at it again."
ALL = ["Approve", "Edit", "Another", "Reject"]


@pytest_asyncio.fixture
async def ready(stage: Stage) -> Stage:
    """A stage with a voice, whose posts are approved in a channel of its own, `desk`."""
    await stage.train()
    stage.desk = stage.channel.guild.create_text_channel("desk")
    approve_in(stage, stage.desk.id)
    return stage


def said(result) -> str:
    """What somebody was told last, and nobody else was."""
    message = (result.followups or [result.response])[-1]
    assert message.ephemeral
    return message.content


def at_desk(stage: Stage) -> list[discord.Message]:
    return [message for message in stage.desk.history() if message.author.id == stage.env.bot.user.id]


async def drafted(stage: Stage, text: str = "The fog is late.", **wanted) -> discord.Message:
    """Have a draft made, and return its card."""
    await stage.app.posting.draft("keeper", None, text, "operator", **wanted)
    await stage.env.advance_time(1)
    return at_desk(stage)[-1]


async def post(stage: Stage, number: int = 1) -> outbox.Post:
    return await stage.app.store.read(outbox.get, number)


async def put(stage: Stage, **wanted) -> None:
    await stage.app.store.write(servers.change, stage.channel.guild.id, "boss", **wanted)


async def restart(stage: Stage) -> None:
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    await stage.env.advance_time(1)


async def given_up(stage: Stage) -> discord.Message:
    """Return the card of a post that may be there already."""
    card = await drafted(stage)
    await stage.boss.click(card, label="Approve")
    await stage.app.store.write(outbox.change, 1, State.SENDING, who="mynah", why="sent")
    await stage.env.advance_time(1)
    assert at_desk(stage)[-1].content.endswith("It is being sent.")
    assert labels(at_desk(stage)[-1]) == []
    await stage.app.store.write(outbox.ask_person, 1, who="mynah", why="X did not answer; look there.")
    await stage.env.advance_time(1)
    return at_desk(stage)[-1]


# ----------------------------------------------------------------------- cards


async def test_each_draft_is_put_up_once_with_all_that_is_to_be_known(ready: Stage):
    card = await drafted(ready)
    assert card.content.split("\n") == [
        "**keeper** → X · post 1",
        "> The fog is late.",
        "-# no schedule · as soon as it is approved · 16 of 280 characters",
        "It waits for a yes.",
    ]
    assert labels(card) == ALL
    await ready.app.posting.draft("keeper", None, "And the gull.", "operator")
    await ready.env.advance_time(5)
    assert len(at_desk(ready)) == 2
    assert ready.history == []


async def test_what_a_post_says_is_shown_as_it_is_and_does_nothing(ready: Stage):
    card = await drafted(ready, NASTY)
    assert pings(ready) == []
    assert all(line.startswith("> ") for line in card.content.split("\n")[1:-2])
    for forged in ("||", "](", "@everyone", "https://"):
        assert forged not in card.content


async def test_a_card_is_sent_with_a_nonce_so_that_a_crash_does_not_double_it(ready: Stage, monkeypatch):
    kept = post_cards.put_up
    monkeypatch.setattr(post_cards, "put_up", lambda db, card, message: None)  # the process dies before
    await drafted(ready)
    monkeypatch.setattr(post_cards, "put_up", kept)
    await restart(ready)
    sent = [request.json for request in ready.sent("POST", f"/channels/{ready.desk.id}/messages")]
    assert len(sent) >= 2  # which Discord takes for one; simcord knows no nonces
    assert {(body["nonce"], body["enforce_nonce"]) for body in sent} == {("card-1-1", True)}
    assert await ready.app.store.read(lambda db: db["post_cards"].count) == 1


async def test_a_card_that_cannot_be_written_down_is_put_up_once_all_the_same(ready: Stage, monkeypatch):
    kept = post_cards.put_up

    def full(db, card, message):
        raise StoreError("The disk is full.")

    monkeypatch.setattr(post_cards, "put_up", full)
    await drafted(ready)
    await ready.env.advance_time(20)
    monkeypatch.setattr(post_cards, "put_up", kept)
    await ready.app.posting.edit(1, "The fog is here.", "operator")
    await ready.env.advance_time(8)
    (card,) = at_desk(ready)
    assert "> The fog is here.\n" in card.content
    assert len(ready.sent("POST", f"/channels/{ready.desk.id}/messages")) == 1
    assert (await ready.app.store.read(post_cards.of_post, 1)).message == card.id


async def test_a_card_follows_its_post_whatever_hand_changes_it_and_across_restarts(ready: Stage):
    card = await drafted(ready)
    await ready.app.posting.edit(1, "The fog is here.", "operator")
    await ready.env.advance_time(1)
    assert "> The fog is here.\n" in at_desk(ready)[0].content
    assert "Edited by operator <t:" in at_desk(ready)[0].content
    await ready.app.posting.approve(1, "operator")
    await restart(ready)
    (card,) = at_desk(ready)
    assert "Approved by operator <t:" in card.content
    assert labels(card) == []
    for state in (State.SENDING, State.POSTED):
        await ready.app.store.write(outbox.change, 1, state, who="mynah", why="posted", x_id="77" if state is State.POSTED else None)
    await ready.env.advance_time(1)
    (card,) = at_desk(ready)
    assert "Approved by operator" in card.content
    assert card.content.endswith(": <https://x.com/i/web/status/77>")
    edits = len(ready.sent("PATCH", f"/messages/{card.id}"))
    await restart(ready)
    assert len(ready.sent("PATCH", f"/messages/{card.id}")) == edits  # it shows its end, and is followed no more


async def test_a_post_that_failed_says_why_and_can_be_tried_again(ready: Stage):
    card = await drafted(ready)
    await ready.boss.click(card, label="Approve")
    await ready.app.store.write(outbox.change, 1, State.SENDING, who="mynah", why="sent")
    await ready.app.store.write(outbox.change, 1, State.FAILED, who="mynah", why="X refuses @everyone.", awaits_person=True)
    await ready.env.advance_time(1)
    (card,) = at_desk(ready)
    assert "It failed <t:" in card.content
    assert "X refuses @\u200beveryone." in card.content
    assert labels(card) == ["Try again", "Edit", "Another", "Reject"]
    await ready.boss.click(card, label="Try again")
    assert (await post(ready)).status is State.APPROVED


async def test_what_a_person_must_decide_is_put_up_anew_where_it_is_seen(ready: Stage, monkeypatch):
    async def refuse(self, post):
        raise SendError("Discord refused the line.", Retry.NEVER)

    monkeypatch.setattr("bot.faces.discord.delivering.Delivering.send", refuse)
    card = await drafted(ready, channel=ready.channel.id)
    await ready.boss.click(card, label="Approve")
    await ready.app.posting.send_next()
    await asyncio.gather(*ready.app.posting._aside)
    await ready.env.advance_time(2)
    old, new = at_desk(ready)
    assert (old.id, old.content, labels(old)) == (card.id, "Post 1 has a newer card below.", [])
    assert new.content.endswith(": Discord refused the line.")
    assert labels(new) == ["Try again", "Edit", "Another", "Reject"]


async def test_a_post_that_was_not_taken_yet_says_so(ready: Stage):
    await ready.boss.click(await drafted(ready), label="Approve")
    await ready.app.store.write(outbox.change, 1, State.SENDING, who="mynah", why="sent")
    await ready.app.store.write(outbox.change, 1, State.APPROVED, who="mynah", why="X has had enough for today.")
    await ready.env.advance_time(1)
    (card,) = at_desk(ready)
    assert card.content.endswith("It was not taken yet: X has had enough for today.")
    assert "Approved by @\u200bboss" in card.content


async def test_what_was_posted_without_approval_has_a_card_once_a_person_must_decide(ready: Stage):
    await ready.app.store.write(
        lambda db: outbox.add_draft(db, voice="keeper", schedule=None, text="Alone.", who="x", to=outbox.Destination("default"))
    )
    await ready.app.store.write(lambda db: db.table("posts").update(1, {"status": "approved"}))
    await ready.env.advance_time(2)
    assert at_desk(ready) == []
    await ready.app.store.write(outbox.change, 1, State.SENDING, who="mynah", why="sent")
    await ready.app.store.write(outbox.ask_person, 1, who="mynah", why="Nobody knows.")
    await ready.env.advance_time(1)
    assert labels(at_desk(ready)[0]) == ["Send again", "It is there", "Leave it"]


async def test_an_outage_of_discord_is_waited_for(ready: Stage):
    ready.env.inject_error("POST", f"/channels/{ready.desk.id}/messages", status=401)
    await ready.app.posting.draft("keeper", None, "The fog is late.", "operator")
    await ready.env.advance_time(2)
    assert at_desk(ready) == []
    await ready.env.advance_time(6)
    (card,) = at_desk(ready)
    ready.env.inject_error("PATCH", "/channels/*/messages/*", status=401)
    await ready.app.posting.reject(1, "operator", "no")
    await ready.env.advance_time(2)
    assert labels(at_desk(ready)[0]) == ALL
    await ready.env.advance_time(6)
    assert "Rejected by operator <t:" in at_desk(ready)[0].content
    assert card.id == at_desk(ready)[0].id


async def test_where_the_bot_may_not_write_it_tries_again_later_and_the_others_are_followed(ready: Stage, monkeypatch):
    monkeypatch.setattr("bot.faces.discord.carding.CLOSED_SECONDS", 10.0)
    ready.env.inject_error("POST", f"/channels/{ready.desk.id}/messages", status=403, code=50013, message="Missing Permissions")
    for text in ("One.", "Two."):
        await ready.app.posting.draft("keeper", None, text, "operator")
    await ready.env.advance_time(3)
    assert len(at_desk(ready)) == 1
    await ready.env.advance_time(11)
    assert len(at_desk(ready)) == 2


async def test_a_card_in_a_channel_that_was_closed_for_a_while_is_followed_again(ready: Stage, monkeypatch):
    monkeypatch.setattr("bot.faces.discord.carding.CLOSED_SECONDS", 5.0)
    card = await drafted(ready)
    ready.env.inject_error("PATCH", "/channels/*/messages/*", status=403, code=50001, message="Missing Access")
    await restart(ready)
    await ready.app.posting.reject(1, "operator", "")
    await ready.env.advance_time(7)
    assert "Rejected by operator" in at_desk(ready)[0].content
    assert card.id == at_desk(ready)[0].id


async def test_however_many_posts_wait_for_a_card_a_decision_shows_at_once(ready: Stage):
    await drafted(ready)
    for number in range(30):
        await ready.app.posting.draft("keeper", None, f"Line {number}.", "operator")
    await ready.app.posting.reject(1, "operator", "")
    await ready.env.advance_time(2)
    assert "Rejected by operator" in at_desk(ready)[0].content
    assert 1 < len(at_desk(ready)) < 31
    await ready.env.advance_time(10)
    assert len(at_desk(ready)) == 31


async def test_a_restart_edits_what_stands_after_it_put_up_what_is_new(ready: Stage, monkeypatch):
    monkeypatch.setattr("bot.faces.discord.carding.AT_ONCE", 1)
    for number in range(5):
        await ready.app.posting.draft("keeper", None, f"Line {number}.", "operator")
    await ready.env.advance_time(10)
    begun = len(ready.env.http_requests)
    await ready.env.restart_bot(MynahBot(ready.app, prefix_commands=True))
    await ready.app.posting.draft("keeper", None, "New.", "operator")
    await ready.env.advance_time(10)
    methods = [request.method for request in ready.env.http_requests[begun:] if f"/channels/{ready.desk.id}/messages" in request.path]
    assert len(methods) == 6
    assert "POST" in methods[:2]


async def test_a_card_that_somebody_deleted_does_not_come_back_by_itself(ready: Stage):
    card = await drafted(ready)
    ready.env.backend.delete_message(ready.desk.id, card.id)
    await ready.app.posting.edit(1, "The fog is here.", "operator")
    await ready.env.advance_time(8)
    assert at_desk(ready) == []
    listed = await ready.boss.slash(ready.channel, "approve")
    assert listed.response.content == "• **1** · keeper · draft · The fog is here."
    anew = await ready.boss.slash(ready.channel, "approve", post=1)
    assert anew.response.content == f"The card of post 1 comes anew in <#{ready.desk.id}>."
    await ready.env.advance_time(1)
    assert labels(at_desk(ready)[0]) == ALL


async def test_forgetting_a_voice_takes_its_cards_down_also_those_that_show_an_end(ready: Stage):
    await drafted(ready)
    await ready.app.posting.reject(1, "operator", "")
    await drafted(ready, "And the gull.")
    await ready.app.store.write(accounts.forget, "keeper")
    await restart(ready)
    assert [message.content for message in at_desk(ready)] == ["This post was forgotten, with everything of its voice."] * 2
    assert [labels(message) for message in at_desk(ready)] == [[], []]
    assert await ready.app.store.read(lambda db: db["post_cards"].count) == 0


async def test_another_channel_takes_the_cards_over(ready: Stage):
    await drafted(ready)
    approve_in(ready, ready.channel.id)
    await ready.env.advance_time(2)
    (old,) = at_desk(ready)
    assert (old.content, labels(old)) == ("Post 1 is not decided here any more.", [])
    assert labels(ready.history[-1]) == ALL
    approve_in(ready, 0)
    await ready.env.advance_time(2)
    assert ready.history[-1].content == "Post 1 is not decided here any more."
    approve_in(ready, ready.desk.id)
    await ready.env.advance_time(2)
    assert labels(at_desk(ready)[-1]) == ALL


async def test_cards_are_in_the_language_of_their_server(ready: Stage):
    await put(ready, language="ja")
    card = await drafted(ready)
    assert card.content.endswith("承認待ちです。")
    assert labels(card)[0] == "承認"


# --------------------------------------------------------------------- buttons


async def test_who_approves_is_told_by_the_card_at_once(ready: Stage):
    card = await drafted(ready)
    pressed = await ready.boss.click(card, label="Approve")
    assert "Approved by @\u200bboss <t:" in at_desk(ready)[0].content
    assert labels(at_desk(ready)[0]) == []
    assert pressed.followups == []
    approved = await post(ready)
    assert approved.status is State.APPROVED
    (_, change) = await ready.app.posting.history(1)
    assert change["who"].startswith("boss (Discord ")


async def test_a_decision_whose_edit_arrives_late_does_not_hide_what_came_of_it(ready: Stage, monkeypatch):
    card = await drafted(ready)
    edit, late = discord.Interaction.edit_original_response, []

    async def overtaken(self, **wanted):
        if not late:
            late.append(wanted)
            await ready.app.store.write(outbox.change, 1, State.SENDING, who="mynah", why="sent")
            await ready.app.store.write(outbox.change, 1, State.POSTED, who="mynah", why="posted", x_id="77")
            await ready.env.bot.get_cog("Carding")._look()
        return await edit(self, **wanted)

    monkeypatch.setattr(discord.Interaction, "edit_original_response", overtaken)
    await ready.boss.click(card, label="Approve")
    await ready.env.advance_time(2)
    assert at_desk(ready)[0].content.endswith(": <https://x.com/i/web/status/77>")


async def test_a_decision_that_cannot_be_shown_at_once_is_no_failure(ready: Stage):
    card = await drafted(ready)
    ready.env.inject_error("PATCH", "/webhooks/*/messages/@original", status=401)
    decided = await ready.boss.click(card, label="Approve")
    assert decided.followups == []
    assert (await post(ready)).status is State.APPROVED
    await ready.env.advance_time(1)
    assert "Approved by @\u200bboss" in at_desk(ready)[0].content


async def test_a_post_is_rejected(ready: Stage):
    card = await drafted(ready)
    await ready.boss.click(card, label="Reject")
    assert "Rejected by @\u200bboss <t:" in at_desk(ready)[0].content
    assert labels(at_desk(ready)[0]) == []
    assert (await post(ready)).status is State.REJECTED
    await ready.env.advance_time(2)
    assert await ready.app.store.read(post_cards.followed) == []


async def test_a_text_that_x_would_not_take_is_not_approved(ready: Stage):
    card = await drafted(ready, "Ask @somebody about it.")
    refused = await ready.boss.click(card, label="Approve")
    assert said(refused).startswith("Post 1 mentions somebody \\(@\u200b\\), which X forbids to bots that were not asked: edit it")
    assert (await post(ready)).status is State.DRAFT
    assert labels(card) == ALL


async def test_a_post_is_edited_in_a_form_and_then_approved(ready: Stage):
    card = await drafted(ready)
    form = await ready.boss.click(card, label="Edit")
    (field,) = form.modal["components"]
    assert field["component"]["value"] == "The fog is late."
    await restart(ready)
    await ready.boss.submit_modal(form, {"text": "The *fog* is here."})
    assert r"> The \*fog\* is here." in at_desk(ready)[0].content
    assert "Edited by @\u200bboss" in at_desk(ready)[0].content
    assert labels(at_desk(ready)[0]) == ALL
    await ready.boss.click(at_desk(ready)[0], label="Approve")
    assert ((await post(ready)).status, (await post(ready)).text) == (State.APPROVED, "The *fog* is here.")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Ask @somebody.", "That text mentions somebody \\(@\u200b\\), which X forbids to bots that were not asked."),
        ("See example.com", "That text holds a link \\(example.com\\)."),
        ("fog " * 90, "That text takes 359 of X's 280 characters."),
        ("The fog is late.", "Post 1 says that already."),
    ],
)
async def test_what_the_form_refuses_changes_nothing(ready: Stage, text, why):
    card = await drafted(ready)
    form = await ready.boss.click(card, label="Edit")
    refused = await ready.boss.submit_modal(form, {"text": text})
    assert said(refused) == why
    assert (await post(ready)).text == "The fog is late."
    assert len(await ready.app.posting.history(1)) == 1


async def test_a_form_that_was_overtaken_is_refused(ready: Stage):
    card = await drafted(ready)
    form = await ready.boss.click(card, label="Edit")
    await ready.app.posting.edit(1, "The fog is here.", "operator")
    refused = await ready.boss.submit_modal(form, {"text": "The fog is gone."})
    assert said(refused) == CHANGED
    late = await ready.boss.click(card, custom_id="mynah:outbox:edit:1:1")
    assert said(late) == CHANGED
    assert (await post(ready)).text == "The fog is here."


async def test_the_voice_writes_another_line_in_its_place(ready: Stage):
    card = await drafted(ready)
    await restart(ready)
    pressed = await ready.boss.click(card, label="Another")
    assert pressed.ephemeral
    assert pressed.response.content == "Post 1 has another line."
    await ready.env.advance_time(1)
    changed = await post(ready)
    assert (changed.status, changed.id) == (State.DRAFT, 1)
    assert changed.text.startswith("line ")
    assert f"> {changed.text}\n" in at_desk(ready)[0].content
    assert labels(at_desk(ready)[0]) == ALL


async def answering(stage: Stage) -> None:
    """Put a draft into the outbox that answers somebody on X."""

    def put(db) -> None:
        asking = mentions.Mention("99", "default", "7", "ann", "@keeper is it dark?", now(), now(), mentions.Fate.SEEN, "", 1, None, None)
        mentions.add(db, asking)
        to = outbox.Destination("default")
        draft = outbox.add_draft(db, voice="keeper", schedule=None, text="Dark.", who="answers", to=to, in_reply_to="99")
        mentions.answer(db, "99", draft.id, stage.app.clock())

    await stage.app.store.write(put)
    await stage.env.advance_time(1)


async def test_the_card_of_an_answer_links_what_it_answers_and_another_line_answers_the_same(ready: Stage):
    await answering(ready)
    (card,) = at_desk(ready)
    assert "-# answers <https://x.com/i/web/status/99> · " in card.content
    assert "is it dark" not in card.content  # it is somebody's own, who may take it down there
    asked = []
    request = ready.app.speaking.request

    async def listened(*args, **wanted):
        asked.append(wanted["message"])
        return await request(*args, **wanted)

    ready.app.speaking.request = listened
    await ready.boss.click(card, label="Another")
    assert (await post(ready)).text.startswith("line ")
    assert (await post(ready)).in_reply_to == "99"
    assert asked == ["is it dark?"]
    assert (await last_request(ready)).message == ""


async def test_of_what_is_not_kept_any_more_no_other_answer_is_written(ready: Stage):
    await answering(ready)
    await ready.app.store.write(lambda db: db.conn.execute("UPDATE mentions SET text = NULL"))
    pressed = await ready.boss.click(at_desk(ready)[0], label="Another")
    assert said(pressed) == "What post 1 answers is not kept any more: edit it, or reject it."
    assert (await post(ready)).text == "Dark."


async def test_the_card_of_an_unattended_answer_says_whose_yes_it_has(ready: Stage):
    await answering(ready)
    await ready.app.store.write(outbox.change, 1, State.APPROVED, who=UNATTENDED_ANSWERS, why="x.mentions.unattended is on")
    await ready.env.advance_time(1)
    assert "`[x.mentions] unattended` in config.toml is on." in at_desk(ready)[0].content


async def test_the_line_in_the_place_of_a_schedules_is_asked_for_as_the_schedule_says(ready: Stage):
    await ready.app.scheduling.add("mornings", "keeper", Spec(every="6h", prompt="the fog", creativity=0.5), by="operator")
    await ready.app.scheduling.run_now("mornings", "operator")
    await ready.app.scheduling.step()
    await ready.env.advance_time(1)
    await ready.boss.click(at_desk(ready)[0], label="Another")
    request = await last_request(ready)
    assert (request.prompt, request.sampling["temperature"]) == ("the fog", 0.5)
    assert request.requested_by.startswith("boss (Discord ")


async def test_another_line_that_does_not_come_changes_nothing(ready: Stage):
    card = await drafted(ready)
    await put(ready, lines_a_minute=1)
    ready.speaker.lines = ["ask @everyone"]
    failed = await ready.boss.click(card, label="Another")
    assert said(failed).startswith("None of ")
    counted = await ready.boss.click(card, label="Another")
    assert said(counted).startswith("You may ask for 1 line")
    assert (await post(ready)).text == "The fog is late."
    assert labels(card) == ALL


async def test_a_line_that_comes_after_a_yes_is_thrown_away(ready: Stage, monkeypatch):
    card = await drafted(ready)
    answer = Speaking.answer

    async def slow(self, request):
        spoken = await answer(self, request)
        await ready.app.posting.approve(1, "operator")
        return spoken

    monkeypatch.setattr(Speaking, "answer", slow)
    late = await ready.boss.click(card, label="Another")
    assert said(late) == CHANGED
    assert ((await post(ready)).status, (await post(ready)).text) == (State.APPROVED, "The fog is late.")


async def test_of_two_who_press_at_once_one_wins_and_the_other_reads_a_sentence(ready: Stage, monkeypatch):
    card = await drafted(ready)
    approve = Posting.approve

    async def overtaken(self, *args, **wanted):
        await self.reject(1, "chief (Discord 9)", "", seen=1)  # who pressed at the same card in the same instant
        return await approve(self, *args, **wanted)

    monkeypatch.setattr(Posting, "approve", overtaken)
    late = await ready.boss.click(card, label="Approve")
    assert said(late) == CHANGED
    assert [change["status"] for change in await ready.app.posting.history(1)] == ["draft", "rejected"]
    await ready.env.advance_time(1)
    assert "Rejected by @\u200bchief" in at_desk(ready)[0].content


async def test_of_all_who_decide_in_one_instant_exactly_one_does(ready: Stage):
    await drafted(ready)
    posting = ready.app.posting
    deeds = [posting.approve(1, "a", seen=1), posting.reject(1, "b", "", seen=1), posting.edit(1, "Fog.", "c", seen=1)]
    results = await asyncio.gather(*deeds, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Post", "WrongStateError", "WrongStateError"]
    assert len(await posting.history(1)) == 2


async def test_who_presses_decides_about_what_he_sees(ready: Stage):
    card = await drafted(ready)
    await ready.app.posting.edit(1, "The fog is here.", "operator")  # the card does not show it yet
    refused = await ready.boss.click(card, custom_id="mynah:outbox:approve:1:1")
    assert said(refused) == CHANGED
    assert (await post(ready)).status is State.DRAFT


@pytest.mark.parametrize(
    ("label", "state", "shown"),
    [
        ("Send again", State.APPROVED, "Approved by @\u200bboss"),
        ("It is there", State.POSTED, "@\u200bboss found it there"),
        ("Leave it", State.REJECTED, "Rejected by @\u200bboss"),
    ],
)
async def test_a_post_that_may_be_there_waits_for_a_person(ready: Stage, label, state, shown):
    card = await given_up(ready)
    assert card.content.endswith("X did not answer; look there.")
    assert labels(card) == ["Send again", "It is there", "Leave it"]
    await ready.boss.click(card, label=label)
    assert (await post(ready)).status is state
    assert shown in at_desk(ready)[0].content
    assert labels(at_desk(ready)[0]) == []


async def test_a_button_of_a_forgotten_post_says_so(ready: Stage):
    card = await drafted(ready)
    await ready.app.store.write(accounts.forget, "keeper")
    refused = await ready.boss.click(card, label="Approve")
    assert said(refused) == "There is no post 1: `/approve` lists them."


# ------------------------------------------------------------------------- who


async def refusals(stage: Stage, member, channel) -> set[str]:
    """Return what a member reads who uses the commands."""
    found = set()
    for name in ("approve", "pause", "resume"):
        refused = await member.slash(channel, name)
        found.add(said(refused))
    assert await member.autocomplete(channel, "approve", "post", "") == []
    return found


async def test_where_the_operator_names_no_channel_nobody_decides(stage: Stage):
    await stage.train()
    await stage.app.posting.draft("keeper", None, "The fog is late.", "operator")
    await stage.env.advance_time(2)
    assert await refusals(stage, stage.boss, stage.channel) == {NOBODY}
    assert stage.history == []
    assert await stage.app.posting.paused() is None
    assert len(stage.env.errors) == 3


async def test_the_moderators_of_another_server_decide_nothing(ready: Stage):
    await drafted(ready)
    island = ready.env.create_guild("Island")
    chiefs = island.create_role("Chief", permissions=discord.Permissions(manage_guild=True))
    beach = island.create_text_channel("beach")
    chief = island.add_member(ready.env.create_user("chief"), roles=[chiefs])
    assert await refusals(ready, chief, beach) == {ELSEWHERE}
    assert await ready.app.posting.paused() is None
    assert len(ready.env.errors) == 3


async def test_members_decide_nothing_unless_they_have_the_role(ready: Stage):
    keepers = ready.channel.guild.create_role("Keepers")
    carol = ready.channel.guild.add_member(ready.env.create_user("carol"), roles=[keepers])
    card = await drafted(ready)
    form = await ready.boss.click(card, label="Edit")
    assert await refusals(ready, carol, ready.channel) == {MODERATORS}
    for label in ALL:
        refused = await carol.click(card, label=label)
        assert said(refused) == MODERATORS
    ready.env.backend.get_guild(ready.channel.guild.id).members[ready.boss.id].role_ids.clear()
    assert said(await ready.boss.submit_modal(form, {"text": "Mine."})) == MODERATORS
    assert (await post(ready)).text == "The fog is late."
    await put(ready, post_roles=(keepers.id,))
    refused = await ready.alice.click(card, label="Approve")
    assert said(refused) == "Deciding what is posted is for members with the role Keepers in this server."
    await carol.click(card, label="Approve")
    assert (await post(ready)).status is State.APPROVED
    assert len(ready.env.errors) == 3


async def test_cards_work_where_the_bot_is_used_in_other_channels_alone(ready: Stage):
    await put(ready, channels=(ready.channel.id,))
    card = await drafted(ready)
    form = await ready.boss.click(card, label="Edit")
    await ready.boss.submit_modal(form, {"text": "The fog is here."})
    await ready.boss.click(card, label="Approve")
    assert (await post(ready)).status is State.APPROVED


async def test_lines_go_to_the_outbox_where_posts_are_decided_and_get_a_card(ready: Stage, monkeypatch):
    monkeypatch.setattr("bot.services.posting.Posting.sends", True)
    lines = (await ready.alice.slash(ready.channel, "generate", voice="keeper", count=1)).response
    refused = await ready.alice.click(lines, label="Send to X")
    assert said(refused) == MODERATORS
    sent = await ready.boss.click(lines, label="Send to X")
    assert (sent.ephemeral, sent.response.content) == (True, f"Post 1 waits for a yes in <#{ready.desk.id}>.")
    await ready.env.advance_time(1)
    assert "> line 0 of" in at_desk(ready)[0].content
    island = ready.env.create_guild("Island")
    beach = island.create_text_channel("beach")
    again = await island.add_member(ready.alice.user).slash(beach, "generate", voice="keeper", count=1)
    assert [button["label"] for row in again.response.components for button in row["components"]] == ["Again", "More like this"]


# -------------------------------------------------------------------- commands


async def test_approve_lists_what_waits_with_links(ready: Stage):
    empty = await ready.boss.slash(ready.channel, "approve")
    assert (empty.ephemeral, empty.response.content) == (True, "No post waits.")
    card = await drafted(ready)
    await drafted(ready, "Decided.")
    await ready.app.posting.reject(2, "operator", "")
    await drafted(ready, "Ask @everyone\nabout it " + "at length " * 20)
    listed = (await ready.boss.slash(ready.channel, "approve")).response.content
    there = f"https://discord.com/channels/{ready.channel.guild.id}/{ready.desk.id}/{card.id}"
    assert listed.split("\n")[0] == f"• **[1](<{there}>)** · keeper · draft · The fog is late."
    assert "· Ask @\u200beveryone about it at length" in listed.split("\n")[1]
    assert len(listed.split("\n")) == 2
    await ready.boss.send(ready.channel, "!approve")
    assert ready.history[-1].content == listed


async def test_a_long_list_is_cut_and_counted(ready: Stage):
    for number in range(17):
        await ready.app.posting.draft("keeper", None, f"Line {number}.", "operator")
    listed = (await ready.boss.slash(ready.channel, "approve")).response.content
    assert listed.count("•") == 15
    assert listed.endswith("2 posts besides")


async def test_a_list_counts_what_no_message_has_room_for(ready: Stage):
    for number in range(17):
        await drafted(ready, f"Line {number} " + "goes on and on " * 10)
    listed = (await ready.boss.slash(ready.channel, "approve")).response.content
    shown = listed.count("•")
    assert shown < 15
    assert listed.endswith(f"\n{17 - shown} posts besides")
    assert len(listed) <= 2000


async def test_a_typed_number_that_no_post_can_have_lists_what_waits_as_any_other_word_does(ready: Stage):
    await ready.boss.send(ready.channel, "!approve 99999999999999999999")
    assert ready.history[-1].content == "No post waits."


async def test_approve_puts_a_card_up_anew(ready: Stage):
    old = await drafted(ready)
    offered = await ready.boss.autocomplete(ready.channel, "approve", "post", "fog")
    assert offered == [{"name": "1 · keeper: The fog is late.", "value": 1}]
    assert await ready.boss.autocomplete(ready.channel, "approve", "post", "gull") == []
    assert await ready.alice.autocomplete(ready.channel, "approve", "post", "") == []
    await ready.boss.slash(ready.channel, "approve", post=1)
    await ready.env.advance_time(2)
    first, second = at_desk(ready)
    assert (first.id, first.content, labels(first)) == (old.id, "Post 1 has a newer card below.", [])
    assert labels(second) == ALL
    refused = await ready.boss.slash(ready.channel, "approve", post=9)
    assert said(refused) == "There is no post 9: `/approve` lists them."
    assert len(ready.env.errors) == 1


async def test_pause_and_resume(ready: Stage):
    await ready.boss.click(await drafted(ready), label="Approve")
    stopped = await ready.boss.slash(ready.channel, "pause", why="a *storm*")
    assert stopped.ephemeral
    assert ", by @\u200bboss: a \\*storm\\*. Nothing is posted and no schedule fires until" in stopped.response.content
    assert (await ready.app.posting.paused()).why == "a *storm*"
    await ready.env.advance_time(1)
    assert at_desk(ready)[0].content.endswith("It goes out when posting is resumed: it is paused.")
    assert "Posting is paused since <t:" in (await ready.boss.slash(ready.channel, "approve")).response.content
    again = await ready.boss.slash(ready.channel, "resume")
    assert again.response.content == "Posting goes on: what is approved is sent, and schedules fire again."
    assert await ready.app.posting.paused() is None
    await ready.env.advance_time(1)
    assert "paused" not in at_desk(ready)[0].content
    refused = await ready.boss.slash(ready.channel, "resume")
    assert said(refused) == "Posting is not paused."
    await ready.boss.send(ready.channel, "!pause")
    assert ready.history[-1].content.startswith("Posting is paused since <t:")
    assert len(ready.env.errors) == 1


async def test_who_decided_paused_and_planned_is_counted_and_can_have_his_name_erased(ready: Stage):
    await ready.boss.click(await drafted(ready), label="Reject")
    await ready.boss.slash(ready.channel, "pause")
    await ready.boss.slash(ready.channel, "resume")
    await ready.boss.slash(ready.channel, "schedule add", name="mornings", voice="keeper", times="9:00")
    await ready.boss.slash(ready.channel, "schedule run", name="mornings")
    await ready.boss.slash(ready.channel, "schedule pause", name="mornings")
    counts = await ready.app.store.read(members.stored, ready.boss.id)
    assert (counts["posts decided"], counts["schedules and pauses"]) == (1, 3)
    await ready.app.store.write(members.erase, ready.boss.id)
    assert await ready.app.store.read(lambda db: [line for line in db.iterdump() if f"Discord {ready.boss.id}" in line]) == []
