"""Sizing: target positions become orders, exits first, one order per symbol and leg.

An opening order is a DAY limit at the edge of the price collar, meant to be queued before
the open; nothing is opened in a symbol in which an order of ours still works.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from domain.decisions import CombinedSignal
from domain.ids import Symbol, client_order_id
from domain.money import ZERO, whole_shares
from domain.orders import OrderRequest, OrderType, Side, TimeInForce
from risk.book import HUNDRED, Book, limit_price
from risk.targets import Target, target_positions

BOOK = "book"
ENTRY = "entry"
EXIT = "exit"
_ONE_SHARE = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizingPlan:
    """Combined signals with weight and target filled in, orders exits first, and remarks."""

    combined: tuple[CombinedSignal, ...]
    requests: tuple[OrderRequest, ...]
    remarks: Mapping[Symbol, str]


def plan(book: Book, combined: Sequence[CombinedSignal]) -> SizingPlan:
    """Turn combined signals into orders; what cannot be sized is a remark, not an order."""
    targets = target_positions(book, combined)
    requests = _requests(book, combined, targets)
    neutral = [dataclasses.replace(signal, sentiment_tilt=1.0) for signal in combined]
    if neutral != list(combined):
        # News may change the size of an order, never bring one into being.
        calm = _requests(book, neutral, target_positions(book, neutral))
        known = {(request.symbol, request.side) for request in calm}
        requests = [request for request in requests if (request.symbol, request.side) in known]
    # By size, not by name: where the gate has room for some only, the best come first.
    requests.sort(key=lambda r: (r.leg != EXIT, -abs(targets[r.symbol].weight), r.symbol))
    in_order = sorted(combined, key=lambda signal: signal.symbol)
    return SizingPlan(
        combined=tuple(_sized(signal, targets[signal.symbol]) for signal in in_order),
        requests=tuple(requests),
        remarks={symbol: target.remark for symbol, target in targets.items() if target.remark},
    )


def _requests(
    book: Book, combined: Sequence[CombinedSignal], targets: Mapping[Symbol, Target]
) -> list[OrderRequest]:
    orders = (_order(book, signal, targets[signal.symbol]) for signal in combined)
    return [order for order in orders if order is not None]


def _order(book: Book, signal: CombinedSignal, target: Target) -> OrderRequest | None:
    held, price = book.held(target.symbol), book.price(target.symbol)
    if price is None or target.quantity == held:
        return None
    if abs(target.quantity) < abs(held) and target.quantity * held >= 0:
        return exit_order(book, target.symbol, target.quantity, price, _reason(signal))
    return _entry_order(book, signal, target, price)


def _entry_order(
    book: Book, signal: CombinedSignal, target: Target, price: Decimal
) -> OrderRequest | None:
    symbol, limits = target.symbol, book.limits
    if any(reserved.symbol == symbol for reserved in book.reservations):
        return None
    held = book.held(symbol)
    side = Side.BUY if target.quantity > held else Side.SELL
    limit = limit_price(price, side, limits.price_collar_pct)
    quantity = min(
        whole_shares(abs(target.quantity - held)),
        whole_shares(limits.max_order_notional_usd / max(limit, price)),
        _volume_cap(book, symbol),
    )
    band = limits.no_trade_band_pct * book.view.account.equity / HUNDRED if held != 0 else ZERO
    if quantity <= 0 or quantity * limit < max(limits.min_order_notional_usd, band):
        return None
    return _request(book, symbol, side, ENTRY, quantity, price, limit, _reason(signal))


def exit_order(
    book: Book, symbol: Symbol, target: Decimal, price: Decimal, reason: str
) -> OrderRequest | None:
    """Return the order that brings a holding down to ``target`` signed shares.

    None where an exit works already, nothing is free to be sold, or the change is too small.
    """
    limits, held = book.limits, book.held(symbol)
    side = Side.SELL if held > 0 else Side.BUY
    own = [r for r in book.reservations if r.symbol == symbol and r.side is side]
    if any(reserved.leg == EXIT for reserved in own):
        return None
    collar = max(limits.exit_collar_pct, limits.price_collar_pct)
    limit = limit_price(price, side, collar)
    free = abs(held) - sum((reserved.quantity for reserved in own), ZERO)
    quantity = min(abs(held - target), free)
    band = limits.no_trade_band_pct * book.view.account.equity / HUNDRED
    if target != 0 and quantity * price < max(limits.min_order_notional_usd, band):
        return None
    most = whole_shares(limits.max_order_notional_usd / limit)
    # One share above the cap is asked for all the same: the gate denies it by name, where an
    # exit that is not even planned would be a stop that nobody hears of.
    quantity = min(quantity, max(_ONE_SHARE, most))
    asset = book.view.assets.get(symbol)
    if asset is None or not asset.is_fractionable:
        quantity = whole_shares(quantity)
    if quantity <= 0:
        return None
    return _request(book, symbol, side, EXIT, quantity, price, limit, reason)


def _volume_cap(book: Book, symbol: Symbol) -> Decimal:
    volume = book.average_volume(symbol)
    if volume is None:
        return ZERO if book.limits.require_known_volume else Decimal("Infinity")
    return whole_shares(volume * book.limits.max_adv_pct / HUNDRED)


def _request(
    book: Book,
    symbol: Symbol,
    side: Side,
    leg: str,
    quantity: Decimal,
    price: Decimal,
    limit: Decimal,
    reason: str,
) -> OrderRequest:
    session_date = book.view.session.date
    revision = book.revisions.get((symbol, leg), 0)
    return OrderRequest(
        client_order_id=client_order_id(
            account=book.view.account.account_number,
            strategy=BOOK,
            session_date=session_date,
            symbol=symbol,
            leg=leg,
            revision=revision,
        ),
        strategy=BOOK,
        session_date=session_date,
        symbol=symbol,
        side=side,
        quantity=quantity,
        order_type=OrderType.LIMIT,
        limit_price=limit,
        time_in_force=TimeInForce.DAY,
        leg=leg,
        revision=revision,
        decision_price=price,
        reason=reason,
    )


def _reason(signal: CombinedSignal) -> str:
    return (
        f"{signal.action.value}, P {signal.confidence:.2f}, expected "
        f"{signal.expected_return:+.2%} in {signal.horizon} sessions"
    )


def _sized(signal: CombinedSignal, target: Target) -> CombinedSignal:
    reason = f"{signal.reason}; {target.remark}" if target.remark else signal.reason
    return dataclasses.replace(
        signal, kelly_weight=target.weight, target_quantity=target.quantity, reason=reason
    )
