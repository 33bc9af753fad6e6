"""News from Alpaca (written by Benzinga), tagged with symbols by the vendor.

alpaca-py builds the request and follows the pages (see transport.alpaca_data).
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from alpaca.data.historical.news import NewsClient
from alpaca.data.requests import NewsRequest

from domain.clock import UTC, Clock
from domain.errors import DataError
from domain.ids import Symbol
from domain.market import NewsItem
from domain.secrets import Secret
from sentiment.alpaca_parsing import item_of, updated_at
from transport.alpaca_data import AlpacaData, DataSettings

_MOST_PAGES = 40
_BODY_CAP_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaNewsSettings(DataSettings):
    """Where the data API is and how it is asked.

    ``most_items`` bounds the articles of one group of symbols: without it the SDK would
    walk the whole archive.
    """

    fetch_seconds: float = 30.0
    most_items: int = 1000


class AlpacaNews:
    """A NewsSource on Alpaca's REST archive."""

    name = "alpaca"

    def __init__(self, data: AlpacaData, settings: AlpacaNewsSettings) -> None:
        self._data = data
        self._settings = settings

    @classmethod
    def connect(
        cls, settings: AlpacaNewsSettings, *, key_id: Secret, secret_key: Secret, clock: Clock
    ) -> "AlpacaNews":
        """Build the source; nothing is sent yet."""
        data = AlpacaData(
            settings,
            key_id=key_id,
            secret_key=secret_key,
            clock=clock,
            body_cap_bytes=_BODY_CAP_BYTES,
            max_requests=_MOST_PAGES,
        )
        return cls(data, settings)

    async def headlines(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime
    ) -> Sequence[NewsItem]:
        """Return what was published in ``[start, end)``, oldest first.

        The archive has the last revision alone, so what was revised since ``end`` is left out:
        on a replayed day its text would tell of what came after.

        Raises:
            ProviderUnavailable: no usable answer in time.
        """

        async def fetch(group: Sequence[Symbol]) -> Sequence[NewsItem]:
            return await self._group(group, start, end)

        fetched = await self._data.in_groups(symbols, fetch, what="news")
        # An article about symbols of two groups comes twice; a revised one, too.
        items = {item.item_id: item for one in fetched for item in one}
        inside = [item for item in items.values() if start <= item.published_at < end]
        return sorted(inside, key=lambda item: (item.published_at, item.item_id))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._data.aclose()

    async def _group(
        self, symbols: Sequence[Symbol], start: dt.datetime, end: dt.datetime
    ) -> Sequence[NewsItem]:
        request = NewsRequest(
            symbols=",".join(symbols),
            start=start.astimezone(UTC),
            end=end.astimezone(UTC),
            sort="desc",
            limit=self._settings.most_items,
            include_content=False,
        )

        def read(client: NewsClient) -> Sequence[object]:
            raw = client.get_news(request)
            rows = raw.get("news") if isinstance(raw, Mapping) else None
            if not isinstance(rows, list):
                raise DataError("the answer holds no list of news")
            return rows

        rows = await self._data.call(NewsClient, read)
        known = (row for row in rows if isinstance(row, Mapping) and _was_written(row, end))
        found = (item_of(row) for row in known)
        return [item for item in found if item is not None]


def _was_written(row: Mapping[str, object], end: dt.datetime) -> bool:
    revised = updated_at(row)
    return revised is None or revised < end
