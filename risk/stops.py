"""Protective stops: a holding that fell too far from its cost or from its best price is closed.

A stop is an exit like any other: same leg, same gate, same order path.  It is a limit order
at the edge of the exit collar, so a crash cannot fill it at any price; what it leaves open
is priced anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from domain.ids import Symbol
from domain.money import ZERO
from domain.orders import OrderRequest
from risk.book import HUNDRED, Book
from risk.sizing import exit_order

WATCH_RUN = "watch"
"""Ends the name of the run that protective stops are sent by: no decision is behind them."""

# From one look to the next a price keeps within this ratio, or it may be a split that the
# books do not know yet; selling on that would be a loss made by us.
_MOST_RATIO = Decimal("1.4")
# Smaller moves are not worth writing down.
_WORTH_NOTING = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What the watch remembers of a holding; prices in USD.

    ``best`` is the best price seen since the average cost last changed: the highest of a
    long holding, the lowest of a short one.  ``is_doubtful`` means that the price jumped.
    """

    cost: Decimal
    best: Decimal
    last: Decimal
    is_doubtful: bool = False


def followed(before: Track | None, *, held: Decimal, cost: Decimal, price: Decimal) -> Track:
    """Return the track of a holding after seeing a price.

    A changed cost (a purchase, a booked split) starts anew; a jump leaves all as it was.
    """
    better = max if held > 0 else min
    if before is None:
        before = Track(cost=cost, best=better(cost, price), last=cost)
    elif before.cost != cost:
        before = Track(cost=cost, best=better(cost, price), last=_last(before, cost, price))
    ratio = price / before.last
    if not 1 / _MOST_RATIO <= ratio <= _MOST_RATIO:
        return Track(cost=cost, best=before.best, last=before.last, is_doubtful=True)
    is_moved = abs(ratio - 1) > _WORTH_NOTING
    return Track(
        cost=cost, best=better(before.best, price), last=price if is_moved else before.last
    )


def _last(before: Track, cost: Decimal, price: Decimal) -> Decimal:
    """Return what a price is compared with once the cost changed.

    A purchase leaves the price where it was, a split moves it as it moves the cost.  Whichever
    it was, the nearest tells: a jump is far from all of them.
    """
    candidates = (cost, before.last, before.last * cost / before.cost)
    return min(candidates, key=lambda last: max(price / last, last / price))


def stops_reached(book: Book, tracks: Mapping[Symbol, Track]) -> dict[Symbol, str]:
    """Return the holdings that fell far enough, with the reason in words.

    Args:
        book: holdings with the broker's prices; a holding without a price has no stop.
        tracks: what was seen of each holding; one without or in doubt has no stop.
    """
    found: dict[Symbol, str] = {}
    for symbol, track in sorted(tracks.items()):
        price = book.price(symbol)
        if price is None or track.is_doubtful:
            continue
        reason = _reason(book, book.held(symbol), track, price)
        if reason:
            found[symbol] = reason
    return found


def _reason(book: Book, held: Decimal, track: Track, price: Decimal) -> str:
    lost, given_back = fall_pct(held, track.cost, price), fall_pct(held, track.best, price)
    if lost >= book.limits.stop_loss_pct:
        return f"stop: {price} is {lost:.2f} % worse than the average cost {track.cost:.4f}"
    if given_back >= book.limits.trailing_stop_pct:
        return f"trailing stop: {price} is {given_back:.2f} % worse than the best {track.best}"
    return ""


def stop_orders(book: Book, reached: Mapping[Symbol, str]) -> tuple[OrderRequest, ...]:
    """Return the exit of each holding that reached its stop and has none at work."""
    orders = (_stop_order(book, symbol, reason) for symbol, reason in reached.items())
    return tuple(order for order in orders if order is not None)


def fall_pct(held: Decimal, start: Decimal, price: Decimal) -> Decimal:
    """Return how far a holding fell from a price, 0-100 of it; below 0 a gain."""
    fall = (start - price) if held > 0 else (price - start)
    return fall * HUNDRED / start


def _stop_order(book: Book, symbol: Symbol, reason: str) -> OrderRequest | None:
    price = book.price(symbol)
    return None if price is None else exit_order(book, symbol, ZERO, price, reason)
