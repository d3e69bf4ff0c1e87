"""The hub, which is one of our own on the loopback: models are fetched by the child without a token, and pushed with one."""

import asyncio
import json

import pytest
from pydantic import SecretStr

from bot.errors import TravelError
from bot.services import pushing
from bot.services.bringing import import_model
from data.consents import Ground
from tests import ancestor
from tests.loopback_hub import COMMIT, Hub

FETCHED = {"README.md", "config.json", "pytorch_model.bin", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture
async def hub(tmp_path, monkeypatch):
    folder = await asyncio.to_thread(ancestor.write, tmp_path / "hers")
    async with Hub("huggingtweets/ann", folder) as opened:
        monkeypatch.setenv("HF_ENDPOINT", opened.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("HF_TOKEN", "a-secret-of-the-operators")
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", opened.url)
        yield opened


async def test_a_model_of_the_hub_becomes_a_voice(hub, store, settings):
    model, new = await import_model(store, settings, hub.name, "ann", by="me", ground=Ground.PARODY)
    assert (new, model.voice, model.counts["ann"].kept) == (True, "ann", 142)
    details = model.result["details"]
    assert (details["source"], details["revision"]) == ("huggingtweets/ann", COMMIT)
    assert details["files"].keys() == FETCHED
    assert {path.rpartition("/")[2] for path in hub.asked if "/resolve/" in path} == FETCHED
    assert hub.tokens == {""}
    assert not list((settings.data_dir / "travel").glob("*"))


@pytest.mark.long
async def test_a_model_that_is_too_large_or_not_there_is_not_fetched(hub, store, settings):
    hub.sizes["pytorch_model.bin"] = 1 << 40
    with pytest.raises(TravelError, match=r"pytorch_model\.bin of huggingtweets/ann has 1,099,512 MB"):
        await import_model(store, settings, hub.name, "ann", by="me", ground=Ground.PARODY)
    with pytest.raises(TravelError, match="'huggingtweets/eve' could not be had from the hub"):
        await import_model(store, settings, "huggingtweets/eve", "eve", by="me", ground=Ground.PARODY)
    assert not [path for path in hub.asked if "/resolve/" in path]


async def test_a_push_is_private_and_complete(hub, tmp_path):
    address = await pushing.push(hub.folder, "me/voice", SecretStr("t0ken"))
    assert address.endswith("/me/voice")
    assert hub.made[0]["visibility"] == "private"
    assert hub.pushed["config.json"] == (hub.folder / "config.json").read_bytes()
    assert json.loads(hub.pushed["config.json"])["model_type"] == "gpt2"
    assert hub.tokens == {"Bearer t0ken"}


async def test_a_hub_that_cannot_be_reached_is_one_sentence(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(TravelError, match=r"me/voice could not be uploaded .* is complete, try again"):
        await pushing.push(hub.folder, "me/voice", SecretStr("t0ken"))
