"""The trade stream over real sockets: events in, exact fills out."""

import asyncio
import itertools
import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from domain.errors import ConfigError
from domain.orders import OrderState
from tests.support.alpaca_words import START, simulated
from tests.support.trade_stream_peer import (
    AUTHORIZED,
    LISTENING,
    Peer,
    a_stream,
    listening_to,
    sending,
    stay,
    until,
    update_json,
)


def fill_json(cumulative: int, **changes: Any) -> dict[str, Any]:
    fields = {
        "qty": "4",
        "price": "189.24",
        "position_qty": "4",
        "order": {"status": "partially_filled", "filled_qty": str(cumulative)},
        **changes,
    }
    return update_json("partial_fill", **fields)


@simulated
async def test_it_authenticates_listens_and_hands_over_exact_fills() -> None:
    peer = Peer()
    frames = [update_json("new"), json.dumps(fill_json(4)).encode()]
    async with peer.serving(sending(peer, *frames)), listening_to(peer.url) as heard:
        await until(lambda: len(heard.updates) == 2)

        assert heard.calls == ["ready", "update", "update"]
        assert peer.greetings[0] == [
            {"action": "authenticate", "data": {"key_id": "KEY", "secret_key": "SECRET"}},
            {"action": "listen", "data": {"streams": ["trade_updates"]}},
        ]
        assert heard.updates[0].fill is None
        fill = heard.updates[1].fill
        assert fill is not None
        assert (fill.quantity, fill.price) == (Decimal(4), Decimal("189.24"))
        assert fill.cumulative_quantity == Decimal(4)
        assert fill.execution_id == "2f63ea93"
        assert fill.client_order_id == "ob-1"


@simulated
async def test_c01_after_a_drop_it_reconnects_and_says_lost_and_ready_again() -> None:
    peer = Peer()

    async def drop_twice(socket: ServerConnection) -> None:
        await peer.greet(socket)
        await socket.send(json.dumps(update_json()))
        if peer.connections < 3:
            socket.transport.abort()
        await stay(socket)

    async with peer.serving(drop_twice), listening_to(peer.url) as heard:
        await until(lambda: heard.calls.count("ready") == 3)
        await asyncio.sleep(1)

        assert heard.calls.count("lost") == 2
        assert heard.calls[0] == "ready"
        assert [call for call in heard.calls if call != "update"] == [
            "ready", "lost", "ready", "lost", "ready",
        ]  # fmt: skip


@simulated
async def test_c02_ready_comes_with_the_confirmation_and_before_every_update() -> None:
    peer = Peer()

    async def eager(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(json.dumps(AUTHORIZED))
        await socket.recv()
        await socket.send(json.dumps(fill_json(4)))
        await asyncio.sleep(5)
        assert heard.calls == []
        await socket.send(json.dumps(LISTENING))
        await socket.send(json.dumps(fill_json(8)))
        await stay(socket)

    async with peer.serving(eager), listening_to(peer.url) as heard:
        await until(lambda: len(heard.updates) == 2)

        assert heard.calls == ["ready", "update", "update"]
        assert [u.order.filled_quantity for u in heard.updates] == [Decimal(4), Decimal(8)]


@simulated
async def test_c05_unknown_events_and_statuses_are_handed_over_and_the_stream_goes_on() -> None:
    peer = Peer()
    frames = [
        update_json("reorged", order={"status": "half_alive"}),
        {"stream": "stream_of_2031", "data": [1, 2]},
        {"something": "else"},
        update_json("trade_bust", qty="-4", price="189.24", previous_execution_id="x"),
        update_json("fill", qty="10", price="1", order={"status": "filled", "filled_qty": "10"}),
    ]
    async with peer.serving(sending(peer, *frames)), listening_to(peer.url) as heard:
        await until(lambda: len(heard.updates) == 3)

        odd, bust, filled = heard.updates
        assert (odd.event, odd.order.state) == ("reorged", OrderState.LIVE)
        assert odd.order.raw_status == "half_alive"
        assert (bust.event, bust.fill) == ("trade_bust", None)
        assert (odd.previous_execution_id, bust.previous_execution_id) == (None, "x")
        assert filled.order.state is OrderState.FILLED
        assert heard.unreadable == []
        assert heard.lost == []


@pytest.mark.parametrize(
    "frame",
    [
        "<html>502</html>",
        b"\x00\xff\x80garbage",
        "",
        "[]",
        "null",
        '{"stream":"trade_updates"}',
        '{"stream":"trade_updates","data":{"event":"new","order":{}}}',
        '{"stream":"trade_updates","data":{"event":"fill","order":NaN}}',
        json.dumps(fill_json(4, qty="NaN")),
        json.dumps(fill_json(4, qty="5")),
        json.dumps(fill_json(4, price="-1")),
        json.dumps(update_json(order={"qty": "1e400"})),
        "[" * 100_000,
    ],
    ids=lambda frame: repr(frame)[:40],
)
@simulated
async def test_c06_a_frame_that_cannot_be_read_is_reported_and_the_next_is_heard(
    frame: str | bytes,
) -> None:
    peer = Peer()
    async with peer.serving(sending(peer, frame, update_json())), listening_to(peer.url) as heard:
        await until(lambda: len(heard.updates) == 1)

        assert heard.calls == ["ready", "unreadable", "update"]
        assert heard.unreadable[0]
        assert peer.connections == 1


@simulated
async def test_c06_unreadable_frames_in_a_row_cost_the_connection() -> None:
    peer = Peer()

    async def garbage_first(socket: ServerConnection) -> None:
        await peer.greet(socket)
        if peer.connections == 1:
            for _ in range(100):
                await socket.send("garbage")
        await socket.send(json.dumps(update_json()))
        await stay(socket)

    async with peer.serving(garbage_first), listening_to(peer.url) as heard:
        await until(lambda: len(heard.updates) == 1)

        assert len(heard.unreadable) == 5
        assert "5 unreadable frames in a row" in heard.lost[0]


@simulated
async def test_c06_a_frame_of_fifty_megabytes_is_not_taken_in() -> None:
    peer = Peer()

    async def flood_first(socket: ServerConnection) -> None:
        await peer.greet(socket)
        if peer.connections == 1:
            await socket.send("x" * 50_000_000)
        await socket.send(json.dumps(update_json()))
        await stay(socket)

    async with peer.serving(flood_first), listening_to(peer.url) as heard:
        await until(lambda: len(heard.updates) == 1)

        assert "1009" in heard.lost[0]


async def test_c12_a_flood_leaves_turns_to_everybody_else() -> None:
    loop = asyncio.get_running_loop()
    peer = Peer()
    frame = json.dumps(fill_json(4))
    turn = 0
    updates_by_turn: Counter[int] = Counter()

    async def flood(socket: ServerConnection) -> None:
        await peer.greet(socket)
        for _ in range(10_000):
            await socket.send(frame)
        await stay(socket)

    def others() -> None:
        nonlocal turn
        turn += 1
        updates_by_turn[turn] = len(heard.updates)
        if len(heard.updates) < 10_000:
            loop.call_soon(others)

    async with peer.serving(flood), listening_to(peer.url) as heard:
        await until(lambda: "ready" in heard.calls, every=0.001)
        others()
        await until(lambda: len(heard.updates) == 10_000, seconds=60)

        counts = list(updates_by_turn.values())
        steps = [later - earlier for earlier, later in itertools.pairwise(counts)]
        assert max(steps) <= 64
        assert heard.lost == []


@simulated
async def test_c06_unreadable_frames_that_are_not_in_a_row_do_not_cost_the_connection() -> None:
    peer = Peer()
    frames = [*(["garbage"] * 4), update_json()] * 5
    async with peer.serving(sending(peer, *frames)), listening_to(peer.url) as heard:
        await until(lambda: len(heard.updates) == 5)

        assert len(heard.unreadable) == 20
        assert heard.lost == []


@simulated
async def test_it_remembers_when_the_server_last_spoke() -> None:
    peer = Peer()
    async with peer.serving(sending(peer)):
        stream = a_stream(peer.url)
        ready = asyncio.Event()
        task = asyncio.create_task(
            stream.run(
                on_ready=ready.set,
                on_update=lambda _: None,
                on_unreadable=lambda _: None,
                on_lost=lambda _: None,
            )
        )
        await ready.wait()

        assert stream.last_frame_at is not None
        assert (stream.last_frame_at - START).total_seconds() < 1
        task.cancel()
        await asyncio.wait([task])


@simulated
async def test_a_fill_without_an_execution_id_is_identified_by_the_orders_total() -> None:
    peer = Peer()
    frames = [fill_json(4, execution_id=None)]
    async with peer.serving(sending(peer, *frames)), listening_to(peer.url) as heard:
        await until(lambda: len(heard.updates) == 1)

        fill = heard.updates[0].fill
        assert fill is not None
        assert fill.execution_id == "61e69015:4"


def test_an_sdk_whose_private_parts_changed_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from alpaca.trading.stream import TradingStream

    from brokers.alpaca_socket import PINNED
    from transport.alpaca_connect import check_sdk

    check_sdk(TradingStream, PINNED)
    monkeypatch.setattr(TradingStream, "_start_ws", lambda self, extra: None)

    with pytest.raises(ConfigError, match=r"TradingStream\._start_ws .* alpaca-py==0\.44\.0"):
        check_sdk(TradingStream, PINNED)
