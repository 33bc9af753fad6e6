"""What happens to an order as time passes: acknowledge, fill, cancel, expire."""

import datetime as dt
from decimal import ROUND_DOWN, Decimal
from typing import Any

from brokers.exchange import groups
from brokers.exchange.desk import Desk
from brokers.exchange.matching import (
    execution_price,
    first_part,
    is_triggered,
    trailing_stop,
    wanted_quantity,
)
from brokers.exchange.orders import Execution, Order
from brokers.exchange.prices import Quote
from brokers.exchange.windows import session_at
from brokers.exchange.words import Kind, Role, Status, Tif, Wake
from domain.money import ZERO
from domain.orders import Side

_END_STAMPS = {
    Status.CANCELED: "canceled_at",
    Status.EXPIRED: "expired_at",
    Status.REJECTED: "failed_at",
}


def due_at(desk: Desk, order: Order) -> dt.datetime | None:
    """Return the next moment at which something happens to an order by itself."""
    ends = order.expires_at
    if ends is not None and order.tif is not Tif.GTC:
        ends += desk.settings.expiry_delay
    cancels = None if order.is_stuck else order.cancel_at
    times = [time for time in (order.wake_at, cancels, ends) if time is not None]
    return min(times, default=None)


def run_due(desk: Desk, order: Order, at: dt.datetime) -> None:
    """Do what is due on an order at ``at``."""
    if order.wake is not None and order.wake_at is not None and order.wake_at <= at:
        _run_wake(desk, order, at)
    order = desk.book.orders[order.id]
    if order.status.is_terminal:
        return
    if order.cancel_at is not None and order.cancel_at <= at and not order.is_stuck:
        end(desk, order, Status.CANCELED, at)
        return
    ends = order.expires_at
    if ends is None:
        return
    if order.tif is Tif.GTC:
        if ends <= at:
            end(desk, order, Status.CANCELED, at)
    elif ends + desk.settings.expiry_delay <= at:
        end(desk, order, Status.EXPIRED, at)


def end(desk: Desk, order: Order, status: Status, at: dt.datetime) -> Order:
    """Bring an order to its end without a further fill; its group follows."""
    changes: dict[str, Any] = {_END_STAMPS[status]: at, "status": status}
    ended = desk.amend(order, str(status), at, wake=None, wake_at=None, cancel_at=None, **changes)
    groups.after_end(desk, ended, at, end)
    return ended


def consider(desk: Desk, order: Order, at: dt.datetime, *, is_open: bool) -> None:
    """Try a live order at a new price; ``is_open`` marks the opening price of the session."""
    quote = desk.quote(order.symbol, at)
    if quote is None:
        return
    if order.kind.waits_for_trigger and not order.is_triggered:
        order = _watch_stop(desk, order, quote, at)
        if not order.is_triggered:
            return
    elif order.status is Status.HELD:
        return
    _try(desk, order, at, is_auction=is_open)


def _run_wake(desk: Desk, order: Order, at: dt.datetime) -> None:
    match order.wake:
        case Wake.ACTIVATE:
            _activate(desk, order, at)
        case Wake.ACKNOWLEDGE:
            _acknowledge(desk, order, at)
        case Wake.TRY | Wake.CLOSE:
            order = desk.amend(order, "", at, wake=None, wake_at=None)
            _first_try(desk, order, at)
        case Wake.REPLACE:
            groups.take_over(desk, order, at)
        case Wake.REJECT:
            end(desk, order, Status.REJECTED, at)


def _activate(desk: Desk, order: Order, at: dt.datetime) -> None:
    session = session_at(desk.calendar, at)
    if session is None or order.status is Status.PENDING_CANCEL:
        desk.amend(order, "", at, wake=None, wake_at=None)
    elif order.tif is Tif.CLS:
        desk.amend(order, "new", at, status=Status.NEW, wake=Wake.CLOSE, wake_at=session.close)
    else:
        desk.amend(
            order,
            "new",
            at,
            status=Status.NEW,
            wake=Wake.TRY,
            wake_at=at + desk.settings.fill_delay,
            is_auction=True,
        )


def _acknowledge(desk: Desk, order: Order, at: dt.datetime) -> None:
    session = session_at(desk.calendar, at)
    wake, wake_at = Wake.TRY, at + desk.settings.fill_delay
    if order.tif is Tif.CLS and session is not None:
        wake, wake_at = Wake.CLOSE, session.close
    if order.status is Status.PENDING_CANCEL:
        desk.amend(order, "", at, wake=wake, wake_at=wake_at)
    else:
        desk.amend(order, "new", at, status=Status.NEW, wake=wake, wake_at=wake_at)


def _first_try(desk: Desk, order: Order, at: dt.datetime) -> None:
    session = desk.calendar.session_on(at.date())
    is_close = order.tif is Tif.CLS
    is_in_session = session is not None and (
        session.open <= at < session.close or (is_close and at == session.close)
    )
    if is_in_session:
        if order.kind.waits_for_trigger and not order.is_triggered:
            consider(desk, order, at, is_open=order.is_auction)
        else:
            _try(desk, order, at, is_auction=order.is_auction or is_close)
    order = desk.book.orders[order.id]
    if order.status.is_terminal:
        return
    if order.tif in (Tif.OPG, Tif.CLS):
        end(desk, order, Status.EXPIRED, at)
    elif order.tif in (Tif.IOC, Tif.FOK):
        end(desk, order, Status.CANCELED, at)


def _watch_stop(desk: Desk, order: Order, quote: Quote, at: dt.datetime) -> Order:
    if order.kind is Kind.TRAILING_STOP:
        mark, stop = trailing_stop(order, quote.last)
        if (mark, stop) != (order.high_water_mark, order.stop_price):
            order = desk.amend(order, "", at, high_water_mark=mark, stop_price=stop)
    if not is_triggered(order, quote.last):
        return order
    if order.role is Role.STOP_LOSS:
        triggered = desk.amend(order, "new", at, status=Status.NEW, is_triggered=True)
        groups.before_stop(desk, triggered, at, end)
        return triggered
    return desk.amend(order, "", at, is_triggered=True)


def _try(desk: Desk, order: Order, at: dt.datetime, *, is_auction: bool) -> None:
    quote = desk.quote(order.symbol, at)
    price = execution_price(order, quote, is_auction=is_auction) if quote is not None else None
    if quote is None or price is None:
        if not order.is_resting and order.tif not in (Tif.IOC, Tif.FOK):
            desk.amend(order, "", at, is_resting=True, is_auction=False)
        return
    wanted = _wanted(desk, order, price)
    allowed = _allowed(desk, quote)
    quantity = _part(desk, order, wanted, allowed)
    if quantity > 0:
        # A fill that used up its share of the volume waits for the next step of the prices.
        again = at + desk.settings.partial_delay if allowed is None else None
        _fill(desk, order, quantity, price, at, again=again, is_last=quantity == wanted)


def _wanted(desk: Desk, order: Order, price: Decimal) -> Decimal:
    wanted = wanted_quantity(order, price)
    if order.notional is None or not order.position_intent.endswith("_to_close"):
        return wanted
    # The price may have moved: what closes for an amount of money never goes beyond flat.
    return min(wanted, abs(desk.book.holding(order.symbol).quantity))


def _allowed(desk: Desk, quote: Quote) -> Decimal | None:
    share = desk.settings.max_participation
    if share is None or quote.volume is None:
        return None
    return (quote.volume * share).quantize(Decimal(1), ROUND_DOWN)


def _part(desk: Desk, order: Order, wanted: Decimal, allowed: Decimal | None) -> Decimal:
    if order.tif is Tif.FOK:
        return wanted if allowed is None or wanted <= allowed else ZERO
    if order.notional is not None:
        return wanted
    if allowed is not None:
        wanted = min(wanted, allowed)
    is_split = desk.draw("partial", order.id) < desk.settings.partial_fraction
    if is_split and order.fill_count == 0:
        return first_part(wanted, desk.draw("share", order.id))
    return wanted


def _fill(
    desk: Desk,
    order: Order,
    quantity: Decimal,
    price: Decimal,
    at: dt.datetime,
    *,
    again: dt.datetime | None,
    is_last: bool,
) -> None:
    execution = make_execution(desk, order, quantity, price, at, is_last=is_last)
    if is_last or order.tif in (Tif.IOC, Tif.FOK, Tif.OPG, Tif.CLS):
        again = None
    filled = desk.amend(
        order,
        "fill" if is_last else "partial_fill",
        at,
        execution=execution,
        status=Status.FILLED if is_last else Status.PARTIALLY_FILLED,
        filled_quantity=execution.cumulative,
        filled_value=order.filled_value + quantity * price,
        fill_count=order.fill_count + 1,
        filled_at=at,
        wake=None if again is None else Wake.TRY,
        wake_at=again,
        cancel_at=None if is_last else order.cancel_at,
        is_auction=False,
    )
    groups.after_fill(desk, filled, at, end)


def make_execution(
    desk: Desk, order: Order, quantity: Decimal, price: Decimal, at: dt.datetime, *, is_last: bool
) -> Execution:
    """Describe a fill of an order; nothing changes yet."""
    held = desk.book.holding(order.symbol).quantity
    cumulative = order.filled_quantity + quantity
    total = order.quantity if order.quantity is not None else cumulative
    return Execution(
        id=desk.derive_id("execution", order.id, str(order.fill_count)),
        order_id=order.id,
        symbol=order.symbol,
        side=order.side,
        quantity=quantity,
        price=price,
        cumulative=cumulative,
        leaves=ZERO if is_last else total - cumulative,
        at=at,
        position_after=held + quantity * order.side.sign,
        is_short_sale=order.side is Side.SELL and held <= 0,
    )
