"""Intake: a checked ticket becomes an order, with its legs."""

import dataclasses
import datetime as dt
from decimal import Decimal

from brokers.exchange import admission
from brokers.exchange.desk import Desk
from brokers.exchange.events import OrderChanged
from brokers.exchange.orders import Order, Ticket
from brokers.exchange.refusal import unprocessable
from brokers.exchange.validation import check_base, check_fields, check_listing
from brokers.exchange.windows import extended_close, good_till, new_york
from brokers.exchange.words import Kind, OrderClass, Role, Status, Tif, Wake
from domain.ids import Symbol
from domain.orders import Side


def submit(desk: Desk, ticket: Ticket, at: dt.datetime) -> Order:
    """Check a ticket and take the order; the order is not filled here.

    Raises:
        Refusal: with Alpaca's status, code and message; nothing was taken.
    """
    admission.check_client_order_id(desk, ticket.client_order_id)
    check_fields(ticket)
    listing = desk.feed.listing(ticket.symbol)
    check_listing(ticket, listing)
    if listing is None:
        raise unprocessable(f'asset "{ticket.symbol}" not found')
    admission.check_flags(desk)
    admission.check_window(desk, ticket.tif, at)
    intent = admission.infer_intent(desk, ticket)
    if ticket.order_class is OrderClass.OCO and not intent.endswith("_to_close"):
        raise unprocessable("oco orders must be exit orders")
    admission.check_wash_trade(desk, ticket)
    admission.check_opening(desk, ticket, intent)
    admission.check_fractions(desk, ticket, intent)
    check_base(ticket, admission.expected_price(desk, ticket, at))
    price = admission.reserve_price(desk, ticket, intent, at)
    admission.check_shares(desk, ticket, intent, listing, price, at)
    admission.check_money(desk, ticket, intent, price, at)
    return _take(desk, ticket, intent, price, at)


def expiry(desk: Desk, tif: Tif, at: dt.datetime, *, is_extended: bool) -> dt.datetime | None:
    """Return when an order of this time in force ends by itself."""
    if tif is Tif.GTC:
        return good_till(at)
    today = desk.calendar.session_on(new_york(at).date())
    if is_extended and today is not None and at < extended_close(today):
        return extended_close(today)
    session = desk.calendar.next_session(at)
    return extended_close(session) if is_extended else session.close


def first_wake(desk: Desk, tif: Tif, at: dt.datetime) -> tuple[Status, Wake, dt.datetime]:
    """Return the status an order starts in, and what happens to it next.

    While the market is closed, and for the opening auction always, it queues.
    """
    if desk.open_session(at) is not None and tif is not Tif.OPG:
        return Status.PENDING_NEW, Wake.ACKNOWLEDGE, at + desk.settings.acknowledge_delay
    session = desk.calendar.next_session(at)
    if session.open <= at:
        session = desk.calendar.next_session(session.close)
    return Status.ACCEPTED, Wake.ACTIVATE, session.open


def _take(desk: Desk, ticket: Ticket, intent: str, price: Decimal, at: dt.datetime) -> Order:
    count = str(len(desk.book.orders))
    client_order_id = ticket.client_order_id or desk.derive_id("client", count)
    status, wake, wake_at = first_wake(desk, ticket.tif, at)
    is_oco = ticket.order_class is OrderClass.OCO
    order = Order(
        id=_fresh_id(desk, client_order_id),
        client_order_id=client_order_id,
        symbol=ticket.symbol,
        side=ticket.side,
        kind=ticket.kind,
        tif=ticket.tif,
        status=status,
        quantity=ticket.quantity,
        notional=ticket.notional,
        limit_price=ticket.take_profit if is_oco else ticket.limit_price,
        stop_price=ticket.stop_price,
        trail_price=ticket.trail_price,
        trail_percent=ticket.trail_percent,
        is_extended_hours=ticket.is_extended_hours,
        order_class=ticket.order_class,
        position_intent=intent,
        created_at=at,
        submitted_at=at,
        updated_at=at,
        expires_at=expiry(desk, ticket.tif, at, is_extended=ticket.is_extended_hours),
        reserve_price=price,
        wake=wake,
        wake_at=wake_at,
    )
    legs = _legs(desk, ticket, order)
    # Legs first: whoever sees the parent can already look them up.
    for leg in legs:
        desk.emit(OrderChanged(at=at, name="", order=leg))
    order = dataclasses.replace(order, leg_ids=tuple(leg.id for leg in legs))
    desk.emit(OrderChanged(at=at, name=str(status), order=order))
    return order


def _fresh_id(desk: Desk, client_order_id: str) -> str:
    order_id = desk.derive_id("order", client_order_id)
    # Only where client ids may be used again can the derived id be taken.
    while order_id in desk.book.orders:
        order_id = desk.derive_id("order", order_id)
    return order_id


def _legs(desk: Desk, ticket: Ticket, parent: Order) -> list[Order]:
    legs: list[Order] = []
    is_oco = ticket.order_class is OrderClass.OCO
    if ticket.take_profit is not None and not is_oco:
        legs.append(
            _leg(desk, parent, Role.TAKE_PROFIT, limit_price=ticket.take_profit, stop_price=None)
        )
    if ticket.stop_loss is not None:
        legs.append(
            _leg(
                desk,
                parent,
                Role.STOP_LOSS,
                limit_price=ticket.stop_loss.limit_price,
                stop_price=ticket.stop_loss.stop_price,
            )
        )
    return legs


def _leg(
    desk: Desk,
    parent: Order,
    role: Role,
    *,
    limit_price: Decimal | None,
    stop_price: Decimal | None,
) -> Order:
    if stop_price is None:
        kind = Kind.LIMIT
    else:
        kind = Kind.STOP if limit_price is None else Kind.STOP_LIMIT
    is_oco = parent.order_class is OrderClass.OCO
    side = parent.side if is_oco else parent.side.opposite
    client_order_id = desk.derive_id("leg", parent.id, role)
    return Order(
        id=desk.derive_id("order", client_order_id),
        client_order_id=client_order_id,
        symbol=Symbol(parent.symbol),
        side=side,
        kind=kind,
        tif=parent.tif,
        status=Status.HELD,
        quantity=parent.quantity,
        limit_price=limit_price,
        stop_price=stop_price,
        order_class=parent.order_class,
        role=role,
        parent_id=parent.id,
        position_intent="sell_to_close" if side is Side.SELL else "buy_to_close",
        created_at=parent.created_at,
        submitted_at=parent.submitted_at,
        updated_at=parent.updated_at,
        expires_at=parent.expires_at,
        # The pair of an OCO is live at once; other legs wait for the parent's last fill.
        is_armed=is_oco,
    )
