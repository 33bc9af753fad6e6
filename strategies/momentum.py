"""Momentum: the trend of the last year without its last month, believed as far as data allow.

The mean daily log return is shrunk towards 0 (prior N(0, tau^2) on the true mean), so a
loud year of a volatile stock counts for little.  Jegadeesh and Titman (1993).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist, fmean, stdev

from domain.ids import Symbol
from domain.market import Bar, MarketView
from domain.signals import Signal
from strategies.wishes import simple_moments, wish

NAME = "momentum"
# Lowest and highest value allowed, both included.
BOUNDS = {
    # A decision reads some 540 sessions: further back there would never be a signal.
    "lookback_sessions": (40, 500),
    "skip_sessions": (0, 39),
    "horizon_sessions": (1, 120),
    "prior_daily_drift": (0.00001, 0.01),
    "min_confidence": (0.5, 0.99),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentumSettings:
    """Sessions looked back, newest sessions left out, and how far ahead to hold."""

    lookback_sessions: int = 252
    skip_sessions: int = 21
    horizon_sessions: int = 20
    prior_daily_drift: float = 0.0005
    min_confidence: float = 0.60


@dataclass(frozen=True, slots=True, kw_only=True)
class Momentum:
    """Time-series momentum with a Bayesian weight on the measured drift."""

    settings: MomentumSettings = MomentumSettings()
    name: str = NAME

    def decide(self, view: MarketView) -> Sequence[Signal]:
        """Return one signal for each symbol with enough history."""
        signals = (self._signal(symbol, view.history[symbol]) for symbol in sorted(view.history))
        return [signal for signal in signals if signal is not None]

    def _signal(self, symbol: Symbol, bars: Sequence[Bar]) -> Signal | None:
        settings = self.settings
        if len(bars) <= settings.lookback_sessions:
            return None
        closes = [bar.close for bar in bars[-settings.lookback_sessions - 1 :]]
        returns = [math.log(new / old) for old, new in pairwise(closes)]
        trend = returns[: len(returns) - settings.skip_sessions]
        sigma = stdev(returns)
        if not sigma > 0:
            return None
        mean, mean_variance = posterior_drift(
            fmean(trend), sigma, len(trend), settings.prior_daily_drift
        )
        horizon = settings.horizon_sessions
        drift = mean * horizon
        # The drift itself is uncertain, and that uncertainty grows with the whole horizon.
        variance = sigma * sigma * horizon + mean_variance * horizon * horizon
        expected, volatility = simple_moments(drift, variance)
        return wish(
            symbol=symbol,
            strategy=self.name,
            probability_up=NormalDist().cdf(drift / math.sqrt(variance)),
            expected_return=expected,
            volatility=volatility,
            horizon=horizon,
            min_confidence=settings.min_confidence,
            basis=f"trend {math.expm1(fmean(trend) * len(trend)):+.1%} over {len(trend)} sessions",
        )


def posterior_drift(mean: float, sigma: float, count: int, prior_sd: float) -> tuple[float, float]:
    """Return mean and variance of the true drift after ``count`` observations.

    The prior is N(0, prior_sd^2): weight = tau^2 / (tau^2 + sigma^2 / n).
    """
    noise = sigma * sigma / count
    weight = prior_sd * prior_sd / (prior_sd * prior_sd + noise)
    return weight * mean, weight * noise
