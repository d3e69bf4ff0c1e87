"""Who summons an account on X is answered once, by the rules; whoever says stop never is again; and a crash anywhere changes none of it."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from bot.errors import SpeechFailedError, StoreError
from bot.log import configure_logging
from bot.services.mentions import PAGE, READING, TRIES, Mentions
from bot.services.posting import Posting
from bot.services.spending import Budget
from bot.settings import Mentions as Settings
from bot.settings import X
from bot.x.mentions import mentions_of
from bot.x.tweepy_client import TweepyClient
from bot.x.tweepy_session import UNKNOWN_FORM
from data import mentions, outbox, spending
from data.mentions import Fate, Mention
from data.outbox import DEFAULT_ACCOUNT, Post, State
from tests.bot.clock import START, Clock
from tests.bot.x.frail import Crash, Frail
from tests.bot.x.rows import VOICE, add_model, sender_to
from tests.loopback_x import FIRST_ID, SECRETS, Account, Answer, LoopbackX, Made

INTERVAL = 900
ANN, BOB = Account("7", "Ann"), Account("8", "bob")
SUMMONS = "@keeper_ottoline is it dark out there?"


class Stage:
    """An account that answers mentions, before an X that a test leads."""

    def __init__(self, store: Frail, server: LoopbackX, clock: Clock, **settings: Any) -> None:
        self.store, self.server, self.clock = store, server, clock
        own = {name: settings.pop(name) for name in list(settings) if name not in Settings.model_fields}
        self.settings = X.model_validate(
            {"look_at_own_posts": True, "daily_cap": 100, "monthly_cap": 100}
            | own
            | {"mentions": {"on": True, "voice": VOICE, "unattended": True} | settings}
        )
        self.asked: list[str] = []
        self.failing: list[BaseException] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.start()

    def start(self) -> None:
        """Begin anew, as a process does."""
        budget = Budget(self.store, self.settings, clock=self.clock)
        self.sender = sender_to(self.store, self.server.url, settings=self.settings, clock=self.clock, patience=1.0)
        self.posting = Posting(self.store, {DEFAULT_ACCOUNT: self.sender}, settings=self.settings, clock=self.clock, jitter=lambda: 1.0)
        self.client = TweepyClient(SECRETS, api_url=self.server.url, connect_timeout=5, read_timeout=1)
        self.mentions = Mentions(
            self.store, self.posting, budget, self.settings, lambda: self.client, self.speak, own=["2"], clock=self.clock
        )

    async def speak(self, text: str) -> str:
        self.asked.append(text)
        self.meanwhile()
        if self.failing:
            raise self.failing.pop(0)
        return f"Dark, and wet. {len(self.asked)}"

    async def close(self) -> None:
        await self.sender.close()
        await self.mentions.close()

    async def later(self, seconds: float = INTERVAL) -> None:
        """Let time pass, and do what is due: read, answer, send."""
        self.clock.pass_(seconds)
        await self.mentions.step()
        while await self.posting.send_next():
            pass

    async def one(self, number: str) -> Mention:
        return await self.store.read(mentions.get, number)

    async def fate(self, number: str) -> str:
        """Return what became of a mention, or why nothing did."""
        found = await self.one(number)
        return found.why or found.state

    async def post(self, number: str) -> Post:
        found = await self.one(number)
        assert found.post is not None
        return await self.store.read(outbox.get, found.post)


@pytest.fixture
async def store(tmp_path) -> AsyncIterator[Frail]:
    async with Frail(tmp_path / "mynah.db") as store:
        await store.write(add_model)
        yield store


@pytest.fixture
async def server(clock) -> AsyncIterator[LoopbackX]:
    async with LoopbackX(clock=clock, accounts=[Account("7", "Ann"), Account("8", "bob")]) as server:
        yield server


@pytest.fixture
async def make(store, server, clock) -> AsyncIterator[Callable[..., Stage]]:
    """Make a stage that has begun to read."""
    made = []

    def make(**settings: Any) -> Stage:
        made.append(Stage(store, server, clock, **settings))
        return made[-1]

    yield make
    for stage in made:
        await stage.close()


@pytest.fixture
async def stage(make) -> Stage:
    stage = make()
    await stage.mentions.step()
    return stage


# --------------------------------------------------------------------- answering


async def test_a_summons_is_answered_once_in_reply(stage, server):
    number = server.mention(ANN, SUMMONS)
    await stage.later()
    for _ in range(3):
        await stage.later()
    (made,) = server.made
    assert (made.text, made.in_reply_to) == ("@Ann Dark, and wet. 1", number)
    assert server.requests == ["Dark, and wet. 1"]
    assert stage.asked == ["is it dark out there?"]
    post = await stage.post(number)
    assert (post.status, post.x_id, post.in_reply_to, post.voice, post.schedule) == (State.POSTED, made.id, number, VOICE, None)


async def test_neither_a_mention_nor_what_answers_it_is_in_the_log(stage, server, tmp_path):
    configure_logging(tmp_path / "mynah.log")
    server.mention(ANN, "@keeper_ottoline is the aubergine ripe?")
    server.script.append(Answer.FORBIDDEN)
    await stage.later()
    server.mention(ANN, "@keeper_ottoline and the aubergine now?")
    await stage.later()
    said = (tmp_path / "mynah.log").read_text()
    events = {json.loads(line)["event"] for line in said.splitlines()}
    assert {"an answer is written", "not posted", "posted"} <= events
    assert [word for word in ("aubergine", "Dark, and wet") if word in said] == []


async def test_unless_switched_an_answer_waits_for_a_person(make, server):
    stage = make(unattended=False)
    await stage.mentions.step()
    number = server.mention(ANN, SUMMONS)
    await stage.later()
    assert (await stage.post(number)).status is State.DRAFT
    assert server.made == []
    assert (await stage.one(number)).text == SUMMONS  # who decides must see what is answered
    await stage.posting.approve((await stage.post(number)).id, "ann")
    await stage.later(1)
    assert [made.in_reply_to for made in server.made] == [number]
    await stage.later(1)
    assert (await stage.one(number)).text is None


async def test_what_was_written_before_is_neither_paid_for_nor_answered(make, server, clock):
    server.mention(ANN, SUMMONS)
    clock.pass_(60)
    stage = make()
    await stage.mentions.step()
    await stage.later()
    assert (await stage.mentions.overview()).mentions == []
    assert await stage.store.read(spending.spent_on, READING, START - timedelta(days=1)) == 0
    assert server.polled[0]["start_time"] == "2026-11-21T12:01:00Z"


async def test_a_long_mention_is_read_whole_and_unescaped(stage, server):
    long = "@keeper_ottoline " + "fog & <mist> " * 40
    note = {"text": long.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"), "entities": {"mentions": []}}
    server.mention(ANN, long[:270] + "…", note_post=note)
    await stage.later()
    assert stage.asked == [long.removeprefix("@keeper_ottoline ")]


@pytest.mark.parametrize("documented", [False, True])
async def test_x_is_read_by_its_published_and_by_its_documented_names(stage, server, documented):
    server.documented = documented
    parent = server.mention(BOB, "The lamp is out.")
    number = server.mention(ANN, "@bob @keeper_ottoline is it?", answers=parent)
    await stage.later()
    assert (await stage.post(number)).status is State.POSTED


# --------------------------------------------------------------------- summoned


@pytest.mark.parametrize(
    ("text", "answers", "summons"),
    [
        ("Tell me, @Keeper_Ottoline", None, True),
        ("@keeper_ottoline hello", "ours", False),  # X puts the name there by itself
        ("@keeper_ottoline hello, @keeper_ottoline", "ours", True),
        ("@bob @keeper_ottoline is it?", "bob's", True),  # bob's post does not have the name, so who answers it wrote it
        ("@bob @keeper_ottoline is it?", "bob's to us", False),
        ("@bob @keeper_ottoline is it? And @keeper_ottoline?", "bob's to us", True),
        ("@bob @keeper_ottoline is it?", "gone", False),
        ("@keeper_ottoline_fan and @keeper_ottoline", None, True),
    ],
)
async def test_only_who_wrote_the_name_himself_summons(stage, server, clock, text, answers, summons):
    server.made.append(Made(str(FIRST_ID), "1", "Low water.", clock()))
    parents = {
        None: None,
        "ours": str(FIRST_ID),
        "bob's": server.mention(BOB, "The lamp is out."),
        "bob's to us": server.mention(BOB, "@keeper_ottoline the lamp is out", answers=str(FIRST_ID)),
        "gone": "5",
    }
    number = server.mention(ANN, text, answers=parents[answers])
    await stage.later()
    fate = await stage.fate(number)
    assert (fate == Fate.ANSWERED) is summons
    assert summons or "does not summon" in fate


async def test_a_name_alone_is_not_answered(stage, server):
    number = server.mention(ANN, "@keeper_ottoline @bob ")
    await stage.later()
    assert await stage.fate(number) == "it holds nothing to answer"


async def test_an_answer_to_an_answer_is_no_summons_and_a_new_summons_is(stage, server):
    server.mention(ANN, SUMMONS)
    await stage.later()
    again = server.mention(ANN, "@keeper_ottoline is it?", answers=server.made[0].id)
    anew = server.mention(ANN, "@keeper_ottoline but why, @keeper_ottoline?", answers=server.made[0].id)
    await stage.later()
    assert "does not summon" in await stage.fate(again)
    assert [made.in_reply_to for made in server.made[1:]] == [anew]


async def test_an_edit_of_a_mention_is_not_another_one(stage, server):
    first = server.mention(ANN, SUMMONS)
    await stage.later()
    edited = server.mention(ANN, SUMMONS + " Really?", edit_history_post_ids=[first, str(FIRST_ID + 10**9 + 1)])
    await stage.later()
    assert await stage.fate(edited) == "it is an edit of one that was taken up"
    assert len(server.made) == 1
    both = server.mention(BOB, SUMMONS)
    server.mention(BOB, SUMMONS, edit_history_post_ids=[both, str(FIRST_ID + 10**9 + 3)])
    await stage.later()
    assert [made.in_reply_to for made in server.made[1:]] == [both]


@pytest.mark.parametrize(
    "account",
    [
        Account("20", "weather_bot"),
        Account("20", "WeatherBot"),
        Account("20", "weather", bio="I am a bot, run by @ann"),
        Account("20", "weather", bio="天気のボットです"),
        Account("20", "weather", label="Automated by @ann"),
    ],
)
async def test_a_bot_that_calls_itself_so_is_not_answered(stage, server, account):
    number = server.mention(account, SUMMONS)
    await stage.later()
    assert await stage.fate(number) == "its author seems to be a bot"


@pytest.mark.parametrize("handle", ["talbot", "Abbot", "botany_ann", "robotham"])
async def test_a_person_whose_name_only_sounds_like_a_bots_is_answered(stage, server, handle):
    number = server.mention(Account("20", handle, bio="Sailor. Both hands on deck, bottled."), SUMMONS)
    await stage.later()
    assert await stage.fate(number) == Fate.ANSWERED


@pytest.mark.parametrize(
    ("account", "why"),
    [
        (Account("1", "keeper_ottoline"), "the author is one of the accounts"),
        (Account("2", "renamed"), "the author is one of the accounts"),
        (Account("30", "Harbour_News"), "the author is one of the accounts"),
        (Account("31", "Chatter"), "x.mentions.never names its author"),
        (Account("32", "shy", protected=True), "its author's posts are protected"),
    ],
)
async def test_own_accounts_and_whom_the_operator_names_and_the_protected_are_not_answered(make, server, account, why):
    stage = make(never=["@chatter"], accounts={"news": {"handle": "harbour_news"}})
    await stage.mentions.step()
    number = server.mention(account, SUMMONS)
    await stage.later()
    assert await stage.fate(number) == why
    assert server.made == []


async def test_two_bots_that_answer_each_other_end_at_the_most_a_day_for_each(make, server):
    """The other calls itself nothing, and summons anew each time, as no person has to."""
    stage = make(a_day_each=3)
    await stage.mentions.step()
    numbers = []
    for _ in range(10):
        numbers.append(server.mention(ANN, "And you, @keeper_ottoline?"))
        await stage.later()
    assert len(server.made) == 3
    assert await stage.fate(numbers[3]) == "its author has had 3 answers on this UTC day (x.mentions.a_day_each)"
    other = server.mention(BOB, SUMMONS)
    await stage.later()
    assert await stage.fate(other) == Fate.ANSWERED


async def test_the_most_a_day_holds_for_all_and_ends_with_the_utc_day(make, server, clock):
    stage = make(a_day=2)
    await stage.mentions.step()
    numbers = [server.mention(Account(str(40 + n), f"one_{n}"), SUMMONS) for n in range(3)]
    await stage.later()
    assert [await stage.fate(number) for number in numbers] == [
        "answered",
        "answered",
        "the 2 answers of this UTC day are used up (x.mentions.a_day)",
    ]
    clock.pass_(12 * 3600)
    tomorrow = server.mention(Account("50", "late"), SUMMONS)
    await stage.later()
    assert await stage.fate(tomorrow) == Fate.ANSWERED


async def test_what_came_while_mynah_was_off_for_long_is_read_for_stops_and_not_answered(stage, server, clock):
    number = server.mention(ANN, SUMMONS)
    server.mention(BOB, "@keeper_ottoline stop")
    clock.pass_(2 * 86400)
    fresh, stopped = server.mention(ANN, SUMMONS), server.mention(BOB, SUMMONS)
    await stage.later()
    assert await stage.fate(number) == "it is more than 1d old (x.late)"
    assert await stage.fate(fresh) == Fate.ANSWERED
    assert await stage.fate(stopped) == "its author has said stop"


async def test_while_posting_is_paused_nothing_is_answered_and_stops_are_heard(stage, server):
    await stage.posting.pause("ann")
    number = server.mention(ANN, SUMMONS)
    server.mention(BOB, "@keeper_ottoline stop")
    await stage.later()
    assert await stage.fate(number) == "posting was paused by ann"
    assert stage.asked == []
    assert [stop.handle for stop in (await stage.mentions.overview()).stops] == ["bob"]


async def test_without_money_for_an_answer_none_is_written(make, server):
    stage = make(daily_cap=1, prices={"replies_written": 2})
    await stage.mentions.step()
    number = server.mention(ANN, SUMMONS)
    await stage.later()
    assert await stage.fate(number) == "x.daily_cap ($1.00) is used up"
    assert stage.asked == []


async def test_a_voice_that_says_nothing_is_why_there_is_no_answer(stage, server):
    stage.failing = [SpeechFailedError("None of 8 lines may be said."), ZeroDivisionError()]
    first, second, third = (server.mention(ANN, SUMMONS) for _ in range(3))
    await stage.later()
    assert await stage.fate(first) == "None of 8 lines may be said."
    assert "a reason of its own" in await stage.fate(second)
    assert await stage.fate(third) == Fate.ANSWERED
    assert (await stage.one(first)).text is None


async def test_a_line_that_x_must_not_be_given_waits_for_a_person(stage, server, monkeypatch):
    async def speak(_text: str) -> str:
        return "Ask @bob."

    monkeypatch.setattr(stage.mentions, "_speak", speak)
    number = server.mention(ANN, SUMMONS)
    await stage.later()
    assert (await stage.post(number)).status is State.DRAFT


async def test_an_answer_that_nobody_approves_in_time_is_rejected_and_the_text_forgotten(make, server):
    stage = make(unattended=False)
    await stage.mentions.step()
    number = server.mention(ANN, SUMMONS)
    await stage.later()
    post = await stage.post(number)
    assert post.not_before is not None
    await stage.later(86400 + 60)
    assert post in await stage.store.read(outbox.too_late, stage.clock() - timedelta(days=1))  # which scheduling rejects
    assert (await stage.one(number)).text is None


async def test_where_mentions_are_no_longer_read_their_texts_are_forgotten_all_the_same(stage, make, server):
    stage.failing = [Crash()]
    number = server.mention(ANN, SUMMONS)
    with pytest.raises(Crash):
        await stage.later()
    off = make(on=False)
    await off.mentions.tidy()
    assert (await off.one(number)).text == SUMMONS
    off.clock.pass_(86400 + 60)
    await off.mentions.tidy()
    assert ((await off.one(number)).text, await off.fate(number)) == (None, "it lay too long")


async def test_an_answer_is_no_post_of_the_schedules(stage, server):
    server.mention(ANN, SUMMONS)
    await stage.later()
    assert await stage.store.read(outbox.on_x, START - timedelta(days=1), START + timedelta(days=1)) == 0


# -------------------------------------------------------------------------- stop


@pytest.mark.parametrize(
    "text",
    [
        "stop",
        "@keeper_ottoline STOP!",
        "@keeper_ottoline please stop",
        "\uff53\uff54\uff4f\uff50 @keeper_ottoline",
        "@keeper_ottoline unsubscribe",
        "@keeper_ottoline opt-out",
        "@keeper_ottoline para",
        "@keeper_ottoline ¡Para ya, por favor!",
        "@keeper_ottoline arrête",
        "@keeper_ottoline Arrêtez ça",
        "@keeper_ottoline bitte aufhören",
        "@keeper_ottoline やめてください",
        "@keeper_ottoline もう止めて",
        "@keeper_ottoline стоп",
        "@keeper_ottoline basta",
        "@keeper_ottoline 그만해",
        "@keeper_ottoline leave me alone",
    ],
)
async def test_stop_is_heard_in_many_languages(stage, server, text):
    server.mention(ANN, text if "@" in text else f"{text} @keeper_ottoline")
    await stage.later()
    number = server.mention(ANN, SUMMONS)
    await stage.later()
    assert await stage.fate(number) == "its author has said stop"
    assert server.made == []


@pytest.mark.parametrize(
    "text",
    ["an unstoppable tide", "¿qué haces para cenar?", "the stopwatch", "halt the ship? Or not?", "no", "Das Boot", "an alto or a bass?"],
)
async def test_what_only_sounds_like_stop_is_not(stage, server, text):
    number = server.mention(ANN, f"@keeper_ottoline {text}")
    await stage.later()
    assert await stage.fate(number) == Fate.ANSWERED


async def test_stop_is_heard_where_nobody_summoned_and_holds_for_a_new_name(stage, server):
    server.mention(ANN, SUMMONS)
    await stage.later()
    server.mention(ANN, "@keeper_ottoline stop", answers=server.made[0].id)
    await stage.later()
    number = server.mention(Account("7", "Anna"), SUMMONS)
    await stage.later(400 * 86400)
    assert await stage.fate(number) == "its author has said stop"
    assert len(server.made) == 1


async def test_stop_withdraws_what_is_not_on_its_way(make, server):
    stage = make(unattended=False)
    await stage.mentions.step()
    numbers = [server.mention(ANN, SUMMONS) for _ in range(3)]
    other = server.mention(BOB, SUMMONS)
    await stage.later()
    draft, approved, failed = [await stage.post(number) for number in numbers]
    await stage.posting.approve(approved.id, "op")
    for state in (State.APPROVED, State.SENDING, State.FAILED):
        await stage.store.write(outbox.change, failed.id, state, who="op", why="", awaits_person=state is State.FAILED)
    server.mention(ANN, "@keeper_ottoline stop")
    stage.clock.pass_(INTERVAL)
    await stage.mentions.step()
    assert [(await stage.post(number)).status for number in numbers] == [State.REJECTED] * 3
    history = await stage.posting.history(draft.id)
    assert (history[-1]["who"], history[-1]["why"]) == ("@Ann", "whom it answers has said stop")
    assert (await stage.post(other)).status is State.DRAFT
    await stage.posting.approve((await stage.post(other)).id, "op")  # nothing of ann's holds the account up
    await stage.later(1)
    assert [made.in_reply_to for made in server.made] == [other]


async def test_stop_keeps_an_answer_that_was_on_its_way_from_being_sent_again(stage, server):
    number = server.mention(ANN, SUMMONS)
    server.script.append(Answer.SILENT)
    await stage.later()
    assert (await stage.post(number)).status is State.SENDING
    server.mention(ANN, "@keeper_ottoline stop")
    await stage.later()
    assert (await stage.post(number)).status is State.REJECTED
    assert server.made == []
    assert len(server.requests) == 1


async def test_stop_that_comes_while_an_answer_is_spoken_is_honoured(stage, server, store):
    number = server.mention(ANN, SUMMONS)

    def stop() -> None:
        mentions.stop(store._write_db, author=ANN.id, handle="Ann", mention="1", moment=stage.clock())
        store._write_db.conn.commit()

    stage.meanwhile = stop
    await stage.later()
    found = await stage.one(number)
    assert (found.state, found.why, found.post) == (Fate.IGNORED, "its author has said stop", None)
    assert await stage.posting.listed() == []


async def test_nobody_is_answered_while_older_mentions_are_unread(stage, server):
    server.mention(ANN, "@keeper_ottoline stop")
    numbers = [server.mention(ANN, SUMMONS) for _ in range(PAGE)]
    server.polls.extend([Answer.CREATED, Answer.FAILED])
    await stage.later()
    assert stage.asked == []
    assert {await stage.fate(number) for number in numbers} == {Fate.SEEN}
    await stage.later()
    assert {await stage.fate(number) for number in numbers} == {"its author has said stop"}
    assert server.made == []


# ----------------------------------------------------------------- reading, and its price


async def test_without_the_voice_nothing_is_read_and_the_operator_is_told(make, server):
    stage = make(voice="nobody")
    await stage.mentions.step()
    assert server.polled == []
    assert "nobody" in (await stage.mentions.overview()).poll.problem


def test_the_recorded_mentions_are_read_back(shared):
    (call,) = json.loads((shared / "x-api" / "recorded_client_get_users_mentions.decoded.json").read_text())
    page = mentions_of(call["body"], "783214")
    assert (page.newest_id, page.oldest_id, page.posts, page.users) == ("1578516295611748353", "1578516107798884353", 10, 0)
    assert page.next_token is not None
    assert page.mentions == ()  # it was asked without authors
    authors = {"users": [{"id": "5", "username": "ann"}]}
    more = {"author_id": "5", "created_at": "2022-10-07T22:33:00.000Z", "entities": {"mentions": [{"id": "783214", "username": "Twitter"}]}}
    known = mentions_of(call["body"] | {"data": [row | more for row in call["body"]["data"]], "includes": authors}, "783214")
    assert [mention.summons for mention in known.mentions] == [True] * 10
    answers = {"referenced_tweets": [{"type": "replied_to", "id": "6"}]}
    known = mentions_of(call["body"] | {"data": [row | more | answers for row in call["body"]["data"]], "includes": authors}, "783214")
    assert [mention.summons for mention in known.mentions] == [False, True, False, False, True, False, False, True, False, True]


def test_what_is_named_without_a_name_is_no_summons():
    row = {"id": "9", "author_id": "5", "text": SUMMONS, "created_at": "2022-10-07T22:33:00.000Z"}
    authors = {"users": [{"id": "5", "username": "ann"}]}
    for entities in ({}, {"mentions": None}, {"mentions": [{"id": "1"}]}, {"mentions": [{"username": "keeper_ottoline"}]}):
        (mention,) = mentions_of({"data": [row | {"entities": entities}], "includes": authors}, "1").mentions
        assert not mention.summons


@pytest.mark.parametrize("row", [{"id": "9"}, {"id": "9", "text": "x", "created_at": "long ago"}, {"id": "nine", "text": "x"}])
async def test_a_page_of_another_form_is_one_sentence(stage, server, monkeypatch, row):
    page = {"data": [{"author_id": "5"} | row], "includes": {"users": [{"id": "5", "username": "ann"}]}}
    monkeypatch.setattr(stage.client._raw, "get_users_mentions", lambda *_args, **_more: page)
    await stage.later()
    assert (await stage.mentions.overview()).poll.problem == UNKNOWN_FORM


async def test_nothing_is_read_twice_nor_before_the_interval(stage, server):
    first = server.mention(ANN, SUMMONS)
    await stage.later()
    for _ in range(3):
        await stage.later(INTERVAL / 3)
    assert [query.get("since_id") for query in server.polled] == [None, None, first]


async def test_what_x_gives_again_is_not_taken_up_again(stage, server):
    server.mention(ANN, SUMMONS)
    await stage.later()
    await stage.store.write(lambda db: db.conn.execute("UPDATE mention_polls SET since_id = NULL"))
    await stage.later()
    assert "since_id" not in server.polled[-1]
    assert len(server.made) == 1


async def test_a_poll_survives_a_restart_with_its_time(stage, server):
    stage.start()
    await stage.later(INTERVAL - 1)
    assert len(server.polled) == 1
    await stage.later(1)
    assert len(server.polled) == 2


async def test_pages_are_followed_and_each_delivery_is_paid_for(stage, server):
    parent = server.mention(BOB, "The lamp is out.")
    for number in range(2 * PAGE + 3):
        server.mention(Account(str(100 + number), f"one_{number}"), "@bob @keeper_ottoline is it?", answers=parent)
    await stage.later()
    assert len(server.polled) == 1 + 3
    assert len((await stage.mentions.overview()).mentions) == 2 * PAGE + 3
    spent = await stage.store.read(spending.spent_on, READING, START - timedelta(days=1))
    assert spent == (2 * PAGE + 3) * (5000 + 10_000) + 3 * 5000


async def test_reading_has_a_cap_of_its_own_and_goes_on_the_next_utc_day(make, server, clock):
    stage = make(read_daily_cap=0.25, daily_cap=10, a_day=100)  # twelve mentions with their authors and what they may answer
    await stage.mentions.step()
    numbers = [server.mention(Account(str(100 + number), f"one_{number}"), SUMMONS) for number in range(20)]
    await stage.later()
    assert [query["max_results"] for query in server.polled[1:]] == ["10", "5"]
    assert await stage.store.read(spending.spent_on, READING, START - timedelta(days=1)) == 15 * 15_000
    assert "read_daily_cap" in (await stage.mentions.overview()).poll.problem
    assert stage.asked == []
    await stage.later(12 * 3600)
    assert server.polled[-1]["until_id"] == numbers[5]
    assert [await stage.fate(number) for number in numbers] == [Fate.ANSWERED] * 20
    assert [made.in_reply_to for made in server.made] == numbers


async def test_beyond_its_cap_nothing_is_read_until_the_next_utc_day(make, server, clock):
    stage = make(read_daily_cap=0.09)
    await stage.mentions.step()
    poll = (await stage.mentions.overview()).poll
    assert poll.problem == "x.mentions.read_daily_cap ($0.09) leaves nothing to read mentions with today."
    assert poll.next_at.startswith("2026-11-22T00:00:00")
    await stage.later()
    assert server.polled == []


async def test_its_own_number_is_learnt_within_the_cap_too(make):
    stage = make(read_daily_cap=0.009)
    stage.client.id = None
    await stage.mentions.step()
    poll = (await stage.mentions.overview()).poll
    assert "x.mentions.read_daily_cap ($0.009) leaves $0.009" in poll.problem
    assert await stage.store.read(spending.spent, START - timedelta(days=1)) == 0


async def test_beyond_the_cap_of_all_nothing_is_read_nor_left_put_aside(make, server):
    stage = make(daily_cap=0.15)  # the posts could be paid for, their authors could not
    await stage.mentions.step()
    assert server.polled == []
    assert "x.daily_cap" in (await stage.mentions.overview()).poll.problem
    assert await stage.store.read(spending.spent, START - timedelta(days=1)) == 0


@pytest.mark.parametrize(
    ("answer", "says", "wait"),
    [
        (Answer.FAILED, "X failed with 503", INTERVAL),
        (Answer.SILENT, "did not answer in time", INTERVAL),
        (Answer.FORBIDDEN, "does not show own posts or mentions (403", 3600),
        (Answer.NO_CREDITS, "402", 3600),
        (Answer.UNAUTHORIZED, "401", 3600),
    ],
)
async def test_a_refusal_is_written_down_and_nothing_asked_until_it_may_have_ended(stage, server, answer, says, wait):
    server.polls.append(answer)
    await stage.later()
    assert says in (await stage.mentions.overview()).poll.problem
    number = server.mention(ANN, SUMMONS)
    await stage.later(wait - 1)
    assert len(server.polled) == 2
    await stage.later(1)
    assert await stage.fate(number) == Fate.ANSWERED
    assert (await stage.mentions.overview()).poll.problem is None


async def test_a_limit_is_waited_for(stage, server):
    server.resets["x-rate-limit"] = int(START.timestamp()) + INTERVAL + 7000
    server.polls.append(Answer.LIMITED)
    await stage.later()
    await stage.later(6999)
    assert len(server.polled) == 2
    await stage.later(1)
    assert len(server.polled) == 3


async def test_a_clock_that_was_far_ahead_does_not_hold_up_reading(stage, server, clock):
    clock.pass_(30 * 86400)
    await stage.mentions.step()
    clock.pass_(-30 * 86400)
    await stage.mentions.step()
    assert len(server.polled) == 3


async def test_the_price_of_an_answer_is_its_own(stage, server):
    number = server.mention(ANN, SUMMONS)
    await stage.later()
    assert await stage.store.read(spending.spent_on, f"post {(await stage.post(number)).id}", START - timedelta(days=1)) == 10_000


# ----------------------------------------------------------------- what X does with answers


@pytest.mark.parametrize("answer", [Answer.SILENT_AFTER_MAKING, Answer.CUT_AFTER_MAKING, Answer.FAILED_AFTER_MAKING])
async def test_an_answer_that_was_made_though_no_word_came_is_found(stage, server, answer):
    number = server.mention(ANN, SUMMONS)
    server.script.append(answer)
    await stage.later()
    await stage.later()
    assert (await stage.post(number)).status is State.POSTED
    assert len(server.made) == len(server.requests) == 1


async def test_an_answer_that_x_does_not_take_holds_up_nothing(stage, server):
    """Its post was deleted, or its author has blocked the account."""
    number = server.mention(ANN, SUMMONS)
    server.script.append(Answer.FORBIDDEN)
    await stage.later()
    failed = await stage.post(number)
    assert (failed.status, failed.awaits_person) == (State.FAILED, False)
    assert "X does not take this answer (403" in (await stage.posting.history(failed.id))[-1]["why"]
    other = server.mention(BOB, SUMMONS)
    await stage.later()
    assert (await stage.post(other)).status is State.POSTED
    assert (await stage.one(number)).text is None


async def test_an_answer_refused_after_a_try_that_may_have_made_it_is_looked_for(stage, server):
    number = server.mention(ANN, SUMMONS)
    server.hides_for = timedelta(seconds=INTERVAL + 60)
    server.script.extend([Answer.SILENT_AFTER_MAKING, Answer.FORBIDDEN])
    await stage.later()
    await stage.later(INTERVAL)
    await stage.later(120)
    found = await stage.post(number)
    assert len(server.made) == 1
    assert found.status is State.POSTED or found.awaits_person


# ---------------------------------------------------------------------- crashes


@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_at_any_write_answers_nobody_twice_nor_who_said_stop(make, server, store, after):
    """Each write on the way from a poll to a posted answer is the last of one process; the next one goes on from the rows."""
    stage = make(a_day=1000, read_daily_cap=100)
    await stage.mentions.step()
    crashes = 0
    people = (Account(str(200 + n), f"one_{n}") for n in range(10_000))
    for number in range(1, 100):
        author, leaver = next(people), next(people)
        wanted, unwanted = server.mention(author, SUMMONS), server.mention(leaver, SUMMONS)
        server.mention(leaver, "@keeper_ottoline stop")
        store.left, store.after = number, after
        died = False
        try:
            await stage.later()
        except Crash:
            died = True
            crashes += 1
        store.left = None
        await stage.close()
        stage.start()
        await stage.posting.recover()
        for _ in range(3):
            await stage.later(200)
        answers = [made.in_reply_to for made in server.made]
        assert (answers.count(wanted), answers.count(unwanted)) == (1, 0), f"write {number}"
        if not died:
            break
    assert crashes > 10
    assert len(server.made) == len({made.in_reply_to for made in server.made})


async def test_an_answer_that_kills_mynah_is_begun_three_times(stage, server):
    number = server.mention(ANN, SUMMONS)
    stage.failing = [Crash() for _ in range(TRIES)]
    for _ in range(TRIES):
        with pytest.raises(Crash):
            await stage.later()
        stage.start()
    await stage.later()
    assert await stage.fate(number) == f"Mynah stopped {TRIES} times while it was being answered"
    assert len(stage.asked) == TRIES


async def test_a_disk_that_is_full_loses_no_mention(stage, server):
    number = server.mention(ANN, SUMMONS)
    stage.failing = [StoreError("The disk is full.")]
    with pytest.raises(StoreError):
        await stage.later()
    await stage.later(1)
    assert await stage.fate(number) == Fate.ANSWERED
