"""Telling one execution from another, and one entry of the ledger as columns."""

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum, unique

from domain.money import text
from domain.orders import Fill
from state.cost_basis import Change
from state.rows import stamp


@unique
class Match(StrEnum):
    """How a fill relates to one that is booked for the same order."""

    NONE = "none"  # other shares of the order
    SAME = "same"  # the same shares at the same price, whatever the execution ids
    CLASH = "clash"  # overlapping shares, or another price: both cannot be true


def compare(new: Fill, booked: Fill) -> Match:
    """Compare by the shares of the order that each covers: (cumulative - quantity, cumulative]."""
    start, booked_start = _start(new), _start(booked)
    if new.cumulative_quantity <= booked_start or booked.cumulative_quantity <= start:
        return Match.NONE
    is_same = (
        start == booked_start
        and new.cumulative_quantity == booked.cumulative_quantity
        and new.price == booked.price
        and new.side is booked.side
        and new.symbol == booked.symbol
    )
    return Match.SAME if is_same else Match.CLASH


def match(new: Fill, booked: Iterable[Fill]) -> tuple[Match, Fill | None]:
    """Return the first relation that is not NONE, and with what; SAME goes before CLASH."""
    clash: Fill | None = None
    for fill in booked:
        relation = compare(new, fill)
        if relation is Match.SAME:
            return relation, fill
        if relation is Match.CLASH and clash is None:
            clash = fill
    return (Match.CLASH, clash) if clash is not None else (Match.NONE, None)


def fill_columns(fill: Fill, origin: str) -> dict[str, str]:
    """Return a fill as the payload of its event."""
    return {
        "execution_id": fill.execution_id,
        "broker_order_id": fill.broker_order_id,
        "client_order_id": fill.client_order_id,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "quantity": text(fill.quantity),
        "price": text(fill.price),
        "cumulative_quantity": text(fill.cumulative_quantity),
        "fill_at": stamp(fill.at),
        "origin": origin,
    }


def entry_columns(
    kind: str,
    change: Change,
    *,
    at: str,
    symbol: str | None = None,
    execution_id: str | None = None,
    activity_id: str | None = None,
    description: str = "",
) -> dict[str, str | None]:
    """Return one ledger entry as columns."""
    return {
        "kind": kind,
        "at": at,
        "symbol": symbol,
        "quantity": text(change.quantity),
        "cash": text(change.cash),
        "cost": text(change.cost),
        "in_kind": text(change.in_kind),
        "realized_pnl": text(change.realized_pnl),
        "execution_id": execution_id,
        "activity_id": activity_id,
        "description": description,
    }


def _start(fill: Fill) -> Decimal:
    return fill.cumulative_quantity - fill.quantity
