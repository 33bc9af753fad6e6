"""Events: the only way the state of the exchange changes."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from brokers.exchange.orders import Execution, Order
from domain.ids import Symbol
from domain.money import ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOpened:
    """The account came into being."""

    at: dt.datetime
    account_number: str
    cash: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChanged:
    """An order is new or different; ``name`` is the stream's event, empty when it is internal."""

    at: dt.datetime
    name: str
    order: Order
    execution: Execution | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityPosted:
    """Money or shares moved outside of trading: dividend, fee, interest, transfer, split.

    ``quantity`` and ``cost`` are changes of the holding of ``symbol``.
    """

    at: dt.datetime
    id: str
    kind: str
    date: dt.date
    net_amount: Decimal = ZERO
    symbol: Symbol | None = None
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    per_share: Decimal | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountConfigured:
    """The account's configuration after a change."""

    at: dt.datetime
    is_suspended: bool = False
    is_blocked: bool = False
    is_shorting_forbidden: bool = False
    is_fractional_allowed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DayClosed:
    """A session ended with this equity, USD."""

    at: dt.datetime
    date: dt.date
    equity: Decimal
    maintenance_margin: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePassed:
    """Nothing happened up to here; a restart may not go back before it."""

    at: dt.datetime


Event = AccountOpened | OrderChanged | ActivityPosted | AccountConfigured | DayClosed | TimePassed
EVENT_TYPES: tuple[type[Event], ...] = (
    AccountOpened,
    OrderChanged,
    ActivityPosted,
    AccountConfigured,
    DayClosed,
    TimePassed,
)
