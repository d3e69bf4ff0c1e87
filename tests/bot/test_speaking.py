"""The speaking service: what is asked, what the speaker is told, what is chosen, and what happens when it fails."""

import asyncio
import hashlib
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bot.errors import BadHandleError, BadRequestError, BadWeightsError, NotStoredError, SpeechFailedError
from bot.services.speaking import Speaking
from bot.services.weights import adapter_file
from data import accounts, models, speech
from data.speech import Purpose
from tests.voices import add_version
from trainer.protocol import Line


class ScriptedSpeaker:
    """Says the lines that the test wrote, as many as are asked for, and then the error."""

    def __init__(self, *texts):
        self.texts = list(texts)
        self.requests = []
        self.error = None

    async def speak(self, request):
        self.requests.append(request)
        for index in range(request.count):
            if self.texts:
                yield Line(request.id, index, self.texts.pop(0), complete=True, log_likelihood=-2.0)
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


async def test_lines_come_in_order_and_no_more_than_asked(voice, speaking, speaker):
    speaker.texts = [f"a new line number {n}" for n in "abcdefgh"]
    spoken = await say(speaking, count=3, seed=1)
    assert [line.text for line in spoken.lines] == [f"a new line number {n}" for n in "abc"]
    assert len(spoken.candidates) == 6


async def test_the_speaker_is_told_where_verified_weights_lie(voice, speaking, speaker, settings):
    speaker.texts = ["one fine line"] * 8
    await say(speaking, count=1, prompt=" my   dream ", seed=9)
    (request,) = speaker.requests
    assert (request.prompt, request.seed, request.sha256) == ("my dream", 9, voice.sha256)
    assert adapter_file(settings, voice.sha256).read_bytes() == b"weights " * 1000


async def test_the_pinned_version_speaks_and_another_when_it_is_named(voice, speaking, speaker, filled):
    newest = await filled.write(add_version, ("ann",), weights=b"others")
    speaker.texts = [f"a new line number {n}" for n in range(50)]
    await say(speaking, count=1)
    await filled.write(models.pin, "ann", voice.version)
    await say(speaking, count=1)
    await say(speaking, count=1, version=newest.version)
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


async def test_the_same_line_is_not_said_twice_in_one_answer(voice, speaking, speaker):
    speaker.texts = ["Twice the same", "twice the SAME", "another one here"] + [f"and more {n}" for n in range(5)]
    spoken = await say(speaking, count=2)
    assert [line.text for line in spoken.lines] == ["Twice the same", "another one here"]


async def test_when_nothing_passes_more_is_made_within_a_bound_and_then_one_sentence(voice, speaking, speaker):
    speaker.texts = ["…"] * 100
    with pytest.raises(SpeechFailedError, match="may be said"):
        await say(speaking, count=2)
    assert len({request.seed for request in speaker.requests}) == len(speaker.requests) == 3


async def test_posts_obey_xs_rules_and_talk_does_not_have_to(voice, speaking, speaker):
    lines = ["hello @someone there", "see https://example.com/a now", "word " * 60, "a plain line"]
    speaker.texts = [*lines, "1 more", "2 more"]
    assert [line.verdict for line in (await say(speaking, count=1, purpose=Purpose.POST)).candidates] == [
        "mention",
        "link",
        "too_long",
        "passed",
    ]
    speaker.texts = [*lines, "1 more", "2 more"]
    assert [line.verdict for line in (await say(speaking, count=1, purpose=Purpose.TALK)).candidates][:2] == ["passed", "passed"]


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
    assert [request.count for request in speaker.requests] == [4, 4]


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
