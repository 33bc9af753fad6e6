"""Against the chart endpoint in the form that yfinance 1.7.0 reads; Yahoo documents none."""

import datetime as dt
import string
import sys
import types
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from domain.clock import UTC, ManualClock
from domain.errors import ConfigError, ProviderUnavailable
from domain.ids import Symbol
from marketdata.events import EventKind
from marketdata.yahoo import YahooBars
from tests.support.bars import CALENDAR, EVENING
from tests.support.scripted_server import ScriptedServer, Step, answer, html
from transport.http import BoundedClient, HttpSettings

AAPL = Symbol("AAPL")
START, END = dt.date(2022, 12, 12), dt.date(2022, 12, 14)
PATH = "/v8/finance/chart/AAPL"


def opening(day: int) -> int:
    return int(dt.datetime(2022, 12, day, 14, 30, tzinfo=UTC).timestamp())


def chart(**changes: Any) -> dict[str, Any]:
    quote = {
        "open": [142.6999969482422, 149.5, 145.35000610351562],
        "high": [144.5, 149.97000122070312, 146.66000366210938],
        "low": [141.05999755859375, 144.24000549316406, 141.16000366210938],
        "close": [144.49000549316406, 145.47000122070312, 143.2100067138672],
        "volume": [70462700, 93886200, 82291200],
    }
    result = {
        "meta": {"symbol": "AAPL", "exchangeTimezoneName": "America/New_York"},
        "timestamp": [opening(12), opening(13), opening(14)],
        "indicators": {"quote": [quote | changes.pop("quote", {})], "adjclose": [{}]},
    }
    return {"chart": {"result": [result | changes], "error": None}}


def one_line(*, moment: str = "1670941800", close: str = "145.47") -> bytes:
    prices = ", ".join(f'"{name}": [{close}]' for name in ("open", "high", "low", "close"))
    quote = f'"indicators": {{"quote": [{{{prices}, "volume": [1]}}]}}'
    return f'{{"chart": {{"result": [{{"timestamp": [{moment}], {quote}}}]}}}}'.encode()


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        yield running


@pytest.fixture
async def source(server: ScriptedServer) -> AsyncIterator[YahooBars]:
    client = BoundedClient(HttpSettings(base_url=server.url), {})

    async def get(path: str, params: Any) -> tuple[int, bytes]:
        reply = await client.request("GET", path, params=tuple(params.items()))
        return reply.status, reply.body

    yield YahooBars(get, clock=ManualClock(EVENING), calendar=CALENDAR)
    await client.aclose()


async def test_bars_are_read_as_they_were_quoted(server: ScriptedServer, source: YahooBars) -> None:
    server.on("GET", PATH, answer(200, chart()))

    (bars,) = (await source.daily_bars([AAPL], START, END)).values()

    assert [bar.close for bar in bars] == [144.49, 145.47, 143.21]
    assert (bars[2].open, bars[2].high, bars[2].low) == (145.35, 146.66, 141.16)
    assert bars[0].at == dt.datetime(2022, 12, 12, 5, tzinfo=UTC)
    assert server.seen[0].params["interval"] == "1d"
    assert server.seen[0].params["period1"] == "1670821200"
    assert server.seen[0].params["period2"] == "1671080400"


async def test_a_share_class_is_written_with_a_dash(
    server: ScriptedServer, source: YahooBars
) -> None:
    server.on("GET", "/v8/finance/chart/BRK-B", answer(200, chart()))

    assert list(await source.daily_bars([Symbol("BRK.B")], START, END)) == ["BRK.B"]


async def test_a_null_in_any_column_is_a_hole(server: ScriptedServer, source: YahooBars) -> None:
    server.on("GET", PATH, answer(200, chart(quote={"volume": [1, None, 3]})))

    (bars,) = (await source.daily_bars([AAPL], START, END)).values()

    assert [bar.at.day for bar in bars] == [12, 14]


async def test_the_session_under_way_is_not_taken(
    server: ScriptedServer, source: YahooBars
) -> None:
    server.on("GET", PATH, answer(200, chart(timestamp=[opening(13), opening(14), opening(15)])))

    (bars,) = (await source.daily_bars([AAPL], START, dt.date(2022, 12, 20))).values()

    assert [bar.at.day for bar in bars] == [13, 14]


async def test_a_symbol_yahoo_does_not_know_is_absent(
    server: ScriptedServer, source: YahooBars
) -> None:
    error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
    server.on("GET", PATH, answer(404, {"chart": {"result": None, "error": error}}))
    server.on(
        "GET",
        "/v8/finance/chart/MSFT",
        answer(200, {"chart": {"result": None, "error": error}}),
    )

    assert await source.daily_bars([AAPL, Symbol("MSFT")], START, END) == {}


async def test_a_span_without_trading_has_no_columns(
    server: ScriptedServer, source: YahooBars
) -> None:
    empty: Any = {"chart": {"result": [{"meta": {}, "indicators": {"quote": [{}]}}], "error": None}}
    server.on("GET", PATH, answer(200, empty))

    assert await source.daily_bars([AAPL], START, END) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Too Many Requests",
        b"{}",
        b'{"chart": {}}',
        b'{"chart": {"result": [], "error": null}}',
        b'{"chart": {"result": [1], "error": null}}',
        b'{"chart": {"result": [{"timestamp": [1]}], "error": null}}',
        b'{"chart": {"result": [{"timestamp": [1], "indicators": {"quote": [{}]}}]}}',
        b'{"chart": {"result": [{"timestamp": [NaN]}]}}',
        b'{"chart": {"result": [{"timestamp": 1, "indicators": {"quote": [{}]}}]}}',
        b'{"chart": {"result": [{"timestamp": [1], "indicators": {"quote": [{"open": 7}]}}]}}',
        one_line(moment="1670941800000"),
        one_line(close="9" * 400),
    ],
)
async def test_an_answer_of_another_shape_is_an_unavailable_source(
    server: ScriptedServer, source: YahooBars, body: bytes
) -> None:
    server.on("GET", PATH, answer(200, body))

    with pytest.raises(ProviderUnavailable, match="yahoo"):
        await source.daily_bars([AAPL], START, END)


@pytest.mark.parametrize("bad", [html(500), answer(200, one_line(moment="1670941800000"))])
@pytest.mark.parametrize(("failing", "is_there"), [(1, True), (2, False)])
async def test_one_symbol_in_twenty_that_fails_leaves_the_others(
    server: ScriptedServer, source: YahooBars, bad: Step, failing: int, is_there: bool
) -> None:
    symbols = [Symbol(f"A{letter}") for letter in string.ascii_uppercase[:20]]
    for number, symbol in enumerate(symbols):
        act = bad if number < failing else answer(200, chart())
        server.on("GET", f"/v8/finance/chart/{symbol}", act)

    if is_there:
        assert list(await source.daily_bars(symbols, START, END)) == symbols[1:]
    else:
        with pytest.raises(ProviderUnavailable, match="yahoo"):
            await source.daily_bars(symbols, START, END)


async def test_a_refusal_is_an_unavailable_source(
    server: ScriptedServer, source: YahooBars
) -> None:
    server.on("GET", PATH, html(429))

    with pytest.raises(ProviderUnavailable, match="HTTP 429 for AAPL"):
        await source.daily_bars([AAPL], START, END)


async def test_splits_and_dividends_become_events(
    server: ScriptedServer, source: YahooBars
) -> None:
    listed = {
        "dividends": {"1": {"amount": 0.23, "date": opening(13)}, "2": {"amount": 1}, "3": None},
        "splits": {
            "1": {"date": opening(12), "numerator": 4, "denominator": 1, "splitRatio": "4:1"}
        },
    }
    server.on("GET", PATH, answer(200, chart(events=listed)))

    events = await source.events([AAPL], START, END)

    assert [(event.kind, event.date.day, event.detail) for event in events] == [
        (EventKind.SPLIT, 12, "4:1"),
        (EventKind.DIVIDEND, 13, "0.23"),
    ]


def connected(monkeypatch: pytest.MonkeyPatch, get: Callable[..., Any]) -> YahooBars:
    """A source on a stand-in for yfinance, which the suite does not install."""
    module = types.ModuleType("yfinance.data")
    module.YfData = lambda: types.SimpleNamespace(get=get)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "yfinance", types.ModuleType("yfinance"))
    monkeypatch.setitem(sys.modules, "yfinance.data", module)
    return YahooBars.connect(clock=ManualClock(EVENING), calendar=CALENDAR)


async def test_yfinance_is_asked_with_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def get(**call: Any) -> Any:
        asked.append(call)
        return types.SimpleNamespace(status_code=404, content=b"")

    assert await connected(monkeypatch, get).daily_bars([AAPL], START, END) == {}
    assert asked[0]["url"] == f"https://query2.finance.yahoo.com{PATH}"
    assert asked[0]["timeout"] == 15


async def test_what_yfinance_raises_is_an_unavailable_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def get(**_: Any) -> Any:
        raise RuntimeError("rate limited")

    with pytest.raises(ProviderUnavailable, match="rate limited"):
        await connected(monkeypatch, get).daily_bars([AAPL], START, END)


def test_without_yfinance_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yfinance", None)

    with pytest.raises(ConfigError, match="pip install yfinance"):
        YahooBars.connect(clock=ManualClock(EVENING), calendar=CALENDAR)
