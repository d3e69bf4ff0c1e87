"""The speaking service: what is asked, what the speaker is told, what is chosen, and what happens when it fails."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from bot.errors import BadRequestError, NotStoredError, SpeechFailedError
from bot.services.speaking import Speaking, adapter_file
from bot.services.training import Training
from data import accounts, models, speech
from data.speech import Purpose
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
async def voice(filled, settings, executor):
    """A trained voice, ann."""
    training = Training(filled, settings, executor)
    await training.request(["ann"], by="me")
    await training.run_next()
    return await filled.read(models.latest, "ann")


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


@pytest.mark.parametrize(
    ("voice_name", "wanted", "error"),
    [
        ("nobody", {}, NotStoredError),
        ("ann", {"count": 0}, BadRequestError),
        ("ann", {"count": 21}, BadRequestError),
        ("ann", {"prompt": "x" * 1001}, BadRequestError),
        ("ann", {"seed": -1}, BadRequestError),
        ("ann", {"temperature": 2.5}, BadRequestError),
    ],
)
async def test_a_bad_question_is_one_sentence_and_stores_nothing(voice, speaking, filled, voice_name, wanted, error):
    with pytest.raises(error):
        await speaking.request(voice_name, by="me", **wanted)
    assert await filled.read(lambda db: db["requests"].count) == 0
