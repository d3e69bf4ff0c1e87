"""What is fetched from Discord: by its stream, within its bound, with nothing left of what was refused."""

from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from bot.errors import BadRequestError
from bot.faces.discord.uploads import check_upload, download
from tests.loopback import LoopbackServer


@asynccontextmanager
async def serving(handler):
    """A server on the loopback; yields its address."""
    app = web.Application()
    app.router.add_get("/file", handler)
    server = LoopbackServer(app)
    try:
        yield f"http://127.0.0.1:{await server.start()}/file"
    finally:
        await server.close()


def sending(*chunks):
    """A handler that answers with these bytes, and does not say beforehand how many they are."""

    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        return response

    return handler


async def test_a_file_is_streamed_to_a_folder_of_its_own_under_a_harmless_name(tmp_path):
    async with serving(sending(b"one ", b"two")) as url:
        first = await download(url, "../../etc/my posts;.jsonl", tmp_path, 1)
        second = await download(url, ".txt", tmp_path, 1)
    assert first.read_bytes() == b"one two"
    assert first.name == "my_posts_.jsonl"
    assert first.parent.parent == second.parent.parent == tmp_path
    assert first.parent != second.parent


async def test_more_than_was_announced_is_refused_and_nothing_is_left(tmp_path):
    async with serving(sending(b"x" * 2**20, b"x")) as url:
        with pytest.raises(BadRequestError, match="larger than 1 MiB"):
            await download(url, "a.txt", tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


async def test_what_cannot_be_fetched_is_a_sentence(tmp_path):
    async def gone(request):
        raise web.HTTPNotFound

    async with serving(gone) as url:
        with pytest.raises(BadRequestError, match="could not fetch that file"):
            await download(url, "a.txt", tmp_path, 1)
    with pytest.raises(BadRequestError, match="could not fetch that file"):
        await download(url, "a.txt", tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["archive.zip", "tweets.js", "a.JSONL", "b.csv", "c.txt", "d.ndjson"])
def test_kinds_that_are_read(name):
    check_upload(name, 2**20, 1)


@pytest.mark.parametrize(("name", "size"), [("a.exe", 1), ("zip", 1), ("a.zip.html", 1), ("a.zip", 2**20 + 1)])
def test_what_is_refused_before_it_is_fetched(name, size):
    with pytest.raises(BadRequestError):
        check_upload(name, size, 1)
