"""Events about executions and money, carried into the books and the orders they filled."""

import sqlite3
from decimal import Decimal

from domain.money import ZERO, text
from domain.orders import OrderState
from state.cost_basis import exact_product, exact_sum
from state.events import Event, Payload
from state.order_states import executed

CASH = "cash"


def fill_booked(connection: sqlite3.Connection, event: Event) -> None:
    """An execution was booked."""
    fill = event.payload
    connection.execute(
        "INSERT INTO fills (execution_id, broker_order_id, client_order_id, symbol, side,"
        " quantity, price, cumulative_quantity, at, origin, booked_at, seq)"
        " VALUES (:execution_id, :broker_order_id, :client_order_id, :symbol, :side, :quantity,"
        " :price, :cumulative_quantity, :fill_at, :origin, :at, :seq)",
        {**fill, "at": event.at, "seq": event.sequence},
    )
    _book_entry(connection, event, fill["entry"])
    _count_execution(connection, event)


def _count_execution(connection: sqlite3.Connection, event: Event) -> None:
    fill = event.payload
    row = connection.execute(
        "SELECT state, broker_order_id, quantity, filled_quantity, booked_quantity,"
        " booked_notional FROM orders WHERE client_order_id = ?",
        (fill["client_order_id"],),
    ).fetchone()
    if row is None:
        return
    state, broker_id, wanted, filled, booked, notional = row
    quantity = Decimal(fill["quantity"])
    booked_now = exact_sum((Decimal(booked), quantity))
    filled_now = max(Decimal(filled), Decimal(fill["cumulative_quantity"]))
    new_state = executed(
        OrderState(state),
        # Without a quantity it is an order of an amount of money: its state tells when it ends.
        is_complete=filled_now >= Decimal(wanted) > 0,
        has_broker_id=broker_id is not None,
    )
    connection.execute(
        "UPDATE orders SET state = ?, is_working = ?,"
        " broker_order_id = coalesce(broker_order_id, ?),"
        " filled_quantity = ?, booked_quantity = ?, booked_notional = ?,"
        " acknowledged_at = coalesce(acknowledged_at, ?), updated_at = ?, updated_seq = ?"
        " WHERE client_order_id = ?",
        (
            new_state.value,
            int(new_state.may_be_working),
            fill["broker_order_id"],
            text(filled_now),
            text(booked_now),
            text(exact_sum((Decimal(notional), exact_product(quantity, Decimal(fill["price"]))))),
            event.at,
            event.at,
            event.sequence,
            fill["client_order_id"],
        ),
    )


def fill_aliased(connection: sqlite3.Connection, event: Event) -> None:
    """An execution was told again under another id."""
    connection.execute(
        "INSERT INTO execution_aliases (execution_id, booked_as, origin, seq)"
        " VALUES (:execution_id, :booked_as, :origin, :seq)",
        {**event.payload, "seq": event.sequence},
    )


def fill_reversed(connection: sqlite3.Connection, event: Event) -> None:
    """An execution was busted or corrected."""
    execution_id = event.payload["execution_id"]
    connection.execute(
        "UPDATE fills SET reversed_seq = ? WHERE execution_id = ?", (event.sequence, execution_id)
    )
    _book_entry(connection, event, event.payload["entry"])
    row = connection.execute(
        "SELECT o.client_order_id, o.booked_quantity, o.booked_notional, o.busted_quantity,"
        " f.quantity, f.price FROM orders o JOIN fills f USING (client_order_id)"
        " WHERE f.execution_id = ?",
        (execution_id,),
    ).fetchone()
    if row is None:
        return
    order_id, booked, notional, busted, quantity, price = row
    shares = Decimal(quantity)
    # The corrected execution, if any, is booked next and counts these shares again.
    still_busted = exact_sum((Decimal(busted), shares, -Decimal(event.payload["rebooked"])))
    connection.execute(
        "UPDATE orders SET booked_quantity = ?, booked_notional = ?, busted_quantity = ?,"
        " updated_at = ?, updated_seq = ? WHERE client_order_id = ?",
        (
            text(exact_sum((Decimal(booked), -shares))),
            text(exact_sum((Decimal(notional), exact_product(-shares, Decimal(price))))),
            text(still_busted),
            event.at,
            event.sequence,
            order_id,
        ),
    )


def ledger_entry(connection: sqlite3.Connection, event: Event) -> None:
    """An entry without an execution was booked."""
    _book_entry(connection, event, event.payload)


def _book_entry(connection: sqlite3.Connection, event: Event, entry: Payload) -> None:
    connection.execute(
        "INSERT INTO ledger_entries (entry_id, kind, at, booked_at, symbol, quantity, cash, cost,"
        " in_kind, realized_pnl, execution_id, activity_id, description)"
        " VALUES (:seq, :kind, :at, :booked_at, :symbol, :quantity, :cash, :cost, :in_kind,"
        " :realized_pnl, :execution_id, :activity_id, :description)",
        {**entry, "booked_at": event.at, "seq": event.sequence},
    )
    if entry["cash"] != "0":
        amount = connection.execute(
            "SELECT amount FROM balances WHERE name = ?", (CASH,)
        ).fetchone()[0]
        total = exact_sum((Decimal(amount), Decimal(entry["cash"])))
        connection.execute("UPDATE balances SET amount = ? WHERE name = ?", (text(total), CASH))
    if entry["symbol"] is not None:
        _move_position(connection, event.sequence, entry)


def _move_position(connection: sqlite3.Connection, sequence: int, entry: Payload) -> None:
    columns = ("quantity", "cost", "realized_pnl")
    if all(entry[column] == "0" for column in columns):
        return
    row = connection.execute(
        "SELECT quantity, total_cost, realized_pnl FROM positions WHERE symbol = ?",
        (entry["symbol"],),
    ).fetchone()
    before = [Decimal(value) for value in row] if row is not None else [ZERO, ZERO, ZERO]
    after = [
        text(exact_sum((old, Decimal(entry[column]))))
        for old, column in zip(before, columns, strict=True)
    ]
    connection.execute(
        "INSERT OR REPLACE INTO positions (symbol, quantity, total_cost, realized_pnl,"
        " updated_seq) VALUES (?, ?, ?, ?, ?)",
        (entry["symbol"], *after, sequence),
    )


def symbol_locked(connection: sqlite3.Connection, event: Event) -> None:
    """A symbol was locked."""
    connection.execute(
        "INSERT OR REPLACE INTO symbol_locks (symbol, reason, locked_at) VALUES (?, ?, ?)",
        (event.payload["symbol"], event.payload["reason"], event.at),
    )


def symbol_unlocked(connection: sqlite3.Connection, event: Event) -> None:
    """A lock was lifted."""
    connection.execute("DELETE FROM symbol_locks WHERE symbol = ?", (event.payload["symbol"],))
