"""Cancels of our own orders: an answer is never proof, only a read of a terminal state is."""

from domain.errors import (
    AuthRefused,
    BrokerUnavailable,
    NotSent,
    OrderRejected,
    RateLimited,
)
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
        self._asked_at: dict[BrokerOrderId, float] = {}

    async def ask_wanted(self) -> None:
        """Ask, without waiting, for the cancel of everything that the books want canceled."""
        await each(self._due(), self._ask_quietly, at_most=self._desk.settings.sends_at_once)

    async def finish_wanted(self) -> None:
        """Cancel what the books want canceled and follow it; what is left stays wanted."""

        async def finish(broker_order_id: BrokerOrderId) -> None:
            await self.cancel(broker_order_id)

        wanted = sorted(self._books.to_cancel)
        await each(wanted, finish, at_most=self._desk.settings.sends_at_once)

    async def cancel(self, broker_order_id: BrokerOrderId) -> bool:
        """Cancel one order; True when it was read as terminal (canceled, or filled first)."""
        until = self._desk.clock.monotonic() + self._desk.settings.cancel_wait_seconds
        pauses = doubling(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        while True:
            order = await self._read(broker_order_id)
            if order is not None and order.state.is_terminal:
                return True
            pause = max(next(pauses), await self._ask(broker_order_id))
            if self._desk.clock.monotonic() + pause > until:
                return False
            await self._desk.clock.sleep(pause)

    def _due(self) -> list[BrokerOrderId]:
        # A cancel that sticks is asked for again now and then, not at every event.
        now = self._desk.clock.monotonic()
        rest = self._desk.settings.cancel_wait_seconds
        asked = self._asked_at
        return [
            broker_order_id
            for broker_order_id in sorted(self._books.to_cancel)
            if broker_order_id not in asked or now - asked[broker_order_id] >= rest
        ]

    async def _ask_quietly(self, broker_order_id: BrokerOrderId) -> None:
        await self._ask(broker_order_id)

    async def _ask(self, broker_order_id: BrokerOrderId) -> float:
        """Send one cancel; return how long the broker wants us to wait."""
        self._asked_at[broker_order_id] = self._desk.clock.monotonic()
        try:
            await self._desk.stopping.cancel(broker_order_id)
        except RateLimited as exc:
            return retry_after(exc.retry_after_seconds)
        except Exception as exc:  # noqa: BLE001 - whatever it was, it may have been canceled
            # Refused means terminal or being canceled, unknown means unknown: read it again.
            is_clear = isinstance(exc, OrderRejected | NotSent)
            self._desk.operated("" if is_clear else f"cancel: {exc}")
            return 0.0
        self._desk.operated()
        return 0.0

    async def _read(self, broker_order_id: BrokerOrderId) -> BrokerOrder | None:
        try:
            order = await self._desk.stopping.get_order(broker_order_id)
        except (BrokerUnavailable, AuthRefused):
            return None
        if order is not None:
            self._books.merge_order(order)
        return order
