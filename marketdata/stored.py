"""A bar source that keeps what another one gave, and asks only for what is missing.

A small overlap is fetched again each time: when it differs from what is stored, the past
was restated (a split, a correction), and the whole series is fetched anew rather than
joined out of two.
"""

import asyncio
import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence

import structlog

from domain.clock import Clock
from domain.errors import DataError, ProviderRefused, ProviderUnavailable
from domain.ids import Symbol
from domain.market import Bar
from marketdata.base import BarSource, SessionCalendar
from marketdata.session_calendar import last_complete, prices_move_from, trading_date
from marketdata.store import BarStore, Provenance, StoredSeries

_OVERLAP = dt.timedelta(days=10)
_SAME = 1e-6
# The closing auction and late prints still move a day's bar for a while.
_SETTLES = dt.timedelta(minutes=30)

_LOG = structlog.get_logger(__name__)


class StoredBars:
    """A BarSource over the local store, topped up from ``upstream``.

    ``shortfalls`` says when the last answer was not fresh, or not what was said before.
    """

    def __init__(
        self,
        store: BarStore,
        upstream: BarSource,
        *,
        clock: Clock,
        calendar: SessionCalendar,
        adjustment: str = "split",
        is_strict: bool = False,
    ) -> None:
        self._is_strict = is_strict
        self._store = store
        self._upstream = upstream
        self._clock = clock
        self._calendar = calendar
        self._adjustment = adjustment
        self.name = upstream.name
        self.shortfalls: tuple[str, ...] = ()

    async def daily_bars(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Mapping[Symbol, Sequence[Bar]]:
        """Return the complete daily bars of the dates ``start`` to ``end``, oldest first.

        When ``upstream`` does not answer, what is stored is given, unless this source is
        strict; validation tells whether it is fresh enough.

        Raises:
            ProviderRefused: keys or plan do not open ``upstream``.
            ProviderUnavailable: no answer, and nothing is stored or the source is strict.
        """
        wanted = sorted(set(symbols))
        last = min(end, last_complete(self._calendar, self._clock.now()).date)
        self.shortfalls = ()
        held = await asyncio.to_thread(self._read, wanted)
        try:
            held |= await self._top_up(wanted, held, start, last)
        except ProviderRefused:
            # Wrong keys do not pass: what is stored would only hide them for a day.
            raise
        except ProviderUnavailable as exc:
            if not held or self._is_strict:
                raise
            self._tell(f"not refreshed: {exc}")
            _LOG.warning("bars.not_refreshed", source=self.name, reason=str(exc))
        found = {symbol: _between(held[symbol].bars, start, last) for symbol in sorted(held)}
        return {symbol: bars for symbol, bars in found.items() if bars}

    def _read(self, symbols: Sequence[Symbol]) -> dict[Symbol, StoredSeries]:
        held: dict[Symbol, StoredSeries] = {}
        for symbol in symbols:
            try:
                series = self._store.read(symbol)
            except DataError as exc:
                _LOG.warning("bars.unreadable", symbol=symbol, reason=str(exc))
                continue
            # Bars of another vendor or adjustment are not continued with these.
            if series is not None and self._is_ours(series.provenance):
                held[symbol] = series
        return held

    def _is_ours(self, provenance: Provenance) -> bool:
        return (provenance.source, provenance.adjustment) == (self.name, self._adjustment)

    async def _top_up(
        self,
        symbols: Sequence[Symbol],
        held: Mapping[Symbol, StoredSeries],
        start: dt.date,
        last: dt.date,
    ) -> dict[Symbol, StoredSeries]:
        spans: dict[dt.date, list[Symbol]] = {}
        final_from = self._final_from(last)
        for symbol in symbols:
            first = _missing_from(held.get(symbol), start, last, final_from=final_from)
            if first is not None:
                spans.setdefault(first, []).append(symbol)
        fresh: dict[Symbol, StoredSeries] = {}
        for first, group in sorted(spans.items()):
            fresh |= await self._fetch(group, held, first, last)
        return fresh

    def _final_from(self, last: dt.date) -> dt.datetime:
        """Return since when the bar of ``last`` may be read as one that will not change.

        Not before it has settled; and by the morning of the next session a split of that day
        may have restated it.
        """
        now = self._clock.now()
        complete = last_complete(self._calendar, now)
        if last != complete.date:
            return dt.datetime.min.replace(tzinfo=dt.UTC)
        settled = complete.close + _SETTLES
        morning = prices_move_from(self._calendar.next_session(complete.close).date)
        return max((at for at in (settled, morning) if at <= now), default=complete.close)

    async def _fetch(
        self,
        symbols: Sequence[Symbol],
        held: Mapping[Symbol, StoredSeries],
        first: dt.date,
        last: dt.date,
    ) -> dict[Symbol, StoredSeries]:
        answer = await self._upstream.daily_bars(symbols, first, last)
        joined: dict[Symbol, StoredSeries] = {}
        restated: dict[dt.date, list[Symbol]] = {}
        for symbol in symbols:
            new, old = tuple(answer.get(symbol, ())), held.get(symbol)
            if old is not None and not new:
                # No answer about it takes nothing away; validation tells whether it is fresh.
                continue
            if old is None or first <= old.provenance.asked_from:
                joined[symbol] = self._series(symbol, new, first)
            elif _agrees(old.bars, new):
                bars = (*_between(old.bars, dt.date.min, first - dt.timedelta(days=1)), *new)
                joined[symbol] = self._series(symbol, bars, old.provenance.asked_from)
            else:
                restated.setdefault(old.provenance.asked_from, []).append(symbol)
        await asyncio.to_thread(self._write, joined)
        for asked_from, group in sorted(restated.items()):
            self._tell(f"{self.name} restated the past of {', '.join(group)}; fetched anew")
            _LOG.warning("bars.restated", source=self.name, symbols=group)
            joined |= await self._fetch(group, held, asked_from, last)
        return joined

    def _tell(self, text: str) -> None:
        self.shortfalls = (*self.shortfalls, text)

    def _series(self, symbol: Symbol, bars: Sequence[Bar], asked_from: dt.date) -> StoredSeries:
        provenance = Provenance(
            source=self.name,
            adjustment=self._adjustment,
            fetched_at=self._clock.now(),
            asked_from=asked_from,
        )
        return StoredSeries(symbol=symbol, bars=tuple(bars), provenance=provenance)

    def _write(self, fresh: Mapping[Symbol, StoredSeries]) -> None:
        for symbol, series in fresh.items():
            if series.bars:
                self._store.write(symbol, series.bars, series.provenance)


def _missing_from(
    held: StoredSeries | None, start: dt.date, last: dt.date, *, final_from: dt.datetime
) -> dt.date | None:
    """Return the first date to ask for, or None when all is there, and was read to stay."""
    if last < start:
        return None
    if held is None or start < held.provenance.asked_from or not held.bars:
        return start
    newest = trading_date(held.bars[-1].at)
    if newest >= last and held.provenance.fetched_at >= final_from:
        return None
    return max(newest - _OVERLAP, held.provenance.asked_from)


def _agrees(old: Sequence[Bar], new: Sequence[Bar]) -> bool:
    """Tell whether two series say the same where both speak, and both do."""
    closes = {bar.at: bar.close for bar in old}
    shared = [(closes[bar.at], bar.close) for bar in new if bar.at in closes]
    return bool(shared) and all(math.isclose(a, b, rel_tol=_SAME) for a, b in shared)


def _between(bars: Sequence[Bar], start: dt.date, end: dt.date) -> tuple[Bar, ...]:
    return tuple(bar for bar in bars if start <= trading_date(bar.at) <= end)
