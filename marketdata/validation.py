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
    dates = [session.date for session in sessions]
    # The same few moments come back with every symbol; a time zone is looked up once each.
    date_of = functools.cache(trading_date)
    for symbol in sorted(set(symbols)):
        series = tuple(bars.get(symbol, ()))
        one = _Series(symbol=symbol, bars=series, days=tuple(date_of(bar.at) for bar in series))
        known = (actions or {}).get(symbol, ())
        reason = _first_fault(one, dates, rules, known)
        if reason is None:
            fit[symbol] = series
        else:
            excluded[symbol] = reason
    return Validated(bars=fit, excluded=excluded)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    symbol: Symbol
    bars: tuple[Bar, ...]
    days: tuple[dt.date, ...]


def _first_fault(
    series: _Series,
    dates: Sequence[dt.date],
    rules: BarRules,
    actions: Collection[dt.date],
) -> str | None:
    if not series.bars:
        return "no bars"
    if not dates:
        return "no session to compare with"
    return (
        _belongs(series)
        or _possible(series)
        or _in_order(series)
        or _on_sessions(series, dates)
        or _fresh(series, dates)
        or _long_enough(series, rules)
        or _without_holes(series, dates, rules)
        or _without_jumps(series, rules, actions)
        or _alive(series, rules)
    )


def _belongs(series: _Series) -> str | None:
    other = next((bar.symbol for bar in series.bars if bar.symbol != series.symbol), None)
    return None if other is None else f"holds a bar of {other}"


def _possible(series: _Series) -> str | None:
    # Bar checks this too; here it holds for whatever a source made by other means.
    for bar, day in zip(series.bars, series.days, strict=True):
        if _is_plain(bar):
            continue
        prices = [p for p in (bar.open, bar.high, bar.low, bar.close) if p is not None]
        if not all(math.isfinite(price) and price > 0 for price in prices):
            return f"price not above 0 on {day}"
        if bar.high is not None and not max(prices) <= bar.high:
            return f"price above the high on {day}"
        if bar.low is not None and not min(prices) >= bar.low:
            return f"price below the low on {day}"
        if bar.volume is not None and not (math.isfinite(bar.volume) and bar.volume >= 0):
            return f"bad volume on {day}"
    return None


def _is_plain(bar: Bar) -> bool:
    # Most bars by far, in a few comparisons; no comparison holds for NaN.
    if bar.low is None or bar.open is None or bar.high is None or bar.volume is None:
        return bar.low is bar.open is bar.high is bar.volume is None and 0 < bar.close < math.inf
    return (
        0 < bar.low <= bar.open <= bar.high < math.inf
        and bar.low <= bar.close <= bar.high
        and 0 <= bar.volume < math.inf
    )


def _in_order(series: _Series) -> str | None:
    for one, two in itertools.pairwise(series.days):
        if one == two:
            return f"two bars on {one}"
        if not one < two:
            return f"bar of {two} comes after that of {one}"
    return None


def _on_sessions(series: _Series, dates: Sequence[dt.date]) -> str | None:
    known = set(dates)
    for day in series.days:
        if day > dates[-1]:
            return f"bar of {day} is newer than the last complete session {dates[-1]}"
        if day >= dates[0] and day not in known:
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
