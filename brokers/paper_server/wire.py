"""Alpaca's JSON shapes of orders, executions, activities and the trade stream."""

import datetime as dt
from decimal import Decimal
from typing import Any

from brokers.exchange.book import Book
from brokers.exchange.events import ActivityPosted, OrderChanged
from brokers.exchange.orders import Execution, Order, derive_id
from brokers.exchange.views import execution_activity_id
from domain.ids import Symbol
from domain.money import text

Json = dict[str, Any]


def stamp(at: dt.datetime | None) -> str | None:
    """Write a moment as RFC 3339 in UTC."""
    return None if at is None else at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def number(value: Decimal | None) -> str | None:
    """Write a number as a string without exponent or trailing zeros."""
    return None if value is None else text(round(value, 9))


def asset_id(symbol: Symbol) -> str:
    """Return the id of a symbol's asset."""
    return derive_id("asset", symbol)


def order_json(order: Order, book: Book, *, is_nested: bool = False) -> Json:
    """Write one order; ``legs`` only when asked for."""
    legs = [book.orders[leg_id] for leg_id in order.leg_ids]
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": stamp(order.created_at),
        "updated_at": stamp(order.updated_at),
        "submitted_at": stamp(order.submitted_at),
        "filled_at": stamp(order.filled_at),
        "expired_at": stamp(order.expired_at),
        "expires_at": stamp(order.expires_at),
        "canceled_at": stamp(order.canceled_at),
        "failed_at": stamp(order.failed_at),
        "cancel_requested_at": stamp(order.cancel_requested_at),
        "replaced_at": stamp(order.replaced_at),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": asset_id(order.symbol),
        "symbol": order.symbol,
        "asset_class": "us_equity",
        "notional": number(order.notional),
        "qty": number(order.quantity),
        "filled_qty": number(order.filled_quantity),
        "filled_avg_price": number(order.filled_avg_price),
        "order_class": str(order.order_class),
        "order_type": str(order.kind),
        "type": str(order.kind),
        "side": str(order.side),
        "position_intent": order.position_intent,
        "time_in_force": str(order.tif),
        "limit_price": number(order.limit_price),
        "stop_price": number(order.stop_price),
        "status": str(order.status),
        "extended_hours": order.is_extended_hours,
        "legs": [order_json(leg, book) for leg in legs] if is_nested and legs else None,
        "trail_percent": number(order.trail_percent),
        "trail_price": number(order.trail_price),
        "hwm": number(order.high_water_mark),
        "subtag": None,
        "source": None,
    }


def update_json(event: OrderChanged, book: Book, sequence: int) -> Json:
    """Write one event of the trade stream; ``sequence`` makes its id sortable."""
    execution = event.execution
    body: Json = {
        "event": event.name,
        "event_id": f"{sequence:026d}",
        "at": stamp(event.at),
        "timestamp": stamp(event.at),
        "order": order_json(event.order, book),
    }
    if execution is not None:
        body |= {
            "execution_id": execution.id,
            "price": number(execution.price),
            "qty": number(execution.quantity),
            "position_qty": number(execution.position_after),
        }
        if execution.previous_id is not None:
            body["previous_execution_id"] = execution.previous_id
    elif event.name == "new":
        # Alpaca gives one to this event too; it is not a fill.
        body["execution_id"] = derive_id("new", event.order.id)
    return {"stream": "trade_updates", "data": body}


def fill_json(execution: Execution, order: Order) -> Json:
    """Write one fill as an activity."""
    kind = "fill" if execution.leaves == 0 else "partial_fill"
    row = {
        "activity_type": "FILL",
        "id": execution_activity_id(execution),
        "order_id": execution.order_id,
        "symbol": execution.symbol,
        "side": "sell_short" if execution.is_short_sale else str(execution.side),
        "qty": number(execution.quantity),
        "price": number(execution.price),
        "cum_qty": number(execution.cumulative),
        "leaves_qty": number(execution.leaves),
        "type": kind,
        "order_status": "filled" if execution.leaves == 0 else "partially_filled",
        "transaction_time": stamp(execution.at),
    }
    if execution.previous_id is not None:
        row |= {
            "type": "trade_bust",
            "order_status": str(order.status),
            "previous_execution_id": execution.previous_id,
        }
    return row


def activity_json(event: ActivityPosted) -> Json:
    """Write one activity that is not a fill."""
    row: Json = {
        "activity_type": event.kind,
        "id": event.id,
        "date": event.date.isoformat(),
        "created_at": stamp(event.at),
        "net_amount": number(event.net_amount),
        "description": event.description,
        "status": "executed",
    }
    if event.symbol is not None:
        row |= {"symbol": event.symbol, "qty": number(event.quantity)}
    if event.per_share is not None:
        row["per_share_amount"] = number(event.per_share)
    return row
