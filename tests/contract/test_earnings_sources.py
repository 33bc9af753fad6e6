"""What every source of earnings dates promises, whatever is behind it.

A new vendor adds one entry to ``SOURCES``: a function that gives a source over the same
calendar.  Each vendor answers in its documented wire format; see the modules.
"""

import datetime as dt
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from domain.clock import UTC, ManualClock
from domain.errors import ProviderRefused, ProviderUnavailable
from domain.ids import Symbol
from domain.secrets import Secret
from marketdata.alphavantage import AlphaVantageEarnings
from marketdata.earnings import JoinedEvents, RememberedEarnings
from marketdata.event_files import FileEvents
from marketdata.events import EventKind, EventSource
from marketdata.finnhub import FinnhubEarnings
from marketdata.yahoo_earnings import YahooEarnings
from tests.support.scripted_server import ScriptedServer, Seen, answer, reply_with, reset

AAPL, BRK, UNKNOWN = Symbol("AAPL"), Symbol("BRK.B"), Symbol("NOSUCH")
START, END = dt.date(2022, 12, 14), dt.date(2023, 2, 28)
NOW = dt.datetime(2022, 12, 14, 12, tzinfo=UTC)
REPORTS = {AAPL: dt.date(2023, 2, 2), BRK: dt.date(2023, 2, 25)}
LATER = dt.date(2023, 5, 4)

# https://www.alphavantage.co/documentation/#earnings-calendar
VANTAGE = (
    "symbol,name,reportDate,fiscalDateEnding,estimate,currency,timeOfTheDay\r\n"
    "AAPL,APPLE INCORPORATED,2023-02-02,2022-12-31,1.94,USD,post-market\r\n"
    "AAPL,APPLE INCORPORATED,2023-05-04,2023-03-31,,USD,\r\n"
    'BRK-B,"BERKSHIRE HATHAWAY, INC. CLASS B",2023-02-25,2022-12-31,,USD,\r\n'
    "ZZZ,NO DATE YET,,2022-12-31,,USD,\r\n"
)
# https://finnhub.io/docs/api/earnings-calendar
FINNHUB = [
    {
        "date": day.isoformat(),
        "epsActual": None,
        "epsEstimate": 1.94,
        "hour": "amc",
        "quarter": 1,
        "revenueActual": None,
        "revenueEstimate": 121_000_000_000,
        "symbol": str(symbol),
        "year": 2023,
    }
    for symbol, day in [*REPORTS.items(), (AAPL, LATER)]
]

Build = Callable[[Path, AsyncExitStack], Awaitable[EventSource]]


async def scripted(stack: AsyncExitStack, path: str, act: Any) -> ScriptedServer:
    server = await stack.enter_async_context(ScriptedServer())
    server.on("GET", path, act)
    return server


async def alphavantage(tmp_path: Path, stack: AsyncExitStack) -> EventSource:
    server = await scripted(stack, "/query", answer(200, VANTAGE.encode()))
    source = AlphaVantageEarnings.connect(key=Secret("vantage-key"), url=server.url)
    stack.push_async_callback(source.aclose)
    return source


def finnhub_page(seen: Seen) -> Any:
    rows = [row for row in FINNHUB if seen.params["from"] <= str(row["date"]) <= seen.params["to"]]
    return {"earningsCalendar": rows}


async def finnhub(tmp_path: Path, stack: AsyncExitStack) -> EventSource:
    server = await scripted(stack, "/api/v1/calendar/earnings", reply_with(finnhub_page))
    source = FinnhubEarnings.connect(key=Secret("finnhub-key"), url=server.url)
    stack.push_async_callback(source.aclose)
    return source


async def yahoo(tmp_path: Path, stack: AsyncExitStack) -> EventSource:
    return YahooEarnings(yahoo_answer)


async def yahoo_answer(path: str, params: Mapping[str, str]) -> tuple[int, bytes]:
    assert params["modules"] == "calendarEvents"
    days = {"AAPL": REPORTS[AAPL], "BRK-B": REPORTS[BRK]}
    day = days.get(path.rpartition("/")[2])
    if day is None:
        error = {"code": "Not Found", "description": "Quote not found for symbol"}
        return 404, json.dumps({"quoteSummary": {"result": None, "error": error}}).encode()
    return 200, summary(moment(day, 21))


def moment(day: dt.date, hour: int = 0) -> int:
    return int(dt.datetime(day.year, day.month, day.day, hour, tzinfo=UTC).timestamp())


def summary(*moments: Any) -> bytes:
    earnings = {"earningsDate": list(moments), "earningsAverage": 1.94}
    events = {"maxAge": 1, "earnings": earnings, "exDividendDate": 1675987200}
    result = [{"calendarEvents": events}]
    return json.dumps({"quoteSummary": {"result": result, "error": None}}).encode()


async def own_file(tmp_path: Path, stack: AsyncExitStack) -> EventSource:
    lines = [f"{symbol},{day},earnings" for symbol, day in REPORTS.items()]
    path = tmp_path / "events.csv"
    path.write_text("\n".join(["symbol,date,kind", *lines, f"AAPL,{LATER},earnings"]))
    return FileEvents(path)


async def joined(tmp_path: Path, stack: AsyncExitStack) -> EventSource:
    empty = tmp_path / "none.csv"
    empty.write_text("symbol,date,kind\n")
    return JoinedEvents([FileEvents(empty), await own_file(tmp_path, stack)])


async def remembered(tmp_path: Path, stack: AsyncExitStack) -> EventSource:
    vendor = await finnhub(tmp_path, stack)
    return RememberedEarnings(vendor, tmp_path / "kept.csv", clock=ManualClock(NOW))


SOURCES: list[Build] = [alphavantage, finnhub, yahoo, own_file, joined, remembered]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.mark.parametrize("build", SOURCES, ids=lambda build: build.__name__)
async def test_the_reports_of_the_symbols_asked_for_inside_the_span_oldest_first(
    build: Build, tmp_path: Path, stack: AsyncExitStack
) -> None:
    source = await build(tmp_path, stack)

    found = await source.events([BRK, AAPL, UNKNOWN], START, END)

    assert [(event.symbol, event.date) for event in found] == list(REPORTS.items())
    assert {event.kind for event in found} == {EventKind.EARNINGS}
    assert await source.events([AAPL], START, START) == []


async def test_the_key_travels_where_the_vendor_wants_it(stack: AsyncExitStack) -> None:
    vantage = await scripted(stack, "/query", answer(200, VANTAGE.encode()))
    hub = await scripted(stack, "/api/v1/calendar/earnings", reply_with(finnhub_page))
    one = AlphaVantageEarnings.connect(key=Secret("vantage-key"), url=vantage.url)
    two = FinnhubEarnings.connect(key=Secret("finnhub-key"), url=hub.url)

    for source in (one, two):
        await source.events([AAPL], START, START)
        await source.aclose()

    assert vantage.seen[0].params == {
        "function": "EARNINGS_CALENDAR",
        "horizon": "3month",
        "apikey": "vantage-key",
    }
    assert hub.seen[0].headers["x-finnhub-token"] == "finnhub-key"
    assert "finnhub-key" not in hub.seen[0].path


LIMIT = (
    "We have detected your API key as vantage-key and our standard API rate limit is 25 requests"
    " per day. Please subscribe to any of the premium plans."
)
INVALID = (
    "the parameter apikey is invalid or missing. Please claim your free API key on"
    " (https://www.alphavantage.co/support/#api-key). It should take less than 20 seconds."
)


@pytest.mark.parametrize(
    ("act", "error", "part"),
    [
        (answer(200, {"Information": LIMIT}), ProviderUnavailable, "25 requests per day"),
        (answer(200, {"Error Message": INVALID}), ProviderRefused, "check ALPHAVANTAGE_API_KEY"),
        (answer(200, b"symbol,name\r\nAAPL,APPLE\r\n"), ProviderUnavailable, "column reportDate"),
        (answer(200, VANTAGE.splitlines()[0].encode()), ProviderUnavailable, "is empty"),
        (answer(200, b"\xff\xfe"), ProviderUnavailable, "not UTF-8"),
        (answer(200, b"<html>"), ProviderUnavailable, "no column symbol"),
        (answer(200, b'symbol,reportDate\n"' + b"a" * 200_000), ProviderUnavailable, "no CSV"),
        (answer(503, b"down"), ProviderUnavailable, "HTTP 503"),
        (reset, ProviderUnavailable, "query"),
    ],
)
async def test_what_alpha_vantage_says_instead_of_a_calendar(
    stack: AsyncExitStack, act: Any, error: type[Exception], part: str
) -> None:
    server = await scripted(stack, "/query", act)
    source = AlphaVantageEarnings.connect(key=Secret("vantage-key"), url=server.url)
    stack.push_async_callback(source.aclose)

    with pytest.raises(error, match=part) as raised:
        await source.events([AAPL], START, END)

    assert "vantage-key" not in str(raised.value)
    assert isinstance(raised.value, ProviderRefused) is (error is ProviderRefused)


@pytest.mark.parametrize(
    ("act", "error", "part"),
    [
        (answer(401, {"error": "Invalid API key"}), ProviderRefused, "check FINNHUB_API_KEY"),
        (answer(403, {"error": "no access"}), ProviderRefused, "check FINNHUB_API_KEY"),
        (answer(429, {"error": "API limit reached."}), ProviderUnavailable, "HTTP 429"),
        (answer(200, {"earningsCalendar": None}), ProviderUnavailable, "no calendar"),
        (answer(200, {"earningsCalendar": FINNHUB * 500}), ProviderUnavailable, "cut off"),
        (answer(200, b"[NaN]"), ProviderUnavailable, "finnhub"),
    ],
)
async def test_what_finnhub_says_instead_of_a_calendar(
    stack: AsyncExitStack, act: Any, error: type[Exception], part: str
) -> None:
    server = await scripted(stack, "/api/v1/calendar/earnings", act)
    source = FinnhubEarnings.connect(key=Secret("finnhub-key"), url=server.url)
    stack.push_async_callback(source.aclose)

    with pytest.raises(error, match=part):
        await source.events([AAPL], START, END)


@pytest.mark.parametrize("is_dressed", [True, False])
async def test_a_window_of_yahoo_keeps_out_on_every_day_of_it(is_dressed: bool) -> None:
    first, last = dt.date(2023, 1, 30), dt.date(2023, 2, 2)
    told: list[Any] = [moment(first), moment(last)]
    told = [{"raw": one, "fmt": "2023"} for one in told] if is_dressed else told

    async def get(path: str, params: Mapping[str, str]) -> tuple[int, bytes]:
        return 200, summary(*told)

    found = await YahooEarnings(get).events([AAPL], START, END)

    assert [event.date.day for event in found] == [30, 31, 1, 2]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"quoteSummary": {"result": []}}',
        b'{"quoteSummary": {"result": [null]}}',
        b'{"quoteSummary": {"result": [{"calendarEvents": [7]}]}}',
        summary("x"),
    ],
)
async def test_a_calendar_of_yahoo_that_cannot_be_read_is_no_calendar(body: bytes) -> None:
    async def get(path: str, params: Mapping[str, str]) -> tuple[int, bytes]:
        return 200, body

    with pytest.raises(ProviderUnavailable):
        await YahooEarnings(get).events([AAPL], START, END)


class Vendor:
    """Answers until it is told not to."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.asked: list[dt.date] = []

    async def events(self, symbols: Any, start: dt.date, end: dt.date) -> Any:
        self.asked.append(start)
        if self.failure is not None:
            raise self.failure
        return await FileEvents(self.path).events(symbols, start, end)

    path: Path


@pytest.mark.parametrize(
    ("days", "symbols", "is_there"),
    [(0, [AAPL], True), (7, [AAPL, BRK], True), (8, [AAPL], False), (1, [UNKNOWN], False)],
)
async def test_what_was_kept_stands_in_for_a_week_and_for_the_same_symbols(
    tmp_path: Path, stack: AsyncExitStack, days: int, symbols: list[Symbol], is_there: bool
) -> None:
    clock, vendor = ManualClock(NOW), Vendor()
    await own_file(tmp_path, stack)
    vendor.path = tmp_path / "events.csv"
    source = RememberedEarnings(vendor, tmp_path / "kept" / "earnings.csv", clock=clock)
    await source.events([AAPL, BRK], START - dt.timedelta(days=120), END)
    vendor.failure = ProviderUnavailable("down")
    clock.advance(dt.timedelta(days=days))

    if is_there:
        found = await source.events(symbols, START, END)
        assert [event.symbol for event in found] == symbols
    else:
        with pytest.raises(ProviderUnavailable, match="down"):
            await source.events(symbols, START, END)
    # Nobody is asked for reports that are past.
    assert vendor.asked[0] == START - dt.timedelta(days=1)


async def test_a_refused_key_is_not_hidden_by_what_was_kept(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    vendor = Vendor()
    await own_file(tmp_path, stack)
    vendor.path = tmp_path / "events.csv"
    source = RememberedEarnings(vendor, tmp_path / "earnings.csv", clock=ManualClock(NOW))
    await source.events([AAPL], START, END)
    vendor.failure = ProviderRefused("the key was refused")

    with pytest.raises(ProviderRefused):
        await source.events([AAPL], START, END)
