"""The full card: what it says of a model's making, and that its command asks for the same training."""

import io
import shlex
from datetime import UTC, datetime

import pytest
from rich.console import Console

from bot.faces.terminal import render
from bot.services import cards
from bot.settings import load_settings
from data import jobs, models, quizzes
from tests.voices import RECIPE, add_version

CHOSEN = {"base": "tiny-random", "method": "lora", "seed": 7, "rank": 16, "learning_rate": 0.00012345678912345, "epochs": 3, "row": 256}


async def test_a_full_card_says_what_was_asked_chosen_and_learned_from(store):
    model = await store.write(add_version, ("ann", "bob"), recipe={"seed": 7}, details={"recipe": CHOSEN})
    document = await store.read(cards.full_card, model)
    assert document["recipe"] == {"device": "cpu"} | CHOSEN
    assert (document["job"]["id"], document["job"]["requested_by"]) == (model.job, "me")
    assert document["job"]["recipe"]["rank"] is None
    corpus = await store.read(jobs.corpus_of, model.corpus)
    assert document["splits"] == {"train": len(corpus.train), "stop": len(corpus.stop), "report": len(corpus.report)}
    assert document["started_from"] is None
    assert document["command"].endswith(" mynah train ann bob --from base")
    assert cards.card(model).items() <= document.items()


async def test_the_command_sets_what_was_chosen(store, tmp_path, monkeypatch):
    base = str(tmp_path / "a base with spaces")
    model = await store.write(add_version, recipe={"base": base}, details={"recipe": CHOSEN | {"base": base}})
    document = await store.read(cards.full_card, model)
    words = shlex.split(document["command"])
    for name, _, value in (word.partition("=") for word in words[: words.index("mynah")]):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None).trainer.model_dump()
    wanted = RECIPE | CHOSEN | {"base": base}
    assert {name: settings[name] for name in wanted if name in settings} == {name: wanted[name] for name in wanted if name in settings}


async def test_a_version_that_started_from_another_is_repeated_from_that_one(store):
    first = await store.write(add_version, weights=b"first")
    await store.write(add_version, weights=b"second")
    third = await store.write(add_version, weights=b"third", recipe={"start": first.sha256})
    document = await store.read(cards.full_card, third)
    assert document["started_from"] == 1
    assert document["command"].startswith("mynah pin ann 1 && MYNAH_")
    assert document["command"].endswith(" mynah train ann --from last")


@pytest.mark.parametrize("pinned", [False, True])
async def test_a_card_says_whether_its_version_speaks(store, pinned):
    old = await store.write(add_version)
    await store.write(add_version)
    if pinned:
        old = await store.write(models.pin, "ann", 1)
    document = cards.card(await store.read(models.get, old.id))
    assert (document["current"], document["pinned"]) == (pinned, pinned)


@pytest.mark.parametrize("guesses", [cards.ENOUGH_GUESSES - 1, cards.ENOUGH_GUESSES])
async def test_a_card_says_how_often_the_voice_fools_once_enough_have_guessed(store, guesses):
    model = await store.write(add_version)

    def guess(db):
        at = datetime(2026, 11, 21, tzinfo=UTC)
        quiz = {"options": "abcd", "odd": 1, "odd_is_voice": True, "by": "me", "at": at, "seconds": 60}
        row = quizzes.add(db, server=1, channel=1, voice="ann", model=model.id, **quiz)
        for member in range(guesses):
            quizzes.guess(db, row.id, member, "m", 1 if member < 3 else 0, at)
        quizzes.close_due(db, row.ends_at)

    await store.write(guess)
    later = await store.write(add_version)  # the tally is the voice's, of all its versions
    console = Console(file=io.StringIO(), width=100)
    for card in (cards.told_card, cards.full_card):
        document = await store.read(card, later)
        console.print(render.card(document))
        assert document["fool_rate"] == ({"share": 0.7, "guesses": 10, "chance": 0.75} if guesses == 10 else None)
    said = "70% of 10 guesses were wrong (by chance: 75%)"
    assert console.file.getvalue().count(said) == (2 if guesses == 10 else 0)
