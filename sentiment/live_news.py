"""The archive of a vendor with its stream beside it: what was heard live stands in for it."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from domain.errors import DataError, ProviderUnavailable
from domain.ids import Symbol
from domain.market import NewsItem
from sentiment.base import NewsSource

# Longer than any look-back that is useful.
_KEPT = dt.timedelta(days=7)

_LOG = structlog.get_logger(__name__)


class NewsStream(Protocol):
    """Tells news as they are published, until it is cancelled."""

    async def run(
        self,
        symbols: Iterable[Symbol],
        *,
        on_news: Callable[[NewsItem], None],
        on_unreadable: Callable[[str], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Stay connected; reconnect with back-off."""


class LiveNews:
    """A NewsSource that asks the archive and adds what the stream told.

    When the archive is silent, what was heard live is given alone, and ``shortfalls``
    says so.  ``deadline_seconds`` must be below that of whoever asks, ``time_scale`` is the
    number of loop seconds in a real one.
    """

    def __init__(
        self, archive: NewsSource, *, deadline_seconds: float, time_scale: float = 1.0
    ) -> None:
        self._archive = archive
        self._deadline_seconds = deadline_seconds
        self._time_scale = time_scale
        self._heard: dict[str, NewsItem] = {}
        self.name = archive.name
        self.shortfalls: tuple[str, ...] = ()

    @contextlib.asynccontextmanager
    async def listening(self, stream: NewsStream, symbols: Iterable[Symbol]) -> AsyncIterator[None]:
        """Listen until the block ends."""
        run = stream.run(
            sorted(set(symbols)),
            on_news=self.hear,
            on_unreadable=lambda text: _LOG.warning("news.unreadable", reason=text),
            on_lost=lambda text: _LOG.warning("news.stream_lost", reason=text),
        )
        task = asyncio.create_task(_followed(run))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def hear(self, item: NewsItem) -> None:
        """Keep a story; a revision takes the place of what it revises."""
        self._heard[item.item_id] = item
        oldest = item.published_at - _KEPT
        if len(self._heard) % 1_000 == 0:
            self._heard = {
                known: one for known, one in self._heard.items() if one.published_at >= oldest
            }

    async def headlines(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime
    ) -> Sequence[NewsItem]:
        """Return what was published in ``[start, end)``, oldest first.

        Raises:
            ProviderUnavailable: the archive is silent and nothing was heard.
        """
        wanted = set(symbols)
        self.shortfalls = ()
        found = {
            item.item_id: item
            for item in self._heard.values()
            if start <= item.published_at < end and wanted & set(item.symbols)
        }
        try:
            for one in await self._told(wanted, start, end):
                # The archive has the latest revision, the stream the moment it reached us.
                heard = found.get(one.item_id)
                found[one.item_id] = replace(one, seen_at=heard.seen_at) if heard else one
        except (ProviderUnavailable, DataError) as exc:
            if not found:
                raise
            self.shortfalls = (f"{self.name}: {exc}; what was heard live stands in",)
        return sorted(found.values(), key=lambda item: (item.published_at, item.item_id))

    async def _told(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime
    ) -> Sequence[NewsItem]:
        try:
            async with asyncio.timeout(self._deadline_seconds * self._time_scale):
                return await self._archive.headlines(symbols, start, end)
        except TimeoutError as exc:
            raise ProviderUnavailable(f"no answer within {self._deadline_seconds:g} s") from exc


async def _followed(run: Awaitable[None]) -> None:
    try:
        await run
    except Exception as exc:  # noqa: BLE001 - nobody waits for this task
        _LOG.error("news.stream_lost", reason=f"for good, restart to hear it again: {exc!r}")
