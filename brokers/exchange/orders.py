"""Orders as the exchange keeps them, requests for them, and executions."""

import datetime as dt
import uuid
from dataclasses import dataclass
from decimal import Decimal

from brokers.exchange.words import Kind, OrderClass, Role, Status, Tif, Wake
from domain.ids import Symbol
from domain.money import ZERO
from domain.orders import Side

# Alpaca turns a buy stop into a stop-limit with this much room.
_LOW_PRICE = Decimal(50)
_LOW_STOP_CAP = Decimal("1.04")
_STOP_CAP = Decimal("1.025")


def derive_id(*parts: str) -> str:
    """Derive a UUID from what it is for, so that a re-run makes the same one."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "openbell:" + "\x1f".join(parts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class StopLoss:
    """Stop leg of a bracket, OCO or OTO order."""

    stop_price: Decimal
    limit_price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A request for a new order, read from the wire but not checked yet."""

    symbol: Symbol
    side: Side
    kind: Kind
    tif: Tif
    quantity: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    is_extended_hours: bool = False
    client_order_id: str | None = None
    order_class: OrderClass = OrderClass.SIMPLE
    take_profit: Decimal | None = None
    stop_loss: StopLoss | None = None
    position_intent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """A request to replace an order; None keeps the old value."""

    quantity: Decimal | None = None
    tif: Tif | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    client_order_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order and everything the exchange must remember about it.

    ``wake_at`` with ``wake`` is the next thing to do with it, ``cancel_at`` a cancel under
    way; ``is_resting`` says that it was tried and is not marketable; ``is_triggered`` that
    its stop was reached; ``reserve_price`` is what open quantity counts at.
    """

    id: str
    client_order_id: str
    symbol: Symbol
    side: Side
    kind: Kind
    tif: Tif
    status: Status
    quantity: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    high_water_mark: Decimal | None = None
    is_extended_hours: bool = False
    order_class: OrderClass = OrderClass.SIMPLE
    role: Role = Role.SINGLE
    parent_id: str | None = None
    leg_ids: tuple[str, ...] = ()
    position_intent: str = "buy_to_open"
    filled_quantity: Decimal = ZERO
    filled_value: Decimal = ZERO
    fill_count: int = 0
    created_at: dt.datetime
    submitted_at: dt.datetime
    updated_at: dt.datetime
    expires_at: dt.datetime | None = None
    filled_at: dt.datetime | None = None
    expired_at: dt.datetime | None = None
    canceled_at: dt.datetime | None = None
    failed_at: dt.datetime | None = None
    replaced_at: dt.datetime | None = None
    cancel_requested_at: dt.datetime | None = None
    replaced_by: str | None = None
    replaces: str | None = None
    reserve_price: Decimal = ZERO
    wake: Wake | None = None
    wake_at: dt.datetime | None = None
    cancel_at: dt.datetime | None = None
    is_auction: bool = False
    is_resting: bool = False
    is_triggered: bool = False
    is_armed: bool = True
    is_stuck: bool = False

    @property
    def leaves(self) -> Decimal:
        """Shares that can still fill; estimated from the reserve price for notional orders."""
        if self.status.is_terminal:
            return ZERO
        if self.quantity is not None:
            return self.quantity - self.filled_quantity
        if self.notional is None or self.reserve_price <= 0:
            return ZERO
        return max(ZERO, self.notional - self.filled_value) / self.reserve_price

    @property
    def filled_avg_price(self) -> Decimal | None:
        """Average over the fills, at most nine decimals."""
        if self.filled_quantity <= 0:
            return None
        return round(self.filled_value / self.filled_quantity, 9)

    @property
    def is_live(self) -> bool:
        """True when a price change can fill it."""
        return not self.status.is_terminal and self.is_armed and self.wake is None

    @property
    def effective_limit(self) -> Decimal | None:
        """Price it may not trade beyond; a buy stop carries Alpaca's cap."""
        if self.kind is Kind.STOP and self.side is Side.BUY and self.stop_price is not None:
            is_low = self.stop_price < _LOW_PRICE
            return self.stop_price * (_LOW_STOP_CAP if is_low else _STOP_CAP)
        return self.limit_price


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One fill, or the bust of one (negative quantity, ``previous_id`` set)."""

    id: str
    order_id: str
    symbol: Symbol
    side: Side
    quantity: Decimal
    price: Decimal
    cumulative: Decimal
    leaves: Decimal
    at: dt.datetime
    position_after: Decimal
    is_short_sale: bool = False
    previous_id: str | None = None
