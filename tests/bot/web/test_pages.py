"""What is shown: every page, with much to show and with nothing, and text from outside as text alone."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

from bot.faces.web.entry import LOOK
from bot.services import publishing
from data import jobs, models, outbox, schedules
from data.jobs import Status
from data.schedules import Schedule
from data.store import now
from tests.bot.web.test_entry import PAGES
from trainer.protocol import Sample, Step

EMPTY = ("/", "/voices", "/queue", "/outbox", "/schedules", "/spend", "/health", "/voices?search=nobody")
SHOWN = {
    "/": ("ferry_bell", "step 74 of 120", "Post 1", "mornings", "$0.465 of $1.00", "All is well."),
    "/voices": ("keeper_ottoline", "harbour_office-keeper_ottoline", "loss 4.12 → 3.04", "1,846 posts kept"),
    "/voices/keeper_ottoline": ("A gull has taken", "Version", "curve-dark.png", "yes, the newest", "3m34s"),
    "/voices/keeper_ottoline/1": ("which does not speak",),
    "/queue": (
        "The bell rang twice",
        "Waits for 1 training before it.",
        "Waits for 2 trainings",
        "The GPU&#39;s memory was full",
        "cancel it",
    ),
    "/outbox": ("Approve", "credits are used up", "Post 5", "posted"),
    "/outbox/1": ("106 of 280 characters", "Save and approve", "schedule mornings"),
    "/schedules": ("9:00", "every 6h", "paused"),
    "/schedules/mornings": ("Europe/Madrid", "each draft waits for a person", "up to 20m later"),
    "/spend": ("Posts written", "$3.965 of $10.00", "may still be spent"),
    "/health": ("All is well with the service; the doctor, below, finds", "outbox", "Children started", "no token"),
}
EVIL = "`<b>`<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>{{ 7*7 }}\u202e"


class Page(HTMLParser):
    """What a page is made of, and what of it would be amiss for some readers."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def problems(self) -> list[str]:
        found = []
        ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        found += [f"twice: {one}" for one in {*ids} if ids.count(one) > 1]
        labelled = {attributes.get("for") for tag, attributes in self.tags if tag == "label"}
        level = 0
        for tag, attributes in self.tags:
            found += [f"{tag} {name}" for name in attributes if name.startswith("on") or name == "style"]
            if re.fullmatch("h[1-6]", tag):
                if int(tag[1]) > level + 1:
                    found.append(f"{tag} after h{level}")
                level = int(tag[1])
            if (
                tag in ("input", "textarea")
                and "hidden" not in (attributes.get("type"), *attributes)
                and attributes.get("id") not in labelled
            ):
                found.append(f"no label: {attributes}")
            if tag == "img" and "alt" not in attributes:
                found.append(f"no alt: {attributes}")
            if tag == "progress" and not attributes.get("aria-label"):
                found.append("a progress without a name")
            for name in ("aria-labelledby", "aria-describedby"):
                found += [f"{name} {attributes[name]}" for _ in [0] if name in attributes and attributes[name] not in ids]
            if tag == "script" and attributes != {"src": "/static/live.js", "defer": None}:
                found.append(f"a script: {attributes}")
        names = [tag for tag, _ in self.tags]
        found += [f"{names.count(tag)} {tag}" for tag in ("h1", "main", "title", "header") if names.count(tag) != 1]
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


async def test_every_page_shows_what_there_is(operator):
    assert SHOWN.keys() == {*PAGES}
    for path, texts in SHOWN.items():
        answer = await operator.get(path)
        assert answer.status_code == 200, path
        assert [text for text in texts if text not in answer.text] == [], path
        assert Page(answer.text).problems() == [], path
        assert "1 training under way, 2 waiting" in answer.text


async def test_health_counts_in_its_first_line_what_the_doctor_finds_amiss(operator):
    text = (await operator.get("/health")).text
    (number,) = re.findall(r"the doctor, below, finds (\d+) things amiss\.", text)
    assert int(number) == text.count(">amiss:<") >= 3  # a post that waits, and no tokens


async def test_every_page_says_so_where_there_is_nothing(empty):
    for path in (*EMPTY, "/sign-in", "/nothing"):
        answer = await empty.get(path)
        assert answer.status_code == (404 if path == "/nothing" else 200), path
        assert Page(answer.text).problems() == [], path
    assert "No voice is trained yet" in (await empty.get("/voices")).text
    assert "No post waits for you" in (await empty.get("/outbox")).text
    assert "There is no schedule" in (await empty.get("/schedules")).text


async def test_what_has_ended_is_shown_however_much_waits(operator):
    def queue(db):
        row = dict(next(db.query("SELECT * FROM jobs WHERE status = 'queued'")))
        db["jobs"].insert_all(row | {"id": 2000 + number, "fingerprint": str(number)} for number in range(40))

    before = (await operator.get("/queue")).text.count('<li id="ended-')
    await operator.app.store.write(queue)
    assert (await operator.get("/queue")).text.count('<li id="ended-') == before > 0


NOT_THERE = {
    "/voices/nobody": "No voice named nobody is trained: <code>mynah train nobody</code> makes it",
    "/voices/keeper_ottoline/9": "keeper_ottoline has no version 9: choose from 1, 2.",
    "/outbox/99": "There is no post 99",
    "/schedules/nothing": "nothing",
    "/voices?page=2": "There is no page 2: the last is 1.",
    "/voices/keeper_ottoline/1/card": "not written yet",
}


async def test_what_is_not_there_is_one_sentence(operator):
    for path, says in NOT_THERE.items():
        answer = await operator.get(path)
        assert answer.status_code == 404, path
        assert says in answer.text
        assert Page(answer.text).problems() == []


def _hostile(db):
    at = datetime.now(UTC)
    db.conn.execute("UPDATE posts SET text = ?, schedule = NULL", [EVIL])
    db.conn.execute("UPDATE post_changes SET who = ?, why = ?, was = ?", [EVIL, EVIL, EVIL])
    db.conn.execute("UPDATE jobs SET requested_by = ?, error = ?", [EVIL, EVIL])
    schedules.add(db, Schedule("odd", "keeper_ottoline", "times", "09:00", "UTC", EVIL, now(), prompt=EVIL))
    schedules.add_run(db, "odd", nominal=at, at=at, taken_at=at, outcome=schedules.Outcome.FAILED, why=EVIL)
    outbox.pause(db, EVIL, EVIL)
    for model in models.versions(db, "keeper_ottoline"):
        db.conn.execute(
            "UPDATE models SET base = ?, result = json_set(result, '$.samples', json_array(?)) WHERE id = ?", [EVIL, EVIL, model.id]
        )
    (job,) = jobs.interrupted(db)
    jobs.record_event(db, job, Sample(80, EVIL).to_json())
    jobs.record_event(db, job, '{"type": "stage", "name": "<script>"}')


async def test_text_from_outside_is_shown_and_does_nothing(operator, monkeypatch):
    monkeypatch.setattr(operator.app.speaking, "allowed", lambda lines, _: _same(lines))
    await operator.app.store.write(_hostile)
    seen = set()
    for path in (*PAGES, "/schedules/odd", f"/voices?search={EVIL[5:30]}", "/nothing/<script>"):
        answer = await operator.get(path)
        page = Page(answer.text)
        assert page.problems() == [], path
        assert "<script>alert" not in answer.text, path
        assert "<b>" not in answer.text, path
        assert [tag for tag, attributes in page.tags if attributes.get("src") == "x"] == []
        if "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;&lt;img src=x onerror=alert(2)&gt;{{ 7*7 }}" in answer.text:
            seen.add(path)
    assert {"/", "/voices/keeper_ottoline", "/queue", "/outbox", "/outbox/1", "/schedules/odd", "/health"} <= seen
    answer = await operator.post("/outbox/1", choice="edit", seen=1, text=EVIL)
    assert answer.status_code == 422
    assert Page(answer.text).problems() == []
    assert "<script>alert" not in answer.text


async def _same(lines):
    return lines


async def test_a_look_of_the_pages_own_script_leaves_a_notice_to_be_read(operator):
    assert (await operator.post("/posting", choice="pause", why="a storm")).status_code == 303
    for _ in range(2):
        assert "until you resume it" in (await operator.get("/", **{LOOK: "1"})).text
    assert "until you resume it" in (await operator.get("/outbox")).text
    again = (await operator.get("/outbox")).text
    assert "until you resume it" not in again
    assert "by operator (web): a storm" in again


async def test_the_queue_shows_what_came_since_and_a_run_that_begins_again_anew(operator):
    app = operator.app
    assert "step 74 of 120" in (await operator.get("/queue")).text
    (job,) = await app.store.read(jobs.interrupted)
    await app.store.write(jobs.record_event, job, Step(75, 120, 3.4, 900.0, 93.0).to_json())
    text = (await operator.get("/queue")).text
    assert "step 75 of 120" in text
    assert "The bell rang twice" in text
    await app.store.write(jobs.requeue, job.id)
    await app.store.write(jobs.start_next)
    text = (await operator.get("/queue")).text
    assert "Starting" in text
    assert "The bell rang twice" not in text


async def test_the_curve_is_a_picture_light_and_dark(operator):
    for ground in ("light", "dark"):
        answer = await operator.get(f"/voices/tide_tables/1/curve-{ground}.png")
        assert answer.headers["content-type"] == "image/png"
        assert answer.content.startswith(b"\x89PNG")
    folder = operator.app.settings.data_dir / "cards" / "tide_tables"
    assert sorted(path.name for path in folder.iterdir()) == ["curve-v1-dark.png", "curve-v1.png"]


async def test_a_model_card_is_shown_where_it_may_do_nothing(operator):
    model = await operator.app.store.read(models.current, "keeper_ottoline")
    folder = publishing.folder_of(operator.app.settings, model)
    folder.mkdir(parents=True)
    (folder / publishing.PAGE).write_text("<!doctype html><script>alert(1)</script>")
    assert "Open the model card" in (await operator.get("/voices/keeper_ottoline")).text
    answer = await operator.get("/voices/keeper_ottoline/2/card")
    policy = answer.headers["content-security-policy"]
    assert "sandbox;" in policy
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "allow" not in policy
    for voice in ("..", "..%2f..%2fweb-token", "%2e%2e"):
        assert (await operator.get(f"/voices/{voice}/2/card")).status_code == 404


async def test_many_voices_are_turned_through_and_searched(operator):
    def more(db):
        for number in range(70):
            name = f"crew_{number:02}"
            db["accounts"].insert({"handle": name, "created_at": now()})
            db["voices"].insert({"name": name, "created_at": now()})
            job, model = db["jobs"].rows_where("id = 5"), db["models"].rows_where("id = 5")
            row = next(iter(job)) | {"id": 1000 + number, "voice": name, "fingerprint": name, "status": Status.DONE}
            db["jobs"].insert(row)
            db["models"].insert(next(iter(model)) | {"id": 1000 + number, "voice": name, "job": 1000 + number})

    await operator.app.store.write(more)
    first = (await operator.get("/voices?search=CREW_")).text
    assert "70 voices" in first
    assert "Page 1 of 3" in first
    assert 'page=2" rel="next"' in first
    assert "crew_29" in first
    assert "crew_30" not in first
    assert "crew_69" in (await operator.get("/voices?search=crew_&page=3")).text
    assert "No voice has a name that holds" in (await operator.get("/voices?search=%25")).text
