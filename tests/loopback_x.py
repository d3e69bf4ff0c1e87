"""A small X on this machine: it posts, is read, refuses and fails as a test tells it to, and remembers what it has.

Each answer is checked against the published `openapi.json` where `../shared` lies beside the repository. That document knows
only problems whose `type` is one of X's addresses, while X itself answers `about:blank` (`errors.json`, recorded): such a body
is checked for the keys of the recorded one instead.
"""

import asyncio
import json
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from oauthlib.common import Request, unquote
from oauthlib.oauth1.rfc5849 import signature
from openapi_schema_validator import OAS30Validator
from pydantic import SecretStr

from bot.settings import Secrets, XKeys
from data.outbox import DEFAULT_ACCOUNT
from tests.loopback import LoopbackServer

SHARED = Path(__file__).resolve().parents[2] / "shared" / "x-api"
REACH = 3200
FIRST_ID = 1456012973835788000
WORDS = ("lamp", "gull", "kettle", "fog", "tide", "letter", "bell")
KEYS = XKeys(
    api_key=SecretStr("api-key"),
    api_secret=SecretStr("api-secret"),
    access_token=SecretStr("1-access-token"),
    access_secret=SecretStr("access-secret"),
)
#: Another account that the same app acts for.
NEWS = KEYS.model_copy(update={"access_token": SecretStr("2-access-token"), "access_secret": SecretStr("news-secret")})
SECRETS = Secrets(x={DEFAULT_ACCOUNT: KEYS, "news": NEWS})


@dataclass(frozen=True)
class Made:
    """A post that is there."""

    id: str
    account: str
    text: str
    at: datetime
    in_reply_to: str | None = None


class Answer(Enum):
    """What X does with the next POST, or the next look at own posts."""

    CREATED = auto()
    UNAUTHORIZED = auto()
    NO_CREDITS = auto()
    DUPLICATE = auto()
    FORBIDDEN = auto()
    NOT_ENROLLED = auto()
    INVALID = auto()
    LIMITED = auto()
    LIMITED_FOR_THE_DAY = auto()
    LIMITED_WITHOUT_HEADERS = auto()
    FAILED = auto()
    FAILED_AFTER_MAKING = auto()
    #: The connection is cut, and nothing was made.
    CUT = auto()
    #: The connection is cut, and the post was made.
    CUT_AFTER_MAKING = auto()
    #: No answer ever comes, and nothing was made.
    SILENT = auto()
    #: No answer ever comes, and the post was made.
    SILENT_AFTER_MAKING = auto()
    NO_ID = auto()


MAKING = {Answer.CREATED, Answer.FAILED_AFTER_MAKING, Answer.CUT_AFTER_MAKING, Answer.SILENT_AFTER_MAKING, Answer.NO_ID}


def _blank(status: int, title: str, detail: str) -> tuple[int, dict[str, Any]]:
    return status, {"title": title, "type": "about:blank", "status": status, "detail": detail}


#: Statuses and bodies; 402's has not been seen by us, its title and status have (facts/x.md).
REFUSALS: Mapping[Answer, tuple[int, dict[str, Any]]] = {
    Answer.UNAUTHORIZED: _blank(401, "Unauthorized", "Unauthorized"),
    Answer.NO_CREDITS: _blank(402, "CreditsDepleted", "Your account does not have any credits to fulfill this request."),
    Answer.DUPLICATE: _blank(403, "Forbidden", "You are not allowed to create a Tweet with duplicate content."),
    Answer.FORBIDDEN: _blank(403, "Forbidden", "You are not permitted to perform this action."),
    Answer.NOT_ENROLLED: (
        403,
        {
            "client_id": "1",
            "detail": "When authenticating requests to the Twitter API v2 endpoints, you must use keys and tokens from a Twitter "
            "developer App that is attached to a Project.",
            "registration_url": "https://developer.twitter.com/en/docs/projects/overview",
            "title": "Client Forbidden",
            "required_enrollment": "Appropriate Level of API Access",
            "reason": "client-not-enrolled",
            "type": "https://api.twitter.com/2/problems/client-forbidden",
        },
    ),
    Answer.INVALID: (
        400,
        {
            "title": "Invalid Request",
            "detail": "One or more parameters to your request was invalid.",
            "type": "https://api.x.com/2/problems/invalid-request",
        },
    ),
    Answer.LIMITED: _blank(429, "Too Many Requests", "Too Many Requests"),
    Answer.LIMITED_FOR_THE_DAY: _blank(429, "Too Many Requests", "Too Many Requests"),
    Answer.LIMITED_WITHOUT_HEADERS: (429, {"code": 88, "message": "Rate limit exceeded"}),
    Answer.FAILED: (
        503,
        {
            "title": "Internal Error",
            "detail": "Over capacity",
            "type": "https://api.x.com/2/problems/internal-error",
            "status": 503,
        },
    ),
}


@dataclass
class Account:
    """Somebody on the loopback X; `rows` are posts with X's published names, the newest first."""

    id: str
    handle: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    protected: bool = False
    suspended: bool = False
    bio: str = ""
    label: str = ""

    def write(self, count: int, **more: Any) -> None:
        """Post so many times, each time one second and one id later."""
        for _ in range(count):
            number = len(self.rows) + 1
            row = {
                "id": str(FIRST_ID + number * 1000 + int(self.id)),
                "text": f"Line {number:,} of {self.handle} about the {WORDS[number % len(WORDS)]}, as it is every day",
                "created_at": (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                "edit_history_post_ids": [],
            }
            self.rows.insert(0, row | more)


@dataclass
class LoopbackX:
    """The server, as an asynchronous context; `script` holds the coming answers, and without one it behaves."""

    script: deque[Answer] = field(default_factory=deque)
    posts: dict[str, str] = field(default_factory=dict)
    """X's id → text: what is really there."""
    made: list[Made] = field(default_factory=list)
    """The same, the oldest first, with whose it is and since when."""
    looks: deque[Answer] = field(default_factory=deque)
    """The coming answers to looks at own posts; without one it behaves."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    hides_for: timedelta = timedelta(0)
    """How long a new post does not stand in its account's timeline yet."""
    refuses_duplicates: bool = True
    bio: str = ""
    """Of the account that posts."""
    refresh_token: str = "refresh-0"
    """The one that account 3 can spend next, and with it the client `client`; access tokens are told apart by its number."""
    access_token: str = ""
    spent: list[str] = field(default_factory=list)
    """The refresh tokens that were brought, whatever became of them."""
    tokens: deque[Answer] = field(default_factory=deque)
    """The coming answers to them; without one it behaves."""
    looked: list[Mapping[str, str]] = field(default_factory=list)
    """The parameters of each look at own posts."""
    requests: list[str] = field(default_factory=list)
    """The text of each POST that came, whatever became of it."""
    arrived: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    resets: dict[str, int] = field(
        default_factory=lambda: {"x-rate-limit": int(time.time()) + 2, "x-user-limit-24hour": int(time.time()) + 4}
    )
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the newest POST."""
    url: str = ""
    accounts: list[Account] = field(default_factory=list)
    """Who can be looked up and read."""
    reading: deque[Answer] = field(default_factory=deque)
    """The coming answers to reads; CREATED is to behave."""
    recorded: deque[dict[str, Any]] = field(default_factory=deque)
    """Bodies that are answered as they are."""
    reads: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and query of each read that came."""
    delivered: Counter[str] = field(default_factory=Counter)
    """X's id of each post and account that was read → how often, which is what X takes money for."""
    withheld: list[dict[str, Any]] = field(default_factory=list)
    """Problems that stand beside the posts of each page."""
    mentioning: list[dict[str, Any]] = field(default_factory=list)
    """Posts that mention account 1, which is called keeper_ottoline there, with X's published names; the oldest first."""
    polls: deque[Answer] = field(default_factory=deque)
    """The coming answers to whoever asks for them; without one it behaves."""
    polled: list[Mapping[str, str]] = field(default_factory=list)
    """The parameters of each such request."""
    documented: bool = False
    """Whether fields have the names of X's documentation, instead of those of its published description."""
    asked: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/2/tweets", self._post)
        app.router.add_get("/2/users/me", self._me)
        app.router.add_post("/2/oauth2/token", self._token)
        app.router.add_get("/2/users/by/username/{handle}", self._user)
        app.router.add_get("/2/users/{id}", self._user)
        app.router.add_get("/2/users/{id}/tweets", self._timeline)
        app.router.add_get("/2/users/{id}/mentions", self._mentions)
        self.routes(app)
        self._end = asyncio.Event()
        self._server = LoopbackServer(app)
        self.url = f"http://127.0.0.1:{await self._server.start()}"
        return self

    def routes(self, app: web.Application) -> None:
        """Add what a test's own X has besides."""

    async def __aexit__(self, *error: object) -> None:
        self._end.set()
        await self._server.close()

    async def _post(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        _valid(body, "CreatePostsRequest")
        text = body["text"]
        self.requests.append(text)
        self.headers = request.headers
        answer = self.script.popleft() if self.script else Answer.CREATED
        account = self._who(request)
        if not account:
            answer = Answer.UNAUTHORIZED
        elif self.refuses_duplicates and answer in MAKING and any((post.account, post.text) == (account, text) for post in self.made):
            answer = Answer.DUPLICATE
        made = str(1456012973835788293 + len(self.requests))
        answers = body.get("reply", {}).get("in_reply_to_tweet_id")
        mention = next((row for row in self.mentioning if row["id"] == answers), None)
        if mention is not None:
            text = f"@{self._account(mention['author_id']).handle} {text}"
        if answer in MAKING:
            self.posts[made] = text
            self.made.append(Made(made, account, text, self.clock(), answers))
        self.arrived.put_nowait(text)
        if answer in (Answer.SILENT, Answer.SILENT_AFTER_MAKING):
            await self._end.wait()
            return web.Response()
        if answer in (Answer.CUT, Answer.CUT_AFTER_MAKING):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if answer is Answer.CREATED:
            created = {"data": {"id": made, "text": text}}
            return self._answer(201, created, "CreatePostsResponse", {"location": f"https://api.twitter.com/2/tweets/{made}"})
        if answer is Answer.NO_ID:
            return self._answer(201, {}, "CreatePostsResponse")
        return self._refusal(Answer.FAILED if answer is Answer.FAILED_AFTER_MAKING else answer)

    async def _refuses(self, request: web.Request) -> web.StreamResponse | None:
        """Return what a read is answered with in the place of what it asked for; None: it gets that."""
        self.reads.append((request.path, dict(request.query)))
        self.asked.put_nowait(request.path)
        answer = self.reading.popleft() if self.reading else Answer.CREATED
        if not self._who(request):
            answer = Answer.UNAUTHORIZED
        if (refused := await self._misbehaves(answer, request)) is not None:
            return refused
        return web.json_response(self.recorded.popleft()) if self.recorded else None

    async def _misbehaves(self, answer: Answer, request: web.Request) -> web.StreamResponse | None:
        """Return what a question is answered with where it gets no answer; None: it gets one."""
        if answer is Answer.CREATED:
            return None
        if answer is Answer.SILENT:
            await self._end.wait()
            return web.Response()
        if answer is Answer.CUT:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return self._refusal(answer)

    def _refusal(self, answer: Answer) -> web.Response:
        status, refusal = REFUSALS[answer]
        return self._answer(status, refusal, "Error" if "code" in refusal else "Problem", self._limits(answer))

    async def _user(self, request: web.Request) -> web.StreamResponse:
        if refusal := await self._refuses(request):
            return refusal
        given = request.match_info
        schema = "GetUsersByUsernameResponse" if "handle" in given else "GetUsersByIdResponse"
        parameter, value = ("username", given["handle"]) if "handle" in given else ("id", given["id"])
        found = next((a for a in self.accounts if value.lower() in ((a.handle.lower(),) if "handle" in given else (a.id,))), None)
        if found is None or found.suspended:
            what = f"Could not find user with {parameter}: [{value}]." if found is None else f"User has been suspended: [{value}]."
            problem = {"detail": what, "title": "Not Found Error" if found is None else "Forbidden", "value": value}
            return self._answer(200, {"errors": [_problem("resource-not-found", parameter, problem)]}, schema)
        self.delivered[found.id] += 1
        user: dict[str, Any] = {"id": found.id, "name": "Somebody", "username": found.handle}
        asked = request.query.get("user.fields", "").split(",")
        if "protected" in asked:
            user["protected"] = found.protected
        if "public_metrics" in asked:
            user["public_metrics"] = {"followers_count": 1, "following_count": 1, "listed_count": 0, "post_count": len(found.rows)}
        return self._answer(200, {"data": user}, schema)

    async def _timeline(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["id"] == self._who(request):
            return await self._own_timeline(request)
        if refusal := await self._refuses(request):
            return refusal
        query, schema = request.query, "GetUsersPostsResponse"
        size = int(query.get("max_results", "10"))
        if not 5 <= size <= 100:
            return self._answer(*REFUSALS[Answer.INVALID], "Problem")
        found = next((account for account in self.accounts if account.id == request.match_info["id"]), None)
        if found is None or found.protected:
            kind = "resource-not-found" if found is None else "not-authorized-for-resource"
            what = {
                "title": "Authorization Error",
                "detail": "Sorry, you are not authorized to see the user.",
                "value": request.match_info["id"],
            }
            return self._answer(200, {"errors": [_problem(kind, "id", what)]}, schema)
        after, before = int(query.get("since_id", 0)), int(query.get("until_id", 2**63))
        before = min(before, int(query.get("pagination_token", before)))
        rows = [row for row in found.rows[:REACH] if after < int(row["id"]) < before]
        page, rest = rows[:size], rows[size:]
        asked = {"id", "text", "edit_history_post_ids"} | {
            {"note_tweet": "note_post", "referenced_tweets": "referenced_posts"}.get(name, name)
            for name in query.get("tweet.fields", "").split(",")
        }
        given = [
            {name: value for name, value in row.items() if name in asked}
            for row in page  # retweets are left out when the page is cut, so that it may come out empty
            if "retweets" not in query.get("exclude", "") or all(one["type"] != "retweeted" for one in row.get("referenced_posts", ()))
        ]
        self.delivered.update(row["id"] for row in given)
        meta: dict[str, Any] = {"result_count": len(given)}
        if given:
            meta |= {"newest_id": given[0]["id"], "oldest_id": given[-1]["id"]}
        if rest:
            meta["next_token"] = page[-1]["id"]
        body = ({"data": given} if given else {}) | {"meta": meta} | ({"errors": self.withheld} if self.withheld else {})
        return self._answer(200, body, schema)

    def _limits(self, answer: Answer) -> dict[str, str]:
        """Return the headers of the limits, of which the one that the answer is about has nothing left."""
        if answer is Answer.LIMITED_WITHOUT_HEADERS:
            return {}
        names = {Answer.LIMITED: "x-rate-limit", Answer.LIMITED_FOR_THE_DAY: "x-user-limit-24hour"}
        headers = {}
        for name, reset in self.resets.items():
            headers |= {
                f"{name}-limit": "100",
                f"{name}-remaining": "0" if names.get(answer) == name else "99",
                f"{name}-reset": str(reset),
            }
        return headers

    def _who(self, request: web.Request) -> str:
        """Return the number of the account that a request is signed by; empty: none."""
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return "3" if self.access_token and bearer == self.access_token else _signed(request)

    async def _token(self, request: web.Request) -> web.StreamResponse:
        """Give the next pair for a refresh token, once."""
        form = await request.post()
        self.spent.append(str(form.get("refresh_token")))
        answer = self.tokens.popleft() if self.tokens else Answer.CREATED
        if answer is Answer.FAILED:
            return web.Response(status=503, text="Over capacity")
        if (form.get("grant_type"), form.get("client_id"), form.get("refresh_token")) != ("refresh_token", "client", self.refresh_token):
            told = {"error": "invalid_request", "error_description": "Value passed for the token was invalid."}
            return web.json_response(told, status=400)
        number = int(self.refresh_token.partition("-")[2]) + 1
        self.refresh_token, self.access_token = f"refresh-{number}", f"access-{number}"
        if answer is Answer.CUT_AFTER_MAKING:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        pair = {"access_token": self.access_token, "refresh_token": self.refresh_token}
        return web.json_response(
            pair | {"token_type": "bearer", "expires_in": 7200, "scope": "tweet.read tweet.write users.read offline.access"}
        )

    def mention(self, author: Account, text: str, *, answers: str | None = None, **more: Any) -> str:
        """Have somebody write a post that may mention account 1, in answer to another if one is named, and return its id."""
        if author not in self.accounts:
            self.accounts.append(author)
        numbers = {"keeper_ottoline": "1"} | {one.handle.lower(): one.id for one in self.accounts}
        named = [
            {"start": found.start(), "end": found.end(), "username": found[1], "id": numbers.get(found[1].lower(), "999")}
            for found in re.finditer(r"@(\w+)", text)
        ]
        number = str(FIRST_ID + 10**9 + len(self.mentioning))
        row = {
            "id": number,
            "author_id": author.id,
            "text": escape(text, quote=False),
            "created_at": f"{self.clock():%Y-%m-%dT%H:%M:%S}.000Z",
            "edit_history_post_ids": [number],
            "entities": {"mentions": named},
        }
        if answers:
            row["referenced_posts"] = [{"type": "replied_to", "id": answers}]
        self.mentioning.append(row | more)
        return number

    def _account(self, number: str) -> Account:
        return next(account for account in self.accounts if account.id == number)

    async def _mentions(self, request: web.Request) -> web.StreamResponse:
        """Give the posts that mention an account, the newest first, with their authors and what they answer, as far as it asks for them."""
        query = request.query
        self.polled.append(dict(query))
        answer = self.polls.popleft() if self.polls else Answer.CREATED
        if self._who(request) != request.match_info["id"]:
            answer = Answer.UNAUTHORIZED
        if (refused := await self._misbehaves(answer, request)) is not None:
            return refused
        size = int(query["max_results"])
        if not 5 <= size <= 100:
            return self._answer(*REFUSALS[Answer.INVALID], "Problem")
        start = datetime.fromisoformat(query.get("start_time", "2006-03-21T00:00:00Z"))
        after, before = int(query.get("since_id", 0)), int(query.get("until_id", 2**63))
        before = min(before, int(query.get("pagination_token", before)))
        rows = [
            row
            for row in reversed(self.mentioning)
            if after < int(row["id"]) < before
            and datetime.fromisoformat(row["created_at"]) >= start
            and any(one["id"] == request.match_info["id"] for one in row["entities"]["mentions"])
        ]
        page = rows[:size]
        asked = _published_names(query.get("tweet.fields", "")) | {"id", "text", "edit_history_post_ids"}
        expands, wanted = _published_names(query.get("expansions", "")), _published_names(query.get("user.fields", ""))
        body: dict[str, Any] = {"meta": {"result_count": len(page)}}
        if page:
            body["data"] = [{name: value for name, value in row.items() if name in asked} for row in page]
            body["meta"] |= {"newest_id": page[0]["id"], "oldest_id": page[-1]["id"]}
        if len(rows) > size:
            body["meta"]["next_token"] = page[-1]["id"]
        included: dict[str, Any] = {}
        if page and "author_id" in expands:
            authors = [self._account(number) for number in dict.fromkeys(row["author_id"] for row in page)]
            told = [
                {"username": one.handle, "description": one.bio, "protected": one.protected, "affiliation": {"description": one.label}}
                for one in authors
            ]
            included["users"] = [
                {"id": one.id, "name": "Somebody"} | {name: value for name, value in more.items() if name in wanted}
                for one, more in zip(authors, told, strict=True)
            ]
        if "referenced_posts.id" in expands:
            answered = {one["id"] for row in page for one in row.get("referenced_posts", ())}
            ours = [{"id": post.id, "author_id": post.account, "text": post.text, "edit_history_post_ids": [post.id]} for post in self.made]
            included["posts"] = [
                {name: value for name, value in row.items() if name in asked} for row in (*self.mentioning, *ours) if row["id"] in answered
            ]
        included = {name: rows for name, rows in included.items() if rows}
        return self._answer(200, body | ({"includes": included} if included else {}), "GetUsersMentionsResponse")

    async def _own_timeline(self, request: web.Request) -> web.StreamResponse:
        """Give own posts, the newest first, as X does: with &, < and > escaped."""
        self.looked.append(dict(request.query))
        answer = self.looks.popleft() if self.looks else Answer.CREATED
        if (refused := await self._misbehaves(answer, request)) is not None:
            return refused
        since, most = int(request.query.get("since_id", 0)), int(request.query["max_results"])
        start = datetime.fromisoformat(request.query.get("start_time", "2006-03-21T00:00:00Z"))
        own = [
            post
            for post in reversed(self.made)
            if post.account == request.match_info["id"]
            and int(post.id) > since
            and post.at >= start
            and post.at <= self.clock() - self.hides_for
        ]
        begin = int(request.query.get("pagination_token", "0"))
        page = own[begin : begin + most]
        data = [
            {
                "id": post.id,
                "text": escape(post.text, quote=False),
                "created_at": f"{post.at:%Y-%m-%dT%H:%M:%S}.000Z",
                "edit_history_tweet_ids": [post.id],
            }
            for post in page
        ]
        meta: dict[str, Any] = {"result_count": len(page)}
        if page:
            meta |= {"newest_id": page[0].id, "oldest_id": page[-1].id}
        if len(own) > begin + most:
            meta["next_token"] = f"{begin + most:016}"
        return self._answer(200, {"data": data, "meta": meta} if data else {"meta": meta}, "GetUsersPostsResponse")

    async def _me(self, request: web.Request) -> web.StreamResponse:
        if not self._who(request):
            return self._answer(*REFUSALS[Answer.UNAUTHORIZED], "Problem")
        me = {"id": self._who(request), "name": "Loopback", "username": "loopback"}
        if "description" in request.query.get("user.fields", ""):
            me["description"] = self.bio
        return self._answer(200, {"data": me}, "GetUsersMeResponse")

    def _answer(self, status: int, body: dict[str, Any], schema: str, headers: Mapping[str, str] | None = None) -> web.Response:
        if schema != "Problem" or str(body.get("type", "")).startswith("https://api.x.com/"):
            _valid(body, schema)
        else:
            _like_recorded(body)
        if self.documented:
            body = _documented(body)
        kind = "application/problem+json" if schema == "Problem" else "application/json"
        return web.Response(status=status, text=json.dumps(body), content_type=kind, headers=headers or self._limits(Answer.CREATED))


def _problem(kind: str, parameter: str, more: dict[str, Any]) -> dict[str, Any]:
    """Return a problem as it stands in a list of errors."""
    return {"type": f"https://api.x.com/2/problems/{kind}", "resource_type": "user", "parameter": parameter} | more


def _documented(body: Any) -> Any:
    """Return an answer with the names that X's documentation has for what its published description calls otherwise."""
    if isinstance(body, list):
        return [_documented(one) for one in body]
    if not isinstance(body, dict):
        return body
    names = {"posts": "tweets"}
    return {names.get(name, name.replace("_post", "_tweet").replace("post_", "tweet_")): _documented(value) for name, value in body.items()}


def _published_names(fields: str) -> set[str]:
    """Return the fields that a request asks for, by the names of X's published description."""
    return {name.replace("tweet", "post") for name in fields.split(",")}


def _signed(request: web.Request) -> str:
    """Return the number of the account by whose four secrets a request is signed, over the address at which it arrived; else nothing."""
    header = request.headers.get("Authorization", "")
    if not header.startswith("OAuth "):
        return ""
    query = request.url.query_string
    parameters = dict(signature.collect_parameters(headers={"Authorization": header}, exclude_oauth_signature=False))
    keys = {keys.access_token.get_secret_value(): keys for keys in (KEYS, NEWS)}.get(parameters.get("oauth_token", ""))
    if parameters.get("oauth_consumer_key") != "api-key" or keys is None:
        return ""
    signed = Request(str(request.url), http_method=request.method)
    signed.signature = unquote(parameters.pop("oauth_signature"))
    signed.params = [*parameters.items(), *signature.collect_parameters(uri_query=query)]
    if not signature.verify_hmac_sha1(signed, "api-secret", keys.access_secret.get_secret_value()):
        return ""
    return str(parameters["oauth_token"]).partition("-")[0]


@cache
def _published(name: str) -> Any:
    return json.loads((SHARED / name).read_text(encoding="utf-8")) if SHARED.is_dir() else None


def _valid(body: Any, schema: str) -> None:
    if spec := _published("openapi.json"):
        OAS30Validator({"$ref": f"#/components/schemas/{schema}", "components": spec["components"]}).validate(body)


def _like_recorded(body: dict[str, Any]) -> None:
    if recorded := _published("errors.json"):
        assert {"title", "detail", "type"} <= body.keys()
        assert body["type"] != "about:blank" or body.keys() == recorded["403_generic"].keys() == recorded["429"].keys()
