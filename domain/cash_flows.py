"""Returns of an account that money moves into and out of.

The unit net asset value answers how good the decisions were (time-weighted), the
money-weighted rate what the owner's dollars earned.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from domain.errors import DataError
from domain.numbers import positive
from domain.series import require_finite_series

DAYS_A_YEAR = 365
LOWEST_RATE, HIGHEST_RATE = -0.9999, 100.0
HALVINGS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitNav:
    """Value of one unit bought on the first day; a flow arrives before the open of its day."""

    unit_nav: tuple[float, ...]
    drawdown_unit: tuple[float, ...]
    max_drawdown: float
    daily_pnl: tuple[float, ...]
    daily_return: tuple[float, ...]
    twr: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Money moved at the end of ``day``; ``value_before`` is the account's value just before."""

    day: int
    amount: float
    value_before: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowReturns:
    """Time-weighted return, modified Dietz, and the internal rate a year and for the period."""

    twr: float
    modified_dietz: float
    xirr_annual_act365: float
    mwr_period: float


def unit_nav(equity: Sequence[float], flows: Sequence[float]) -> UnitNav:
    """Follow the unit value of daily closing equities.

    Raises:
        DataError: lengths differ, a value is not finite, or a capital base is 0 or below.
    """
    values = require_finite_series(equity, "equity", at_least=1)
    moved = require_finite_series(flows, "flows", at_least=1)
    if len(values) != len(moved):
        raise DataError("equity and flows differ in length; join them on dates first")
    positive(values[0], "first equity", DataError)
    units, changes, pnl = [1.0], [0.0], [0.0]
    for (before, after), flow in zip(pairwise(values), moved[1:], strict=True):
        base = before + flow
        if not base > 0:
            raise DataError(f"capital base {base:g} is not above 0; a new track record starts")
        pnl.append(after - base)
        changes.append(after / base - 1)
        units.append(units[-1] * after / base)
    peaks = accumulate(units, max)
    falls = tuple(unit / peak - 1 for unit, peak in zip(units, peaks, strict=True))
    return UnitNav(
        unit_nav=tuple(units),
        drawdown_unit=falls,
        max_drawdown=min(falls),
        daily_pnl=tuple(pnl),
        daily_return=tuple(changes),
        twr=units[-1] - 1,
    )


def flow_returns(*, v0: float, v1: float, flows: Sequence[Flow], days: int) -> FlowReturns:
    """Return time- and money-weighted returns from ``v0`` to ``v1`` over ``days``.

    Raises:
        DataError: a value is not finite or not above 0, or no rate explains the values.
    """
    positive(v0, "start value", DataError)
    positive(v1, "end value", DataError)
    positive(days, "days", DataError)
    ordered = sorted(flows, key=lambda flow: flow.day)
    growth, value = 1.0, v0
    for flow in ordered:
        growth *= positive(flow.value_before, "value before a flow", DataError) / value
        value = positive(flow.value_before + flow.amount, "value after a flow", DataError)
    growth *= v1 / value
    total = math.fsum(flow.amount for flow in ordered)
    weighted = math.fsum(flow.amount * (days - flow.day) / days for flow in ordered)
    rate = _internal_rate(v0, v1, ordered, days)
    return FlowReturns(
        twr=growth - 1,
        modified_dietz=(v1 - v0 - total) / positive(v0 + weighted, "average capital", DataError),
        xirr_annual_act365=rate,
        mwr_period=(1 + rate) ** (days / DAYS_A_YEAR) - 1,
    )


def _internal_rate(v0: float, v1: float, flows: Sequence[Flow], days: int) -> float:
    def surplus(rate: float) -> float:
        grown: float = v0 * (1 + rate) ** (days / DAYS_A_YEAR)
        later = (f.amount * (1 + rate) ** ((days - f.day) / DAYS_A_YEAR) for f in flows)
        return grown + math.fsum(later) - v1

    low, high = LOWEST_RATE, HIGHEST_RATE
    if surplus(low) * surplus(high) > 0:
        raise DataError("no internal rate of return between -99.99 % and 10,000 %")
    is_rising = surplus(high) > 0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if (surplus(middle) > 0) is is_rising:
            high = middle
        else:
            low = middle
    return (low + high) / 2
