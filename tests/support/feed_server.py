"""The server's side of Alpaca's data streams: msgpack, a list in every frame."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

Act = Callable[[ServerConnection], Any]

KEY = "key-of-a-test"
SECRET = "secret-of-a-test"


class FeedServer:
    """Greets, checks keys, hears the subscription, then does what the test wants."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.subscriptions: list[Any] = []
        self.headers: list[str] = []
        self.accepts = KEY
        self.port = 0

    async def serve(self, socket: ServerConnection) -> None:
        request = socket.request
        assert request is not None
        self.headers.append(request.headers.get("Content-Type", ""))
        try:
            await send(socket, {"T": "success", "msg": "connected"})
            asked = msgpack.unpackb(await socket.recv())
            if asked["key"] != self.accepts:
                await send(socket, {"T": "error", "code": 402, "msg": "auth failed"})
                return
            await send(socket, {"T": "success", "msg": "authenticated"})
            self.subscriptions.append(msgpack.unpackb(await socket.recv()))
            act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
            await act(socket)
        except ConnectionClosed:
            return


@contextlib.asynccontextmanager
async def feed_server() -> AsyncIterator[FeedServer]:
    """Serve until the block ends."""
    feed = FeedServer()
    async with serve(feed.serve, "127.0.0.1", 0) as server:
        feed.port = next(iter(server.sockets)).getsockname()[1]
        yield feed


async def send(socket: ServerConnection, *messages: Any) -> None:
    await socket.send(msgpack.packb(list(messages), datetime=True))


def say(*frames: Any, stay: bool = True) -> Act:
    """Confirm the subscription, then send frames: lists are packed, bytes go as they are."""

    async def act(socket: ServerConnection) -> None:
        await send(socket, {"T": "subscription", "bars": ["AAPL"]})
        for frame in frames:
            packed = msgpack.packb(frame, datetime=True) if isinstance(frame, list) else frame
            await socket.send(packed)
        if stay:
            await socket.wait_closed()

    return act


async def until(is_reached: Callable[[], bool], running: "asyncio.Future[Any]") -> None:
    """Let it run until the callbacks, which are synchronous, were told enough."""
    try:
        async with asyncio.timeout(8):
            while not is_reached():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait([running])
