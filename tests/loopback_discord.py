"""A small Discord on 127.0.0.1: its REST API and its gateway, for tests that run the real client, also in another process.

    async with LoopbackDiscord() as discord:
        environment = {"MYNAH_DISCORD__API_URL": discord.url, "DISCORD_TOKEN": discord.token}
        ...
        await discord.connected()
        await discord.say("!train keeper")
        reply = await discord.message(lambda m: "queued" in m["content"])

It keeps what was sent to it (`requests`, `messages`, `identifies`) and wakes whoever waits for more (`until`).
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import pytest_asyncio
from aiohttp import WSCloseCode, WSMsgType, web

from tests.loopback import LoopbackServer

SECONDS = 20.0  # by which whatever a test waits for has come, on a slow machine
EPOCH = 1420070400000
ADMINISTRATOR = str(1 << 3)
MEMBER_PERMISSIONS = str((1 << 10) | (1 << 11) | (1 << 31))
PRIVILEGED = (1 << 1) | (1 << 8) | (1 << 15)
AUTHENTICATION_FAILED, DISALLOWED_INTENTS = 4004, 4014
API = "/api/v10"


@dataclass(frozen=True)
class Request:
    """One REST request that arrived."""

    method: str
    path: str
    params: dict[str, str]
    json: Any
    files: tuple[str, ...]
    at: float


@dataclass
class LoopbackDiscord:
    """One server with one channel, one member who talks, and the bot."""

    token: str = "good.loopback.token"
    port: int = 0
    granted: int = PRIVILEGED
    """The privileged intents that the portal has granted."""
    gateway_down: bool = False
    """Refuse connections to the gateway."""
    deaf: bool = False
    """Never answer a farewell of the gateway's client."""
    sessions_left: int = 1000
    recommended_shards: int = 1
    member_permissions: str = MEMBER_PERMISSIONS
    server_locale: str = "en-US"
    abroad: Literal["", "server", "talk"] = ""
    """Where the member uses the bot that he installed for himself: in a server that it is not in, or in a talk with somebody else."""
    requests: list[Request] = field(default_factory=list)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    first_words: dict[str, str] = field(default_factory=dict)
    """What each message said before it was edited."""
    identifies: list[dict[str, Any]] = field(default_factory=list)
    resumes: list[dict[str, Any]] = field(default_factory=list)
    close_codes: list[int | None] = field(default_factory=list)
    commands: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._last_id = 0
        self.bot = self._user("mynah-test", bot=True)
        self.member = self._user("alice")
        self.guild_id, self.channel_id = self._id(), self._id()
        self.foreign_guild_id, self.foreign_channel_id = self._id(), self._id()
        self._sockets: dict[web.WebSocketResponse, tuple[int, int]] = {}  # to its shard, and of how many
        self._sequence = 0
        self._originals: dict[str, str] = {}  # interaction's token to its message
        self._change = asyncio.Event()
        self._over = asyncio.Event()

    # ------------------------------------------------------------------- server

    @property
    def url(self) -> str:
        """What `discord.api_url` is to be."""
        return f"http://127.0.0.1:{self.port}{API}"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=32 * 2**20)
        app.router.add_get("/gateway", self._gateway)
        app.router.add_route("*", API + "/{path:.*}", self._rest)
        self._server = LoopbackServer(app, self.port)
        self.port = await self._server.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._over.set()
        await self.drop(WSCloseCode.GOING_AWAY)
        await self._server.close()

    def _ring(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    async def until(self, found: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """Wait until `found` returns something true, and return it."""
        async with asyncio.timeout(seconds):
            while not (value := found()):
                await self._change.wait()
        return value

    # -------------------------------------------------------- what a test does

    @property
    def online(self) -> bool:
        """Whether a client is connected to the gateway."""
        return bool(self._sockets)

    async def connected(self) -> None:
        """Wait for a client that has its READY."""
        await self.until(lambda: self.online and (self.identifies or self.resumes))

    async def say(self, content: str) -> dict[str, Any]:
        """Have the member write a message in the channel."""
        message = self._message({"content": content}, self.member)
        message |= {"guild_id": self.guild_id, "member": self._membership(self.member) | {"user": None}}
        del message["member"]["user"]
        await self.dispatch("MESSAGE_CREATE", message)
        return message

    def put_up(self, content: str) -> dict[str, Any]:
        """Let a message of the bot's stand in the channel, as one that it put up in an earlier life."""
        return self._keep(self._message({"content": content}, self.bot))

    async def slash(self, name: str, **options: Any) -> str:
        """Have the member use a registered slash command; return the interaction's token, for `answer`."""
        command = next(command for command in self.commands if command["name"] == name)
        kinds = {option["name"]: option["type"] for option in command.get("options", [])}
        data = {
            "id": command["id"],
            "name": name,
            "type": 1,
            "options": [{"name": key, "type": kinds[key], "value": value} for key, value in options.items()],
        }
        return await self._interact({"type": 2, "data": data})

    async def press(self, message: dict[str, Any], label: str) -> str:
        """Have the member press a button under a message, as it is now; return the interaction's token."""
        shown = self.messages[message["id"]]
        (button,) = [one for row in shown["components"] for one in row["components"] if one.get("label") == label]
        data = {"component_type": 2, "custom_id": button["custom_id"]}
        return await self._interact({"type": 3, "data": data, "message": shown}, original=shown["id"])

    async def _interact(self, what: dict[str, Any], original: str = "") -> str:
        number = self._id()
        interaction = what | {
            "id": number,
            "application_id": self.bot["id"],
            "token": f"token-{number}",
            "version": 1,
            "guild_id": self.guild_id,
            "channel_id": self.channel_id,
            "channel": self._channel() | {"permissions": MEMBER_PERMISSIONS},
            "member": self._membership(self.member) | {"permissions": self.member_permissions},
            "app_permissions": ADMINISTRATOR,
            "locale": "en-US",
            "guild_locale": self.server_locale,
            "entitlements": [],
            "authorizing_integration_owners": {"0": self.guild_id},
            "context": 0,
            "attachment_size_limit": 10 * 2**20,
        }
        interaction |= self._abroad()
        self._originals[f"token-{number}"] = original
        await self.dispatch("INTERACTION_CREATE", interaction)
        return str(interaction["token"])

    def _abroad(self) -> dict[str, Any]:
        """Return how an interaction is different where the bot is no member."""
        if not self.abroad:
            return {}
        installed = {"channel_id": self.foreign_channel_id, "authorizing_integration_owners": {"1": self.member["id"]}}
        if self.abroad == "server":
            server = {"id": self.foreign_guild_id, "features": [], "locale": self.server_locale}
            own = self._membership(self.member) | {"permissions": self.member_permissions}
            channel = self._channel() | {"id": self.foreign_channel_id, "guild_id": server["id"], "permissions": self.member_permissions}
            return installed | {"guild_id": server["id"], "guild": server, "channel": channel, "member": own}
        channel = {"id": self.foreign_channel_id, "type": 3, "recipients": [self._user("carol")], "owner_id": self.member["id"]}
        nowhere = {"guild_id": None, "guild_locale": None, "member": None, "context": 2}
        return installed | nowhere | {"user": self.member, "channel": channel | {"name": None, "icon": None, "last_message_id": None}}

    def shown(self, token: str) -> dict[str, Any] | None:
        """Return the answer to an interaction, if there is one past its "is thinking…"; of a refusal in private, what it left there."""
        found = self.messages.get(self._originals.get(token, ""))
        return None if found is None or found["flags"] & (1 << 7) else found

    async def answer(self, token: str) -> dict[str, Any]:
        """Wait for the answer to an interaction, past its "is thinking…"."""
        return dict(await self.until(lambda: (found := self.shown(token)) and found["content"] and found))

    async def message(self, wanted: Callable[[dict[str, Any]], Any], seconds: float = SECONDS) -> dict[str, Any]:
        """Wait for a message of the bot's, as posted or as edited."""
        found = await self.until(lambda: next((m for m in self.messages.values() if wanted(m)), None), seconds)
        return dict(found)

    async def dispatch(self, event: str, data: dict[str, Any]) -> None:
        """Send an event of the server to every client, over the connection that is the server's."""
        self._sequence += 1
        for socket in [socket for socket, shard in self._sockets.items() if self._is_of(shard)]:
            await socket.send_json({"op": 0, "t": event, "s": self._sequence, "d": data})

    async def drop(self, code: int = WSCloseCode.SERVICE_RESTART, shard: int | None = None) -> None:
        """Close every connection to the gateway, or that of a shard."""
        for socket in [socket for socket, (number, _) in self._sockets.items() if shard in (None, number)]:
            await socket.close(code=code)

    # ------------------------------------------------------------------ gateway

    async def _gateway(self, request: web.Request) -> web.StreamResponse:
        if self.gateway_down:
            return web.Response(status=503)
        socket = web.WebSocketResponse(autoclose=not self.deaf, timeout=0.5)
        await socket.prepare(request)
        await socket.send_json({"op": 10, "d": {"heartbeat_interval": 41250}, "s": None, "t": None})
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._obey(socket, json.loads(message.data))
                if self.deaf and socket in self._sockets:
                    await self._over.wait()  # reads nothing more: a farewell gets no answer
        finally:
            self._sockets.pop(socket, None)
            self.close_codes.append(socket.close_code)
            self._ring()
        return socket

    async def _obey(self, socket: web.WebSocketResponse, order: dict[str, Any]) -> None:
        data = order["d"]
        match order["op"]:
            case 1:
                await socket.send_json({"op": 11})
            case 2:
                self.identifies.append(data)
                if data["token"] != self.token:
                    await socket.close(code=AUTHENTICATION_FAILED)
                elif data["intents"] & PRIVILEGED & ~self.granted:
                    await socket.close(code=DISALLOWED_INTENTS)
                else:
                    self._sockets[socket] = shard = tuple(data.get("shard", (0, 1)))
                    await self._welcome(socket, shard)
                self._ring()
            case 6:
                self.resumes.append(data)
                self._sockets[socket] = (0, 1)
                await socket.send_json({"op": 0, "t": "RESUMED", "s": self._sequence, "d": {}})
                self._ring()

    def _is_of(self, shard: tuple[int, int]) -> bool:
        return (int(self.guild_id) >> 22) % shard[1] == shard[0]

    async def _welcome(self, socket: web.WebSocketResponse, shard: tuple[int, int]) -> None:
        here = self._is_of(shard)
        ready = {
            "v": 10,
            "user": self.bot,
            "guilds": [{"id": self.guild_id, "unavailable": True}] if here else [],
            "session_id": "session",
            "session_type": "normal",
            "resume_gateway_url": self._gateway_url,
            "application": {"id": self.bot["id"], "flags": 0},
            "shard": shard,
        }
        for event, data in (("READY", ready), ("GUILD_CREATE", self._guild()))[: 2 if here else 1]:
            self._sequence += 1
            await socket.send_json({"op": 0, "t": event, "s": self._sequence, "d": data})

    # --------------------------------------------------------------------- REST

    @property
    def _gateway_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/gateway"

    async def _rest(self, request: web.Request) -> web.Response:
        body, files = await _body(request)
        path = request.path.removeprefix(API)
        self.requests.append(Request(request.method, path, dict(request.query), body, files, time.monotonic()))
        try:
            # Interactions carry their own token, everything else the bot's.
            if not path.startswith(("/interactions/", "/webhooks/")) and request.headers.get("Authorization") != f"Bot {self.token}":
                return _json({"message": "401: Unauthorized", "code": 0}, 401)
            status, answer = self._answer(request.method, path.strip("/").split("/"), body, files)
            return _json(answer, status) if answer is not None else web.Response(status=status)
        finally:
            self._ring()

    def _answer(self, method: str, path: list[str], body: Any, files: tuple[str, ...]) -> tuple[int, Any]:
        match method, path:
            case _, ["channels", self.foreign_channel_id, *_]:
                return 403, {"message": "Missing Access", "code": 50001}
            case "GET", ["users", "@me"]:
                return 200, self.bot
            case "GET", ["oauth2", "applications", "@me"]:
                return 200, self._application()
            case "GET", ["gateway", "bot"]:
                limit = {"total": 1000, "remaining": self.sessions_left, "reset_after": 5000, "max_concurrency": 1}
                return 200, {"url": self._gateway_url, "shards": self.recommended_shards, "session_start_limit": limit}
            case "GET", ["applications", _, "commands"]:
                return 200, self.commands
            case "PUT", ["applications", application, "commands"]:
                own = {"application_id": application, "version": "1", "default_member_permissions": None, "type": 1, "description": ""}
                self.commands = [own | command | {"id": self._id()} for command in body]
                return 200, self.commands
            case "POST", ["channels", _, "messages"]:
                return 200, self._keep(self._message(body, self.bot, files))
            case (("GET" | "PATCH" | "DELETE"), ["channels", _, "messages", number]):
                return self._on_message(method, number, body, files)
            case "POST", ["interactions", _, token, "callback"]:
                return self._on_interaction(token, body, files)
            case "POST", ["webhooks", _, token]:
                original = self.messages.get(self._originals.get(token, ""))
                if original and original["flags"] & (1 << 7):
                    return self._on_message("PATCH", original["id"], body, files)
                return 200, self._keep(self._message(body, self.bot, files))
            case (("GET" | "PATCH" | "DELETE"), ["webhooks", _, token, "messages", "@original"]):
                return self._on_message(method, self._originals.get(token, ""), body, files)
        return 404, {"message": "404: Not Found", "code": 0}

    def _on_interaction(self, token: str, body: Any, files: tuple[str, ...]) -> tuple[int, Any]:
        if body["type"] in (6, 7):  # the message with the button is the original
            message = self.messages[self._originals[token]]
            if body["type"] == 7:
                self._on_message("PATCH", message["id"], body["data"], files)
            return 200, {"interaction": {"id": token.removeprefix("token-"), "type": 3}, "resource": {"type": body["type"]}}
        message = self._keep(self._message(body.get("data") or {}, self.bot, files))
        if body["type"] == 5:
            message["flags"] |= 1 << 7
        self._originals[token] = message["id"]
        about = {"id": token.removeprefix("token-"), "type": 2, "response_message_id": message["id"]}
        return 200, {"interaction": about, "resource": {"type": body["type"], "message": message}}

    def _on_message(self, method: str, number: str, body: Any, files: tuple[str, ...]) -> tuple[int, Any]:
        message = self.messages.get(number)
        if message is None:
            return 404, {"message": "Unknown Message", "code": 10008}
        if method == "DELETE":
            del self.messages[number]
            return 204, None
        if method == "PATCH":
            message |= {key: body[key] for key in ("content", "embeds", "components") if key in body}
            message["flags"] &= ~(1 << 7)
            if "attachments" in body:
                message["attachments"] = [self._attachment(name) for name in files]
        return 200, message

    # ------------------------------------------------------------------ objects

    def _id(self) -> str:
        """Return a new snowflake of this instant; an interaction's age is read from it."""
        self._last_id = max(self._last_id + 1, (int(time.time() * 1000) - EPOCH) << 22)
        return str(self._last_id)

    def _user(self, name: str, *, bot: bool = False) -> dict[str, Any]:
        return {
            "id": self._id(),
            "username": name,
            "discriminator": "0",
            "global_name": None,
            "avatar": None,
            "bot": bot,
            "flags": 0,
            "public_flags": 0,
            "verified": True,
            "mfa_enabled": True,
            "email": None,
        }

    def _membership(self, user: dict[str, Any]) -> dict[str, Any]:
        joined = "2026-01-01T00:00:00+00:00"
        return {"user": user, "roles": [], "joined_at": joined, "deaf": False, "mute": False, "flags": 0, "nick": None, "avatar": None}

    def _channel(self) -> dict[str, Any]:
        return {
            "id": self.channel_id,
            "type": 0,
            "guild_id": self.guild_id,
            "name": "lamp-room",
            "position": 0,
            "permission_overwrites": [],
            "topic": None,
            "nsfw": False,
            "last_message_id": None,
            "rate_limit_per_user": 0,
            "parent_id": None,
        }

    def _guild(self) -> dict[str, Any]:
        everyone = {"id": self.guild_id, "name": "@everyone", "permissions": ADMINISTRATOR, "position": 0, "color": 0}
        empty = ("emojis", "stickers", "features", "voice_states", "threads", "presences", "stage_instances", "guild_scheduled_events")
        return {name: [] for name in empty} | {
            "id": self.guild_id,
            "name": "Lighthouse",
            "owner_id": self.member["id"],
            "roles": [everyone | {"hoist": False, "managed": False, "mentionable": False, "flags": 0}],
            "channels": [self._channel()],
            "members": [self._membership(self.bot), self._membership(self.member)],
            "member_count": 2,
            "large": False,
            "joined_at": "2026-01-01T00:00:00+00:00",
            "verification_level": 0,
            "default_message_notifications": 0,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "premium_tier": 0,
            "nsfw_level": 0,
            "afk_timeout": 300,
            "preferred_locale": self.server_locale,
            "system_channel_flags": 0,
            "premium_progress_bar_enabled": False,
        }

    def _application(self) -> dict[str, Any]:
        return {
            "id": self.bot["id"],
            "name": "mynah-test",
            "icon": None,
            "description": "",
            "bot_public": False,
            "bot_require_code_grant": False,
            "verify_key": "0" * 64,
            "flags": 0,
            "summary": "",
            "owner": self.member,
            "team": None,
        }

    def _attachment(self, name: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/attachments/{name}"
        return {"id": self._id(), "filename": name, "size": 1, "url": url, "proxy_url": url}

    def _message(self, body: dict[str, Any], author: dict[str, Any], files: tuple[str, ...] = ()) -> dict[str, Any]:
        allowed = (body.get("allowed_mentions") or {}).get("users", [])
        return {
            "id": self._id(),
            "channel_id": self.channel_id,
            "author": author,
            "content": body.get("content") or "",
            "timestamp": "2026-11-21T00:00:00+00:00",
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": False,
            "mentions": [self.member] if int(self.member["id"]) in map(int, allowed) else [],
            "mention_roles": [],
            "attachments": [self._attachment(name) for name in files],
            "embeds": body.get("embeds") or [],
            "components": body.get("components") or [],
            "pinned": False,
            "type": 0,
            "flags": body.get("flags") or 0,
        }

    def _keep(self, message: dict[str, Any]) -> dict[str, Any]:
        self.messages[message["id"]] = message
        self.first_words[message["id"]] = message["content"]
        return message


def _json(answer: Any, status: int) -> web.Response:
    # As Discord has it, without a charset: discord.py takes anything else for text.
    return web.Response(body=json.dumps(answer).encode(), status=status, headers={"Content-Type": "application/json"})


async def _body(request: web.Request) -> tuple[Any, tuple[str, ...]]:
    """Return the JSON of a request and the names of its files."""
    if request.content_type != "multipart/form-data":
        return (await request.json() if request.can_read_body and request.content_type == "application/json" else None), ()
    body: Any = None
    files: list[str] = []
    async for part in await request.multipart():
        if part.name == "payload_json":
            body = json.loads(await part.text())
        else:
            files.append(part.filename or "")
            await part.read()
    return body, tuple(files)


@pytest_asyncio.fixture
async def loopback_discord() -> AsyncIterator[LoopbackDiscord]:
    """A Discord that runs as long as the test; import it, or this name, into the test's module."""
    async with LoopbackDiscord() as server:
        yield server
