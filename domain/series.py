"""Moments and quantiles of a short series of floats, in plain Python.

Reports and backtests use them; the standard deviation has ddof 1 unless named otherwise.
"""

import math
from collections.abc import Sequence

from domain.errors import DataError

# Below this a standard deviation is rounding noise: constant returns of 0.0013 have 2e-19.
ZERO_SD = 1e-15


def require_finite_series(values: Sequence[float], name: str, *, at_least: int) -> list[float]:
    """Return the values as a list.

    Raises:
        DataError: there are too few, or one is NaN or infinite.
    """
    series = [float(value) for value in values]
    if len(series) < at_least:
        raise DataError(f"{name}: {len(series)} values, at least {at_least} are needed")
    if not all(map(math.isfinite, series)):
        raise DataError(f"{name}: a value is not finite; drop or repair it first")
    return series


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean."""
    return math.fsum(values) / len(values)


def sd(values: Sequence[float]) -> float:
    """Standard deviation with ddof 1; exactly 0 where it is only rounding noise."""
    centre = mean(values)
    spread = math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1))
    return spread if spread >= ZERO_SD else 0.0


def quantile(values: Sequence[float], level: float) -> float:
    """Quantile with linear interpolation between order statistics."""
    ordered = sorted(values)
    place = level * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def ratio(numerator: float, denominator: float) -> float | None:
    """Divide; undefined (None) over zero, never infinite and never 0."""
    return numerator / denominator if abs(denominator) >= ZERO_SD else None
