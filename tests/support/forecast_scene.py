"""Bars that look like prices, for tests of forecasts; made from a seed, never real."""

import datetime as dt

import numpy as np

from domain.ids import Symbol
from domain.market import Bar

LAST_DAY = dt.date(2022, 11, 9)
AS_OF = dt.datetime(2022, 11, 10, 12, 0, tzinfo=dt.UTC)


def made_up_bars(
    symbol: str,
    count: int,
    *,
    seed: int = 1,
    last: dt.date = LAST_DAY,
    daily_volatility: float = 0.02,
    has_range: bool = True,
) -> tuple[Bar, ...]:
    """Return ``count`` weekday bars that end on ``last``."""
    generator = np.random.default_rng([seed, *symbol.encode()])
    closes = 100 * np.exp(np.cumsum(generator.normal(0, daily_volatility, count)))
    spreads = np.abs(generator.normal(0.01, 0.003, count)) + 0.001
    volumes = np.exp(generator.normal(15, 0.3, count))
    days = _weekdays_until(last, count)
    bars = []
    for day, close, spread, volume in zip(days, closes, spreads, volumes, strict=True):
        at = dt.datetime.combine(day, dt.time(5), tzinfo=dt.UTC)
        extra = (
            {
                "open": float(close),
                "high": float(close * (1 + spread)),
                "low": float(close * (1 - spread)),
                "volume": float(volume),
            }
            if has_range
            else {}
        )
        bars.append(Bar(symbol=Symbol(symbol), at=at, close=float(close), **extra))
    return tuple(bars)


def history_of(*symbols: str, count: int = 200) -> dict[Symbol, tuple[Bar, ...]]:
    """Return bars of several symbols."""
    return {Symbol(symbol): made_up_bars(symbol, count) for symbol in symbols}


def _weekdays_until(last: dt.date, count: int) -> list[dt.date]:
    days: list[dt.date] = []
    day = last
    while len(days) < count:
        if day.weekday() < 5:
            days.append(day)
        day -= dt.timedelta(days=1)
    return days[::-1]
