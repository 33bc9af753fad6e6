"""Earnings dates from Alpha Vantage: one request for the whole market, a free key.

The form is that of EARNINGS_CALENDAR in Alpha Vantage's API documentation of 2026.  What
is wrong (the key, the daily limit of requests) comes with status 200 as JSON.
"""

import csv
import datetime as dt
import io
import json
from collections.abc import Iterable, Iterator, Sequence

from domain.errors import DataError, ProviderRefused, ProviderUnavailable
from domain.ids import Symbol
from domain.reasons import one_line
from domain.secrets import Secret
from marketdata.events import CorporateEvent, EventKind
from transport.http import BoundedClient, HttpSettings

URL = "https://www.alphavantage.co"
_OK = 200
# Some 7,000 lines of 60 bytes.
_BODY_CAP_BYTES = 8 * 1024 * 1024
_COLUMNS = ("symbol", "reportDate")
_SHOWN_CHARACTERS = 200
# In its sentence about a key that it does not know, and not in the one about the limit.
_UNKNOWN_KEY = "apikey is invalid or missing"


class AlphaVantageEarnings:
    """An EventSource on Alpha Vantage."""

    name = "alphavantage"

    def __init__(self, client: BoundedClient, *, key: Secret) -> None:
        self._client = client
        self._key = key

    @classmethod
    def connect(
        cls, *, key: Secret, url: str = URL, time_scale: float = 1.0
    ) -> "AlphaVantageEarnings":
        """Build the source; nothing is sent yet."""
        http = HttpSettings(base_url=url, body_cap_bytes=_BODY_CAP_BYTES, time_scale=time_scale)
        return cls(BoundedClient(http, {}), key=key)

    async def events(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Sequence[CorporateEvent]:
        """Return the reports of the dates ``start`` to ``end``, oldest first.

        It knows the next three months, and nothing of the past.

        Raises:
            ProviderRefused: the key is not known.
            ProviderUnavailable: no usable answer.
        """
        reply = await self._client.request(
            "GET",
            "/query",
            params=(
                ("function", "EARNINGS_CALENDAR"),
                ("horizon", "3month"),
                ("apikey", self._key.reveal()),
            ),
        )
        if reply.status != _OK:
            raise ProviderUnavailable(f"alphavantage: HTTP {reply.status}")
        wanted = set(symbols)
        try:
            found = [one for one in _read(reply.body, self._key) if one.symbol in wanted]
        except DataError as exc:
            raise ProviderUnavailable(str(exc)) from exc
        except csv.Error as exc:
            raise ProviderUnavailable(f"alphavantage: the calendar is no CSV ({exc})") from exc
        inside = [event for event in found if start <= event.date <= end]
        return sorted(inside, key=lambda event: (event.date, event.symbol))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()


def _read(body: bytes, key: Secret) -> Iterator[CorporateEvent]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DataError("alphavantage: the calendar is not UTF-8") from exc
    if text.lstrip().startswith("{"):
        # It quotes the key in its sentence about the limit, and errors are told to people.
        raise _refusal(text.replace(key.reveal(), "[secret]"))
    lines = csv.DictReader(io.StringIO(text))
    if missing := [name for name in _COLUMNS if name not in (lines.fieldnames or ())]:
        raise DataError(f"alphavantage: the calendar has no column {missing[0]}")
    count = 0
    for line in lines:
        count += 1
        try:
            day = dt.date.fromisoformat(line["reportDate"])
        except (TypeError, ValueError):
            continue
        # It writes a share class with a dash: BRK-B.
        symbol = Symbol((line["symbol"] or "").replace("-", "."))
        yield CorporateEvent(
            symbol=symbol, kind=EventKind.EARNINGS, date=day, detail="alphavantage"
        )
    if not count:
        # Some company reports in every quarter: an empty calendar is a broken one.
        raise DataError("alphavantage: the calendar is empty")


def _refusal(text: str) -> ProviderUnavailable:
    try:
        told = json.loads(text)
        sentence = one_line(str(next(iter(told.values())))[:_SHOWN_CHARACTERS])
    except (ValueError, AttributeError, StopIteration):
        sentence = "an answer that is no calendar"
    if _UNKNOWN_KEY in sentence.lower():
        return ProviderRefused("alphavantage: the key was refused; check ALPHAVANTAGE_API_KEY")
    return ProviderUnavailable(f"alphavantage: {sentence}")
