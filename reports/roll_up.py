"""Weeks and months: the reports of their sessions as one."""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

from domain.errors import DataError
from domain.money import ZERO
from reports.model import Bridge, EndOfDayReport, Point, RollUp, StrategyPnl, SymbolPnl

WEEK, MONTH = "week", "month"
_DECEMBER = 12


def period_of(kind: str, day: dt.date) -> tuple[str, dt.date, dt.date]:
    """Return the name, first and last day of the week or month around a date."""
    if kind == WEEK:
        year, number, weekday = day.isocalendar()
        first = day - dt.timedelta(days=weekday - 1)
        return f"{year}-W{number:02d}", first, first + dt.timedelta(days=6)
    first = day.replace(day=1)
    if first.month == _DECEMBER:
        following = dt.date(first.year + 1, 1, 1)
    else:
        following = first.replace(month=first.month + 1)
    return f"{first:%Y-%m}", first, following - dt.timedelta(days=1)


def roll_up(
    kind: str, name: str, days: Sequence[EndOfDayReport], sessions: Sequence[dt.date]
) -> RollUp:
    """Sum the reports of a period.

    Args:
        kind: week or month.
        name: such as 2026-W23 or 2026-06.
        days: the reports that there are, oldest first.
        sessions: every session of the period by the calendar.

    Raises:
        DataError: there is no report in the period.
    """
    if not days:
        raise DataError(f"{name}: no session of this {kind} has a report")
    known = {day.session_date for day in days}
    passed = [date for date in sessions if days[0].session_date <= date <= days[-1].session_date]
    return RollUp(
        kind=kind,
        name=name,
        first=sessions[0],
        last=sessions[-1],
        is_complete=sessions[-1] <= days[-1].session_date,
        missing=tuple(date for date in passed if date not in known),
        days=tuple(days),
        bridge=_bridge(days),
        by_symbol=_by_symbol(days),
        by_strategy=_by_strategy(days),
        drawdown_curve=_drawdown(days),
    )


def _bridge(days: Sequence[EndOfDayReport]) -> Bridge:
    def total(name: str) -> Decimal:
        return sum((getattr(day.bridge, name) for day in days), ZERO)

    return Bridge(
        equity_start=days[0].bridge.equity_start,
        equity_end=days[-1].bridge.equity_end,
        realized_pnl=total("realized_pnl"),
        unrealized_pnl_change=total("unrealized_pnl_change"),
        fees=total("fees"),
        dividends=total("dividends"),
        interest=total("interest"),
        transfers=total("transfers"),
        other=total("other"),
    )


def _by_symbol(days: Sequence[EndOfDayReport]) -> tuple[SymbolPnl, ...]:
    last = {one.symbol: one for one in days[-1].by_symbol}
    found: dict[str, list[SymbolPnl]] = {}
    for day in days:
        for one in day.by_symbol:
            found.setdefault(one.symbol, []).append(one)
    return tuple(
        SymbolPnl(
            symbol=symbol,
            quantity=last[symbol].quantity if symbol in last else ZERO,
            value=last[symbol].value if symbol in last else ZERO,
            realized_pnl=sum((one.realized_pnl for one in parts), ZERO),
            unrealized_pnl_change=sum((one.unrealized_pnl_change for one in parts), ZERO),
        )
        for symbol, parts in sorted(found.items())
    )


def _by_strategy(days: Sequence[EndOfDayReport]) -> tuple[StrategyPnl, ...]:
    found: dict[str, list[StrategyPnl]] = {}
    for day in days:
        for one in day.by_strategy:
            found.setdefault(one.strategy, []).append(one)
    return tuple(
        StrategyPnl(
            strategy=name,
            symbols=tuple(sorted({symbol for part in parts for symbol in part.symbols})),
            pnl=sum((part.pnl for part in parts), ZERO),
        )
        for name, parts in sorted(found.items())
    )


def _drawdown(days: Sequence[EndOfDayReport]) -> tuple[Point, ...]:
    """The deepest point of each session: a month of readings would be a blur."""
    deepest = [
        max(day.drawdown_curve, key=lambda point: point.value) for day in days if day.drawdown_curve
    ]
    return tuple(deepest)
