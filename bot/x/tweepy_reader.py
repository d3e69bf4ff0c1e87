"""Reading from X with tweepy: accounts by name or number, and pages of their posts."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import tweepy  # type: ignore[import-untyped]

from bot.settings import Secrets
from bot.threads import in_daemon_thread
from bot.x.port import PAGE, Page, Retry, User, XError
from bot.x.tweepy_session import (
    CONNECT_SECONDS,
    READ_SECONDS,
    TWEEPY_HOST,
    UNKNOWN_FORM,
    common_refusal,
    cut_detail,
    detail,
    keys_of,
    never_sent,
    open_client,
    silence,
)
from data.readers.entities import cut
from data.readers.fields import parse_time, storable
from data.readers.notes import escaped
from data.tweets import SOFT_RETWEET, Tweet

T = TypeVar("T")
USER_FIELDS = ["protected", "public_metrics"]
POST_FIELDS = ["created_at", "entities", "in_reply_to_user_id", "note_tweet", "referenced_tweets"]
NOT_FOUND = "resource-not-found"  # the last part of a problem's type, which X has under two hosts


class TweepyReader:
    """Reads as one account, by OAuth 1.0a: an app's own token would need one more secret, and pays more for the account's own posts.

    X has renamed fields of its answers in its published description (note_post, referenced_posts, post_count) and not in its
    documentation; both are read.
    """

    def __init__(
        self, secrets: Secrets, *, api_url: str = TWEEPY_HOST, connect_timeout: float = CONNECT_SECONDS, read_timeout: float = READ_SECONDS
    ) -> None:
        """Make a reader; nothing is sent.

        Raises:
            SettingsError: a secret is missing, or the address is none.
        """
        keys = keys_of(secrets, "Reading from X")
        # tweepy's own classes of posts know neither long posts nor a post that lacks a field.
        self._client = open_client(keys, api_url=api_url, timeout=(connect_timeout, read_timeout), return_type=dict)

    async def user(self, handle: str) -> User | None:
        """Look an account up, as `XReader` says."""
        return await self._ask(lambda: self._client.get_user(username=handle, user_fields=USER_FIELDS, user_auth=True), _user)

    async def user_by_id(self, user_id: str) -> User | None:
        """Look up what an account is called now, as `XReader` says."""
        return await self._ask(lambda: self._client.get_user(id=user_id, user_fields=USER_FIELDS, user_auth=True), _user)

    async def page(
        self, user_id: str, *, most: int = PAGE, since_id: str | None = None, until_id: str | None = None, token: str | None = None
    ) -> Page:
        """Return posts of an account between two, as `XReader` says."""
        return await self._ask(
            lambda: self._client.get_users_tweets(
                user_id,
                max_results=most,
                since_id=since_id,
                until_id=until_id,
                pagination_token=token,
                exclude="retweets",
                tweet_fields=POST_FIELDS,
                user_auth=True,
            ),
            _page,
        )

    async def close(self) -> None:
        """Give up what is open; a request on its way is not waited for."""
        self._client.session.close()

    async def _ask(self, call: Callable[[], Any], parse: Callable[[dict[str, Any]], T]) -> T:
        def ask() -> T:
            try:
                answer = call()
            except tweepy.HTTPException as error:
                raise _refused(error) from error
            except Exception as error:
                raise never_sent(error) or XError(f"X {silence(error)} while it was read: try again later.", Retry.UNSURE) from error
            try:
                return parse(answer)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:  # Python's JSON has infinity
                raise XError(UNKNOWN_FORM, Retry.UNSURE) from error

        return await in_daemon_thread(ask)


def _refused(error: tweepy.HTTPException) -> XError:
    """Say what X's refusal to be read means."""
    if refusal := common_refusal(error):
        return refusal
    status = error.response.status_code
    if status >= 500:
        return XError(f"X failed with {status} and gave nothing: try again later.", Retry.LATER)
    if status == 402:
        return XError("The credits on X are used up (402): buy some in the developer console, then read again.", Retry.NEVER)
    if status == 403:
        return XError(f"X does not permit this reading (403: {detail(error)}): mend that in the developer console.", Retry.NEVER)
    return XError(f"X does not understand what it is asked ({status}: {detail(error)}): check x.api_url.", Retry.NEVER)


def _user(answer: dict[str, Any]) -> User | None:
    data = answer.get("data")
    if data:
        metrics = data["public_metrics"]
        posts = metrics["tweet_count"] if "tweet_count" in metrics else metrics["post_count"]
        return User(id=str(data["id"]), handle=data["username"].lower(), posts=int(posts), protected=bool(data.get("protected")))
    _raise_for(answer)
    return None


def _page(answer: dict[str, Any]) -> Page:
    rows, meta = answer.get("data") or [], answer.get("meta") or {}
    if not rows and not meta:
        _raise_for(answer)
        raise XError("There is no such account on X any more.", Retry.NEVER)
    tweets = tuple(_tweet(row) for row in rows)
    ids = [int(tweet.id) for tweet in tweets]
    return Page(
        tweets=tweets,
        newest_id=str(max(ids)) if ids else None,
        oldest_id=str(min(ids)) if ids else None,
        next_token=meta.get("next_token"),
        problems=tuple(dict.fromkeys(cut_detail(str(problem.get("detail") or problem.get("title"))) for problem in _problems(answer))),
    )


def _tweet(row: dict[str, Any]) -> Tweet:
    """Return a post as an archive would have it: whole, HTML-escaped, and without the links whose places X names."""
    note = row.get("note_tweet") or row.get("note_post")
    text, entities = (escaped(note["text"]), note.get("entities")) if note else (row["text"], row.get("entities"))
    text = storable(text)
    urls = [entity["url"] for entity in (entities or {}).get("urls") or []]
    # X counts the places in another text than the one that it gives, escaped; a link's own short form is found without them.
    text = cut(text, ((at, at + len(url), url) for url in urls if (at := text.find(url)) >= 0))
    references = {one["type"]: str(one["id"]) for one in row.get("referenced_tweets") or row.get("referenced_posts") or []}
    return Tweet(
        id=str(int(row["id"])),
        created_at=parse_time(row["created_at"]) if "created_at" in row else None,
        text=text,
        is_retweet="retweeted" in references or bool(SOFT_RETWEET.match(text)),
        is_reply="replied_to" in references or row.get("in_reply_to_user_id") is not None,
        in_reply_to=references.get("replied_to"),
    )


def _raise_for(answer: dict[str, Any]) -> None:
    """Raise what X says instead of an account or its posts; return where it says that there is no such account.

    Raises:
        XError: it is suspended, protected, or something else.
    """
    for problem in _problems(answer):
        words = str(problem.get("detail") or problem.get("title"))
        kind = str(problem.get("type")).rpartition("/")[2]
        if "suspended" in words.lower():
            raise XError("X has suspended this account: nothing of it can be read.", Retry.NEVER)
        if kind == "not-authorized-for-resource":
            raise XError("This account's posts are protected: only who follows it may read them, and Mynah does not.", Retry.NEVER)
        if kind != NOT_FOUND:
            raise XError(f"X does not give this account ({cut_detail(words)}).", Retry.NEVER)


def _problems(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (problem for problem in answer.get("errors") or [] if isinstance(problem, dict))
