"""The book: cash, holdings and orders as the fold of the events."""

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal

from brokers.exchange.events import (
    AccountConfigured,
    AccountOpened,
    ActivityPosted,
    DayClosed,
    Event,
    OrderChanged,
)
from brokers.exchange.orders import Execution, Order
from domain.ids import Symbol
from domain.money import ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Signed shares of a symbol and what they cost, USD, same sign."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO

    def with_trade(self, quantity: Decimal, price: Decimal) -> "Holding":
        """Return the holding after a signed trade, at average cost."""
        after = self.quantity + quantity
        if self.quantity * quantity >= 0:
            return Holding(quantity=after, cost=self.cost + quantity * price)
        if after == 0:
            return Holding()
        if self.quantity * after > 0:
            return Holding(quantity=after, cost=self.cost * after / self.quantity)
        return Holding(quantity=after, cost=after * price)


@dataclass(slots=True)
class Book:
    """State of the account; changed by ``apply`` only."""

    account_number: str = ""
    opened_at: dt.datetime | None = None
    last_time: dt.datetime | None = None
    cash: Decimal = ZERO
    holdings: dict[Symbol, Holding] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    ids_by_client_id: dict[str, str] = field(default_factory=dict)
    open_orders: dict[str, Order] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    activities: list[ActivityPosted] = field(default_factory=list)
    days: list[DayClosed] = field(default_factory=list)
    config: AccountConfigured | None = None
    starting_cash: Decimal = ZERO

    def apply(self, event: Event) -> None:
        """Change the state by one event."""
        if self.last_time is None or event.at > self.last_time:
            self.last_time = event.at
        match event:
            case OrderChanged():
                self._apply_order(event)
            case ActivityPosted():
                self._apply_activity(event)
            case DayClosed():
                self.days.append(event)
            case AccountConfigured():
                self.config = event
            case AccountOpened():
                self.account_number = event.account_number
                self.opened_at = event.at
                self.cash = self.starting_cash = event.cash

    def holding(self, symbol: Symbol) -> Holding:
        """Return what is held of a symbol."""
        return self.holdings.get(symbol, Holding())

    def closed_before(self, date: dt.date) -> DayClosed | None:
        """Return the last session that ended on a day before ``date``, or None."""
        return next((day for day in reversed(self.days) if day.date < date), None)

    def find(self, client_order_id: str) -> Order | None:
        """Return the order with a client id, or None."""
        order_id = self.ids_by_client_id.get(client_order_id)
        return self.orders[order_id] if order_id is not None else None

    def _apply_order(self, event: OrderChanged) -> None:
        order = event.order
        self.orders[order.id] = order
        self.ids_by_client_id[order.client_order_id] = order.id
        if order.status.is_terminal:
            self.open_orders.pop(order.id, None)
        else:
            self.open_orders[order.id] = order
        if event.execution is not None:
            self._apply_execution(event.execution)

    def _apply_execution(self, execution: Execution) -> None:
        signed = execution.quantity * execution.side.sign
        self.executions.append(execution)
        self.cash -= signed * execution.price
        self._hold(
            execution.symbol, self.holding(execution.symbol).with_trade(signed, execution.price)
        )

    def _apply_activity(self, event: ActivityPosted) -> None:
        self.activities.append(event)
        self.cash += event.net_amount
        if event.symbol is not None and (event.quantity or event.cost):
            held = self.holding(event.symbol)
            self._hold(
                event.symbol,
                Holding(quantity=held.quantity + event.quantity, cost=held.cost + event.cost),
            )

    def _hold(self, symbol: Symbol, holding: Holding) -> None:
        if holding.quantity == 0:
            self.holdings.pop(symbol, None)
        else:
            self.holdings[symbol] = holding
