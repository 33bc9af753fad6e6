"""Alpaca's market data: daily and intraday bars, and corporate actions.

alpaca-py builds the requests and follows the pages, in a worker thread; its transport is
replaced (see transport.sdk_session) and its retry switched off.  The free IEX feed holds
2-3 % of the volume: its prices serve, its volumes compare with nothing but themselves.
"""

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import CorporateActionsRequest, StockBarsRequest
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from domain.clock import UTC, Clock
from domain.errors import DataError, ProviderUnavailable, first_cause
from domain.ids import Symbol
from domain.market import Bar
from domain.secrets import Secret
from marketdata.base import SessionCalendar
from marketdata.events import CorporateEvent, EventKind
from marketdata.rows import Row, bars_of
from marketdata.session_calendar import day_start, last_complete, trading_date
from transport.failures import FailureKind, TransportError
from transport.http import BoundedClient, Deadlines, HttpSettings
from transport.pacing import retry_after_seconds, seconds_until_reset
from transport.sdk_session import SdkSession

_ATTEMPTS = 3
_BACKOFF_SECONDS = 1.0
_TOO_MANY_REQUESTS = 429
_FIRST_SERVER_STATUS = 500
_MAY_PASS = frozenset({FailureKind.CONNECT, FailureKind.BROKEN})
_REFUSED = frozenset({401, 403})
# A page holds 10,000 bars, some 1.2 MB.
_BODY_CAP_BYTES = 8 * 1024 * 1024
_MOST_PAGES = 500

Client = TypeVar("Client", StockHistoricalDataClient, CorporateActionsClient)
Result = TypeVar("Result")
RawRows = Mapping[str, Sequence[Mapping[str, Any]]]

_SPLITS = ("forward_splits", "reverse_splits", "unit_splits", "stock_dividends")
_KINDS: Mapping[str, EventKind] = {
    **dict.fromkeys(_SPLITS, EventKind.SPLIT),
    "cash_dividends": EventKind.DIVIDEND,
    "spin_offs": EventKind.SPIN_OFF,
    "cash_mergers": EventKind.MERGER,
    "stock_mergers": EventKind.MERGER,
    "stock_and_cash_mergers": EventKind.MERGER,
    "name_changes": EventKind.RENAME,
}


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
        self._settings = settings
        self._key_id = key_id
        self._secret_key = secret_key
        self._clock = clock
        self._calendar = calendar
        self._slots = asyncio.Semaphore(settings.concurrency)

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
        raw: Mapping[str, Any] = await self._call(
            CorporateActionsClient, lambda client: client.get_corporate_actions(request)
        )
        found = [_event(kind, row) for kind, rows in raw.items() for row in _rows(rows)]
        return sorted(
            (event for event in found if event is not None and event.symbol in wanted),
            key=lambda event: (event.date, event.symbol, event.kind),
        )

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
        raw: RawRows = await self._call(
            StockHistoricalDataClient, lambda client: client.get_stock_bars(request)
        )
        is_daily = timeframe.unit_value is TimeFrameUnit.Day
        return {
            symbol: bars_of(
                symbol,
                (row for one in _rows(raw.get(symbol)) if (row := _row(one, is_daily)) is not None),
                source=self.name,
            )
            for symbol in symbols
        }

    async def _call(self, kind: type[Client], use: Callable[[Client], Any]) -> Any:
        for attempt in range(_ATTEMPTS):
            try:
                async with self._slots:
                    return await self._in_thread(kind, use)
            except APIError as exc:
                wait = self._wait(exc, attempt)
                if wait is None or attempt + 1 == _ATTEMPTS:
                    raise ProviderUnavailable(_explain(exc)) from exc
                await self._clock.sleep(wait)
            except TransportError as exc:
                if exc.kind not in _MAY_PASS or attempt + 1 == _ATTEMPTS:
                    raise
                await self._clock.sleep(_BACKOFF_SECONDS * 2**attempt)
            except (DataError, ValueError, TypeError, AttributeError, KeyError) as exc:
                # What the SDK makes of an answer that is not what it expects.
                raise ProviderUnavailable(f"alpaca: an answer cannot be read ({exc})") from exc
        raise ProviderUnavailable("alpaca: no attempt was made")

    async def _in_thread(self, kind: type[Client], use: Callable[[Client], Any]) -> Any:
        loop = asyncio.get_running_loop()
        session = SdkSession(self._client, loop=loop, max_requests=_MOST_PAGES)
        client = kind(
            self._key_id.reveal(),
            self._secret_key.reveal(),
            raw_data=True,
            url_override=self._client.base_url,
        )
        # Private names, pinned with the version: the SDK has no other way in.
        client._session = session  # type: ignore[assignment]
        client._retry = 0
        try:
            return await asyncio.to_thread(use, client)
        finally:
            session.abandon()

    def _wait(self, exc: APIError, attempt: int) -> float | None:
        status = exc.status_code or 0
        headers = getattr(exc.response, "headers", None) or {}
        now = self._clock.now()
        if status == _TOO_MANY_REQUESTS:
            told = retry_after_seconds(headers.get("retry-after"), now=now)
            lower = {name.lower(): text for name, text in headers.items()}
            reset = seconds_until_reset(lower, now=now)
            return next((w for w in (told, reset) if w is not None), _BACKOFF_SECONDS)
        return _BACKOFF_SECONDS * 2**attempt if status >= _FIRST_SERVER_STATUS else None


def _explain(exc: APIError) -> str:
    # Never exc.code or exc.message: both parse the body again and may raise.
    status, text = exc.status_code or 0, " ".join(str(exc).split())[:200]
    if "recent SIP data" in text:
        return 'alpaca: the plan does not allow the SIP feed; set marketdata.alpaca.feed = "iex"'
    if status in _REFUSED:
        return f"alpaca: HTTP {status}, the keys were refused; check APCA_API_KEY_ID ({text})"
    return f"alpaca: HTTP {status} ({text})"


def _rows(value: object) -> Sequence[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def _row(raw: Mapping[str, Any], is_daily: bool) -> Row | None:
    try:
        at = dt.datetime.fromisoformat(raw["t"])
        if is_daily:
            at = day_start(trading_date(at))
        return Row(
            at=at.astimezone(UTC),
            open=float(raw["o"]),
            high=float(raw["h"]),
            low=float(raw["l"]),
            close=float(raw["c"]),
            volume=float(raw["v"]),
        )
    except (KeyError, TypeError, ValueError):
        # A row without a moment or a price has no place; the hole is found later.
        return None


def _event(kind: str, row: Mapping[str, Any]) -> CorporateEvent | None:
    known = _KINDS.get(kind)
    symbol = row.get("symbol") or row.get("old_symbol") or row.get("source_symbol")
    symbol = symbol or row.get("acquiree_symbol")
    date = row.get("ex_date") or row.get("effective_date") or row.get("process_date")
    if known is None or not isinstance(symbol, str) or not isinstance(date, str):
        return None
    try:
        return CorporateEvent(
            symbol=Symbol(symbol), kind=known, date=dt.date.fromisoformat(date), detail=kind
        )
    except ValueError:
        return None
