"""What is held costs what the broker says: average entry price times shares."""

import datetime as dt
import sqlite3
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from domain.ids import Symbol
from domain.orders import OrderRequest, Side
from risk.settings import RiskLimits
from tests.simulation.checkers.evidence import ZERO, Violations
from tests.simulation.truth import Truth

_CENT = Decimal("0.01")
# How long a daemon may have been on its way with a price, and how far off it may have been.
_ON_THE_WAY = dt.timedelta(minutes=20)
_MARGIN = Decimal("0.3")


def same_costs(truth: Truth, db: sqlite3.Connection) -> Violations:
    """I04: in the calm, of every symbol whose split left a fraction."""
    rows = db.execute("SELECT symbol, quantity, total_cost FROM positions")
    ours = {row["symbol"]: (Decimal(row["quantity"]), Decimal(row["total_cost"])) for row in rows}
    return [
        ("I04", f"{symbol} costs {ours[symbol][1]} in the ledger, {truth.cost[symbol]} in truth")
        for symbol, splits in _split(truth).items()
        if _is_plain(truth, db, symbol)
        and ours.get(symbol, (ZERO, ZERO))[0] == truth.positions[symbol]
        and abs(ours[symbol][1] - truth.cost[symbol]) > _CENT + _doubt(truth, symbol, splits)
    ]


def stop_has_cause(
    truth: Truth, db: sqlite3.Connection, request: OrderRequest, limits: RiskLimits
) -> Violations:
    """I09: no stop sells what did not fall, by what the broker says that the shares cost."""
    symbol = request.symbol
    held, splits = truth.positions.get(symbol, ZERO), _split(truth).get(symbol, [])
    is_of_cost = request.reason.startswith("stop:") and request.side is Side.SELL and held > 0
    if not is_of_cost or _doubt(truth, symbol, splits) or not _is_plain(truth, db, symbol):
        return []
    if _has_changed(db, request):
        return []
    cost = truth.cost[symbol] / held
    lost = max((cost - truth.market.price(symbol, at)) * 100 / cost for at in _seen(truth, request))
    if lost >= limits.stop_loss_pct - _MARGIN:
        return []
    return [("I09", f"{request.client_order_id} is a stop, and {symbol} lost {lost:.2f} %")]


def _has_changed(db: sqlite3.Connection, request: OrderRequest) -> bool:
    """Tell whether something was booked since the stop was decided."""
    query = (
        "SELECT 1 FROM ledger_entries JOIN orders USING (symbol)"
        " WHERE client_order_id = ? AND booked_at > created_at"
    )
    return db.execute(query, (request.client_order_id,)).fetchone() is not None


def _seen(truth: Truth, request: OrderRequest) -> tuple[dt.datetime, ...]:
    """Return moments whose price the stop may have been decided by; it may be a resend."""
    first = truth.first_written(request.client_order_id, request.limit_price)
    return truth.now(), first, first - _ON_THE_WAY / 2, first - _ON_THE_WAY


def _split(truth: Truth) -> Mapping[Symbol, list[tuple[Any, ...]]]:
    found: dict[Symbol, list[tuple[Any, ...]]] = {}
    for entry in truth.log:
        if entry[1] == "split":
            found.setdefault(entry[3], []).append(entry)
    return {
        symbol: splits
        for symbol, splits in found.items()
        if any(Decimal(entry[5]) for entry in splits)
    }


def _doubt(truth: Truth, symbol: Symbol, splits: list[tuple[Any, ...]]) -> Decimal:
    """Return by how much the cost may be off, USD: a fraction that nobody told costs its cash."""
    untold = sum((abs(Decimal(entry[5])) for entry in splits if entry[6] == "untold"), ZERO)
    held = truth.positions.get(symbol, ZERO)
    if not untold or not held:
        return ZERO
    paid = [one for _, one in truth.activities if one.symbol == symbol]
    brought = sum((abs(one.net_amount) for one in paid if one.net_amount), ZERO)
    return max(untold * abs(truth.cost[symbol] / held), brought)


def _is_plain(truth: Truth, db: sqlite3.Connection, symbol: Symbol) -> bool:
    """Tell whether the broker's log alone explains the holding, told in the order it happened.

    Executions on different sides of a split may be told in any order.
    """
    strange = {e[2] for e in truth.log if e[1] == "slipped in"}
    amended = {one.was.symbol for one in truth.amendments}
    query = "SELECT 1 FROM ledger_entries WHERE symbol = ? AND kind IN ('adoption', 'reversal')"
    if symbol in strange | amended or db.execute(query, (symbol,)).fetchone():
        return False
    rows = db.execute(
        "SELECT at FROM ledger_entries WHERE symbol = ? AND kind = 'fill' ORDER BY entry_id",
        (symbol,),
    )
    told = [row["at"] for row in rows]
    query = "SELECT at FROM ledger_entries WHERE symbol = ? AND kind = 'split'"
    splits = [row["at"] for row in db.execute(query, (symbol,))]
    # The books know on which side of a split an execution was, however late it is told.
    known = sorted(told, key=lambda at: sum(split < at for split in splits))
    executed = [one for one in truth.executions if one.symbol == symbol]
    return known == sorted(told) and len(told) == len(executed)
