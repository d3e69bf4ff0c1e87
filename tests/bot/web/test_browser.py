"""The page in a real browser: by keyboard alone, on a phone, in the dark, live, and as axe-core sees it where AXE names its file.

npm install axe-core@4.14.1
AXE=node_modules/axe-core/axe.min.js python -m pytest -m long tests/bot/web/test_browser.py
"""

import asyncio
import json
import os
from pathlib import Path

import pytest

from bot.faces.web.entry import token_of
from bot.faces.web.face import WebFace
from data import jobs, outbox
from data.outbox import State
from tests.bot.web.browser import CHROMIUM, browser
from tests.bot.web.test_entry import PAGES
from trainer.protocol import Note, Sample, Step

pytestmark = [pytest.mark.long, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")]
LOOKS = ({"width": 1100}, {"width": 1100, "dark": True}, {"width": 375, "height": 812}, {"width": 320, "height": 640, "dark": True})
NAMED = """(() => {
    const one = document.activeElement, style = getComputedStyle(one);
    const name = one === document.body ? "the end" : one.labels?.[0]?.innerText || one.innerText || one.id;
    const seen = one === document.body || style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    return [name.replace(/\\s+/g, " ").trim(), seen];
})()"""


@pytest.fixture
async def window(stranger):
    """A browser before the sign-in, and the page's address."""
    face = WebFace(stranger.app, 0)
    stranger.app.lead.take()
    task = asyncio.create_task(face.run())
    await face.door.open.wait()
    async with browser() as one:
        one.base = f"http://127.0.0.1:{face.door.port}"
        one.app = stranger.app
        one.serving = task
        await one.look(width=1100)
        yield one
    task.cancel()
    await asyncio.wait([task])


async def enter(window):
    token = token_of(window.app.settings.data_dir)
    await window.call("Page.navigate", url=f"{window.base}/sign-in#{token}")
    await window.until("location.pathname === '/' && document.readyState === 'complete'")


async def tab_to(window, text):
    """Press Tab until something with this text has the focus, which is seen all the way; return what had it."""
    passed = []
    for _ in range(100):
        await window.press("Tab")
        name, outlined = await window.run(NAMED)
        passed.append(name)
        assert outlined, f"nobody sees that {name!r} has the focus"
        if name.startswith(text):
            return passed
    raise AssertionError(passed)


async def test_the_address_that_the_command_prints_signs_in_and_leaves_no_token_in_the_address(window):
    await enter(window)
    assert await window.run("location.href") == f"{window.base}/"
    assert await window.run("document.cookie") == ""  # no script reads it
    assert await window.run("document.title") == "Overview · Mynah"
    assert window.problems == []


async def test_a_post_is_approved_by_the_keyboard_alone(window):
    await enter(window)
    assert (await tab_to(window, "Skip to the content"))[0].startswith("Skip")
    await window.press("Enter")
    passed = await tab_to(window, "Approve")
    assert "Voices" not in passed  # which the link skipped
    await window.during_load(window.press("Enter"))
    assert await window.run("document.querySelector('[role=status].notice').innerText") == "✓ Post 1 is approved. It is sent next."
    assert (await window.app.store.read(outbox.get, 1)).status is State.APPROVED
    await window.go(f"{window.base}/outbox/2#edit")
    await tab_to(window, "What is posted")
    await window.call("Input.insertText", text="Berth 5 is the seal's. ")
    await tab_to(window, "Save and approve")
    await window.during_load(window.press(" "))
    post = await window.app.store.read(outbox.get, 2)
    assert (post.status, post.text.startswith("Berth 5 is the seal's. ")) == (State.APPROVED, True)
    assert window.problems == []


async def test_nothing_is_wider_than_a_screen_or_a_phone_light_or_dark(window):
    await enter(window)
    for look in LOOKS:
        await window.look(**look)
        for path in PAGES:
            await window.go(window.base + path)
            assert await window.run("document.documentElement.scrollWidth - innerWidth") <= 0, (path, look)
            ground = await window.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
            assert (max(ground) < 60) == look.get("dark", False)
            small = "[...document.querySelectorAll('button, .button, summary, header nav a')].filter(one => one.offsetHeight < 40).length"
            assert await window.run(small) == 0, path
    assert window.problems == []


async def test_axe_finds_nothing(window):
    axe = os.environ.get("AXE")
    if not axe:
        pytest.skip("AXE names no axe.min.js")
    source = await asyncio.to_thread(Path(axe).read_text)
    await window.go(f"{window.base}/sign-in")
    found = {"/sign-in": await violations(window, source)}
    await enter(window)
    for look in LOOKS[:3]:
        await window.look(**look)
        for path in (*PAGES, "/outbox/2", "/nothing"):
            await window.go(window.base + path)
            found[f"{path} {look}"] = await violations(window, source)
    assert {path: some for path, some in found.items() if some} == {}


async def violations(window, source):
    await window.run(source)
    script = "axe.run().then(found => JSON.stringify(found.violations.map(one => [one.id, one.nodes.map(node => node.html)])))"
    return json.loads(await window.run(script))


async def test_the_queue_is_live_keeps_the_focus_and_says_when_nobody_answers(window):
    await enter(window)
    await window.go(f"{window.base}/queue")
    await tab_to(window, "Cancel the training of ferry_bell")
    await window.press("Enter")
    await tab_to(window, "Yes, cancel it")
    (job,) = await window.app.store.read(jobs.interrupted)
    await window.app.store.write(jobs.record_event, job, Step(90, 120, 3.3, 812.5, 50.0).to_json())
    await window.until("document.body.innerText.includes('step 90 of 120')")
    assert await window.run("document.querySelector('progress').value") == 90
    assert (await window.run(NAMED))[0].startswith("Yes, cancel it")  # and the question is still open
    for event in (Note("The base is fetched."), Sample(90, "The seal has been told.")):
        await window.app.store.write(jobs.record_event, job, event.to_json())
    await window.until("['base is fetched', 'seal has been told'].every(words => document.body.innerText.includes(words))")
    assert (await window.run(NAMED))[0].startswith("Yes, cancel it")  # though there is more before it now
    waiting = (await window.app.store.read(jobs.in_order, 100))[1]
    await window.app.training.cancel(waiting.id, by="somebody else")
    await window.until(f"!document.getElementById('job-{waiting.id}') && !!document.getElementById('ended-{waiting.id}')")
    assert (await window.run(NAMED))[0].startswith("Yes, cancel it")
    assert await window.run("document.getElementById('state').innerText.startsWith('1 training under way, 1 waiting')")
    window.serving.cancel()
    await window.until("document.getElementById('pulse').innerText.startsWith('Mynah does not answer')")
    assert all("ERR_" in problem for problem in window.problems)


async def test_a_session_that_ended_elsewhere_leads_to_the_sign_in(window):
    await enter(window)
    await window.run("fetch('/sign-out', {method: 'POST', redirect: 'manual'}).then(() => 1)")
    await window.until("location.pathname === '/sign-in' && document.readyState === 'complete'")
    assert "mynah web" in await window.run("document.body.innerText")


async def test_what_was_written_is_not_lost_with_the_session(window):
    await enter(window)
    await window.go(f"{window.base}/outbox/2#edit")
    await tab_to(window, "What is posted")
    await window.call("Input.insertText", text="Berth 5 is the seal's. ")
    await window.run("fetch('/sign-out', {method: 'POST', redirect: 'manual'}).then(() => 1)")
    await window.until("document.getElementById('pulse').innerText.startsWith('You are signed out')")
    assert "Berth 5 is the seal's. " in await window.run("document.getElementById('text').value")
