"""What is done: each form does its one thing once, in the records it is the operator's, and what is refused changes nothing."""

import pytest
import structlog

from bot.faces.web.deeds import BY
from bot.log import configure_logging
from data import jobs, models, outbox
from data.outbox import State
from data.schedules import runs


async def post_of(visitor, number):
    return await visitor.app.store.read(outbox.get, number)


async def decisions(visitor, number):
    return [(change["status"], change["who"]) for change in await visitor.app.posting.history(number)]


async def test_a_draft_is_approved_once_however_often_the_button_is_pressed(operator):
    page = await operator.told("/outbox/1", choice="approve", seen=1, back="outbox")
    assert "Post 1 is approved. It is sent next." in page
    assert (await post_of(operator, 1)).status is State.APPROVED
    before = await operator.rows()
    assert "Post 1 was changed meanwhile: look at it again." in await operator.told("/outbox/1", choice="approve", seen=1)
    assert await operator.rows() == before
    assert await decisions(operator, 1) == [(State.DRAFT, "schedule mornings"), (State.APPROVED, BY)]


@pytest.mark.parametrize(
    ("number", "choice", "status"),
    [(1, "reject", State.REJECTED), (2, "retry", State.APPROVED), (2, "reject", State.REJECTED), (4, "reject", State.REJECTED)],
)
async def test_each_button_decides_what_it_says(operator, number, choice, status):
    seen = len(await operator.app.posting.history(number))
    assert f"Post {number} is {status}." in await operator.told(f"/outbox/{number}", choice=choice, seen=seen)
    assert (await post_of(operator, number)).status is status
    assert (await decisions(operator, number))[-1] == (status, BY)


@pytest.mark.parametrize(("choice", "status"), [("again", State.APPROVED), ("confirm", State.POSTED), ("leave", State.REJECTED)])
async def test_a_post_that_may_be_there_is_settled_by_who_looked(operator, choice, status):
    def sending(db):
        outbox.change(db, 4, State.SENDING, who="mynah", why="sent")
        outbox.ask_person(db, 4, who="mynah", why="Nobody knows.")

    await operator.app.store.write(sending)
    assert "Nobody knows." in (await operator.get("/outbox")).text
    seen = len(await operator.app.posting.history(4))
    assert "edit" not in (await operator.get("/outbox/4")).text.lower().split("what became of it")[0]
    await operator.told("/outbox/4", choice=choice, seen=seen)
    assert (await post_of(operator, 4)).status is status


async def test_what_an_operator_writes_stays_out_of_the_log(operator, tmp_path):
    configure_logging(tmp_path / "mynah.log")
    page = await operator.told("/outbox/1", choice="edit", seen=1, text="An aubergine drifts past the light.")
    assert "An aubergine" in page
    await operator.told("/outbox/1", choice="reject", seen=2, why="aubergines do not drift")
    structlog.get_logger().info("this is logged")
    said = (tmp_path / "mynah.log").read_text()
    assert "this is logged" in said
    assert "ubergine" not in said


async def test_what_is_not_offered_is_not_done(operator):
    await operator.app.store.write(lambda db: outbox.change(db, 4, State.SENDING, who="mynah", why="sent"))
    before = await operator.rows()
    for number, choice in ((4, "reject"), (4, "approve"), (5, "approve"), (3, "approve"), (1, "confirm"), (99, "approve")):
        page = await operator.post(f"/outbox/{number}", choice=choice, seen=len(await operator.app.store.read(outbox.changes, number)))
        assert page.status_code == 303
    answer = await operator.post("/outbox/4", choice="edit", seen=3, text="Another text.")
    assert answer.status_code == 422
    assert "is being sent at this moment" in answer.text
    assert 'You wrote: <span dir="auto">Another text.' in answer.text
    assert await operator.rows() == before


async def test_a_text_is_edited_and_approved_once(operator):
    page = await operator.told("/outbox/1", choice="edit", seen=1, text="The lamp is fine.\r\nSo am I.")
    assert "Post 1 has its new text. Post 1 is draft." in page
    assert (await post_of(operator, 1)).text == "The lamp is fine.\nSo am I."
    page = await operator.told("/outbox/1", choice="approve-edited", seen=2, text="The lamp is fine.")
    post = await post_of(operator, 1)
    assert (post.text, post.status) == ("The lamp is fine.", State.APPROVED)
    assert [who for _, who in await decisions(operator, 1)][1:] == [BY, BY]
    assert "It said: " in page


async def test_a_text_that_is_refused_stays_in_its_field_and_changes_nothing(operator):
    own = (await post_of(operator, 1)).text
    before = await operator.rows()
    for text in ("", "x" * 300, "look at https://evil.example", own):
        answer = await operator.post("/outbox/1", choice="approve-edited", seen=1, text=text)
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text
        assert f"\n{text}</textarea>" in answer.text
    assert await operator.rows() == before


async def test_a_text_is_not_put_over_one_that_nobody_saw(operator):
    await operator.app.posting.edit(1, "Somebody else's text.", "ottoline")
    answer = await operator.post("/outbox/1", choice="edit", seen=1, text="Mine.")
    assert answer.status_code == 422
    assert "was changed meanwhile" in answer.text
    assert (await post_of(operator, 1)).text == "Somebody else's text."


async def test_posting_is_paused_and_goes_on(operator):
    assert "Nothing goes out and no schedule fires" in await operator.told("/posting", choice="pause", why=" a \n storm ")
    pause = await operator.app.posting.paused()
    assert (pause.paused_by, pause.why) == (BY, "a storm")
    assert "a storm" in await operator.told("/posting", choice="pause", why="a calm")
    assert "Posting goes on" in await operator.told("/posting", choice="resume")
    assert "Posting is not paused." in await operator.told("/posting", choice="resume")


async def test_a_training_is_cancelled_once(operator):
    store = operator.app.store
    waiting = (await store.read(jobs.in_order, 100))[-1]
    assert f"Job {waiting.id} (old_pilot) is cancelled." in await operator.told(f"/queue/{waiting.id}/cancel")
    assert (await store.read(jobs.get, waiting.id)).error == f"Cancelled by {BY} before it began."
    assert "has ended already" in await operator.told(f"/queue/{waiting.id}/cancel")
    assert "There is no job 999" in await operator.told("/queue/999/cancel")
    (running,) = await store.read(jobs.interrupted)
    page = await operator.told(f"/queue/{running.id}/cancel")
    assert "is being stopped" in page
    assert (await store.read(jobs.get, running.id)).cancel_requested_by == BY
    assert f'action="/queue/{running.id}/cancel"' not in page


async def test_a_version_is_pinned_and_unpinned(operator):
    page = await operator.told("/voices/keeper_ottoline/pin", version=1)
    assert "keeper_ottoline speaks with version 1 from now on" in page
    assert (await operator.app.store.read(models.current, "keeper_ottoline")).version == 1
    assert "its newest version again: 2 now" in await operator.told("/voices/keeper_ottoline/pin")
    before = await operator.rows()
    assert "keeper_ottoline has no version 9: choose from 1, 2." in await operator.told("/voices/keeper_ottoline/pin", version="9")
    assert "No voice named nobody" in (await operator.get((await operator.post("/voices/nobody/pin")).headers["location"])).text
    for version in ("", "x", "²", "9" * 40):
        assert (await operator.post("/voices/keeper_ottoline/pin", version=version)).status_code == 400
    assert await operator.rows() == before


async def test_a_schedule_is_paused_resumed_run_and_removed(operator):
    page = await operator.told("/schedules/mornings", choice="pause")
    assert f"by <bdi>{BY}</bdi>" in page
    assert "goes on" in await operator.told("/schedules/mornings", choice="resume")
    assert "is not paused" in await operator.told("/schedules/mornings", choice="resume")
    assert "writes a draft now" in await operator.told("/schedules/mornings", choice="run")
    (run,) = await operator.app.store.read(runs, "mornings")
    assert run.asked_by == BY
    assert "has just been run" in await operator.told("/schedules/mornings", choice="run")
    assert len(await operator.app.store.read(runs, "mornings")) == 1
    assert "The schedule mornings is gone" in await operator.told("/schedules/mornings", choice="remove")
    assert (await operator.get("/schedules/mornings")).status_code == 404
    assert len(await operator.app.posting.listed()) == 5


async def test_a_post_without_approval_is_asked_for_twice(operator, monkeypatch):
    unattended = operator.app.settings.x.model_copy(update={"unattended": frozenset({"mornings"})})
    monkeypatch.setattr(operator.app.scheduling, "_settings", unattended)
    assert "Yes, write a post that goes out without approval" in (await operator.get("/schedules/mornings")).text
    assert "writes a post now, which goes out without approval" in await operator.told("/schedules/mornings", choice="run")


async def test_a_voice_writes_another_line_and_its_model_card(operator):
    async with operator.app.working():
        before = (await post_of(operator, 1)).text
        page = await operator.told("/outbox/1", choice="another", seen=1, back="outbox")
        assert "Post 1 has another line." in page
        assert (await post_of(operator, 1)).text not in (before, "")
        assert "was changed meanwhile" in await operator.told("/outbox/1", choice="another", seen=1)
        page = await operator.told("/voices/keeper_ottoline/1/card")
        assert "The model card of keeper_ottoline, version 1, is written." in page
        assert "Write it anew" in page
    card = await operator.get("/voices/keeper_ottoline/1/card")
    assert card.status_code == 200
    assert "<h1>" in card.text
