"""What the broker knows of each order: what was asked for, what was executed, how it shows."""

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal

from domain.ids import BrokerOrderId, ClientOrderId, Symbol
from domain.orders import BrokerOrder, OrderState, Side

_ZERO = Decimal(0)
_ENDED = frozenset({"filled", "canceled", "expired", "rejected", "replaced"})
_WORDS = {
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
    "replaced": OrderState.REPLACED,
    "pending_cancel": OrderState.CANCELING,
}


class Refused(Exception):
    """The broker says no."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Execution:
    """What really happened."""

    number: int
    broker_id: str
    client_id: str
    symbol: Symbol
    side: Side
    quantity: Decimal
    price: Decimal
    cumulative: Decimal
    at: dt.datetime
    is_late: bool = False
    """True when its order had ended before, as the broker told it."""


@dataclass(slots=True, kw_only=True)
class Amendment:
    """One execution that is not what it was."""

    was: Execution
    now: Execution | None
    """None where it never happened."""
    name: str
    """The id by which the stream tells of it."""
    at: float = 0.0
    told: list[float] = field(default_factory=list)
    """When a program that was up heard of it."""
    unnamed: list[float] = field(default_factory=list)
    """When such a program heard of it by a name that its books did not have."""
    mistold: list[Execution] = field(default_factory=list)
    """What such a program was told that the execution is now, and it is not."""
    is_paid: bool = False
    """True once a person took the broker's cash into the books, and its cash with it."""

    @property
    def shares(self) -> Decimal:
        """Signed shares that the position changed by."""
        after = self.now.quantity if self.now is not None else _ZERO
        return (after - self.was.quantity) * self.was.side.sign

    @property
    def cash(self) -> Decimal:
        """USD that cash changed by."""
        after = self.now.quantity * self.now.price if self.now is not None else _ZERO
        return (self.was.quantity * self.was.price - after) * self.was.side.sign


@dataclass(slots=True)
class Order:
    """One order at the broker."""

    broker_id: str
    client_id: str
    symbol: Symbol
    side: Side
    quantity: Decimal
    kind: str
    limit: Decimal | None
    in_force: str
    submitted_at: dt.datetime
    updated_at: dt.datetime
    visible_at: float
    status: str = "accepted"
    filled: Decimal = _ZERO
    paid: Decimal = _ZERO
    word: str | None = None
    is_stuck: bool = False
    is_amount: bool = False
    """True for an amount of money: how many shares it is shows when it has ended."""
    older: BrokerOrder | None = None
    executions: list[Execution] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """True while it can fill."""
        return self.status not in _ENDED

    @property
    def is_hand(self) -> bool:
        """True when a person placed it."""
        return self.client_id.startswith("hand-")

    @property
    def left(self) -> Decimal:
        """Shares not executed."""
        return self.quantity - self.filled

    def _told_quantity(self) -> Decimal:
        if not self.is_amount:
            return self.quantity
        return _ZERO if self.is_open else self.filled

    def shown(self) -> BrokerOrder:
        """Return it as the interface shows it."""
        status = self.word or self.status
        average = None
        if self.filled:
            average = (self.paid / self.filled).quantize(Decimal("0.000001"))
        return BrokerOrder(
            broker_order_id=BrokerOrderId(self.broker_id),
            client_order_id=ClientOrderId(self.client_id),
            symbol=self.symbol,
            side=self.side,
            quantity=self._told_quantity(),
            order_type=self.kind,
            limit_price=self.limit,
            time_in_force=self.in_force,
            state=_WORDS.get(status, OrderState.LIVE),
            raw_status=status,
            filled_quantity=self.filled,
            filled_avg_price=average,
            submitted_at=self.submitted_at,
            updated_at=self.updated_at,
        )
