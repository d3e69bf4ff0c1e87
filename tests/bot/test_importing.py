"""Importing: whose word stands for what, and what is refused before a file is read."""

import json

import pytest

from bot.services.importing import import_file
from bot.settings import Consent
from data import accounts, consents
from data.consents import ConsentError, Ground


def archive(folder, username):
    """Write an archive as X unpacks it, of this account."""
    (folder / "data").mkdir(parents=True)
    account = [{"account": {"email": "secret@example.org", "username": username, "accountId": "1"}}]
    (folder / "data/account.js").write_text(f"window.YTD.account.part0 = {json.dumps(account)}")
    tweet = {"tweet": {"id_str": "1", "full_text": "The fog came in.", "created_at": "Mon Jan 01 00:00:00 +0000 2024"}}
    (folder / "data/tweets.js").write_text(f"window.YTD.tweets.part0 = {json.dumps([tweet])}")
    return folder


async def brought(store, settings, path, handle="ann", ground=None):
    return await import_file(store, settings, path, handle, by="me", ground=ground)


@pytest.mark.parametrize(
    ("owner", "asked", "ground"),
    [("Ann", None, "archive"), ("ann", Ground.ARCHIVE, "archive"), ("ann", Ground.PARODY, "parody"), ("bob", None, "permission")],
)
async def test_an_archive_is_a_ground_where_it_names_the_account(store, settings, tmp_path, owner, asked, ground):
    imported = await brought(store, settings, archive(tmp_path / "x", owner), ground=asked)
    assert (imported.new, imported.ground) == (1, ground)
    (claim,) = await store.read(consents.claims, "ann")
    assert (claim.ground, claim.claimed_by) == (ground, "me")


async def test_somebody_elses_archive_is_no_ground_and_stores_nothing(store, settings, tmp_path):
    with pytest.raises(ConsentError, match="x is @bob's, so it is no ground to train on @ann"):
        await brought(store, settings, archive(tmp_path / "x", "bob"), ground=Ground.ARCHIVE)
    (tmp_path / "posts.txt").write_text("one post that is long enough")
    with pytest.raises(ConsentError, match=r"posts\.txt does not say whose it is"):
        await brought(store, settings, tmp_path / "posts.txt", ground=Ground.ARCHIVE)
    assert await store.read(accounts.known_handles) == []


@pytest.mark.parametrize(
    "damage", ["window.YTD.account.part0 = [7]", "window.YTD.account.part0 = []", '[{"account": {"username": "no handle!"}}]']
)
async def test_an_account_file_that_says_nothing_is_no_ground(store, settings, tmp_path, damage):
    folder = archive(tmp_path / "x", "ann")
    (folder / "data/account.js").write_text(damage if damage.startswith("window") else f"window.YTD.account.part0 = {damage}")
    assert (await brought(store, settings, folder)).ground == "permission"


async def test_an_account_that_opted_out_is_not_stored(store, settings, tmp_path):
    await store.write(consents.opt_out, "ann", "her")
    with pytest.raises(ConsentError, match="@ann has opted out"):
        await brought(store, settings, archive(tmp_path / "x", "ann"))
    assert await store.read(accounts.known_handles) == []


async def test_what_the_operator_blocked_is_not_even_read(store, settings, tmp_path):
    wary = settings.model_copy(update={"consent": Consent(blocked_handles={"ann"})})
    with pytest.raises(ConsentError, match="@ann is blocked by the operator: nothing of it may be imported or trained"):
        await brought(store, wary, tmp_path / "nowhere.txt", "@Ann")
    assert await store.read(accounts.known_handles) == []
