"""Busts and corrections: what the books would be had an execution never happened."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from domain.money import ZERO, decimal
from state.cost_basis import Change, Holding, adopt, exact_sum, trade

REPLAY = (
    "SELECT e.kind, e.quantity, e.cash, e.in_kind FROM ledger_entries e"
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
    """Trade the entries again, in the order they were booked."""
    holding, realized = Holding(), ZERO
    for row in entries:
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
