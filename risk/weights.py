"""From combined signals to weights of equity: multi-asset fractional Kelly, caps, tilt, source.

Order of steps: optimum with the wished signs only, times the Kelly fraction, per-name and
gross caps, net cap, news tilt inside those caps, then the factor of a degraded source.  The
last two only ever move a weight towards or within its bounds, so neither can flip a sign,
add a symbol or lift a cap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from domain.errors import SizingError
from domain.ids import Symbol
from domain.market import Bar
from domain.numbers import finite
from risk.caps import TOLERANCE, cap_weights, tilt_weights
from risk.covariance import return_model
from risk.kelly import Array, kelly_signed
from risk.settings import RiskLimits

# Beyond these, a session's moments are a defect upstream, not an opportunity.
MAX_MEAN = 1.0
MAX_VOLATILITY = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A symbol that may be held: moments per session, news multiplier, source factor in [0, 1]."""

    symbol: Symbol
    sign: int
    mean: float
    volatility: float
    tilt: float = 1.0
    source_factor: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is not a number before any comparison can be fooled by it."""
        for name in ("mean", "volatility", "source_factor"):
            finite(getattr(self, name), f"{self.symbol}: {name}", SizingError)
        if self.sign not in (-1, 1) or not self.sign * self.mean > 0:
            raise SizingError(f"{self.symbol}: mean {self.mean} has not the sign {self.sign}")
        if not (0 < self.volatility <= MAX_VOLATILITY and abs(self.mean) <= MAX_MEAN):
            raise SizingError(
                f"{self.symbol}: mean {self.mean:g} or volatility {self.volatility:g} a session "
                "is not plausible"
            )
        if not 0 <= self.source_factor <= 1:
            raise SizingError(f"{self.symbol}: source factor {self.source_factor} is not in [0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """Signed share of equity: ``full`` from a healthy source, ``allowed`` from this one."""

    full: float
    allowed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights by symbol, and why others have none."""

    by_symbol: Mapping[Symbol, Weight]
    left_out: Mapping[Symbol, str]


def kelly_weights(
    candidates: Sequence[Candidate],
    history: Mapping[Symbol, Sequence[Bar]],
    limits: RiskLimits,
    *,
    kept_gross: float = 0.0,
    kept_net: float = 0.0,
) -> Weights:
    """Size the candidates together.

    Args:
        candidates: at most one per symbol.
        history: complete daily bars for the covariance.
        limits: Kelly fraction and caps.
        kept_gross: share of equity already taken by symbols that are not candidates.
        kept_net: the same, signed.
    """
    finite(kept_gross, "kept gross", SizingError)
    finite(kept_net, "kept net", SizingError)
    by_symbol = {candidate.symbol: candidate for candidate in candidates}
    if len(by_symbol) != len(candidates):
        raise SizingError("a symbol is a candidate twice")
    model = return_model(history, sorted(by_symbol), limits.covariance_sessions)
    chosen = [by_symbol[symbol] for symbol in model.symbols]
    if not chosen:
        return Weights(by_symbol={}, left_out=model.left_out)
    volatility = np.maximum(model.volatility, [c.volatility for c in chosen])
    cov = model.correlation * np.outer(volatility, volatility)
    signs = np.array([float(c.sign) for c in chosen])
    optimum = kelly_signed(np.array([c.mean for c in chosen]), (cov + cov.T) / 2, signs)
    capped = _capped(limits.kelly_fraction * optimum, limits, kept_gross, kept_net)
    full = _tilted(capped, chosen, limits, kept_gross, kept_net)
    return Weights(
        by_symbol={
            c.symbol: Weight(full=float(w), allowed=float(w) * c.source_factor)
            for c, w in zip(chosen, full, strict=True)
        },
        left_out=model.left_out,
    )


def _room(limits: RiskLimits, kept_gross: float) -> float:
    return float(limits.max_gross_pct) / 100 - kept_gross


def _cap(limits: RiskLimits) -> float:
    return float(limits.max_position_pct) / 100


def _capped(weights: Array, limits: RiskLimits, kept_gross: float, kept_net: float) -> Array:
    room = _room(limits, kept_gross)
    if not room > 0:
        return np.zeros_like(weights)
    capped, _ = cap_weights(weights, cap=_cap(limits), gross=room)
    return _net_capped(capped, float(limits.max_net_pct) / 100, kept_net)


def _net_capped(weights: Array, max_net: float, kept_net: float) -> Array:
    result = weights.copy()
    for side in (1.0, -1.0):
        is_side = np.sign(result) == side
        taken = float(np.abs(result[is_side]).sum())
        excess = side * (kept_net + float(result.sum())) - max_net
        if taken > 0 and excess > 0:
            result[is_side] *= max(0.0, taken - excess) / taken
    return result


def _tilted(
    capped: Array,
    chosen: Sequence[Candidate],
    limits: RiskLimits,
    kept_gross: float,
    kept_net: float,
) -> Array:
    tilted = tilt_weights(
        capped,
        np.array([c.tilt for c in chosen]),
        max_tilt=limits.max_tilt,
        cap=_cap(limits),
        gross=max(0.0, _room(limits, kept_gross)),
    )
    net = abs(kept_net + float(tilted.sum()))
    is_inside = net <= float(limits.max_net_pct) / 100 + TOLERANCE
    # News never buys exposure that the net cap does not leave: then it has no effect.
    return tilted if is_inside or net <= abs(kept_net + float(capped.sum())) else capped
