"""News from Alpaca (written by Benzinga), tagged with symbols by the vendor.

alpaca-py builds the request and follows the pages, in a worker thread; its transport is
replaced (see transport.sdk_session) and its retry switched off.
"""

import asyncio
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from alpaca.data.historical.news import NewsClient
from alpaca.data.requests import NewsRequest

from domain.clock import UTC, Clock
from domain.errors import DataError, ProviderRefused, ProviderUnavailable, first_cause
from domain.ids import Symbol
from domain.market import NewsItem
from domain.secrets import Secret
from sentiment.alpaca_parsing import item_of
from transport.http import BoundedClient, Deadlines, HttpSettings
from transport.sdk_session import HttpRefusal, SdkCaller, SdkSession

_REFUSED = frozenset({401, 403})
_MOST_PAGES = 40
_BODY_CAP_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaNewsSettings:
    """Where the data API is and how it is asked.

    ``most_items`` bounds the articles of one group of symbols: without it the SDK would
    walk the whole archive.
    """

    data_url: str = "https://data.alpaca.markets"
    deadlines: Deadlines = field(default_factory=Deadlines)
    fetch_seconds: float = 30.0
    group_size: int = 50
    concurrency: int = 4
    most_items: int = 1000
    time_scale: float = 1.0


class AlpacaNews:
    """A NewsSource on Alpaca's REST archive."""

    name = "alpaca"

    def __init__(
        self,
        client: BoundedClient,
        settings: AlpacaNewsSettings,
        *,
        key_id: Secret,
        secret_key: Secret,
        clock: Clock,
    ) -> None:
        self._client = client
        self._caller = SdkCaller(
            client, clock=clock, concurrency=settings.concurrency, max_requests=_MOST_PAGES
        )
        self._settings = settings
        self._key_id = key_id
        self._secret_key = secret_key

    @classmethod
    def connect(
        cls, settings: AlpacaNewsSettings, *, key_id: Secret, secret_key: Secret, clock: Clock
    ) -> "AlpacaNews":
        """Build the source; nothing is sent yet."""
        http = HttpSettings(
            base_url=settings.data_url,
            deadlines=settings.deadlines,
            body_cap_bytes=_BODY_CAP_BYTES,
            max_connections=settings.concurrency,
            time_scale=settings.time_scale,
        )
        client = BoundedClient(http, {})
        return cls(client, settings, key_id=key_id, secret_key=secret_key, clock=clock)

    async def headlines(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime
    ) -> Sequence[NewsItem]:
        """Return what was published in ``[start, end)``, oldest first.

        Raises:
            ProviderUnavailable: no usable answer in time.
        """
        wanted = sorted(set(symbols))
        size = self._settings.group_size
        groups = [wanted[place : place + size] for place in range(0, len(wanted), size)]
        limit = self._settings.fetch_seconds * self._settings.time_scale
        try:
            async with asyncio.timeout(limit), asyncio.TaskGroup() as tasks:
                fetched = [tasks.create_task(self._group(group, start, end)) for group in groups]
        except TimeoutError as exc:
            raise ProviderUnavailable(
                f"alpaca: news did not come within {self._settings.fetch_seconds:g} s"
            ) from exc
        except BaseExceptionGroup as failures:
            raise first_cause(failures) from failures
        # An article about symbols of two groups comes twice; a revised one, too.
        items = {item.item_id: item for task in fetched for item in task.result()}
        inside = [item for item in items.values() if start <= item.published_at < end]
        return sorted(inside, key=lambda item: (item.published_at, item.item_id))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

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

        def run(session: SdkSession) -> Sequence[object]:
            client = NewsClient(
                self._key_id.reveal(),
                self._secret_key.reveal(),
                raw_data=True,
                url_override=self._caller.base_url,
            )
            # Private names, pinned with the version: the SDK has no other way in.
            client._session = session  # type: ignore[assignment]
            client._retry = 0
            raw = client.get_news(request)
            rows = raw.get("news") if isinstance(raw, Mapping) else None
            if not isinstance(rows, list):
                raise DataError("the answer holds no list of news")
            return rows

        try:
            rows = await self._caller.call(run)
        except HttpRefusal as exc:
            if exc.status in _REFUSED:
                raise ProviderRefused(
                    f"alpaca: the keys were refused; check APCA_API_KEY_ID: {exc}"
                ) from exc
            raise ProviderUnavailable(f"alpaca: {exc}") from exc
        found = (item_of(row) for row in rows if isinstance(row, Mapping))
        return [item for item in found if item is not None]
