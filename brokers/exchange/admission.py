"""Checks of a ticket against the account: flags, money, shares, wash trades, hours."""

import datetime as dt
from decimal import Decimal

from brokers.exchange.desk import Desk
from brokers.exchange.margin import balances, held_quantity, may_short
from brokers.exchange.orders import Order, Ticket
from brokers.exchange.prices import Listing, Quote
from brokers.exchange.refusal import (
    MUST_BE_UNIQUE,
    forbidden,
    insufficient_quantity,
    malformed,
    unprocessable,
)
from brokers.exchange.validation import is_fractional
from brokers.exchange.windows import takes_auction_orders
from brokers.exchange.words import Kind, OrderClass, Role, Tif
from domain.money import ZERO, text
from domain.orders import Side

_MINIMUM_VALUE = Decimal(1)
_SHORT_MARKUP = Decimal("1.03")
_OPENING = {
    "buy_to_open": "cannot open a long buy while a short sell order is open",
    "sell_to_open": "cannot open a short sell while a long buy order is open",
}
_PRICELESS = (Kind.MARKET, Kind.STOP, Kind.TRAILING_STOP)


def check_flags(desk: Desk) -> None:
    """Refuse every order while the account may not trade."""
    if desk.config.is_suspended:
        raise forbidden("new orders are rejected by user request")
    if desk.config.is_blocked:
        raise forbidden("account not authorized to trade")


def check_client_order_id(desk: Desk, client_order_id: str | None) -> None:
    """Refuse an id that any order ever had, or that an open one has, as the settings say."""
    twin = desk.book.find(client_order_id) if client_order_id is not None else None
    if twin is not None and (desk.settings.is_id_unique_for_ever or not twin.status.is_terminal):
        raise malformed(MUST_BE_UNIQUE)


def check_fractions(desk: Desk, ticket: Ticket, intent: str) -> None:
    """Refuse to open parts of shares where the account's configuration forbids them."""
    is_opening = intent.endswith("_to_open") and is_fractional(ticket)
    if is_opening and not desk.config.is_fractional_allowed:
        raise forbidden("fractional trading is not enabled for this account")


def check_window(desk: Desk, tif: Tif, at: dt.datetime) -> None:
    """Refuse auction orders outside their hours."""
    if tif not in (Tif.OPG, Tif.CLS) or takes_auction_orders(desk.calendar, tif, at):
        return
    before = "9:28am" if tif is Tif.OPG else "3:50pm"
    raise forbidden(f"{tif} orders must be submitted after 7:00pm and before {before}")


def infer_intent(desk: Desk, ticket: Ticket) -> str:
    """Return what the order does to the position, and refuse a wrong ``position_intent``."""
    held = desk.book.holding(ticket.symbol).quantity
    if ticket.side is Side.BUY:
        intent = "buy_to_close" if held < 0 else "buy_to_open"
    else:
        intent = "sell_to_close" if held > 0 else "sell_to_open"
    if ticket.position_intent not in (None, intent):
        raise unprocessable(
            f"position intent mismatch, inferred: {intent}, specified: {ticket.position_intent}"
        )
    return intent


def expected_price(desk: Desk, ticket: Ticket, at: dt.datetime) -> Decimal:
    """Return the price that the order names, else the one it would meet now."""
    quote = _known_quote(desk, ticket, at)
    is_open = desk.open_session(at) is not None
    near = quote.ask if ticket.side is Side.BUY else quote.bid
    return ticket.limit_price or ticket.stop_price or (near if is_open else quote.last)


def reserve_price(desk: Desk, ticket: Ticket, intent: str, at: dt.datetime) -> Decimal:
    """Return the price that the order's open quantity counts at; short sales have a margin."""
    if intent != "sell_to_open":
        return expected_price(desk, ticket, at)
    quote = _known_quote(desk, ticket, at)
    ask = quote.ask if desk.open_session(at) is not None else quote.last
    return max(ticket.limit_price or ZERO, ask * _SHORT_MARKUP)


def check_wash_trade(desk: Desk, ticket: Ticket) -> None:
    """Refuse an order that could trade against an open one of the same account."""
    if ticket.order_class is not OrderClass.SIMPLE or ticket.kind is Kind.TRAILING_STOP:
        return
    for order in sorted(desk.book.open_orders.values(), key=lambda order: order.id):
        is_opposite = order.symbol == ticket.symbol and order.side is not ticket.side
        if is_opposite and _may_cross(ticket, order):
            raise forbidden(
                "potential wash trade detected. use complex orders",
                {
                    "existing_order_id": order.id,
                    "reject_reason": f"opposite side {order.kind} order exists",
                },
            )


def check_opening(desk: Desk, ticket: Ticket, intent: str) -> None:
    """Refuse to open one side while an order that would open the other is working."""
    if not intent.endswith("_to_open"):
        return
    opposite = "sell_to_open" if intent == "buy_to_open" else "buy_to_open"
    for order in desk.book.open_orders.values():
        if order.symbol == ticket.symbol and order.position_intent == opposite:
            raise forbidden(_OPENING[intent])


def check_shares(
    desk: Desk, ticket: Ticket, intent: str, listing: Listing, price: Decimal, at: dt.datetime
) -> None:
    """Refuse to close more than is held and free, and shorts that are not allowed.

    An amount of money counts as the shares that it is worth now.
    """
    held = abs(desk.book.holding(ticket.symbol).quantity)
    if intent.endswith("_to_close"):
        reserved, holders = held_quantity(desk, ticket.symbol, ticket.side)
        wanted = ticket.quantity
        if wanted is None:
            wanted = round((ticket.notional or ZERO) / price, 9)
        if not (wanted <= held - reserved):
            raise insufficient_quantity(
                symbol=ticket.symbol,
                requested=wanted,
                available=held - reserved,
                existing=held,
                related=holders,
            )
    elif intent == "sell_to_open":
        _check_short(desk, ticket, listing, at)


def check_money(desk: Desk, ticket: Ticket, intent: str, price: Decimal, at: dt.datetime) -> None:
    """Refuse what is worth less than a dollar or costs more than the buying power."""
    quantity = ticket.quantity
    cost = ticket.notional if quantity is None else quantity * price
    if cost is None:
        raise malformed("qty or notional is required")
    is_remainder = quantity is not None and quantity == abs(
        desk.book.holding(ticket.symbol).quantity
    )
    if not (cost >= _MINIMUM_VALUE) and not (intent.endswith("_to_close") and is_remainder):
        raise forbidden("cost basis must be >= minimal amount of order 1")
    if intent.endswith("_to_close"):
        return
    power = balances(desk, at).buying_power
    if not (cost <= power):
        raise forbidden(
            "insufficient buying power", {"buying_power": text(power), "cost_basis": text(cost)}
        )


def _known_quote(desk: Desk, ticket: Ticket, at: dt.datetime) -> Quote:
    quote = desk.quote(ticket.symbol, at)
    if quote is None:
        raise unprocessable(f"no price is known for {ticket.symbol}")
    return quote


def _may_cross(ticket: Ticket, order: Order) -> bool:
    if order.kind is Kind.TRAILING_STOP or order.role is not Role.SINGLE:
        return False
    if order.order_class is OrderClass.OCO:
        return False
    if ticket.kind in _PRICELESS or order.kind in _PRICELESS:
        return True
    if ticket.limit_price is None or order.limit_price is None:
        return True
    buy, sell = ticket.limit_price, order.limit_price
    if ticket.side is Side.SELL:
        buy, sell = sell, buy
    return buy >= sell


def _check_short(desk: Desk, ticket: Ticket, listing: Listing, at: dt.datetime) -> None:
    if not may_short(desk, balances(desk, at)):
        raise forbidden("account is not allowed to short")
    if not listing.is_shortable:
        raise forbidden(f'asset "{ticket.symbol}" cannot be sold short')
    if is_fractional(ticket):
        raise unprocessable("fractional orders cannot be sold short")
