"""From quantiles to the figures that decisions use: mean, volatility, P(up)."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from domain.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A return distribution known at some levels.

    ``mean`` is the mean of the piecewise-linear quantile function; ``volatility`` comes
    from a normal fit, because flat tails would understate it; ``probability_up`` is read
    off the quantiles and never leaves what they cover.
    """

    quantiles: tuple[float, ...]
    mean: float
    volatility: float
    probability_up: float
    was_crossed: bool


def distribution_of(levels: Sequence[float], quantiles: Sequence[float]) -> Distribution:
    """Describe the distribution behind quantiles; crossing ones are sorted and reported.

    Raises:
        DataError: not finite, too few, or levels that do not rise within (0, 1).

    Source: Chernozhukov, Fernandez-Val, Galichon (2010), Econometrica 78(3), for sorting.
    """
    grid = np.asarray(levels, dtype=np.float64)
    given = np.asarray(quantiles, dtype=np.float64)
    _check(grid, given)
    values = np.sort(given)
    _, sigma = normal_fit(grid, values)
    return Distribution(
        quantiles=tuple(float(value) for value in values),
        mean=trapezoid_mean(grid, values),
        volatility=sigma,
        probability_up=probability_above_zero(grid, values),
        was_crossed=bool(np.any(values != given)),
    )


def trapezoid_mean(levels: Floats, quantiles: Floats) -> float:
    """Return the mean of the piecewise-linear quantile function with flat tails."""
    middle = np.diff(levels) @ (quantiles[:-1] + quantiles[1:]) / 2
    return float(middle + levels[0] * quantiles[0] + (1 - levels[-1]) * quantiles[-1])


def normal_fit(levels: Floats, quantiles: Floats) -> tuple[float, float]:
    """Return mean and standard deviation of the normal law closest to the quantiles."""
    standard = NormalDist()
    z = np.array([standard.inv_cdf(float(level)) for level in levels])
    centered = z - z.mean()
    sigma = float(centered @ quantiles / (centered @ centered))
    return float(quantiles.mean() - sigma * z.mean()), sigma


def probability_above_zero(levels: Floats, quantiles: Floats) -> float:
    """Return P(return > 0) by linear interpolation between quantiles.

    Outside the known quantiles nothing is known, so the answer stays within
    ``[1 - last level, 1 - first level]``; a distribution without spread is certain.
    """
    if quantiles[0] == quantiles[-1]:
        return 0.5 + 0.5 * float(np.sign(quantiles[0]))
    at_zero = quantiles == 0
    if at_zero.any():
        return 1 - float(levels[at_zero].mean())
    return 1 - float(np.interp(0.0, quantiles, levels))


def _check(levels: Floats, quantiles: Floats) -> None:
    if levels.ndim != 1 or levels.shape != quantiles.shape or levels.size <= 1:
        raise DataError("a distribution needs at least two levels and one quantile for each")
    if not bool(np.isfinite(quantiles).all()):
        raise DataError("a quantile is not finite; the forecast cannot be used")
    if not bool(levels[0] > 0 and levels[-1] < 1 and np.all(np.diff(levels) > 0)):
        raise DataError("levels must rise within (0, 1)")
