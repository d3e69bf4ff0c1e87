"""Readers: a file that a person hands over becomes posts.

read_posts(path)      chooses by what the file is
  archive.py          X's own archive: zip, folder, or one of its tweets.js files
    container.py      the named members of a zip or folder, read through limits
    stream.py         the JSON array behind `window.YTD.tweets.part0 = `, one element at a time
  plain.py            .jsonl, .ndjson, .csv, .txt
  fields.py           times, ids, and how a file is named in an error
"""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from data.errors import BadHandleError, SourceError
from data.handles import normalise_handle
from data.readers import archive, plain
from data.readers.container import FileContainer, FolderContainer, ZipContainer
from data.readers.fields import reason, shown
from data.tweets import Tweet

_PLAIN = {".jsonl": plain.read_jsonl, ".ndjson": plain.read_jsonl, ".csv": plain.read_csv, ".txt": plain.read_txt}
# A lone file must say by itself that it holds public posts: account.js, direct messages and deleted tweets look much the same.
_LONE = re.compile(rb"\s*(?:window\.YTD\.(?:tweets?|community_tweets?)\.part\d+|Grailbird\.data\.tweets_\d{4}_\d{2})\s*=")
_KINDS = "give X's archive (its .zip, its folder or its tweets.js), or a .jsonl, .csv or .txt file"


def read_posts(path: Path) -> Iterator[Tweet]:
    """Yield the posts of a file or folder, each id once, in no promised order.

    An archive is read and checked as a whole before its first post comes; the plain kinds stream, so an error can come after posts.

    Raises:
        SourceError: whatever is wrong with it, as one sentence that names the file and says what to do.
    """
    found = False
    try:
        for tweet in _choose(path):
            found = True
            yield tweet
    except OSError as error:
        raise SourceError(f"{shown(path)} cannot be read ({reason(error)}): check the file and its permissions.") from error
    if not found:
        raise SourceError(f"{shown(path)} holds no posts: {_KINDS} with at least one post in it.")


def read_owner(path: Path) -> str | None:
    """Return whose archive this is by its account.js, lower case; None for files of other kinds, and where it does not say.

    Raises:
        SourceError: it is damaged.
    """
    try:
        container = FolderContainer(path) if path.is_dir() else ZipContainer(path) if zipfile.is_zipfile(path) else None
        name = archive.read_owner(container) if container else None
        return normalise_handle(name) if name else None
    except BadHandleError:
        return None
    except OSError as error:
        raise SourceError(f"{shown(path)} cannot be read ({reason(error)}): check the file and its permissions.") from error


def _choose(path: Path) -> Iterator[Tweet]:
    name = shown(path)
    try:
        exists = path.exists()
    except ValueError:  # a NUL in the path
        exists = False
    if not exists:
        raise SourceError(f"{name} does not exist: check the path.")
    if path.is_dir():
        return archive.read_archive(FolderContainer(path))
    if not path.is_file():  # a pipe would hang, a device would never end
        raise SourceError(f"{name} is not a regular file: {_KINDS}.")
    if path.stat().st_size == 0:
        raise SourceError(f"{name} is empty (0 bytes): download or export it again.")
    if reader := _PLAIN.get(path.suffix.lower()):
        return reader(path)
    with path.open("rb") as file:
        head = file.read(4096).removeprefix(b"\xef\xbb\xbf")
    if path.suffix.lower() == ".zip" or head.startswith(b"PK"):
        return archive.read_archive(ZipContainer(path))
    if _LONE.match(head):
        return archive.read_file(FileContainer(path))
    if path.suffix.lower() == ".js":
        raise SourceError(f"{name} is not a file of posts from X's archive: {_KINDS}.")
    raise SourceError(f"{name} is of no kind that can be read: {_KINDS}.")
