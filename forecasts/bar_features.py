"""The 20 features of bars, for many symbols at once.

Each row looks back at most ``LONGEST_WINDOW`` bars and never forward, and window sums are
taken window by window, so a row has the same bits whether it is computed from ten years
of bars or from the last few months, alone or among a thousand symbols.  What closes alone
cannot tell (range, volume) is 0, which is the neutral value of those features.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Dates = NDArray[np.datetime64]

BAR_FEATURES: tuple[str, ...] = (
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
SCALE_FEATURE = BAR_FEATURES.index("volatility_20")
LONGEST_WINDOW = 120
WARM_UP_BARS = LONGEST_WINDOW + 1
SMALLEST_VOLATILITY = 1e-4
LARGEST_FEATURE = 10.0

_TRADING_WEEK_DAYS = 5
_DAYS_IN_YEAR = 365.25


def bar_table(dates: Dates, close: Floats, high: Floats, low: Floats, volume: Floats) -> Floats:
    """Compute the features of every bar whose windows are full.

    Args:
        dates: of the bars, (symbols, bars), like all the others.
        close: above 0.
        high: NaN where unknown, as are the next two.
        low: see ``high``.
        volume: see ``high``.

    Returns:
        Shape (symbols, bars - LONGEST_WINDOW, 20), columns in the order of ``BAR_FEATURES``.
    """
    columns = (
        *_price_features(close),
        *_range_and_volume(close, high, low, volume),
        *_calendar(dates),
    )
    return np.stack(columns, axis=-1)


def daily_volatility(close: Floats) -> Floats:
    """Return the volatility of the last 20 log returns of every bar whose windows are full."""
    return _volatility(_log_returns(close), 20)


def windows(values: Floats, length: int) -> Floats:
    """Return the windows that end at the bars from ``LONGEST_WINDOW`` on.

    A copy in which each window is contiguous: its sum does not depend on how many other
    windows there are.
    """
    found = sliding_window_view(values, length, axis=-1)
    return np.ascontiguousarray(found[..., WARM_UP_BARS - length :, :])


def known(values: Floats) -> Floats:
    """Return values within bounds; what is not known is 0, the neutral value."""
    return np.where(np.isfinite(values), _clip(values), 0.0)


def _price_features(close: Floats) -> list[Floats]:
    returns, level = _log_returns(close), np.log(close)
    scale = _volatility(returns, 20)
    momenta = [_clip(_last_sums(returns, k) / (scale * np.sqrt(k))) for k in (1, 3, 12, 60, 120)]
    now = level[..., LONGEST_WINDOW:]
    ratios = [_clip((now - np.log(_means(close, k))) / (scale * np.sqrt(k))) for k in (5, 12, 24)]
    ratios_of_volatility = [np.log(_volatility(returns, k) / scale) for k in (5, 12, 120)]
    peak = windows(level, LONGEST_WINDOW + 1).max(axis=-1)
    drawdown = _clip((now - peak) / (scale * np.sqrt(LONGEST_WINDOW)))
    return [*momenta, *ratios, np.log(scale), *ratios_of_volatility, drawdown]


def _range_and_volume(close: Floats, high: Floats, low: Floats, volume: Floats) -> list[Floats]:
    spread = np.log(high / low)
    with np.errstate(divide="ignore", invalid="ignore"):
        range_ratio = np.log(_means(spread, 5) / _means(spread, 20))
        volume_ratio = np.log(_means(volume, 5) / _means(volume, 20))
        # The daily stand-in for bid and ask volume: volume of rising against falling days.
        signed = np.sign(_log_returns(close)) * volume[..., 1:]
        imbalance = _last_sums(signed, 5) / (5 * _means(volume, 5))
    return [known(range_ratio), known(volume_ratio), known(imbalance)]


def _calendar(dates: Dates) -> list[Floats]:
    days = np.ascontiguousarray(dates[..., LONGEST_WINDOW:]).astype("datetime64[D]")
    # Day 0 of the epoch was a Thursday.
    weekday = (days.astype(np.int64) + 3) % 7
    year_start = days.astype("datetime64[Y]").astype("datetime64[D]")
    season = (days - year_start).astype(np.int64) / _DAYS_IN_YEAR
    week, year = 2 * np.pi * weekday / _TRADING_WEEK_DAYS, 2 * np.pi * season
    return [np.sin(week), np.cos(week), np.sin(year), np.cos(year)]


def _log_returns(close: Floats) -> Floats:
    return np.diff(np.log(close), axis=-1)


def _last_sums(returns: Floats, length: int) -> Floats:
    # One return fewer than bars: a NaN in front lines them up.
    first = np.full((*returns.shape[:-1], 1), np.nan)
    joined = np.concatenate((first, returns), axis=-1)
    return np.asarray(windows(joined, length).sum(axis=-1))


def _volatility(returns: Floats, length: int) -> Floats:
    mean_square = _last_sums(returns * returns, length) / length
    return np.maximum(np.sqrt(mean_square), SMALLEST_VOLATILITY)


def _means(values: Floats, length: int) -> Floats:
    return np.asarray(windows(values, length).mean(axis=-1))


def _clip(values: Floats) -> Floats:
    return np.clip(values, -LARGEST_FEATURE, LARGEST_FEATURE)
