"""One reading of the broker into our books: orders first, then what they did, then holdings.

REST answers are not one snapshot, so what is found here is a candidate; see
execution.reconcile for when it is believed.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from domain.account import Account, Activity, Position
from domain.errors import BrokerUnavailable, DataError
from domain.ids import BrokerOrderId, Symbol
from domain.orders import BrokerOrder, OrderState
from execution.comparing import (
    Break,
    BreakKind,
    by_symbol,
    cash_break,
    doubtful_empty,
    fill_breaks,
    position_breaks,
    unread_breaks,
)
from execution.desk import Desk
from execution.matching import regression
from execution.orders import OrderPath
from execution.waiting import each
from state.rows import OrderRecord

_IN_DOUBT = frozenset({OrderState.SENDING, OrderState.UNKNOWN, OrderState.ABANDONED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one pass over the broker found.

    ``unread`` are symbols whose holding was disputed after it had been asked for.
    """

    breaks: tuple[Break, ...]
    account: Account
    held: tuple[Position, ...]
    theirs: dict[Symbol, Decimal]
    unread: frozenset[Symbol]
    open_orders: int
    activities_booked: int


class BrokerView:
    """Reads the broker and merges what it shows; compares what is left."""

    def __init__(self, desk: Desk, path: OrderPath) -> None:
        self._desk = desk
        self._path = path

    async def read(self, since: dt.datetime) -> Reading:
        """Read everything once.

        Args:
            since: orders and activities from this moment on are read again.

        Raises:
            BrokerUnavailable, AuthRefused: a list could not be read whole; books that were
                not compared are not called equal.
        """
        broker = self._desk.broker
        working = await broker.open_orders()
        recent = await broker.orders_since(since)
        breaks = self._merge_orders([*recent, *working])
        breaks += await self._read_missing(working, recent)
        booked, unbooked = await self.book_activities(since)
        account = usable(await broker.account())
        held, unread = await self._positions()
        theirs = by_symbol(held)
        different = (*self._compare(account, theirs), *unread_breaks(unread))
        return Reading(
            breaks=(*breaks, *unbooked, *different),
            account=account,
            held=held,
            theirs=theirs,
            unread=unread,
            open_orders=len(working),
            activities_booked=booked,
        )

    async def book_activities(self, since: dt.datetime) -> tuple[int, list[Break]]:
        """Book what the broker lists from ``since`` on and the books do not have yet.

        Returns:
            How many were booked, and a break for each that could not be.

        Raises:
            BrokerUnavailable, AuthRefused: they could not be read whole.
        """
        return self._book(await self._desk.broker.activities(since))

    async def _positions(self) -> tuple[tuple[Position, ...], frozenset[Symbol]]:
        """Read what is held and merge what was told meanwhile: a bust, perhaps, of what is read."""
        updates = self._path.updates
        updates.drain()
        # What was told until now is in the answer.
        updates.unread.clear()
        held = tuple(await self._desk.broker.positions())
        updates.drain()
        return held, frozenset(updates.unread)

    def _merge_orders(self, orders: Sequence[BrokerOrder]) -> list[Break]:
        breaks: dict[BrokerOrderId, Break] = {}
        if not orders:
            return []
        with self._desk.store.transaction():
            for order in orders:
                record = self._desk.journal.get(order.client_order_id)
                found = _regression_break(record, order)
                if found is None:
                    self._path.books.merge_order(order)
                elif not self._is_counted(order):
                    breaks[order.broker_order_id] = found
        return list(breaks.values())

    def _is_counted(self, order: BrokerOrder) -> bool:
        """Tell whether a person adopted the holding since, with what the order lost."""
        adopted = self._desk.ledger.adopted_at(order.symbol)
        return order.state.is_terminal and adopted is not None and order.submitted_at <= adopted

    async def _read_missing(
        self, working: Sequence[BrokerOrder], recent: Sequence[BrokerOrder]
    ) -> list[Break]:
        """Read by id every order that we think is working and no list showed."""
        listed = {order.client_order_id for order in (*working, *recent)}
        breaks: list[Break] = []

        async def read(record: OrderRecord) -> None:
            if record.state in _IN_DOUBT:
                await self._path.unknown.settle(record, may_send=False)
            elif record.broker_order_id is not None:
                order = await self._desk.broker.get_order(record.broker_order_id)
                breaks.extend(self._take(record, order))

        missing = [
            record
            for record in self._desk.journal.working()
            if record.client_order_id not in listed and not self._path.is_in_flight(record)
        ]
        await each(missing, read, at_most=self._desk.settings.sends_at_once)
        return breaks

    def _take(self, record: OrderRecord, order: BrokerOrder | None) -> list[Break]:
        if order is not None:
            return self._merge_orders([order])
        detail = f"{record.client_order_id} is working in our books, the broker does not show it"
        return [
            Break(
                kind=BreakKind.ORDER,
                symbol=record.symbol,
                ours=record.state.value,
                theirs="absent",
                detail=detail,
            )
        ]

    def _book(self, activities: Sequence[Activity]) -> tuple[int, list[Break]]:
        booked = 0
        breaks: list[Break] = []
        if not activities:
            return booked, breaks
        with self._desk.store.transaction():
            for activity in activities:
                try:
                    booked += self._path.books.book_activity(activity)
                except DataError as exc:
                    breaks.append(_activity_break(activity, exc))
        return booked, breaks

    def _compare(self, account: Account, theirs: dict[Symbol, Decimal]) -> tuple[Break, ...]:
        ledger = self._desk.ledger
        ours = {symbol: held.quantity for symbol, held in ledger.positions().items()}
        vanished = doubtful_empty(ours, theirs, account)
        return (
            *(vanished or position_breaks(ours, theirs)),
            *fill_breaks(self._desk.journal.incomplete()),
            *cash_break(ledger.cash(), account.cash),
        )


def usable(account: Account) -> Account:
    """Return an account whose cash is a number.

    Raises:
        BrokerUnavailable: it is none.
    """
    if not account.cash.is_finite():
        raise BrokerUnavailable(f"the broker's cash is {account.cash}; reading it again")
    return account


def _regression_break(record: OrderRecord | None, order: BrokerOrder) -> Break | None:
    if record is None or record.broker_order_id != order.broker_order_id:
        return None
    why = regression(record, order)
    if why is None:
        return None
    return Break(
        kind=BreakKind.REGRESSION,
        symbol=order.symbol,
        ours=f"{record.state.value} {record.filled_quantity}",
        theirs=f"{order.raw_status} {order.filled_quantity}",
        detail=f"{order.client_order_id}: {why}",
        at=order.submitted_at,
    )


def _activity_break(activity: Activity, error: DataError) -> Break:
    return Break(
        kind=BreakKind.ACTIVITY,
        symbol=activity.symbol,
        ours="not booked",
        theirs=activity.kind.value,
        detail=f"{activity.activity_id}: {error}",
        at=activity.at,
    )
