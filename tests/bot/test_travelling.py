"""Models that travel, as a service: what is refused before anything is done, and the whole way there and back in real processes."""

import asyncio
import hashlib
import json
import os
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.app import Mynah
from bot.errors import BadHandleError, BadRequestError, ConsentError, NotStoredError, TravelError
from bot.executors import carrier
from bot.executors.carrier import carry
from bot.executors.processes import started_at
from bot.faces.terminal import actions, render
from bot.services import bringing, cards, exporting, forgetting
from bot.services.choosing import typical
from bot.services.publishing import Card
from bot.services.speaking import own_sampling
from bot.settings import Secrets
from data import accounts, consents, jobs, models
from data.choosing import Counts
from data.consents import Ground
from tests import ancestor
from tests.conftest import made_up_tweets, store_account
from tests.voices import add_version, stored_weights
from trainer.protocol import PRESETS, Export, Exported, Imported

DETAILS = {"adapter": None, "whole": True, "authors": ["ann", "eve"], "answers": False, "typical": -4.5, "sampling": {"top_k": 7}}


@pytest.fixture
def carried(monkeypatch):
    """Orders that were given to a carrier, which writes nothing of a model; `answer` is changed by a test."""

    class Carried(list):
        """The orders."""

    orders = Carried()
    orders.answer, orders.weights = {}, b"weights " * 1000

    async def pretend(order, kind, log):
        orders.append(order)
        if kind is Exported:
            (Path(order.output) / "model.safetensors").write_bytes(Path(order.weights).read_bytes())
            return Exported("a/base", "<s>", 8000)
        path = Path(order.output) / "adapter.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(orders.weights)
        sha256 = hashlib.sha256(orders.weights).hexdigest()
        said = {"base": "gpt2", "method": "whole", "details": dict(DETAILS), "samples": ["a line", "see x.ai"], "card": "", "note": {}}
        return Imported(str(path), sha256, 8000, **said | orders.answer)

    for service in (bringing, exporting):
        monkeypatch.setattr(service, "carry", pretend)
    return orders


@pytest.fixture
def bring(store, settings, tmp_path):
    """A function that imports a folder that is there."""

    async def bring(voice="ann", ground=Ground.PERMISSION, source=str(tmp_path), **changes):
        return await bringing.import_model(store, settings.model_copy(update=changes), source, voice, by="me", ground=ground)

    return bring


async def nothing_is_stored(store, settings):
    assert await store.read(accounts.known_handles) == []
    assert (await store.read(models.page)).total == 0
    assert await store.read(lambda db: db["consents"].count) == 0
    assert not list((settings.data_dir / "travel").glob("*"))


# ---------------------------------------------------------------------- import


async def test_an_imported_model_is_a_voice_like_any_other(store, settings, bring, carried):
    model, new = await bring()
    assert (new, model.voice, model.version, model.current, model.base, model.method) == (True, "ann", 1, True, "gpt2", "whole")
    assert model.counts == {"ann": bringing.UNKNOWN}
    assert (model.result["loss_after"], typical(model), own_sampling(model, settings).top_k) == (None, -4.5, 7)
    assert model.result["samples"] == ["a line"]  # the other holds a link
    assert model.result["details"]["authors"] == []
    assert await store.read(stored_weights, model.id) == carried.weights
    job = await store.read(jobs.get, model.job)
    assert (job.status, job.model, job.requested_by) == (jobs.Status.DONE, model.id, "me")
    assert await store.read(jobs.unfinished) == []
    (claim,) = await store.read(consents.claims, "ann")
    assert (claim.ground, claim.claimed_by) == (Ground.PERMISSION, "me")
    assert carried[0] == replace(carried[0], hub=False, base="tiny-random")
    assert not list((settings.data_dir / "travel").glob("*"))


async def test_the_same_model_again_is_the_same_version_and_another_is_the_next(store, bring, carried):
    first, _ = await bring()
    again, new = await bring()
    assert (again.id, new) == (first.id, False)
    carried.weights = b"other"
    second, new = await bring(ground=None)
    assert (second.version, second.current, new) == (2, True, True)


async def test_what_the_card_counts_is_the_voices(bring, carried):
    carried.answer = {"card": ancestor.card("ann-eve", Eve=(3, 1, 1, 1), Ann=(342, 167, 33, 142))}
    model, _ = await bring("Eve-ann")
    assert model.voice == "ann-eve"
    assert model.counts == {"ann": Counts(342, 167, 33, 142, 0), "eve": Counts(3, 1, 1, 1, 0)}
    assert model.result["details"]["authors"] == ["ann", "eve"]


async def test_what_a_mynah_noted_goes_before_the_card(bring, carried):
    counts = {"downloaded": 9, "retweets": 1, "short": 1, "kept": 7, "duplicates": 2}
    carried.answer = {"note": {"handles": ["ann"], "counts": {"ann": counts}}, "card": ancestor.card("eve", Eve=(3, 1, 1, 1))}
    assert (await bring())[0].counts == {"ann": Counts(9, 1, 1, 7, 2)}


@pytest.mark.parametrize("counts", [{"ann": {"kept": "x"}}, {"ann": 3}, [], {"ann": {"downloaded": -1}}, {"ann": {"evil": 1}}])
async def test_a_strangers_counts_that_are_none_are_left_out(bring, carried, counts):
    carried.answer = {"note": {"handles": ["ann"], "counts": counts}}
    assert (await bring())[0].counts == {"ann": bringing.UNKNOWN}


@pytest.mark.parametrize("said", [{"card": ancestor.card("eve", Eve=(3, 1, 1, 1))}, {"note": {"handles": ["eve"]}}])
async def test_a_model_of_somebody_elses_posts_is_not_taken_under_another_name(store, settings, bring, carried, said):
    carried.answer = said
    with pytest.raises(ConsentError, match="learned from @eve: import it --as eve"):
        await bring()
    await nothing_is_stored(store, settings)


async def test_without_a_claim_nothing_is_imported(store, settings, bring, carried):
    with pytest.raises(ConsentError, match="Nobody has claimed consent for @ann: say with `--consent permission`"):
        await bring(ground=None)
    await nothing_is_stored(store, settings)
    assert carried == []


async def test_a_claim_of_before_will_do(store, bring, carried):
    await store.write(store_account, "ann", made_up_tweets(3))
    assert (await bring(ground=None))[1]


async def test_a_ground_that_the_settings_do_not_accept_is_refused(store, settings, bring, carried):
    own = settings.consent.model_copy(update={"policy": "own"})
    with pytest.raises(ConsentError, match="on the ground of archive, as the settings ask"):
        await bring(consent=own)
    await nothing_is_stored(store, settings)


async def test_who_opted_out_or_is_blocked_is_refused(store, settings, bring, carried):
    blocked = settings.consent.model_copy(update={"blocked_handles": frozenset({"bob"})})
    with pytest.raises(ConsentError, match="@bob is blocked"):
        await bring("bob", consent=blocked)
    await store.write(consents.opt_out, "ann", "ann")
    for voice in ("ann", "ann-eve"):
        with pytest.raises(ConsentError, match="@ann has opted out"):
            await bring(voice)
    await nothing_is_stored(store, settings)


async def test_who_opts_out_while_it_is_read_is_heeded(store, settings, bring, carried, monkeypatch):
    pretend = bringing.carry

    async def meanwhile(*order):
        await store.write(consents.opt_out, "ann", "ann")
        return await pretend(*order)

    monkeypatch.setattr(bringing, "carry", meanwhile)
    with pytest.raises(ConsentError, match="@ann has opted out"):
        await bring()
    await nothing_is_stored(store, settings)


@pytest.mark.parametrize(("source", "voice", "error"), [("nowhere at all", "ann", BadRequestError), ("a/b/c", "ann", BadRequestError)])
async def test_a_source_that_is_none_is_refused(store, settings, bring, carried, source, voice, error):
    with pytest.raises(error, match="There is no folder"):
        await bring(voice, source=source)
    with pytest.raises(BadHandleError):
        await bring("no handle", source=source)
    assert carried == []
    await nothing_is_stored(store, settings)


async def test_a_name_of_the_hub_is_fetched_by_the_child(bring, carried):
    await bring(source="huggingtweets/ann")
    assert (carried[0].hub, carried[0].source) == (True, "huggingtweets/ann")


async def test_cards_and_lists_show_an_imported_voice(store, settings, bring, carried):
    model, _ = await bring()
    document = await store.read(cards.full_card, model)
    assert document["command"] == "mynah import-model FOLDER --as ann"
    for shown in (render.card(document), render.particulars(document), render.models([document]), render.versions([document])):
        assert shown


async def test_an_imported_voice_is_forgotten_like_any_other(store, bring, carried):
    await bring()
    gone = await store.write(accounts.forget, "ann")
    assert (gone["models"], gone["tweets"]) == (1, 0)
    assert await store.read(lambda db: db["model_weights"].count) == 0


async def test_what_a_killed_process_left_goes_with_the_next_model_or_a_forgetting(store, settings, bring, carried):
    travel = settings.data_dir / "travel"

    def left():
        for name in ("999999999-5-ab", ".999999999-5-ab.cd.part", f"{os.getpid()}-1-ab"):
            (travel / name).mkdir(parents=True)

    mine = travel / f"{os.getpid()}-{started_at(os.getpid())}-ab"
    left()
    mine.mkdir()
    await bring()
    assert list(travel.iterdir()) == [mine]
    left()
    async with Mynah(settings, Secrets()) as app:
        await forgetting.forget(store, app.training, settings, "ann", by="me")
    assert list(travel.iterdir()) == [mine]


async def test_no_time_of_a_training_is_told_from_imports(store, bring, carried):
    carried.answer = {"base": "tiny-random", "method": "lora"}
    await bring()
    assert await store.read(models.newest_of, "tiny-random", 5) == []
    await store.write(add_version, ("bob",))


# ---------------------------------------------------------------------- export


@pytest.fixture
def take(store, settings, monkeypatch):
    """A function that exports a voice, whose card a fake writes."""

    async def draw(_store, _settings, _speaking, model, *, address):
        return Card({"README.md": f"{model.voice} is at {address}".encode()}, [{"name": "copy_rate", "value": 0.5}])

    monkeypatch.setattr(exporting, "draw", draw)

    async def take(folder, voice="ann", **wish):
        return await exporting.export(store, settings, None, voice, folder, **wish)

    return take


async def test_an_export_is_a_folder_with_a_note_and_a_readme(store, take, carried, tmp_path):
    model = await store.write(add_version, ("ann", "bob"), details={"adapter": {}, "authors": ["ann", "bob"], "sampling": {"top_k": 7}})
    written = await take(tmp_path / "new/out", "bob-ann", address="me/x")
    assert (written.model.id, written.bytes) == (model.id, 8000)
    assert sorted(path.name for path in written.folder.iterdir()) == ["README.md", "model.safetensors", "mynah.json"]
    note = json.loads((written.folder / "mynah.json").read_text())
    assert (note["handles"], note["authors"], note["base"], note["sha256"]) == (["ann", "bob"], ["ann", "bob"], "tiny-random", model.sha256)
    assert note["counts"]["ann"]["downloaded"] == 150
    assert (written.folder / "README.md").read_text() == "ann-bob is at me/x"
    assert carried[0].sampling.top_k == 7
    assert list((tmp_path / "new").iterdir()) == [written.folder]


async def test_a_version_is_exported_by_its_number(store, take, carried, tmp_path):
    first = await store.write(add_version, weights=b"first")
    await store.write(add_version, weights=b"second")
    assert (await take(tmp_path / "out", version=1)).model.id == first.id
    with pytest.raises(NotStoredError, match="no version 3"):
        await take(tmp_path / "out3", version=3)


async def test_an_empty_folder_is_filled_and_another_is_left_alone(store, take, carried, tmp_path):
    await store.write(add_version)
    (tmp_path / "empty").mkdir()
    await take(tmp_path / "empty")
    for taken in (tmp_path / "empty", tmp_path / "empty/README.md"):
        with pytest.raises(BadRequestError, match="is there already and not empty"):
            await take(taken)
    with pytest.raises(BadRequestError, match="cannot be made"):
        await take(tmp_path / "empty/README.md/below")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "var") == ["empty"]


async def test_a_link_is_not_exported_through(store, take, carried, tmp_path):
    await store.write(add_version)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadRequestError, match="cannot be written"):
        await take(tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "var") == ["elsewhere", "out"]


async def test_an_export_that_fails_leaves_nothing(store, settings, take, tmp_path, monkeypatch):
    await store.write(add_version)

    async def fail(order, *_):
        (Path(order.output) / "half").touch()
        raise TravelError("no")

    await store.write(add_version, details={"adapter": {"rank": 8}})
    monkeypatch.setattr(exporting, "carry", fail)
    with pytest.raises(TravelError):
        await take(tmp_path / "out")
    with pytest.raises(TravelError):
        await exporting.export_zip(store, settings, None, "ann")
    assert [path.name for path in tmp_path.iterdir()] == ["var"]
    assert not list((settings.data_dir / "travel").glob("*"))


async def test_a_voice_that_is_forgotten_meanwhile_is_not_exported(store, take, carried, tmp_path, monkeypatch):
    await store.write(add_version)
    pretend = exporting.carry

    async def forget(*order):
        await store.write(accounts.forget, "ann")
        return await pretend(*order)

    monkeypatch.setattr(exporting, "carry", forget)
    with pytest.raises(NotStoredError, match="ann was forgotten"):
        await take(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["var"]


async def test_who_is_blocked_is_not_exported(store, settings, take, carried, tmp_path):
    await store.write(add_version)
    blocked = settings.model_copy(update={"consent": settings.consent.model_copy(update={"blocked_handles": frozenset({"ann"})})})
    with pytest.raises(ConsentError, match="@ann is blocked"):
        await exporting.export(store, blocked, None, "ann", tmp_path / "out")


async def test_the_zip_holds_a_folder(store, settings, carried):
    await store.write(add_version, details={"adapter": {"rank": 8}})
    model, content = await exporting.export_zip(store, settings, None, "ann")
    file = zipfile.ZipFile(BytesIO(content))
    names = file.namelist()
    assert names == [f"ann-v{model.version}/{name}" for name in ("README.md", "model.safetensors", "mynah.json")]
    assert carried[0].adapter
    readme = file.read(names[0]).decode()
    assert "--as ann" in readme
    assert '"<s>My dream is"' in readme
    assert not list((settings.data_dir / "travel").glob("*"))


@pytest.mark.parametrize(("name", "token", "sentence"), [("no-name", "t", "is no name of a repository"), ("a/b", None, "set HF_TOKEN")])
async def test_a_push_that_cannot_be_is_refused_before_anything_is_written(settings, carried, tmp_path, name, token, sentence):
    async with Mynah(settings, Secrets(hf_token=SecretStr(token) if token else None)) as app:
        await app.store.write(add_version)
        with pytest.raises(BadRequestError, match=sentence):
            await actions.export(app, "ann", tmp_path / "out", push=name)
    assert carried == []
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------- processes


async def test_a_child_that_says_nothing_is_one_sentence(settings, tmp_path, monkeypatch):
    order = Export("x", "x", "x", {}, PRESETS["mynah"], False, str(tmp_path), str(tmp_path))
    monkeypatch.setattr(carrier.sys, "executable", "true")
    with pytest.raises(TravelError, match="nobody said why"):
        await carry(order, Exported, tmp_path / "log")


@pytest.mark.long
async def test_a_huggingtweets_model_comes_in_speaks_and_goes_out(settings, tmp_path, monkeypatch):
    """The whole way in real processes; what goes out comes in again as the same model."""
    readme = ancestor.card("ann", Ann=(342, 167, 33, 142))
    hers = await asyncio.to_thread(ancestor.write, tmp_path / "hers", readme=readme)
    any_words = settings.model_copy(update={"safety": settings.safety.model_copy(update={"profanity": "any"})})
    async with Mynah(any_words, Secrets()) as app:
        shown = await actions.import_model(app, str(hers), "ann", "me", "permission")
        assert shown.document["counts"]["ann"]["kept"] == 142
        assert shown.document["details"]["sampling"]["max_tokens"] == 160
        model = await app.store.read(models.current, "ann")
        request = await app.speaking.request("ann", by="me", prompt="My dream is", count=1, seed=1)
        assert (request.sampling["temperature"], request.sampling["max_tokens"]) == (1.0, 160)
        try:
            await app.lead_until(app.speaking.answer(request.id))
        except Exception as error:  # random bytes are seldom fit to be said: what matters is that they came
            assert "may be said" in str(error)  # noqa: PT017
        candidates = await app.store.read(lambda db: list(db.query("SELECT text FROM generations")))
        assert candidates
        assert all(row["text"].startswith("My dream is") for row in candidates)
        went = await actions.export(app, "ann", tmp_path / "out")
        assert went.document["folder"] == str(tmp_path / "out")
        card = (tmp_path / "out/README.md").read_text()
        assert "It was made elsewhere, and imported by somebody who answers for it (@ann: permission)" in card
        assert "## Evaluation" not in card
        assert {"predictions.png", "model.safetensors", "generation_config.json"} <= {path.name for path in (tmp_path / "out").iterdir()}
        again = await actions.import_model(app, str(tmp_path / "out"), "ann", "me")
        assert (again.document["version"], again.document["counts"]) == (2, shown.document["counts"])
    assert model.bytes < 1_000_000
    assert not list((settings.data_dir / "travel").glob("*"))
