"""What every bar source promises, whatever is behind it.

A new vendor adds one entry to ``SOURCES``: a function that gives a source over the same
three symbols, at the evening of 2022-12-14.
"""

import datetime as dt
import itertools
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from domain.clock import UTC, Clock, ManualClock
from domain.ids import Symbol
from domain.secrets import Secret
from marketdata.alpaca import AlpacaBars, AlpacaDataSettings
from marketdata.base import BarSource
from marketdata.crosscheck import CheckRules, CrossCheckedBars
from marketdata.csv_files import FileBars
from marketdata.recording import recording
from marketdata.sample import SampleBars
from marketdata.session_calendar import trading_date
from marketdata.store import BarStore
from marketdata.stored import StoredBars
from marketdata.yahoo import YahooBars
from tests.support.bars import CALENDAR, EVENING
from tests.support.scripted_server import Exchange, ScriptedServer, Seen, answer, reply_with
from transport.http import BoundedClient, HttpSettings

SYMBOLS = [Symbol("AAPL"), Symbol("GOOG"), Symbol("NVDA")]
UNKNOWN = Symbol("NOSUCH")
START, END = dt.date(2022, 11, 1), dt.date(2022, 12, 14)

Build = Callable[[Clock, Path, AsyncExitStack], Awaitable[BarSource]]


async def sample(clock: Clock, tmp_path: Path, stack: AsyncExitStack) -> BarSource:
    return SampleBars(clock=clock, calendar=CALENDAR)


async def files(clock: Clock, tmp_path: Path, stack: AsyncExitStack) -> BarSource:
    for symbol in SYMBOLS:
        lines = ["date,open,high,low,close,volume"]
        for bar in recording().bars(symbol, START, dt.date(2023, 1, 31)):
            figures = (bar.open, bar.high, bar.low, bar.close, bar.volume)
            lines.append(",".join([bar.at.date().isoformat(), *map(repr, figures)]))
        (tmp_path / f"{symbol}.csv").write_text("\n".join(lines), encoding="utf-8")
    return FileBars(tmp_path, clock=clock, calendar=CALENDAR)


async def alpaca(clock: Clock, tmp_path: Path, stack: AsyncExitStack) -> BarSource:
    server = await stack.enter_async_context(ScriptedServer())
    server.on("GET", "/v2/stocks/bars", reply_with(alpaca_page))
    source = AlpacaBars.connect(
        AlpacaDataSettings(data_url=server.url),
        key_id=Secret("key"),
        secret_key=Secret("secret"),
        clock=clock,
        calendar=CALENDAR,
    )
    stack.push_async_callback(source.aclose)
    return source


def alpaca_page(seen: Seen) -> Any:
    """Answer as Alpaca does: sorted by symbol, 50 bars a page."""
    start, end = (dt.datetime.fromisoformat(seen.params[name]) for name in ("start", "end"))
    rows = [
        (symbol, bar)
        for symbol in sorted(seen.params["symbols"].split(","))
        for bar in recording().bars(Symbol(symbol), dt.date(2022, 1, 1), dt.date(2023, 1, 31))
        if start <= bar.at <= end
    ]
    place = int(seen.params.get("page_token") or 0)
    bars: dict[str, list[Any]] = {}
    for symbol, bar in rows[place : place + 50]:
        figures = {"o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close, "v": bar.volume}
        stamp = bar.at.strftime("%Y-%m-%dT%H:%M:%SZ")
        bars.setdefault(symbol, []).append({"t": stamp, "n": 1, "vw": bar.close, **figures})
    token = str(place + 50) if place + 50 < len(rows) else None
    return {"bars": bars, "next_page_token": token}


async def stored(clock: Clock, tmp_path: Path, stack: AsyncExitStack) -> BarSource:
    upstream = await alpaca(clock, tmp_path, stack)
    return StoredBars(BarStore(tmp_path), upstream, clock=clock, calendar=CALENDAR)


async def cross_checked(clock: Clock, tmp_path: Path, stack: AsyncExitStack) -> BarSource:
    first = await files(clock, tmp_path, stack)
    return CrossCheckedBars(first, await sample(clock, tmp_path, stack), rules=CheckRules())


async def yahoo(clock: Clock, tmp_path: Path, stack: AsyncExitStack) -> BarSource:
    server = await stack.enter_async_context(ScriptedServer())
    server.on("GET", "*", yahoo_chart)
    client = BoundedClient(HttpSettings(base_url=server.url), {})
    stack.push_async_callback(client.aclose)

    async def get(path: str, params: Any) -> tuple[int, bytes]:
        reply = await client.request("GET", path, params=tuple(params.items()))
        return reply.status, reply.body

    return YahooBars(get, clock=clock, calendar=CALENDAR)


async def yahoo_chart(exchange: Exchange) -> None:
    """Answer as Yahoo does: columns, stamped with the open, one symbol a request."""
    seen = exchange.request
    start, end = (int(seen.params[name]) for name in ("period1", "period2"))
    symbol = Symbol(seen.path.rsplit("/", 1)[1])
    bars = [
        bar
        for bar in recording().bars(symbol, dt.date(2022, 1, 1), dt.date(2023, 1, 31))
        if start <= bar.at.timestamp() < end
    ]
    if symbol not in SYMBOLS:
        error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
        await answer(404, {"chart": {"result": None, "error": error}})(exchange)
        return
    quote = {
        name: [getattr(bar, name) for bar in bars]
        for name in ("open", "high", "low", "close", "volume")
    }
    opens = [int((bar.at + dt.timedelta(hours=9, minutes=30)).timestamp()) for bar in bars]
    result = {"meta": {}, "timestamp": opens, "indicators": {"quote": [quote]}}
    await answer(200, {"chart": {"result": [result], "error": None}})(exchange)


SOURCES: dict[str, Build] = {
    "sample": sample,
    "csv": files,
    "alpaca": alpaca,
    "yahoo": yahoo,
    "stored": stored,
    "cross-checked": cross_checked,
}


@pytest.fixture
async def clock() -> ManualClock:
    return ManualClock(EVENING)


@pytest.fixture(params=list(SOURCES), ids=str)
async def source(
    request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path
) -> AsyncIterator[BarSource]:
    async with AsyncExitStack() as stack:
        yield await SOURCES[request.param](clock, tmp_path, stack)


async def test_every_session_of_the_span_is_there_once_oldest_first(source: BarSource) -> None:
    bars = await source.daily_bars(SYMBOLS, START, END)

    expected = [session.date for session in CALENDAR.sessions(START, END)]
    assert sorted(bars) == SYMBOLS
    for series in bars.values():
        assert [trading_date(bar.at) for bar in series] == expected


async def test_bars_carry_their_symbol_and_the_recorded_prices(source: BarSource) -> None:
    bars = await source.daily_bars(SYMBOLS, START, END)

    assert bars.keys() == set(SYMBOLS)
    for symbol, series in bars.items():
        assert tuple(series) == recording().bars(symbol, START, END)


async def test_a_bar_starts_at_midnight_in_new_york_in_utc(source: BarSource) -> None:
    bars = await source.daily_bars([SYMBOLS[0]], dt.date(2022, 11, 3), dt.date(2022, 11, 8))

    assert [bar.at for bar in bars[SYMBOLS[0]]] == [
        dt.datetime(2022, 11, 3, 4, tzinfo=UTC),
        dt.datetime(2022, 11, 4, 4, tzinfo=UTC),
        dt.datetime(2022, 11, 7, 5, tzinfo=UTC),
        dt.datetime(2022, 11, 8, 5, tzinfo=UTC),
    ]


async def test_an_unknown_symbol_is_absent(source: BarSource) -> None:
    bars = await source.daily_bars([UNKNOWN, SYMBOLS[0]], START, END)

    assert list(bars) == [SYMBOLS[0]]


async def test_no_session_is_shown_before_it_is_over(source: BarSource, clock: ManualClock) -> None:
    clock.advance(-dt.timedelta(hours=1, microseconds=1))
    before = await source.daily_bars(SYMBOLS, START, dt.date(2023, 1, 31))
    clock.advance(dt.timedelta(microseconds=1))
    after = await source.daily_bars(SYMBOLS, START, dt.date(2023, 1, 31))

    assert {trading_date(series[-1].at).day for series in before.values()} == {13}
    assert {trading_date(series[-1].at).day for series in after.values()} == {14}


async def test_the_order_of_the_question_does_not_matter(source: BarSource) -> None:
    one = await source.daily_bars(SYMBOLS, START, END)
    two = await source.daily_bars([*reversed(SYMBOLS), SYMBOLS[0]], START, END)

    assert {symbol: tuple(bars) for symbol, bars in one.items()} == {
        symbol: tuple(bars) for symbol, bars in two.items()
    }


async def test_a_span_without_sessions_gives_nothing(source: BarSource) -> None:
    assert await source.daily_bars(SYMBOLS, dt.date(2022, 12, 10), dt.date(2022, 12, 11)) == {}
    assert await source.daily_bars(SYMBOLS, END, START) == {}


async def test_no_symbol_means_no_bars(source: BarSource) -> None:
    assert await source.daily_bars([], START, END) == {}


async def test_prices_are_possible(source: BarSource) -> None:
    bars = await source.daily_bars(SYMBOLS, START, END)

    assert all(bars[symbol] for symbol in SYMBOLS)
    for bar in itertools.chain.from_iterable(bars.values()):
        assert bar.has_range
        assert math.isfinite(bar.close)
        assert bar.close > 0
