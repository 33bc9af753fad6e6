"""The trade stream when the server refuses, kicks, redirects or is not there."""

import asyncio
import itertools
import json
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from tests.support.alpaca_words import simulated
from tests.support.scripted_server import ScriptedServer, answer, hang, reset
from tests.support.trade_stream_peer import (
    AUTHORIZED,
    Peer,
    listening_to,
    sending,
    stay,
    until,
    update_json,
)

REFUSED = {"stream": "authorization", "data": {"status": "unauthorized", "action": "authenticate"}}


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
async def test_an_error_of_the_server_is_no_refusal_of_the_keys() -> None:
    peer = Peer()
    broken = {"action": "error", "data": {"error_message": "internal server error"}}

    async def fail(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(json.dumps(broken))
        await socket.close()

    async with peer.serving(fail), listening_to(peer.url) as heard:
        await until(lambda: len(heard.lost) == 2)

        assert "internal server error" in heard.lost[0]
        assert "keys (" not in heard.lost[0]
        # Back after a second, not after the pause that refused keys earn.
        assert peer.attempts_at[1] - peer.attempts_at[0] < 3


@simulated
async def test_stopping_closes_the_socket() -> None:
    peer = Peer()
    async with peer.serving(sending(peer)):
        async with listening_to(peer.url) as heard:
            await until(lambda: "ready" in heard.calls)
            assert peer.open == 1
        await until(lambda: peer.open == 0)

        assert heard.lost == []
