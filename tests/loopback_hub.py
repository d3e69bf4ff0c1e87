"""A model hub on the loopback: one repository's files to fetch, and what was pushed."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Self

from aiohttp import web

from tests.loopback import LoopbackServer

COMMIT = "c" * 40


class Hub:
    """Serves a folder as the model `NAME`, and remembers commits to any other."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.asked: list[str] = []
        self.tokens: set[str] = set()
        self.made: list[dict] = []
        self.pushed: dict[str, bytes] = {}
        self.sizes: dict[str, int] = {}
        """What is claimed of files, where it is not the truth."""

        @web.middleware
        async def noting(request: web.Request, handler) -> web.StreamResponse:
            self.asked.append(f"{request.method} {request.path}")
            self.tokens.add(request.headers.get("Authorization", ""))
            return await handler(request)

        app = web.Application(client_max_size=1 << 26, middlewares=[noting])
        app.router.add_get("/api/models/{owner}/{repo}", self._info)
        app.router.add_get("/api/models/{owner}/{repo}/revision/{revision}", self._info)
        app.router.add_get("/api/models/{owner}/{repo}/tree/{revision}", self._tree)
        app.router.add_get("/{owner}/{repo}/resolve/{revision}/{file}", self._file)
        app.router.add_post("/api/repos/create", self._create)
        app.router.add_post("/api/validate-yaml", self._valid)
        app.router.add_post("/api/models/{owner}/{repo}/preupload/{revision}", self._preupload)
        app.router.add_post("/api/models/{owner}/{repo}/commit/{revision}", self._commit)
        self._server = LoopbackServer(app)
        self.url = ""

    async def __aenter__(self) -> Self:
        self.url = f"http://127.0.0.1:{await self._server.start()}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    async def _info(self, request: web.Request) -> web.Response:
        name = f"{request.match_info['owner']}/{request.match_info['repo']}"
        if name != self.name:
            return web.json_response({"error": "Repository not found"}, status=404, headers={"X-Error-Code": "RepoNotFound"})
        files = [{"rfilename": p.name, "size": self.sizes.get(p.name, p.stat().st_size), "blobId": "0" * 40} for p in self.folder.iterdir()]
        return web.json_response({"id": name, "modelId": name, "sha": COMMIT, "private": False, "tags": [], "siblings": files})

    async def _tree(self, _: web.Request) -> web.Response:
        files = [{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": "0" * 40} for p in self.folder.iterdir()]
        return web.json_response(files)

    async def _file(self, request: web.Request) -> web.Response:
        content = (self.folder / request.match_info["file"]).read_bytes()
        etag = hashlib.sha256(content).hexdigest()[:40]
        return web.Response(body=content, headers={"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    async def _create(self, request: web.Request) -> web.Response:
        self.made.append(await request.json())
        return web.json_response({"url": f"{self.url}/me/voice", "name": "me/voice"})

    async def _valid(self, _: web.Request) -> web.Response:
        return web.json_response({"errors": [], "warnings": []})

    async def _preupload(self, request: web.Request) -> web.Response:
        files = (await request.json())["files"]
        return web.json_response({"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]})

    async def _commit(self, request: web.Request) -> web.Response:
        for line in (await request.text()).splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                self.pushed[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        return web.json_response({"success": True, "commitOid": COMMIT, "commitUrl": f"{self.url}/me/voice/commit/{COMMIT}"})
