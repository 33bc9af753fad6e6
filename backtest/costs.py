"""What trading costs: market impact, spread, shortfall.

Positive is bad: side * (fill / benchmark - 1), in basis points.  Half the spread is paid
once per side, so it is never added where the benchmark is the far touch already.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from domain.errors import DataError
from domain.numbers import finite, positive
from domain.orders import Side

BPS = 10_000

# Almgren, Thum, Hauptmann, Li (2005), "Direct Estimation of Equity Market Impact".
GAMMA = 0.314
ETA = 0.142
PERMANENT_EXPONENT = 0.25
TEMPORARY_EXPONENT = 0.6

# The square-root law fails for larger shares of the daily volume.
MAX_PARTICIPATION = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class AlmgrenImpact:
    """Price moves are signed by the side, the cost is positive for both."""

    permanent_bps: float
    temporary_bps: float
    cost_J_bps: float
    participation_of_day: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SquareRootImpact:
    """Cost of one order by the square-root law, and half the spread."""

    impact_bps: float
    half_spread_bps: float
    total_bps: float
    cost_usd: float
    participation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """Perold's shortfall in USD, split after Kissell; undefined parts are None."""

    vwap: float | None
    delay: float
    trading: float
    opportunity: float
    fees: float
    total: float
    total_bps_of_paper: float
    slippage_bps_vs_arrival: float | None
    fill_rate: float


def almgren_2005(
    *,
    side_qty: float,
    adv: float,
    shares_out: float,
    sigma: float,
    T: float,
) -> AlmgrenImpact:
    """Estimate impact of a signed quantity worked over ``T`` days.

    Args:
        side_qty: shares, negative for a sale.
        adv: shares traded a day.
        shares_out: shares outstanding.
        sigma: daily volatility, fraction.
        T: days the order is worked.

    Raises:
        DataError: a figure is not finite, or one that must be above 0 is not.
    """
    finite(side_qty, "side_qty", DataError)
    for name, value in (("adv", adv), ("shares_out", shares_out), ("sigma", sigma), ("T", T)):
        positive(value, name, DataError)
    turnover = (shares_out / adv) ** PERMANENT_EXPONENT
    permanent = GAMMA * sigma * side_qty / adv * turnover
    rate = side_qty / (adv * T)
    temporary = math.copysign(ETA * sigma * abs(rate) ** TEMPORARY_EXPONENT, side_qty)
    return AlmgrenImpact(
        permanent_bps=permanent * BPS,
        temporary_bps=temporary * BPS,
        cost_J_bps=abs(permanent / 2 + temporary) * BPS,
        participation_of_day=abs(rate),
    )


def sqrt_impact(
    *,
    qty: float,
    price: float,
    adv: float,
    sigma: float,
    half_spread: float,
    coefficient: float = 1.0,
    max_participation: float = MAX_PARTICIPATION,
) -> SquareRootImpact:
    """Estimate the cost of an order by Y sigma sqrt(Q / ADV).

    Args:
        qty: shares, unsigned.
        price: USD.
        adv: shares a day, of yesterday: today's running volume knows the future.
        sigma: daily volatility, fraction.
        half_spread: USD.
        coefficient: Y, about 1.
        max_participation: share of ``adv`` above which the law is not used.

    Raises:
        DataError: a figure is out of range, or the order is too large for the law.
    """
    for name, value in (("price", price), ("adv", adv), ("sigma", sigma)):
        positive(value, name, DataError)
    for name, value in (("qty", qty), ("half_spread", half_spread), ("coefficient", coefficient)):
        if not finite(value, name, DataError) >= 0:
            raise DataError(f"{name} = {value} must not be below 0")
    participation = qty / adv
    if not participation <= max_participation:
        raise DataError(
            f"order is {participation:.1%} of daily volume, above {max_participation:.1%}"
        )
    impact = coefficient * sigma * math.sqrt(participation) * BPS
    spread = half_spread / price * BPS
    return SquareRootImpact(
        impact_bps=impact,
        half_spread_bps=spread,
        total_bps=impact + spread,
        cost_usd=(impact + spread) / BPS * qty * price,
        participation=participation,
    )


def implementation_shortfall(
    *,
    side: Side,
    decision: float,
    arrival: float,
    fills: Sequence[tuple[float, float]],
    target: float,
    end_price: float,
    fees: float,
) -> Shortfall:
    """Compare what was done with the paper portfolio at the decision price.

    Args:
        side: of the order.
        decision: price when it was decided, USD.
        arrival: price when it reached the market, USD.
        fills: (shares, price) each.
        target: shares wanted.
        end_price: price at the end, for what was not filled.
        fees: USD.

    Raises:
        DataError: a figure is out of range, or more was filled than ordered.
    """
    for name, value in (
        ("decision", decision),
        ("arrival", arrival),
        ("end_price", end_price),
        ("target", target),
    ):
        positive(value, name, DataError)
    finite(fees, "fees", DataError)
    filled = math.fsum(positive(shares, "filled shares", DataError) for shares, _ in fills)
    if filled > target:
        raise DataError(f"filled {filled:g} shares of an order of {target:g}")
    paid = math.fsum(shares * positive(price, "fill price", DataError) for shares, price in fills)
    vwap = paid / filled if filled > 0 else None
    delay = side.sign * (arrival - decision) * filled
    trading = side.sign * (vwap - arrival) * filled if vwap is not None else 0.0
    opportunity = side.sign * (end_price - decision) * (target - filled)
    total = delay + trading + opportunity + fees
    slippage = side.sign * (vwap / arrival - 1) * BPS if vwap is not None else None
    return Shortfall(
        vwap=vwap,
        delay=delay,
        trading=trading,
        opportunity=opportunity,
        fees=fees,
        total=total,
        total_bps_of_paper=total / (decision * target) * BPS,
        slippage_bps_vs_arrival=slippage,
        fill_rate=filled / target,
    )
