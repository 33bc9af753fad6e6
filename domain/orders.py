"""Orders and fills: what we want, what the broker holds, what was executed."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum, unique

from domain.errors import DataError
from domain.ids import BrokerOrderId, ClientOrderId, ExecutionId, Symbol

EXTERNAL = "external"
"""The leg, and the strategy, of an order that openbell did not send."""


@unique
class Side(StrEnum):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


@unique
class OrderType(StrEnum):
    """Order types that openbell sends."""

    MARKET = "market"
    LIMIT = "limit"


@unique
class TimeInForce(StrEnum):
    """How long an order works.  GTC is left out: a dead daemon's orders die by the close."""

    DAY = "day"
    OPG = "opg"
    CLS = "cls"
    IOC = "ioc"


@unique
class OrderState(StrEnum):
    """Life of one of our orders, from intent to its end.

    PLANNED -> APPROVED -> SENDING -> LIVE | REJECTED | UNKNOWN -> ... -> terminal.
    """

    PLANNED = "planned"  # decided, not yet through the gate
    DENIED = "denied"  # our gate said no
    APPROVED = "approved"  # limits reserved, durable
    SENDING = "sending"  # durable, the request may be on the wire
    UNKNOWN = "unknown"  # no clear answer; keeps its reservation
    LIVE = "live"  # the broker has it
    CANCELING = "canceling"  # cancel requested, not confirmed
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"  # by the broker
    REPLACED = "replaced"
    SKIPPED = "skipped"  # approved, never sent: too late, halted or superseded
    ABANDONED = "abandoned"  # absent on every read; watched until the session ends

    @property
    def is_terminal(self) -> bool:
        """True when the order can no longer change except by a late fill."""
        return self in _TERMINAL

    @property
    def may_be_working(self) -> bool:
        """True while the order can still fill as far as we know, so it counts in limits."""
        return self in _MAY_WORK


_TERMINAL = frozenset(
    {
        OrderState.DENIED,
        OrderState.FILLED,
        OrderState.CANCELED,
        OrderState.EXPIRED,
        OrderState.REJECTED,
        OrderState.REPLACED,
        OrderState.SKIPPED,
    }
)
_MAY_WORK = frozenset(
    {
        OrderState.APPROVED,
        OrderState.SENDING,
        OrderState.UNKNOWN,
        OrderState.LIVE,
        OrderState.CANCELING,
        OrderState.ABANDONED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """Our intent: one order, fully specified before anything is sent.

    ``quantity`` is shares, > 0; ``limit_price`` is USD on the tick grid, or None for a
    market order; ``decision_price`` is the price the decision was made on, from which
    slippage is measured.  An external order is described as the broker has it, and may be
    of 0 shares: one for an amount of money, whose size is not known before its end.
    """

    client_order_id: ClientOrderId
    strategy: str
    session_date: dt.date
    symbol: Symbol
    side: Side
    quantity: Decimal
    order_type: OrderType
    limit_price: Decimal | None
    time_in_force: TimeInForce
    leg: str
    revision: int
    decision_price: Decimal
    reason: str

    def __post_init__(self) -> None:
        """Refuse what could never be a valid order of ours."""
        if self.leg == EXTERNAL:
            return
        if not (self.quantity.is_finite() and self.quantity > 0):
            raise DataError(f"{self.symbol}: order quantity {self.quantity} must be above 0")
        has_limit = self.limit_price is not None
        if has_limit != (self.order_type is OrderType.LIMIT):
            raise DataError(f"{self.symbol}: a limit order, and only that, needs a limit price")
        if self.limit_price is not None and not (
            self.limit_price.is_finite() and self.limit_price > 0
        ):
            raise DataError(f"{self.symbol}: limit price {self.limit_price} must be above 0")

    @property
    def worst_price(self) -> Decimal:
        """Price that limits are tested at: the limit, or the decision price."""
        return self.limit_price if self.limit_price is not None else self.decision_price

    @property
    def notional(self) -> Decimal:
        """Shares times worst price, USD, unsigned."""
        return self.quantity * self.worst_price


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOrder:
    """An order as the broker reports it.

    ``state`` is mapped to our words; ``raw_status`` keeps the broker's.  An unknown
    status maps to LIVE, so that nothing counts as done which may still fill.  ``quantity``
    is 0 while it is not known, for an order of an amount of money.
    """

    broker_order_id: BrokerOrderId
    client_order_id: ClientOrderId
    symbol: Symbol
    side: Side
    quantity: Decimal
    order_type: str
    limit_price: Decimal | None
    time_in_force: str
    state: OrderState
    raw_status: str
    filled_quantity: Decimal
    filled_avg_price: Decimal | None
    submitted_at: dt.datetime
    updated_at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution.

    ``cumulative_quantity`` is the order's total after this fill: with the order id it
    identifies the execution where stream and activities use different execution ids.
    """

    execution_id: ExecutionId
    broker_order_id: BrokerOrderId
    client_order_id: ClientOrderId
    symbol: Symbol
    side: Side
    quantity: Decimal
    price: Decimal
    cumulative_quantity: Decimal
    at: dt.datetime

    @property
    def signed_quantity(self) -> Decimal:
        """Shares, negative for a sell."""
        return self.quantity * self.side.sign


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeUpdate:
    """One message of the broker's trade stream: the order's new state, and a fill if any.

    A ``trade_bust`` or ``trade_correct`` names the execution that it takes back in
    ``previous_execution_id``; a correction carries the true execution as ``fill``.
    """

    event: str
    order: BrokerOrder
    fill: Fill | None
    at: dt.datetime
    previous_execution_id: ExecutionId | None = None
