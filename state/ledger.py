"""The ledger: every execution once, and what it did to shares, cost and cash."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal

from domain.account import Activity, ActivityKind
from domain.errors import DataError
from domain.ids import ClientOrderId, ExecutionId, Symbol
from domain.money import ZERO, decimal
from domain.orders import Fill, Side
from state.adoptions import give_back_shares
from state.booking import entry_columns
from state.cost_basis import Change, adopt, exact_sum
from state.entries import Entry, entries_of
from state.fill_book import FillBook, FillOutcome
from state.holdings import LedgerPosition, position_of, position_row, standing_of
from state.locks import SymbolLocks
from state.project_ledger import CASH
from state.reversals import replay, restated
from state.rows import stamp
from state.store import Store

__all__ = ["FillOutcome", "Ledger", "LedgerPosition"]

_CASH_KINDS = {
    ActivityKind.FEE: "fee",
    ActivityKind.DIVIDEND: "dividend",
    ActivityKind.INTEREST: "interest",
    ActivityKind.TRANSFER: "transfer",
    ActivityKind.OTHER: "other",
}


class Ledger:
    """The one door through which shares and money enter the books."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._locks = SymbolLocks(store)
        self._fill_book = FillBook(store, self._locks)

    def apply_fill(self, fill: Fill, *, origin: str) -> FillOutcome:
        """Book one execution, once: unique by execution id and by (order, cumulative quantity).

        Args:
            fill: the execution; legal in every state of its order.
            origin: who brought it, such as ``stream``, ``poll`` or ``activities``.

        Raises:
            DataError: a figure of it is not above 0, or it covers more than its order has.
        """
        return self._fill_book.apply(fill, origin=origin)

    def apply_activity(self, activity: Activity) -> bool:
        """Book a fee, dividend, interest, transfer, split or fill of the broker's log, once.

        A split brings the signed shares it adds, and no cost: the cost goes with the shares.
        What less than a share costs goes with the fraction that the split pays out, and money
        that names a symbol and no other cause is that payout, in whatever order they are told.

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
        with self._store.transaction():
            if self._store.row(
                "SELECT 1 FROM ledger_entries WHERE activity_id = ?", (activity.activity_id,)
            ):
                return False
            self._book_activity(activity)
        return True

    def bust_fill(self, execution_id: ExecutionId, *, at: dt.datetime, reason: str) -> bool:
        """Reverse a booked execution by an entry of its own; False when none stands by that id.

        One from before a split is not reversed, since its shares are others now: the symbol
        is locked until a person adopts what the broker holds.
        """
        return self._fill_book.bust(execution_id, at=at, reason=reason)

    def correct_fill(self, execution_id: ExecutionId, corrected: Fill, *, reason: str) -> bool:
        """Reverse a booked execution and book what the broker says it really was.

        Returns:
            False when nothing stands by ``execution_id``, so nothing was done.
        """
        return self._fill_book.correct(execution_id, corrected, reason=reason)

    def adopt_position(
        self,
        symbol: Symbol,
        quantity: Decimal,
        price: Decimal,
        reason: str,
        *,
        as_of: dt.datetime | None = None,
    ) -> Decimal:
        """Set the holding to ``quantity`` by a named entry at ``price``, without cash.

        Args:
            symbol: instrument.
            quantity: the holding, signed.
            price: average price of a share.
            reason: for people.
            as_of: when it was read, by the clock that dates executions; now, when left out.
                What moved shares until then is in it, and moves none when it is booked later.

        Returns:
            The signed shares that were added; 0 when the books agreed.
        """
        with self._store.transaction():
            held = standing_of(self._store, symbol).holding
            added = exact_sum((decimal(quantity), -held.quantity))
            # Also where nothing is added: from then on the holding is counted.
            self._book_entry(
                "adoption",
                adopt(held, added, decimal(price)) if added else Change(),
                symbol=symbol,
                description=reason,
                at=as_of,
            )
        return added

    def adopted_at(self, symbol: Symbol) -> dt.datetime | None:
        """Return when a holding was last adopted, by the clock that dates executions."""
        query = "SELECT max(at) AS at FROM ledger_entries WHERE kind = 'adoption' AND symbol = ?"
        (row,) = self._store.rows(query, (symbol,))
        return dt.datetime.fromisoformat(row["at"]) if row["at"] else None

    def adopt_cash(
        self, cash: Decimal, reason: str, *, as_of: dt.datetime | None = None
    ) -> Decimal:
        """Set cash by a named entry, as at the opening of the books; return the difference.

        Executions until ``as_of``, when it was read, are in it, also those booked later.
        """
        with self._store.transaction():
            added = exact_sum((decimal(cash), -self.cash()))
            if added:
                self._book_entry("cash_adoption", Change(cash=added), description=reason, at=as_of)
        return added

    def positions(self) -> Mapping[Symbol, LedgerPosition]:
        """Return every holding that is not flat, by symbol."""
        rows = self._store.rows("SELECT * FROM positions WHERE quantity <> '0' ORDER BY symbol")
        return {Symbol(row["symbol"]): position_row(row) for row in rows}

    def position(self, symbol: Symbol) -> LedgerPosition:
        """Return one holding, flat when there is none."""
        return position_of(self._store, symbol)

    def cash(self) -> Decimal:
        """Return cash by our own books."""
        rows = self._store.rows("SELECT amount FROM balances WHERE name = ?", (CASH,))
        return decimal(rows[0]["amount"])

    def lock(self, symbol: Symbol, reason: str) -> None:
        """Allow exits only in a symbol, until ``unlock``."""
        self._locks.lock(symbol, reason)

    def unlock(self, symbol: Symbol) -> bool:
        """Lift a lock; False when there was none."""
        return self._locks.unlock(symbol)

    def locks(self) -> Mapping[Symbol, str]:
        """Return the locked symbols with their reasons."""
        return self._locks.all()

    def _book_activity(self, activity: Activity) -> None:
        symbol, cash = activity.symbol, decimal(activity.net_amount)
        if symbol is not None and activity.kind is ActivityKind.SPLIT:
            self._book_split(symbol, activity)
            if cash:
                self._restate(symbol, _told("payout", activity, cash=cash))
        elif symbol is not None and activity.kind is ActivityKind.OTHER and cash:
            self._restate(symbol, _told("payout", activity, cash=cash), activity.activity_id)
        else:
            self._book_entry(
                _CASH_KINDS[activity.kind],
                Change(cash=cash),
                symbol=symbol,
                activity_id=activity.activity_id,
                description=activity.description,
                at=activity.at,
            )

    def _book_split(self, symbol: Symbol, activity: Activity) -> None:
        """Book the shares that a split added, and take out what it makes less than a share of."""
        added, fraction = decimal(activity.quantity or ZERO), decimal(activity.fraction or ZERO)
        came_by = f"split {activity.activity_id}"
        give_back_shares(self._store, symbol, added, at=activity.at, came_by=came_by)
        whole = _told("split", activity, quantity=exact_sum((added, fraction)))
        self._restate(symbol, whole, activity.activity_id)
        if fraction:
            self._restate(symbol, _told("fraction", activity, quantity=-fraction))

    def _restate(self, symbol: Symbol, told: Entry, activity_id: str | None = None) -> None:
        """Book what was told late or early at the cost that it has had it been told in time.

        Without it a sale of shares that a split brought opens a short position of them.
        """
        after = replay([*entries_of(self._store, symbol), told]).standing
        self._book_entry(
            told.kind,
            restated(standing_of(self._store, symbol), after, cash=told.cash),
            symbol=symbol,
            activity_id=activity_id,
            description=told.description,
            at=dt.datetime.fromisoformat(told.at),
        )

    def _book_entry(
        self,
        kind: str,
        change: Change,
        *,
        description: str,
        symbol: Symbol | None = None,
        activity_id: str | None = None,
        at: dt.datetime | None = None,
    ) -> None:
        entry = entry_columns(
            kind,
            change,
            at=stamp(at or self._store.clock.now()),
            symbol=symbol,
            activity_id=activity_id,
            description=description,
        )
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


def _told(
    kind: str, activity: Activity, *, quantity: Decimal = ZERO, cash: Decimal = ZERO
) -> Entry:
    return Entry(
        kind=kind,
        at=stamp(activity.at),
        quantity=quantity,
        cash=cash,
        description=activity.description,
    )
