"""Features by the name of their set: one definition for training, daemon, backtest and server.

A model's card names its features; which set that is, and whether this machine can compute
it, is decided here.  The sets themselves are in ``bar_features`` and, for those who have
TA-Lib, ``technical_features``; both are point-in-time by construction.
"""

import datetime as dt
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import cast

import numpy as np
from numpy.typing import NDArray

from domain.errors import ConfigError, DataError
from domain.market import Bar
from forecasts.bar_features import (
    BAR_FEATURES,
    LONGEST_WINDOW,
    WARM_UP_BARS,
    Dates,
    Floats,
    bar_table,
    daily_volatility,
)

# Computed together: more symbols at once leave the cache, fewer pay for Python.
_SYMBOLS_AT_ONCE = 32
_EPOCH = dt.date(1970, 1, 1).toordinal()
# Here, for they have names also where TA-Lib, which computes them, is not installed.
TECHNICAL_FEATURES = (
    "rsi_14",
    "macd_histogram",
    "bollinger_20",
    "stochastic_14",
    "adx_14",
    "cci_20",
    "mfi_14",
)


@unique
class FeatureSet(StrEnum):
    """What a model may eat."""

    BARS = "bars"
    TECHNICAL = "bars+technical"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in their order."""
        return BAR_FEATURES if self is FeatureSet.BARS else (*BAR_FEATURES, *TECHNICAL_FEATURES)


def feature_set_of(names: Sequence[str]) -> FeatureSet | None:
    """Return the set of these features, or None: another version made them."""
    return next((one for one in FeatureSet if one.names == tuple(names)), None)


def computable(names: Sequence[str], *, needed_by: str) -> FeatureSet:
    """Return the set of these features, once it is sure that it can be computed here.

    Raises:
        ConfigError: another version made them, or what they need is not installed.
    """
    feature_set = feature_set_of(names)
    if feature_set is None:
        raise ConfigError(f"{needed_by} needs features that this version does not know")
    if feature_set is FeatureSet.TECHNICAL and importlib.util.find_spec("talib") is None:
        raise ConfigError(
            f"{needed_by} needs technical indicators and TA-Lib is not installed; install "
            f"openbell[technical], or use a model whose features are {FeatureSet.BARS}"
        )
    return feature_set


@dataclass(frozen=True, slots=True, kw_only=True)
class BarColumns:
    """Bars of one symbol as columns, oldest first; unknown values are NaN."""

    dates: Dates
    close: Floats
    high: Floats
    low: Floats
    volume: Floats

    def __post_init__(self) -> None:
        """Refuse columns that do not line up or do not rise in time."""
        sizes = {self.dates.size, self.close.size, self.high.size, self.low.size, self.volume.size}
        if len(sizes) != 1:
            raise DataError("bar columns have different lengths; pass one value per bar")
        if not bool(np.all(self.dates[1:] > self.dates[:-1])):
            raise DataError("bars are not in rising order of dates; sort them, oldest first")
        if not bool(np.all(np.isfinite(self.close) & (self.close > 0))):
            raise DataError("bars have a close that is not above 0; leave such bars out")

    @property
    def last_date(self) -> dt.date:
        """Date of the newest bar."""
        return cast(dt.date, self.dates[-1].item())

    def before(self, end: dt.date) -> "BarColumns":
        """Return the bars before a date."""
        return self._part(slice(int(np.searchsorted(self.dates, np.datetime64(end, "D")))))

    def last(self, count: int) -> "BarColumns":
        """Return the newest ``count`` bars."""
        return self._part(slice(max(0, self.dates.size - count), None))

    def _part(self, part: slice) -> "BarColumns":
        return BarColumns(
            dates=self.dates[part],
            close=self.close[part],
            high=self.high[part],
            low=self.low[part],
            volume=self.volume[part],
        )


def columns_of(bars: Sequence[Bar]) -> BarColumns:
    """Turn bars into columns; the date of a bar is the UTC date of its left edge."""
    days = np.array([bar.at.toordinal() for bar in bars], dtype=np.int64) - _EPOCH
    return BarColumns(
        dates=days.astype("datetime64[D]"),
        close=np.array([bar.close for bar in bars], dtype=np.float64),
        high=_optional([bar.high for bar in bars]),
        low=_optional([bar.low for bar in bars]),
        volume=_optional([bar.volume for bar in bars]),
    )


def closes_only(dates: Dates, close: Floats) -> BarColumns:
    """Make columns for a symbol of which only closes are known."""
    unknown = np.full(close.size, np.nan)
    return BarColumns(dates=dates, close=close, high=unknown, low=unknown, volume=unknown)


def features(columns: BarColumns, feature_set: FeatureSet = FeatureSet.BARS) -> NDArray[np.float32]:
    """Compute every feature of every bar.

    Returns:
        Shape (bars, features), columns in the order of ``feature_set.names``.  The first
        ``LONGEST_WINDOW`` rows are NaN: their windows are not full yet.
    """
    table = np.full((columns.close.size, len(feature_set.names)), np.nan, dtype=np.float32)
    if columns.close.size >= WARM_UP_BARS:
        table[LONGEST_WINDOW:] = _table([columns], columns.close.size, feature_set)[0]
    return table


def contexts_of(
    columns: Sequence[BarColumns], lookback: int, feature_set: FeatureSet = FeatureSet.BARS
) -> NDArray[np.float32]:
    """Return the last ``lookback`` rows of each symbol: (symbols, lookback, features).

    Raises:
        DataError: a symbol has too few bars.
    """
    needed = LONGEST_WINDOW + lookback
    if any(one.close.size < needed for one in columns):
        raise DataError(f"a symbol has fewer than the {needed} bars that its features need")
    found = np.empty((len(columns), lookback, len(feature_set.names)), dtype=np.float32)
    for start in range(0, len(columns), _SYMBOLS_AT_ONCE):
        part = slice(start, start + _SYMBOLS_AT_ONCE)
        found[part] = _table(columns[part], needed, feature_set)
    return found


def volatility(columns: BarColumns) -> Floats:
    """Return the daily volatility of the last 20 log returns, NaN while warming up."""
    result = np.full(columns.close.size, np.nan)
    if columns.close.size >= WARM_UP_BARS:
        result[LONGEST_WINDOW:] = daily_volatility(columns.close)
    return result


def _table(columns: Sequence[BarColumns], bars: int, feature_set: FeatureSet) -> Floats:
    close, high, low, volume = (
        np.stack([getattr(one, name)[-bars:] for one in columns])
        for name in ("close", "high", "low", "volume")
    )
    dates = np.stack([one.dates[-bars:] for one in columns])
    table = bar_table(dates, close, high, low, volume)
    if feature_set is FeatureSet.BARS:
        return table
    from forecasts.technical_features import technical_table  # noqa: PLC0415 -- TA-Lib is optional

    return np.concatenate((table, technical_table(close, high, low, volume)), axis=-1)


def _optional(values: Sequence[float | None]) -> Floats:
    # NumPy makes NaN of None.
    return np.array(values, dtype=np.float64)
