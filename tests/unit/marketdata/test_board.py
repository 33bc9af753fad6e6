"""The live market as the board shows it, and what it has against entries."""

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest

from domain.clock import UTC, ManualClock
from domain.errors import ProviderUnavailable
from domain.ids import Symbol
from domain.market import Bar
from marketdata.board import MarketBoard
from marketdata.ticks import MinuteBar, Quote, Trade, TradeTakenBack, TradingStatus
from tests.support.bars import CALENDAR

AA, BB = Symbol("AA"), Symbol("BB")
OPEN = dt.datetime(2022, 12, 14, 14, 30, tzinfo=UTC)
NOW = OPEN + dt.timedelta(minutes=10)


def minute(number: int, close: float = 100.0, symbol: Symbol = AA) -> Bar:
    at = OPEN + dt.timedelta(minutes=number)
    return Bar(symbol=symbol, at=at, open=close, high=close, low=close, close=close, volume=1)


def told(number: int, close: float = 100.0, *, is_correction: bool = False) -> MinuteBar:
    return MinuteBar(bar=minute(number, close), is_correction=is_correction)


def quote(bid: float | None, ask: float | None) -> Quote:
    return Quote(symbol=AA, at=NOW, bid=bid, ask=ask, bid_size=1, ask_size=1)


def status(*, is_halted: bool) -> TradingStatus:
    return TradingStatus(symbol=AA, at=NOW, is_halted=is_halted, reason="News pending")


class Minutes:
    """What the archive of minutes has, and what it was asked."""

    def __init__(self, *bars: Bar) -> None:
        self.bars = bars
        self.asked: list[tuple[dt.datetime, dt.datetime]] = []
        self.is_down = False

    async def minute_bars(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime, *, minutes: int
    ) -> Mapping[Symbol, Sequence[Bar]]:
        self.asked.append((start, end))
        if self.is_down:
            raise ProviderUnavailable("down")
        return {AA: [bar for bar in self.bars if start <= bar.at < end]}


class Stream:
    """A TickStream whose callbacks the test calls."""

    on: dict[str, Callable[..., None]]

    def __init__(self) -> None:
        self.has_bug = asyncio.Event()

    async def run(self, symbols: Iterable[Symbol], **callbacks: Any) -> None:
        self.on = callbacks
        await self.has_bug.wait()
        raise KeyError("qty")


def board(minutes: Minutes | None = None, clock: ManualClock | None = None) -> MarketBoard:
    return MarketBoard(minutes or Minutes(), clock=clock or ManualClock(NOW), calendar=CALENDAR)


def test_it_shows_what_was_told_last() -> None:
    shown = board()
    trade = Trade(symbol=AA, at=NOW, price=100.5, size=10)

    for tick in (quote(99, 101), quote(100, 101), trade, told(0), told(1, 101)):
        shown.take(tick)

    assert shown.quote(AA) == quote(100, 101)
    assert shown.trade(AA) == trade
    assert [bar.close for bar in shown.minute_bars(AA)] == [100, 101]
    assert shown.minute_bars(BB) == ()
    assert shown.doubts() == {}


def test_the_price_of_a_trade_that_was_taken_back_is_none() -> None:
    shown = board()
    shown.take(Trade(symbol=AA, at=NOW, price=89.0, size=10, number=7))

    shown.take(TradeTakenBack(symbol=AA, number=6))
    assert shown.last_price(AA) == 89

    shown.take(TradeTakenBack(symbol=AA, number=7))
    assert shown.last_price(AA) is None


def test_a_late_minute_takes_its_place_and_a_correction_replaces_it() -> None:
    shown = board()

    for tick in (told(2), told(0), told(1), told(1, 101, is_correction=True)):
        shown.take(tick)

    assert [bar.close for bar in shown.minute_bars(AA)] == [100, 101, 100]


def test_g07_a_halt_speaks_against_entries_until_trading_resumes() -> None:
    shown = board()

    shown.take(status(is_halted=True))
    assert shown.doubts() == {AA: "halted: News pending"}

    shown.take(status(is_halted=False))
    assert shown.doubts() == {}


def test_g13_a_crossed_quote_speaks_against_entries_while_it_is_crossed() -> None:
    shown = board()

    shown.take(quote(101, 100))
    assert "bid" in shown.doubts()[AA]

    shown.take(quote(100, 101))
    assert shown.doubts() == {}


@pytest.mark.parametrize("close", [1_000.0, 10.0])
def test_g06_a_spike_of_a_minute_is_not_shown_and_speaks_against_entries(close: float) -> None:
    shown = board()

    for tick in (told(0), told(1, close), told(2, close)):
        shown.take(tick)

    assert [bar.close for bar in shown.minute_bars(AA)] == [100]
    assert "minute 14:31 UTC" in shown.doubts()[AA] or "minute 14:32 UTC" in shown.doubts()[AA]


@pytest.mark.parametrize("number", [-1, 10, 390])
def test_minutes_outside_the_session_and_of_the_future_are_left_out(number: int) -> None:
    shown = board()

    shown.take(told(number))

    assert shown.minute_bars(AA) == ()


def test_a_new_session_begins_with_an_empty_page() -> None:
    clock = ManualClock(NOW)
    shown = board(clock=clock)
    for tick in (told(0), quote(101, 100), status(is_halted=True)):
        shown.take(tick)

    clock.advance(dt.timedelta(days=1))
    shown.take(Trade(symbol=AA, at=clock.now(), price=100, size=1))

    assert (shown.minute_bars(AA), shown.quote(AA), dict(shown.doubts())) == ((), None, {})


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_minutes_missed_before_and_between_connections_are_read() -> None:
    clock, stream = ManualClock(NOW), Stream()
    minutes = Minutes(*(minute(number) for number in range(30)))
    shown = board(minutes, clock)

    async with shown.listening(stream, [AA]):
        await settle()
        assert not shown.is_connected
        stream.on["on_ready"]()
        await settle()
        assert (shown.is_connected, len(shown.minute_bars(AA))) == (True, 10)

        stream.on["on_tick"](quote(101, 100))
        stream.on["on_lost"]("reset")
        assert (shown.is_connected, shown.quote(AA), dict(shown.doubts())) == (False, None, {})

        clock.advance(dt.timedelta(minutes=5))
        stream.on["on_ready"]()
        await settle()

    assert len(shown.minute_bars(AA)) == 15
    # The second time only the hole is asked for, with an overlap.
    assert [start for start, _ in minutes.asked] == [OPEN, NOW - dt.timedelta(minutes=2)]


async def test_a_hole_that_could_not_be_filled_is_asked_for_again() -> None:
    clock, stream = ManualClock(NOW), Stream()
    minutes = Minutes(*(minute(number) for number in range(30)))
    minutes.is_down = True
    shown = board(minutes, clock)

    async with shown.listening(stream, [AA]):
        await settle()
        stream.on["on_ready"]()
        await settle()
        stream.on["on_lost"]("reset")
        minutes.is_down = False
        stream.on["on_ready"]()
        await settle()

    assert [start for start, _ in minutes.asked] == [OPEN, OPEN]
    assert len(shown.minute_bars(AA)) == 10


async def test_a_stream_that_ends_for_good_leaves_nothing_of_before_on_the_board() -> None:
    clock, stream = ManualClock(NOW), Stream()
    shown = board(Minutes(), clock)

    async with shown.listening(stream, [AA]):
        await settle()
        stream.on["on_ready"]()
        stream.on["on_tick"](quote(100, 101))
        stream.has_bug.set()
        await settle()

        assert (shown.is_connected, shown.quote(AA)) == (False, None)
