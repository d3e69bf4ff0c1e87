"""One schedule end to end: it is due, a line is drafted, a person approves it, and it is on X."""

import asyncio

from bot.services.posting import Posting
from bot.services.scheduling import Scheduling
from data import schedules
from data.outbox import DEFAULT_ACCOUNT, State
from data.schedules import Schedule
from data.store import Store
from tests.bot.test_scheduling import due, running
from tests.bot.x.rows import add_model, sender_to
from tests.loopback_x import LoopbackX


async def test_a_due_schedule_becomes_a_post_after_a_yes(tmp_path):
    async with Store(tmp_path / "mynah.db") as store, Store(tmp_path / "mynah.db") as terminal, LoopbackX() as server:
        x = sender_to(store, server.url)
        posting, person = Posting(store, {DEFAULT_ACCOUNT: x}), Posting(terminal, None)
        await store.write(add_model)
        await store.write(schedules.add, due("tides"))

        async def speak(_schedule: Schedule) -> str:
            return "Low water at 06:12; the bar is no place for a dinghy."

        async with running(Scheduling(store, speak, posting)):
            sending = asyncio.create_task(posting.run_forever())
            while not (found := await person.listed()):
                await terminal.changed()
            draft = found[-1]  # the next one is written ahead
            assert (draft.status, draft.schedule, server.posts) == (State.DRAFT, "tides", {})

            await person.approve(draft.id, "ann")
            assert await server.arrived.get() == draft.text
            while (post := (await person.listed())[-1]).status is not State.POSTED:
                await terminal.changed()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

        assert server.posts == {post.x_id: draft.text}
        assert [(change["status"], change["who"]) for change in await person.history(post.id)] == [
            ("draft", "schedule tides"),
            ("approved", "ann"),
            ("sending", "mynah"),
            ("posted", "mynah"),
        ]
        await x.close()
