"""Alpaca's market data: daily and intraday bars, and corporate actions.

alpaca-py builds the requests and follows the pages, in a worker thread; its transport is
replaced (see transport.sdk_session) and its retry switched off.  The free IEX feed holds
2-3 % of the volume: its prices serve, its volumes compare with nothing but themselves.
"""

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import CorporateActionsRequest, StockBarsRequest
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from domain.clock import Clock
from domain.errors import DataError, ProviderRefused, ProviderUnavailable, first_cause
from domain.ids import Symbol
from domain.market import Bar
from domain.secrets import Secret
from marketdata.alpaca_parsing import bar_row, event_of, rows_of
from marketdata.base import SessionCalendar
from marketdata.events import CorporateEvent
from marketdata.rows import Row, bars_of
from marketdata.session_calendar import day_start, last_complete
from transport.http import BoundedClient, Deadlines, HttpSettings
from transport.sdk_session import HttpRefusal, SdkCaller, SdkSession

_REFUSED = frozenset({401, 403})
# A page holds 10,000 bars, some 1.2 MB.
_BODY_CAP_BYTES = 8 * 1024 * 1024
_MOST_PAGES = 500
# Asked at the start of a daemon, which has more to do than to wait for it.
_CHECK_SECONDS = 3.0

Client = TypeVar("Client", StockHistoricalDataClient, CorporateActionsClient)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaDataSettings:
    """Where the data API is and how it is asked.

    ``group_size`` symbols share a request; ``fetch_seconds`` bounds a whole fetch.
    """

    data_url: str = "https://data.alpaca.markets"
    feed: str = "iex"
    deadlines: Deadlines = field(default_factory=Deadlines)
    fetch_seconds: float = 180.0
    group_size: int = 50
    concurrency: int = 4
    time_scale: float = 1.0


class AlpacaBars:
    """A BarSource on Alpaca; prices are adjusted for splits, not for dividends."""

    name = "alpaca"

    def __init__(
        self,
        client: BoundedClient,
        settings: AlpacaDataSettings,
        *,
        key_id: Secret,
        secret_key: Secret,
        clock: Clock,
        calendar: SessionCalendar,
    ) -> None:
        self._client = client
        self._caller = SdkCaller(
            client, clock=clock, concurrency=settings.concurrency, max_requests=_MOST_PAGES
        )
        self._settings = settings
        self._key_id = key_id
        self._secret_key = secret_key
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
        http = HttpSettings(
            base_url=settings.data_url,
            deadlines=settings.deadlines,
            body_cap_bytes=_BODY_CAP_BYTES,
            max_connections=settings.concurrency,
            time_scale=settings.time_scale,
        )
        return cls(
            BoundedClient(http, {}),
            settings,
            key_id=key_id,
            secret_key=secret_key,
            clock=clock,
            calendar=calendar,
        )

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
        span = (day_start(start), day_start(last) + dt.timedelta(hours=23))
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
        wanted = sorted(set(symbols))
        request = CorporateActionsRequest(
            symbols=list(wanted), start=start, end=end, limit=None, sort=None
        )
        raw = await self._call(
            CorporateActionsClient, lambda client: _mapping(client.get_corporate_actions(request))
        )
        found = [event_of(kind, row) for kind, rows in raw.items() for row in rows_of(rows)]
        return sorted(
            (event for event in found if event is not None and event.symbol in wanted),
            key=lambda event: (event.date, event.symbol, event.kind),
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
        await self._client.aclose()

    async def _bars(
        self,
        symbols: Iterable[Symbol],
        span: tuple[dt.datetime, dt.datetime],
        timeframe: TimeFrame,
    ) -> Mapping[Symbol, Sequence[Bar]]:
        wanted = sorted(set(symbols))
        size = self._settings.group_size
        groups = [wanted[place : place + size] for place in range(0, len(wanted), size)]
        limit = self._settings.fetch_seconds * self._settings.time_scale
        try:
            async with asyncio.timeout(limit), asyncio.TaskGroup() as tasks:
                fetched = [
                    tasks.create_task(self._group(group, span, timeframe)) for group in groups
                ]
        except TimeoutError as exc:
            raise ProviderUnavailable(
                f"alpaca: bars of {len(wanted)} symbols did not come within"
                f" {self._settings.fetch_seconds:g} s"
            ) from exc
        except BaseExceptionGroup as failures:
            raise first_cause(failures) from failures
        return {symbol: bars for task in fetched for symbol, bars in task.result().items() if bars}

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

        return await self._call(StockHistoricalDataClient, read)

    async def _call(self, kind: type[Client], use: Callable[[Client], Result]) -> Result:
        def run(session: SdkSession) -> Result:
            client = kind(
                self._key_id.reveal(),
                self._secret_key.reveal(),
                raw_data=True,
                url_override=self._caller.base_url,
            )
            # Private names, pinned with the version: the SDK has no other way in.
            client._session = session  # type: ignore[assignment]
            client._retry = 0
            return use(client)

        try:
            return await self._caller.call(run)
        except HttpRefusal as exc:
            raise _explained(exc) from exc


def _mapping(raw: object) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise DataError("the answer is not an object")
    return raw


def _present(rows: Iterable[Row | None]) -> Iterator[Row]:
    return (row for row in rows if row is not None)


def _explained(exc: HttpRefusal) -> ProviderUnavailable:
    if "recent SIP data" in exc.text:
        return ProviderRefused(
            'alpaca: the plan does not allow the SIP feed; set marketdata.alpaca.feed = "iex"'
        )
    if exc.status in _REFUSED:
        return ProviderRefused(f"alpaca: the keys were refused; check APCA_API_KEY_ID: {exc}")
    return ProviderUnavailable(f"alpaca: {exc}")
