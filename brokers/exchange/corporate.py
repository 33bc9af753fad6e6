"""Corporate actions and corrections: splits, and busts of executions."""

import dataclasses
import datetime as dt
from decimal import Decimal

from brokers.exchange.desk import Desk
from brokers.exchange.events import ActivityPosted
from brokers.exchange.lifecycle import end
from brokers.exchange.orders import Order
from brokers.exchange.refusal import malformed, not_found
from brokers.exchange.windows import new_york
from brokers.exchange.words import Status
from domain.ids import Symbol


def split(desk: Desk, symbol: Symbol, ratio: Decimal, at: dt.datetime) -> None:
    """Multiply a holding at unchanged cost; open orders of the symbol are canceled."""
    if not (ratio.is_finite() and ratio > 0):
        raise malformed("the split ratio must be > 0")
    for order in sorted(desk.book.open_orders.values(), key=lambda order: order.client_order_id):
        if order.symbol == symbol and not desk.book.orders[order.id].status.is_terminal:
            end(desk, order, Status.CANCELED, at)
    held = desk.book.holding(symbol).quantity
    if held == 0:
        return
    desk.emit(
        ActivityPosted(
            at=at,
            id=activity_id(desk, "SPLIT", at),
            kind="SPLIT",
            date=new_york(at).date(),
            symbol=symbol,
            quantity=held * ratio - held,
            description=f"split {ratio.normalize():f} for 1",
        )
    )


def bust(desk: Desk, execution_id: str, at: dt.datetime) -> Order:
    """Undo an execution; the order keeps its status, its filled quantity falls."""
    found = next((e for e in desk.book.executions if e.id == execution_id), None)
    if found is None:
        raise not_found(f"execution not found for {execution_id}")
    order = desk.book.orders[found.order_id]
    reversal = dataclasses.replace(
        found,
        id=desk.derive_id("bust", found.id),
        quantity=-found.quantity,
        cumulative=order.filled_quantity - found.quantity,
        at=at,
        position_after=desk.book.holding(found.symbol).quantity - found.quantity * found.side.sign,
        previous_id=found.id,
    )
    return desk.amend(
        order,
        "trade_bust",
        at,
        execution=reversal,
        filled_quantity=reversal.cumulative,
        filled_value=order.filled_value - found.quantity * found.price,
    )


def activity_id(desk: Desk, kind: str, at: dt.datetime) -> str:
    """Derive the id of the next activity that is not a fill."""
    stamp = f"{at:%Y%m%d%H%M%S}{at.microsecond // 1000:03d}"
    return f"{stamp}::{desk.derive_id('activity', kind, str(len(desk.book.activities)))}"
