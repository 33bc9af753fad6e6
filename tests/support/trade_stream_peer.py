"""The broker's end of the trade stream over real sockets, and what our end called."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from brokers.alpaca_stream import AlpacaTradeStream, TradeStreamSettings
from domain.clock import LoopClock
from domain.orders import TradeUpdate
from domain.secrets import Secret
from tests.support.alpaca_words import START, order_json

AUTHORIZED = {
    "stream": "authorization",
    "data": {"status": "authorized", "action": "authenticate"},
}
LISTENING = {"stream": "listening", "data": {"streams": ["trade_updates"]}}
Handler = Callable[[ServerConnection], Awaitable[None]]


def update_json(event: str = "new", **changes: Any) -> dict[str, Any]:
    order_changes = changes.pop("order", {})
    return {
        "stream": "trade_updates",
        "data": {
            "event": event,
            "execution_id": "2f63ea93",
            "timestamp": "2026-11-20T15:04:05.498765432Z",
            "order": order_json(**{"status": event, **order_changes}),
            **changes,
        },
    }


class Peer:
    """The server's side: hand-shakes properly, then does what the test says."""

    def __init__(self) -> None:
        self.connections = 0
        self.attempts_at: list[float] = []
        self.greetings: list[list[Any]] = []
        self.open = 0
        self.url = ""

    @contextlib.asynccontextmanager
    async def serving(self, handler: Handler) -> AsyncIterator["Peer"]:
        async def counted(socket: ServerConnection) -> None:
            self.connections += 1
            self.open += 1
            self.attempts_at.append(asyncio.get_running_loop().time())
            try:
                await handler(socket)
            finally:
                self.open -= 1

        async with serve(counted, "127.0.0.1", 0, ping_interval=None, close_timeout=1) as server:
            self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"
            yield self

    async def greet(self, socket: ServerConnection) -> None:
        heard = [json.loads(await socket.recv())]
        await socket.send(json.dumps(AUTHORIZED))
        heard.append(json.loads(await socket.recv()))
        await socket.send(json.dumps(LISTENING))
        self.greetings.append(heard)


class Heard:
    """What the stream called, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.updates: list[TradeUpdate] = []
        self.lost: list[str] = []
        self.unreadable: list[str] = []

    def ready(self) -> None:
        self.calls.append("ready")

    def update(self, update: TradeUpdate) -> None:
        self.calls.append("update")
        self.updates.append(update)

    def is_unreadable(self, text: str) -> None:
        self.calls.append("unreadable")
        self.unreadable.append(text)

    def is_lost(self, reason: str) -> None:
        self.calls.append("lost")
        self.lost.append(reason)


def a_stream(url: str, **settings: Any) -> AlpacaTradeStream:
    return AlpacaTradeStream(
        TradeStreamSettings(url=url, **{"ping_interval_seconds": None, **settings}),
        key_id=Secret("KEY"),
        secret_key=Secret("SECRET"),
        clock=LoopClock(START, asyncio.get_running_loop()),
    )


@contextlib.asynccontextmanager
async def listening_to(url: str, **settings: Any) -> AsyncIterator[Heard]:
    heard = Heard()
    stream = a_stream(url, **settings)
    task = asyncio.create_task(
        stream.run(
            on_ready=heard.ready,
            on_update=heard.update,
            on_unreadable=heard.is_unreadable,
            on_lost=heard.is_lost,
        )
    )
    try:
        yield heard
    finally:
        if task.done():
            task.result()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(
    condition: Callable[[], bool], *, seconds: float = 300, every: float = 0.05
) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is any expression of the test
            await asyncio.sleep(every)


async def stay(socket: ServerConnection) -> None:
    await socket.wait_closed()


def sending(peer: Peer, *frames: Any) -> Handler:
    """Greet, send the frames (dicts as JSON), stay."""

    async def handler(socket: ServerConnection) -> None:
        await peer.greet(socket)
        for frame in frames:
            await socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))
        await stay(socket)

    return handler
