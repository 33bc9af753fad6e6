"""Checks of a ticket by itself: fields, formats, combinations; in Alpaca's words."""

from decimal import Decimal

from brokers.exchange.orders import Ticket
from brokers.exchange.prices import Listing
from brokers.exchange.refusal import forbidden, malformed, unprocessable
from brokers.exchange.words import Kind, OrderClass, Tif
from domain.money import tick
from domain.orders import Side

CLIENT_ORDER_ID_LIMIT = 128
_QUANTITY_DECIMALS = 9
_NOTIONAL_DECIMALS = 2
_MINIMUM_TRAIL_PERCENT = Decimal("0.1")
_AUCTION_OR_IMMEDIATE = (Tif.OPG, Tif.CLS, Tif.IOC, Tif.FOK)


def check_fields(ticket: Ticket) -> None:
    """Refuse what could never be an order, whatever the account or the hour."""
    if ticket.client_order_id is not None and len(ticket.client_order_id) > CLIENT_ORDER_ID_LIMIT:
        raise malformed("client_order_id must be no more than 128 characters")
    _check_size(ticket)
    _check_price_fields(ticket)
    _check_combination(ticket)
    for name, price in _prices(ticket):
        check_price(name, price)


def check_listing(ticket: Ticket, listing: Listing | None) -> None:
    """Refuse an unknown or closed symbol, and fractions where there are none."""
    if listing is None:
        raise unprocessable(f'asset "{ticket.symbol}" not found')
    if not listing.is_tradable:
        raise unprocessable(f"asset {ticket.symbol} is not tradable")
    if is_fractional(ticket):
        if not listing.is_fractionable:
            raise forbidden(f'asset "{ticket.symbol}" is not fractionable')
        _check_fractional(ticket)


def check_price(name: str, price: Decimal) -> None:
    """Refuse a price below zero or off the tick grid."""
    if not (price.is_finite() and price > 0):
        raise malformed(f"{name} must be > 0")
    if price % tick(price) != 0:
        raise unprocessable(
            f"invalid {name} {price.normalize():f}. sub-penny increment does not fulfill "
            "minimum pricing criteria"
        )


def is_fractional(ticket: Ticket) -> bool:
    """Tell whether the order is for a part of a share."""
    if ticket.notional is not None:
        return True
    return ticket.quantity is not None and ticket.quantity % 1 != 0


def _check_size(ticket: Ticket) -> None:
    if ticket.quantity is None and ticket.notional is None:
        raise malformed("qty or notional is required")
    if ticket.quantity is not None and ticket.notional is not None:
        raise malformed("only one of qty or notional is accepted")
    if ticket.quantity is not None:
        if not (ticket.quantity.is_finite() and ticket.quantity > 0):
            raise malformed("qty must be > 0")
        if _decimals(ticket.quantity) > _QUANTITY_DECIMALS:
            raise malformed("qty must be limited to 9 decimal places")
    if ticket.notional is not None:
        if not (ticket.notional.is_finite() and ticket.notional > 0):
            raise malformed("notional must be > 0")
        if _decimals(ticket.notional) > _NOTIONAL_DECIMALS:
            raise malformed("notional value must be limited to 2 decimal places")


def _check_price_fields(ticket: Ticket) -> None:
    kind = ticket.kind
    if kind.has_limit and ticket.limit_price is None and ticket.order_class is not OrderClass.OCO:
        raise malformed(f"{kind.replace('_', ' ')} orders require a limit price")
    if kind.has_stop and ticket.stop_price is None:
        raise malformed(f"{kind.replace('_', ' ')} orders require a stop price")
    if kind is Kind.MARKET and not (ticket.limit_price is None and ticket.stop_price is None):
        raise malformed("market orders require no stop or limit price")
    if kind is Kind.LIMIT and ticket.stop_price is not None:
        raise malformed("limit orders require no stop price")
    if kind is Kind.STOP and ticket.limit_price is not None:
        raise malformed("stop orders require no limit price")
    trails = (ticket.trail_price is not None) + (ticket.trail_percent is not None)
    if trails != (kind is Kind.TRAILING_STOP):
        raise malformed("trailing stop orders must specify one of trail_price or trail_percent")
    if ticket.trail_percent is not None and not (ticket.trail_percent >= _MINIMUM_TRAIL_PERCENT):
        raise malformed("trail_percent must be >= 0.1")


def _check_combination(ticket: Ticket) -> None:
    if ticket.tif in _AUCTION_OR_IMMEDIATE and ticket.kind not in (Kind.MARKET, Kind.LIMIT):
        raise unprocessable(f"{ticket.kind} orders must be DAY or GTC orders")
    if ticket.is_extended_hours and (
        ticket.kind is not Kind.LIMIT or ticket.tif not in (Tif.DAY, Tif.GTC)
    ):
        raise unprocessable("extended hours order must be DAY or GTC limit orders")
    if ticket.order_class is OrderClass.SIMPLE:
        if ticket.take_profit is not None or ticket.stop_loss is not None:
            raise unprocessable("simple orders take no take_profit or stop_loss")
        return
    if ticket.tif not in (Tif.DAY, Tif.GTC):
        raise unprocessable("complex orders must be DAY or GTC orders")
    if ticket.kind is Kind.TRAILING_STOP or ticket.is_extended_hours:
        raise unprocessable("complex orders must be simple in type and hours")
    _check_legs(ticket)


def _check_legs(ticket: Ticket) -> None:
    has_profit, has_loss = ticket.take_profit is not None, ticket.stop_loss is not None
    if ticket.order_class is OrderClass.OTO and has_profit == has_loss:
        raise unprocessable("oto orders require exactly one of take_profit or stop_loss")
    if ticket.order_class is not OrderClass.OTO and not (has_profit and has_loss):
        raise unprocessable(f"{ticket.order_class} orders require take_profit and stop_loss")
    if ticket.order_class is OrderClass.OCO and ticket.kind is not Kind.LIMIT:
        raise unprocessable("oco orders must be limit orders")
    if ticket.take_profit is None or ticket.stop_loss is None:
        return
    # The exits of a buy bracket sell, the two of an OCO have the side of the order itself.
    sells = (ticket.side is Side.SELL) == (ticket.order_class is OrderClass.OCO)
    gap = ticket.take_profit - ticket.stop_loss.stop_price
    if not ((gap if sells else -gap) > 0):
        raise unprocessable(
            "take_profit.limit_price must be beyond stop_loss.stop_price of the same exit"
        )


def check_base(ticket: Ticket, base: Decimal) -> None:
    """Refuse bracket legs on the wrong side of the entry price."""
    if ticket.order_class is not OrderClass.BRACKET:
        return
    sign = ticket.side.sign
    cent = Decimal("0.01") * sign
    if ticket.take_profit is not None and not ((ticket.take_profit - base - cent) * sign >= 0):
        word = "+" if sign > 0 else "-"
        bound = ">=" if sign > 0 else "<="
        raise unprocessable(f"take_profit.limit_price must be {bound} base_price {word} 0.01")
    if ticket.stop_loss is not None and not (
        (base - cent - ticket.stop_loss.stop_price) * sign >= 0
    ):
        word = "-" if sign > 0 else "+"
        bound = "<=" if sign > 0 else ">="
        raise unprocessable(f"stop_loss.stop_price must be {bound} base_price {word} 0.01")


def _check_fractional(ticket: Ticket) -> None:
    if ticket.order_class is not OrderClass.SIMPLE:
        raise unprocessable("fractional orders must be simple orders")
    if ticket.kind is Kind.TRAILING_STOP:
        raise unprocessable("fractional orders must be market, limit, stop, or stop_limit orders")
    if ticket.tif is not Tif.DAY:
        raise unprocessable("fractional orders must be DAY orders")


def _prices(ticket: Ticket) -> list[tuple[str, Decimal]]:
    named = [
        ("limit_price", ticket.limit_price),
        ("stop_price", ticket.stop_price),
        ("trail_price", ticket.trail_price),
        ("take_profit.limit_price", ticket.take_profit),
    ]
    if ticket.stop_loss is not None:
        named.append(("stop_loss.stop_price", ticket.stop_loss.stop_price))
        named.append(("stop_loss.limit_price", ticket.stop_loss.limit_price))
    return [(name, price) for name, price in named if price is not None]


def _decimals(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
