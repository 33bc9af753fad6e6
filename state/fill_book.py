"""Booking executions: each one once, whatever the channel, and reversed only by name."""

import datetime as dt
import sqlite3
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum, unique

from domain.errors import DataError
from domain.ids import ExecutionId
from domain.money import ZERO, decimal, text
from domain.orders import Fill
from state.adoptions import give_back_cash, give_back_shares
from state.booking import Match, compare, entry_columns, fill_columns, match
from state.cost_basis import exact_product, exact_sum, trade
from state.entries import entries_of
from state.holdings import standing_of
from state.late_fills import held_at, restate_after
from state.locks import SymbolLocks
from state.reversals import replay, restated
from state.rows import fill_of, stamp
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


class FillBook:
    """The executions of one store; ``Ledger`` is the door to it."""

    def __init__(self, store: Store, locks: SymbolLocks) -> None:
        self._store = store
        self._locks = locks
        self._contradictions: set[ExecutionId] = set()

    def apply(self, fill: Fill, *, origin: str) -> FillOutcome:
        """Book one execution, or tell why not."""
        _check(fill)
        with self._store.transaction():
            relation, booked_as, has_alias = self._find(fill)
            if relation is Match.CLASH:
                self._lock_once(fill, f"contradicts booked {booked_as}")
                return FillOutcome.CONFLICT
            if relation is Match.SAME:
                if not has_alias:
                    self._store.append_within(
                        "fill.aliased",
                        {
                            "execution_id": fill.execution_id,
                            "booked_as": booked_as,
                            "origin": origin,
                        },
                    )
                return FillOutcome.DUPLICATE
            self._take_out_of_adoptions(fill)
            return self._book(fill, origin)

    def _take_out_of_adoptions(self, fill: Fill) -> None:
        shares, came_by = fill.signed_quantity, f"execution {fill.execution_id}"
        give_back_shares(self._store, fill.symbol, shares, at=fill.at, came_by=came_by)
        cash = exact_product(-shares, fill.price)
        give_back_cash(self._store, cash, at=fill.at, came_by=came_by)

    def bust(self, execution_id: ExecutionId, *, at: dt.datetime, reason: str) -> bool:
        """Reverse a booked execution."""
        with self._store.transaction():
            return self._reverse(execution_id, at=at, reason=reason, rebooked=ZERO)

    def correct(self, execution_id: ExecutionId, corrected: Fill, *, reason: str) -> bool:
        """Reverse a booked execution and book its correction."""
        _check(corrected)
        with self._store.transaction():
            if self._fill_row(corrected.execution_id) is not None and (
                corrected.execution_id != execution_id
            ):
                return False
            if not self._reverse(
                execution_id, at=corrected.at, reason=reason, rebooked=corrected.quantity
            ):
                return False
            self._book(_renamed(corrected, execution_id), "correction")
        return True

    def _lock_once(self, fill: Fill, problem: str) -> None:
        """The broker tells it anew at each look; the lock ends when the books agree otherwise."""
        if fill.execution_id not in self._contradictions:
            self._contradictions.add(fill.execution_id)
            self._locks.lock(fill.symbol, f"execution {fill.execution_id} {problem}")

    def _find(self, fill: Fill) -> tuple[Match, str | None, bool]:
        alias = self._store.row(
            "SELECT booked_as FROM execution_aliases WHERE execution_id = ?", (fill.execution_id,)
        )
        if alias is not None:
            return Match.SAME, alias["booked_as"], True
        known = self._fill_row(fill.execution_id)
        if known is not None:
            is_same = compare(fill, fill_of(known)) is Match.SAME and (
                known["broker_order_id"] == fill.broker_order_id
            )
            return Match.SAME if is_same else Match.CLASH, fill.execution_id, True
        return *self._find_in_order(fill), False

    def _find_in_order(self, fill: Fill) -> tuple[Match, str | None]:
        rows = self._store.rows(
            "SELECT * FROM fills WHERE broker_order_id = ? ORDER BY seq", (fill.broker_order_id,)
        )
        reversed_fills = [fill_of(row) for row in rows if row["reversed_seq"] is not None]
        relation, other = match(fill, reversed_fills)
        # A busted execution told again under another id stays busted.
        if relation is not Match.SAME:
            standing = [fill_of(row) for row in rows if row["reversed_seq"] is None]
            relation, other = match(fill, standing)
        return relation, other.execution_id if other is not None else None

    def _book(self, fill: Fill, origin: str) -> FillOutcome:
        order = self._order_of(fill)
        change = trade(held_at(self._store, fill), fill.signed_quantity, fill.price)
        columns = fill_columns(fill, origin)
        if order is not None:
            columns["client_order_id"] = order["client_order_id"]
        entry = entry_columns(
            "fill",
            change,
            at=columns["fill_at"],
            symbol=fill.symbol,
            execution_id=fill.execution_id,
            description=origin,
        )
        self._store.append_within("fill.booked", {**columns, "entry": entry})
        restate_after(self._store, fill)
        if order is None:
            return FillOutcome.UNKNOWN_ORDER
        booked = exact_sum((decimal(order["booked_quantity"]), fill.quantity))
        # An order of an amount of money has no quantity to go beyond.
        if ZERO < decimal(order["quantity"]) < booked:
            self._locks.lock(
                fill.symbol,
                f"order {order['client_order_id']} was overfilled: {text(booked)} of"
                f" {order['quantity']}",
            )
            return FillOutcome.OVERFILL
        return FillOutcome.NEW

    def _order_of(self, fill: Fill) -> sqlite3.Row | None:
        columns = "SELECT client_order_id, quantity, booked_quantity FROM orders"
        return self._store.row(
            f"{columns} WHERE client_order_id = ?", (fill.client_order_id,)
        ) or self._store.row(f"{columns} WHERE broker_order_id = ?", (fill.broker_order_id,))

    def _reverse(
        self, execution_id: ExecutionId, *, at: dt.datetime, reason: str, rebooked: Decimal
    ) -> bool:
        alias = self._store.row(
            "SELECT booked_as FROM execution_aliases WHERE execution_id = ?", (execution_id,)
        )
        row = self._fill_row(alias["booked_as"] if alias is not None else execution_id)
        if row is None or row["reversed_seq"] is not None:
            return False
        fill = fill_of(row)
        if self._store.row(
            "SELECT 1 FROM ledger_entries WHERE symbol = ? AND kind = 'split' AND entry_id > ?",
            (fill.symbol, row["seq"]),
        ):
            self._locks.lock(
                fill.symbol, f"execution {fill.execution_id} was busted after a split: adopt"
            )
            return False
        after = replay(entries_of(self._store, fill.symbol, without=fill.execution_id)).standing
        booked = self._store.rows(
            "SELECT cash FROM ledger_entries WHERE execution_id = ? AND kind = 'fill'",
            (fill.execution_id,),
        )[0]
        entry = entry_columns(
            "reversal",
            restated(standing_of(self._store, fill.symbol), after, cash=-decimal(booked["cash"])),
            at=stamp(at),
            symbol=fill.symbol,
            execution_id=fill.execution_id,
            description=reason,
        )
        self._store.append_within(
            "fill.reversed",
            {
                "execution_id": fill.execution_id,
                "rebooked": text(rebooked),
                "reason": reason,
                "entry": entry,
            },
        )
        return True

    def _fill_row(self, execution_id: str) -> sqlite3.Row | None:
        return self._store.row("SELECT * FROM fills WHERE execution_id = ?", (execution_id,))


def _check(fill: Fill) -> None:
    figures = (fill.quantity, fill.price, fill.cumulative_quantity)
    if not all(figure.is_finite() and figure > 0 for figure in figures):
        raise DataError(f"execution {fill.execution_id}: quantity and price must be above 0")
    if fill.quantity > fill.cumulative_quantity:
        raise DataError(
            f"execution {fill.execution_id}: its quantity {fill.quantity} is above the order's"
            f" cumulative {fill.cumulative_quantity}"
        )


def _renamed(corrected: Fill, reversed_id: ExecutionId) -> Fill:
    if corrected.execution_id != reversed_id:
        return corrected
    return replace(corrected, execution_id=ExecutionId(f"{reversed_id}/corrected"))
