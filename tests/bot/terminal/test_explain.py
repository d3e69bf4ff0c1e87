"""`generate --explain`: every candidate with its score in parts and why it was not said, also where none was."""

import io

import pytest
from rich.console import Console

from bot.app import Mynah
from bot.errors import SpeechFailedError
from bot.faces.terminal.console import obey
from bot.settings import Secrets
from tests.voices import add_version
from trainer.protocol import Line

SAID = ["a plain [bold]line", "hello @bob", "it goes on and", "quite another thing"]


class TalkingSpeaker:
    """Says the four lines above, the third cut off, the last the least likely, and then signs alone."""

    def __init__(self):
        self.silent = False

    async def speak(self, request):
        for index in range(request.count):
            text = SAID[index] if index < len(SAID) and not self.silent else "…"
            yield Line(request.id, index, text, complete=index != 2, log_likelihood=-5.25 if index == 3 else -4.0, relevance=0.5)

    async def close(self):
        pass


@pytest.fixture
def speaker():
    return TalkingSpeaker()


@pytest.fixture
async def app(settings, executor, speaker):
    async with Mynah(settings, Secrets(), executor, speaker) as running:
        await running.store.write(add_version)
        yield running


def shown(renderable):
    paper = io.StringIO()
    Console(file=paper, width=120).print(renderable, soft_wrap=True)
    return paper.getvalue()


async def test_each_candidate_is_explained(app):
    answer = await obey(app, "!generate ann --explain", "me", Console(file=io.StringIO()))
    document, text = answer.document, shown(answer.text)
    assert [line["verdict"] for line in document["candidates"]][:4] == ["passed", "mention", "cut_off", "passed"]
    assert [line["chosen"] for line in document["candidates"]][:4] == [True, False, False, True]
    assert document["candidates"][1]["reason"] == "mentions somebody (@), which X forbids to bots that were not asked"
    assert document["typical_log_likelihood"] == -4.25
    for line in document["candidates"]:
        assert line["score"] == pytest.approx(sum(line["parts"].values()))
    assert document["candidates"][3]["parts"]["likelihood"] == -1
    assert document["candidates"][0]["parts"]["relevance"] == 0.5
    assert "a plain [bold]line" in text
    assert "cut_off: was cut off before its end" in text
    assert "what is typical of the voice (-4.25)" in text
    lines = text.splitlines()
    place = {words: next(place for place, line in enumerate(lines) if words in line and "•" not in line) for words in SAID}
    assert sorted(place, key=place.get)[:2] == ["a plain [bold]line", "quite another thing"]


async def test_without_the_option_only_the_lines_are_shown(app):
    answer = await obey(app, "!generate ann", "me", Console(file=io.StringIO()))
    assert "candidates" not in answer.document
    assert shown(answer.text) == "• a plain [bold]line\n• quite another thing\n"


async def test_an_answer_that_failed_is_explained_too(app, speaker):
    speaker.silent = True
    paper = io.StringIO()
    with pytest.raises(SpeechFailedError, match="may be said"):
        await obey(app, "!generate ann --explain", "me", Console(file=paper, width=120))
    assert paper.getvalue().count("empty: has no letter and no digit") == 24
    paper.seek(0)
    with pytest.raises(SpeechFailedError):
        await obey(app, "!generate ann", "me", Console(file=(quiet := io.StringIO())))
    assert quiet.getvalue() == ""
