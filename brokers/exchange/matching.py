"""Whether and at what price an order trades: pure functions of order and quote."""

from decimal import ROUND_DOWN, Decimal

from brokers.exchange.orders import Order
from brokers.exchange.prices import Quote
from domain.orders import Side

_SMALLEST_SPLIT = 2
_SHARE_GRID = Decimal("0.000000001")


def execution_price(order: Order, quote: Quote, *, is_auction: bool) -> Decimal | None:
    """Return the price at which the order trades now, or None when it is not marketable.

    An auction trades at the one recorded price.  Otherwise buys pay the ask and sells get
    the bid, and an order that was resting trades at its own limit, because the price went
    through it between two steps.
    """
    is_buy = order.side is Side.BUY
    reference = quote.last if is_auction else (quote.ask if is_buy else quote.bid)
    limit = order.effective_limit
    if limit is None:
        return reference
    if (reference > limit) if is_buy else (reference < limit):
        return None
    return limit if order.is_resting and not is_auction else reference


def is_triggered(order: Order, last: Decimal) -> bool:
    """Tell whether the last price reached the stop."""
    stop = order.stop_price
    if stop is None:
        return False
    return last >= stop if order.side is Side.BUY else last <= stop


def trailing_stop(order: Order, last: Decimal) -> tuple[Decimal, Decimal]:
    """Return the new high-water mark and stop price of a trailing stop."""
    is_buy = order.side is Side.BUY
    mark = order.high_water_mark
    if mark is None or (last < mark if is_buy else last > mark):
        mark = last
    distance = order.trail_price
    if distance is None:
        distance = mark * (order.trail_percent or Decimal(0)) / 100
    return mark, mark + distance if is_buy else mark - distance


def wanted_quantity(order: Order, price: Decimal) -> Decimal:
    """Return the shares still wanted at a price; notional orders are cut to nine decimals."""
    if order.quantity is not None:
        return order.quantity - order.filled_quantity
    if order.notional is None:
        return Decimal(0)
    return ((order.notional - order.filled_value) / price).quantize(_SHARE_GRID, ROUND_DOWN)


def first_part(wanted: Decimal, share: float) -> Decimal:
    """Return the first part of a fill in two; whole shares, at least one, not all."""
    if wanted < _SMALLEST_SPLIT:
        return wanted
    part = (wanted * Decimal(repr(round(share, 6)))).quantize(Decimal(1), ROUND_DOWN)
    return min(max(part, Decimal(1)), wanted.quantize(Decimal(1), ROUND_DOWN) - 1)
