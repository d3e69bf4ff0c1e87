"""X's "download your archive": the posts of a zip, a folder, or one lone file of it.

What is opened: tweets.js and its parts, the older tweet.js and js/tweets/2014_01.js, community-tweet.js, note-tweet.js, manifest.js, and
account.js for the account's name alone. Nothing else, so that no direct message ever enters the process. deleted-tweets.js is left out,
for somebody took those back; community posts are taken, for they are public, the account's own words, and of the same shape.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from data.errors import SourceError
from data.readers.container import Container
from data.readers.entities import cut, tweet_links
from data.readers.fields import MAX_POSTS, MAX_TEXT, parse_time, shown, storable, whole_number
from data.readers.notes import Notes
from data.readers.stream import load_document, stream_array
from data.tweets import SOFT_RETWEET, Tweet

# At top level or under one folder, with or without data/. Part numbers tell nothing: posts are told apart by id.
_PLACE = r"(?P<root>(?:(?!data/|js/)[^/]+/)?)(?:data/)?"
_TWEETS = re.compile(_PLACE + r"(?:tweets?(?:-part\d+)?\.js|YTD\.tweets?\.part\d+(?:\.js)?)", re.ASCII)
_COMMUNITY = re.compile(_PLACE + r"community-tweets?(?:-part\d+)?\.js", re.ASCII)
_GRAILBIRD = re.compile(_PLACE + r"js/tweets/\d{4}_\d{2}\.js", re.ASCII)
_NOTES = re.compile(_PLACE + r"note-tweets?(?:-part\d+)?\.js", re.ASCII)
_MANIFEST = re.compile(_PLACE + r"manifest\.js", re.ASCII)
_ACCOUNT = re.compile(_PLACE + r"account\.js", re.ASCII)

_PARENT_FIELDS = ("in_reply_to_status_id_str", "in_reply_to_status_id")
_REPLY_FIELDS = (
    *_PARENT_FIELDS,
    "in_reply_to_user_id_str",
    "in_reply_to_user_id",
    "in_reply_to_screen_name",
)


def read_archive(container: Container) -> Iterator[Tweet]:
    """Yield the posts of an archive, each id once, the newest version of an edited one, long ones in full.

    Raises:
        SourceError: no archive, two archives in one, damaged, or with fewer entries than its manifest counts.
    """
    with container:
        names = container.names()
        # In this order: where an id stands in two files, the first is kept, and Grailbird's text is the shorter one.
        posts = [name for pattern in (_TWEETS, _COMMUNITY, _GRAILBIRD) for name in names if pattern.fullmatch(name)]
        if not posts:
            raise SourceError(
                f"{shown(container.path)} is not an archive from X, for no tweets.js lies in it: give the archive as X sent it, "
                "or the .jsonl, .csv or .txt file itself."
            )
        roots = {match["root"] for name in posts for pattern in (_TWEETS, _COMMUNITY, _GRAILBIRD) if (match := pattern.fullmatch(name))}
        if len(roots) > 1:
            raise SourceError(f"{shown(container.path)} holds more than one archive ({len(roots)}): import each by itself.")
        root = roots.pop()
        beside = [name for name in names if (match := _NOTES.fullmatch(name) or _MANIFEST.fullmatch(name)) and match["root"] == root]
        manifest = _Manifest(container, next((name for name in beside if _MANIFEST.fullmatch(name)), None))
        notes = [name for name in beside if _NOTES.fullmatch(name)]
        manifest.check_present({*posts, *notes})
        yield from _read(container, posts, notes, manifest)


def read_owner(container: Container) -> str | None:
    """Return the name in an archive's account.js, as it stands there; None where there is none, or more than one.

    Raises:
        SourceError: the archive or its account.js is damaged.
    """
    with container:
        found = [name for name in container.names() if _ACCOUNT.fullmatch(name)]
        if len(found) != 1:
            return None
        for element in stream_array(container.chunks(found[0]), container.label(found[0])):
            account = element.get("account") if isinstance(element, dict) else None
            name = account.get("username") if isinstance(account, dict) else None
            return name if isinstance(name, str) else None
    return None


def read_file(container: Container) -> Iterator[Tweet]:
    """Yield the posts of one lone tweets.js or the like; without note-tweet.js beside it, long posts stay cut at 280 characters.

    Raises:
        SourceError: it is damaged or holds something else.
    """
    with container:
        yield from _read(container, container.names(), [], _Manifest(container, None))


def _read(container: Container, posts: list[str], note_files: list[str], manifest: "_Manifest") -> Iterator[Tweet]:
    notes = Notes()
    for name in note_files:
        for element in manifest.counted(container, name):
            container.room.keep(notes.add(element))
    tweets: dict[str, Tweet] = {}
    chains: dict[str, int] = {}  # id of an edited post -> id of its first version
    for name in posts:
        label = container.label(name)
        for number, element in enumerate(manifest.counted(container, name), start=1):
            try:
                tweet, first = _tweet(element, notes)
            except ValueError as error:
                raise SourceError(
                    f"{label} has an entry that is no post (number {number:,}: {error}): download the archive again."
                ) from error
            container.room.keep(len(tweet.text))
            tweets.setdefault(tweet.id, tweet)
            if first is not None:
                chains[tweet.id] = first
            if len(tweets) > MAX_POSTS:
                raise SourceError(f"{shown(container.path)} holds more than {MAX_POSTS:,} posts: import its files in smaller parts.")
    newest: dict[int, int] = {}
    for id_, first in chains.items():
        newest[first] = max(newest.get(first, 0), int(id_))
    yield from (tweet for id_, tweet in tweets.items() if id_ not in chains or newest[chains[id_]] == int(id_))


def _tweet(element: Any, notes: Notes) -> tuple[Tweet, int | None]:
    """Return the post, and the id of the first version where it was edited.

    Raises:
        ValueError: it has no id or text, or a time that is none.
    """
    if not isinstance(element, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the caller makes one sentence of all of these
    fields = element.get("tweet", element)  # early tweet.js and Grailbird have no wrapper
    if not isinstance(fields, dict):
        raise ValueError("not an object")  # noqa: TRY004
    id_ = whole_number(fields.get("id_str")) or whole_number(fields.get("id"))
    if id_ is None:
        raise ValueError("no id")
    text = fields.get("full_text", fields.get("text"))
    if not isinstance(text, str):
        raise ValueError("no text")  # noqa: TRY004
    written = fields.get("created_at")
    try:
        created_at = None if written is None else parse_time(written)
    except ValueError as error:
        raise ValueError("no readable time") from error
    if len(text) > MAX_TEXT:
        raise ValueError("longer than any post")
    text = storable(text)
    is_retweet = bool(SOFT_RETWEET.match(text)) or isinstance(fields.get("retweeted_status"), dict)
    note = None if is_retweet or created_at is None else notes.match(text, created_at)
    tweet = Tweet(
        id=str(id_),
        created_at=created_at,
        text=cut(text, tweet_links(fields)) if note is None else note,
        is_retweet=is_retweet,
        is_reply=any(fields.get(field) for field in _REPLY_FIELDS),
        in_reply_to=next((str(parent) for field in _PARENT_FIELDS if (parent := whole_number(fields.get(field)))), None),
    )
    return tweet, _first_version(fields, id_)


def _first_version(fields: dict[str, Any], id_: int) -> int | None:
    """Return the lowest id of the chain of edits that the post belongs to, or None where it was never edited."""
    info = fields.get("edit_info")
    if not isinstance(info, dict):
        return None
    ids = {id_}
    stack = [info.get("initial"), info.get("edit")]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            # `edit` names the first version and wraps the list of all once more.
            stack.append(part.get("editControlInitial"))
            listed = part.get("editTweetIds")
            named = [part.get("initialTweetId"), *(listed if isinstance(listed, list) else [])]
            ids.update(number for value in named if (number := whole_number(value)))
    return min(ids) if len(ids) > 1 else None


class _Manifest:
    """What manifest.js says each file holds; an archive without one, or of a shape not known here, is not checked."""

    def __init__(self, container: Container, name: str | None) -> None:
        self._shown = shown(container.path)
        self._counts: dict[str, int] = {}  # file name without folders -> entries
        if name is None:
            return
        document = load_document(container.chunks(name), container.label(name))
        types = document.get("dataTypes") if isinstance(document, dict) else None
        for type_ in types.values() if isinstance(types, dict) else []:
            files = type_.get("files") if isinstance(type_, dict) else None
            for file in files if isinstance(files, list) else []:
                if isinstance(file, dict) and isinstance(file.get("fileName"), str):
                    base = PurePosixPath(file["fileName"]).name
                    count = whole_number(file.get("count"))
                    if count is not None and any(pattern.fullmatch(base) for pattern in (_TWEETS, _COMMUNITY, _NOTES)):
                        self._counts[base] = count

    def check_present(self, names: set[str]) -> None:
        there = {PurePosixPath(name).name for name in names}
        missing = sorted(base for base, count in self._counts.items() if count and base not in there)
        if missing:
            raise SourceError(
                f"{self._shown} is incomplete, for its manifest lists {missing[0]}, which is not there: download it again, "
                "or unpack all parts of it into one folder and import that."
            )

    def counted(self, container: Container, name: str) -> Iterator[Any]:
        """Yield the entries of one file and see that there are as many as the manifest says."""
        base, found = PurePosixPath(name).name, 0
        for element in stream_array(container.chunks(name), container.label(name)):
            found += 1
            if found > MAX_POSTS:
                raise SourceError(f"{self._shown} holds more than {MAX_POSTS:,} posts: import its files in smaller parts.")
            yield element
        expected = self._counts.get(base, found)
        if found != expected:
            raise SourceError(
                f"{self._shown} is incomplete, for its manifest counts {expected:,} entries in {base} and there are {found:,}: "
                "download it again, or remove manifest.js if the change is yours."
            )
