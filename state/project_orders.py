"""Events about orders, carried into ``orders``."""

import json
import sqlite3
from decimal import Decimal

from domain.money import text
from state.cost_basis import exact_product, exact_sum
from state.events import Event
from state.order_states import is_working
from state.rows import REQUEST_COLUMNS

_STATE = len(REQUEST_COLUMNS)
_INSERT_PLANNED = (
    "INSERT OR REPLACE INTO orders (client_order_id, session_date, symbol, side, quantity,"
    " order_type, limit_price, time_in_force, strategy, leg, revision, decision_price, reason,"
    " state, state_reason, is_working, run_id, created_at, updated_at, planned_seq, updated_seq,"
    " planned_item)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_ADOPTED = (
    "INSERT INTO orders (client_order_id, session_date, symbol, side, quantity,"
    " order_type, limit_price, time_in_force, strategy, leg, revision, decision_price, reason,"
    " state, is_working, is_external, broker_order_id, raw_status, filled_quantity,"
    " filled_avg_price, acknowledged_at, created_at, updated_at, planned_seq, updated_seq)"
    " VALUES (:client_order_id, :session_date, :symbol, :side, :quantity, :order_type,"
    " :limit_price, :time_in_force, :strategy, :leg, :revision, :decision_price, :reason,"
    " :state, :is_working, 1, :broker_order_id, :raw_status, :filled_quantity,"
    " :filled_avg_price, :acknowledged_at, :at, :at, :seq, :seq)"
)


def orders_planned(connection: sqlite3.Connection, event: Event) -> None:
    """The gate answered for some orders; each row ends with its checks, which stay in the log."""
    stamped = (event.payload["run_id"], event.at, event.at, event.sequence, event.sequence)
    connection.executemany(
        _INSERT_PLANNED,
        [
            (*row[:-1], is_working(row[_STATE]), *stamped, item)
            for item, row in enumerate(event.payload["orders"])
        ],
    )


def order_adopted(connection: sqlite3.Connection, event: Event) -> None:
    """An order from outside was taken in."""
    connection.execute(_INSERT_ADOPTED, {**event.payload, **_stamps(event)})
    _claim_fills(connection, event)
    _count_fills(connection, event)


def orders_sending(connection: sqlite3.Connection, event: Event) -> None:
    """The requests may be on the wire; they were counted as working before."""
    connection.execute(
        "UPDATE orders SET state = 'sending', state_reason = '', attempts = attempts + 1,"
        " sent_at = ?1, updated_at = ?1, updated_seq = ?2"
        " WHERE client_order_id IN (SELECT value FROM json_each(?3))",
        (event.at, event.sequence, json.dumps(event.payload["client_order_ids"])),
    )


def order_moved(connection: sqlite3.Connection, event: Event) -> None:
    """We moved an order."""
    connection.execute(
        "UPDATE orders SET state = :state, is_working = :is_working, state_reason = :reason,"
        " updated_at = :at, updated_seq = :seq WHERE client_order_id = :client_order_id",
        {**event.payload, **_stamps(event)},
    )


def order_reported(connection: sqlite3.Connection, event: Event) -> None:
    """The broker reported an order."""
    connection.execute(
        "UPDATE orders SET state = :state, is_working = :is_working,"
        " broker_order_id = :broker_order_id, raw_status = :raw_status,"
        " filled_quantity = :filled_quantity, filled_avg_price = :filled_avg_price,"
        " acknowledged_at = coalesce(acknowledged_at, :at), updated_at = :at, updated_seq = :seq"
        " WHERE client_order_id = :client_order_id",
        {**event.payload, **_stamps(event)},
    )
    if _claim_fills(connection, event):
        _count_fills(connection, event)


def _claim_fills(connection: sqlite3.Connection, event: Event) -> bool:
    """Give an order the executions that came before its broker's id was known; True if any."""
    claimed = connection.execute(
        "UPDATE fills SET client_order_id = :client_order_id"
        " WHERE broker_order_id = :broker_order_id AND client_order_id <> :client_order_id",
        event.payload,
    )
    return claimed.rowcount > 0


def _count_fills(connection: sqlite3.Connection, event: Event) -> None:
    rows = connection.execute(
        "SELECT quantity, price FROM fills"
        " WHERE client_order_id = :client_order_id AND reversed_seq IS NULL",
        event.payload,
    ).fetchall()
    pairs = [(Decimal(quantity), Decimal(price)) for quantity, price in rows]
    connection.execute(
        "UPDATE orders SET booked_quantity = ?, booked_notional = ? WHERE client_order_id = ?",
        (
            text(exact_sum(quantity for quantity, _ in pairs)),
            text(exact_sum(exact_product(quantity, price) for quantity, price in pairs)),
            event.payload["client_order_id"],
        ),
    )


def _stamps(event: Event) -> dict[str, str | int]:
    return {
        "at": event.at,
        "seq": event.sequence,
        "is_working": is_working(event.payload["state"]),
    }
