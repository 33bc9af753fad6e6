"""Rows as the public JSON shapes: decimals as text, times as RFC 3339."""

import json
import sqlite3
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from domain.money import decimal, text
from state.cost_basis import average, exact_product, exact_sum
from state.rows import DISPLAY_PRICE_GRID, filled_avg_price, optional_text

Row = dict[str, Any]

_ORDER_COLUMNS = (
    "client_order_id",
    "broker_order_id",
    "symbol",
    "side",
    "quantity",
    "order_type",
    "limit_price",
    "time_in_force",
    "state",
    "state_reason",
    "raw_status",
    "filled_quantity",
    "booked_quantity",
    "strategy",
    "leg",
    "session_date",
    "decision_price",
    "reason",
    "run_id",
    "created_at",
    "sent_at",
    "acknowledged_at",
    "updated_at",
)
_FILL_COLUMNS = (
    "execution_id",
    "broker_order_id",
    "client_order_id",
    "symbol",
    "side",
    "quantity",
    "price",
    "cumulative_quantity",
    "at",
    "origin",
)
_FORECAST_COLUMNS = (
    "symbol",
    "as_of",
    "horizon",
    "mean",
    "volatility",
    "probability_up",
    "source",
    "model",
    "model_hash",
    "data_cutoff",
    "run_id",
)


def picked(row: sqlite3.Row, columns: Iterable[str]) -> Row:
    """Return some columns as they are."""
    return {column: row[column] for column in columns}


def whole(row: sqlite3.Row) -> Row:
    """Return every column as it is."""
    return dict(row)


def order_row(row: sqlite3.Row) -> Row:
    """Return one order."""
    return {
        **picked(row, _ORDER_COLUMNS),
        "filled_avg_price": optional_text(filled_avg_price(row)),
        "is_external": bool(row["is_external"]),
    }


def fill_row(row: sqlite3.Row) -> Row:
    """Return one execution."""
    return picked(row, _FILL_COLUMNS)


def check_row(row: sqlite3.Row) -> Row:
    """Return one limit with its figure."""
    return {
        **picked(row, ("limit", "figure", "bound", "detail")),
        "passed": bool(row["passed"]),
    }


def forecast_row(row: sqlite3.Row) -> Row:
    """Return one forecast; ``confidence`` is that of the more likely direction."""
    return {
        **picked(row, _FORECAST_COLUMNS),
        "confidence": max(row["probability_up"], 1 - row["probability_up"]),
        "levels": json.loads(row["levels"]),
        "quantiles": json.loads(row["quantiles"]),
    }


def position_row(row: sqlite3.Row) -> Row:
    """Return one holding at its last mark, or at cost where there is none.

    What it gained is then not known: 0 would be a figure.
    """
    quantity, cost = decimal(row["quantity"]), decimal(row["total_cost"])
    price = decimal(row["price"]) if row["price"] is not None else None
    value = exact_product(quantity, price) if price is not None else cost
    return {
        "symbol": row["symbol"],
        "quantity": row["quantity"],
        "avg_entry_price": text(average(cost, quantity, places=DISPLAY_PRICE_GRID)),
        "market_price": row["price"],
        "marked_at": row["marked_at"],
        "market_value": text(value),
        "unrealized_pnl": text(exact_sum((value, -cost))) if price is not None else None,
        "realized_pnl": row["realized_pnl"],
        "locked": row["lock_reason"],
    }


def percent(part: Decimal, base: Decimal) -> float | None:
    """Return ``part`` in percent of ``base``; None where the base is not above 0."""
    return round(float(part / base * 100), 6) if base > 0 else None


def headline_row(row: sqlite3.Row) -> Row:
    """Return a headline that entered a decision."""
    told = {name: row[name] for name in row.keys() if name != "run_id"}  # noqa: SIM118
    return {
        **told,
        "symbols": json.loads(row["symbols"]),
        "was_altered": bool(row["was_altered"]),
    }
