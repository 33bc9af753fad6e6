"""Orders without a clear answer, worked off by reads until each has an end.

Found: adopted.  Absent on enough reads for long enough: sent again with the same id while
the entry window is open, else given up but watched.  A late twin stays possible only at a
broker that forgets ids; it is then found, canceled and named by execution.books.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from itertools import chain, repeat

from domain.ids import ClientOrderId
from domain.orders import OrderState
from domain.trading_state import TradingState
from execution.desk import Desk
from execution.evidence import Evidence, Sight
from execution.sending import Sender
from execution.waiting import each
from state.rows import OrderRecord

_UNCLEAR = frozenset({OrderState.SENDING, OrderState.UNKNOWN})


class UnknownOrders:
    """Reads, and where the evidence allows it sends again."""

    def __init__(self, desk: Desk, evidence: Evidence, sender: Sender) -> None:
        self._desk = desk
        self._evidence = evidence
        self._sender = sender
        self._until: dict[ClientOrderId, dt.datetime] = {}

    def allow_resend(self, ids: Iterable[ClientOrderId], until: dt.datetime | None) -> None:
        """Let orders that are proven absent be sent again until a moment; None for never."""
        for order_id in ids:
            if until is None:
                self._until.pop(order_id, None)
            else:
                self._until[order_id] = until

    def pending(self) -> list[OrderRecord]:
        """Return the orders in doubt that no request of this process is settling now."""
        return [
            record
            for record in self._desk.journal.working()
            if record.state in _UNCLEAR
            and not record.is_external
            and record.client_order_id not in self._sender.in_flight
        ]

    async def resolve(self, *, patience_seconds: float) -> bool:
        """Read until nothing is in doubt, or ``patience_seconds`` are over.

        Returns:
            True when nothing is in doubt any more; the rest is left to the next call.
        """
        started = self._desk.clock.monotonic()
        pauses = self._pauses()
        while self.pending():
            pause = next(pauses)
            if self._desk.clock.monotonic() - started + pause > patience_seconds:
                return False
            await self._desk.clock.sleep(pause)
            await self.look_at_all()
        return True

    async def look_at_all(self) -> None:
        """Read every order in doubt once, by id."""

        async def look(record: OrderRecord) -> None:
            await self.settle(record)

        await each(self.pending(), look, at_most=self._desk.settings.sends_at_once)

    async def settle(self, record: OrderRecord, *, may_send: bool = True) -> None:
        """Look one order up by id and act on what that proves.

        Args:
            record: the order.
            may_send: False while the books are compared: what may go again is left alone.
        """
        order_id = record.client_order_id
        if record.state is OrderState.SENDING:
            self._desk.journal.mark_unknown(order_id, "no answer was recorded")
        sight = await self._evidence.look(order_id)
        if record.state is OrderState.ABANDONED:
            if sight in {Sight.NOT_YET, Sight.ABSENT} and self._is_over(record):
                self._desk.journal.mark_expired(order_id, "its session is over")
        elif sight is not Sight.ABSENT:
            return
        elif not self._may_send_again(record):
            self._until.pop(order_id, None)
            self._sender.give_up(order_id, "absent on every read")
        elif may_send:
            await self._send_again(record)

    def _is_over(self, record: OrderRecord) -> bool:
        # Day orders die by the close, and no session crosses midnight UTC.
        return self._desk.clock.now().date() > record.request.session_date

    def _may_send_again(self, record: OrderRecord) -> bool:
        until = self._until.get(record.client_order_id)
        return (
            until is not None
            # After a late restart the cut-off is that of the next session.
            and until.date() == record.request.session_date
            and self._desk.clock.now() <= until
            and record.attempts < self._desk.settings.most_posts
            and self._desk.effective_state() is not TradingState.HALTED
        )

    async def _send_again(self, record: OrderRecord) -> None:
        order_id = record.client_order_id
        if self._sender.mark_again(order_id):
            await self._sender.deliver(record.request, cutoff=self._until[order_id])

    def _pauses(self) -> Iterator[float]:
        schedule = self._desk.settings.unknown_reads_seconds
        return chain(schedule, repeat(schedule[-1]))
