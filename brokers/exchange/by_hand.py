"""What a test, or somebody else at the broker, does to the exchange by hand."""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

from brokers.exchange.desk import Desk
from brokers.exchange.lifecycle import consider, make_execution
from brokers.exchange.orders import Order
from brokers.exchange.prices import Listing, PriceFeed, Quote
from brokers.exchange.refusal import malformed
from brokers.exchange.words import Status, Wake
from domain.ids import Symbol
from domain.market import Bar


class HandPrices:
    """A PriceFeed in which single prices can be set by hand."""

    def __init__(self, feed: PriceFeed) -> None:
        self._feed = feed
        self._set: dict[Symbol, Quote] = {}

    def set(self, symbol: Symbol, quote: Quote | None) -> None:
        """Hold a symbol at a quote, or let it follow the feed again."""
        if quote is None:
            self._set.pop(symbol, None)
        else:
            self._set[symbol] = quote

    def quote(self, symbol: Symbol, at: dt.datetime) -> Quote | None:
        """Return the price set by hand, or the feed's."""
        return self._set.get(symbol) or self._feed.quote(symbol, at)

    def next_change(self, after: dt.datetime) -> dt.datetime | None:
        """Return the feed's next change."""
        return self._feed.next_change(after)

    def listings(self) -> Sequence[Listing]:
        """Return the feed's symbols."""
        return self._feed.listings()

    def listing(self, symbol: Symbol) -> Listing | None:
        """Return one of the feed's symbols."""
        return self._feed.listing(symbol)

    def daily_bars(self, symbol: Symbol, start: dt.date, end: dt.date) -> Sequence[Bar]:
        """Return the feed's bars."""
        return self._feed.daily_bars(symbol, start, end)


def reconsider(desk: Desk, symbol: Symbol, at: dt.datetime) -> None:
    """Try the live orders of a symbol again, after its price was set by hand."""
    if desk.open_session(at) is None:
        return
    for order in sorted(desk.book.open_orders.values(), key=lambda o: o.client_order_id):
        current = desk.book.open_orders.get(order.id)
        if current is not None and current.symbol == symbol and current.is_live:
            consider(desk, current, at, is_open=False)


def force_fill(
    desk: Desk, order: Order, quantity: Decimal, price: Decimal, at: dt.datetime
) -> Order:
    """Fill an order in whatever state it is: late fills, and more than was ordered."""
    if not (quantity > 0 and price > 0):
        raise malformed("qty and price must be > 0")
    total = order.filled_quantity + quantity
    is_last = order.quantity is not None and total >= order.quantity
    status = Status.FILLED if is_last else Status.PARTIALLY_FILLED
    return desk.amend(
        order,
        "fill" if is_last else "partial_fill",
        at,
        execution=make_execution(desk, order, quantity, price, at, is_last=is_last),
        status=order.status if order.status.is_terminal else status,
        filled_quantity=total,
        filled_value=order.filled_value + quantity * price,
        fill_count=order.fill_count + 1,
        filled_at=at,
    )


def stick(desk: Desk, order: Order, at: dt.datetime) -> Order:
    """Let a cancel that is under way never finish."""
    return desk.amend(order, "", at, is_stuck=True)


def reject_later(desk: Desk, order: Order, at: dt.datetime) -> Order:
    """Let the market refuse an order that was taken."""
    due = at + desk.settings.acknowledge_delay
    return desk.amend(order, "", at, wake=Wake.REJECT, wake_at=due)
