"""A post as a source gave it, before any cleaning."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

#: How a retweet begins in an archive, where the field `retweeted` is always false.
SOFT_RETWEET = re.compile(r"RT @\w+:", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tweet:
    """One post of one account, raw.

    Attributes:
        id: the platform's id, or one made by `made_up_id` where the source has none; unique within an account.
        created_at: when it was posted, in UTC, or None where the source does not say.
        text: as the source has it; HTML entities are still escaped where the source escapes them (cleaning undoes that once).
        is_retweet: somebody else's words.
        is_reply: an answer to a post; None where the source does not say.
        in_reply_to: the id of the post that it answers; None where there is none, or where the source does not say.
    """

    id: str
    created_at: datetime | None
    text: str
    is_retweet: bool = False
    is_reply: bool | None = None
    in_reply_to: str | None = None

    def __post_init__(self) -> None:
        if self.created_at is not None and self.created_at.tzinfo is None:
            raise ValueError("created_at must carry a time zone")


def made_up_id(text: str, created_at: datetime | None, occurrence: int) -> str:
    """Return an id for a post whose source has none.

    The same row read again gets the same id, so that importing a file twice adds nothing; `occurrence` counts equal rows
    within one file, so that a post written five times stays five posts.
    """
    key = f"{created_at.isoformat() if created_at else ''}\n{occurrence}\n{text}"
    return "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def sha256_of_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the hash, in hexadecimal, of posts as the database has them, in their order.

    Not of what they answer: a later import may add that.
    """
    digest = hashlib.sha256()
    for row in rows:
        fields = [row[name] for name in ("id", "created_at", "text", "is_retweet", "is_reply")]
        digest.update(json.dumps(fields).encode() + b"\n")
    return digest.hexdigest()
