"""From events to tables: the only code that writes the derived tables.

Live writing and ``rebuild`` both go through ``apply_event``, so the tables can always be
made again from the log.  Decisions are made before an event is written; here they are
only carried out.
"""

import sqlite3
from collections.abc import Callable
from decimal import Decimal

from domain.money import ZERO, text
from domain.orders import OrderState
from state.cost_basis import exact_product, exact_sum
from state.events import Event, Payload, verified_events
from state.order_states import executed

DERIVED_TABLES = (
    "writer",
    "orders",
    "fills",
    "execution_aliases",
    "ledger_entries",
    "positions",
    "balances",
    "symbol_locks",
    "risk_state",
    "sessions",
    "cash_flows",
    "runs",
)
CASH = "cash"

_BEGINNING = (
    "INSERT INTO writer (id, epoch) VALUES (1, 0)",
    "INSERT INTO balances (name, amount) VALUES ('cash', '0')",
    """
    INSERT INTO risk_state
        (id, trading_state, trading_state_reason, latch_is_engaged, latch_reason, latch_sequence)
    VALUES (1, 'ACTIVE', '', 0, '', 0)
    """,
)


def begin_tables(connection: sqlite3.Connection) -> None:
    """Put in the rows that are there before the first event."""
    for statement in _BEGINNING:
        connection.execute(statement)


def apply_event(connection: sqlite3.Connection, event: Event) -> None:
    """Carry one event into the tables."""
    _APPLY[event.kind](connection, event)


def rebuild_tables(connection: sqlite3.Connection) -> int:
    """Make every derived table again from the verified log; return the number of events.

    Raises:
        StateError: the log is damaged.
    """
    for table in DERIVED_TABLES:
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a name of this module
    begin_tables(connection)
    count = 0
    for event in verified_events(connection):
        apply_event(connection, event)
        count += 1
    return count


def _store_opened(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute("UPDATE writer SET epoch = ?", (event.payload["epoch"],))


def _account_bound(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute("UPDATE writer SET account = ?", (event.payload["account"],))


_INSERT_ORDER = (
    "INSERT OR REPLACE INTO orders (client_order_id, session_date, symbol, side, quantity,"
    " order_type, limit_price, time_in_force, strategy, leg, revision, decision_price, reason,"
    " run_id, state, state_reason, is_external, broker_order_id, raw_status, filled_quantity,"
    " filled_avg_price, acknowledged_at, created_at, updated_at, planned_seq, updated_seq)"
    " VALUES (:client_order_id, :session_date, :symbol, :side, :quantity, :order_type,"
    " :limit_price, :time_in_force, :strategy, :leg, :revision, :decision_price, :reason,"
    " :run_id, :state, :state_reason, :is_external, :broker_order_id, :raw_status,"
    " :filled_quantity, :filled_avg_price, :acknowledged_at, :at, :at, :seq, :seq)"
)
_PLANNED = {
    "is_external": 0,
    "broker_order_id": None,
    "raw_status": None,
    "filled_quantity": "0",
    "filled_avg_price": None,
    "acknowledged_at": None,
}


def _order_planned(connection: sqlite3.Connection, event: Event) -> None:
    stamped = {"at": event.at, "seq": event.sequence}
    connection.execute(_INSERT_ORDER, {**_PLANNED, **event.payload, **stamped})


def _order_adopted(connection: sqlite3.Connection, event: Event) -> None:
    _order_planned(connection, event)
    # Executions may have come before the order was known.
    order_id, broker_id = event.payload["client_order_id"], event.payload["broker_order_id"]
    connection.execute(
        "UPDATE fills SET client_order_id = ? WHERE broker_order_id = ?", (order_id, broker_id)
    )
    rows = connection.execute(
        "SELECT quantity, price FROM fills WHERE broker_order_id = ? AND reversed_seq IS NULL",
        (broker_id,),
    ).fetchall()
    pairs = [(Decimal(quantity), Decimal(price)) for quantity, price in rows]
    connection.execute(
        "UPDATE orders SET booked_quantity = ?, booked_notional = ? WHERE client_order_id = ?",
        (
            text(exact_sum(quantity for quantity, _ in pairs)),
            text(exact_sum(exact_product(quantity, price) for quantity, price in pairs)),
            order_id,
        ),
    )


def _order_sending(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute(
        "UPDATE orders SET state = 'sending', state_reason = '', attempts = attempts + 1,"
        " sent_at = ?, updated_at = ?, updated_seq = ? WHERE client_order_id = ?",
        (event.at, event.at, event.sequence, event.payload["client_order_id"]),
    )


def _order_moved(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute(
        "UPDATE orders SET state = ?, state_reason = ?, updated_at = ?, updated_seq = ?"
        " WHERE client_order_id = ?",
        (
            event.payload["state"],
            event.payload["reason"],
            event.at,
            event.sequence,
            event.payload["client_order_id"],
        ),
    )


def _order_reported(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute(
        "UPDATE orders SET state = :state, broker_order_id = :broker_order_id,"
        " raw_status = :raw_status, filled_quantity = :filled_quantity,"
        " filled_avg_price = :filled_avg_price,"
        " acknowledged_at = coalesce(acknowledged_at, :at), updated_at = :at, updated_seq = :seq"
        " WHERE client_order_id = :client_order_id",
        {**event.payload, "at": event.at, "seq": event.sequence},
    )


def _fill_booked(connection: sqlite3.Connection, event: Event) -> None:
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
        is_complete=filled_now >= Decimal(wanted),
        has_broker_id=broker_id is not None,
    )
    connection.execute(
        "UPDATE orders SET state = ?, broker_order_id = coalesce(broker_order_id, ?),"
        " filled_quantity = ?, booked_quantity = ?, booked_notional = ?,"
        " acknowledged_at = coalesce(acknowledged_at, ?), updated_at = ?, updated_seq = ?"
        " WHERE client_order_id = ?",
        (
            new_state.value,
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


def _fill_aliased(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute(
        "INSERT INTO execution_aliases (execution_id, booked_as, origin, seq)"
        " VALUES (:execution_id, :booked_as, :origin, :seq)",
        {**event.payload, "seq": event.sequence},
    )


def _fill_reversed(connection: sqlite3.Connection, event: Event) -> None:
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


def _ledger_entry(connection: sqlite3.Connection, event: Event) -> None:
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


def _symbol_locked(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO symbol_locks (symbol, reason, locked_at) VALUES (?, ?, ?)",
        (event.payload["symbol"], event.payload["reason"], event.at),
    )


def _symbol_unlocked(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute("DELETE FROM symbol_locks WHERE symbol = ?", (event.payload["symbol"],))


def _high_water_mark_moved(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute(
        "UPDATE risk_state SET high_water_mark = ?, high_water_mark_at = ?",
        (event.payload["high_water_mark"], event.payload["at"]),
    )


def _cash_flowed(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute(
        "INSERT INTO cash_flows (activity_id, amount, booked_at) VALUES (?, ?, ?)",
        (event.payload["activity_id"], event.payload["amount"], event.at),
    )
    if event.payload["high_water_mark"] is not None:
        connection.execute(
            "UPDATE risk_state SET high_water_mark = ?, high_water_mark_at = ?",
            (event.payload["high_water_mark"], event.at),
        )


def _session_started(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute(
        "INSERT INTO sessions (session_date, start_equity, started_at) VALUES (?, ?, ?)",
        (event.payload["session_date"], event.payload["equity"], event.payload["at"]),
    )


def _trading_state_set(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute(
        "UPDATE risk_state SET trading_state = ?, trading_state_reason = ?, trading_state_at = ?",
        (event.payload["state"], event.payload["reason"], event.at),
    )


def _latch_set(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute(
        "UPDATE risk_state SET latch_is_engaged = :is_engaged, latch_reason = :reason,"
        " latch_at = :at, latch_sequence = :sequence",
        dict(event.payload),
    )


def _run_begun(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute(
        "INSERT INTO runs (run_id, session_date, kind, state, reason, started_at)"
        " VALUES (:run_id, :session_date, :kind, 'RUNNING', '', :at)",
        dict(event.payload),
    )


def _run_finished(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute(
        "UPDATE runs SET state = :state, reason = :reason, finished_at = :at"
        " WHERE run_id = :run_id",
        dict(event.payload),
    )


_APPLY: dict[str, Callable[[sqlite3.Connection, Event], None]] = {
    "store.opened": _store_opened,
    "account.bound": _account_bound,
    "order.planned": _order_planned,
    "order.adopted": _order_adopted,
    "order.sending": _order_sending,
    "order.moved": _order_moved,
    "order.reported": _order_reported,
    "fill.booked": _fill_booked,
    "fill.aliased": _fill_aliased,
    "fill.reversed": _fill_reversed,
    "ledger.booked": _ledger_entry,
    "symbol.locked": _symbol_locked,
    "symbol.unlocked": _symbol_unlocked,
    "risk.high_water_mark_moved": _high_water_mark_moved,
    "risk.cash_flowed": _cash_flowed,
    "risk.session_started": _session_started,
    "risk.trading_state_set": _trading_state_set,
    "latch.set": _latch_set,
    "run.begun": _run_begun,
    "run.finished": _run_finished,
}
EVENT_KINDS = tuple(_APPLY)
