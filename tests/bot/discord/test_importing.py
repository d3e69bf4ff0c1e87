"""/import: posts are stored on a ground that somebody names, all of a file or nothing, and of the file nothing stays."""

import json

import pytest

from bot.settings import Consent
from data import accounts, consents, jobs
from data.consents import Ground
from tests.bot.discord.conftest import Stage, posts

LINES = "".join(json.dumps({"id": f"n{n}", "text": tweet.text}) + "\n" for n, tweet in enumerate(posts("crab"))).encode()


def left(stage: Stage):
    return list((stage.app.settings.data_dir / "uploads").glob("*"))


async def bring(stage: Stage, words: str, content: bytes = LINES, name: str = "crab.jsonl", who=None) -> str:
    """Have the boss type the command with a file attached; return the answer."""
    await (who or stage.boss).send(stage.channel, f"!import {words}", attachments=[(name, content)])
    return stage.history[-1].content


async def test_posts_are_stored_with_who_answers_for_them_and_not_trained_on(stage: Stage):
    said = await bring(stage, "crab permission")
    assert said == "**crab**: 150 new posts; of 150 that are stored now 150 can be learned from. `/train crab` does."
    (claim,) = await stage.app.store.read(consents.claims, "crab")
    assert claim.ground is Ground.PERMISSION
    assert claim.claimed_by.startswith("boss (Discord ")
    assert await stage.app.store.read(jobs.recent) == []
    assert left(stage) == []
    assert (await bring(stage, "crab parody")).startswith("**crab**: 0 new posts;")


async def test_as_a_slash_command_it_answers_in_private(stage: Stage):
    result = await stage.boss.slash(stage.channel, "import", handle="crab", file=("crab.jsonl", LINES), ground="parody")
    assert result.ephemeral
    assert result.response.content.startswith("**crab**: 150 new posts;")


@pytest.mark.parametrize(
    ("words", "name", "content", "said"),
    [
        (
            "crab",
            "crab.jsonl",
            LINES,
            "does not say whose it is, so it is no ground to train on @\u200bcrab: name another, such as `permission`.",
        ),
        ("crab permission", "crab.exe", LINES, "I cannot read 'crab.exe'"),
        ("crab permission", "crab.zip", b"no zip", "crab.zip"),
        ("../crab permission", "crab.jsonl", LINES, "handle"),
        ("crab whim", "crab.jsonl", LINES, "Type it as: `!import handle [permission|parody], with the file attached`."),
    ],
)
async def test_what_cannot_be_imported_is_one_sentence_and_leaves_nothing(stage: Stage, words, name, content, said):
    answer = await bring(stage, words, content, name)
    assert said in answer.replace("\\", "")
    assert "\n" not in answer
    assert len(stage.env.errors) == 1
    assert "crab" not in await stage.app.store.read(accounts.known_handles)
    assert left(stage) == []


async def test_without_a_file_it_says_how_it_is_typed(stage: Stage):
    await stage.boss.send(stage.channel, "!import crab permission")
    assert stage.history[-1].content == "Type it as: `!import handle [permission|parody], with the file attached`."
    assert len(stage.env.errors) == 1


async def test_it_is_for_moderators(stage: Stage):
    said = await bring(stage, "crab permission", who=stage.alice)
    assert said.startswith("Importing is for members with the permission Manage Server;")
    assert len(stage.env.errors) == 1
    assert left(stage) == []


async def test_where_only_archives_are_taken_no_other_ground_is(stage: Stage, monkeypatch):
    monkeypatch.setattr(stage.app, "settings", stage.app.settings.model_copy(update={"consent": Consent(policy="own")}))
    assert (await bring(stage, "crab permission")).startswith("The operator takes archives alone whose account.js names the account")
    assert len(stage.env.errors) == 1
    assert "crab" not in await stage.app.store.read(accounts.known_handles)
