"""Earnings dates from Finnhub: one request for the whole market, a free key.

The form is that of `/calendar/earnings` in Finnhub's API documentation of 2026; the free
plan covers a month ahead.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from domain.errors import DataError, ProviderRefused, ProviderUnavailable
from domain.ids import Symbol
from domain.secrets import Secret
from marketdata.events import CorporateEvent, EventKind
from transport.http import BoundedClient, HttpSettings

URL = "https://finnhub.io"
_OK = 200
_REFUSED = frozenset({401, 403})
_BODY_CAP_BYTES = 8 * 1024 * 1024
# It gives no more rows at once, and does not say that there were more.
_MOST_ROWS = 1_500
_SPAN = dt.timedelta(days=7)


class FinnhubEarnings:
    """An EventSource on Finnhub."""

    name = "finnhub"

    def __init__(self, client: BoundedClient) -> None:
        self._client = client

    @classmethod
    def connect(cls, *, key: Secret, url: str = URL, time_scale: float = 1.0) -> "FinnhubEarnings":
        """Build the source; nothing is sent yet."""
        http = HttpSettings(base_url=url, body_cap_bytes=_BODY_CAP_BYTES, time_scale=time_scale)
        return cls(BoundedClient(http, {"X-Finnhub-Token": key}))

    async def events(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Sequence[CorporateEvent]:
        """Return the reports of the dates ``start`` to ``end``, oldest first.

        Raises:
            ProviderRefused: the key is not known, or the plan does not include it.
            ProviderUnavailable: no usable answer.
        """
        wanted = set(symbols)
        found: list[CorporateEvent] = []
        first = start
        while first <= end:
            last = min(end, first + _SPAN - dt.timedelta(days=1))
            found += [one for one in await self._week(first, last) if one.symbol in wanted]
            first = last + dt.timedelta(days=1)
        inside = [event for event in found if start <= event.date <= end]
        return sorted(inside, key=lambda event: (event.date, event.symbol))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _week(self, first: dt.date, last: dt.date) -> Sequence[CorporateEvent]:
        reply = await self._client.request(
            "GET",
            "/api/v1/calendar/earnings",
            params=(("from", first.isoformat()), ("to", last.isoformat())),
        )
        if reply.status in _REFUSED:
            raise ProviderRefused("finnhub: the key was refused; check FINNHUB_API_KEY")
        if reply.status != _OK:
            raise ProviderUnavailable(f"finnhub: HTTP {reply.status}")
        try:
            rows = _rows(reply.json(what="finnhub"))
        except DataError as exc:
            raise ProviderUnavailable(str(exc)) from exc
        return [event for row in rows if (event := _event(row)) is not None]


def _rows(document: object) -> Sequence[object]:
    rows = document.get("earningsCalendar") if isinstance(document, Mapping) else None
    if not isinstance(rows, list):
        raise DataError("finnhub: the answer holds no calendar")
    if len(rows) >= _MOST_ROWS:
        raise DataError("finnhub: the calendar was cut off")
    return rows


def _event(row: object) -> CorporateEvent | None:
    try:
        if not isinstance(row, Mapping):
            return None
        return CorporateEvent(
            symbol=Symbol(str(row["symbol"])),
            kind=EventKind.EARNINGS,
            date=dt.date.fromisoformat(str(row["date"])),
            detail="finnhub",
        )
    except (KeyError, ValueError):
        return None
