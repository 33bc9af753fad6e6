"""Rows of the store as values."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from domain.ids import BrokerOrderId, ClientOrderId, Symbol
from domain.orders import OrderRequest, OrderState


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord:
    """One order as the journal knows it.

    ``filled_quantity`` is the broker's cumulative count, which never falls;
    ``booked_quantity`` is what the ledger has of it.  For an external order the request
    is the nearest description; a ``decision_price`` of 0 there means no price is known.
    """

    request: OrderRequest
    run_id: str | None
    state: OrderState
    broker_order_id: BrokerOrderId | None
    raw_status: str | None
    filled_quantity: Decimal
    filled_avg_price: Decimal | None
    booked_quantity: Decimal
    busted_quantity: Decimal
    reason: str
    attempts: int
    is_external: bool
    created_at: dt.datetime
    updated_at: dt.datetime
    sent_at: dt.datetime | None
    acknowledged_at: dt.datetime | None

    @property
    def client_order_id(self) -> ClientOrderId:
        """Our id."""
        return self.request.client_order_id

    @property
    def symbol(self) -> Symbol:
        """Instrument."""
        return self.request.symbol

    @property
    def leaves_quantity(self) -> Decimal:
        """Shares that may still be executed, never below 0."""
        return max(self.request.quantity - self.filled_quantity, Decimal(0))

    @property
    def missing_quantity(self) -> Decimal:
        """Shares that the broker executed and the ledger has not booked."""
        return max(self.filled_quantity - self.booked_quantity - self.busted_quantity, Decimal(0))
