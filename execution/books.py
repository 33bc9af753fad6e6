"""The one place where the broker's reports enter our books, whoever brought them.

Synchronous and without I/O but SQLite, so a report is merged whole or not at all.
"""

import dataclasses
from decimal import Decimal
from typing import Final

import structlog

from domain.account import Activity, ActivityKind
from domain.ids import BrokerOrderId, ClientOrderId, Symbol, is_ours
from domain.money import ZERO
from domain.money import text as text_of
from domain.orders import BrokerOrder, Fill, OrderState
from domain.trading_state import TradingState
from execution.desk import Desk
from execution.matching import mismatches
from risk.sizing import EXIT
from state.journal import ApplyOutcome
from state.ledger import FillOutcome
from state.locks import LIMIT_LOCK
from state.risk_state import RiskState
from state.rows import OrderRecord

_log = structlog.get_logger("books")
_NOT_YET_SEEN: Final = frozenset({OrderState.SENDING, OrderState.UNKNOWN, OrderState.ABANDONED})


class Books:
    """Merges orders and fills; collects what must be canceled or read because of them.

    ``unwanted`` are orders to cancel as soon as the broker shows them.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.to_cancel: dict[BrokerOrderId, str] = {}
        self.unwanted: dict[ClientOrderId, str] = {}
        self.to_read: set[BrokerOrderId] = set()
        self._late: set[ClientOrderId] = set()

    def merge_order(self, order: BrokerOrder) -> ClientOrderId:
        """Take over what the broker says about an order; return the id it has in our books."""
        if order.state.is_terminal:
            self.to_cancel.pop(order.broker_order_id, None)
            self.unwanted.pop(order.client_order_id, None)
        before = self._desk.journal.get(order.client_order_id)
        if before is not None and self._collides(before, order):
            return order.client_order_id
        if before is not None and _fills_after_its_end(before, order):
            self._late.add(order.client_order_id)
        outcome = self._desk.journal.apply_order(order)
        if outcome is ApplyOutcome.TWIN:
            return self._adopt_twin(order)
        if outcome is ApplyOutcome.NOT_OURS or before is None:
            self._adopt(order, self._stranger(order))
        else:
            self._end_doubt(before, order)
            self._cancel_on_sight(before, order)
        return order.client_order_id

    def book_fill(self, fill: Fill, *, origin: str) -> FillOutcome:
        """Book one execution, in whatever state its order is."""
        outcome = self._desk.ledger.apply_fill(fill, origin=origin)
        if outcome is FillOutcome.UNKNOWN_ORDER:
            self.to_read.add(fill.broker_order_id)
        elif outcome is FillOutcome.OVERFILL:
            text = f"{fill.symbol}: {fill.client_order_id} is filled beyond its quantity"
            self._desk.note("fill.beyond_order", text, fill.symbol)
        elif outcome is FillOutcome.CONFLICT:
            text = f"{fill.symbol}: execution {fill.execution_id} contradicts a booked one"
            self._desk.note("fill.conflict", text, fill.symbol)
        if outcome.is_booked:
            _log.info(
                "fill.booked",
                symbol=fill.symbol,
                side=fill.side.value,
                quantity=text_of(fill.quantity),
                price=text_of(fill.price),
                origin=origin,
            )
            self._check_short(fill.symbol)
            record = self._desk.journal.get(fill.client_order_id)
            is_beyond = outcome is FillOutcome.OVERFILL
            self._check_limits(record, fill.symbol, fill.price, is_beyond=is_beyond)
        return outcome

    def book_activity(self, activity: Activity) -> bool:
        """Book one row of the broker's log; True when it was new.

        Raises:
            DataError: a field that its kind needs is missing.
        """
        with self._desk.store.transaction():
            is_new = self._desk.ledger.apply_activity(activity)
            if is_new and activity.kind is ActivityKind.TRANSFER:
                # Money that came or went is neither a gain nor a loss.
                flows = RiskState(self._desk.store)
                flows.record_cash_flow(activity.net_amount, activity.activity_id)
        if is_new and activity.kind is ActivityKind.FILL and activity.symbol is not None:
            _log.info("fill.booked", symbol=activity.symbol, origin="activities")
            self._check_short(activity.symbol)
            record = self._desk.journal.of_broker(activity.broker_order_id)
            self._check_limits(record, activity.symbol, activity.price)
        return is_new

    def want_canceled(self, record: OrderRecord, reason: str) -> None:
        """Have the cancel asked for at every follow-up, until the order is read as terminal.

        One that the broker has not shown yet is canceled as soon as it does.
        """
        if record.state.is_terminal or record.state is OrderState.APPROVED:
            return
        if record.broker_order_id is None:
            self.unwanted[record.client_order_id] = reason
        else:
            self.to_cancel[record.broker_order_id] = reason

    def call_entries_off(self, symbol: Symbol) -> None:
        """Want no more of a symbol of which too much is held; an exit goes on."""
        for record in self._desk.journal.working():
            is_entry = not record.is_external and record.request.leg != EXIT
            if is_entry and record.symbol == symbol:
                self.want_canceled(record, "more than the limits allow is held of its symbol")

    def check_unplanned(self, symbol: Symbol, price: Decimal | None) -> None:
        """Judge a holding that no order of ours changed: a limit locks it, a short halts."""
        self._check_short(symbol)
        self._check_limits(None, symbol, price)

    def _check_limits(
        self,
        record: OrderRecord | None,
        symbol: Symbol,
        price: Decimal | None,
        *,
        is_beyond: bool = False,
    ) -> None:
        """What was planned fits the limits; what nobody reserved for may not."""
        is_planned = (
            not is_beyond
            and record is not None
            and not record.is_external
            and record.client_order_id not in self._late
        )
        if not is_planned and (why := self._desk.over_limit(symbol, price)):
            self._desk.lock(symbol, f"{LIMIT_LOCK} {why}, by shares that were not planned")
            self.call_entries_off(symbol)

    def _end_doubt(self, before: OrderRecord, order: BrokerOrder) -> None:
        if before.state is OrderState.UNKNOWN:
            text = f"{order.symbol}: the broker has it, {order.raw_status}; it was sent once"
            self._desk.note("order.found", text, order.symbol)

    def _collides(self, record: OrderRecord, order: BrokerOrder) -> bool:
        # Only the first sight is compared: later the broker may restate what it holds.
        if record.is_external or record.broker_order_id is not None:
            return False
        wrong = mismatches(record.request, order)
        if wrong:
            text = f"id-collision: {order.client_order_id} has {'; '.join(wrong)}"
            self._desk.note("order.id_collision", text, order.symbol)
            self._desk.halt(text)
        return bool(wrong)

    def _stranger(self, order: BrokerOrder) -> str:
        if is_ours(order.client_order_id):
            return "has our id but is not in the journal"
        return "was sent by a person or another program"

    def _adopt(self, order: BrokerOrder, why: str) -> None:
        self._desk.journal.adopt_external(order)
        text = (
            f"{order.symbol}: {order.side.value} {order.quantity or 'for an amount of money'}"
            f" ({order.client_order_id}) {why}; it counts in the limits"
        )
        self._desk.note("order.external", text, order.symbol)

    def _adopt_twin(self, order: BrokerOrder) -> ClientOrderId:
        """Keep a second order with one of our ids under a name of its own."""
        named = dataclasses.replace(order, client_order_id=twin_id(order))
        if self._desk.journal.get(named.client_order_id) is None:
            self._adopt(named, f"is a second order with the id {order.client_order_id}")
            self._desk.lock(order.symbol, f"the broker holds {order.client_order_id} twice")
        else:
            self._desk.journal.apply_order(named)
        if not order.state.is_terminal:
            self.to_cancel[order.broker_order_id] = "second order with one id"
        return named.client_order_id

    def _cancel_on_sight(self, before: OrderRecord, order: BrokerOrder) -> None:
        if order.state.is_terminal or before.is_external or before.state not in _NOT_YET_SEEN:
            return
        if before.state is OrderState.ABANDONED:
            self.to_cancel[order.broker_order_id] = "it was given up as lost"
        elif self._desk.effective_state() is TradingState.HALTED:
            self.to_cancel[order.broker_order_id] = "trading is halted"
        elif order.client_order_id in self.unwanted:
            self.to_cancel[order.broker_order_id] = self.unwanted[order.client_order_id]

    def _check_short(self, symbol: Symbol) -> None:
        if not self._desk.settings.is_long_only:
            return
        quantity = self._desk.ledger.position(symbol).quantity
        if quantity < ZERO:
            text = f"short: {symbol} is at {quantity} shares and only long is allowed"
            self._desk.note("position.short", text, symbol)
            self._desk.halt(text)


def _fills_after_its_end(before: OrderRecord, order: BrokerOrder) -> bool:
    return before.state.is_terminal and order.filled_quantity > before.filled_quantity


def twin_id(order: BrokerOrder) -> ClientOrderId:
    """Name a second order that carries an id that is taken."""
    return ClientOrderId(f"twin-{order.broker_order_id}")
