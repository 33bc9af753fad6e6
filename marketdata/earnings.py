"""Earnings dates that outlive a silent vendor, and those of several sources as one."""

import asyncio
import csv
import datetime as dt
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import structlog

from domain.clock import Clock
from domain.errors import DataError, ProviderRefused, ProviderUnavailable
from domain.ids import Symbol
from marketdata.events import CorporateEvent, EventKind, EventSource

# Companies announce their dates weeks ahead, so a calendar of this age still serves.
MOST_AGE = dt.timedelta(days=7)

_LOG = structlog.get_logger(__name__)


class JoinedEvents:
    """Several EventSources as one; when one of them fails, so does the whole."""

    def __init__(self, sources: Sequence[EventSource]) -> None:
        self._sources = tuple(sources)

    async def events(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Sequence[CorporateEvent]:
        """Return the events of the dates ``start`` to ``end``, oldest first.

        Raises:
            ProviderUnavailable: a source did not answer; DataError means the same.
        """
        wanted = sorted(set(symbols))
        answers = [await source.events(wanted, start, end) for source in self._sources]
        found = (event for answer in answers for event in answer)
        return sorted(found, key=lambda event: (event.date, event.symbol, event.kind))


class RememberedEarnings:
    """An EventSource that keeps what its vendor said last, for when that is silent.

    What was kept serves only for symbols that were asked about then, and for a week.
    """

    def __init__(self, vendor: EventSource, path: Path, *, clock: Clock) -> None:
        self._vendor = vendor
        self._path = path
        self._clock = clock

    async def events(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Sequence[CorporateEvent]:
        """Return the reports of the dates ``start`` to ``end``, oldest first.

        Raises:
            ProviderRefused: the vendor refused the key.
            ProviderUnavailable: no answer, and nothing fresh enough is kept.
        """
        wanted = sorted(set(symbols))
        # Reports that are past keep nobody out, and some vendors are asked week by week.
        start = max(start, self._clock.now().date() - dt.timedelta(days=1))
        try:
            found = await self._vendor.events(wanted, start, end)
        except ProviderRefused:
            raise
        except (ProviderUnavailable, DataError) as exc:
            kept = await asyncio.to_thread(self._read, set(wanted))
            if kept is None:
                raise
            _LOG.warning("earnings.not_refreshed", reason=str(exc))
            return [event for event in kept if start <= event.date <= end]
        await asyncio.to_thread(self._write, wanted, found)
        return found

    def _write(self, symbols: Sequence[Symbol], events: Sequence[CorporateEvent]) -> None:
        fresh = self._path.with_suffix(".new")
        head = {"fetched_at": self._clock.now().isoformat(), "symbols": list(symbols)}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("w", newline="", encoding="utf-8") as file:
                file.write(json.dumps(head) + "\n")
                lines = csv.writer(file)
                lines.writerows([one.symbol, one.date.isoformat(), one.detail] for one in events)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as exc:
            # Nothing depends on it but the next silence.
            _LOG.warning("earnings.not_kept", reason=str(exc))

    def _read(self, wanted: set[Symbol]) -> Sequence[CorporateEvent] | None:
        try:
            with self._path.open(newline="", encoding="utf-8") as file:
                head = json.loads(file.readline())
                age = self._clock.now() - dt.datetime.fromisoformat(head["fetched_at"])
                if not (dt.timedelta(0) <= age <= MOST_AGE and wanted <= set(head["symbols"])):
                    return None
                found = [_event(*line) for line in csv.reader(file)]
        except (OSError, ValueError, KeyError, TypeError, csv.Error):
            return None
        return [event for event in found if event.symbol in wanted]


def _event(symbol: str, date: str, detail: str) -> CorporateEvent:
    return CorporateEvent(
        symbol=Symbol(symbol),
        kind=EventKind.EARNINGS,
        date=dt.date.fromisoformat(date),
        detail=detail,
    )
