"""A report as one JSON document: the contract's keys first, then everything else."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from domain.money import cents, decimal, text
from reports.model import (
    Bridge,
    EndOfDayReport,
    Point,
    RollUp,
    Row,
    Spending,
    StrategyPnl,
    SymbolPnl,
    Tomorrow,
    Yardsticks,
)

Document = dict[str, Any]


def document(report: EndOfDayReport | RollUp) -> Document:
    """Return plain values; money is text, exact to the last digit."""
    return _roll_up(report) if isinstance(report, RollUp) else _day(report)


def as_json(report: EndOfDayReport | RollUp) -> str:
    """Write the document."""
    return json.dumps(document(report), indent=2, ensure_ascii=False) + "\n"


def _day(report: EndOfDayReport) -> Document:
    return {
        "session_date": report.session_date.isoformat(),
        "revision": report.revision,
        "mode": report.mode,
        "account": report.account_tail,
        **_bridge(report.bridge),
        "reconciled": report.is_reconciled,
        "provisional": report.is_provisional,
        "doubts": list(report.doubts),
        "source": "broker" if report.is_from_broker else "database",
        "unknown": list(report.unknown),
        "next_session": report.next_session.isoformat() if report.next_session else None,
        "tomorrow": _tomorrow(report.tomorrow),
        "by_symbol": [_symbol(one) for one in report.by_symbol],
        "by_strategy": [_strategy(one) for one in report.by_strategy],
        "trades": _plain(report.trades),
        "orders": _plain(report.orders),
        "fills": _plain(report.fills),
        "denied": _plain(report.denied),
        "excluded": _plain(report.excluded),
        "signals": _plain(report.signals),
        "forecasts": _plain(report.forecasts),
        "matured": _plain(report.matured),
        "sentiment": _plain(report.sentiment),
        "runs": _plain(report.runs),
        "incidents": _plain(report.incidents),
        "activities": _plain(report.activities),
        "costs": _plain(report.costs),
        "spending": [_spending(one) for one in report.spending],
        "yardsticks": _yardsticks(report.yardsticks),
        "notes": list(report.notes),
        "equity_curve": _curve(report.equity_curve),
        "drawdown_curve": _curve(report.drawdown_curve),
        "exposure_curves": _curves(report.exposure_curves),
        "position_curves": _curves(report.position_curves),
    }


def _roll_up(roll_up: RollUp) -> Document:
    return {
        "period": roll_up.kind,
        "name": roll_up.name,
        "first": roll_up.first.isoformat(),
        "last": roll_up.last.isoformat(),
        "complete": roll_up.is_complete,
        "missing": [date.isoformat() for date in roll_up.missing],
        **_bridge(roll_up.bridge),
        "reconciled": roll_up.is_reconciled,
        "provisional": roll_up.is_provisional,
        "by_symbol": [_symbol(one) for one in roll_up.by_symbol],
        "by_strategy": [_strategy(one) for one in roll_up.by_strategy],
        "sessions": [_session(day) for day in roll_up.days],
        "drawdown_curve": _curve(roll_up.drawdown_curve),
    }


def _session(day: EndOfDayReport) -> Document:
    return {
        "session_date": day.session_date.isoformat(),
        "revision": day.revision,
        **_bridge(day.bridge),
        "reconciled": day.is_reconciled,
        "provisional": day.is_provisional,
        "fills": len(day.fills),
        "denied": len(day.denied),
        "incidents": len(day.incidents),
        "matured": len(day.matured),
    }


def _bridge(bridge: Bridge) -> Document:
    return {
        "equity_start": text(bridge.equity_start),
        "equity_end": text(bridge.equity_end),
        "realized_pnl": text(bridge.realized_pnl),
        "unrealized_pnl_change": text(bridge.unrealized_pnl_change),
        "fees": text(bridge.fees),
        "dividends": text(bridge.dividends),
        "interest": text(bridge.interest),
        "transfers": text(bridge.transfers),
        "other": text(bridge.other),
        "pnl": text(bridge.pnl),
        "residual": f"{cents(bridge.residual):f}",
    }


def _tomorrow(tomorrow: Tomorrow | None) -> Document | None:
    if tomorrow is None:
        return None
    return {
        "date": tomorrow.date.isoformat(),
        "opens_at": tomorrow.opens_at.isoformat(),
        "closes_at": tomorrow.closes_at.isoformat(),
        "half_day": tomorrow.is_half_day,
        "closed_between": [date.isoformat() for date in tomorrow.closed_between],
    }


def _symbol(one: SymbolPnl) -> Document:
    return {
        "symbol": one.symbol,
        "quantity": text(one.quantity),
        "market_value": text(one.value),
        "realized_pnl": text(one.realized_pnl),
        "unrealized_pnl_change": text(one.unrealized_pnl_change),
        "pnl": text(one.pnl),
    }


def _strategy(one: StrategyPnl) -> Document:
    return {"strategy": one.strategy, "symbols": list(one.symbols), "pnl": text(one.pnl)}


def _spending(one: Spending) -> Document:
    budget = text(one.budget) if one.budget is not None else None
    return {"name": one.name, "spent_usd": text(one.spent), "budget_usd": budget}


def _yardsticks(used: Yardsticks) -> Document:
    return {
        field.name: text(value)
        if isinstance(value := getattr(used, field.name), Decimal)
        else value
        for field in dataclasses.fields(used)
    }


def known_yardsticks(row: Mapping[str, Any]) -> Yardsticks:
    """Read the yardsticks of a document.

    Raises:
        DataError: a figure is none.
        TypeError: a field is not known.
    """
    return Yardsticks(
        **{name: decimal(value) if isinstance(value, str) else value for name, value in row.items()}
    )


def _curve(points: Sequence[Point]) -> list[list[str]]:
    return [[point.at.isoformat(), text(point.value)] for point in points]


def _curves(curves: Mapping[str, Sequence[Point]]) -> Document:
    return {name: _curve(curve) for name, curve in sorted(curves.items())}


def _plain(rows: Sequence[Row]) -> list[Document]:
    return [dict(row) for row in rows]
