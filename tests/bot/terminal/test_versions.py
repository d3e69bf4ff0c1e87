"""Versions at the console: the same options as on the command line, and what is shown at 80 columns."""

import io

import pytest
from rich.console import Console

from bot.app import Mynah
from bot.errors import BadRequestError, NotStoredError
from bot.faces.terminal import actions
from bot.faces.terminal.console import obey
from bot.settings import Secrets
from tests.voices import add_version
from trainer.protocol import Line

SHA256_OF_SECOND = "16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4"
DETAILS = {
    "recipe": {"rank": 16, "learning_rate": 0.001},
    "base": {"name": "tiny-random", "revision": None, "licence": "none"},
    "seconds": {"train": 3.25},
    "threads": 2,
    "something_new": {"inside": [{"deep": True}, 1.0]},
    "news": "[bold]as it stands[/]",
    "authors": ["ann", "bob"],
    "posts": {"train": 120, "stop": 15, "report": 15},
    "start": None,
}


class EchoingSpeaker:
    """Says of each request what it was asked."""

    async def speak(self, request):
        for index in range(request.count):
            said = f"{request.prompt} (as {request.author} to {request.message}, from {request.sha256[:4]}, {index})".strip()
            yield Line(request.id, index, said, complete=True, log_likelihood=-2.0)

    async def close(self):
        pass


@pytest.fixture
async def app(settings, executor):
    """Mynah with two versions of ann, and the joint voice ann-bob."""
    async with Mynah(settings, Secrets(), executor, EchoingSpeaker()) as running:
        await running.store.write(add_version, weights=b"first")
        await running.store.write(add_version, weights=b"second", details=DETAILS)
        await running.store.write(add_version, ("ann", "bob"), details=DETAILS)
        yield running


async def typed(app, line):
    """Return what a line typed at the console answers: the document, and the text as a terminal of 80 columns shows it."""
    answer = await obey(app, line, "me", Console(file=io.StringIO()))
    paper = io.StringIO()
    Console(file=paper, width=80).print(answer.text, soft_wrap=True)
    return answer.document, paper.getvalue()


async def test_pinning_and_unpinning_say_what_speaks_from_now_on(app):
    document, text = await typed(app, "!pin ann 1")
    assert document == {"name": "ann", "version": 1, "pinned": True}
    assert text == "ann speaks with version 1 from now on, whatever is trained later, until `mynah unpin ann`.\n"
    assert "1, pinned" in (await typed(app, "!models"))[1]
    document, text = await typed(app, "!unpin ann")
    assert document == {"name": "ann", "version": 2, "pinned": False}
    assert text == "ann is not pinned: it speaks with its newest version, 2 now.\n"
    assert "pinned" not in (await typed(app, "!models"))[1]


async def test_versions_are_listed_with_a_mark_at_the_one_that_speaks(app):
    document, text = await typed(app, "!models ann --versions")
    assert [(m["version"], m["current"]) for m in document["models"]] == [(2, True), (1, False)]
    heading, columns, *rows = text.splitlines()
    assert (heading.strip(), columns.split()) == ("ann", ["v", "speaks", "made", "posts", "loss", "MB", "method", "base"])
    assert [row.split()[:2] for row in rows] == [["2", "newest"], ["1", document["models"][1]["created_at"][:10]]]
    assert rows[0].split()[3:] == ["150", "5.50", "→", "4.25", "0.0", "lora", "tiny-random"]
    everything, text = await typed(app, "!models --versions")
    assert [(m["name"], m["version"]) for m in everything["models"]] == [("ann", 2), ("ann", 1), ("ann-bob", 1)]
    assert max(map(len, text.splitlines())) <= 80
    assert [m["version"] for m in (await typed(app, "!models ann"))[0]["models"]] == [2]


async def test_a_full_card_shows_what_it_knows_and_what_it_does_not_know_yet(app):
    document, text = await typed(app, "!show ann --all")
    assert document["sha256"] == SHA256_OF_SECOND
    lines = [line.rstrip() for line in text.splitlines()]
    shown = lines[lines.index(f"sha256         {SHA256_OF_SECOND}") :]
    assert f"corpus         {document['corpus_sha256']}" in lines
    for said in (
        "base           name=tiny-random  revision=none  licence=none",
        "seconds        train=3.25",
        "something new  inside=(deep=yes),1",
    ):
        assert said in lines
    assert "threads=2  news=[bold]as it stands[/]" in text
    assert "requested_by=me" in text
    assert text.count("train=120") == 1
    assert lines[-1] == document["command"]
    assert max(map(len, shown[:-2])) <= 80  # the last are the command and what it needs, which may be copied whole
    assert "command" not in (await typed(app, "!show ann"))[0]


async def test_a_version_that_does_not_speak_is_shown_with_how_to_have_it_speak(app):
    document, text = await typed(app, "!show ann --version 1")
    assert (document["version"], document["current"]) == (1, False)
    assert "ann speaks with version 2, its newest: `mynah pin ann 1` has it speak with this one." in text
    await typed(app, "!pin ann 1")
    assert "ann speaks with version 1, which is pinned: `mynah pin ann 2`" in (await typed(app, "!show ann --version 2"))[1]
    assert "speaks with" not in (await typed(app, "!show ann"))[1]


async def test_generate_takes_a_version_an_author_and_a_message(app):
    document, _ = await typed(app, "!generate ann --version 1 the lamp --odd")
    assert document["lines"][0]["text"].startswith("the lamp --odd (as  to , from a793,")
    document, _ = await typed(app, '!generate ann-bob --as @Bob --answer "is it dark?"')
    assert {name: document[name] for name in ("version", "author", "message", "prompt")} == {
        "version": 1,
        "author": "bob",
        "message": "is it dark?",
        "prompt": "",
    }
    assert "(as bob to is it dark?," in document["lines"][0]["text"]


@pytest.mark.parametrize(("words", "start"), [("", None), ("--from last", True), ("--from base", False)])
async def test_train_says_where_it_starts(app, monkeypatch, words, start):
    class AskedError(Exception):
        pass

    asked = []

    async def request(handles, *, by, start):
        asked.append((handles, by, start))
        raise AskedError

    monkeypatch.setattr(app.training, "request", request)
    with pytest.raises(AskedError):
        await typed(app, f"!train ann bob {words}")
    assert asked == [(["ann", "bob"], "me", start)]


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [
        ("pin ann 7", NotStoredError, "ann has no version 7: choose from 1, 2."),
        ("pin ann x", BadRequestError, "'x' is not a version's number: models --versions lists them."),
        ("pin ann", BadRequestError, "Type it as: !pin VOICE VERSION."),
        ("show ann --version", BadRequestError, "Something must follow --version, as in `mynah --help`."),
        ("show ann --version ²", BadRequestError, "'²' is not a version's number: models --versions lists them."),
        ("train ann --from scratch", BadRequestError, "'scratch' is nothing to train from: type --from last, or --from base."),
    ],
)
async def test_what_cannot_be_done_is_one_sentence(app, line, error, said):
    with pytest.raises(error) as raised:
        await typed(app, line)
    assert str(raised.value) == said


async def test_help_names_each_command_and_each_option(app):
    document, text = await typed(app, "!help")
    assert {"pin", "unpin"} <= set(document["commands"])
    assert "!pin VOICE VERSION" in text
    assert (
        "generate --version --as --answer --explain; models --versions --search --page; show --version --all; read --posts --estimate."
        in text
    )


async def test_many_voices_come_in_pages_and_can_be_searched(app, monkeypatch):
    monkeypatch.setattr(actions, "PAGE", 2)
    await app.store.write(add_version, ("bob",))
    document, text = await typed(app, "models")
    assert [model["name"] for model in document["models"]] == ["ann", "ann-bob"]
    assert (document["page"], document["pages"], document["total"]) == (1, 2, 3)
    assert "Page 1 of 2, 3 voices in all: --page N, or --search TEXT." in text
    document, text = await typed(app, "models --page 2")
    assert [model["name"] for model in document["models"]] == ["bob"]
    document, text = await typed(app, "models --search @OB")
    assert [model["name"] for model in document["models"]] == ["ann-bob", "bob"]
    assert "Page" not in text
    assert "There is no page 3: the last is 2." in (await typed(app, "models --page 3"))[1]
    assert "No voice has a name that holds 'zoe'." in (await typed(app, "models --search zoe"))[1]
    for wrong in ("0", "two"):
        with pytest.raises(BadRequestError, match=r"[Pp]age"):
            await typed(app, f"models --page {wrong}")
    document, _ = await typed(app, "models --versions --search ann")
    assert [(model["name"], model["version"]) for model in document["models"]] == [("ann", 2), ("ann", 1), ("ann-bob", 1)]
