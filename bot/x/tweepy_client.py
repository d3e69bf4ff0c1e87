"""One account on X with tweepy: posting, looking whether a post is there, and reading who mentions it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import tweepy  # type: ignore[import-untyped]
from requests_oauthlib import OAuth1  # type: ignore[import-untyped]

from bot.settings import Secrets, XAccount, x_variable
from bot.threads import in_daemon_thread
from bot.x.mentions import mentions_of
from bot.x.oauth2 import Tokens
from bot.x.port import Mentions, OwnPost, OwnPosts, Profile, Retry, XError
from bot.x.tweepy_session import (
    CONNECT_SECONDS,
    READ_SECONDS,
    TWEEPY_HOST,
    UNKNOWN_FORM,
    Signs,
    common_refusal,
    detail,
    keys_of,
    never_sent,
    open_signed,
    silence,
)
from data.outbox import DEFAULT_ACCOUNT

DUPLICATE_CODE = 187


class TweepyClient:
    """One account on X.

    tweepy 4.17's `create_tweet` has no `made_with_ai`, and X's own description restricts that field to AI-generated *media*;
    the disclosure for text is the profile's label and bio. Should X ask for the field, tweepy must learn it first.
    """

    def __init__(
        self,
        secrets: Secrets,
        account: str = DEFAULT_ACCOUNT,
        *,
        tokens: Path | None = None,
        api_url: str = TWEEPY_HOST,
        connect_timeout: float = CONNECT_SECONDS,
        read_timeout: float = READ_SECONDS,
    ) -> None:
        """Make a client; nothing is sent.

        Args:
            secrets: the keys of all accounts.
            account: which of them.
            tokens: where the pairs of an account by OAuth 2.0 are kept; None: it is one by OAuth 1.0a.
            api_url: where X's API is.
            connect_timeout: in seconds.
            read_timeout: in seconds.

        Raises:
            SettingsError: a secret is missing, or the address is none.
        """
        timeout = (connect_timeout, read_timeout)
        needs = XAccount(auth="oauth1" if tokens is None else "oauth2").needs
        keys = keys_of(secrets, "Posting on X", account, needs)
        #: X's number of the account, as far as it is known; an access token of OAuth 1.0a begins with it.
        self.id: str | None = None
        auth: Signs
        if tokens is None:
            auth = OAuth1(*keys)
            self.id = keys[2].partition("-")[0]
        else:
            auth = Tokens(tokens, secrets.of_x(account), account, api_url=api_url.rstrip("/"), timeout=timeout)
        self._client = open_signed(auth, api_url=api_url, timeout=timeout)
        # What tweepy makes of mentions knows neither long posts nor the names that X has published for what comes with them.
        self._raw = open_signed(auth, api_url=api_url, timeout=timeout, return_type=dict)
        self._account = account
        self._keys = [x_variable(account, name) for name in needs]

    async def create_post(self, text: str, in_reply_to: str | None = None) -> str:
        """Post a text, as `XClient` says."""
        return await in_daemon_thread(lambda: self._create(text, in_reply_to))

    async def profile(self) -> Profile:
        """Ask X for the account's own profile, as `XClient` says."""
        found = await in_daemon_thread(self._me)
        self.id = found.id
        return found

    async def own_posts(self, most: int, *, since_id: str | None, since: datetime, token: str | None = None) -> OwnPosts:
        """Return the newest posts of the account itself, as `XClient` says."""
        return await in_daemon_thread(lambda: self._own(most, since_id, since, token))

    async def mentions(
        self, most: int, *, since_id: str | None, since: datetime, until_id: str | None = None, token: str | None = None
    ) -> Mentions:
        """Return the newest posts that mention the account, as `XClient` says."""
        return await in_daemon_thread(lambda: self._mentions(most, since_id, since, until_id, token))

    async def close(self) -> None:
        """Give up what is open; a request on its way is not waited for."""
        self._client.session.close()
        self._raw.session.close()

    def _create(self, text: str, in_reply_to: str | None) -> str:
        try:
            answer = self._client.create_tweet(text=text, in_reply_to_tweet_id=in_reply_to, user_auth=False)
        except tweepy.HTTPException as error:
            raise self._refused(error, answering=in_reply_to is not None) from error
        except Exception as error:
            unsure = XError(f"X {silence(error)}, so the post may be there.", Retry.UNSURE)
            raise never_sent(error) or unsure from error
        if not (isinstance(answer.data, dict) and answer.data.get("id")):
            raise XError("X took the post and named no id, so it may be there.", Retry.UNSURE)
        return str(answer.data["id"])

    def _me(self) -> Profile:
        with self._looking():
            me = self._client.get_me(user_fields=["description"], user_auth=False).data
            return Profile(str(me.id), me.username.lower(), me.name, me.description or "")

    def _own(self, most: int, since_id: str | None, since: datetime, token: str | None) -> OwnPosts:
        start = _start(since_id, since)
        with self._looking():
            answer = self._client.get_users_tweets(
                self.id, max_results=most, pagination_token=token, tweet_fields=["created_at"], user_auth=False, **start
            )
            posts = tuple(OwnPost(str(post.id), post.text, post.created_at) for post in answer.data or ())
            return OwnPosts(posts, answer.meta.get("next_token"))

    def _mentions(self, most: int, since_id: str | None, since: datetime, until_id: str | None, token: str | None) -> Mentions:
        start = _start(since_id, since)
        with self._looking():
            answer = self._raw.get_users_mentions(
                self.id,
                max_results=most,
                until_id=until_id,
                pagination_token=token,
                expansions=["author_id", "referenced_tweets.id"],
                tweet_fields=["author_id", "created_at", "entities", "note_tweet", "referenced_tweets"],
                user_fields=["affiliation", "description", "protected", "username"],
                user_auth=False,
                **start,
            )
        try:
            return mentions_of(answer, str(self.id))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:  # Python's JSON has infinity
            raise XError(UNKNOWN_FORM, Retry.UNSURE) from error

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """Say of whatever goes wrong with a question what it means."""
        try:
            yield
        except tweepy.HTTPException as error:
            raise self._refused(error, looking=True) from error
        except Exception as error:
            raise never_sent(error) or XError(f"X {silence(error)} while it was read: try again later.", Retry.UNSURE) from error

    def _refused(self, error: tweepy.HTTPException, *, looking: bool = False, answering: bool = False) -> XError:
        """Say what X's answer means: to a post, to a look at own posts or at mentions, or to an answer."""
        status = error.response.status_code
        words = detail(error)
        if status == 401:
            return XError(f"X does not accept the keys of {self._account} (401): check {', '.join(self._keys)}.", Retry.NEVER)
        if refusal := common_refusal(error):
            return refusal
        if status == 402:
            return XError(
                "The credits on X are used up (402): buy some in the developer console, then approve the post again.", Retry.NEVER
            )
        if status >= 500 and looking:
            return XError(f"X failed with {status} when it was asked for own posts or mentions.", Retry.LATER)
        if status >= 500:
            return XError(f"X failed with {status} while it had the post, which may be there.", Retry.UNSURE)
        if looking:
            return XError(f"X does not show own posts or mentions ({status}: {words}).", Retry.NEVER)
        if status == 403 and (DUPLICATE_CODE in error.api_codes or "duplicate content" in str(error).lower()):
            return XError("X has this very text from this account already: regenerate it and approve another.", Retry.REGENERATE)
        if status in (400, 403) and answering:  # it was deleted, or its author has blocked this account, or was not asking for it
            return XError(f"X does not take this answer ({status}: {words}), so it is left out.", Retry.MOOT)
        if status == 403:
            return XError(f"X does not permit this post (403: {words}): mend that in the developer console or the text.", Retry.NEVER)
        return XError(f"X does not take this post ({status}: {words}): change the text, or check x.api_url.", Retry.NEVER)


def _start(since_id: str | None, since: datetime) -> dict[str, str]:
    """Return what X is told of where posts begin: after one of them, or else at a time, which has no fractions of seconds there."""
    return {"since_id": since_id} if since_id else {"start_time": f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
