"""The trade stream when the server refuses, kicks, redirects or is not there."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from brokers.alpaca_stream import AlpacaTradeStream, TradeStreamSettings
from domain.clock import LoopClock
from domain.orders import TradeUpdate
from domain.secrets import Secret
from tests.support.alpaca_words import START, order_json, simulated
from tests.support.scripted_server import ScriptedServer, answer, hang, reset

AUTHORIZED = {
    "stream": "authorization",
    "data": {"status": "authorized", "action": "authenticate"},
}
REFUSED = {"stream": "authorization", "data": {"status": "unauthorized", "action": "authenticate"}}
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


@simulated
async def test_a_server_that_never_confirms_is_left_at_the_deadline() -> None:
    peer = Peer()

    async def silent(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(json.dumps(AUTHORIZED))
        await stay(socket)

    async with peer.serving(silent), listening_to(peer.url) as heard:
        await until(lambda: len(heard.lost) == 2)

        assert "ready" not in heard.calls
        assert "not ready before its deadline" in heard.lost[0]


@simulated
async def test_a_server_that_confirms_other_streams_is_left() -> None:
    peer = Peer()

    async def other(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(json.dumps(AUTHORIZED))
        await socket.recv()
        await socket.send(json.dumps({"stream": "listening", "data": {"streams": []}}))
        await stay(socket)

    async with peer.serving(other), listening_to(peer.url) as heard:
        await until(lambda: len(heard.lost) == 1)

        assert "does not send trade updates" in heard.lost[0]
        assert "ready" not in heard.calls


@simulated
async def test_c07_a_peer_that_answers_no_pings_is_noticed() -> None:
    loop = asyncio.get_running_loop()
    peer = Peer()

    async def freeze(socket: ServerConnection) -> None:
        await peer.greet(socket)
        if peer.connections == 1:
            socket.transport.pause_reading()
            await asyncio.sleep(3600)
        await stay(socket)

    async with (
        peer.serving(freeze),
        listening_to(peer.url, ping_interval_seconds=10, ping_timeout_seconds=20) as heard,
    ):
        await until(lambda: heard.calls.count("ready") == 2)

        assert loop.time() < 60


@simulated
async def test_without_pings_hours_of_silence_are_no_reason_to_leave() -> None:
    peer = Peer()

    async def quiet_day(socket: ServerConnection) -> None:
        await peer.greet(socket)
        await asyncio.sleep(6.5 * 3600)
        await socket.send(json.dumps(update_json()))
        await stay(socket)

    async with peer.serving(quiet_day), listening_to(peer.url) as heard:
        await until(lambda: len(heard.updates) == 1, seconds=86400, every=600)

        assert heard.calls == ["ready", "update"]


@simulated
async def test_c10_refused_keys_are_tried_at_most_a_few_times_a_minute() -> None:
    peer = Peer()

    async def refuse(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(json.dumps(REFUSED))
        await stay(socket)

    async with peer.serving(refuse), listening_to(peer.url) as heard:
        await asyncio.sleep(600)

        assert "did not accept the keys" in heard.lost[0]
        assert "ready" not in heard.calls
        gaps = [b - a for a, b in itertools.pairwise(peer.attempts_at)]
        assert min(gaps) >= 15
        assert len(gaps) >= 10


@simulated
async def test_c10_a_second_connection_that_is_kicked_backs_off() -> None:
    peer = Peer()

    async def kick(socket: ServerConnection) -> None:
        await socket.recv()
        message = {"action": "error", "data": {"error_message": "connection limit exceeded"}}
        await socket.send(json.dumps(AUTHORIZED))
        await socket.recv()
        await socket.send(json.dumps(message))
        await socket.close()

    async with peer.serving(kick), listening_to(peer.url) as heard:
        await asyncio.sleep(300)

        assert "connection limit exceeded" in heard.lost[0]
        gaps = [b - a for a, b in itertools.pairwise(peer.attempts_at)]
        assert gaps[0] < 2
        assert 15 <= gaps[-1] <= 31


@pytest.mark.parametrize(
    "step",
    [
        answer(429, b"", {"Retry-After": "7"}),
        answer(200, b"<html>hello</html>"),
        answer(503),
        reset,
        hang,
    ],
)
@simulated
async def test_a_handshake_that_fails_is_reported_and_tried_again(step: Any) -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/stream", step)
        url = server.url.replace("http", "ws") + "/stream"
        async with listening_to(url) as heard:
            await until(lambda: len(heard.lost) == 3)

            assert set(heard.calls) == {"lost"}


@simulated
async def test_a22_keys_are_not_carried_to_where_a_redirect_points() -> None:
    peer = Peer()
    async with ScriptedServer() as server, peer.serving(sending(peer)):
        server.on("GET", "/stream", answer(302, b"", {"Location": peer.url}))
        async with listening_to(server.url.replace("http", "ws") + "/stream") as heard:
            await until(lambda: len(heard.lost) == 1)

            assert "redirects to" in heard.lost[0]
            assert peer.connections == 0


@simulated
async def test_nobody_listening_is_reported_and_tried_again() -> None:
    async with listening_to("ws://127.0.0.1:9/stream") as heard:
        await until(lambda: len(heard.lost) == 2)

        assert "refused" in heard.lost[0].lower()


@simulated
async def test_a_first_frame_of_no_known_form_is_a_loss_and_not_a_refusal() -> None:
    for frame in ("[]", "garbage", '{"data":null}'):
        peer = Peer()

        async def odd(socket: ServerConnection, frame: str = frame) -> None:
            await socket.recv()
            await socket.send(frame)
            await stay(socket)

        async with peer.serving(odd), listening_to(peer.url) as heard:
            await until(lambda: len(heard.lost) == 1)

            assert "no known form" in heard.lost[0]


@simulated
async def test_stopping_closes_the_socket() -> None:
    peer = Peer()
    async with peer.serving(sending(peer)):
        async with listening_to(peer.url) as heard:
            await until(lambda: "ready" in heard.calls)
            assert peer.open == 1
        await until(lambda: peer.open == 0)

        assert heard.lost == []
