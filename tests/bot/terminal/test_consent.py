"""Consent at the command line: what an import claims, what is listed, and opting out."""

import io

import pytest
import structlog
from rich.console import Console

from bot.app import Mynah
from bot.errors import ConsentError, NotStoredError
from bot.faces.terminal import actions
from bot.settings import Consent, Secrets
from data import published
from tests.acceptance.conftest import write_posts
from tests.voices import add_version


@pytest.fixture
async def app(settings, executor):
    async with Mynah(settings, Secrets(), executor) as running:
        yield running


def shown(answer):
    paper = io.StringIO()
    Console(file=paper, width=200).print(answer.text, soft_wrap=True)
    return paper.getvalue()


async def test_an_import_says_who_answers_for_it_and_the_claims_are_listed(app, tmp_path):
    imported = await actions.import_posts(app, write_posts(tmp_path / "ann.jsonl"), "ann", "paula")
    assert "Consent: a permission, says paula." in shown(imported)
    assert imported.document["ground"] == "permission"
    claimed = await actions.consent(app, "@Ann", "quentin", "parody")
    assert [(one["ground"], one["claimed_by"]) for one in claimed.document["claims"]] == [("permission", "paula"), ("parody", "quentin")]
    assert "@ann: permission, claimed by paula on 2" in shown(claimed)


async def test_consent_for_an_account_that_is_not_stored_is_one_sentence(app):
    with pytest.raises(NotStoredError, match="No posts of @ann are stored"):
        await actions.consent(app, "ann", "paula", "permission")


async def test_opting_out_forgets_refuses_and_can_be_undone(app, tmp_path):
    file = write_posts(tmp_path / "ann.jsonl")
    await actions.import_posts(app, file, "ann", "paula")
    gone = await actions.opt_out(app, "ann", "paula")
    assert gone.document["deleted"]["tweets"] == 150
    assert "is forgotten, and will not be stored or trained again" in shown(gone)
    with pytest.raises(ConsentError, match="@ann has opted out"):
        await actions.import_posts(app, file, "ann", "paula")
    assert "will not be stored or trained." in shown(await actions.opt_out(app, "bob", "paula"))
    assert "may be stored and trained again" in shown(await actions.opt_out(app, "ann", "paula", undo=True))
    assert "had not opted out" in shown(await actions.opt_out(app, "ann", "paula", undo=True))
    assert (await actions.import_posts(app, file, "ann", "paula")).document["new"] == 150


async def test_forgetting_says_what_it_cannot_reach(app, tmp_path):
    there, gone = tmp_path / "site" / "ann", tmp_path / "gone"
    there.mkdir(parents=True)
    model = await app.store.write(add_version, ("ann",))
    for kind, place in (("card", str(there)), ("export", str(gone)), ("push", "paula/ann"), ("zip", "ann-v1.zip")):
        await app.store.write(published.begin, model.id, published.Form(kind), place, {})
    with structlog.testing.capture_logs() as logs:
        done = await actions.forget(app, "@Ann", "paula")
    assert done.document["left"] == [str(there), "paula/ann"]
    assert f"Yours to delete: {there}, paula/ann." in shown(done)
    assert "Backups that were made before" in shown(done)
    assert [entry["places"] for entry in logs if "places" in entry] == [[str(gone), str(there), "paula/ann"]]


async def test_what_the_operator_blocked_is_neither_imported_nor_consented_to(settings, executor, tmp_path):
    file = write_posts(tmp_path / "ann.jsonl")
    blocked = settings.model_copy(update={"consent": Consent(blocked_handles=frozenset({"ann"}))})
    async with Mynah(settings, Secrets(), executor) as app:
        await actions.import_posts(app, file, "ann", "paula")
    async with Mynah(blocked, Secrets(), executor) as app:
        with pytest.raises(ConsentError, match="@ann is blocked by the operator"):
            await actions.import_posts(app, file, "@Ann", "paula")
        with pytest.raises(ConsentError, match="@ann is blocked by the operator"):
            await actions.consent(app, "ann", "paula", "parody")
        assert [one["ground"] for one in (await actions.consent(app, "ann", "paula")).document["claims"]] == ["permission"]
