"""How good was it?  Metrics of simple returns per session, 252 sessions a year.

A ratio with a zero denominator is None.  Skewness and kurtosis are population moments,
kurtosis 3 for a normal; drawdown is on a net asset value that starts at 1, so a loss on the
first day counts; losses of value at risk are positive.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from domain.errors import DataError
from domain.series import mean, quantile, ratio, require_finite_series, sd
from domain.significance import probabilistic_sharpe, sharpe_error_variance

SESSIONS_A_YEAR = 252
TAIL = 0.05
MIN_FOR_SKEW = 3
MIN_FOR_KURTOSIS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceMetrics:
    """All metrics of one series; ``_annual`` is annualized, ``_period`` per session."""

    n: int
    total_return: float
    cagr: float
    arith_annual: float
    vol_annual: float
    sharpe_period: float | None
    sharpe_annual: float | None
    skew_population: float | None
    kurtosis_population_nonexcess: float | None
    skew_sample_G1: float | None
    excess_kurtosis_sample_G2: float | None
    sharpe_se_lo_iid_period: float | None
    sharpe_se_mertens_period: float | None
    sharpe_se_lo_iid_annual: float | None
    downside_dev_annual: float
    sortino_annual: float | None
    max_drawdown: float
    calmar: float | None
    longest_underwater_periods: int
    mdd_peak_index: int
    mdd_trough_index: int
    mdd_recovery_index: int | None
    ulcer_index: float
    pain_index: float
    var95_hist: float
    cvar95_hist: float
    var95_gauss: float
    var95_cornish_fisher: float | None
    z_cornish_fisher: float | None
    omega: float | None
    tail_ratio: float | None
    win_rate_nonzero: float | None
    win_rate_all: float
    profit_factor: float | None
    payoff: float | None
    expectancy: float
    psr_vs_0: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Underwater:
    """Drawdowns, <= 0, one per return; indices count net asset values, the start being 0."""

    drawdowns: tuple[float, ...]
    max_drawdown: float
    peak_index: int
    trough_index: int
    recovery_index: int | None
    longest_periods: int

    @property
    def ulcer_index(self) -> float:
        """Root of the mean squared drawdown (Martin 1987)."""
        return math.sqrt(mean([fall * fall for fall in self.drawdowns]))

    @property
    def pain_index(self) -> float:
        """Mean drawdown, positive."""
        return -mean(self.drawdowns)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkMetrics:
    """Against a benchmark of the same dates; beta is cov/var with ddof 1."""

    beta: float
    alpha_period: float
    alpha_annual_arithmetic: float
    alpha_annual_geometric: float
    correlation: float | None
    tracking_error: float
    information_ratio: float | None


def performance_metrics(
    returns: Sequence[float], *, rf: float = 0.0, mar: float = 0.0
) -> PerformanceMetrics:
    """Measure a series of simple returns.

    Args:
        returns: one per session, each above -1.
        rf: risk-free rate a year.
        mar: minimum acceptable return per session, for Sortino and omega.

    Raises:
        DataError: fewer than 2 returns, a return that is not finite or not above -1.
    """
    r = _returns(returns)
    n, average, spread = len(r), mean(r), sd(r)
    root = math.sqrt(SESSIONS_A_YEAR)
    risk_free = (1 + rf) ** (1 / SESSIONS_A_YEAR) - 1
    sharpe = ratio(average - risk_free, spread)
    skew, kurtosis = _moments(r)
    total = math.prod(1 + x for x in r) - 1
    cagr = (1 + total) ** (SESSIONS_A_YEAR / n) - 1
    downside = math.sqrt(mean([min(x - mar, 0.0) ** 2 for x in r]))
    water = underwater(r)
    low = quantile(r, TAIL)
    z = NormalDist().inv_cdf(TAIL)
    z_cf = _cornish_fisher(z, skew, kurtosis)
    wins, losses = [x for x in r if x > 0], [x for x in r if x < 0]
    above, below = _parts(r, mar)
    variance = sharpe_error_variance(sharpe, skew, kurtosis)
    return PerformanceMetrics(
        n=n,
        total_return=total,
        cagr=cagr,
        arith_annual=average * SESSIONS_A_YEAR,
        vol_annual=spread * root,
        sharpe_period=sharpe,
        sharpe_annual=_times(sharpe, root),
        skew_population=skew,
        kurtosis_population_nonexcess=kurtosis,
        skew_sample_G1=_skew_sample(skew, n),
        excess_kurtosis_sample_G2=_kurtosis_sample(kurtosis, n),
        sharpe_se_lo_iid_period=_lo(sharpe, n),
        sharpe_se_mertens_period=None if variance is None else math.sqrt(variance / (n - 1)),
        sharpe_se_lo_iid_annual=_times(_lo(sharpe, n), root),
        downside_dev_annual=downside * root,
        sortino_annual=_times(ratio(average - mar, downside), root),
        max_drawdown=water.max_drawdown,
        calmar=ratio(cagr, abs(water.max_drawdown)),
        longest_underwater_periods=water.longest_periods,
        mdd_peak_index=water.peak_index,
        mdd_trough_index=water.trough_index,
        mdd_recovery_index=water.recovery_index,
        ulcer_index=water.ulcer_index,
        pain_index=water.pain_index,
        var95_hist=-low,
        cvar95_hist=-mean([x for x in r if x <= low]),
        var95_gauss=-(average + z * spread),
        var95_cornish_fisher=None if z_cf is None else -(average + z_cf * spread),
        z_cornish_fisher=z_cf,
        omega=ratio(above, below),
        tail_ratio=ratio(abs(quantile(r, 1 - TAIL)), abs(low)),
        win_rate_nonzero=ratio(len(wins), len(wins) + len(losses)),
        win_rate_all=len(wins) / n,
        profit_factor=ratio(math.fsum(wins), -math.fsum(losses)),
        payoff=ratio(mean(wins), -mean(losses)) if wins and losses else None,
        expectancy=average,
        psr_vs_0=None if sharpe is None else probabilistic_sharpe(sharpe, n, skew, kurtosis),
    )


def underwater(returns: Sequence[float]) -> Underwater:
    """Follow the drawdown of compounded returns."""
    nav, peak, peak_at = 1.0, 1.0, 0
    worst, worst_peak, worst_at = 0.0, 0, 0
    falls: list[float] = []
    for index, change in enumerate(_returns(returns, at_least=1), start=1):
        nav *= 1 + change
        if nav >= peak:
            peak, peak_at = nav, index
        falls.append(nav / peak - 1)
        if falls[-1] < worst:
            worst, worst_peak, worst_at = falls[-1], peak_at, index
    recoveries = (i for i in range(worst_at, len(falls) + 1) if i == 0 or falls[i - 1] >= 0)
    return Underwater(
        drawdowns=tuple(falls),
        max_drawdown=worst,
        peak_index=worst_peak,
        trough_index=worst_at,
        recovery_index=next(recoveries, None),
        longest_periods=_longest_below_zero(falls),
    )


def benchmark_metrics(returns: Sequence[float], benchmark: Sequence[float]) -> BenchmarkMetrics:
    """Measure returns against a benchmark; both must be joined on dates beforehand.

    Raises:
        DataError: lengths differ, a value is bad, or the benchmark never moves.
    """
    r, b = _returns(returns), _returns(benchmark)
    if len(r) != len(b):
        raise DataError("returns and benchmark differ in length; join them on dates first")
    spread = sd(b)
    if spread == 0:
        raise DataError("benchmark never moves, so beta is undefined")
    mean_r, mean_b = mean(r), mean(b)
    cov = math.fsum((x - mean_r) * (y - mean_b) for x, y in zip(r, b, strict=True)) / (len(r) - 1)
    beta = cov / spread**2
    alpha = mean_r - beta * mean_b
    active = [x - y for x, y in zip(r, b, strict=True)]
    root = math.sqrt(SESSIONS_A_YEAR)
    return BenchmarkMetrics(
        beta=beta,
        alpha_period=alpha,
        alpha_annual_arithmetic=alpha * SESSIONS_A_YEAR,
        alpha_annual_geometric=(1 + alpha) ** SESSIONS_A_YEAR - 1,
        correlation=ratio(cov, spread * sd(r)),
        tracking_error=sd(active) * root,
        information_ratio=_times(ratio(mean(active), sd(active)), root),
    )


def _returns(values: Sequence[float], *, at_least: int = 2) -> list[float]:
    series = require_finite_series(values, "returns", at_least=at_least)
    if not all(value > -1 for value in series):
        raise DataError("returns: a return of -100 % or less ends the track record")
    return series


def _moments(r: Sequence[float]) -> tuple[float | None, float | None]:
    centre = mean(r)
    variance = mean([(x - centre) ** 2 for x in r])
    if sd(r) == 0:
        return None, None
    skew = mean([(x - centre) ** 3 for x in r]) / variance**1.5
    return skew, mean([(x - centre) ** 4 for x in r]) / variance**2


def _skew_sample(skew: float | None, n: int) -> float | None:
    if skew is None or n < MIN_FOR_SKEW:
        return None
    return math.sqrt(n * (n - 1)) / (n - 2) * skew


def _kurtosis_sample(kurtosis: float | None, n: int) -> float | None:
    if kurtosis is None or n < MIN_FOR_KURTOSIS:
        return None
    return (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * (kurtosis - 3) + 6)


def _lo(sharpe: float | None, n: int) -> float | None:
    return None if sharpe is None else math.sqrt((1 + sharpe**2 / 2) / n)


def _cornish_fisher(z: float, skew: float | None, kurtosis: float | None) -> float | None:
    if skew is None or kurtosis is None:
        return None
    excess = kurtosis - 3
    return (
        z + (z**2 - 1) * skew / 6 + (z**3 - 3 * z) * excess / 24 - (2 * z**3 - 5 * z) * skew**2 / 36
    )


def _parts(r: Sequence[float], mar: float) -> tuple[float, float]:
    return math.fsum(max(x - mar, 0.0) for x in r), math.fsum(max(mar - x, 0.0) for x in r)


def _longest_below_zero(falls: Sequence[float]) -> int:
    longest = current = 0
    for fall in falls:
        current = current + 1 if fall < 0 else 0
        longest = max(longest, current)
    return longest


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
