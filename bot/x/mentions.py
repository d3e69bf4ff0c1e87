"""What X's answer says of posts that mention an account, above all whether their authors meant to."""

import html
import re
from collections.abc import Iterator
from typing import Any

from bot.x.port import Author, Mention, Mentions
from bot.x.text import LEADING_NAMES
from data.readers.fields import parse_time, storable


def mentions_of(answer: dict[str, Any], me: str) -> Mentions:
    """Return the mentions of an account, by its number, that a page holds.

    X has renamed fields in its published description and not in its documentation; both are read. One whose author it withholds is
    left out.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the page is not of a form that is known.
    """
    included = answer.get("includes") or {}
    users = {str(user["id"]): _author(user) for user in included.get("users") or []}
    parents = {str(row["id"]): row for row in included.get("tweets") or included.get("posts") or []}
    rows = answer.get("data") or []
    mentions = tuple(_mention(row, author, parents, me) for row in rows if (author := users.get(str(row.get("author_id")))))
    ids = [int(row["id"]) for row in rows]
    return Mentions(
        mentions,
        newest_id=str(max(ids)) if ids else None,
        oldest_id=str(min(ids)) if ids else None,
        next_token=(answer.get("meta") or {}).get("next_token"),
        posts=len(rows) + len(parents),
        users=len(users),
    )


def _author(user: dict[str, Any]) -> Author:
    return Author(
        id=str(user["id"]),
        handle=user["username"],
        bio=html.unescape(user.get("description") or ""),
        label=(user.get("affiliation") or {}).get("description") or "",
        protected=bool(user.get("protected")),
    )


def _mention(row: dict[str, Any], author: Author, parents: dict[str, Any], me: str) -> Mention:
    note = row.get("note_tweet") or row.get("note_post")
    text = html.unescape(storable(note["text"] if note else row["text"]))
    history = row.get("edit_history_tweet_ids") or row.get("edit_history_post_ids") or []
    return Mention(
        id=str(int(row["id"])),
        author=author,
        text=text,
        at=parse_time(row["created_at"]),
        summons=_summons(row, text, parents, me),
        edits=tuple(str(one) for one in history if str(one) != str(row["id"])),
    )


def _summons(row: dict[str, Any], text: str, parents: dict[str, Any], me: str) -> bool:
    """Say whether the author himself wrote the account's name.

    An answer begins with the names of those whom it answers, of which nobody can tell whether X put them there; so there the account's
    name counts only if the post that is answered is neither the account's own nor has the name.
    """
    references = {one["type"]: str(one["id"]) for one in row.get("referenced_tweets") or row.get("referenced_posts") or []}
    names = {one["username"] for one in _named(row) if str(one.get("id")) == me and one.get("username")}
    if not names or "retweeted" in references:
        return False
    places = [place.start() for name in names for place in re.finditer(rf"[@\uff20]{re.escape(name)}\b", text, re.IGNORECASE)]
    leading = LEADING_NAMES.match(text)
    if "replied_to" not in references or any(place >= (leading.end() if leading else 0) for place in places):
        return bool(places)
    parent = parents.get(references["replied_to"])
    if parent is None or str(parent.get("author_id")) == me:
        return False
    return bool(places) and all(str(one.get("id")) != me for one in _named(parent))


def _named(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the names in a post, in its long form as well."""
    for part in (row, row.get("note_tweet") or row.get("note_post") or {}):
        yield from (part.get("entities") or {}).get("mentions") or []
