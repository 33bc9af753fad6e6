"""What the ledger holds of a symbol."""

import sqlite3
from dataclasses import dataclass
from decimal import Decimal

from domain.ids import Symbol
from domain.money import ZERO, decimal
from state.cost_basis import Holding, average
from state.reversals import Standing
from state.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPosition:
    """Holding of one symbol by our own books.

    ``quantity`` and ``total_cost`` are signed (short: both below 0) and exact;
    ``realized_pnl`` is of all time, average-cost method, before fees.
    """

    symbol: Symbol
    quantity: Decimal
    total_cost: Decimal
    realized_pnl: Decimal

    @property
    def avg_price(self) -> Decimal:
        """Average cost of a share, rounded for display; 0 when flat."""
        return average(self.total_cost, self.quantity)


def position_of(store: Store, symbol: Symbol) -> LedgerPosition:
    """Return one holding, flat when there is none."""
    row = store.row("SELECT * FROM positions WHERE symbol = ?", (symbol,))
    if row is not None:
        return position_row(row)
    return LedgerPosition(symbol=symbol, quantity=ZERO, total_cost=ZERO, realized_pnl=ZERO)


def standing_of(store: Store, symbol: Symbol) -> Standing:
    """Return one holding as the arithmetic wants it."""
    position = position_of(store, symbol)
    return Standing(
        holding=Holding(quantity=position.quantity, total_cost=position.total_cost),
        realized_pnl=position.realized_pnl,
    )


def position_row(row: sqlite3.Row) -> LedgerPosition:
    """Read a row of ``positions``."""
    return LedgerPosition(
        symbol=Symbol(row["symbol"]),
        quantity=decimal(row["quantity"]),
        total_cost=decimal(row["total_cost"]),
        realized_pnl=decimal(row["realized_pnl"]),
    )
