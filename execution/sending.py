"""One order over the wire: exactly one POST for each durable SENDING, no blind retry."""

import datetime as dt
from functools import partial

from domain.errors import (
    AuthRefused,
    BrokerError,
    BrokerUnavailable,
    DuplicateOrder,
    NotSent,
    OpenbellError,
    OrderRejected,
    RateLimited,
    SendRefused,
)
from domain.ids import ClientOrderId
from domain.orders import BrokerOrder, OrderRequest, OrderState
from execution.books import Books
from execution.desk import Desk
from execution.evidence import Evidence
from execution.matching import mismatches
from execution.send_gate import SendGate
from execution.waiting import doubling, retry_after

_UNSEEN = frozenset({OrderState.APPROVED, OrderState.UNKNOWN})


class Sender:
    """Posts requests that are marked SENDING and records how each ended."""

    def __init__(self, desk: Desk, gate: SendGate, books: Books, evidence: Evidence) -> None:
        self._desk = desk
        self._gate = gate
        self._books = books
        self._evidence = evidence
        self.in_flight: set[ClientOrderId] = set()
        # Sent again while an earlier request may still arrive.  Not durable: the journal has
        # them as UNKNOWN before, and as SENDING or UNKNOWN meanwhile, which a start reads so.
        self._doubted: set[ClientOrderId] = set()

    async def deliver(self, request: OrderRequest, *, cutoff: dt.datetime | None) -> None:
        """Send one request until the broker has taken, refused or swallowed it.

        Args:
            request: durably SENDING.
            cutoff: no POST after this moment; what was not taken by then is skipped, or
                given up where an earlier request of it may still arrive.
        """
        self.in_flight.add(request.client_order_id)
        try:
            await self._deliver(request, cutoff)
        except OpenbellError:
            raise
        except Exception as exc:  # noqa: BLE001 - a bug at one order must not orphan the others
            self._in_doubt(request, f"unexpected {exc!r}")
        finally:
            self.in_flight.discard(request.client_order_id)
            self._doubted.discard(request.client_order_id)

    def mark_again(self, order_id: ClientOrderId) -> bool:
        """Make a resend durable, unless the broker was meanwhile seen to hold the order."""
        record = self._desk.journal.get(order_id)
        if record is None or record.state not in _UNSEEN:
            return False
        if record.state is OrderState.UNKNOWN:
            self._doubted.add(order_id)
        # What was seen before it leaves again says nothing about this time.
        self._evidence.forget(order_id)
        self._desk.journal.mark_sending(order_id)
        return True

    def give_up(self, order_id: ClientOrderId, reason: str) -> None:
        """End, but watch, what may have arrived before: it counts until its session is over."""
        record = self._desk.journal.get(order_id)
        if record is None or not self._desk.journal.mark_abandoned(order_id, reason):
            return
        text = (
            f"{record.symbol}: {order_id} never showed up at the broker; it keeps its"
            " reservation and is canceled on sight"
        )
        self._desk.note("order.abandoned", text, record.symbol)

    async def _deliver(self, request: OrderRequest, cutoff: dt.datetime | None) -> None:
        settings = self._desk.settings
        pauses = doubling(settings.first_pause_seconds, settings.longest_pause_seconds)
        while True:
            pause = await self._post(request, cutoff, next(pauses))
            if pause is None:
                return
            if self._is_late(cutoff, after=pause):
                why = "before the cut-off"
                break
            if self._is_tried_enough(request):
                why = f"in {settings.most_posts} tries"
                break
            await self._desk.clock.sleep(pause)
            # Refused for now should mean not taken; one look costs less than a doubt.
            await self._evidence.look(request.client_order_id)
            if not self.mark_again(request.client_order_id):
                return
        self._skip(request.client_order_id, f"the broker did not take it {why}")

    def _is_tried_enough(self, request: OrderRequest) -> bool:
        """A resend after a doubt has what is left of the attempts, not as many again."""
        record = self._desk.journal.get(request.client_order_id)
        return record is None or record.attempts >= self._desk.settings.most_posts

    async def _post(
        self, request: OrderRequest, cutoff: dt.datetime | None, pause: float
    ) -> float | None:
        """Send once; return how long to wait before the next try, or None when settled."""
        order_id = request.client_order_id
        journal = self._desk.journal
        try:
            guard = partial(self._guard, request, cutoff)
            order = await self._desk.broker.submit(request, guard=guard)
        except SendRefused as exc:
            self._skip(order_id, str(exc))
        except NotSent as exc:
            self._not_taken(order_id, str(exc))
            return pause
        except RateLimited as exc:
            self._not_taken(order_id, str(exc))
            return max(pause, retry_after(exc.retry_after_seconds))
        except DuplicateOrder as exc:
            # Proof that it exists: look it up, compare every field, adopt.
            journal.mark_unknown(order_id, str(exc))
            self._desk.operated()
            await self._evidence.look(order_id)
        except OrderRejected as exc:
            self._reject(order_id, str(exc))
            self._desk.operated()
        except AuthRefused as exc:
            self._reject(order_id, str(exc))
            self._desk.halt(f"auth: the broker refused the keys: {exc}")
        except (BrokerError, BrokerUnavailable) as exc:
            self._in_doubt(request, str(exc))
        else:
            self._accepted(request, order)
        return None

    def _guard(self, request: OrderRequest, cutoff: dt.datetime | None) -> None:
        """Called right before the request is written; refuses also what was called off."""
        if (why := self._books.unwanted.get(request.client_order_id)) is not None:
            raise SendRefused(f"it was called off: {why}")
        self._gate.check(request, cutoff=cutoff)

    def _in_doubt(self, request: OrderRequest, problem: str) -> None:
        text = f"{request.symbol}: {problem}"
        # While the connection was made, others looked in vain; that says nothing of what left.
        self._evidence.forget(request.client_order_id)
        # The stream may have shown the order before its answer was given up.
        if self._desk.journal.mark_unknown(request.client_order_id, problem):
            self._desk.note("order.unknown", text, request.symbol)
        self._desk.operated(text)

    def _accepted(self, request: OrderRequest, order: BrokerOrder) -> None:
        wrong = mismatches(request, order) or self._belongs_to_another(request, order)
        if not wrong:
            self._books.merge_order(order)
            self._desk.operated()
            return
        text = f"{request.symbol}: the answer was for another order: {'; '.join(wrong)}"
        self._desk.journal.mark_unknown(request.client_order_id, text)
        self._desk.note("broker.crossed_answer", text, request.symbol)
        self._desk.operated(text)

    def _belongs_to_another(self, request: OrderRequest, order: BrokerOrder) -> tuple[str, ...]:
        """One order of the broker stands for one intent: a mixture can agree in every field."""
        known = self._desk.journal.of_broker(order.broker_order_id)
        if known is None or known.client_order_id == request.client_order_id:
            return ()
        return (f"order {order.broker_order_id} of the broker is {known.client_order_id}",)

    # What ends a resend says nothing about the request before it, which may arrive yet.

    def _not_taken(self, order_id: ClientOrderId, reason: str) -> None:
        if order_id in self._doubted:
            self._desk.journal.mark_unknown(order_id, reason)
        else:
            self._desk.journal.mark_not_sent(order_id, reason)

    def _reject(self, order_id: ClientOrderId, reason: str) -> None:
        if order_id in self._doubted:
            self.give_up(order_id, reason)
        else:
            self._desk.journal.mark_rejected(order_id, reason)

    def _skip(self, order_id: ClientOrderId, reason: str) -> None:
        if order_id in self._doubted:
            self.give_up(order_id, reason)
            return
        with self._desk.store.transaction():
            self._desk.journal.mark_not_sent(order_id, reason)
            self._desk.journal.mark_skipped(order_id, reason)

    def _is_late(self, cutoff: dt.datetime | None, *, after: float) -> bool:
        moment = self._desk.clock.now() + dt.timedelta(seconds=after)
        return cutoff is not None and moment > cutoff
