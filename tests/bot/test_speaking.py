"""The speaking service: what is asked, what the speaker is told, what is chosen, and what happens when it fails."""

import asyncio
import hashlib
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

from bot.errors import BadHandleError, BadRequestError, BadWeightsError, NotStoredError, SpeechFailedError
from bot.services.speaking import Speaking
from bot.services.weights import adapter_file
from data import accounts, models, speech
from data.speech import Purpose
from tests.voices import add_version
from trainer.protocol import Line, Sampling

#: Lines that ann never wrote, none like another.
LINES = [
    "nobody warned the postman about geese",
    "I owe seven candles an apology",
    "every map of this room is wrong",
    "Tuesday smells like wet rope again",
    "who keeps salting my umbrella",
    "a bell is only a loud bowl",
    "my doctor says less thunder",
    "the moon charges by the hour",
    "please stop rowing indoors",
    "seventeen crabs voted against it",
    "your ladder is flirting with mine",
    "good news from the onion council",
]


class ScriptedSpeaker:
    """Says the lines that the test wrote, as many as are asked for, and then the error. A line may be a text alone, or a Line's fields."""

    def __init__(self, *texts):
        self.texts = list(texts)
        self.requests = []
        self.error = None

    async def speak(self, request):
        self.requests.append(request)
        for index in range(request.count):
            if self.texts:
                line = self.texts.pop(0)
                fields = {"complete": True, "log_likelihood": -2.0} | (line if isinstance(line, dict) else {"text": line})
                yield Line(request.id, index, **fields)
        if self.error:
            raise self.error

    async def close(self):
        pass


@pytest.fixture
async def voice(filled):
    """A trained voice, ann."""
    return await filled.write(add_version, ("ann",))


@pytest.fixture
async def joint(filled):
    """A joint voice that can speak as ann, who is one of its accounts, but not as bob, who is the other."""
    return await filled.write(add_version, ("ann", "bob"), details={"adapter": {}, "authors": ["ann"]})


@pytest.fixture
def speaker():
    return ScriptedSpeaker()


@pytest.fixture
def speaking(filled, settings, speaker):
    return Speaking(filled, settings, speaker)


@asynccontextmanager
async def answering(speaking):
    task = asyncio.create_task(speaking.run_forever())
    try:
        async with asyncio.timeout(20):
            yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def say(speaking, **wanted):
    request = await speaking.request("ann", by="me", **wanted)
    async with answering(speaking):
        return await speaking.answer(request.id)


async def test_the_likelier_are_said_and_no_more_than_asked(voice, speaking, speaker):
    # Typical of ann is -4.25: beyond, nothing is gained, and her manner is in none of these lines.
    chances = [-9.0, -4.3, -8.0, -4.5, -7.0, -4.4, -6.0, -5.0]
    speaker.texts = [{"text": f"{letter * 9}", "log_likelihood": chance} for letter, chance in zip("qxzvjkwy", chances, strict=True)]
    spoken = await say(speaking, count=3)
    assert [line.text[0] for line in spoken.lines] == ["x", "k", "v"]
    assert [line.text[0] for line in spoken.candidates] == list("qxzvjkwy")
    assert [line.score for line in spoken.lines] == sorted((line.score for line in spoken.candidates), reverse=True)[:3]


async def test_an_answer_is_chosen_for_what_it_has_to_do_with_the_message(voice, speaking, speaker):
    speaker.texts = [{"text": f"{letter * 9}", "relevance": place / 10} for place, letter in enumerate("qxzvjkwy")]
    spoken = await say(speaking, count=2, message="what is the weather like?")
    assert [line.text[0] for line in spoken.lines] == ["y", "w"]


async def test_eight_are_drawn_for_one_line_and_three_more_than_are_asked_for(voice, speaking, speaker):
    speaker.texts = LINES[:8]
    await say(speaking, count=1)
    speaker.texts = LINES + [letter * 9 for letter in "qxzvjkwyf"]
    await say(speaking, count=15, seed=3)
    assert [request.count for request in speaker.requests] == [8, 18]


async def test_the_speaker_is_told_where_verified_weights_lie(voice, speaking, speaker, settings):
    speaker.texts = ["one fine line"] * 8
    await say(speaking, count=1, prompt=" my   dream ", seed=9)
    (request,) = speaker.requests
    assert (request.prompt, request.seed, request.sha256) == ("my dream", 9, voice.sha256)
    assert adapter_file(settings, voice.sha256).read_bytes() == b"weights " * 1000


async def test_every_setting_of_sampling_reaches_the_speaker(voice, filled, settings, speaker):
    wanted = settings.speaker.model_copy(update={"temperature": 0.5, "top_p": 0.8, "top_k": 7, "max_tokens": 33})
    speaker.texts = LINES[:8]
    await say(Speaking(filled, settings.model_copy(update={"speaker": wanted}), speaker), count=1)
    assert speaker.requests[0].sampling == Sampling(temperature=0.5, top_p=0.8, top_k=7, max_tokens=33, without="@")


async def test_the_pinned_version_speaks_and_another_when_it_is_named(voice, speaking, speaker, filled):
    newest = await filled.write(add_version, ("ann",), weights=b"others")
    for pinned, version in ((False, None), (True, None), (True, newest.version)):
        if pinned:
            await filled.write(models.pin, "ann", voice.version)
        speaker.texts = LINES[:8]
        await say(speaking, count=1, version=version, seed=1)
    assert [request.sha256 for request in speaker.requests] == [newest.sha256, voice.sha256, newest.sha256]


async def test_who_asked_before_a_pin_hears_the_version_that_was_current_then(voice, speaking, speaker, filled):
    newest = await filled.write(add_version, ("ann",), weights=b"others")
    speaker.texts = ["one fine line"] * 8
    request = await speaking.request("ann", by="me", count=1)
    await filled.write(models.pin, "ann", voice.version)
    async with answering(speaking):
        await speaking.answer(request.id)
    assert [asked.sha256 for asked in speaker.requests] == [newest.sha256]


async def test_the_speaker_is_told_as_whom_to_answer_what(joint, speaking, speaker):
    speaker.texts = ["one fine line"] * 8
    request = await speaking.request("ann-bob", by="me", count=1, author="@Ann", message=" is it &lt;dark&gt;\n\x07 yet? https://x.co/a ")
    async with answering(speaking):
        await speaking.answer(request.id)
    (asked,) = speaker.requests
    assert (asked.author, asked.message, asked.prompt) == ("ann", "is it <dark> yet?", "")


async def test_a_voice_of_one_account_speaks_as_that_account_anyhow(voice, speaking):
    assert (await speaking.request("ann", by="me", author="ann")).author == ""


@pytest.mark.parametrize(
    ("author", "error", "said"),
    [
        ("bob", BadRequestError, r"Version 1 of ann-bob did not learn .+ `mynah train ann bob` makes one that can speak as @bob\.$"),
        ("few", BadRequestError, r"ann-bob cannot speak as @few: name @ann or @bob\.$"),
        ("a/b", BadHandleError, "is not a handle"),
    ],
)
async def test_as_whom_a_voice_cannot_speak_is_one_sentence_and_stores_nothing(joint, speaking, filled, author, error, said):
    with pytest.raises(error, match=said):
        await speaking.request("ann-bob", by="me", author=author)
    assert await filled.read(lambda db: db["requests"].count) == 0


async def test_a_copy_of_a_training_post_is_never_said(voice, speaking, speaker, filled):
    own = (await filled.read(accounts.read_tweets, "ann"))[3].text
    speaker.texts = [own, own.upper(), own[:-1] + "!", "something she never wrote"]
    spoken = await say(speaking, count=1)
    assert [line.text for line in spoken.lines] == ["something she never wrote"]
    assert [line.verdict for line in spoken.candidates] == ["copy", "copy", "copy", "passed"]
    assert {line.reason for line in spoken.candidates} == {"copies a post that the voice learned from", ""}


async def test_nearly_the_same_line_is_not_said_twice_in_one_answer_and_the_better_stays(voice, speaking, speaker):
    speaker.texts = [{"text": "twice the sáme", "log_likelihood": -6}, {"text": "Twice the SAME!", "log_likelihood": -5}, LINES[0]]
    spoken = await say(speaking, count=2)
    assert {line.text for line in spoken.lines} == {"Twice the SAME!", LINES[0]}
    assert (spoken.candidates[0].verdict, spoken.candidates[0].reason) == ("repeat", "repeats a better line of this answer")


async def test_what_was_said_before_is_not_said_again_unless_the_seed_is_named(voice, speaking, speaker):
    speaker.texts = [LINES[0]]
    assert [line.text for line in (await say(speaking, count=1, seed=7)).lines] == [LINES[0]]
    speaker.texts = [LINES[0].upper() + "!", LINES[1]]
    again = await say(speaking, count=1)
    assert [line.verdict for line in again.candidates] == ["repeat", "passed"]
    speaker.texts = [LINES[0]]
    assert [line.text for line in (await say(speaking, count=1, seed=7)).lines] == [LINES[0]]


async def test_lines_that_share_a_long_prompt_are_no_repeats(voice, speaking, speaker):
    prompt = "It was the best of times, it was the worst of times, it was a lamp, and it was"
    for texts in (["a goat", "on fire"], ["my turn", "soup"]):
        speaker.texts = [f"{prompt} {text}" for text in texts]
        assert len((await say(speaking, count=2, prompt=prompt)).lines) == 2


async def test_a_message_is_not_said_back(voice, speaking, speaker):
    speaker.texts = ["What is the weather like", LINES[0]]
    spoken = await say(speaking, count=1, message="what is the weather like?", seed=1)
    assert [line.verdict for line in spoken.candidates] == ["repeat", "passed"]


async def test_when_nothing_passes_more_is_made_within_a_bound_and_then_one_sentence(voice, speaking, speaker, filled):
    speaker.texts = ["…", "see x.ai", "see x.ai"] * 100
    with pytest.raises(SpeechFailedError, match=r"^None of 24 lines of ann may be said \(link 16, empty 8\): try another prompt\.$"):
        await say(speaking, count=2)
    assert len({request.seed for request in speaker.requests}) == len(speaker.requests) == 3
    rejected = await filled.read(speech.generations, 1)
    assert len(rejected) == 24
    assert {line.reason for line in rejected} == {"has no letter and no digit", "holds a link (x.ai)"}


async def test_the_best_of_all_rounds_are_said(voice, speaking, speaker):
    speaker.texts = [{"text": LINES[0], "log_likelihood": -9}, *["…"] * 7, LINES[1], LINES[2]]
    spoken = await say(speaking, count=2)
    assert {line.text for line in spoken.lines} == {LINES[1], LINES[2]}


@pytest.mark.parametrize(("typed", "told"), [("a\udcffb", "a b"), ("sp\x7foiler", "sp oiler"), ("\x00", "")])
async def test_what_nobody_sees_of_a_prompt_is_taken_out(voice, speaking, typed, told):
    assert (await speaking.request("ann", by="me", prompt=typed)).prompt in (told, told.replace(" ", ""))


@pytest.mark.parametrize("prompt", ["ask @bob", "see \uff58.ai", "+44 20 7946 0018 is", "what a cunt", "lamp " * 60])
async def test_a_prompt_that_must_not_be_said_is_refused_before_a_line_is_drawn(voice, speaking, speaker, filled, prompt):
    with pytest.raises(BadRequestError, match=r"^That prompt (mentions|holds|takes) .+ give another\.$"):
        await speaking.request("ann", by="me", prompt=prompt)
    assert await filled.read(lambda db: db["requests"].count) == 0


async def test_a_blocklist_is_obeyed_from_the_line_after_its_change(voice, filled, settings, speaker, tmp_path):
    path = tmp_path / "blocklist.txt"
    path.write_text("geese\n")
    obeying = settings.model_copy(update={"safety": settings.safety.model_copy(update={"blocklist": path})})
    speaking = Speaking(filled, obeying, speaker)
    for rule, verdicts in (("geese", ["blocked", "passed"]), ("/can.les|nothing/", ["passed", "blocked"])):
        path.write_text(rule)
        speaker.texts = LINES[:2]
        spoken = await say(speaking, count=1, seed=1)
        assert [line.verdict for line in spoken.candidates] == verdicts
    assert spoken.candidates[1].reason == "holds what line 1 of the blocklist refuses"


@pytest.mark.parametrize("purpose", Purpose)
async def test_the_same_rules_hold_wherever_a_line_goes(voice, speaking, speaker, purpose):
    lines = ["hello @someone there", "see https://example.com/a now", "word " * 60, {"text": "and then it", "complete": False}, LINES[0]]
    speaker.texts = list(lines)
    spoken = await say(speaking, count=1, purpose=purpose)
    assert [line.verdict for line in spoken.candidates] == ["mention", "link", "too_long", "cut_off", "passed"]
    assert [line.text for line in spoken.lines] == [LINES[0]]
    assert [line.complete for line in spoken.candidates] == [True, True, True, False, True]


async def test_people_go_before_scheduled_posts(voice, speaking, filled):
    post = await speaking.request("ann", by="schedule", purpose=Purpose.POST)
    talk = await speaking.request("ann", by="me")
    assert [(await filled.write(speech.start_next)).id for _ in range(2)] == [talk.id, post.id]


async def test_a_speaker_that_fails_is_a_sentence_and_the_next_question_is_answered(voice, speaking, speaker):
    speaker.error = SpeechFailedError("The speaker died before it had answered: ask again.")
    with pytest.raises(SpeechFailedError, match="died"):
        await say(speaking)
    speaker.error = None
    speaker.texts = ["all is well"] * 9
    assert (await say(speaking, count=1)).lines


async def test_what_came_before_a_failure_is_said_and_all_of_it_is_kept(voice, speaking, speaker, filled):
    speaker.texts = [*LINES[:3], "see x.ai"]
    speaker.error = SpeechFailedError("No answer came within 180 s.")
    spoken = await say(speaking, count=5)
    assert {line.text for line in spoken.lines} == set(LINES[:3])
    speaker.texts = ["see x.ai"]
    with pytest.raises(SpeechFailedError, match="No answer came"):
        await say(speaking, count=5)
    assert [line.verdict for line in await filled.read(speech.generations, 2)] == ["link"]


async def test_two_answers_at_once_do_not_say_the_same(voice, speaking, speaker, filled):
    requests, said = await said_at_once(speaking, speaker, 1, 1)
    assert sorted(said) == sorted(LINES[:2])
    refused = [line for request in requests for line in await filled.read(speech.generations, request.id) if line.verdict == "repeat"]
    assert [line.reason for line in refused] == ["repeats what the voice said meanwhile"]


async def test_what_comes_in_the_place_of_a_line_that_was_said_meanwhile_is_new_too(voice, speaking, speaker):
    _, said = await said_at_once(speaking, speaker, 2, 1)
    assert sorted(said) == sorted(LINES[:3])


async def said_at_once(speaking, speaker, *counts):
    """Have so many lines asked for at once, of which all begin before any ends; return the requests, and what they said."""
    begun = asyncio.Barrier(len(counts))

    async def speak(request):
        await begun.wait()
        for index, text in enumerate(LINES[: sum(counts)]):
            yield Line(request.id, index, text, complete=True, log_likelihood=-5.0 - index)

    speaker.speak = speak
    requests = [await speaking.request("ann", by="me", count=count) for count in counts]
    async with answering(speaking):
        return requests, [line.text for request in requests for line in (await speaking.answer(request.id)).lines]


async def test_a_defect_is_a_sentence_too(voice, speaking, speaker):
    speaker.error = ZeroDivisionError()
    with pytest.raises(SpeechFailedError, match="in its log"):
        await say(speaking)


async def test_a_question_left_by_a_dead_owner_is_ended(voice, speaking, filled):
    request = await speaking.request("ann", by="me")
    await filled.write(speech.start_next)
    await speaking.recover()
    with pytest.raises(SpeechFailedError, match="restarted"):
        await speaking.answer(request.id)


async def test_damaged_weights_are_refused(voice, speaking, speaker, filled):
    await filled.write(lambda db: db.conn.execute("UPDATE model_weights SET chunk = zeroblob(8000)"))
    with pytest.raises(SpeechFailedError, match="damaged"):
        await say(speaking)
    assert speaker.requests == []


class ReadingSpeaker(ScriptedSpeaker):
    """Reads the file of weights, as a real one does, and refuses one that is not what it is said to be."""

    async def speak(self, request):
        if hashlib.sha256(Path(request.weights).read_bytes()).hexdigest() != request.sha256:
            self.requests.append(request)
            raise BadWeightsError("These are other weights.")
        async for line in super().speak(request):
            yield line


async def test_a_file_of_weights_that_was_damaged_is_laid_down_anew(voice, filled, settings):
    speaker = ReadingSpeaker(*["one fine line"] * 4)
    file = adapter_file(settings, voice.sha256)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"damaged")
    assert [line.text for line in (await say(Speaking(filled, settings, speaker), count=1)).lines] == ["one fine line"]
    assert [request.count for request in speaker.requests] == [8, 8]


async def test_lines_that_came_before_weights_were_found_bad_are_not_said_twice(voice, filled, settings):
    """As where the speaker dies in mid-request, and another finds the file gone."""

    class Dying(ScriptedSpeaker):
        async def speak(self, request):
            self.requests.append(request)
            first = len(self.requests) == 1
            for index, text in enumerate(LINES[:2] if first else LINES[:8]):
                yield Line(request.id, index, text, complete=True, log_likelihood=-2.0)
            if first:
                raise BadWeightsError("It is gone.")

    spoken = await say(Speaking(filled, settings, Dying()), count=3)
    assert [line.number for line in spoken.candidates] == list(range(8))


async def test_weights_that_stay_bad_are_a_sentence(voice, speaking, speaker):
    speaker.error = BadWeightsError("These weights do not fit the base: train the voice again.")
    with pytest.raises(SpeechFailedError, match="train the voice again"):
        await say(speaking)
    assert len(speaker.requests) == 2


@pytest.mark.parametrize(
    ("voice_name", "wanted", "error"),
    [
        ("nobody", {}, NotStoredError),
        ("ann", {"count": 0}, BadRequestError),
        ("ann", {"count": 21}, BadRequestError),
        ("ann", {"prompt": "x" * 1001}, BadRequestError),
        ("ann", {"message": "x" * 1001}, BadRequestError),
        ("ann", {"message": " https://example.com/a "}, BadRequestError),
        ("ann", {"version": 2}, NotStoredError),
        ("ann", {"seed": -1}, BadRequestError),
        ("ann", {"temperature": 2.5}, BadRequestError),
    ],
)
async def test_a_bad_question_is_one_sentence_and_stores_nothing(voice, speaking, filled, voice_name, wanted, error):
    with pytest.raises(error):
        await speaking.request(voice_name, by="me", **wanted)
    assert await filled.read(lambda db: db["requests"].count) == 0


async def test_an_end_that_is_written_during_a_look_is_not_slept_through(voice, speaking, speaker, filled, monkeypatch):
    """Lines and end are written one after the other; who looks in between sees no end, and hears of it at once all the same."""
    look, sleepless = speech.get, filled.changed

    def slowly(db, number):
        seen, found = filled.change, look(db, number)
        until = monotonic() + 10
        while found.status == "running" and speech.generations(db, number) and filled.change is seen and monotonic() < until:
            sleep(0.001)  # in the reader's thread, which has its answer
        return found

    monkeypatch.setattr(speech, "get", slowly)
    monkeypatch.setattr(filled, "changed", lambda since=None: sleepless(60, since=since))  # as if nobody else ever wrote
    speaker.texts = ["hello @someone there"] * 64
    async with asyncio.timeout(30):
        with pytest.raises(SpeechFailedError, match="may be said"):
            await say(speaking, count=1)
