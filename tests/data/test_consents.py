"""Consent as rows: claims on grounds, accounts that opted out, and what forgetting leaves of both."""

import pytest

from data import accounts, consents
from data.consents import ConsentError, Ground
from tests.conftest import made_up_tweets


async def test_a_claim_is_kept_once_with_who_and_why(store):
    await store.write(accounts.add_tweets, "ann", made_up_tweets(3))
    for by in ("me", "me", "you"):
        await store.write(consents.claim, "ann", Ground.PERMISSION, by)
    await store.write(consents.claim, "ann", Ground.ARCHIVE, "me")
    found = await store.read(consents.claims, "ann")
    assert [(one.ground, one.claimed_by) for one in found] == [("permission", "me"), ("permission", "you"), ("archive", "me")]


async def test_each_account_needs_a_claim_on_a_ground_that_is_accepted(store):
    for handle in ("ann", "bob"):
        await store.write(accounts.add_tweets, handle, made_up_tweets(3))
    await store.write(consents.claim, "ann", Ground.PARODY, "me")
    await store.read(consents.require, ["ann"], Ground)
    with pytest.raises(ConsentError, match="Nobody has claimed consent for @bob: `mynah consent bob"):
        await store.read(consents.require, ["ann", "bob"], Ground)
    with pytest.raises(ConsentError, match="for @ann on the ground of archive, as the settings ask"):
        await store.read(consents.require, ["ann"], [Ground.ARCHIVE])


async def test_whoever_opted_out_wins_over_every_claim_until_it_is_taken_back(store):
    await store.write(accounts.add_tweets, "ann", made_up_tweets(3))
    await store.write(consents.claim, "ann", Ground.ARCHIVE, "me")
    await store.write(consents.opt_out, "ann", "ann herself")
    await store.write(consents.opt_out, "ann", "ann herself")
    assert await store.read(consents.opted_out) == ["ann"]
    with pytest.raises(ConsentError, match="@ann has opted out"):
        await store.read(consents.require, ["ann"], Ground)
    with pytest.raises(ConsentError, match="@ann has opted out"):
        await store.write(consents.claim, "ann", Ground.PERMISSION, "me")
    assert await store.write(consents.take_back, "ann")
    assert not await store.write(consents.take_back, "ann")
    await store.read(consents.require, ["ann"], Ground)


async def test_forgetting_withdraws_and_does_not_undo_an_opting_out(store):
    await store.write(accounts.add_tweets, "ann", made_up_tweets(3))
    await store.write(consents.claim, "ann", Ground.PERMISSION, "me")
    await store.write(consents.opt_out, "ann", "her")
    await store.write(accounts.forget, "ann")
    assert await store.read(consents.claims, "ann") == []
    assert await store.read(consents.opted_out) == ["ann"]
