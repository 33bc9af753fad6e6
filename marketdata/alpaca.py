"""Alpaca's market data: daily and intraday bars, and corporate actions.

alpaca-py builds the requests and follows the pages (see transport.alpaca_data).  The free
IEX feed holds 2-3 % of the volume: its prices serve, its volumes compare with nothing but
themselves.
"""

import asyncio
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import CorporateActionsRequest, StockBarsRequest
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from domain.clock import Clock
from domain.errors import DataError, ProviderRefused, ProviderUnavailable
from domain.ids import Symbol
from domain.market import Bar
from domain.secrets import Secret
from marketdata.alpaca_parsing import bar_row, event_of, rows_of
from marketdata.base import SessionCalendar
from marketdata.events import CorporateEvent
from marketdata.rows import Row, bars_of
from marketdata.session_calendar import day_start, last_complete
from transport.alpaca_data import AlpacaData, DataSettings

# A page holds 10,000 bars, some 1.2 MB.
_BODY_CAP_BYTES = 8 * 1024 * 1024
_MOST_PAGES = 500
# Fifteen minutes, and our clock may be a little ahead.
_SIP_DELAY = dt.timedelta(minutes=16)
# Asked at the start of a daemon, which has more to do than to wait for it.
_CHECK_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaDataSettings(DataSettings):
    """Where the data API is, how it is asked, and which feed is wanted."""

    feed: str = "iex"


class AlpacaBars:
    """A BarSource on Alpaca; prices are adjusted for splits, not for dividends."""

    name = "alpaca"

    def __init__(
        self,
        data: AlpacaData,
        settings: AlpacaDataSettings,
        clock: Clock,
        calendar: SessionCalendar,
    ) -> None:
        self._data = data
        self._settings = settings
        self._clock = clock
        self._calendar = calendar

    @classmethod
    def connect(
        cls,
        settings: AlpacaDataSettings,
        *,
        key_id: Secret,
        secret_key: Secret,
        clock: Clock,
        calendar: SessionCalendar,
    ) -> "AlpacaBars":
        """Build the source; nothing is sent yet."""
        data = AlpacaData(
            settings,
            key_id=key_id,
            secret_key=secret_key,
            clock=clock,
            body_cap_bytes=_BODY_CAP_BYTES,
            max_requests=_MOST_PAGES,
        )
        return cls(data, settings, clock, calendar)

    async def daily_bars(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Mapping[Symbol, Sequence[Bar]]:
        """Return the complete daily bars of the dates ``start`` to ``end``, oldest first.

        Raises:
            ProviderUnavailable: no usable answer in time.
        """
        last = min(end, last_complete(self._calendar, self._clock.now()).date)
        if last < start:
            return {}
        # The end of the day, so that its bar at midnight New York is inside.
        span = (day_start(start), self._allowed(day_start(last) + dt.timedelta(hours=23)))
        return await self._bars(symbols, span, TimeFrame(1, TimeFrameUnit.Day))

    async def minute_bars(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime, *, minutes: int
    ) -> Mapping[Symbol, Sequence[Bar]]:
        """Return the bars of ``minutes`` that were complete before ``end``, oldest first.

        A minute without an eligible trade has no bar.

        Raises:
            ProviderUnavailable: no usable answer in time.
        """
        width = dt.timedelta(minutes=minutes)
        last = min(end, self._clock.now()) - width
        if last < start:
            return {}
        return await self._bars(symbols, (start, last), TimeFrame(minutes, TimeFrameUnit.Minute))

    async def events(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Sequence[CorporateEvent]:
        """Return corporate actions with an ex-date in the span, oldest first.

        Alpaca promises neither that they are complete nor that they are in time.

        Raises:
            ProviderUnavailable: no usable answer in time.
        """
        wanted = set(symbols)

        async def fetch(group: Sequence[Symbol]) -> Sequence[CorporateEvent | None]:
            request = CorporateActionsRequest(
                symbols=list(group), start=start, end=end, limit=None, sort=None
            )
            raw = await self._data.call(
                CorporateActionsClient,
                lambda client: _mapping(client.get_corporate_actions(request)),
            )
            return [event_of(kind, row) for kind, rows in raw.items() for row in rows_of(rows)]

        # In groups as the bars: a thousand symbols in one address are more than servers take.
        fetched = await self._data.in_groups(wanted, fetch, what="corporate actions")
        # A merger of two symbols is told with either.
        found = {event for group in fetched for event in group if event is not None}
        return sorted(
            (event for event in found if event.symbol in wanted),
            key=lambda event: (event.date, event.symbol, event.kind, event.detail),
        )

    async def check_keys(self, symbol: Symbol) -> None:
        """See that keys and plan open the feed; a service that is silent proves nothing.

        Raises:
            ProviderRefused: they do not.
        """
        last = last_complete(self._calendar, self._clock.now()).date
        limit = _CHECK_SECONDS * self._settings.time_scale
        try:
            async with asyncio.timeout(limit):
                await self.daily_bars([symbol], last, last)
        except ProviderRefused:
            raise
        except (ProviderUnavailable, TimeoutError):
            return

    async def aclose(self) -> None:
        """Close every connection."""
        await self._data.aclose()

    def _allowed(self, end: dt.datetime) -> dt.datetime:
        """Leave out what the free plan refuses: SIP data of the last 15 minutes, or later."""
        if self._settings.feed != "sip":
            return end
        return min(end, self._clock.now() - _SIP_DELAY)

    async def _bars(
        self,
        symbols: Iterable[Symbol],
        span: tuple[dt.datetime, dt.datetime],
        timeframe: TimeFrame,
    ) -> Mapping[Symbol, Sequence[Bar]]:
        async def fetch(group: Sequence[Symbol]) -> Mapping[Symbol, Sequence[Bar]]:
            return await self._group(group, span, timeframe)

        fetched = await self._data.in_groups(symbols, fetch, what="bars")
        return {symbol: bars for one in fetched for symbol, bars in one.items() if bars}

    async def _group(
        self,
        symbols: Sequence[Symbol],
        span: tuple[dt.datetime, dt.datetime],
        timeframe: TimeFrame,
    ) -> Mapping[Symbol, Sequence[Bar]]:
        request = StockBarsRequest(
            symbol_or_symbols=list(symbols),
            start=span[0],
            end=span[1],
            timeframe=timeframe,
            adjustment=Adjustment.SPLIT,
            feed=DataFeed(self._settings.feed),
        )
        is_daily = timeframe.unit_value is TimeFrameUnit.Day

        def read(client: StockHistoricalDataClient) -> Mapping[Symbol, Sequence[Bar]]:
            # Parsed here, in the thread: a hundred thousand bars would hold up the loop.
            raw = _mapping(client.get_stock_bars(request))
            return {
                symbol: bars_of(
                    symbol,
                    _present(bar_row(one, is_daily=is_daily) for one in rows_of(raw.get(symbol))),
                    source=self.name,
                )
                for symbol in symbols
            }

        return await self._data.call(StockHistoricalDataClient, read)


def _mapping(raw: object) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise DataError("the answer is not an object")
    return raw


def _present(rows: Iterable[Row | None]) -> Iterator[Row]:
    return (row for row in rows if row is not None)
