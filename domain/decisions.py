"""Decisions: what the gate was asked and what it answered, figure by figure."""

from dataclasses import dataclass
from decimal import Decimal

from domain.ids import Symbol
from domain.orders import OrderRequest
from domain.signals import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitCheck:
    """One limit, its figure and its bound, as text that a person can read.

    ``figure`` and ``bound`` are decimal strings or words; ``passed`` is False also when
    an input was unknown.
    """

    limit: str
    passed: bool
    figure: str
    bound: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """All limits ran; the order may go only if every one of them passed."""

    request: OrderRequest
    checks: tuple[LimitCheck, ...]

    @property
    def is_approved(self) -> bool:
        """True when there were checks and none failed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Names of the limits that said no."""
        return tuple(check.limit for check in self.checks if not check.passed)


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinedSignal:
    """The book's wish for a symbol, from all strategies and the news tilt.

    ``kelly_weight`` is the share of equity after fraction, tilt and caps, signed;
    ``target_quantity`` is whole shares, signed.
    """

    symbol: Symbol
    action: Action
    strength: float
    confidence: float
    expected_return: float
    volatility: float
    horizon: int
    sentiment_tilt: float
    kelly_weight: float
    target_quantity: Decimal
    reason: str
