"""The 20 features: one definition for training, daemon, backtest and model server.

Each row looks back at most ``LONGEST_WINDOW`` bars and never forward, and window sums are
taken window by window, so a row has the same bits whether it is computed from ten years
of bars or from the last few months.  What closes alone cannot tell (range, volume) is 0,
which is the neutral value of those features.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from domain.errors import DataError
from domain.market import Bar

Floats = NDArray[np.float64]
Dates = NDArray[np.datetime64]

FEATURES: tuple[str, ...] = (
    "momentum_1",
    "momentum_3",
    "momentum_12",
    "momentum_60",
    "momentum_120",
    "average_ratio_5",
    "average_ratio_12",
    "average_ratio_24",
    "volatility_20",
    "volatility_ratio_5",
    "volatility_ratio_12",
    "volatility_ratio_120",
    "drawdown_120",
    "range_ratio_5",
    "volume_ratio_5",
    "volume_imbalance_5",
    "weekday_sine",
    "weekday_cosine",
    "season_sine",
    "season_cosine",
)
SCALE_FEATURE = FEATURES.index("volatility_20")
LONGEST_WINDOW = 120
WARM_UP_BARS = LONGEST_WINDOW + 1
SMALLEST_VOLATILITY = 1e-4
LARGEST_FEATURE = 10.0

_TRADING_WEEK_DAYS = 5
_DAYS_IN_YEAR = 365.25


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
    return BarColumns(
        dates=np.array([bar.at.date() for bar in bars], dtype="datetime64[D]"),
        close=np.array([bar.close for bar in bars], dtype=np.float64),
        high=_optional([bar.high for bar in bars]),
        low=_optional([bar.low for bar in bars]),
        volume=_optional([bar.volume for bar in bars]),
    )


def closes_only(dates: Dates, close: Floats) -> BarColumns:
    """Make columns for a symbol of which only closes are known."""
    unknown = np.full(close.size, np.nan)
    return BarColumns(dates=dates, close=close, high=unknown, low=unknown, volume=unknown)


def features(columns: BarColumns) -> NDArray[np.float32]:
    """Compute every feature of every bar.

    Returns:
        Shape (bars, 20), columns in the order of ``FEATURES``.  The first
        ``LONGEST_WINDOW`` rows are NaN: their windows are not full yet.
    """
    table = np.full((columns.close.size, len(FEATURES)), np.nan)
    if columns.close.size >= WARM_UP_BARS:
        table[LONGEST_WINDOW:] = np.column_stack(
            (*_price_features(columns), *_range_and_volume(columns), *_calendar(columns.dates))
        )
    return table.astype(np.float32)


def context_of(columns: BarColumns, lookback: int) -> NDArray[np.float32] | None:
    """Return the last ``lookback`` rows, or None when the history is too short."""
    needed = LONGEST_WINDOW + lookback
    if columns.close.size < needed:
        return None
    return features(columns.last(needed))[-lookback:]


def volatility(columns: BarColumns) -> Floats:
    """Return the daily volatility of the last 20 log returns, NaN while warming up."""
    result = np.full(columns.close.size, np.nan)
    if columns.close.size >= WARM_UP_BARS:
        result[LONGEST_WINDOW:] = _volatility(_log_returns(columns), 20)
    return result


def _price_features(columns: BarColumns) -> list[Floats]:
    returns, level = _log_returns(columns), np.log(columns.close)
    scale = _volatility(returns, 20)
    momenta = [_clip(_last_sums(returns, k) / (scale * np.sqrt(k))) for k in (1, 3, 12, 60, 120)]
    ratios = [
        _clip((level[LONGEST_WINDOW:] - np.log(_means(columns.close, k))) / (scale * np.sqrt(k)))
        for k in (5, 12, 24)
    ]
    ratios_of_volatility = [np.log(_volatility(returns, k) / scale) for k in (5, 12, 120)]
    peak = _windows(level, LONGEST_WINDOW + 1).max(axis=1)
    drawdown = _clip((level[LONGEST_WINDOW:] - peak) / (scale * np.sqrt(LONGEST_WINDOW)))
    return [*momenta, *ratios, np.log(scale), *ratios_of_volatility, drawdown]


def _range_and_volume(columns: BarColumns) -> list[Floats]:
    spread = np.log(columns.high / columns.low)
    with np.errstate(divide="ignore", invalid="ignore"):
        range_ratio = np.log(_means(spread, 5) / _means(spread, 20))
        volume_ratio = np.log(_means(columns.volume, 5) / _means(columns.volume, 20))
        # The daily stand-in for bid and ask volume: volume of rising against falling days.
        signed = np.sign(_log_returns(columns)) * columns.volume[1:]
        imbalance = _last_sums(signed, 5) / (5 * _means(columns.volume, 5))
    return [_known(range_ratio), _known(volume_ratio), _known(imbalance)]


def _calendar(dates: Dates) -> list[Floats]:
    days = dates[LONGEST_WINDOW:].astype("datetime64[D]")
    # Day 0 of the epoch was a Thursday.
    weekday = (days.astype(np.int64) + 3) % 7
    year_start = days.astype("datetime64[Y]").astype("datetime64[D]")
    season = (days - year_start).astype(np.int64) / _DAYS_IN_YEAR
    week, year = 2 * np.pi * weekday / _TRADING_WEEK_DAYS, 2 * np.pi * season
    return [np.sin(week), np.cos(week), np.sin(year), np.cos(year)]


def _log_returns(columns: BarColumns) -> Floats:
    return np.diff(np.log(columns.close))


def _windows(values: Floats, length: int) -> Floats:
    # Rows end at the bars from LONGEST_WINDOW on.  The copy makes each row contiguous, so
    # its sum does not depend on how many other rows there are.
    return np.ascontiguousarray(sliding_window_view(values, length)[WARM_UP_BARS - length :])


def _last_sums(returns: Floats, length: int) -> Floats:
    # One return fewer than bars: a NaN in front lines them up.
    return np.asarray(_windows(np.concatenate(([np.nan], returns)), length).sum(axis=1))


def _volatility(returns: Floats, length: int) -> Floats:
    mean_square = _last_sums(returns * returns, length) / length
    return np.maximum(np.sqrt(mean_square), SMALLEST_VOLATILITY)


def _means(values: Floats, length: int) -> Floats:
    return np.asarray(_windows(values, length).mean(axis=1))


def _clip(values: Floats) -> Floats:
    return np.clip(values, -LARGEST_FEATURE, LARGEST_FEATURE)


def _known(values: Floats) -> Floats:
    return np.where(np.isfinite(values), _clip(values), 0.0)


def _optional(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
