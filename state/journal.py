"""The journal of intents: every order from the gate's answer to its end."""

import datetime as dt
from collections.abc import Sequence
from enum import StrEnum, unique

from domain.decisions import GateResult
from domain.ids import ClientOrderId
from domain.orders import BrokerOrder
from state.rows import OrderRecord
from state.store import Store


@unique
class ApplyOutcome(StrEnum):
    """What a report of the broker did to the journal."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    NOT_OURS = "not_ours"  # no such order in the journal: adopt it
    TWIN = "twin"  # our id under another broker id: a second order; nothing was changed


class Journal:
    """Writes and reads orders.  Every method is one transaction; the moment is the store's clock."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record_plan(self, results: Sequence[GateResult], run_id: str) -> tuple[ClientOrderId, ...]:
        """Store every answer of the gate, APPROVED or DENIED, with all its checks.

        An order that was sent before keeps what it has; one that never left is planned
        anew.

        Returns:
            The ids that this plan approved, in order: only these may be sent.
        """
        raise NotImplementedError

    def mark_sending(self, *client_order_ids: ClientOrderId) -> None:
        """Make durable that these requests may be on the wire: APPROVED, or a resend of the same id.

        Raises:
            StateError: an order may not be sent, or another writer took over; none is marked.
            StorageError: not durable, so nothing may be sent.
        """
        raise NotImplementedError

    def mark_live(self, order: BrokerOrder) -> ApplyOutcome:
        """Record the broker's acceptance; the same as ``apply_order``."""
        raise NotImplementedError

    def mark_unknown(self, client_order_id: ClientOrderId, reason: str) -> bool:
        """SENDING has no clear answer; False when better evidence is there already."""
        raise NotImplementedError

    def mark_rejected(self, client_order_id: ClientOrderId, reason: str) -> bool:
        """Record that the broker refused; False when it is known to hold the order."""
        raise NotImplementedError

    def mark_canceling(self, client_order_id: ClientOrderId) -> bool:
        """Record that a cancel was asked for; False when the order is not working."""
        raise NotImplementedError

    def mark_cancel_refused(self, client_order_id: ClientOrderId, reason: str) -> bool:
        """Record that the broker refused the cancel: CANCELING is LIVE again."""
        raise NotImplementedError

    def mark_skipped(self, client_order_id: ClientOrderId, reason: str) -> bool:
        """APPROVED, and will not be sent; False when it was or may have been sent."""
        raise NotImplementedError

    def mark_not_sent(self, client_order_id: ClientOrderId, reason: str) -> bool:
        """SENDING, and proven never written to the socket: APPROVED again."""
        raise NotImplementedError

    def mark_abandoned(self, client_order_id: ClientOrderId, reason: str = "") -> bool:
        """UNKNOWN, absent on every read; still counted and watched until the session ends."""
        raise NotImplementedError

    def apply_order(self, order: BrokerOrder) -> ApplyOutcome:
        """Merge what the broker reports: states never regress, filled quantity never falls."""
        raise NotImplementedError

    def adopt_external(self, order: BrokerOrder) -> bool:
        """Take an order into the journal that openbell did not send; False when it is there."""
        raise NotImplementedError

    def get(self, client_order_id: ClientOrderId) -> OrderRecord | None:
        """Return one order."""
        raise NotImplementedError

    def working(self) -> tuple[OrderRecord, ...]:
        """Return every order that may still fill, by client_order_id."""
        raise NotImplementedError

    def of_session(self, session_date: dt.date) -> tuple[OrderRecord, ...]:
        """Return the orders of a session, by client_order_id."""
        raise NotImplementedError

    def incomplete(self) -> tuple[OrderRecord, ...]:
        """Return the orders with executions that the ledger lacks, by client_order_id."""
        raise NotImplementedError
