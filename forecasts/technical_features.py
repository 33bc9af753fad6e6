"""Technical indicators by TA-Lib, an optional set of features; the only module that needs it.

TA-Lib's averages remember their whole past, and its running sums carry rounding along, so an
indicator over ten years differs from the same one over six months.  Here each row is
computed from its own last ``WARM_UP_BARS`` bars alone: slower, but the past cannot matter
beyond them, nor the future at all.
"""

from collections.abc import Callable

import numpy as np
import talib

from forecasts.bar_features import WARM_UP_BARS, Floats, known, windows

_RETURNS = 20
_SMALLEST = 1e-12


def technical_table(close: Floats, high: Floats, low: Floats, volume: Floats) -> Floats:
    """Compute the indicators of every bar whose window is full.

    Shape (symbols, bars - 120, 7), in the order of ``features.TECHNICAL_FEATURES``.  What
    needs a range or a volume is 0 where it is unknown.
    """
    level, *ranges = (
        windows(values, WARM_UP_BARS).reshape(-1, WARM_UP_BARS)
        for values in (np.log(close), high, low, close, volume)
    )
    table = np.stack([*_of_closes(level), *_of_ranges(*ranges)], axis=-1)
    return known(table).reshape(*close.shape[:-1], -1, table.shape[-1])


def _of_closes(level: Floats) -> list[Floats]:
    # On the logarithm of prices, and in units of volatility or of the band's own width.
    daily = np.diff(level[:, -_RETURNS - 1 :], axis=-1)
    scale = np.maximum(np.sqrt((daily * daily).mean(axis=-1)), _SMALLEST)
    strength = _each(lambda one: talib.RSI(one, 14)[-1], level)
    histogram = _each(lambda one: talib.MACD(one, 12, 26, 9)[2][-1], level)
    return [strength / 50 - 1, histogram / scale, _each(_place_in_band, level)]


def _place_in_band(level: Floats) -> float:
    upper, middle, _ = talib.BBANDS(level, 20, 2.0, 2.0)
    width = upper[-1] - middle[-1]
    return float((level[-1] - middle[-1]) / width) if width > _SMALLEST else 0.0


def _of_ranges(high: Floats, low: Floats, close: Floats, volume: Floats) -> list[Floats]:
    bars = (high, low, close)
    return [
        _each(_stochastic, *bars) / 50 - 1,
        _each(lambda high, low, close: talib.ADX(high, low, close, 14)[-1], *bars) / 100,
        _each(lambda high, low, close: talib.CCI(high, low, close, 20)[-1], *bars) / 100,
        _each(_money_flow, *bars, volume) / 50 - 1,
    ]


def _stochastic(high: Floats, low: Floats, close: Floats) -> float:
    fast, _ = talib.STOCHF(high, low, close, fastk_period=14, fastd_period=1)
    return float(fast[-1])


def _money_flow(high: Floats, low: Floats, close: Floats, volume: Floats) -> float:
    return float(talib.MFI(high, low, close, volume, 14)[-1])


def _each(indicator: Callable[..., float], *columns: Floats) -> Floats:
    found = np.full(columns[0].shape[0], np.nan)
    complete = np.isfinite(np.stack([column.sum(axis=-1) for column in columns])).all(axis=0)
    for row in np.flatnonzero(complete):
        found[row] = indicator(*(column[row] for column in columns))
    return found
