"""The journal of intents: every order from the gate's answer to its end."""

import datetime as dt
import json
import sqlite3
from collections.abc import Iterable, Sequence
from enum import StrEnum, unique
from operator import attrgetter
from typing import Any

from domain.decisions import GateResult
from domain.errors import StateError
from domain.ids import BrokerOrderId, ClientOrderId
from domain.money import decimal, text
from domain.orders import BrokerOrder, OrderState
from state.events import Payload
from state.order_states import reported
from state.rows import (
    REQUEST_COLUMNS,
    OrderRecord,
    external_columns,
    optional_text,
    order_record,
    request_values,
    stamp,
)
from state.store import Store

_ONE = "SELECT * FROM orders WHERE client_order_id = ?"
_STATES = (
    "SELECT client_order_id, state FROM orders"
    " WHERE client_order_id IN (SELECT value FROM json_each(?))"
)
_LEFT = (
    "SELECT client_order_id FROM orders"
    " WHERE client_order_id IN (SELECT value FROM json_each(?))"
    " AND (sent_at IS NOT NULL AND state <> 'skipped'"
    " OR broker_order_id IS NOT NULL OR booked_quantity <> '0')"
)
_PLAN_COLUMNS = (*REQUEST_COLUMNS, "state", "state_reason", "checks")
# One event for many orders is cheaper; a short one is quicker to read a check out of.
_PLANS_PER_EVENT = 32
_STATE = len(REQUEST_COLUMNS)
_APPROVED, _DENIED = OrderState.APPROVED.value, OrderState.DENIED.value
_CHECK = attrgetter("limit", "passed", "figure", "bound", "detail")
_OF_BROKER = "SELECT * FROM orders WHERE broker_order_id = ?"
_WORKING = "SELECT * FROM orders WHERE is_working = 1 ORDER BY client_order_id"
_OF_SESSION = "SELECT * FROM orders WHERE session_date = ? ORDER BY client_order_id"
_INCOMPLETE = (
    "SELECT * FROM orders WHERE filled_quantity <> booked_quantity ORDER BY client_order_id"
)
# A request that may have reached the wire may only go again under the same id.
_MAY_BE_SENT = frozenset({OrderState.APPROVED, OrderState.SENDING, OrderState.UNKNOWN})
_ON_THE_WIRE = frozenset({OrderState.SENDING, OrderState.UNKNOWN})
_IN_DOUBT = frozenset({OrderState.SENDING, OrderState.UNKNOWN, OrderState.ABANDONED})


@unique
class ApplyOutcome(StrEnum):
    """What a report of the broker did to the journal."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    NOT_OURS = "not_ours"  # no such order in the journal: adopt it
    TWIN = "twin"  # our id under another broker id: a second order; nothing was changed


class Journal:
    """Writes and reads orders: every method is one transaction, at the store's time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record_plan(
        self, results: Sequence[GateResult], run_id: str, *, made_by: str = ""
    ) -> tuple[ClientOrderId, ...]:
        """Store every answer of the gate, APPROVED or DENIED, with all its checks.

        ``made_by`` names the code and the settings that decided; it stays in the log.

        An order that was sent before keeps what it has; one that never left, or was skipped
        since the broker had not taken it, is planned anew.

        Returns:
            The ids that this plan approved, in order: only these may be sent.

        Raises:
            StateError: an id occurs twice; nothing is planned.
            StorageError: not durable; nothing is planned.
        """
        by_id = {result.request.client_order_id: result for result in results}
        if len(by_id) < len(results):
            raise StateError(f"run {run_id} plans an order twice: give each leg its own name")
        approved: list[ClientOrderId] = []
        with self._store.transaction():
            sent = self._sent(by_id)
            fresh = [result for order_id, result in by_id.items() if order_id not in sent]
            for start in range(0, len(fresh), _PLANS_PER_EVENT):
                rows = [_planned(result) for result in fresh[start : start + _PLANS_PER_EVENT]]
                self._store.append_within(
                    "orders.planned",
                    {
                        "run_id": run_id,
                        "made_by": made_by,
                        "columns": _PLAN_COLUMNS,
                        "orders": rows,
                    },
                )
                approved += (ClientOrderId(row[0]) for row in rows if row[_STATE] == _APPROVED)
        return tuple(approved)

    def mark_sending(self, *client_order_ids: ClientOrderId) -> None:
        """Make durable that these requests may be on the wire; also for a resend of an id.

        Raises:
            StateError: an order may not be sent, or another writer took over; none is marked.
            StorageError: not durable, so nothing may be sent.
        """
        with self._store.transaction():
            states = self._states(client_order_ids)
            for order_id in client_order_ids:
                if states.get(order_id) not in _MAY_BE_SENT:
                    raise StateError(
                        f"order {order_id} is {states.get(order_id, 'not planned')} and may not"
                        " be sent: plan it anew"
                    )
            if client_order_ids:
                self._store.append_within("orders.sending", {"client_order_ids": client_order_ids})

    def mark_unknown(self, client_order_id: ClientOrderId, reason: str) -> bool:
        """SENDING has no clear answer; False when better evidence is there already."""
        return self._move(client_order_id, OrderState.UNKNOWN, reason, {OrderState.SENDING})

    def mark_rejected(self, client_order_id: ClientOrderId, reason: str) -> bool:
        """Record that the broker refused; False when it is known to hold the order."""
        return self._move(client_order_id, OrderState.REJECTED, reason, _IN_DOUBT)

    def mark_canceling(self, client_order_id: ClientOrderId) -> bool:
        """Record that a cancel was asked for; False when the order is not working."""
        return self._move(client_order_id, OrderState.CANCELING, "", {OrderState.LIVE})

    def mark_skipped(self, client_order_id: ClientOrderId, reason: str) -> bool:
        """APPROVED, and will not be sent; False when it was or may have been sent."""
        return self._move(client_order_id, OrderState.SKIPPED, reason, {OrderState.APPROVED})

    def mark_not_sent(self, client_order_id: ClientOrderId, reason: str) -> bool:
        """SENDING, and proven never taken by the broker: APPROVED again."""
        return self._move(client_order_id, OrderState.APPROVED, reason, {OrderState.SENDING})

    def mark_abandoned(self, client_order_id: ClientOrderId, reason: str = "") -> bool:
        """Absent on every read; still counted and watched until the session ends."""
        return self._move(client_order_id, OrderState.ABANDONED, reason, _ON_THE_WIRE)

    def mark_expired(self, client_order_id: ClientOrderId, reason: str) -> bool:
        """End an abandoned order after its session: a day order cannot work any more."""
        return self._move(client_order_id, OrderState.EXPIRED, reason, {OrderState.ABANDONED})

    def apply_order(self, order: BrokerOrder) -> ApplyOutcome:
        """Merge what the broker reports: states never regress, filled quantity never falls."""
        with self._store.transaction():
            row = self._row(order.client_order_id)
            if row is None:
                return ApplyOutcome.NOT_OURS
            if row["broker_order_id"] not in {None, order.broker_order_id}:
                return ApplyOutcome.TWIN
            merged = _merged(row, order)
            if all(row[column] == value for column, value in merged.items()):
                return ApplyOutcome.UNCHANGED
            self._store.append_within("order.reported", merged)
        return ApplyOutcome.CHANGED

    def adopt_external(self, order: BrokerOrder) -> bool:
        """Take an order into the journal that openbell did not send; False when it is there."""
        with self._store.transaction():
            if self._row(order.client_order_id) is not None:
                return False
            self._store.append_within("order.adopted", _adopted(order))
        return True

    def get(self, client_order_id: ClientOrderId) -> OrderRecord | None:
        """Return one order."""
        row = self._row(client_order_id)
        return order_record(row) if row is not None else None

    def of_broker(self, broker_order_id: BrokerOrderId | None) -> OrderRecord | None:
        """Return the order that the broker knows by an id."""
        row = self._store.row(_OF_BROKER, (broker_order_id,))
        return order_record(row) if row is not None else None

    def working(self) -> tuple[OrderRecord, ...]:
        """Return every order that may still fill, by client_order_id."""
        return tuple(order_record(row) for row in self._store.rows(_WORKING))

    def of_session(self, session_date: dt.date) -> tuple[OrderRecord, ...]:
        """Return the orders of a session, by client_order_id."""
        rows = self._store.rows(_OF_SESSION, (session_date.isoformat(),))
        return tuple(order_record(row) for row in rows)

    def incomplete(self) -> tuple[OrderRecord, ...]:
        """Return the orders with executions that the ledger lacks, by client_order_id."""
        records = (order_record(row) for row in self._store.rows(_INCOMPLETE))
        return tuple(record for record in records if record.missing_quantity)

    def _row(self, client_order_id: ClientOrderId) -> sqlite3.Row | None:
        return self._store.row(_ONE, (client_order_id,))

    def _states(self, order_ids: Iterable[ClientOrderId]) -> dict[str, str]:
        rows = self._store.rows(_STATES, (json.dumps(list(order_ids)),))
        return {row["client_order_id"]: row["state"] for row in rows}

    def _sent(self, order_ids: Iterable[ClientOrderId]) -> set[str]:
        rows = self._store.rows(_LEFT, (json.dumps(list(order_ids)),))
        return {row["client_order_id"] for row in rows}

    def _move(
        self,
        client_order_id: ClientOrderId,
        state: OrderState,
        reason: str,
        allowed: frozenset[OrderState] | set[OrderState],
    ) -> bool:
        with self._store.transaction():
            if self._states([client_order_id]).get(client_order_id) not in allowed:
                return False
            self._store.append_within(
                "order.moved",
                {"client_order_id": client_order_id, "state": state.value, "reason": reason},
            )
        return True


def _planned(result: GateResult) -> tuple[Any, ...]:
    is_approved = result.is_approved
    return (
        *request_values(result.request),
        _APPROVED if is_approved else _DENIED,
        "" if is_approved else ", ".join(result.reasons),
        tuple(map(_CHECK, result.checks)),
    )


def _merged(row: sqlite3.Row, order: BrokerOrder) -> dict[str, str | None]:
    has_broker_id = row["broker_order_id"] is not None
    state = reported(OrderState(row["state"]), order.state, has_broker_id=has_broker_id)
    is_newer = order.filled_quantity >= decimal(row["filled_quantity"])
    average = optional_text(order.filled_avg_price) or row["filled_avg_price"]
    return {
        "client_order_id": order.client_order_id,
        "state": state.value,
        "broker_order_id": order.broker_order_id,
        # A report that is behind in shares is an old one: its words are not taken over.
        "raw_status": order.raw_status if is_newer else row["raw_status"],
        "filled_quantity": text(order.filled_quantity) if is_newer else row["filled_quantity"],
        "filled_avg_price": average if is_newer else row["filled_avg_price"],
    }


def _adopted(order: BrokerOrder) -> Payload:
    return {
        **external_columns(order, order.submitted_at.date()),
        "state": order.state.value,
        "broker_order_id": order.broker_order_id,
        "raw_status": order.raw_status,
        "filled_quantity": text(order.filled_quantity),
        "filled_avg_price": optional_text(order.filled_avg_price),
        "acknowledged_at": stamp(order.submitted_at),
    }
