"""Posting on X with tweepy, and looking whether a post is there."""

from datetime import UTC, datetime

import tweepy  # type: ignore[import-untyped]

from bot.settings import Secrets, x_variable
from bot.threads import in_daemon_thread
from bot.x.port import OwnPost, OwnPosts, Retry, XError
from bot.x.tweepy_session import (
    CONNECT_SECONDS,
    READ_SECONDS,
    TWEEPY_HOST,
    common_refusal,
    detail,
    keys_of,
    never_sent,
    open_client,
    silence,
)
from data.outbox import DEFAULT_ACCOUNT

DUPLICATE_CODE = 187


class TweepyClient:
    """One account on X, by OAuth 1.0a with the four secrets of its owner.

    tweepy 4.17's `create_tweet` has no `made_with_ai`, and X's own description restricts that field to AI-generated *media*;
    the disclosure for text is the profile's label and bio. Should X ask for the field, tweepy must learn it first.
    """

    def __init__(
        self,
        secrets: Secrets,
        account: str = DEFAULT_ACCOUNT,
        *,
        api_url: str = TWEEPY_HOST,
        connect_timeout: float = CONNECT_SECONDS,
        read_timeout: float = READ_SECONDS,
    ) -> None:
        """Make a client; nothing is sent.

        Raises:
            SettingsError: a secret is missing, or the address is none.
        """
        keys = keys_of(secrets, "Posting on X", account)
        self._client = open_client(keys, api_url=api_url, timeout=(connect_timeout, read_timeout))
        self._account = account
        self._id = keys[2].partition("-")[0]  # an access token begins with the number of its account

    async def create_post(self, text: str) -> str:
        """Post a text and return X's id of it.

        Raises:
            XError: it was not posted, or nobody knows; `retry` says which.
        """
        return await in_daemon_thread(lambda: self._create(text))

    async def own_posts(self, most: int, *, since_id: str | None, since: datetime, token: str | None = None) -> OwnPosts:
        """Return the newest posts of the account itself.

        Args:
            most: how many at most, 5 to 100.
            since_id: only later ones than this.
            since: where there is no `since_id`, only such as are not older than this.
            token: of the page before.

        Raises:
            XError: X refused, or did not answer; `retry` says whether it may be asked again.
        """
        return await in_daemon_thread(lambda: self._own(most, since_id, since, token))

    async def close(self) -> None:
        """Give up what is open; a request on its way is not waited for."""
        self._client.session.close()

    def _create(self, text: str) -> str:
        try:
            answer = self._client.create_tweet(text=text, user_auth=True)
        except tweepy.HTTPException as error:
            raise self._refused(error) from error
        except Exception as error:
            unsure = XError(f"X {silence(error)}, so the post may be there: look before it is sent again.", Retry.UNSURE)
            raise never_sent(error) or unsure from error
        if not (answer.data and answer.data.get("id")):
            raise XError("X took the post and named no id: look whether it is there.", Retry.UNSURE)
        return str(answer.data["id"])

    def _own(self, most: int, since_id: str | None, since: datetime, token: str | None) -> OwnPosts:
        # X's times have no fractions of seconds here.
        start = {"since_id": since_id} if since_id else {"start_time": f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
        try:
            answer = self._client.get_users_tweets(
                self._id, max_results=most, pagination_token=token, tweet_fields=["created_at"], user_auth=True, **start
            )
        except tweepy.HTTPException as error:
            raise self._refused(error, looking=True) from error
        except Exception as error:
            raise never_sent(error) or XError(f"X {silence(error)} when it was asked for own posts.", Retry.UNSURE) from error
        posts = tuple(OwnPost(str(post.id), post.text, post.created_at) for post in answer.data or ())
        return OwnPosts(posts, answer.meta.get("next_token"))

    def _refused(self, error: tweepy.HTTPException, *, looking: bool = False) -> XError:
        """Say what X's answer means, to a post or to a look at own posts."""
        status = error.response.status_code
        words = detail(error)
        if status == 401:
            names = " and ".join(x_variable(self._account, key) for key in ("access_token", "access_secret"))
            return XError(f"X does not accept the keys (401): check X_API_KEY, X_API_SECRET, {names}.", Retry.NEVER)
        if refusal := common_refusal(error):
            return refusal
        if status == 402:
            return XError(
                "The credits on X are used up (402): buy some in the developer console, then approve the post again.", Retry.NEVER
            )
        if status >= 500 and looking:
            return XError(f"X failed with {status} when it was asked for own posts.", Retry.LATER)
        if status >= 500:
            return XError(f"X failed with {status} while it had the post, which may be there: look before it is sent again.", Retry.UNSURE)
        if looking:
            return XError(f"X does not show own posts ({status}: {words}).", Retry.NEVER)
        if status == 403 and (DUPLICATE_CODE in error.api_codes or "duplicate content" in str(error).lower()):
            return XError("X has this very text from this account already: regenerate it and approve another.", Retry.REGENERATE)
        if status == 403:
            return XError(f"X does not permit this post (403: {words}): mend that in the developer console or the text.", Retry.NEVER)
        return XError(f"X does not take this post ({status}: {words}): change the text, or check x.api_url.", Retry.NEVER)
