"""Busts, corrections and late splits: what the books would be had all been told in time."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from domain.money import ZERO, decimal
from state.cost_basis import Change, Holding, adopt, exact_sum, trade

REPLAY = (
    "SELECT e.kind, e.at, e.quantity, e.cash, e.in_kind FROM ledger_entries e"
    " LEFT JOIN fills f USING (execution_id)"
    " WHERE e.symbol = ? AND e.quantity <> '0' AND e.kind <> 'reversal'"
    " AND f.reversed_seq IS NULL AND e.execution_id IS NOT ?"
    " ORDER BY e.entry_id"
)
"""The entries of a symbol that stand, without those of one execution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Shares, cost and realized profit of one symbol."""

    holding: Holding
    realized_pnl: Decimal


def replay(entries: Iterable[sqlite3.Row]) -> Standing:
    """Trade the entries again, in the order they were booked; splits when they happened."""
    holding, realized = Holding(), ZERO
    for row in _in_time(entries):
        change = _again(holding, row)
        holding = Holding(
            quantity=exact_sum((holding.quantity, change.quantity)),
            total_cost=exact_sum((holding.total_cost, change.cost)),
        )
        realized = exact_sum((realized, change.realized_pnl))
    return Standing(holding=holding, realized_pnl=realized)


def reversal(before: Standing, after: Standing, *, cash: Decimal) -> Change:
    """Return the entry that leads from one standing to the other and gives ``cash`` back."""
    return Change(
        quantity=exact_sum((after.holding.quantity, -before.holding.quantity)),
        cash=cash,
        cost=exact_sum((after.holding.total_cost, -before.holding.total_cost)),
        realized_pnl=exact_sum((after.realized_pnl, -before.realized_pnl)),
    )


def _in_time(entries: Iterable[sqlite3.Row]) -> list[sqlite3.Row]:
    """Put each split before the fills that came after it, however late it was told.

    Not across an adoption: who counted the shares has counted those of the split.
    """
    ordered: list[sqlite3.Row] = []
    for row in entries:
        place = len(ordered)
        if row["kind"] == "split":
            while place and _is_fill_after(ordered[place - 1], row["at"]):
                place -= 1
        ordered.insert(place, row)
    return ordered


def _is_fill_after(row: sqlite3.Row, moment: str) -> bool:
    is_after: bool = row["kind"] == "fill" and row["at"] > moment
    return is_after


def _again(holding: Holding, row: sqlite3.Row) -> Change:
    quantity = decimal(row["quantity"])
    if row["kind"] == "fill":
        return trade(holding, quantity, unit_price(-decimal(row["cash"]), quantity))
    if row["kind"] == "adoption":
        return adopt(holding, quantity, unit_price(decimal(row["in_kind"]), quantity))
    return Change(quantity=quantity)


def unit_price(paid: Decimal, quantity: Decimal) -> Decimal:
    """Return the price that an entry was made at."""
    # paid is an exact product of quantity and a price, so this quotient terminates.
    return paid / quantity
