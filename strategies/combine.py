"""Combine: many strategies' wishes for a symbol become one.

With capital fractions c_s, per-session returns m_s = r_s / h_s and volatilities
v_s = sigma_s / sqrt(h_s) of the strategies that act (BUY or SELL):

    expected    m = sum c_s m_s                 a strategy that holds leaves its capital idle
    pooled      w_s = c_s / sum c,  m' = sum w_s m_s
    volatility  v^2 = sum w_s (v_s^2 + (m_s - m')^2)       disagreement is risk
    P(up)       p = sum w_s p_s,  p_s = confidence, or 1 - confidence of a SELL

so opposite wishes net out and agreement adds capital, never confidence.  The book acts in
the direction of m if P of that direction reaches the threshold, else it holds.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.decisions import CombinedSignal
from domain.errors import DataError
from domain.ids import Symbol
from domain.market import MarketView
from domain.money import ZERO
from domain.numbers import told_apart
from domain.signals import Action, Signal
from strategies.base import Strategy

NEUTRAL_TILT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """A strategy and the share of the book's capital it may use, in (0, 1]."""

    strategy: Strategy
    capital_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool:
    """Moments per session of the strategies of one symbol that count."""

    mean: float
    variance: float
    probability_up: float
    horizon: int


def run_strategies(view: MarketView, allocations: Sequence[Allocation]) -> tuple[Signal, ...]:
    """Ask every strategy; symbols that sit out are dropped, whatever it says of them."""
    signals: list[Signal] = []
    for allocation in allocations:
        own = [s for s in allocation.strategy.decide(view) if s.symbol not in view.excluded]
        symbols = [signal.symbol for signal in own]
        if len(set(symbols)) != len(symbols):
            raise DataError(f"strategy {allocation.strategy.name} gave two signals for a symbol")
        signals.extend(own)
    return tuple(signals)


def combine(
    signals: Sequence[Signal],
    *,
    capital: Mapping[str, float],
    min_confidence: float,
    tilts: Mapping[Symbol, float] | None = None,
    max_tilt: float = 0.0,
) -> tuple[CombinedSignal, ...]:
    """Combine the signals of all strategies, one result per symbol, in symbol order.

    Args:
        signals: at most one per strategy and symbol.
        capital: strategy name to capital fraction; the fractions sum to at most 1.
        min_confidence: probability of the direction needed to act.
        tilts: symbol to multiplier from news, around 1; used for known symbols only.
        max_tilt: bound on |multiplier - 1|, in [0, 1).

    Returns:
        Combined signals without size: ``kelly_weight`` and ``target_quantity`` are 0 until
        risk.sizing fills them in.  For HOLD, ``confidence`` is the probability that the
        return has the sign of ``expected_return``.
    """
    by_symbol: dict[Symbol, list[Signal]] = defaultdict(list)
    for signal in signals:
        by_symbol[signal.symbol].append(signal)
    return tuple(
        _combined(
            symbol,
            by_symbol[symbol],
            capital,
            min_confidence,
            bounded_tilt((tilts or {}).get(symbol, NEUTRAL_TILT), max_tilt),
        )
        for symbol in sorted(by_symbol)
    )


def bounded_tilt(multiplier: float, max_tilt: float) -> float:
    """Clamp a news multiplier to [1 - max_tilt, 1 + max_tilt]; 1 when it is not a number."""
    if not 0 <= max_tilt < 1:
        raise DataError(f"max_tilt = {max_tilt} must be in [0, 1)")
    if not math.isfinite(multiplier):
        return NEUTRAL_TILT
    return min(1 + max_tilt, max(1 - max_tilt, multiplier))


def _combined(
    symbol: Symbol,
    signals: Sequence[Signal],
    capital: Mapping[str, float],
    min_confidence: float,
    tilt: float,
) -> CombinedSignal:
    acting = [signal for signal in signals if signal.action is not Action.HOLD]
    # Where nobody acts, the leanings are pooled instead: they decide whether to keep.
    opinions = acting or [signal for signal in signals if signal.volatility > 0]
    if not opinions:
        return _silent(symbol, signals, tilt)
    pool = _pool(opinions, capital)
    confidence = pool.probability_up if pool.mean >= 0 else 1 - pool.probability_up
    acts = bool(acting) and pool.mean != 0 and confidence >= min_confidence
    action = (Action.BUY if pool.mean > 0 else Action.SELL) if acts else Action.HOLD
    expected = pool.mean * pool.horizon
    volatility = math.sqrt(pool.variance * pool.horizon)
    return CombinedSignal(
        symbol=symbol,
        action=action,
        strength=min(1.0, abs(expected) / volatility) if volatility > 0 else 0.0,
        confidence=confidence,
        expected_return=expected,
        volatility=volatility,
        horizon=pool.horizon,
        sentiment_tilt=tilt,
        kelly_weight=0.0,
        target_quantity=ZERO,
        reason=_reason(opinions, acts, confidence, min_confidence),
    )


def _pool(opinions: Sequence[Signal], capital: Mapping[str, float]) -> _Pool:
    fractions = [_fraction(signal, capital) for signal in opinions]
    total = math.fsum(fractions)
    weights = [fraction / total for fraction in fractions]
    means = [signal.expected_return / signal.horizon for signal in opinions]
    variances = [signal.volatility**2 / signal.horizon for signal in opinions]
    pooled = math.fsum(w * m for w, m in zip(weights, means, strict=True))
    spread = math.fsum(
        w * (v + (m - pooled) ** 2) for w, v, m in zip(weights, variances, means, strict=True)
    )
    horizon = math.fsum(w * s.horizon for w, s in zip(weights, opinions, strict=True))
    return _Pool(
        mean=math.fsum(c * m for c, m in zip(fractions, means, strict=True)),
        variance=spread,
        probability_up=math.fsum(
            w * _probability_up(s) for w, s in zip(weights, opinions, strict=True)
        ),
        horizon=max(1, round(horizon)),
    )


def _fraction(signal: Signal, capital: Mapping[str, float]) -> float:
    fraction = capital.get(signal.strategy)
    if fraction is None or not 0 < fraction <= 1:
        raise DataError(f"strategy {signal.strategy} has no capital fraction in (0, 1]")
    return fraction


def _probability_up(signal: Signal) -> float:
    if signal.action is Action.BUY or (signal.action is Action.HOLD and signal.expected_return > 0):
        return signal.confidence
    if signal.action is Action.SELL or signal.expected_return < 0:
        return 1 - signal.confidence
    return 0.5


def _silent(symbol: Symbol, signals: Sequence[Signal], tilt: float) -> CombinedSignal:
    return CombinedSignal(
        symbol=symbol,
        action=Action.HOLD,
        strength=0.0,
        confidence=0.5,
        expected_return=0.0,
        volatility=0.0,
        horizon=max(signal.horizon for signal in signals),
        sentiment_tilt=tilt,
        kelly_weight=0.0,
        target_quantity=ZERO,
        reason="no strategy has an opinion",
    )


def _reason(
    opinions: Sequence[Signal], acts: bool, confidence: float, min_confidence: float
) -> str:
    voices = "; ".join(f"{s.strategy} {s.action.value}: {s.reason}" for s in opinions)
    if acts:
        return voices
    if confidence >= min_confidence:
        # Each has a threshold of its own, which may be above that of the book.
        return f"no strategy acts, or they cancel out; {voices}"
    known, wanted = told_apart(confidence, min_confidence)
    return f"confidence {known} is below {wanted}; {voices}"
