"""The report as one JSON document: the contract's keys first, then everything else."""

import json
from collections.abc import Sequence
from typing import Any

from domain.money import cents, text
from reports.model import EndOfDayReport, Point, Row, SymbolPnl

Document = dict[str, Any]


def document(report: EndOfDayReport) -> Document:
    """Return plain values; money is text, exact to the last digit."""
    bridge = report.bridge
    return {
        "session_date": report.session_date.isoformat(),
        "revision": report.revision,
        "mode": report.mode,
        "account": report.account_tail,
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
        "reconciled": report.is_reconciled,
        "next_session": report.next_session.isoformat() if report.next_session else None,
        "by_symbol": [_symbol(one) for one in report.by_symbol],
        "orders": _plain(report.orders),
        "fills": _plain(report.fills),
        "denied": _plain(report.denied),
        "signals": _plain(report.signals),
        "forecasts": _plain(report.forecasts),
        "sentiment": _plain(report.sentiment),
        "runs": _plain(report.runs),
        "incidents": _plain(report.incidents),
        "costs": _plain(report.costs),
        "notes": list(report.notes),
        "equity_curve": [_point(point) for point in report.equity_curve],
        "position_curves": {
            symbol: [_point(point) for point in curve]
            for symbol, curve in sorted(report.position_curves.items())
        },
    }


def as_json(report: EndOfDayReport) -> str:
    """Write the document."""
    return json.dumps(document(report), indent=2, ensure_ascii=False) + "\n"


def _symbol(one: SymbolPnl) -> Document:
    return {
        "symbol": one.symbol,
        "quantity": text(one.quantity),
        "market_value": text(one.value),
        "realized_pnl": text(one.realized_pnl),
        "unrealized_pnl_change": text(one.unrealized_pnl_change),
        "pnl": text(one.pnl),
    }


def _point(point: Point) -> list[str]:
    return [point.at.isoformat(), text(point.value)]


def _plain(rows: Sequence[Row]) -> list[Document]:
    return [dict(row) for row in rows]
