"""From a probability and two moments to a signal: the rule all strategies share."""

import math

from domain.errors import DataError
from domain.ids import Symbol
from domain.numbers import finite, told_apart
from domain.signals import Action, Signal


def wish(
    *,
    symbol: Symbol,
    strategy: str,
    probability_up: float,
    expected_return: float,
    volatility: float,
    horizon: int,
    min_confidence: float,
    basis: str,
) -> Signal:
    """Make a signal: act in the direction of the expected return if it is likely enough.

    ``confidence`` is the probability that the return has the sign of the expected return,
    for HOLD as well, so that a position held can be judged by it.  ``strength`` is the
    expected return in units of its volatility, at most 1.
    """
    finite(probability_up, f"{symbol}: probability of {strategy}", DataError)
    is_up = expected_return > 0
    confidence = probability_up if is_up else 1 - probability_up
    ratio = abs(expected_return) / volatility if volatility > 0 else 0.0
    is_sure = expected_return != 0 and volatility > 0 and confidence >= min_confidence
    action = (Action.BUY if is_up else Action.SELL) if is_sure else Action.HOLD
    return Signal(
        symbol=symbol,
        strategy=strategy,
        action=action,
        strength=min(1.0, finite(ratio, f"{symbol}: strength of {strategy}", DataError)),
        confidence=confidence,
        expected_return=expected_return,
        volatility=volatility,
        horizon=horizon,
        reason=basis if is_sure else f"{basis}; {_why_not(confidence, min_confidence)}",
    )


def _why_not(confidence: float, min_confidence: float) -> str:
    if confidence >= min_confidence:
        return "no move is expected"
    known, wanted = told_apart(confidence, min_confidence)
    return f"{known} is below {wanted}"


def simple_moments(drift: float, variance: float) -> tuple[float, float]:
    """Return mean and volatility of the simple return behind a normal log return.

    Kelly wants these: without half the variance a long is thought too small, a short too large.
    """
    growth = math.exp(drift + variance / 2)
    return growth - 1, growth * math.sqrt(math.expm1(variance))
