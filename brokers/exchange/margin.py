"""Equity, margin and what is free: figures derived from the book and the prices."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from brokers.exchange.desk import Desk
from brokers.exchange.orders import Order
from brokers.exchange.windows import new_york
from brokers.exchange.words import OrderClass, Role, Wake
from domain.ids import Symbol
from domain.money import ZERO
from domain.orders import Side

_INITIAL_RATE = Decimal("0.5")
_LONG_MAINTENANCE = Decimal("0.3")
_SHORT_MAINTENANCE = Decimal("0.3")
_CASH_ACCOUNT, _REGULATION_T = 1, 2
_CHEAP = Decimal("2.50")
_LEAST_SHORT_EQUITY = Decimal(2000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balances:
    """Balances of the account at a moment, USD."""

    cash: Decimal
    long_value: Decimal
    short_value: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    last_equity: Decimal
    last_maintenance: Decimal
    reserved: Decimal
    multiplier: int

    @property
    def equity(self) -> Decimal:
        """Cash plus positions; short value is negative."""
        return self.cash + self.long_value + self.short_value

    @property
    def regt_buying_power(self) -> Decimal:
        """Overnight buying power less what open orders hold."""
        return max(ZERO, (self.equity - self.initial_margin) * 2 - self.reserved)

    @property
    def cash_buying_power(self) -> Decimal:
        """What can be bought without margin."""
        return max(ZERO, min(self.cash, self.equity) - self.reserved)

    @property
    def buying_power(self) -> Decimal:
        """What the next order may cost."""
        if self.multiplier == _CASH_ACCOUNT:
            return self.cash_buying_power
        if self.multiplier == _REGULATION_T:
            return self.regt_buying_power
        free = self.equity - self.maintenance_margin
        return max(ZERO, free * self.multiplier - self.reserved)


def balances(desk: Desk, at: dt.datetime) -> Balances:
    """Value the account at a moment; a symbol without a price counts at cost."""
    long_value = short_value = initial = maintenance = ZERO
    for symbol, holding in desk.book.holdings.items():
        price = desk.last_price(symbol, at)
        value = holding.quantity * price if price is not None else holding.cost
        if value >= 0:
            long_value += value
            is_cheap = price is not None and price < _CHEAP
            maintenance += value if is_cheap else value * _LONG_MAINTENANCE
        else:
            short_value += value
            maintenance -= value * _SHORT_MAINTENANCE
        initial += abs(value) * _INITIAL_RATE
    # A session's own close is the last one only when its day is over.
    last = desk.book.closed_before(new_york(at).date())
    return Balances(
        cash=desk.book.cash,
        long_value=long_value,
        short_value=short_value,
        initial_margin=initial,
        maintenance_margin=maintenance,
        last_equity=last.equity if last is not None else desk.book.starting_cash,
        last_maintenance=last.maintenance_margin if last is not None else ZERO,
        reserved=sum((reservation(desk, o) for o in desk.book.open_orders.values()), ZERO),
        multiplier=desk.settings.multiplier,
    )


def may_short(desk: Desk, figures: Balances) -> bool:
    """Tell whether the account may sell short: on margin, and with enough equity."""
    return (
        desk.settings.is_shorting_enabled
        and not desk.config.is_shorting_forbidden
        and figures.multiplier != _CASH_ACCOUNT
        and figures.equity >= _LEAST_SHORT_EQUITY
    )


def reservation(desk: Desk, order: Order) -> Decimal:
    """USD that an open order holds: only what opens exposure counts."""
    if order.role is not Role.SINGLE or order.order_class is OrderClass.OCO:
        return ZERO
    # A replacement holds nothing before it takes over from the order that does.
    if order.wake is Wake.REPLACE:
        return ZERO
    if not order.position_intent.endswith("_to_open"):
        return ZERO
    return order.leaves * order.reserve_price


def held_quantity(desk: Desk, symbol: Symbol, side: Side) -> tuple[Decimal, list[str]]:
    """Return the shares that open closing orders hold, and the ids of those orders."""
    total = ZERO
    holders: list[str] = []
    for order in desk.book.open_orders.values():
        if order.symbol != symbol or order.side is not side or not _reserves(order):
            continue
        if not order.position_intent.endswith("_to_close"):
            continue
        total += order.leaves
        holders.append(order.id)
    return total, sorted(holders)


def _reserves(order: Order) -> bool:
    # Legs of a bracket hold nothing before the parent is filled, and the stop leg of a pair
    # never: the take-profit leg already holds the same shares.
    if order.wake is Wake.REPLACE:
        return False
    if order.role is Role.STOP_LOSS:
        return order.is_armed and order.order_class is OrderClass.OTO
    return order.is_armed
