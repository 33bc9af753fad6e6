"""Protective stops: a holding that has lost too much since it was bought is closed.

A stop is an exit like any other: same leg, same gate, same order path.  It is a limit order
at the edge of the exit collar, so a crash cannot fill it at any price; what it leaves open
is priced anew.
"""

from collections.abc import Mapping
from decimal import Decimal

from domain.ids import Symbol
from domain.money import ZERO
from domain.orders import OrderRequest
from risk.book import HUNDRED, Book
from risk.context import is_known
from risk.sizing import exit_order


def stops_reached(book: Book, costs: Mapping[Symbol, Decimal]) -> dict[Symbol, str]:
    """Return what lost ``stop_loss_pct`` or more, with the reason in words.

    Args:
        book: holdings with the broker's prices; a holding without a price has no stop.
        costs: average cost of a share, USD, by our own ledger.
    """
    found: dict[Symbol, str] = {}
    for symbol in sorted(book.view.positions):
        held, price, cost = book.held(symbol), book.price(symbol), costs.get(symbol)
        if held == 0 or price is None or cost is None or not is_known(cost):
            continue
        lost = loss_pct(held, cost, price)
        if lost >= book.limits.stop_loss_pct:
            found[symbol] = f"stop: {price} is {lost:.2f} % worse than the average cost {cost:.4f}"
    return found


def stop_orders(book: Book, reached: Mapping[Symbol, str]) -> tuple[OrderRequest, ...]:
    """Return the exit of each holding that reached its stop and has none at work."""
    orders = (_stop_order(book, symbol, reason) for symbol, reason in reached.items())
    return tuple(order for order in orders if order is not None)


def loss_pct(held: Decimal, cost: Decimal, price: Decimal) -> Decimal:
    """Return what a holding lost since it was bought, 0-100 of its cost; below 0 a gain."""
    lost = (cost - price) if held > 0 else (price - cost)
    return lost * HUNDRED / cost


def _stop_order(book: Book, symbol: Symbol, reason: str) -> OrderRequest | None:
    price = book.price(symbol)
    return None if price is None else exit_order(book, symbol, ZERO, price, reason)
