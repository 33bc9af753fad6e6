"""Cancels of our own orders: asked for once a round, believed only when read as terminal."""

from domain.errors import AuthRefused, BrokerError, BrokerUnavailable, RateLimited
from domain.ids import BrokerOrderId
from domain.orders import BrokerOrder
from execution.books import Books
from execution.desk import Desk
from execution.waiting import doubling, each, retry_after

_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 4.0


class Cancels:
    """Sends cancels and follows them to a terminal state."""

    def __init__(self, desk: Desk, books: Books) -> None:
        self._desk = desk
        self._books = books

    async def run_wanted(self) -> None:
        """Cancel what the books want canceled; what does not end now stays wanted."""
        wanted = sorted(self._books.to_cancel.items())

        async def one(item: tuple[BrokerOrderId, str]) -> None:
            broker_order_id, reason = item
            if await self.cancel(broker_order_id, reason):
                self._books.to_cancel.pop(broker_order_id, None)

        await each(wanted, one, at_most=self._desk.settings.sends_at_once)

    async def cancel(self, broker_order_id: BrokerOrderId, reason: str) -> bool:
        """Cancel one order; True when it was read as terminal (canceled, or filled first)."""
        self._desk.note("order.cancel_requested", f"{broker_order_id}: {reason}")
        until = self._desk.clock.monotonic() + self._desk.settings.cancel_wait_seconds
        for step in doubling(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS):
            order = await self._read(broker_order_id)
            if order is not None and order.state.is_terminal:
                return True
            pause = max(step, await self._ask(broker_order_id))
            if self._desk.clock.monotonic() + pause > until:
                return False
            await self._desk.clock.sleep(pause)
        return False

    async def _ask(self, broker_order_id: BrokerOrderId) -> float:
        try:
            await self._desk.broker.cancel(broker_order_id)
        except RateLimited as exc:
            return retry_after(exc.retry_after_seconds)
        except (BrokerError, BrokerUnavailable):
            # Refused means terminal or being canceled, unknown means unknown: read it again.
            return 0.0
        return 0.0

    async def _read(self, broker_order_id: BrokerOrderId) -> BrokerOrder | None:
        try:
            order = await self._desk.broker.get_order(broker_order_id)
        except (BrokerUnavailable, AuthRefused):
            return None
        if order is not None:
            self._books.merge_order(order)
        return order
