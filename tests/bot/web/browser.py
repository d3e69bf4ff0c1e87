"""A headless Chromium, driven by its DevTools protocol: as much of it as walks through pages and looks at them."""

import asyncio
import base64
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECONDS = 60  # for anything, on a busy machine
KEYS = {"Tab": 9, "Enter": 13, " ": 32}


class Browser:
    """One page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self.problems: list[str] = []
        """What the page's console and its policy complained of."""
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            found = message.json()
            match found.get("method"):
                case None:
                    self._answers.pop(found["id"]).set_result(found)
                case "Page.loadEventFired":
                    self._loaded.set()
                case "Log.entryAdded":
                    self.problems.append(found["params"]["entry"]["text"])
                case "Runtime.exceptionThrown":
                    self.problems.append(str(found["params"]["exceptionDetails"]))

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Have the browser do something."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(SECONDS):
            found = await answer
        assert "error" not in found, found
        return found["result"]

    async def go(self, address: str) -> None:
        """Open a page, and wait until it is loaded."""
        await self.during_load(self.call("Page.navigate", url=address))

    async def during_load(self, deed: Any) -> None:
        """Do something that leads to another page, and wait until that one is loaded."""
        self._loaded.clear()
        await deed
        async with asyncio.timeout(SECONDS):
            await self._loaded.wait()

    async def run(self, script: str) -> Any:
        """Return what a piece of script comes to."""
        found = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until a piece of script is true."""
        async with asyncio.timeout(SECONDS):
            while not await self.run(script):  # noqa: ASYNC110 - what is waited for is in another process
                await asyncio.sleep(0.05)

    async def press(self, key: str) -> None:
        """Press a key."""
        text = {"Enter": "\r", " ": " "}.get(key)
        named = {"key": key, "code": {" ": "Space"}.get(key, key), "windowsVirtualKeyCode": KEYS[key]} | ({"text": text} if text else {})
        await self.call("Input.dispatchKeyEvent", type="keyDown", **named)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    async def look(self, *, width: int, height: int = 900, dark: bool = False, scale: float = 1.0) -> None:
        """Be as wide as a phone or a screen, and light or dark."""
        await self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self, *, whole: bool = False) -> bytes:
        """Return what is seen, as a PNG; `whole`: with what is below it."""
        found = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(found["data"])


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Start a browser, and leave none behind."""
    assert CHROMIUM
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = ["--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}", "--no-first-run", "--disable-gpu"]
        options += ["--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb"]
        options += ["--no-sandbox"] if os.geteuid() == 0 else []
        process = subprocess.Popen([CHROMIUM, *options, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: ASYNC220
        try:
            port = await _port(Path(folder) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                    (page,) = [one for one in await answer.json() if one["type"] == "page"]
                async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    one = Browser(socket)
                    for domain in ("Page", "Runtime", "Log"):
                        await one.call(f"{domain}.enable")
                    yield one
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)


async def _port(file: Path) -> str:
    async with asyncio.timeout(SECONDS):
        while not file.exists() or not file.read_text().strip():  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.05)
    return file.read_text().split()[0]
