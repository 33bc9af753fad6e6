"""The ledger: every execution once, and what it did to shares, cost and cash."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum, unique

from domain.account import Activity
from domain.ids import ExecutionId, Symbol
from domain.orders import Fill
from state.store import Store


@unique
class FillOutcome(StrEnum):
    """What ``apply_fill`` did."""

    NEW = "new"  # booked
    DUPLICATE = "duplicate"  # the same execution was booked before
    OVERFILL = "overfill"  # booked; the order is filled beyond its quantity, the symbol is locked
    UNKNOWN_ORDER = "unknown_order"  # booked; the journal has no such order yet: adopt it
    CONFLICT = "conflict"  # not booked: contradicts a booked execution, the symbol is locked

    @property
    def is_booked(self) -> bool:
        """True when this call changed the ledger."""
        return self in {FillOutcome.NEW, FillOutcome.OVERFILL, FillOutcome.UNKNOWN_ORDER}


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
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSummary:
    """Sums of a period, USD; ``fees`` is above 0 when paid, the others are signed as cash."""

    realized_pnl: Decimal
    fees: Decimal
    dividends: Decimal
    interest: Decimal
    transfers: Decimal
    other: Decimal


class Ledger:
    """The one door through which shares and money enter the books."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def apply_fill(self, fill: Fill, *, origin: str) -> FillOutcome:
        """Book one execution, once: unique by execution id and by (order, cumulative quantity).

        Args:
            fill: the execution; legal in every state of its order.
            origin: who brought it, such as ``stream``, ``poll`` or ``activities``.
        """
        raise NotImplementedError

    def apply_activity(self, activity: Activity) -> bool:
        """Book a fee, dividend, interest, transfer, split or fill of the broker's log, once.

        Returns:
            True when it was new.

        Raises:
            DataError: a field that its kind needs is missing.
        """
        raise NotImplementedError

    def bust_fill(self, execution_id: ExecutionId, *, at: dt.datetime, reason: str) -> bool:
        """Reverse a booked execution by an entry of its own; False when already reversed."""
        raise NotImplementedError

    def correct_fill(self, execution_id: ExecutionId, corrected: Fill, *, reason: str) -> bool:
        """Reverse a booked execution and book what the broker says it really was."""
        raise NotImplementedError

    def apply_split(
        self,
        symbol: Symbol,
        *,
        new_rate: Decimal,
        old_rate: Decimal,
        activity_id: str,
        at: dt.datetime,
    ) -> bool:
        """Turn ``old_rate`` shares into ``new_rate`` at unchanged total cost, once."""
        raise NotImplementedError

    def adopt_position(
        self, symbol: Symbol, quantity: Decimal, price: Decimal, reason: str
    ) -> Decimal:
        """Set the holding to ``quantity`` by a named entry at ``price``, without cash.

        Returns:
            The signed shares that were added; 0 when the books agreed.
        """
        raise NotImplementedError

    def adopt_cash(self, cash: Decimal, reason: str) -> Decimal:
        """Set cash by a named entry, as at the opening of the books; return the difference."""
        raise NotImplementedError

    def positions(self) -> Mapping[Symbol, LedgerPosition]:
        """Return every holding that is not flat, by symbol."""
        raise NotImplementedError

    def position(self, symbol: Symbol) -> LedgerPosition:
        """Return one holding, flat when there is none."""
        raise NotImplementedError

    def cash(self) -> Decimal:
        """Return cash by our own books."""
        raise NotImplementedError

    def fills(self, start: dt.datetime, end: dt.datetime) -> tuple[Fill, ...]:
        """Return the executions of ``[start, end)`` that stand, oldest first."""
        raise NotImplementedError

    def realized_pnl(self, start: dt.datetime, end: dt.datetime) -> Decimal:
        """Return what closing positions earned in ``[start, end)``, before fees."""
        raise NotImplementedError

    def summary(self, start: dt.datetime, end: dt.datetime) -> LedgerSummary:
        """Return the sums of ``[start, end)`` for the account bridge."""
        raise NotImplementedError

    def lock(self, symbol: Symbol, reason: str) -> None:
        """Allow exits only in a symbol, until ``unlock``."""
        raise NotImplementedError

    def unlock(self, symbol: Symbol) -> bool:
        """Lift a lock; False when there was none."""
        raise NotImplementedError

    def locks(self) -> Mapping[Symbol, str]:
        """Return the locked symbols with their reasons."""
        raise NotImplementedError
