"""From events to tables: the only code that writes the derived tables.

Live writing and ``rebuild`` both go through ``apply_event``, so the tables can always be
made again from the log.  Decisions are made before an event is written; here they are
only carried out.
"""

import sqlite3
from collections.abc import Callable

from state import project_ledger, project_orders, project_risk
from state.events import Event, verified_events

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


def _nothing_derived(connection: sqlite3.Connection, event: Event) -> None:
    """The locked forecasts themselves are rows of their own; the event pins their digest."""


_APPLY: dict[str, Callable[[sqlite3.Connection, Event], None]] = {
    "store.opened": _store_opened,
    "account.bound": _account_bound,
    "orders.planned": project_orders.orders_planned,
    "order.adopted": project_orders.order_adopted,
    "orders.sending": project_orders.orders_sending,
    "order.moved": project_orders.order_moved,
    "order.reported": project_orders.order_reported,
    "fill.booked": project_ledger.fill_booked,
    "fill.aliased": project_ledger.fill_aliased,
    "fill.reversed": project_ledger.fill_reversed,
    "ledger.booked": project_ledger.ledger_entry,
    "symbol.locked": project_ledger.symbol_locked,
    "symbol.unlocked": project_ledger.symbol_unlocked,
    "risk.high_water_mark_moved": project_risk.high_water_mark_moved,
    "risk.cash_flowed": project_risk.cash_flowed,
    "risk.session_started": project_risk.session_started,
    "risk.trading_state_set": project_risk.trading_state_set,
    "latch.set": project_risk.latch_set,
    "run.begun": project_risk.run_begun,
    "run.finished": project_risk.run_finished,
    "forecasts.locked": _nothing_derived,
}
EVENT_KINDS = tuple(_APPLY)
