"""Prices within the day, derived from recorded daily bars.

A daily bar does not say how the price moved.  This path touches exactly the recorded
open, high, low and close, in steps, by a fixed rule: the open first, then the extreme
against the day's direction, then the other, then the close.
"""

import bisect
import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from brokers.exchange.prices import Listing, Quote
from domain.ids import Symbol
from domain.market import Bar, Session
from domain.money import tick

# Recorded prices often carry float noise far behind the tick; the wire has none.
_PRICE_GRID = Decimal("0.0001")
_BPS = Decimal(10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    """Anchors are (step, price); between them the price moves in a straight line."""

    opened: dt.datetime
    anchors: tuple[tuple[int, Decimal], ...]
    volume_per_step: Decimal

    def price(self, at: dt.datetime, step: dt.timedelta, closed: dt.datetime) -> Decimal:
        count = self.anchors[-1][0]
        place = count if at >= closed else min((at - self.opened) // step, count)
        for (left, start), (right, end) in itertools.pairwise(self.anchors):
            if place == left:
                return start
            if place < right:
                value = start + (end - start) * (place - left) / (right - left)
                return value.quantize(tick(value), rounding=ROUND_HALF_EVEN)
        return self.anchors[-1][1]


class DailyPath:
    """A PriceFeed over daily bars; symbols without open, high and low cannot trade."""

    def __init__(
        self,
        bars: Mapping[Symbol, Sequence[Bar]],
        sessions: Sequence[Session],
        *,
        step_seconds: int = 300,
        spread_bps: Decimal = Decimal(2),
    ) -> None:
        self._step = dt.timedelta(seconds=step_seconds)
        self._spread = spread_bps
        self._sessions = sorted(sessions, key=lambda session: session.date)
        self._opens = [session.open for session in self._sessions]
        # The left edge of a daily bar has the session's date, whether it is given as midnight
        # in New York or in UTC.
        self._bars = {
            symbol: {bar.at.date(): bar for bar in series} for symbol, series in bars.items()
        }
        self._dates = {symbol: sorted(series) for symbol, series in self._bars.items()}
        self._listings = {
            symbol: Listing(
                symbol=symbol,
                name=f"{symbol} Common Stock",
                is_tradable=bool(bars[symbol]) and all(bar.has_range for bar in bars[symbol]),
            )
            for symbol in sorted(bars)
        }
        self._paths: dict[tuple[Symbol, dt.date], _Path | None] = {}

    def quote(self, symbol: Symbol, at: dt.datetime) -> Quote | None:
        """Return the prices in force at a moment; outside sessions those of the last close."""
        session = self._session_started(at)
        if session is None:
            return None
        path = self._path(symbol, session)
        if path is not None:
            last = path.price(at, self._step, session.close)
            return self._spread_around(last, path.volume_per_step)
        close = self._last_close(symbol, session.date, is_closed=at >= session.close)
        return self._spread_around(close, None) if close is not None else None

    def next_change(self, after: dt.datetime) -> dt.datetime | None:
        """Return the next step of the running session, or the next open."""
        session = self._session_started(after)
        if session is not None and after < session.close:
            count = (after - session.open) // self._step + 1
            return min(session.open + count * self._step, session.close)
        place = bisect.bisect_right(self._opens, after)
        return self._opens[place] if place < len(self._opens) else None

    def listings(self) -> Sequence[Listing]:
        """Return all symbols, sorted."""
        return list(self._listings.values())

    def listing(self, symbol: Symbol) -> Listing | None:
        """Return one symbol; it is tradable when its bars have a range."""
        return self._listings.get(symbol)

    def daily_bars(self, symbol: Symbol, start: dt.date, end: dt.date) -> Sequence[Bar]:
        """Return the recorded daily bars between two dates, both included."""
        dates = self._dates.get(symbol, [])
        left, right = bisect.bisect_left(dates, start), bisect.bisect_right(dates, end)
        return [self._bars[symbol][date] for date in dates[left:right]]

    def _session_started(self, at: dt.datetime) -> Session | None:
        place = bisect.bisect_right(self._opens, at) - 1
        return self._sessions[place] if place >= 0 else None

    def _last_close(self, symbol: Symbol, date: dt.date, *, is_closed: bool) -> Decimal | None:
        dates = self._dates.get(symbol, [])
        find = bisect.bisect_right if is_closed else bisect.bisect_left
        place = find(dates, date) - 1
        return _price(self._bars[symbol][dates[place]].close) if place >= 0 else None

    def _path(self, symbol: Symbol, session: Session) -> _Path | None:
        key = (symbol, session.date)
        if key not in self._paths:
            bar = self._bars.get(symbol, {}).get(session.date)
            self._paths[key] = self._build(bar, session) if bar is not None else None
        return self._paths[key]

    def _build(self, bar: Bar, session: Session) -> _Path | None:
        if bar.open is None or bar.high is None or bar.low is None:
            return None
        count = max(3, -(-(session.close - session.open) // self._step))
        rises = bar.close >= bar.open
        first, second = (bar.low, bar.high) if rises else (bar.high, bar.low)
        return _Path(
            opened=session.open,
            anchors=(
                (0, _price(bar.open)),
                (count // 3, _price(first)),
                (2 * count // 3, _price(second)),
                (count, _price(bar.close)),
            ),
            volume_per_step=Decimal(int(bar.volume or 0)) / count,
        )

    def _spread_around(self, last: Decimal, volume: Decimal | None) -> Quote:
        half = last * self._spread / _BPS / 2
        bid = (last - half).quantize(tick(last - half), rounding=ROUND_FLOOR)
        ask = (last + half).quantize(tick(last + half), rounding=ROUND_CEILING)
        return Quote(bid=bid, ask=ask, last=last, volume=volume)


def _price(value: float) -> Decimal:
    # repr() of a float is its shortest exact text, so a recorded 143.21 stays 143.21.
    return Decimal(repr(value)).quantize(_PRICE_GRID, rounding=ROUND_HALF_EVEN)
