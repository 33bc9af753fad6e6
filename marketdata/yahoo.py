"""Daily bars, splits and dividends from Yahoo's chart endpoint, by way of yfinance.

Yahoo documents nothing and turns away clients that do not look like a browser, so the
request goes through yfinance (an optional extra), which keeps up with that; the answer is
read here, strictly, in the form yfinance 1.7 reads.  Prices are adjusted for splits, not
for dividends.  For personal use only, says Yahoo.
"""

import asyncio
import datetime as dt
import importlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import structlog

from domain.clock import UTC, Clock
from domain.errors import ConfigError, DataError, ProviderUnavailable, first_cause
from domain.ids import Symbol
from domain.market import Bar
from marketdata.base import SessionCalendar
from marketdata.events import CorporateEvent, EventKind
from marketdata.rows import Row, as_quoted, bars_of
from marketdata.session_calendar import day_start, last_complete, trading_date
from transport import strict_json

_HOST = "https://query2.finance.yahoo.com"
_CONCURRENCY = 4
_CALL_SECONDS = 15.0
_MOST_BYTES = 8 * 1024 * 1024
_OK, _NOT_FOUND = 200, 404
_PRICES = ("open", "high", "low", "close")
# One request for each symbol: of hundreds one fails nearly every day, and costs its symbol alone.
_MOST_FAILED = 0.05

Params = Mapping[str, str]
Get = Callable[[str, Params], Awaitable[tuple[int, bytes]]]
"""Reads a path of Yahoo's host: status and body."""

Result = TypeVar("Result")
Read = Callable[[Symbol, Mapping[str, Any]], Result]
"""Makes something of the chart of a symbol; ProviderUnavailable where that cannot be."""

_LOG = structlog.get_logger(__name__)


class YahooBars:
    """A BarSource on Yahoo."""

    name = "yahoo"

    def __init__(self, get: Get, *, clock: Clock, calendar: SessionCalendar) -> None:
        self._get = get
        self._clock = clock
        self._calendar = calendar
        self._slots = asyncio.Semaphore(_CONCURRENCY)

    @classmethod
    def connect(cls, *, clock: Clock, calendar: SessionCalendar) -> "YahooBars":
        """Build the source on yfinance.

        Raises:
            ConfigError: yfinance is not installed.
        """
        return cls(by_yfinance("marketdata.provider"), clock=clock, calendar=calendar)

    async def daily_bars(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Mapping[Symbol, Sequence[Bar]]:
        """Return the complete daily bars of the dates ``start`` to ``end``, oldest first.

        Raises:
            ProviderUnavailable: no usable answer.
        """
        last = min(end, last_complete(self._calendar, self._clock.now()).date)
        if last < start:
            return {}

        def read(symbol: Symbol, chart: Mapping[str, Any]) -> Sequence[Bar]:
            return bars_of(symbol, _rows(chart, start, last), source=self.name)

        found = await self._read(symbols, start, last, read)
        return {symbol: bars for symbol, bars in found.items() if bars}

    async def events(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Sequence[CorporateEvent]:
        """Return splits and dividends of the dates ``start`` to ``end``, oldest first.

        Raises:
            ProviderUnavailable: no usable answer.
        """

        def read(symbol: Symbol, chart: Mapping[str, Any]) -> Sequence[CorporateEvent]:
            return tuple(_events(symbol, chart))

        found = await self._read(symbols, start, end, read)
        inside = [event for one in found.values() for event in one if start <= event.date <= end]
        return sorted(inside, key=lambda event: (event.date, event.symbol, event.kind))

    async def _read(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date, read: Read[Result]
    ) -> Mapping[Symbol, Result]:
        """Read the chart of each symbol; few that fail are left out, with more nothing is told."""
        wanted = sorted(set(symbols))
        failed = 0

        async def one(symbol: Symbol) -> Result | None:
            nonlocal failed
            try:
                chart = await self._chart(symbol, start, end)
                return None if chart is None else read(symbol, chart)
            except ProviderUnavailable as exc:
                failed += 1
                if failed > _MOST_FAILED * len(wanted):
                    raise
                _LOG.warning("chart.unread", source=self.name, symbol=symbol, reason=str(exc))
                return None

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(symbol)) for symbol in wanted]
        except BaseExceptionGroup as failures:
            raise first_cause(failures) from failures
        results = zip(wanted, (task.result() for task in tasks), strict=True)
        return {symbol: result for symbol, result in results if result is not None}

    async def _chart(
        self, symbol: Symbol, start: dt.date, end: dt.date
    ) -> Mapping[str, Any] | None:
        path = f"/v8/finance/chart/{yahoo_name(symbol)}"
        params = {
            "period1": str(int(day_start(start).timestamp())),
            "period2": str(int(day_start(end + dt.timedelta(days=1)).timestamp())),
            "interval": "1d",
            "events": "div,splits",
            "includePrePost": "false",
        }
        async with self._slots:
            status, body = await self._get(path, params)
        if status == _NOT_FOUND:
            return None
        if status != _OK:
            raise ProviderUnavailable(f"yahoo: HTTP {status} for {symbol}")
        try:
            return _result(strict_json.parse(body, what=f"yahoo: {symbol}"))
        except DataError as exc:
            raise ProviderUnavailable(str(exc)) from exc


def _result(document: object) -> Mapping[str, Any] | None:
    chart = document.get("chart") if isinstance(document, Mapping) else None
    if not isinstance(chart, Mapping):
        raise DataError("yahoo: the answer holds no chart")
    results = chart.get("result")
    if results is None and isinstance(chart.get("error"), Mapping):
        return None
    if not isinstance(results, list) or len(results) != 1 or not isinstance(results[0], Mapping):
        raise DataError("yahoo: the chart holds no result")
    return results[0]


def _rows(chart: Mapping[str, Any], start: dt.date, last: dt.date) -> Iterator[Row]:
    """Read the columns side by side; a line with a null is a hole."""
    moments = chart.get("timestamp") or []
    try:
        quote = chart["indicators"]["quote"][0]
        columns = [quote.get(name) or [] for name in (*_PRICES, "volume")] if moments else []
    except (KeyError, IndexError, TypeError, AttributeError) as exc:
        raise ProviderUnavailable("yahoo: the chart holds no quotes") from exc
    if not all(isinstance(column, list) for column in (moments, *columns)):
        raise ProviderUnavailable("yahoo: the chart holds no columns")
    if any(len(column) != len(moments) for column in columns):
        raise ProviderUnavailable("yahoo: the columns of the chart differ in length")
    for moment, *figures in zip(moments, *columns, strict=True):
        if not all(_is_number(one) for one in (moment, *figures)):
            continue
        day = _day(moment)
        if start <= day <= last:
            *prices, volume = map(_float, figures)
            opens, high, low, close = map(as_quoted, prices)
            yield Row(
                at=day_start(day),
                open=opens,
                high=high,
                low=low,
                close=close,
                volume=volume,
            )


def _events(symbol: Symbol, chart: Mapping[str, Any]) -> Iterator[CorporateEvent]:
    listed = chart.get("events")
    known = {"splits": EventKind.SPLIT, "dividends": EventKind.DIVIDEND}
    for name, kind in known.items():
        entries = listed.get(name) if isinstance(listed, Mapping) else None
        for entry in entries.values() if isinstance(entries, Mapping) else ():
            if isinstance(entry, Mapping) and _is_number(entry.get("date")):
                day = _day(entry["date"])
                detail = str(entry.get("splitRatio") or entry.get("amount") or "")
                yield CorporateEvent(symbol=symbol, kind=kind, date=day, detail=detail)


def _day(moment: int | Decimal) -> dt.date:
    try:
        return trading_date(dt.datetime.fromtimestamp(int(moment), UTC))
    except (ValueError, OverflowError, OSError) as exc:
        # Of another unit, perhaps: Yahoo promises none.
        raise ProviderUnavailable(f"yahoo: the chart holds a time that is none ({exc})") from exc


def _float(figure: int | Decimal) -> float:
    try:
        return float(figure)
    except OverflowError as exc:
        raise ProviderUnavailable("yahoo: the chart holds a number beyond all bounds") from exc


def _is_number(value: object) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def yahoo_name(symbol: Symbol) -> str:
    """Return a symbol as Yahoo writes it: a share class with a dash, BRK-B."""
    return symbol.replace(".", "-")


def by_yfinance(key: str) -> Get:
    """Return a way to Yahoo's host.

    Args:
        key: of the configuration, which asks for it.

    Raises:
        ConfigError: yfinance is not installed.
    """
    try:
        client = importlib.import_module("yfinance.data").YfData()
    except ImportError as exc:
        raise ConfigError(
            f"{key} is yahoo, which needs yfinance; run `pip install yfinance`"
        ) from exc

    def read(path: str, params: Params) -> tuple[int, bytes]:
        reply = client.get(url=f"{_HOST}{path}", params=dict(params), timeout=_CALL_SECONDS)
        return int(reply.status_code), bytes(reply.content[: _MOST_BYTES + 1])

    async def get(path: str, params: Params) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(2 * _CALL_SECONDS):
                status, body = await asyncio.to_thread(read, path, params)
        except Exception as exc:
            raise ProviderUnavailable(f"yahoo: {type(exc).__name__}: {exc}") from exc
        if len(body) > _MOST_BYTES:
            raise ProviderUnavailable("yahoo: the answer is too large")
        return status, body

    return get
