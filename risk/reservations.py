"""Exposure in the worst outcome of orders that may still fill.

Any subset of the working, in-flight and unknown orders may fill, so each symbol has a
highest and a lowest reachable position; limits are tested against the worse of the two.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from domain.ids import ClientOrderId, Symbol
from domain.money import ZERO
from domain.orders import OrderRequest, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What one order can still do: ``quantity`` is the unfilled rest, ``price`` its worst."""

    client_order_id: ClientOrderId
    symbol: Symbol
    side: Side
    quantity: Decimal
    price: Decimal | None
    leg: str

    @classmethod
    def of_request(cls, request: OrderRequest, *, filled: Decimal = ZERO) -> "Reservation":
        """Reserve for one of our intents, less what has filled."""
        return cls(
            client_order_id=request.client_order_id,
            symbol=request.symbol,
            side=request.side,
            quantity=max(ZERO, request.quantity - filled),
            price=request.worst_price,
            leg=request.leg,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Signed USD that one symbol's position can reach, lowest and highest."""

    lowest: Decimal
    highest: Decimal

    @property
    def worst(self) -> Decimal:
        """Larger absolute value of the two."""
        return max(abs(self.lowest), abs(self.highest))


def reach(quantity: Decimal, mark: Decimal, reservations: Iterable[Reservation]) -> Reach:
    """Bound the value of one symbol over every subset of its orders filling."""
    orders = tuple(reservations)
    buys = tuple(order for order in orders if order.side is Side.BUY)
    sells = tuple(order for order in orders if order.side is Side.SELL)
    return Reach(
        lowest=-_farthest(-quantity, mark, sells),
        highest=_farthest(quantity, mark, buys),
    )


def _farthest(quantity: Decimal, mark: Decimal, orders: Sequence[Reservation]) -> Decimal:
    # Value after all of them fill, seen from the side on which they add; what they close
    # is worth the mark, what they open is worth the worst price paid for it.
    prices = [mark if order.price is None else max(mark, order.price) for order in orders]
    added = sum((order.quantity for order in orders), ZERO)
    if quantity + added <= 0:
        return (quantity + added) * mark
    if quantity < 0:
        return (quantity + added) * max(prices)
    opened = (order.quantity * price for order, price in zip(orders, prices, strict=True))
    return quantity * mark + sum(opened, ZERO)


def reaches(
    positions: Mapping[Symbol, Decimal],
    marks: Mapping[Symbol, Decimal],
    reservations: Sequence[Reservation],
) -> dict[Symbol, Reach] | None:
    """Bound every symbol held or ordered; None when one of them has no price."""
    orders: dict[Symbol, list[Reservation]] = defaultdict(list)
    for reserved in reservations:
        orders[reserved.symbol].append(reserved)
    held = {symbol for symbol, quantity in positions.items() if quantity != 0}
    symbols = sorted(held | orders.keys())
    if any(symbol not in marks for symbol in symbols):
        return None
    return {
        symbol: reach(positions.get(symbol, ZERO), marks[symbol], orders.get(symbol, ()))
        for symbol in symbols
    }


def gross(bounds: Mapping[Symbol, Reach]) -> Decimal:
    """Worst sum of absolute values; symbols are independent, so the worst ones add up."""
    return sum((bound.worst for bound in bounds.values()), ZERO)


def net(bounds: Mapping[Symbol, Reach]) -> Decimal:
    """Worst absolute value of the signed sum."""
    highest = sum((bound.highest for bound in bounds.values()), ZERO)
    lowest = sum((bound.lowest for bound in bounds.values()), ZERO)
    return max(abs(highest), abs(lowest))


def lowers_exposure(
    request: OrderRequest, quantity: Decimal, reservations: Iterable[Reservation]
) -> bool:
    """Tell whether the order can only bring the position nearer to flat.

    It must stay on this side of flat even when every other order of the same side fills.
    """
    if not quantity.is_finite() or quantity == 0 or (request.side is Side.BUY) == (quantity > 0):
        return False
    same_side = sum(
        (
            reserved.quantity
            for reserved in reservations
            if reserved.symbol == request.symbol and reserved.side is request.side
        ),
        ZERO,
    )
    return request.quantity + same_side <= abs(quantity)
