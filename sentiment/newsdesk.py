"""Several news sources as one, under one deadline."""

import asyncio
import datetime as dt
from collections.abc import Iterable, Sequence

from domain.errors import DataError, ProviderUnavailable
from domain.ids import Symbol
from domain.market import NewsItem
from sentiment.base import NewsSource
from sentiment.news import select


class NewsDesk:
    """A NewsSource that asks all of its sources at once and prints each story once.

    A source that fails or is late is left out, and named in ``shortfalls``; the desk
    fails only when all do.  ``time_scale`` is the number of loop seconds in a real one.
    """

    def __init__(
        self,
        sources: Sequence[NewsSource],
        *,
        deadline_seconds: float,
        time_scale: float = 1.0,
    ) -> None:
        self._sources = tuple(sources)
        self._deadline_seconds = deadline_seconds
        self._time_scale = time_scale
        self.name = "+".join(source.name for source in sources)
        self.shortfalls: tuple[str, ...] = ()

    async def headlines(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime
    ) -> Sequence[NewsItem]:
        """Return what was published in ``[start, end)``, oldest first, each story once.

        Raises:
            ProviderUnavailable: no source answered in time.
        """
        wanted = sorted(set(symbols))
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._ask(source, wanted, start, end)) for source in self._sources
            ]
        answers = [task.result() for task in tasks]
        failed = tuple(one for one in answers if isinstance(one, str))
        if self._sources and len(failed) == len(self._sources):
            self.shortfalls = failed
            raise ProviderUnavailable("; ".join(failed))
        # A source that answered may still say what it could not have.
        partly = (text for source in self._sources for text in getattr(source, "shortfalls", ()))
        self.shortfalls = (*failed, *partly)
        found = [item for one in answers if not isinstance(one, str) for item in one]
        return select(found, as_of=end, max_age=end - start)

    async def _ask(
        self,
        source: NewsSource,
        symbols: Sequence[Symbol],
        start: dt.datetime,
        end: dt.datetime,
    ) -> Sequence[NewsItem] | str:
        try:
            async with asyncio.timeout(self._deadline_seconds * self._time_scale):
                return await source.headlines(symbols, start, end)
        except TimeoutError:
            return f"{source.name}: no answer within {self._deadline_seconds:g} s"
        except (ProviderUnavailable, DataError) as exc:
            return f"{source.name}: {exc}"
