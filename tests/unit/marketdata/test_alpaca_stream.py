"""Against Alpaca's documented market data stream: msgpack, a list in every frame."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from domain.clock import UTC, SystemClock
from domain.ids import Symbol
from domain.secrets import Secret
from marketdata.alpaca_stream import AlpacaTicks, TickSettings, tick_of
from marketdata.ticks import MinuteBar, Quote, Tick, Trade, TradingStatus

AAPL = Symbol("AAPL")
AT = dt.datetime(2022, 12, 14, 15, 30, tzinfo=UTC)
STAMP = msgpack.Timestamp.from_datetime(AT)
TRADE = {"T": "t", "S": "AAPL", "i": 1, "x": "V", "p": 143.25, "s": 100, "c": ["@"], "t": STAMP}
QUOTE = {"T": "q", "S": "AAPL", "bp": 143.2, "bs": 200, "ap": 143.3, "as": 100, "t": STAMP}
BAR = {"T": "b", "S": "AAPL", "o": 1.5, "h": 2, "l": 1, "c": 1.75, "v": 900, "n": 3, "t": STAMP}
HALT = {"T": "s", "S": "AAPL", "sc": "H", "sm": "Trading Halt", "rm": "News", "t": STAMP}

Act = Callable[[ServerConnection], Any]


class Feed:
    """The server's side: greets, checks keys, confirms, then does what the test wants."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.subscriptions: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.accepts = "key-of-a-test"
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


async def send(socket: ServerConnection, *messages: Any) -> None:
    await socket.send(msgpack.packb(list(messages)))


def say(*frames: Any, stay: bool = True) -> Act:
    """Confirm the subscription, then send frames: lists are packed, bytes go as they are."""

    async def act(socket: ServerConnection) -> None:
        await send(socket, {"T": "subscription", "bars": ["AAPL"]})
        for frame in frames:
            await socket.send(msgpack.packb(frame) if isinstance(frame, list) else frame)
        if stay:
            await socket.wait_closed()

    return act


@pytest.fixture
async def feed() -> AsyncIterator[Feed]:
    feed = Feed()
    async with serve(feed.serve, "127.0.0.1", 0) as server:
        feed.port = next(iter(server.sockets)).getsockname()[1]
        yield feed


class Notes:
    """What the callbacks were told, and a way to wait for it."""

    def __init__(self) -> None:
        self.ticks: list[Tick] = []
        self.unreadable: list[str] = []
        self.lost: list[str] = []
        self.ready = 0

    def on_ready(self) -> None:
        self.ready += 1


async def watch(feed: Feed, until: Callable[[Notes], bool], **changes: Any) -> Notes:
    settings = TickSettings(
        url=f"ws://127.0.0.1:{feed.port}/v2/iex",
        first_pause_seconds=0.01,
        refused_pause_seconds=changes.pop("refused_pause_seconds", 0.01),
        ready_seconds=changes.pop("ready_seconds", 3.0),
        **changes,
    )
    notes = Notes()
    stream = AlpacaTicks(
        settings,
        key_id=Secret("key-of-a-test"),
        secret_key=Secret("secret-of-a-test"),
        clock=SystemClock(),
    )
    task = asyncio.ensure_future(
        stream.run(
            [AAPL],
            on_ready=notes.on_ready,
            on_tick=notes.ticks.append,
            on_unreadable=notes.unreadable.append,
            on_lost=notes.lost.append,
        )
    )
    try:
        async with asyncio.timeout(8):
            while not until(notes):  # noqa: ASYNC110 - the callbacks are synchronous
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.wait([task])
    return notes


async def test_ticks_of_every_kind_arrive_in_order(feed: Feed) -> None:
    feed.acts = [say([TRADE, QUOTE], [BAR, BAR | {"T": "u"}, HALT])]

    notes = await watch(feed, lambda notes: len(notes.ticks) == 5)

    trade, quote, bar, correction, halt = notes.ticks
    assert isinstance(trade, Trade)
    assert (trade.symbol, trade.at, trade.price, trade.size) == (AAPL, AT, 143.25, 100)
    assert isinstance(quote, Quote)
    assert (quote.bid, quote.ask, quote.bid_size) == (143.2, 143.3, 200)
    assert isinstance(bar, MinuteBar)
    assert isinstance(correction, MinuteBar)
    assert (bar.bar.close, bar.is_correction, correction.is_correction) == (1.75, False, True)
    assert isinstance(halt, TradingStatus)
    assert (halt.is_halted, halt.reason) == (True, "News")
    assert notes.ready == 1


async def test_every_channel_is_subscribed_in_msgpack(feed: Feed) -> None:
    feed.acts = [say()]

    await watch(feed, lambda notes: notes.ready == 1)

    assert feed.subscriptions == [
        {
            "action": "subscribe",
            "bars": ["AAPL"],
            "updatedBars": ["AAPL"],
            "quotes": ["AAPL"],
            "trades": ["AAPL"],
            "statuses": ["AAPL"],
        }
    ]
    assert feed.headers == ["application/msgpack"]


async def test_an_odd_message_costs_itself_and_not_its_frame(feed: Feed) -> None:
    odd = [
        TRADE | {"t": "2022-12-14T15:30:00Z"},
        TRADE | {"p": -1},
        TRADE | {"p": float("nan")},
        TRADE | {"S": "not a symbol"},
        BAR | {"h": 0.5},
        {"T": "t"},
        "text",
        None,
    ]
    feed.acts = [say([*odd, TRADE])]

    notes = await watch(feed, lambda notes: bool(notes.ticks))

    assert len(notes.ticks) == 1
    assert len(notes.unreadable) == len(odd)
    assert notes.lost == []


async def test_what_is_unknown_is_passed_over_in_silence(feed: Feed) -> None:
    feed.acts = [say([{"T": "l", "S": "AAPL"}, {"T": "new kind"}, {"T": "subscription"}, TRADE])]

    notes = await watch(feed, lambda notes: bool(notes.ticks))

    assert (notes.unreadable, notes.ready) == ([], 1)


@pytest.mark.parametrize("frame", [b"\xc1", b"", "text", msgpack.packb({"T": "t"}), b"\x93\x01"])
async def test_a_frame_that_cannot_be_read_is_named_and_the_next_one_read(
    feed: Feed, frame: Any
) -> None:
    feed.acts = [say(frame, [TRADE])]

    notes = await watch(feed, lambda notes: bool(notes.ticks))

    assert len(notes.unreadable) == 1
    assert notes.lost == []


async def test_too_many_bad_frames_are_a_dead_connection(feed: Feed) -> None:
    feed.acts = [say(*[b"\xc1"] * 5), say([TRADE])]

    notes = await watch(feed, lambda notes: bool(notes.ticks))

    assert notes.lost == ["5 unreadable frames in a row"]
    assert notes.ready == 2


async def test_a_drop_is_reported_and_the_subscription_renewed(feed: Feed) -> None:
    feed.acts = [say([TRADE], stay=False), say([QUOTE])]

    notes = await watch(feed, lambda notes: len(notes.ticks) == 2)

    assert len(notes.lost) == 1
    assert len(feed.subscriptions) == 2


async def test_silence_is_a_dead_connection_when_a_bound_is_set(feed: Feed) -> None:
    feed.acts = [say(), say([TRADE])]

    notes = await watch(feed, lambda notes: bool(notes.ticks), silence_seconds=0.2)

    assert notes.lost == ["the stream said nothing for 0.2 s"]


async def test_a_server_that_never_confirms_is_given_up(feed: Feed) -> None:
    async def mute(socket: ServerConnection) -> None:
        await socket.wait_closed()

    feed.acts = [mute, say([TRADE])]

    notes = await watch(feed, lambda notes: bool(notes.ticks), ready_seconds=0.3)

    assert notes.lost == ["the stream was not ready before its deadline"]


async def test_refused_keys_are_tried_again_only_slowly(feed: Feed) -> None:
    feed.accepts = "another key"

    notes = await watch(feed, lambda notes: bool(notes.lost), refused_pause_seconds=60)

    assert "did not accept the keys (auth failed)" in notes.lost[0]
    assert "secret-of-a-test" not in notes.lost[0]


@pytest.mark.parametrize("code", [405, 406, 409])
async def test_a_refused_subscription_is_named(feed: Feed, code: int) -> None:
    async def refuse(socket: ServerConnection) -> None:
        await send(socket, {"T": "error", "code": code, "msg": "limit exceeded"})

    feed.acts = [refuse]

    notes = await watch(feed, lambda notes: bool(notes.lost), refused_pause_seconds=60)

    assert str(code) in notes.lost[0]


async def test_a_flood_leaves_the_loop_alive(feed: Feed) -> None:
    feed.acts = [say(*[[TRADE] * 20] * 500)]

    notes = await watch(feed, lambda notes: len(notes.ticks) == 10_000)

    assert notes.unreadable == []


def test_a_price_of_zero_is_no_quote_on_that_side() -> None:
    quote = tick_of(QUOTE | {"t": AT, "bp": 0, "bs": 0})

    assert isinstance(quote, Quote)
    assert (quote.bid, quote.ask) == (None, 143.3)
    assert not quote.is_crossed


def test_a_crossed_quote_says_so() -> None:
    quote = tick_of(QUOTE | {"t": AT, "bp": 143.4})

    assert isinstance(quote, Quote)
    assert quote.is_crossed


@pytest.mark.parametrize(("code", "is_halted"), [("H", True), ("T", False), ("", False)])
def test_a_halt_is_told_from_a_resumption(code: str, is_halted: bool) -> None:
    status = tick_of(HALT | {"t": AT, "sc": code})

    assert isinstance(status, TradingStatus)
    assert status.is_halted is is_halted
