"""Alpaca's news as it is published, for what acts within the day.

The stream replays nothing, so whenever it is ready again the archive is asked for what
was missed.  A story is told once for each of its revisions, whichever way it comes.
"""

import collections
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from domain.clock import Clock
from domain.errors import DataError, ProviderUnavailable
from domain.ids import Symbol
from domain.market import NewsItem
from domain.secrets import Secret
from sentiment.alpaca_parsing import item_of, updated_at
from sentiment.base import NewsSource
from transport.alpaca_feed import Feed, FeedReader
from transport.alpaca_stream import LONGEST_SHOWN, Dropped, StreamSettings

_MOST_REMEMBERED = 20_000
# What was published just before the connection broke may not have been sent any more.
_OVERLAP = dt.timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsStreamSettings(StreamSettings):
    """Where the stream is; news are sparse, so silence says nothing and the pings tell.

    ``first_look_back`` is what the archive is asked for at the first start.
    """

    url: str = "wss://stream.data.alpaca.markets/v1beta1/news"
    first_look_back: dt.timedelta = dt.timedelta(hours=24)


class SeenNews:
    """Which revision of each story was told; the oldest are forgotten first."""

    def __init__(self, most: int = _MOST_REMEMBERED) -> None:
        self._most = most
        self._told: collections.OrderedDict[str, tuple[NewsItem, dt.datetime | None]] = (
            collections.OrderedDict()
        )

    def is_new(self, item: NewsItem, revised_at: dt.datetime | None) -> bool:
        """Tell whether to pass it on, and remember it; the archive gives no ``revised_at``."""
        before = self._told.get(item.item_id)
        if before is not None:
            told, when = before
            is_older = revised_at is not None and when is not None and revised_at <= when
            if told == item or is_older:
                return False
            revised_at = revised_at or when
        self._told[item.item_id] = (item, revised_at)
        self._told.move_to_end(item.item_id)
        while len(self._told) > self._most:
            self._told.popitem(last=False)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Callbacks:
    news: Callable[[NewsItem], None]
    unreadable: Callable[[str], None]


class AlpacaNewsStream:
    """News of some symbols, live; ``archive`` fills the holes."""

    def __init__(
        self,
        settings: NewsStreamSettings,
        archive: NewsSource,
        *,
        key_id: Secret,
        secret_key: Secret,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._archive = archive
        self._feed = Feed("news", settings, key_id=key_id, secret_key=secret_key)
        self._clock = clock
        self._seen = SeenNews()
        self._known_until: dt.datetime | None = None

    async def run(
        self,
        symbols: Iterable[Symbol],
        *,
        on_news: Callable[[NewsItem], None],
        on_unreadable: Callable[[str], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Stay connected until cancelled; reconnect with back-off."""
        wanted = sorted(set(symbols))
        callbacks = _Callbacks(news=on_news, unreadable=on_unreadable)

        async def live() -> tuple[Dropped, bool]:
            return await self._live(wanted, callbacks)

        await self._feed.connections(self._clock).keep(live, on_lost)

    async def _live(self, symbols: Sequence[Symbol], callbacks: _Callbacks) -> tuple[Dropped, bool]:
        is_filled = False

        def tell(message: Mapping[str, Any]) -> None:
            if message["T"] == "n":
                self._take(message, callbacks)

        async def fill() -> None:
            nonlocal is_filled
            is_filled = await self._fill(symbols, callbacks)

        reader = FeedReader(self._settings, tell=tell, on_unreadable=callbacks.unreadable)
        end, was_ready = await self._feed.live(reader, symbols, ("news",), fill)
        if is_filled:
            self._known_until = self._clock.now()
        return end, was_ready

    async def _fill(self, symbols: Sequence[Symbol], callbacks: _Callbacks) -> bool:
        now = self._clock.now()
        start = now - self._settings.first_look_back
        if self._known_until is not None:
            start = self._known_until - _OVERLAP
        try:
            items = await self._archive.headlines(symbols, start, now)
        except (ProviderUnavailable, DataError) as exc:
            # The hole stays open, and the next connection asks for it again; live news go on.
            why = f"the archive, since {start:%H:%M} UTC: {exc}"
            callbacks.unreadable(why[:LONGEST_SHOWN])
            return False
        for item in items:
            self._tell(item, None, callbacks)
        return True

    def _take(self, message: Mapping[str, Any], callbacks: _Callbacks) -> None:
        item = item_of(message)
        if item is None:
            raise DataError("no story")
        self._tell(item, updated_at(message), callbacks)

    def _tell(self, item: NewsItem, revised_at: dt.datetime | None, callbacks: _Callbacks) -> None:
        if self._seen.is_new(item, revised_at):
            callbacks.news(replace(item, seen_at=self._clock.now()))
