"""The limits a person sets: the ``[risk]`` section, checked before anything is built.

``_pct`` is 0-100, ``_fraction`` 0-1.  The upper bounds are part of the safety: a
misplaced decimal point (``25`` for ``0.25``) is refused, not traded.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from domain.errors import ConfigError
from risk.error_rate import ErrorLimit

# Lowest and highest value allowed, both included.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "kelly_fraction": (0.01, 1),
    "min_confidence": (0.5, 0.99),
    "exit_confidence": (0.0, 0.99),
    "degraded_source_fraction": (0, 1),
    "max_sentiment_tilt_pct": (0, 50),
    "max_sentiment_change": (0.01, 2),
    "covariance_sessions": (30, 1000),
    "no_trade_band_pct": (0, 10),
    "min_order_notional_usd": (1, 100_000),
    "cash_reserve_pct": (0, 100),
    "reduce_at_daily_loss_pct": (0.01, 50),
    "max_daily_loss_pct": (0.01, 50),
    "max_drawdown_pct": (0.01, 90),
    "stop_loss_pct": (0.1, 100),
    "trailing_stop_pct": (0.1, 100),
    "max_order_error_pct": (1, 100),
    "min_order_errors": (1, 1_000),
    "order_error_window_seconds": (10, 86_400),
    "max_position_pct": (0.01, 100),
    "max_gross_pct": (0.01, 400),
    "max_net_pct": (0.01, 400),
    "max_adv_pct": (0.001, 10),
    "max_order_notional_usd": (1, 100_000_000),
    "max_notional_per_day_usd": (1, 1_000_000_000),
    "max_orders_per_day": (1, 10_000),
    "earnings_sessions_ahead": (0, 20),
    "price_collar_pct": (0.01, 20),
    "exit_collar_pct": (0.01, 50),
    "stale_after_seconds": (1, 10 * 86_400),
    "equity_stale_after_seconds": (1, 86_400),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskLimits:
    """Every bound of sizing and of the gate; percentages are of equity unless named."""

    # sizing
    kelly_fraction: float = 0.25
    min_confidence: float = 0.60
    exit_confidence: float = 0.50
    degraded_source_fraction: float = 0.5
    max_sentiment_tilt_pct: Decimal = Decimal(20)
    max_sentiment_change: float = 0.5
    covariance_sessions: int = 120
    no_trade_band_pct: Decimal = Decimal("0.5")
    min_order_notional_usd: Decimal = Decimal(100)
    cash_reserve_pct: Decimal = Decimal(2)
    # loss
    reduce_at_daily_loss_pct: Decimal = Decimal("1.5")
    max_daily_loss_pct: Decimal = Decimal("2.0")
    max_drawdown_pct: Decimal = Decimal("5.0")
    stop_loss_pct: Decimal = Decimal(100)  # of a holding's average cost; 100 is no stop
    trailing_stop_pct: Decimal = Decimal(100)  # of its best price since then; 100 is no stop
    # errors of the order path
    max_order_error_pct: Decimal = Decimal(25)
    min_order_errors: int = 5
    order_error_window_seconds: int = 600
    # exposure
    max_position_pct: Decimal = Decimal(10)
    max_gross_pct: Decimal = Decimal(80)
    max_net_pct: Decimal = Decimal(100)
    max_adv_pct: Decimal = Decimal(1)
    require_known_volume: bool = True
    allow_short: bool = False
    # earnings
    allow_earnings_entries: bool = False
    earnings_sessions_ahead: int = 1
    # orders
    max_order_notional_usd: Decimal = Decimal(25_000)
    max_notional_per_day_usd: Decimal = Decimal(200_000)
    max_orders_per_day: int = 50
    price_collar_pct: Decimal = Decimal(2)
    exit_collar_pct: Decimal = Decimal(5)
    # age of inputs
    stale_after_seconds: int = 5 * 86_400
    equity_stale_after_seconds: int = 300

    def __post_init__(self) -> None:
        """Refuse wrong types, values out of range, and limits that contradict each other."""
        for field in dataclasses.fields(self):
            _check_type(field.name, type(field.default), getattr(self, field.name))
        for name in BOUNDS:
            _check_range(name, getattr(self, name))
        if self.reduce_at_daily_loss_pct > self.max_daily_loss_pct:
            raise ConfigError(
                f"risk.reduce_at_daily_loss_pct = {self.reduce_at_daily_loss_pct}: must not be "
                f"above risk.max_daily_loss_pct = {self.max_daily_loss_pct}"
            )
        if self.exit_confidence > self.min_confidence:
            raise ConfigError(
                f"risk.exit_confidence = {self.exit_confidence}: must not be above "
                f"risk.min_confidence = {self.min_confidence}"
            )
        if self.min_order_notional_usd > self.max_order_notional_usd:
            raise ConfigError(
                f"risk.min_order_notional_usd = {self.min_order_notional_usd}: must not be above "
                f"risk.max_order_notional_usd = {self.max_order_notional_usd}"
            )

    @property
    def order_errors(self) -> ErrorLimit:
        """How much of the order path may fail before it halts."""
        return ErrorLimit(
            max_pct=self.max_order_error_pct,
            least_errors=self.min_order_errors,
            window_seconds=float(self.order_error_window_seconds),
        )

    @property
    def max_tilt(self) -> float:
        """How far news may scale a weight, as a fraction."""
        return float(self.max_sentiment_tilt_pct) / 100


def _check_type(name: str, kind: type[object], value: object) -> None:
    # bool is a kind of int, and an int where money belongs hides a missing conversion.
    if type(value) is not kind:
        raise ConfigError(f"risk.{name} = {value!r}: must be of type {kind.__name__}")


def _check_range(name: str, value: Any) -> None:
    low, high = BOUNDS[name]
    # NaN must fail here: Decimal would raise when asked to order it.
    if Decimal(value).is_nan() or not low <= float(value) <= high:
        raise ConfigError(f"risk.{name} = {value}: out of range, allowed is from {low} to {high}")
