"""The account: what the broker says we have."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum, unique

from domain.ids import BrokerOrderId, ClientOrderId, Symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Balances in USD, and the flags that can stop trading.

    ``last_equity`` is the equity at the close of the session ``last_close``, where the broker
    tells which: one of a day before, and overnight it may still be that of two days before.
    """

    account_number: str
    status: str
    equity: Decimal
    last_equity: Decimal
    cash: Decimal
    buying_power: Decimal
    is_trading_blocked: bool
    is_suspended_by_user: bool
    last_close: dt.date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Net holding of one symbol; ``quantity`` is signed shares.

    ``previous_close`` is the price at the close of ``last_equity``, where the broker tells it.
    """

    symbol: Symbol
    quantity: Decimal
    avg_entry_price: Decimal
    market_price: Decimal | None
    previous_close: Decimal | None = None

    @property
    def market_value(self) -> Decimal:
        """Signed USD at the market price, or at cost where no price is known."""
        price = self.market_price if self.market_price is not None else self.avg_entry_price
        return self.quantity * price


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """What the broker allows for a symbol."""

    symbol: Symbol
    is_tradable: bool
    is_shortable: bool
    is_fractionable: bool


@unique
class ActivityKind(StrEnum):
    """Kinds of account activity that move money or shares."""

    FILL = "FILL"
    FEE = "FEE"
    DIVIDEND = "DIV"
    INTEREST = "INT"
    TRANSFER = "TRANSFER"
    SPLIT = "SPLIT"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One row of the broker's activity log; fills carry the order and execution fields.

    ``fraction`` is what a split made less than a share of, signed, where the broker says so:
    it pays it out in cash, and ``quantity`` is without it.
    """

    activity_id: str
    kind: ActivityKind
    at: dt.datetime
    net_amount: Decimal
    symbol: Symbol | None = None
    broker_order_id: BrokerOrderId | None = None
    client_order_id: ClientOrderId | None = None
    side: str | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    cumulative_quantity: Decimal | None = None
    fraction: Decimal | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketClock:
    """The broker's clock: its own time, and the session around it."""

    now: dt.datetime
    is_open: bool
    next_open: dt.datetime
    next_close: dt.datetime
