"""Split conformal calibration of a forecast distribution, in units of volatility.

The model says where the center lies and how wide the band is; how wide a band must be to
hold what it promises is measured on outcomes that the model was not fitted to.  The
center is left alone: moving it would carry the drift of the last few years, good or bad,
into every later forecast.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from domain.errors import DataError

Floats = NDArray[np.float64]
MEDIAN = 0.5


def conformal_rank(count: int, alpha: float) -> int:
    """Return k = ceil((n + 1)(1 - alpha)), by exact arithmetic on the printed alpha."""
    if not 0 < alpha < 1:
        raise DataError(f"alpha {alpha} is outside (0, 1)")
    return math.ceil((count + 1) * (1 - Fraction(repr(alpha))))


def conformal_quantile(scores: Floats, alpha: float) -> float:
    """Return the k-th smallest score, infinite when there are too few.

    Raises:
        DataError: no scores, or one that is not finite.

    Source: Lei, G'Sell, Rinaldo, Tibshirani, Wasserman (2018), JASA 113(523).
    """
    if scores.size == 0 or not bool(np.isfinite(scores).all()):
        raise DataError("conformal calibration needs finite scores")
    rank = conformal_rank(scores.size, alpha)
    return math.inf if rank > scores.size else float(np.sort(scores)[rank - 1])


def conformal_levels(scores: Floats, center: float, levels: Sequence[float]) -> Floats:
    """Return calibrated quantiles around ``center``, one for each level.

    Args:
        scores: |outcome - center| of the calibration samples, in units of volatility
            and after the model's own stretch.
        center: median of the base distribution in the same units; not changed.
        levels: symmetric around 0.5, rising.

    Raises:
        DataError: levels are not symmetric, or too few scores for the outer ones.
    """
    grid = np.asarray(levels, dtype=np.float64)
    if not np.allclose(grid + grid[::-1], 1.0):
        raise DataError("conformal levels must be symmetric around 0.5")
    widths = np.array(
        [0.0 if level == MEDIAN else conformal_quantile(scores, _alpha(level)) for level in levels]
    )
    if not bool(np.isfinite(widths).all()):
        raise DataError(f"{scores.size} outcomes are too few to calibrate the outer levels")
    return np.asarray(center + np.sign(grid - MEDIAN) * widths)


def calibrate(
    outcomes: Floats, shift: Floats, stretch: Floats, base: Floats, levels: Sequence[float]
) -> Floats:
    """Return the conformal base distribution of every step: (horizon, levels).

    Args:
        outcomes: (n, horizon) returns in units of volatility.
        shift: (n, horizon) where the model moved the base.
        stretch: (n, horizon) how much it widened the base, above 0.
        base: (horizon, levels) the base the model was trained with.
        levels: levels of the base.
    """
    middle = len(levels) // 2
    residuals = (outcomes - shift) / stretch - base[:, middle]
    return np.stack(
        [
            conformal_levels(np.abs(residuals[:, step]), float(base[step, middle]), levels)
            for step in range(base.shape[0])
        ]
    )


def _alpha(level: float) -> float:
    # repr() of 2 * 0.95 - 1 would drag binary noise into the exact rank.
    return round(2 * min(level, 1 - level), 12)
