"""The order path: from the gate's answers to a terminal state, never twice and never lost.

Everything is durable before the first byte leaves; an answer that never came is a state
of its own (UNKNOWN), which only evidence from the broker ends.
"""

import asyncio
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from domain.decisions import GateResult
from domain.errors import AuthRefused, BrokerUnavailable, StateError
from domain.ids import BrokerOrderId, ClientOrderId
from domain.money import ZERO
from domain.orders import OrderRequest, OrderState
from execution.books import Books
from execution.cancels import Cancels
from execution.desk import Desk
from execution.evidence import Evidence
from execution.exposure import lowers_exposure
from execution.send_gate import SendGate
from execution.sending import Sender
from execution.unknown import UnknownOrders
from execution.updates import Updates
from execution.waiting import each
from state.locks import LIMIT_LOCK
from state.rows import OrderRecord

_MANY_REFUSALS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class SendReport:
    """Where each order of a plan stands after sending."""

    states: Mapping[ClientOrderId, OrderState]

    def count(self, state: OrderState) -> int:
        """Return how many orders are in a state."""
        return sum(1 for found in self.states.values() if found is state)

    @property
    def is_settled(self) -> bool:
        """True when no order is in doubt."""
        return not any(
            state in {OrderState.SENDING, OrderState.UNKNOWN} for state in self.states.values()
        )


class OrderPath:
    """Sends plans, follows orders, cancels them, and settles doubt."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.books = Books(desk)
        self.evidence = Evidence(desk, self.books)
        self.gate = SendGate(desk)
        self._sender = Sender(desk, self.gate, self.books, self.evidence)
        self.unknown = UnknownOrders(desk, self.evidence, self._sender)
        self.cancels = Cancels(desk, self.books)
        self.updates = Updates(desk, self.books)
        self._doubt = asyncio.Event()

    # Sending

    def stage(self, results: Sequence[GateResult], run_id: str) -> tuple[ClientOrderId, ...]:
        """Record a plan durably, denied orders too; return the ids that may be sent."""
        ids = self._desk.journal.record_plan(results, run_id, made_by=self._desk.made_by)
        for order_id in ids:
            # What was called off before it left is wanted again by who decides on it anew.
            self.books.unwanted.pop(order_id, None)
        return ids

    async def send(
        self, results: Sequence[GateResult], run_id: str, *, cutoff: dt.datetime | None = None
    ) -> SendReport:
        """Record a plan and send what it approves.

        Args:
            results: the gate's answers, denied ones too.
            run_id: the run that decided.
            cutoff: no request leaves after this moment.

        Raises:
            StateError: the plan did not become durable; nothing was sent.
        """
        try:
            with self._desk.store.transaction():
                ids = self.stage(results, run_id)
                self._desk.journal.mark_sending(*ids)
        except StateError as exc:
            self._desk.halt(f"storage: {exc}")
            raise
        approved = {result.request.client_order_id: result.request for result in results}
        return await self._post([approved[order_id] for order_id in ids], cutoff)

    def skip(self, ids: Iterable[ClientOrderId], reason: str) -> int:
        """Close staged orders that will not be sent; return how many."""
        with self._desk.store.transaction():
            return sum(self._desk.journal.mark_skipped(order_id, reason) for order_id in ids)

    async def _post(
        self, requests: Sequence[OrderRequest], cutoff: dt.datetime | None
    ) -> SendReport:
        async def deliver(request: OrderRequest) -> None:
            await self._sender.deliver(request, cutoff=cutoff)

        self.unknown.allow_resend((request.client_order_id for request in requests), cutoff)
        try:
            in_order = self._exits_first(requests)
            await each(in_order, deliver, at_most=self._desk.settings.sends_at_once)
            await self.resolve_unknown()
            await self._look_at_refusals(requests)
        except StateError as exc:
            self._desk.halt(f"storage: {exc}")
            raise
        return self._report(request.client_order_id for request in requests)

    async def _look_at_refusals(self, requests: Sequence[OrderRequest]) -> None:
        """One refusal is an order's matter; many, or a blocked account, are everybody's."""
        report = self._report(request.client_order_id for request in requests)
        refused = report.count(OrderState.REJECTED)
        if not refused:
            return
        if refused > _MANY_REFUSALS * len(requests):
            self._desk.note("orders.refused", f"the broker refused {refused} of {len(requests)}")
        try:
            account = await self._desk.broker.account()
        except (BrokerUnavailable, AuthRefused):
            return
        if account.is_trading_blocked:
            self._desk.halt("account: the broker has blocked trading in it")

    def _report(self, ids: Iterable[ClientOrderId]) -> SendReport:
        records = [self._desk.journal.get(order_id) for order_id in ids]
        return SendReport(states={r.client_order_id: r.state for r in records if r is not None})

    def _exits_first(self, requests: Sequence[OrderRequest]) -> list[OrderRequest]:
        """Exits free buying power and lower risk; the rest stays as planned."""
        positions = self._desk.ledger.positions()

        def is_entry(request: OrderRequest) -> bool:
            position = positions.get(request.symbol)
            held = position.quantity if position is not None else ZERO
            return not lowers_exposure(request, held=held, working=())

        return sorted(requests, key=is_entry)

    # Doubt

    async def resolve_unknown(self, *, patience_seconds: float | None = None) -> bool:
        """Work off orders without a clear answer; True when none is left in doubt."""
        if patience_seconds is None:
            patience_seconds = self._desk.settings.resolve_seconds
        is_settled = await self.unknown.resolve(patience_seconds=patience_seconds)
        await self.follow_up()
        await self.cancels.finish_wanted()
        if not is_settled:
            self._doubt.set()
        return is_settled

    async def settle_for_ever(self) -> NoReturn:
        """Work off, in the background, whatever a send or a start left in doubt."""
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            if not await self.resolve_unknown():
                await self._desk.clock.sleep(self._desk.settings.longest_pause_seconds)

    async def recover(
        self, *, cutoff: dt.datetime | None = None, patience_seconds: float = 0.0
    ) -> tuple[OrderRecord, ...]:
        """After a start: read every order by id that a former process may have sent.

        Args:
            cutoff: orders proven absent may be sent again until then; None for never.
            patience_seconds: how long to stay for that proof; what is still in doubt then
                is settled, and where it may be sent again, by ``settle_for_ever``.

        Returns:
            The approved orders that never left, for the caller to send or to skip.
        """
        self._cancel_what_was_asked_for()
        doubtful = (record.client_order_id for record in self.unknown.pending())
        self.unknown.allow_resend(doubtful, cutoff)
        await self.unknown.look_at_all()
        await self.resolve_unknown(patience_seconds=patience_seconds)
        approved = [r for r in self._desk.journal.working() if r.state is OrderState.APPROVED]
        for record in approved:
            if record.attempts > 0:
                await self.evidence.look(record.client_order_id)
        return tuple(r for r in self._desk.journal.working() if r.state is OrderState.APPROVED)

    def _cancel_what_was_asked_for(self) -> None:
        for record in self._desk.journal.working():
            if record.state is OrderState.CANCELING and not record.is_external:
                self.books.want_canceled(record, "asked for before the restart")
        for symbol, why in self._desk.ledger.locks().items():
            if why.startswith(LIMIT_LOCK):
                self.books.call_entries_off(symbol)

    def is_in_flight(self, record: OrderRecord) -> bool:
        """Tell whether a request of this process for the order is under way."""
        return record.client_order_id in self._sender.in_flight

    # Following

    async def follow_up(self) -> None:
        """Do what merged reports asked for: read orders, ask to cancel what must not work."""
        await self._read_wanted()
        await self.cancels.ask_wanted()

    async def cancel(self, client_order_id: ClientOrderId, reason: str) -> bool:
        """Cancel one of our orders and follow it; True when it was read as terminal.

        A staged order is skipped; one that the broker has not shown yet is canceled as
        soon as it does.
        """
        record = self._desk.journal.get(client_order_id)
        if record is None or record.state.is_terminal:
            return record is not None
        if record.broker_order_id is None:
            if self._desk.journal.mark_skipped(client_order_id, reason):
                return True
            self.want_canceled(client_order_id, reason)
            return False
        self.want_canceled(client_order_id, reason)
        if self._desk.journal.mark_canceling(client_order_id):
            self._desk.note("order.cancel_requested", f"{record.symbol}: {reason}", record.symbol)
        return await self.cancels.cancel(record.broker_order_id)

    async def cancel_many(self, ids: Sequence[ClientOrderId], reason: str) -> bool:
        """Cancel some orders, a few at a time; True when all were read as terminal."""
        ended: list[bool] = []
        for order_id in ids:
            # All of them first: a disk that refuses at one ends the rest of this call.
            self.want_canceled(order_id, reason)

        async def one(order_id: ClientOrderId) -> None:
            ended.append(await self.cancel(order_id, reason))

        await each(ids, one, at_most=self._desk.settings.sends_at_once)
        return all(ended)

    def want_canceled(self, client_order_id: ClientOrderId, reason: str) -> None:
        """Have the cancel asked for at every follow-up, until the order is read as terminal.

        One that the broker has not shown yet is canceled as soon as it does.
        """
        record = self._desk.journal.get(client_order_id)
        if record is not None:
            self.books.want_canceled(record, reason)

    async def _read_wanted(self) -> None:
        async def read(broker_order_id: BrokerOrderId) -> None:
            try:
                order = await self._desk.broker.get_order(broker_order_id)
            except (BrokerUnavailable, AuthRefused):
                return
            self.books.to_read.discard(broker_order_id)
            if order is not None:
                self.books.merge_order(order)

        await each(sorted(self.books.to_read), read, at_most=self._desk.settings.sends_at_once)
