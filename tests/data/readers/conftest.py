"""A writer of archives in X's layout."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

#: What an archive holds beside the posts; a reader that opens one of these reads what it was not given.
PRIVATE = ("data/account.js", "data/direct-messages.js", "data/deleted-tweets.js", "data/like.js", "data/profile.js")


def _tweet(number: int = 1, text: str = "a post of some words", **fields: Any) -> dict[str, Any]:
    """One element of tweets.js; `fields` replace or add."""
    id_ = str(1_000_000_000_000_000_000 + number)
    tweet = {
        "edit_info": {"initial": {"editTweetIds": [id_], "editsRemaining": "5", "isEditEligible": True}},
        "retweeted": False,
        "entities": {"hashtags": [], "symbols": [], "user_mentions": [], "urls": []},
        "id_str": id_,
        "id": id_,
        "truncated": False,
        "created_at": f"Sat Feb 18 12:33:{number % 60:02d} +0000 2023",
        "full_text": text,
        "lang": "en",
    }
    return {"tweet": tweet | fields}


def _files(
    tweets: list[Any], *, notes: list[Any] | None = None, community: list[Any] | None = None, manifest: bool = True, parts: int = 1
) -> dict[str, str]:
    files = {name: f"window.YTD.{Path(name).stem}.part0 = [ PRIVATE" for name in PRIVATE}
    entries: dict[str, list[dict[str, str]]] = {}

    def add(kind: str, stem: str, elements: list[Any], part: int = 0) -> None:
        name = f"data/{stem}{f'-part{part}' if part else ''}.js"
        files[name] = f"window.YTD.{stem.replace('-', '_')}.part{part} = " + json.dumps(elements, indent=2, ensure_ascii=False)
        entries.setdefault(kind, []).append({"fileName": name, "count": str(len(elements))})

    for part in range(parts):
        add("tweets", "tweets", tweets[part::parts], part)
    if notes is not None:
        add("noteTweet", "note-tweet", notes)
    if community is not None:
        add("communityTweet", "community-tweet", community)
    if manifest:
        document = {"archiveInfo": {"isPartialArchive": False}, "dataTypes": {kind: {"files": listed} for kind, listed in entries.items()}}
        files["data/manifest.js"] = "window.__THAR_CONFIG = " + json.dumps(document)
    return files


@pytest.fixture(name="make_tweet")
def make_tweet_fixture() -> Callable[..., dict[str, Any]]:
    return _tweet


@pytest.fixture(name="make_files")
def make_files_fixture() -> Callable[..., dict[str, str]]:
    return _files


@pytest.fixture(name="write_zip")
def write_zip_fixture(tmp_path: Path) -> Callable[..., Path]:
    def write(files: dict[str, str | bytes], *, under: str = "", name: str = "archive.zip") -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for member, content in files.items():
                file.writestr(under + member, content)
        return path

    return write


@pytest.fixture(name="write_folder")
def write_folder_fixture(tmp_path: Path) -> Callable[..., Path]:
    def write(files: dict[str, str], *, under: str = "") -> Path:
        for member, content in files.items():
            path = tmp_path / "archive" / under / member
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return tmp_path / "archive"

    return write
