"""Is a Sharpe ratio more than luck?  Bailey and Lopez de Prado (2012, 2014).

All Sharpe ratios are per period, not annualized; kurtosis is 3 for a normal.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from domain.errors import DataError
from domain.numbers import finite

EULER_MASCHERONI = 0.5772156649015329
LEVEL = 0.95
MIN_OBSERVATIONS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DeflatedSharpe:
    """Probabilities that the true ratio is above 0, and above the best of ``trials`` by luck."""

    sr0_expected_max: float
    psr_vs_0: float
    dsr: float
    min_track_record_95: float


def sharpe_error_variance(
    sharpe: float | None, skew: float | None, kurtosis: float | None
) -> float | None:
    """Variance of the estimator times n - 1 (Mertens 2002); None where undefined."""
    if sharpe is None or skew is None or kurtosis is None:
        return None
    variance = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    return variance if variance > 0 else None


def probabilistic_sharpe(
    sharpe: float, n: int, skew: float | None, kurtosis: float | None, *, above: float = 0.0
) -> float | None:
    """Probability that the true ratio exceeds ``above``; None where undefined."""
    variance = sharpe_error_variance(sharpe, skew, kurtosis)
    if variance is None:
        return None
    return NormalDist().cdf((sharpe - above) * math.sqrt(n - 1) / math.sqrt(variance))


def deflated_sharpe(
    *, sr: float, n: int, skew: float, kurt: float, trials: int, var_sr: float
) -> DeflatedSharpe:
    """Judge the best of several trials.

    Args:
        sr: its ratio per period.
        n: its number of periods.
        skew: population skewness of its returns.
        kurt: population kurtosis of its returns, 3 for a normal.
        trials: independent trials it was chosen from.
        var_sr: variance of the ratios of all trials.

    Raises:
        DataError: trials < 1, n < 2, or the moments are impossible.
    """
    for name, value in (("sr", sr), ("skew", skew), ("kurt", kurt), ("var_sr", var_sr)):
        finite(value, name, DataError)
    if trials < 1 or n < MIN_OBSERVATIONS or var_sr < 0:
        raise DataError(f"trials = {trials}, n = {n}: at least 1 trial and 2 periods are needed")
    best = _expected_best(trials, var_sr)
    luckless = probabilistic_sharpe(sr, n, skew, kurt)
    deflated = probabilistic_sharpe(sr, n, skew, kurt, above=best)
    variance = sharpe_error_variance(sr, skew, kurt)
    if luckless is None or deflated is None or variance is None:
        raise DataError(f"skew {skew} and kurtosis {kurt} cannot belong to a ratio of {sr}")
    length = 1 + variance * (NormalDist().inv_cdf(LEVEL) / sr) ** 2 if sr > 0 else math.inf
    return DeflatedSharpe(
        sr0_expected_max=best, psr_vs_0=luckless, dsr=deflated, min_track_record_95=length
    )


def _expected_best(trials: int, var_sr: float) -> float:
    if trials == 1:
        return 0.0
    quantile = NormalDist().inv_cdf
    return math.sqrt(var_sr) * (
        (1 - EULER_MASCHERONI) * quantile(1 - 1 / trials)
        + EULER_MASCHERONI * quantile(1 - 1 / (trials * math.e))
    )
