"""How the openbell of one seed is set up: its limits, its strategies, what it insists on.

Each kind of set-up is a class of the swarm, so that the shrinker can leave it out.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from risk.settings import RiskLimits
from strategies.combine import Allocation
from strategies.registry import build_allocations
from tests.simulation.faults import Faults

LIMITS = RiskLimits(stop_loss_pct=Decimal(4), trailing_stop_pct=Decimal(6))
# Tighter ones bind where the usual ones leave room, by net, gross, number and size.
TIGHT = (
    LIMITS,
    dataclasses.replace(LIMITS, max_gross_pct=Decimal(25), max_position_pct=Decimal(6)),
    LIMITS,
    dataclasses.replace(
        LIMITS,
        max_net_pct=Decimal(30),
        max_orders_per_day=3,
        max_order_notional_usd=Decimal(4_000),
        max_notional_per_day_usd=Decimal(9_000),
    ),
)
_STOPS: tuple[Mapping[str, Any], ...] = (
    {"stop_loss_pct": Decimal("1.5"), "trailing_stop_pct": Decimal(3)},
    {"stop_loss_pct": Decimal(100), "trailing_stop_pct": Decimal("1.5")},
    {"stop_loss_pct": Decimal("0.4"), "trailing_stop_pct": Decimal("0.8")},
    {"stop_loss_pct": Decimal(3), "trailing_stop_pct": Decimal("2.5")},
)
# What a bad day reaches although protective stops sell.
_LOSSES: Mapping[str, Any] = {
    "reduce_at_daily_loss_pct": Decimal("0.2"),
    "max_daily_loss_pct": Decimal("0.4"),
    "max_drawdown_pct": Decimal("0.8"),
}
# Each binds in a way of its own; a seed has two of them.
_BINDING: tuple[Mapping[str, Any], ...] = (
    {"max_adv_pct": Decimal("0.001")},
    {"max_adv_pct": Decimal("0.01"), "require_known_volume": False},
    {"require_known_volume": False},
    {"min_order_notional_usd": Decimal(2_500), "no_trade_band_pct": Decimal(3)},
    {"cash_reserve_pct": Decimal(92)},
    {
        "reduce_at_daily_loss_pct": Decimal("0.2"),
        "max_daily_loss_pct": Decimal("0.6"),
        "max_drawdown_pct": Decimal(1),
    },
    {"stale_after_seconds": 4 * 86_400},
    {"equity_stale_after_seconds": 20},
    {"min_confidence": 0.72, "exit_confidence": 0.7},
    {"exit_confidence": 0.0, "degraded_source_fraction": 0.0},
    {"kelly_fraction": 1.0, "max_gross_pct": Decimal(180), "max_net_pct": Decimal(150)},
    {"max_net_pct": Decimal(5), "max_sentiment_tilt_pct": Decimal(50)},
    {"max_position_pct": Decimal(60), "max_order_notional_usd": Decimal(100_000)},
    {"max_orders_per_day": 1},
    {"max_notional_per_day_usd": Decimal(3_000)},
    {"price_collar_pct": Decimal("0.05"), "exit_collar_pct": Decimal("0.05")},
    {"max_order_error_pct": Decimal(1), "min_order_errors": 1},
    {"max_order_error_pct": Decimal(100), "min_order_errors": 1_000},
    {"allow_earnings_entries": True},
    {"earnings_sessions_ahead": 0},
    {"stop_loss_pct": Decimal(100), "trailing_stop_pct": Decimal(100)},
)
_STRATEGIES: tuple[Mapping[str, Mapping[str, Any]], ...] = (
    {
        "forecast": {"capital_fraction": 0.5},
        "momentum": {
            "capital_fraction": 0.3,
            "lookback_sessions": 60,
            "skip_sessions": 5,
            "prior_daily_drift": 0.005,
        },
        "reversal": {"capital_fraction": 0.2, "give_back_fraction": 0.5, "min_confidence": 0.5},
    },
    # Whatever the model says is believed.
    {"forecast": {"max_abs_mean": 5.0, "max_volatility": 10.0}},
    {
        "momentum": {
            "capital_fraction": 1.0,
            "lookback_sessions": 40,
            "skip_sessions": 0,
            "prior_daily_drift": 0.01,
            "min_confidence": 0.5,
        },
    },
)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a person would have written into the configuration."""

    limits: RiskLimits
    allocations: tuple[Allocation, ...]
    min_symbols_fraction: float
    has_nights: bool


def setup_of(faults: Faults) -> Setup:
    """Draw the configuration of a seed."""
    limits = _limits(faults)
    sections: Mapping[str, Mapping[str, Any]] = {}
    if faults.has("setup.strategies"):
        sections = faults.pick("setup.strategies", list(_STRATEGIES))
    return Setup(
        limits=limits,
        allocations=build_allocations(sections, min_confidence=limits.min_confidence),
        # Half of the seeds insist on nearly all symbols, as the daemon does by default.
        min_symbols_fraction=0.8 if faults.seed % 2 else 0.0,
        has_nights=faults.has("setup.nights"),
    )


def _limits(faults: Faults) -> RiskLimits:
    changes: dict[str, Any] = {}
    if faults.has("setup.short"):
        changes["allow_short"] = True
    if faults.has("setup.stops"):
        changes.update(faults.pick("setup.stops", list(_STOPS)))
    if faults.has("setup.losses"):
        changes.update(_LOSSES)
    if faults.has("setup.limits"):
        for _ in range(2):
            changes.update(faults.pick("setup.limits", list(_BINDING)))
    return dataclasses.replace(TIGHT[faults.seed % len(TIGHT)], **changes)
