"""Replacing an order: a new order takes over unless the old one ends first."""

import dataclasses
import datetime as dt

from brokers.exchange import admission
from brokers.exchange.desk import Desk
from brokers.exchange.events import OrderChanged
from brokers.exchange.intake import expiry
from brokers.exchange.margin import balances, held_quantity
from brokers.exchange.orders import Amendment, Order, Ticket
from brokers.exchange.refusal import forbidden, insufficient_quantity, malformed, unprocessable
from brokers.exchange.validation import check_fields, check_listing
from brokers.exchange.words import Kind, OrderClass, Role, Status, Tif, Wake
from domain.money import ZERO, text

_REPLACEABLE = (Status.NEW, Status.PARTIALLY_FILLED, Status.HELD)


def replace_order(desk: Desk, old: Order, amendment: Amendment, at: dt.datetime) -> Order:
    """Check the amendment and start the replacement.

    The new order shows the requested total less what the old one has filled, so that each
    order's filled quantity stays the sum of its own fills.
    """
    if old.status not in _REPLACEABLE or old.cancel_at is not None:
        raise unprocessable("unable to replace order, order is not open")
    admission.check_client_order_id(desk, amendment.client_order_id)
    changes = _changes(old, amendment)
    fresh = _fresh(desk, old, amendment, changes, at)
    _check_terms(desk, fresh, at)
    _check_size(desk, old, fresh, at)
    desk.emit(OrderChanged(at=at, name=str(fresh.status), order=fresh))
    desk.amend(old, "pending_replace", at, status=Status.PENDING_REPLACE, replaced_by=fresh.id)
    return fresh


def _changes(old: Order, amendment: Amendment) -> dict[str, object]:
    changes: dict[str, object] = {}
    if amendment.quantity is not None:
        if old.quantity is None or old.quantity % 1 or amendment.quantity % 1:
            raise unprocessable("qty of a fractional or notional order cannot be replaced")
        if not (amendment.quantity > old.filled_quantity):
            raise malformed("qty must be > filled_qty")
        changes["quantity"] = amendment.quantity
    changes |= _price_changes(old, amendment)
    if amendment.tif is not None:
        changes["tif"] = amendment.tif
    if not changes:
        raise malformed("nothing to replace")
    return changes


def _price_changes(old: Order, amendment: Amendment) -> dict[str, object]:
    changes: dict[str, object] = {}
    if amendment.limit_price is not None:
        if old.limit_price is None:
            raise malformed(f"{old.kind} orders take no limit price")
        changes["limit_price"] = amendment.limit_price
    if amendment.stop_price is not None:
        if not old.kind.has_stop:
            raise malformed(f"{old.kind} orders take no stop price")
        changes["stop_price"] = amendment.stop_price
    if amendment.trail is not None:
        if old.kind is not Kind.TRAILING_STOP:
            raise malformed(f"{old.kind} orders take no trail")
        field = "trail_price" if old.trail_price is not None else "trail_percent"
        changes[field] = amendment.trail
    return changes


def _fresh(
    desk: Desk, old: Order, amendment: Amendment, changes: dict[str, object], at: dt.datetime
) -> Order:
    client_order_id = amendment.client_order_id or desk.derive_id("replacement", old.id)
    is_held = old.status is Status.HELD
    fresh = dataclasses.replace(
        old,
        id=desk.derive_id("order", client_order_id),
        client_order_id=client_order_id,
        status=Status.HELD if is_held else Status.PENDING_NEW,
        filled_quantity=ZERO,
        filled_value=ZERO,
        fill_count=0,
        filled_at=None,
        created_at=at,
        submitted_at=at,
        updated_at=at,
        replaces=old.id,
        is_resting=False,
        wake=Wake.REPLACE,
        wake_at=at + desk.settings.replace_delay,
        **changes,  # type: ignore[arg-type]
    )
    ends = expiry(desk, fresh.tif, at, is_extended=fresh.is_extended_hours)
    price = fresh.limit_price or fresh.stop_price or old.reserve_price
    return dataclasses.replace(fresh, expires_at=ends, reserve_price=price)


def _check_terms(desk: Desk, fresh: Order, at: dt.datetime) -> None:
    """Refuse what a new order would be refused for by itself."""
    if fresh.order_class is not OrderClass.SIMPLE and fresh.tif not in (Tif.DAY, Tif.GTC):
        raise unprocessable("complex orders must be DAY or GTC orders")
    ticket = Ticket(
        symbol=fresh.symbol,
        side=fresh.side,
        kind=fresh.kind,
        tif=fresh.tif,
        quantity=fresh.quantity,
        notional=fresh.notional,
        limit_price=fresh.limit_price,
        # That of a trailing stop is where the price has moved it.
        stop_price=fresh.stop_price if fresh.kind.has_stop else None,
        trail_price=fresh.trail_price,
        trail_percent=fresh.trail_percent,
        is_extended_hours=fresh.is_extended_hours,
        client_order_id=fresh.client_order_id,
    )
    check_fields(ticket)
    check_listing(ticket, desk.feed.listing(fresh.symbol))
    admission.check_window(desk, fresh.tif, at)
    if fresh.order_class is OrderClass.SIMPLE:
        admission.check_wash_trade(desk, ticket)


def _check_size(desk: Desk, old: Order, fresh: Order, at: dt.datetime) -> None:
    if fresh.role is not Role.SINGLE or fresh.quantity is None or old.quantity is None:
        return
    if fresh.position_intent.endswith("_to_close"):
        held = abs(desk.book.holding(fresh.symbol).quantity)
        reserved, holders = held_quantity(desk, fresh.symbol, fresh.side)
        others = reserved - old.leaves if old.id in holders else reserved
        wanted = fresh.quantity - old.filled_quantity
        if not (wanted <= held - others):
            raise insufficient_quantity(
                symbol=fresh.symbol,
                requested=wanted,
                available=held - others,
                existing=held,
                related=holders,
            )
        return
    # The larger of both counts while both may work.
    before = old.leaves * old.reserve_price
    after = (fresh.quantity - old.filled_quantity) * fresh.reserve_price
    power = balances(desk, at).buying_power
    if not (after - before <= power):
        raise forbidden(
            "insufficient buying power",
            {"buying_power": text(power), "cost_basis": text(after - before)},
        )
