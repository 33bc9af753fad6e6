"""The ledger: every execution once, and what it did to shares, cost and cash."""

import datetime as dt
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum, unique

from domain.account import Activity, ActivityKind
from domain.errors import DataError
from domain.ids import ClientOrderId, ExecutionId, Symbol
from domain.money import ZERO, decimal, text
from domain.orders import Fill, Side
from state.booking import Match, compare, entry_columns, fill_columns, match
from state.cost_basis import Change, Holding, adopt, average, exact_sum, split_quantity, trade
from state.projection import CASH
from state.reversals import REPLAY, Standing, replay, reversal
from state.rows import fill_of, stamp
from state.store import Store

_CASH_KINDS = {
    ActivityKind.FEE: "fee",
    ActivityKind.DIVIDEND: "dividend",
    ActivityKind.INTEREST: "interest",
    ActivityKind.TRANSFER: "transfer",
    ActivityKind.OTHER: "other",
}
_ADJUSTMENTS = frozenset({"adoption", "cash_adoption"})


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
        return average(self.total_cost, self.quantity)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSummary:
    """Sums of a period, USD.

    ``fees`` is above 0 when paid; the others are signed as they move equity.
    ``adjustments`` are positions and cash that were adopted.  Together:
    change of equity = realized + change of unrealized - fees + dividends + interest
    + transfers + other + adjustments, exactly.
    """

    realized_pnl: Decimal
    fees: Decimal
    dividends: Decimal
    interest: Decimal
    transfers: Decimal
    other: Decimal
    adjustments: Decimal


class Ledger:
    """The one door through which shares and money enter the books."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def apply_fill(self, fill: Fill, *, origin: str) -> FillOutcome:
        """Book one execution, once: unique by execution id and by (order, cumulative quantity).

        Args:
            fill: the execution; legal in every state of its order.
            origin: who brought it, such as ``stream``, ``poll`` or ``activities``.

        Raises:
            DataError: a figure of it is not above 0, or it covers more than its order has.
        """
        _check(fill)
        with self._store.transaction():
            relation, booked_as, has_alias = self._find(fill)
            if relation is Match.CLASH:
                self._lock(
                    fill.symbol,
                    f"execution {fill.execution_id} contradicts booked {booked_as}",
                )
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
            return self._book(fill, origin)

    def apply_activity(self, activity: Activity) -> bool:
        """Book a fee, dividend, interest, transfer, split or fill of the broker's log, once.

        A split brings the signed shares it adds; the cost of the position stays.

        Returns:
            True when it was new.

        Raises:
            DataError: a field that its kind needs is missing.
        """
        if activity.kind is ActivityKind.FILL:
            return self.apply_fill(self._fill_of(activity), origin="activities").is_booked
        if activity.kind is ActivityKind.SPLIT and (
            activity.symbol is None or activity.quantity is None
        ):
            raise DataError(f"activity {activity.activity_id}: a split needs symbol and quantity")
        is_split = activity.kind is ActivityKind.SPLIT
        change = Change(
            quantity=decimal(activity.quantity or ZERO) if is_split else ZERO,
            cash=decimal(activity.net_amount),
        )
        return self._book_activity(
            "split" if is_split else _CASH_KINDS[activity.kind],
            change,
            activity.activity_id,
            at=activity.at,
            symbol=activity.symbol,
            description=activity.description,
        )

    def bust_fill(self, execution_id: ExecutionId, *, at: dt.datetime, reason: str) -> bool:
        """Reverse a booked execution by an entry of its own; False when none stands by that id."""
        with self._store.transaction():
            return self._reverse(execution_id, at=at, reason=reason, rebooked=ZERO)

    def correct_fill(self, execution_id: ExecutionId, corrected: Fill, *, reason: str) -> bool:
        """Reverse a booked execution and book what the broker says it really was.

        Returns:
            False when nothing stands by ``execution_id``, so nothing was done.
        """
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

    def apply_split(
        self,
        symbol: Symbol,
        *,
        new_rate: Decimal,
        old_rate: Decimal,
        activity_id: str,
        at: dt.datetime,
    ) -> bool:
        """Turn ``old_rate`` shares into ``new_rate`` at unchanged total cost, once.

        For a split that is known by its rates; do not also book its activity.
        """
        if not (new_rate > 0 and old_rate > 0):
            raise DataError(f"{symbol}: split {new_rate}:{old_rate} needs rates above 0")
        with self._store.transaction():
            held = self.position(symbol).quantity
            added = exact_sum((split_quantity(held, new_rate, old_rate), -held))
            return self._book_activity(
                "split",
                Change(quantity=added),
                activity_id,
                at=at,
                symbol=symbol,
                description=f"{text(new_rate)}:{text(old_rate)}",
            )

    def adopt_position(
        self, symbol: Symbol, quantity: Decimal, price: Decimal, reason: str
    ) -> Decimal:
        """Set the holding to ``quantity`` by a named entry at ``price``, without cash.

        Returns:
            The signed shares that were added; 0 when the books agreed.
        """
        with self._store.transaction():
            held = self._standing(symbol).holding
            added = exact_sum((decimal(quantity), -held.quantity))
            if added:
                self._book_entry(
                    "adoption",
                    adopt(held, added, decimal(price)),
                    symbol=symbol,
                    description=reason,
                )
        return added

    def adopt_cash(self, cash: Decimal, reason: str) -> Decimal:
        """Set cash by a named entry, as at the opening of the books; return the difference."""
        with self._store.transaction():
            added = exact_sum((decimal(cash), -self.cash()))
            if added:
                self._book_entry("cash_adoption", Change(cash=added), description=reason)
        return added

    def positions(self) -> Mapping[Symbol, LedgerPosition]:
        """Return every holding that is not flat, by symbol."""
        rows = self._store.rows("SELECT * FROM positions WHERE quantity <> '0' ORDER BY symbol")
        return {Symbol(row["symbol"]): _position(row) for row in rows}

    def position(self, symbol: Symbol) -> LedgerPosition:
        """Return one holding, flat when there is none."""
        row = self._store.row("SELECT * FROM positions WHERE symbol = ?", (symbol,))
        if row is not None:
            return _position(row)
        return LedgerPosition(symbol=symbol, quantity=ZERO, total_cost=ZERO, realized_pnl=ZERO)

    def cash(self) -> Decimal:
        """Return cash by our own books."""
        rows = self._store.rows("SELECT amount FROM balances WHERE name = ?", (CASH,))
        return decimal(rows[0]["amount"])

    def fills(self, start: dt.datetime, end: dt.datetime) -> tuple[Fill, ...]:
        """Return the executions of ``[start, end)`` that stand, oldest first."""
        rows = self._store.rows(
            "SELECT * FROM fills WHERE at >= ? AND at < ? AND reversed_seq IS NULL"
            " ORDER BY at, seq",
            (stamp(start), stamp(end)),
        )
        return tuple(fill_of(row) for row in rows)

    def realized_pnl(self, start: dt.datetime, end: dt.datetime) -> Decimal:
        """Return what closing positions earned in ``[start, end)``, before fees."""
        return self.summary(start, end).realized_pnl

    def summary(self, start: dt.datetime, end: dt.datetime) -> LedgerSummary:
        """Return the sums of ``[start, end)`` for the account bridge, by the time of the event."""
        rows = self._store.rows(
            "SELECT kind, cash, in_kind, realized_pnl FROM ledger_entries WHERE at >= ? AND at < ?",
            (stamp(start), stamp(end)),
        )

        def cash_of(*kinds: str) -> Decimal:
            return exact_sum(decimal(row["cash"]) for row in rows if row["kind"] in kinds)

        return LedgerSummary(
            realized_pnl=exact_sum(decimal(row["realized_pnl"]) for row in rows),
            fees=-cash_of("fee"),
            dividends=cash_of("dividend"),
            interest=cash_of("interest"),
            transfers=cash_of("transfer"),
            other=cash_of("other", "split"),
            adjustments=exact_sum(
                decimal(row[column])
                for row in rows
                if row["kind"] in _ADJUSTMENTS
                for column in ("cash", "in_kind")
            ),
        )

    def lock(self, symbol: Symbol, reason: str) -> None:
        """Allow exits only in a symbol, until ``unlock``."""
        with self._store.transaction():
            self._lock(symbol, reason)

    def unlock(self, symbol: Symbol) -> bool:
        """Lift a lock; False when there was none."""
        with self._store.transaction():
            if symbol not in self.locks():
                return False
            self._store.append_within("symbol.unlocked", {"symbol": symbol})
        return True

    def locks(self) -> Mapping[Symbol, str]:
        """Return the locked symbols with their reasons."""
        rows = self._store.rows("SELECT symbol, reason FROM symbol_locks ORDER BY symbol")
        return {Symbol(row["symbol"]): row["reason"] for row in rows}

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
        held = self._standing(fill.symbol).holding
        change = trade(held, fill.signed_quantity, fill.price)
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
        if order is None:
            return FillOutcome.UNKNOWN_ORDER
        booked = exact_sum((decimal(order["booked_quantity"]), fill.quantity))
        if booked > decimal(order["quantity"]):
            self._lock(
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
        after = replay(self._store.rows(REPLAY, (fill.symbol, fill.execution_id)))
        booked = self._store.rows(
            "SELECT cash FROM ledger_entries WHERE execution_id = ? AND kind = 'fill'",
            (fill.execution_id,),
        )[0]
        entry = entry_columns(
            "reversal",
            reversal(self._standing(fill.symbol), after, cash=-decimal(booked["cash"])),
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

    def _book_activity(
        self,
        kind: str,
        change: Change,
        activity_id: str,
        *,
        at: dt.datetime,
        symbol: Symbol | None,
        description: str,
    ) -> bool:
        with self._store.transaction():
            if self._store.row(
                "SELECT 1 FROM ledger_entries WHERE activity_id = ?", (activity_id,)
            ):
                return False
            entry = entry_columns(
                kind,
                change,
                at=stamp(at),
                symbol=symbol,
                activity_id=activity_id,
                description=description,
            )
            self._store.append_within("ledger.booked", entry)
        return True

    def _book_entry(
        self, kind: str, change: Change, *, description: str, symbol: Symbol | None = None
    ) -> None:
        at = stamp(self._store.clock.now())
        entry = entry_columns(kind, change, at=at, symbol=symbol, description=description)
        self._store.append_within("ledger.booked", entry)

    def _fill_of(self, activity: Activity) -> Fill:
        if (
            activity.broker_order_id is None
            or activity.symbol is None
            or activity.side is None
            or activity.quantity is None
            or activity.price is None
            or activity.cumulative_quantity is None
        ):
            raise DataError(
                f"activity {activity.activity_id}: a fill needs order, symbol, side, quantity,"
                " price and cumulative quantity"
            )
        return Fill(
            execution_id=ExecutionId(activity.activity_id),
            broker_order_id=activity.broker_order_id,
            client_order_id=activity.client_order_id or ClientOrderId(""),
            symbol=activity.symbol,
            # The log says sell_short where the order says sell.
            side=Side.BUY if activity.side.startswith("buy") else Side.SELL,
            quantity=activity.quantity,
            price=activity.price,
            cumulative_quantity=activity.cumulative_quantity,
            at=activity.at,
        )

    def _fill_row(self, execution_id: str) -> sqlite3.Row | None:
        return self._store.row("SELECT * FROM fills WHERE execution_id = ?", (execution_id,))

    def _standing(self, symbol: Symbol) -> Standing:
        position = self.position(symbol)
        return Standing(
            holding=Holding(quantity=position.quantity, total_cost=position.total_cost),
            realized_pnl=position.realized_pnl,
        )

    def _lock(self, symbol: Symbol, reason: str) -> None:
        if self.locks().get(symbol) != reason:
            self._store.append_within("symbol.locked", {"symbol": symbol, "reason": reason})


def _position(row: sqlite3.Row) -> LedgerPosition:
    return LedgerPosition(
        symbol=Symbol(row["symbol"]),
        quantity=decimal(row["quantity"]),
        total_cost=decimal(row["total_cost"]),
        realized_pnl=decimal(row["realized_pnl"]),
    )


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
    return Fill(
        execution_id=ExecutionId(f"{reversed_id}/corrected"),
        broker_order_id=corrected.broker_order_id,
        client_order_id=corrected.client_order_id,
        symbol=corrected.symbol,
        side=corrected.side,
        quantity=corrected.quantity,
        price=corrected.price,
        cumulative_quantity=corrected.cumulative_quantity,
        at=corrected.at,
    )
