"""The files of weights that child processes read."""

import asyncio
import os

import pytest

from bot.errors import DamagedError, NotStoredError
from bot.services.weights import adapter_file, lay_down
from data import accounts, models
from tests.voices import add_version


async def test_weights_are_laid_down_once_and_again_when_the_file_is_gone(store, settings):
    model = await store.write(add_version, weights=b"some weights")
    path = await lay_down(store, settings, model)
    assert (path, path.read_bytes()) == (adapter_file(settings, model.sha256), b"some weights")
    before = path.stat().st_ino
    assert (await lay_down(store, settings, model)).stat().st_ino == before
    path.unlink()
    assert (await lay_down(store, settings, model)).read_bytes() == b"some weights"
    assert list(path.parent.iterdir()) == [path]


async def test_a_file_that_is_no_good_is_written_anew(store, settings):
    model = await store.write(add_version, weights=b"some weights")
    path = await lay_down(store, settings, model)
    path.write_bytes(b"damaged")
    assert (await lay_down(store, settings, model)).read_bytes() == b"damaged"
    assert (await lay_down(store, settings, model, anew=True)).read_bytes() == b"some weights"


async def test_weights_that_are_forgotten_while_they_are_laid_down_leave_no_file(store, settings, monkeypatch):
    model = await store.write(add_version, weights=b"some weights")
    read = store.read

    async def then_forget(work, *args):
        found = await read(work, *args)
        if work is models.chunk and found is not None:
            await store.write(accounts.forget, "ann")
        return found

    monkeypatch.setattr(store, "read", then_forget)
    with pytest.raises(NotStoredError, match="ann was forgotten"):
        await lay_down(store, settings, model)
    assert list(adapter_file(settings, model.sha256).parent.iterdir()) == []


async def test_damaged_weights_are_not_laid_down(store, settings):
    model = await store.write(add_version, weights=b"some weights")
    await store.write(lambda db: db.conn.execute("UPDATE model_weights SET chunk = zeroblob(12)"))
    with pytest.raises(DamagedError, match="restore a backup, or train it again"):
        await lay_down(store, settings, model)
    assert list(adapter_file(settings, model.sha256).parent.iterdir()) == []


async def test_a_trainer_and_a_speaker_may_need_the_same_weights_at_once(store, settings, monkeypatch):
    model = await store.write(add_version, weights=b"some weights")
    both_write = asyncio.Barrier(2)
    read = store.read

    async def read_together(work, *args):
        found = await read(work, *args)
        if work is models.chunk:
            async with asyncio.timeout(20):
                await both_write.wait()
        return found

    monkeypatch.setattr(store, "read", read_together)
    first, second = await asyncio.gather(lay_down(store, settings, model), lay_down(store, settings, model))
    assert first == second
    assert (first.read_bytes(), list(first.parent.iterdir())) == (b"some weights", [first])


async def test_what_was_used_longest_ago_goes_when_the_disk_is_to_hold_less(store, settings):
    small = settings.model_copy(update={"speaker": settings.speaker.model_copy(update={"disk_mib": 1})})
    voices = [await store.write(add_version, weights=bytes([number]) * 400_000) for number in range(4)]
    first, second, third = [await lay_down(store, settings, model) for model in voices[:3]]
    for age, path in enumerate((third, first, second)):
        os.utime(path, (1000 - age, 1000 - age))
    await lay_down(store, small, voices[0])  # used again
    fourth = await lay_down(store, small, voices[3])
    assert set(first.parent.iterdir()) == {first, fourth}
    assert (await lay_down(store, small, voices[1])).read_bytes() == b"\x01" * 400_000
