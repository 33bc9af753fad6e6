"""Against Alpaca's documented market data stream: msgpack, a list in every frame."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from domain.clock import UTC, SystemClock
from domain.ids import Symbol
from domain.secrets import Secret
from marketdata.alpaca_stream import AlpacaTicks, TickSettings, tick_of
from marketdata.ticks import MinuteBar, Quote, Tick, Trade, TradeTakenBack, TradingStatus
from tests.support.feed_server import KEY, SECRET, FeedServer, feed_server, say, until

AAPL = Symbol("AAPL")
AT = dt.datetime(2022, 12, 14, 15, 30, tzinfo=UTC)
STAMP = msgpack.Timestamp.from_datetime(AT)
TRADE = {"T": "t", "S": "AAPL", "i": 1, "x": "V", "p": 143.25, "s": 100, "c": ["@"], "t": STAMP}
QUOTE = {"T": "q", "S": "AAPL", "bp": 143.2, "bs": 200, "ap": 143.3, "as": 100, "t": STAMP}
BAR = {"T": "b", "S": "AAPL", "o": 1.5, "h": 2, "l": 1, "c": 1.75, "v": 900, "n": 3, "t": STAMP}
HALT = {"T": "s", "S": "AAPL", "sc": "H", "sm": "Trading Halt", "rm": "News", "t": STAMP}


@pytest.fixture
async def feed() -> AsyncIterator[FeedServer]:
    async with feed_server() as feed:
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


async def watch(feed: FeedServer, is_enough: Callable[[Notes], bool], **changes: Any) -> Notes:
    settings = TickSettings(
        url=f"ws://127.0.0.1:{feed.port}/v2/iex", first_pause_seconds=0.01, **changes
    )
    notes = Notes()
    stream = AlpacaTicks(
        settings, key_id=Secret(KEY), secret_key=Secret(SECRET), clock=SystemClock()
    )
    run = stream.run(
        [AAPL],
        on_ready=notes.on_ready,
        on_tick=notes.ticks.append,
        on_unreadable=notes.unreadable.append,
        on_lost=notes.lost.append,
    )
    await until(lambda: is_enough(notes), asyncio.ensure_future(run))
    return notes


async def test_ticks_of_every_kind_arrive_in_order(feed: FeedServer) -> None:
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


async def test_every_channel_is_subscribed_in_msgpack(feed: FeedServer) -> None:
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


async def test_an_odd_message_costs_itself_and_not_its_frame(feed: FeedServer) -> None:
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


def traded(conditions: list[str], tape: str) -> bool:
    return tick_of(TRADE | {"t": AT, "c": conditions, "z": tape}) is not None


@pytest.mark.parametrize("condition", ["T", "U", "Z", "W", "4", "P", "7", "M", "C"])
def test_a_trade_that_was_not_made_at_the_market_of_its_moment_tells_no_price(
    condition: str,
) -> None:
    assert not traded([" ", condition], "A")
    assert not traded(["@", condition, "I"], "C")


@pytest.mark.parametrize(
    "conditions", [[], ["@"], [" "], ["@", "I"], ["@", "F"], ["O"], ["6"], ["X"]]
)
def test_a_trade_at_the_market_tells_its_price(conditions: list[str]) -> None:
    assert traded(conditions, "B")
    assert traded(conditions, "C")


def test_an_average_price_is_told_from_a_bunched_trade_by_its_tape() -> None:
    assert not traded(["B"], "A")
    assert traded(["B"], "C")


def test_a_trade_that_the_exchange_cancels_or_corrects_is_taken_back_by_its_number() -> None:
    canceled = {"T": "x", "S": "AAPL", "i": 7, "x": "V", "p": 143.25, "s": 100, "a": "C", "t": AT}
    corrected = {"T": "c", "S": "AAPL", "x": "V", "oi": 7, "op": 14.3, "ci": 8, "cp": 143, "t": AT}

    for message in (canceled, corrected):
        assert tick_of(message) == TradeTakenBack(symbol=AAPL, number=7)
    trade = tick_of(TRADE | {"t": AT, "i": 7})
    assert isinstance(trade, Trade)
    assert trade.number == 7


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
