"""Earnings dates from Yahoo's quote summary, by way of yfinance: no key, one request a symbol.

Yahoo documents nothing; the answer is read in the form that `Ticker.calendar` of yfinance
1.7 reads.  A date that is not certain comes as the first and the last day of a window.
"""

import asyncio
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from domain.clock import UTC
from domain.errors import DataError, ProviderUnavailable, first_cause
from domain.ids import Symbol
from marketdata.events import CorporateEvent, EventKind
from marketdata.yahoo import Get, by_yfinance, yahoo_name
from transport import strict_json

_CONCURRENCY = 4
_PARAMS = {"modules": "calendarEvents", "formatted": "false"}
_OK, _NOT_FOUND = 200, 404
# A window longer than this is no date at all.
_LONGEST_WINDOW = dt.timedelta(days=14)
# What an answer of another shape runs into.
_UNUSABLE = (DataError, LookupError, TypeError, AttributeError, ValueError, OverflowError)


class YahooEarnings:
    """An EventSource on Yahoo."""

    name = "yahoo"

    def __init__(self, get: Get) -> None:
        self._get = get
        self._slots = asyncio.Semaphore(_CONCURRENCY)

    @classmethod
    def connect(cls) -> "YahooEarnings":
        """Build the source on yfinance.

        Raises:
            ConfigError: yfinance is not installed.
        """
        return cls(by_yfinance("marketdata.earnings"))

    async def events(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Sequence[CorporateEvent]:
        """Return the reports of the dates ``start`` to ``end``, oldest first.

        Raises:
            ProviderUnavailable: no usable answer.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._of(symbol)) for symbol in sorted(set(symbols))]
        except BaseExceptionGroup as failures:
            raise first_cause(failures) from failures
        found = [event for task in tasks for event in task.result()]
        inside = [event for event in found if start <= event.date <= end]
        return sorted(inside, key=lambda event: (event.date, event.symbol))

    async def _of(self, symbol: Symbol) -> Sequence[CorporateEvent]:
        path = f"/v10/finance/quoteSummary/{yahoo_name(symbol)}"
        async with self._slots:
            status, body = await self._get(path, _PARAMS)
        if status == _NOT_FOUND:
            return ()
        if status != _OK:
            raise ProviderUnavailable(f"yahoo: HTTP {status} for {symbol}")
        try:
            days = _days(strict_json.parse(body, what=f"yahoo: {symbol}"))
        except _UNUSABLE as exc:
            raise ProviderUnavailable(f"yahoo: the calendar of {symbol} cannot be read") from exc
        return [
            CorporateEvent(symbol=symbol, kind=EventKind.EARNINGS, date=day, detail="yahoo")
            for day in days
        ]


def _days(document: Any) -> Sequence[dt.date]:
    """Return the day of the next report, or every day of the window it falls into."""
    events: Mapping[str, Any] = document["quoteSummary"]["result"][0].get("calendarEvents") or {}
    told = (events.get("earnings") or {}).get("earningsDate") or []
    # Midnight or the hour of the call, both in UTC: its date there is the day that is meant.
    moments = (one["raw"] if isinstance(one, Mapping) else one for one in told)
    days = sorted(dt.datetime.fromtimestamp(int(moment), UTC).date() for moment in moments)
    if not days or days[-1] - days[0] > _LONGEST_WINDOW:
        return days
    count = (days[-1] - days[0]).days + 1
    return [days[0] + dt.timedelta(days=number) for number in range(count)]
