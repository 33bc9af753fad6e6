"""How good forecasts were: pinball, Brier and its parts, calibration error, significance."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrierParts:
    """brier = reliability - resolution + uncertainty; ``skill`` is against the base rate."""

    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    skill: float


def pinball(outcomes: Floats, quantiles: Floats, level: float) -> Floats:
    """Return the quantile loss of each outcome (Koenker and Bassett 1978).

    Raises:
        DataError: the level is outside (0, 1).
    """
    if not 0 < level < 1:
        raise DataError(f"level {level} is outside (0, 1)")
    error = outcomes - quantiles
    return np.maximum(level * error, (level - 1) * error)


def brier_parts(probabilities: Floats, outcomes: Floats) -> BrierParts:
    """Return the Brier score and Murphy's parts, each distinct probability its own bin.

    Raises:
        DataError: empty, a probability outside [0, 1], or an outcome not 0 or 1.

    Source: Murphy (1973), Journal of Applied Meteorology 12(4).
    """
    _check_probabilities(probabilities, outcomes)
    rate = float(outcomes.mean())
    values, place, counts = np.unique(probabilities, return_inverse=True, return_counts=True)
    rates = np.bincount(place, weights=outcomes) / counts
    reliability = float(counts @ (values - rates) ** 2) / outcomes.size
    resolution = float(counts @ (rates - rate) ** 2) / outcomes.size
    uncertainty = rate * (1 - rate)
    score = float(np.mean((probabilities - outcomes) ** 2))
    skill = 1 - score / uncertainty if uncertainty > 0 else 0.0
    return BrierParts(
        brier=score,
        reliability=reliability,
        resolution=resolution,
        uncertainty=uncertainty,
        skill=skill,
    )


def calibration_error(probabilities: Floats, outcomes: Floats, bins: int = 10) -> float:
    """Return the expected calibration error on equal bins, the last one closed.

    It depends on the number of bins and is biased upward for few samples.
    """
    _check_probabilities(probabilities, outcomes)
    place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    gap = np.bincount(place, weights=probabilities - outcomes, minlength=bins)
    return float(np.abs(gap).sum()) / outcomes.size


def effective_size(count: int, *, correlation: float = 0.0, autocorrelation: float = 0.0) -> float:
    """Return how many independent outcomes ``count`` related ones are worth.

    Args:
        count: number of outcomes.
        correlation: between outcomes of one day, equal for all pairs.
        autocorrelation: of an AR(1) in time; a negative one is not rewarded.

    Raises:
        DataError: a correlation that no set of that size can have.
    """
    if count < 1 or not -1 < autocorrelation < 1:
        raise DataError("effective size needs at least one outcome and |autocorrelation| < 1")
    if not (correlation <= 1 and 1 + (count - 1) * correlation > 0):
        raise DataError(f"{count} outcomes cannot all be correlated by {correlation}")
    across = count / (1 + (count - 1) * correlation)
    lags = np.arange(1, count)
    inflation = 1 + 2 * float(((1 - lags / count) * autocorrelation**lags).sum())
    return min(float(count), across / max(1.0, inflation))


def newey_west_error(series: Floats, lag: int | None = None) -> float:
    """Return the standard error of a mean that allows for autocorrelation.

    ``lag`` defaults to floor(4 (n / 100)^(2/9)); with overlapping horizons pass at least
    horizon - 1.

    Source: Newey and West (1987), Econometrica 55(3).
    """
    size = series.size
    if size <= 1:
        raise DataError("a standard error needs at least two values")
    bound = math.floor(4 * (size / 100) ** (2 / 9)) if lag is None else lag
    centered = series - series.mean()
    variance = float(centered @ centered) / size
    for step in range(1, min(bound, size - 1) + 1):
        weight = 1 - step / (bound + 1)
        variance += 2 * weight * float(centered[step:] @ centered[:-step]) / size
    return math.sqrt(max(variance, 0.0) / size)


def _check_probabilities(probabilities: Floats, outcomes: Floats) -> None:
    if probabilities.size == 0 or probabilities.shape != outcomes.shape:
        raise DataError("probabilities and outcomes must be as many, and at least one")
    if not bool(((probabilities >= 0) & (probabilities <= 1)).all()):
        raise DataError("a probability is outside [0, 1]")
    if not bool(np.isin(outcomes, (0.0, 1.0)).all()):
        raise DataError("an outcome is neither 0 nor 1")
