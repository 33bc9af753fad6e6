"""What the account may come to if everything that may work fills (I08)."""

import sqlite3
from decimal import Decimal
from typing import Any

from domain.orders import OrderRequest, Side
from tests.simulation.checkers.evidence import ZERO, Violations, hand_traded
from tests.simulation.truth import Truth


def within_limits(
    truth: Truth, db: sqlite3.Connection, request: OrderRequest, limits: Any
) -> Violations:
    """I08: the limits hold even if every order that may be working fills."""
    found: Violations = []
    order_id = request.client_order_id
    price = request.limit_price or request.decision_price
    notional = request.quantity * price
    is_over = request.quantity > truth.positions.get(request.symbol, ZERO)
    if request.side is Side.SELL and is_over and not hand_traded(truth, request.symbol):
        found.append(("I08", f"{order_id} sells more than is held"))
    if request.side is Side.SELL:
        return found
    if not notional <= limits.max_order_notional_usd:
        found.append(("I08", f"{order_id} is worth {notional}"))
    found += _within_the_day(db, request, limits)
    equity = truth.equity()
    worst = _worst_case(truth, db)
    mine = worst.get(request.symbol, ZERO)
    # The gate works on the last close and on an equity some minutes old: one per cent of room.
    room = Decimal("1.01")
    close = truth.market.close_before(request.symbol, request.session_date)
    held = truth.positions.get(request.symbol, ZERO) * close
    if not held + mine <= equity * limits.max_position_pct / 100 * room and not hand_traded(
        truth, request.symbol
    ):
        found.append(("I08", f"{order_id} may take {request.symbol} to {held + mine} of {equity}"))
    longs = sum(
        (
            quantity * truth.market.close_before(symbol, request.session_date)
            for symbol, quantity in truth.positions.items()
        ),
        ZERO,
    )
    gross = longs + sum(worst.values(), ZERO)
    if not gross <= equity * limits.max_gross_pct / 100 * room and not truth.hand_trades:
        found.append(("I08", f"{order_id} may take gross to {gross} of {equity}"))
    return found


def _within_the_day(db: sqlite3.Connection, request: OrderRequest, limits: Any) -> Violations:
    rows = db.execute(
        "SELECT quantity, limit_price FROM orders WHERE session_date = ? AND leg = 'entry'"
        " AND is_external = 0 AND state NOT IN ('planned', 'approved', 'denied', 'skipped')",
        (request.session_date.isoformat(),),
    ).fetchall()
    spent = sum((Decimal(row[0]) * Decimal(row[1]) for row in rows), ZERO)
    if len(rows) > limits.max_orders_per_day:
        return [("I08", f"{len(rows)} entries in a day: {request.client_order_id}")]
    if spent > limits.max_notional_per_day_usd:
        return [("I08", f"entries of {spent} in a day: {request.client_order_id}")]
    return []


def _worst_case(truth: Truth, db: sqlite3.Connection) -> dict[str, Decimal]:
    """Return the USD by symbol of all buys that may still fill, at the broker or on the way."""
    found: dict[str, Decimal] = {}
    seen = set()
    for order in truth.orders.values():
        seen.add(order.client_id)
        if order.is_open and order.side is Side.BUY:
            price = order.limit or truth.price(order.symbol)
            found[order.symbol] = found.get(order.symbol, ZERO) + order.left * price
    rows = db.execute(
        "SELECT * FROM orders WHERE state IN ('sending', 'unknown', 'abandoned') AND side = 'buy'"
    )
    for row in rows:
        if row["client_order_id"] not in seen and row["limit_price"] is not None:
            worth = Decimal(row["quantity"]) * Decimal(row["limit_price"])
            found[row["symbol"]] = found.get(row["symbol"], ZERO) + worth
    return found
