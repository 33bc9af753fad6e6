"""The trade_updates WebSocket: JSON in binary frames, nothing replayed."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from brokers.exchange.events import Event, OrderChanged
from brokers.paper_server.venue import Venue
from brokers.paper_server.wire import Json, update_json

STREAM = "trade_updates"
_UNAUTHORIZED_CLOSE = 4001

CheckKeys = Callable[[str, str], bool]


class Subscriber:
    """One connection and what still has to be sent to it."""

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket
        self.queue: asyncio.Queue[Json] = asyncio.Queue()
        self.is_listening = False

    @property
    def peer(self) -> tuple[str, int] | None:
        """Address of the client."""
        client = self.websocket.client
        return (client.host, client.port) if client is not None else None


class TradeStream:
    """Publishes order events to every listening connection."""

    def __init__(self, venue: Venue, check_keys: CheckKeys) -> None:
        self._venue = venue
        self._check_keys = check_keys
        self.subscribers: list[Subscriber] = []
        self.closed_until = venue.now()
        self.is_refusing: Callable[[], bool] = lambda: False
        self.intercept: Callable[[Json], Sequence[Json]] = lambda message: (message,)
        venue.listen(self._publish)

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one connection until either side leaves."""
        if self._venue.now() < self.closed_until:
            # Before the handshake: the client sees an HTTP refusal.
            await websocket.close()
            return
        await websocket.accept()
        subscriber = Subscriber(websocket)
        self.subscribers.append(subscriber)
        writer = asyncio.ensure_future(_write(subscriber))
        try:
            with contextlib.suppress(WebSocketDisconnect):
                await self._read(subscriber)
        finally:
            self.subscribers.remove(subscriber)
            writer.cancel()

    def mute(self) -> None:
        """Leave the connections up and say nothing more on them."""
        for subscriber in self.subscribers:
            subscriber.is_listening = False

    def broadcast(self, message: Json) -> None:
        """Queue a message for every listening connection."""
        for subscriber in self.subscribers:
            if subscriber.is_listening:
                subscriber.queue.put_nowait(message)

    def _publish(self, events: Sequence[Event], before: int) -> None:
        for place, event in enumerate(events):
            if isinstance(event, OrderChanged) and event.name:
                message = update_json(event, self._venue.exchange.book, before + place + 1)
                for each in self.intercept(message):
                    self.broadcast(each)

    async def _read(self, subscriber: Subscriber) -> None:
        is_known = False
        while True:
            request = await _receive(subscriber.websocket)
            action = request.get("action")
            if action in ("authenticate", "auth"):
                is_known = self._authenticate(subscriber, request)
            elif action == "listen" and is_known:
                streams = request.get("data", {}).get("streams", [])
                subscriber.queue.put_nowait({"stream": "listening", "data": {"streams": streams}})
                subscriber.is_listening = STREAM in streams
            elif action == "listen":
                _authorization(subscriber, "unauthorized", "listen")
            else:
                subscriber.queue.put_nowait(
                    {"action": "error", "data": {"error_message": "internal server error"}}
                )

    def _authenticate(self, subscriber: Subscriber, request: Json) -> bool:
        data = request.get("data", {})
        key = data.get("key_id") or request.get("key") or ""
        secret = data.get("secret_key") or request.get("secret") or ""
        is_known = self._check_keys(str(key), str(secret)) and not self.is_refusing()
        _authorization(subscriber, "authorized" if is_known else "unauthorized", "authenticate")
        return is_known


def _authorization(subscriber: Subscriber, status: str, action: str) -> None:
    subscriber.queue.put_nowait(
        {"stream": "authorization", "data": {"status": status, "action": action}}
    )


async def _receive(websocket: WebSocket) -> Json:
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    try:
        request: Any = json.loads(message.get("text") or message.get("bytes") or b"")
    except ValueError:
        request = None
    return request if isinstance(request, dict) else {}


async def _write(subscriber: Subscriber) -> None:
    # The reader sees the end of the connection; sending into it is no error.
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            message = await subscriber.queue.get()
            # Alpaca's paper service sends binary frames, the live one text.
            await subscriber.websocket.send_bytes(json.dumps(message).encode())
