"""A headless Chromium, driven over its debugging protocol: load, look, click, take a picture."""

import asyncio
import base64
import contextlib
import itertools
import json
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)


class Page:
    """One open page."""

    def __init__(self, wire: ClientConnection) -> None:
        self._wire = wire
        self._numbers = itertools.count(1)
        self.complaints: list[str] = []
        self.requested: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result; what comes meanwhile is noted."""
        number = next(self._numbers)
        await self._wire.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(30):
            while True:
                message = json.loads(await self._wire.recv())
                if message.get("id") == number:
                    if "error" in message:
                        raise RuntimeError(f"{method}: {message['error']}")
                    result: dict[str, Any] = message["result"]
                    return result
                self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        if message.get("method") == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"]))
        elif message.get("method") == "Network.requestWillBeSent":
            self.requested.append(parameters["request"]["url"])

    async def show(self, url: str, *, width: int = 1280, height: int = 900) -> None:
        """Load a page in a window of that size."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        await self.call("Page.navigate", url=url)

    async def value(self, expression: str) -> Any:
        """Return what a JavaScript expression yields."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        return answer["result"].get("value")

    async def until(self, expression: str, *, seconds: float = 20) -> None:
        """Wait until a JavaScript expression is true."""
        async with asyncio.timeout(seconds):
            while not await self.value(expression):  # noqa: ASYNC110 - the page cannot call us
                await asyncio.sleep(0.1)

    async def picture(self, path: Path, *, is_whole: bool = True) -> None:
        """Save a picture of the page."""
        shot = await self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=is_whole
        )
        await asyncio.to_thread(path.write_bytes, base64.b64decode(shot["data"]))


@contextlib.asynccontextmanager
async def browser_page(browser: str, profile: Path) -> AsyncIterator[Page]:
    """Start a browser with a profile of its own; end it afterwards."""
    process = await asyncio.create_subprocess_exec(
        browser,
        *_FLAGS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        port = await _port(profile / "DevToolsActivePort")
        async with connect(await asyncio.to_thread(_target, port), max_size=64 * 2**20) as wire:
            yield Page(wire)
    finally:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _port(path: Path) -> int:
    def lines() -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    async with asyncio.timeout(30):
        while len(lines()) < 2:  # noqa: ASYNC110 - the browser only leaves a file
            await asyncio.sleep(0.05)
    return int(lines()[0])


def _target(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answer:
        pages = [one for one in json.load(answer) if one["type"] == "page"]
    url: str = pages[0]["webSocketDebuggerUrl"]
    return url
