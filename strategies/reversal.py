"""Reversal: what moved far within a few sessions gives a part of it back.

The part is a setting, not a fit: Lehmann (1990) and Nagel (2012) find a few percent of
the weekly move.  The residual risk is the stock's own volatility.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist, stdev

from domain.ids import Symbol
from domain.market import Bar, MarketView
from domain.signals import Signal
from strategies.wishes import simple_moments, wish

NAME = "reversal"
# Lowest and highest value allowed, both included.
BOUNDS = {
    "move_sessions": (1, 20),
    "volatility_sessions": (20, 500),
    "horizon_sessions": (1, 20),
    "give_back_fraction": (0.0, 0.5),
    "min_confidence": (0.5, 0.99),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversalSettings:
    """The move looked at, the share of it expected back, and when."""

    move_sessions: int = 5
    volatility_sessions: int = 60
    horizon_sessions: int = 5
    give_back_fraction: float = 0.1
    min_confidence: float = 0.60


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """Short-term mean reversion of the last move."""

    settings: ReversalSettings = ReversalSettings()
    name: str = NAME

    def decide(self, view: MarketView) -> Sequence[Signal]:
        """Return one signal for each symbol with enough history."""
        signals = (self._signal(symbol, view.history[symbol]) for symbol in sorted(view.history))
        return [signal for signal in signals if signal is not None]

    def _signal(self, symbol: Symbol, bars: Sequence[Bar]) -> Signal | None:
        settings = self.settings
        needed = settings.volatility_sessions + settings.move_sessions + 1
        if len(bars) < needed:
            return None
        closes = [bar.close for bar in bars[-needed:]]
        returns = [math.log(new / old) for old, new in pairwise(closes)]
        # The move itself is left out, or it would inflate the yardstick it is measured by.
        sigma = stdev(returns[: -settings.move_sessions])
        if not sigma > 0:
            return None
        move = sum(returns[-settings.move_sessions :])
        drift = -settings.give_back_fraction * move
        variance = sigma * sigma * settings.horizon_sessions
        expected, volatility = simple_moments(drift, variance)
        return wish(
            symbol=symbol,
            strategy=self.name,
            probability_up=NormalDist().cdf(drift / math.sqrt(variance)),
            expected_return=expected,
            volatility=volatility,
            horizon=settings.horizon_sessions,
            min_confidence=settings.min_confidence,
            basis=f"moved {math.expm1(move):+.1%} in {settings.move_sessions} sessions",
        )
