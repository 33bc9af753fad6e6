"""Orders that belong together: bracket, one-cancels-other, one-triggers-other, replacements."""

import datetime as dt
from collections.abc import Callable, Iterable

from brokers.exchange.desk import Desk
from brokers.exchange.orders import Order
from brokers.exchange.words import OrderClass, Role, Status, Wake

End = Callable[[Desk, Order, Status, dt.datetime], Order]


def after_fill(desk: Desk, order: Order, at: dt.datetime, end: End) -> None:
    """Wake the legs of a filled parent; stop the twin of a filled exit."""
    is_exit = order.role is not Role.SINGLE or order.order_class is OrderClass.OCO
    if is_exit:
        for twin in _twins(desk, order):
            if order.status is Status.FILLED:
                end(desk, twin, Status.CANCELED, at)
            elif twin.role is Role.STOP_LOSS:
                desk.amend(twin, "", at, quantity=order.leaves)
        return
    if order.status is not Status.FILLED:
        return
    for leg in _legs(desk, order):
        if leg.role is Role.TAKE_PROFIT:
            desk.amend(
                leg,
                "new",
                at,
                status=Status.NEW,
                is_armed=True,
                wake=Wake.TRY,
                wake_at=at + desk.settings.fill_delay,
            )
        else:
            desk.amend(leg, "held", at, is_armed=True)


def after_end(desk: Desk, order: Order, at: dt.datetime, end: End) -> None:
    """End the rest of the group of an order that ended without being filled."""
    if order.role is Role.SINGLE:
        for leg in _legs(desk, order):
            end(desk, leg, order.status, at)
    elif order.order_class is OrderClass.OCO or order.status is Status.EXPIRED:
        for twin in _twins(desk, order):
            end(desk, twin, order.status, at)


def before_stop(desk: Desk, stop: Order, at: dt.datetime, end: End) -> None:
    """Cancel the take-profit leg because the stop leg, already triggered, will work."""
    for twin in _twins(desk, stop):
        end(desk, twin, Status.CANCELED, at)


def take_over(desk: Desk, order: Order, at: dt.datetime) -> None:
    """Let a replacement take the place of the order it replaces, if that still lives."""
    old = desk.book.orders[order.replaces] if order.replaces is not None else None
    if old is None or old.status.is_terminal:
        desk.amend(
            order, "rejected", at, status=Status.REJECTED, failed_at=at, wake=None, wake_at=None
        )
        return
    desk.amend(
        old,
        "replaced",
        at,
        status=Status.REPLACED,
        replaced_at=at,
        replaced_by=order.id,
        wake=None,
        wake_at=None,
    )
    _inherit_group(desk, old, order, at)
    quantity = order.quantity - old.filled_quantity if order.quantity is not None else None
    is_held = order.status is Status.HELD
    desk.amend(
        order,
        "held" if is_held else "new",
        at,
        status=Status.HELD if is_held else Status.NEW,
        quantity=quantity,
        wake=None if is_held else Wake.TRY,
        wake_at=None if is_held else at + desk.settings.fill_delay,
    )


def _inherit_group(desk: Desk, old: Order, fresh: Order, at: dt.datetime) -> None:
    for leg in _legs(desk, old):
        desk.amend(leg, "", at, parent_id=fresh.id)
    if old.parent_id is not None:
        parent = desk.book.orders[old.parent_id]
        ids = tuple(fresh.id if leg_id == old.id else leg_id for leg_id in parent.leg_ids)
        desk.amend(parent, "", at, leg_ids=ids)


def _legs(desk: Desk, parent: Order) -> list[Order]:
    return _tied(desk, parent.leg_ids)


def _twins(desk: Desk, order: Order) -> list[Order]:
    """Return the open orders that exit the same shares."""
    if order.parent_id is None:
        return _legs(desk, order)
    parent = desk.book.orders[order.parent_id]
    ids = [leg_id for leg_id in parent.leg_ids if leg_id != order.id]
    if parent.order_class is OrderClass.OCO:
        ids.append(parent.id)
    return _tied(desk, ids)


def _tied(desk: Desk, ids: Iterable[str]) -> list[Order]:
    # A triggered stop has left its group: its twin's end must not end it too.
    orders = [desk.book.open_orders[i] for i in ids if i in desk.book.open_orders]
    return [order for order in orders if not order.is_triggered]
