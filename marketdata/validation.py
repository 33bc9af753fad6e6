"""The checks every bar passes before anything decides on it.  Pure.

A doubt about a symbol takes the symbol out, with the reason; it never mends a price.
"""

import datetime as dt
import functools
import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from domain.ids import Symbol
from domain.market import Bar, Session
from marketdata.session_calendar import trading_date


@dataclass(frozen=True, slots=True, kw_only=True)
class BarRules:
    """What is asked of the bars of one symbol.

    ``look_back`` sessions must be without a hole; ``min_history`` bars must be there in
    all; a move above ``max_jump_fraction`` in one session needs a corporate action.
    A feed that repeats itself ``max_repeats`` times counts as frozen; closes alone may
    stand still honestly, so they are allowed ``max_equal_closes``.
    """

    look_back: int = 60
    min_history: int = 60
    max_jump_fraction: float = 0.40
    max_repeats: int = 2
    max_equal_closes: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """Bars fit for a decision, and the symbols that sit out with the reason."""

    bars: Mapping[Symbol, tuple[Bar, ...]]
    excluded: Mapping[Symbol, str] = field(default_factory=dict)


def validate(
    bars: Mapping[Symbol, Sequence[Bar]],
    sessions: Sequence[Session],
    *,
    symbols: Iterable[Symbol],
    rules: BarRules,
    actions: Mapping[Symbol, Collection[dt.date]] | None = None,
) -> Validated:
    """Check the bars of every wanted symbol.

    Args:
        bars: what the source gave, by symbol.
        sessions: complete sessions, oldest first; the last one is the one whose bar
            must be the newest.
        symbols: the wanted symbols; any other in ``bars`` is dropped.
        rules: the bounds.
        actions: dates of splits and other corporate actions, which explain a jump.
    """
    fit: dict[Symbol, tuple[Bar, ...]] = {}
    excluded: dict[Symbol, str] = {}
    calendar = _Calendar.of(sessions)
    # The same few moments come back with every symbol; a time zone is looked up once each.
    date_of = functools.cache(trading_date)
    for symbol in sorted(set(symbols)):
        series = tuple(bars.get(symbol, ()))
        one = _Series(symbol=symbol, bars=series, days=tuple(date_of(bar.at) for bar in series))
        known = (actions or {}).get(symbol, ())
        reason = _first_fault(one, calendar, rules, known)
        if reason is None:
            fit[symbol] = series
        else:
            excluded[symbol] = reason
    return Validated(bars=fit, excluded=excluded)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Calendar:
    dates: tuple[dt.date, ...]
    known: frozenset[dt.date]

    @classmethod
    def of(cls, sessions: Sequence[Session]) -> "_Calendar":
        dates = tuple(session.date for session in sessions)
        return cls(dates=dates, known=frozenset(dates))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    symbol: Symbol
    bars: tuple[Bar, ...]
    days: tuple[dt.date, ...]


def _first_fault(
    series: _Series,
    calendar: _Calendar,
    rules: BarRules,
    actions: Collection[dt.date],
) -> str | None:
    dates = calendar.dates
    if not series.bars:
        return "no bars"
    if not dates:
        return "no session to compare with"
    return (
        _belongs(series)
        or _possible(series)
        or _in_order(series)
        or _on_sessions(series, calendar)
        or _fresh(series, dates)
        or _long_enough(series, rules)
        or _without_holes(series, dates, rules)
        or _without_jumps(series, rules, actions)
        or _alive(series, rules)
    )


def _belongs(series: _Series) -> str | None:
    symbol = series.symbol
    for bar in series.bars:
        if bar.symbol != symbol:
            return f"holds a bar of {bar.symbol}"
    return None


def _possible(series: _Series) -> str | None:
    # Bar checks this too; here it holds for whatever a source made by other means.
    for bar, day in zip(series.bars, series.days, strict=True):
        opens, high, low, close, volume = bar.open, bar.high, bar.low, bar.close, bar.volume
        # Nearly every bar in a few comparisons, none of which holds for NaN.
        if opens is None or high is None or low is None or volume is None:
            is_plain = opens is high is low is volume is None and 0 < close < math.inf
        else:
            is_plain = (
                0 < low <= opens <= high < math.inf
                and low <= close <= high
                and 0 <= volume < math.inf
            )
        if not is_plain and (fault := _fault(bar)):
            return f"{fault} on {day}"
    return None


def _fault(bar: Bar) -> str | None:
    prices = [p for p in (bar.open, bar.high, bar.low, bar.close) if p is not None]
    if not all(math.isfinite(price) and price > 0 for price in prices):
        return "price not above 0"
    if bar.high is not None and not max(prices) <= bar.high:
        return "price above the high"
    if bar.low is not None and not min(prices) >= bar.low:
        return "price below the low"
    if bar.volume is not None and not (math.isfinite(bar.volume) and bar.volume >= 0):
        return "bad volume"
    return None


def _in_order(series: _Series) -> str | None:
    for one, two in itertools.pairwise(series.days):
        if one == two:
            return f"two bars on {one}"
        if not one < two:
            return f"bar of {two} comes after that of {one}"
    return None


def _on_sessions(series: _Series, calendar: _Calendar) -> str | None:
    first, last = calendar.dates[0], calendar.dates[-1]
    for day in sorted(set(series.days) - calendar.known):
        if day > last:
            return f"bar of {day} is newer than the last complete session {last}"
        if day >= first:
            return f"bar of {day}, when the exchange was closed"
    return None


def _fresh(series: _Series, dates: Sequence[dt.date]) -> str | None:
    newest = series.days[-1]
    return None if newest == dates[-1] else f"stale: last bar {newest}, expected {dates[-1]}"


def _long_enough(series: _Series, rules: BarRules) -> str | None:
    if len(series.bars) >= rules.min_history:
        return None
    return f"only {len(series.bars)} bars, {rules.min_history} needed"


def _without_holes(series: _Series, dates: Sequence[dt.date], rules: BarRules) -> str | None:
    there = set(series.days)
    missing = [date for date in dates[-rules.look_back :] if date not in there]
    if not missing:
        return None
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return f"no bar for {missing[0]}{more} inside the look-back"


def _without_jumps(series: _Series, rules: BarRules, actions: Collection[dt.date]) -> str | None:
    # One bar more than the look-back, so that the first return in it is judged too.
    recent = list(zip(series.bars, series.days, strict=True))[-rules.look_back - 1 :]
    for (one, _), (two, day) in itertools.pairwise(recent):
        move = two.close / one.close - 1
        if not abs(move) <= rules.max_jump_fraction and day not in actions:
            return f"unexplained move of {move:+.0%} on {day}"
    return None


def _alive(series: _Series, rules: BarRules) -> str | None:
    last = series.bars[-1]
    newest = _figures(last)
    repeats = sum(
        1 for _ in itertools.takewhile(lambda bar: _figures(bar) == newest, reversed(series.bars))
    )
    allowed = rules.max_repeats if last.has_range else rules.max_equal_closes
    if repeats < allowed:
        return None
    return f"frozen: the last {repeats} bars are the same"


def _figures(bar: Bar) -> tuple[float | None, ...]:
    return (bar.open, bar.high, bar.low, bar.close, bar.volume)
